//! An answer as the wires have it in common.

use serde_json::Value;

use crate::asked::Asked;
use crate::behaviour::{Behaviour, Fault, MockSearch, MockStop, MockUsage};

/// What proves to a provider that thinking is its own.
pub(crate) const SIGNATURE: &str = "bW9jayBzaWduYXR1cmU=";

/// One answer. A writer per wire puts it into words.
pub(crate) struct Said<'a> {
    pub(crate) model: &'a str,
    pub(crate) thinking: Option<&'a str>,
    /// The text, in the parts a stream has it in.
    pub(crate) parts: Vec<String>,
    pub(crate) calls: Vec<Call<'a>>,
    pub(crate) search: Option<&'a MockSearch>,
    /// There is an image behind the text.
    pub(crate) has_image: bool,
    pub(crate) stop: Stop<'a>,
    pub(crate) usage: Option<MockUsage>,
    /// A stream says what was used, where that is up to the caller.
    pub(crate) stream_usage: bool,
    /// A stream says that it ends.
    pub(crate) terminal: bool,
}

/// A call of a tool.
pub(crate) struct Call<'a> {
    /// `mock`, `mock_2`, …, behind whatever the wire begins ids with.
    pub(crate) id: String,
    pub(crate) name: &'a str,
    pub(crate) input: &'a Value,
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop<'a> {
    End,
    Tools,
    Length,
    Refusal,
    Sequence(&'a str),
}

impl<'a> Said<'a> {
    /// What is said to a request.
    pub(crate) fn new(asked: &'a Asked, behaviour: &'a Behaviour, fault: Option<&Fault>) -> Self {
        let calls_tools = !(behaviour.tool_calls_once && asked.has_results);
        let calls = behaviour.tool_calls.iter().filter(|_| calls_tools).enumerate().map(|(at, call)| Call {
            id: if at == 0 { "mock".to_owned() } else { format!("mock_{}", at + 1) },
            name: &call.name,
            input: &call.input,
        });
        let calls: Vec<Call<'a>> = calls.collect();
        let stop = match &behaviour.stop {
            Some(MockStop::Length) => Stop::Length,
            Some(MockStop::Refusal) => Stop::Refusal,
            Some(MockStop::StopSequence(text)) => Stop::Sequence(text),
            None if calls.is_empty() => Stop::End,
            None => Stop::Tools,
        };
        Self {
            model: &asked.model,
            thinking: behaviour.thinking.as_deref(),
            parts: parts(behaviour, fault),
            calls,
            search: behaviour.search.as_ref(),
            has_image: asked.has_image,
            stop,
            usage: behaviour.usage,
            stream_usage: asked.stream_usage,
            terminal: fault != Some(&Fault::NoTerminalEvent),
        }
    }

    /// All of the text.
    pub(crate) fn text(&self) -> String {
        self.parts.concat()
    }
}

impl Call<'_> {
    /// The arguments as text, in two parts.
    pub(crate) fn arguments(&self) -> [String; 2] {
        let text = self.input.to_string();
        let middle = (text.len() / 2..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        [text[..middle].to_owned(), text[middle..].to_owned()]
    }
}

/// Answers that shall be cut inside characters need characters that can be cut.
fn parts(behaviour: &Behaviour, fault: Option<&Fault>) -> Vec<String> {
    let Some(text) = &behaviour.text else {
        let part = match fault {
            Some(Fault::SplitUtf8) if behaviour.chunk_text.is_ascii() => "é€😀 ",
            _ => &behaviour.chunk_text,
        };
        return vec![part.to_owned(); behaviour.chunks];
    };
    let characters: Vec<char> = text.chars().collect();
    let size = characters.len().div_ceil(behaviour.chunks.max(1)).max(1);
    characters.chunks(size).map(|part| part.iter().collect()).collect()
}
