//! `house_rules.words`: words that may be neither sent nor answered.

use systemprompt::extension::policy::{
    DenialKind, Phase, Policy, PolicyInput, Subject, Verdict, Violation, async_trait,
};

/// What configuration and records call it.
pub(crate) const ID: &str = "house_rules.words";

/// Refuses what contains one of these words, and withholds an answer that does. Letter case does not matter.
pub(crate) struct Words(Vec<String>);

impl Words {
    pub(crate) fn new(words: &[String]) -> Self {
        Self(words.iter().map(|word| word.to_lowercase()).collect())
    }
}

#[async_trait]
impl Policy for Words {
    fn id(&self) -> &'static str {
        ID
    }

    /// Without words there is nothing to look at, and answers need not be held back.
    fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        let looked_at = match phase {
            Phase::Before => true,
            Phase::After => subject == Subject::Answer,
        };
        looked_at && !self.0.is_empty()
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        // The texts and not the bytes, in which a word may be written with escapes.
        let found = input.texts.iter().find_map(|text| {
            let text = text.to_lowercase();
            self.0.iter().position(|word| text.contains(word.as_str()))
        });
        // The word itself is not repeated: a reason is told and recorded.
        match found {
            Some(at) => Verdict::Fail(Violation::new(
                DenialKind::Content,
                "house_rules_word",
                format!("it contains word {} of the list of this house", at + 1),
            )),
            None => Verdict::Pass,
        }
    }
}
