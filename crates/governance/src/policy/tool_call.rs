//! Calls of tools as policies see them: those that a client is about to make, those that a model asks for, and those that
//! it may ask for because it was offered the tools.

use systemprompt_extension::policy::{Phase, PolicyInput, Subject, Verdict, Violation};

use crate::config::OfferedMode;

/// Most tools that a sentence names.
const NAMED: usize = 4;
/// Most characters of the name of a tool that are shown.
const SHOWN: usize = 64;
/// What is said of what is no tool call and offers none.
const NO_CALL: &str = "not a tool call";

/// A call of a tool that is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToolCall<'a> {
    /// The tool's full name.
    pub(super) name: &'a str,
    phase: Phase,
    complete: bool,
}

impl<'a> ToolCall<'a> {
    /// The call that is judged, if it is one.
    pub(super) fn of(input: &PolicyInput<'a>) -> Option<Self> {
        let Subject::ToolCall { name } = input.subject else { return None };
        Some(Self { name, phase: input.phase, complete: input.complete })
    }

    /// Whether a model asks for it: nobody has made it yet, and perhaps nobody will.
    pub(super) fn is_proposal(self) -> bool {
        self.phase == Phase::After
    }

    /// The same objection, saying who wants what. A client knows what it asked about; of an answer nobody has seen anything.
    pub(super) fn objection(self, violation: Violation) -> Violation {
        if !self.is_proposal() {
            return violation;
        }
        let (name, reason) = (shown(self.name), &violation.reason);
        let reason = if self.complete {
            format!("the model asks for {name}: {reason}")
        } else {
            format!("the model may ask for {name} in what is too large to be judged: {reason}")
        };
        Violation { reason, ..violation }
    }
}

/// What is said of something that is no call: of a prompt, whether the model is offered tools that `is_meant`.
pub(super) fn judge_offered(
    input: &PolicyInput<'_>,
    is_meant: impl Fn(&str) -> bool,
    mode: OfferedMode,
    object: impl FnOnce(String) -> Violation,
) -> Verdict {
    let offered = match (input.phase, input.subject) {
        (Phase::Before, Subject::Prompt) => input.offered_tools.names(),
        _ => &[],
    };
    if offered.is_empty() {
        return Verdict::Skip(NO_CALL.into());
    }
    let Some(tools) = named(offered.iter().map(String::as_str).filter(|name| is_meant(name))) else {
        return Verdict::Pass;
    };
    match mode {
        OfferedMode::Note => Verdict::Note(object(tools).reason.into()),
        OfferedMode::Deny => Verdict::Fail(object(tools)),
    }
}

/// The first few of these tools, and how many there are besides. Nothing if there are none.
fn named<'a>(mut tools: impl Iterator<Item = &'a str>) -> Option<String> {
    let first: Vec<String> = tools.by_ref().take(NAMED).map(shown).collect();
    let more = tools.count();
    match (first.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(first.join(", ")),
        (false, more) => Some(format!("{} and {more} more", first.join(", "))),
    }
}

/// A name that somebody else chose, as it is put into a sentence.
fn shown(name: &str) -> String {
    let mut characters = name.chars();
    let beginning: String = characters.by_ref().take(SHOWN).flat_map(char::escape_debug).collect();
    let rest = if characters.next().is_some() { "…" } else { "" };
    format!("`{beginning}{rest}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_a_few_tools_and_nothing_that_is_no_text() {
        assert_eq!(named([].into_iter()), None);
        assert_eq!(named(["a", "b"].into_iter()).as_deref(), Some("`a`, `b`"));
        assert_eq!(named(["a"; 7].into_iter()).as_deref(), Some("`a`, `a`, `a`, `a` and 3 more"));
        assert_eq!(shown("drop\u{1b}[31m"), "`drop\\u{1b}[31m`");
        assert_eq!(shown(&"x".repeat(65)), format!("`{}…`", "x".repeat(64)));
    }
}
