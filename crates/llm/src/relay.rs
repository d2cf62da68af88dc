//! The relay lane: the caller's bytes with spliced edits, nothing else changed.

use bytes::Bytes;
use systemprompt_model::json::Span;

use crate::request::InferenceRequest;
use crate::request::error::RequestError;
use crate::request::layout::StreamOptions;
use crate::splice::{self, Splice};

/// What to change in a relayed request.
///
/// Some things are removed whatever this says, because they identify a person to the provider: `metadata.user_id` of
/// `anthropic-messages`, `user` of `openai-chat`, `user` and `safety_identifier` of `openai-responses`.
///
/// And `store` of `openai-responses` becomes false, because nothing is to be kept outside of the ledger. Where the caller had
/// not said so itself, what the model thinks is asked for in the form that can be sent back; and a thought without it, which
/// is known to nobody, stays out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// The name the provider knows the model by; `None` leaves the caller's. In formats whose path names the model it is in
    /// [`Format::path`](crate::Format::path).
    pub model: Option<String>,
    /// The most tokens this model can answer with. A larger limit of the caller is lowered to it, a missing one stays
    /// missing; a thinking budget that would not fit any more is lowered with it.
    pub max_tokens_limit: Option<u64>,
    /// Whether the provider understands `stream_options.include_usage`, so that a streamed `openai-chat` answer can be
    /// priced. Nothing is added for other requests.
    pub include_stream_usage: bool,
}

/// What goes to the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    /// The body. Without anything to edit it is the caller's body, not copied.
    pub bytes: Bytes,
    /// The body asks for a usage chunk the caller did not ask for. Take the chunk out of the caller's stream with a
    /// [`UsageChunkFilter`](crate::UsageChunkFilter).
    pub usage_added: bool,
}

impl InferenceRequest {
    /// The same request for a model of this name.
    pub(crate) fn asking_for(&self, model: &str) -> Result<Self, RequestError> {
        let edits = Edits { model: Some(model.to_owned()), ..Edits::default() };
        Self::parse(self.format, self.relay(&edits).bytes)
    }

    /// The body for the provider: the caller's with these edits and no other change.
    pub fn relay(&self, edits: &Edits) -> Relayed {
        let usage_added = self.adds_stream_usage(edits);
        let bytes = splice::apply(&self.body, self.splices(edits, usage_added));
        Relayed { bytes, usage_added }
    }

    fn adds_stream_usage(&self, edits: &Edits) -> bool {
        edits.include_stream_usage
            && self.stream
            && self.layout.stream_options.is_some()
            && !self.stream_usage_requested()
    }

    fn splices(&self, edits: &Edits, usage_added: bool) -> Vec<Splice> {
        let mut splices = Vec::new();
        if let Some(model) = edits.model.as_ref().filter(|model| **model != self.model)
            && let Some(at) = &self.layout.model
        {
            splices.push(Splice::new(at.clone(), serde_json::Value::from(model.as_str()).to_string()));
        }
        let most = edits.max_tokens_limit.unwrap_or(u64::MAX);
        for limit in self.layout.token_limits.iter().filter(|limit| limit.odd || limit.value > most) {
            splices.push(Splice::number(&limit.at, limit.value.min(most)));
        }
        for budget in &self.layout.thinking_budgets {
            match self.lowered_budget(budget.value, most) {
                Some(lowered) => splices.push(Splice::number(&budget.at, lowered)),
                None if budget.odd => splices.push(Splice::number(&budget.at, budget.value)),
                None => {}
            }
        }
        if let Some(answers) = self.layout.answers.as_ref().filter(|answers| answers.odd) {
            splices.push(Splice::number(&answers.at, answers.value));
        }
        splices.extend(splice::cuts(&self.layout.withheld));
        splices.extend(self.layout.edits.iter().map(|(at, text)| Splice::new(at.clone(), *text)));
        if usage_added {
            splices.extend(self.stream_usage());
        }
        splices
    }

    fn stream_usage(&self) -> Option<Splice> {
        let (at, replacement): (Span, &[u8]) = match self.layout.stream_options.as_ref()? {
            StreamOptions::Absent => {
                let after_stream = self.layout.stream_end?;
                (after_stream..after_stream, br#","stream_options":{"include_usage":true}"#)
            }
            StreamOptions::Null(null) => (null.clone(), br#"{"include_usage":true}"#),
            StreamOptions::Object { include_usage: Some((_, value)), .. } => (value.clone(), b"true"),
            StreamOptions::Object { inside, empty: true, .. } => (*inside..*inside, br#""include_usage":true"#),
            StreamOptions::Object { inside, empty: false, .. } => (*inside..*inside, br#""include_usage":true,"#),
        };
        Some(Splice::new(at, replacement))
    }
}
