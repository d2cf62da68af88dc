//! The pace of a streamed answer.

use bytes::Bytes;

/// A part of a streamed answer and how long a real model would take to produce it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoEvent {
    /// One or more whole server-sent events.
    pub bytes: Bytes,
    /// How long to wait before sending them, in milliseconds.
    pub delay_ms: u32,
}

/// Time to the first token of a real model, roughly.
const FIRST_TOKEN_MS: u32 = 180;

/// Time from one token to the next, roughly that of a model with fifty tokens a second.
const NEXT_TOKEN_MS: u32 = 20;

/// The events of a stream, with the pace of a model.
#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) events: Vec<DemoEvent>,
    spoke: bool,
}

impl Stream {
    /// Adds an event that follows the one before at once.
    pub(crate) fn push(&mut self, event: Vec<u8>) {
        self.events.push(DemoEvent { bytes: event.into(), delay_ms: 0 });
    }

    /// Adds an event that carries a token.
    pub(crate) fn push_token(&mut self, event: Vec<u8>) {
        let delay_ms = if std::mem::replace(&mut self.spoke, true) { NEXT_TOKEN_MS } else { FIRST_TOKEN_MS };
        self.events.push(DemoEvent { bytes: event.into(), delay_ms });
    }
}

/// Cuts a text where a model would: before each word.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.char_indices().skip(1).find(|(_, character)| *character == ' ').map_or(rest.len(), |(at, _)| at);
        let (token, after) = rest.split_at(end);
        rest = after;
        (!token.is_empty()).then_some(token)
    })
}

/// Cuts the text of a tool input, which has few spaces, into pieces of about a token.
pub(crate) fn input_tokens(input: &str) -> impl Iterator<Item = &str> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let (token, after) = rest.split_at(rest.ceil_char_boundary(rest.len().min(12)));
        rest = after;
        (!token.is_empty()).then_some(token)
    })
}
