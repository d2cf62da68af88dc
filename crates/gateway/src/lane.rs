//! How an answer passes to the caller. Chosen by what the provider really sent, not by what it was asked for.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::response;
use systemprompt_llm::UsageChunkFilter;

/// Whether the provider answers with a stream of events that is to reach the caller as one. Error answers are whole.
pub(crate) fn is_stream(head: &response::Parts) -> bool {
    head.status.is_success()
        && head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// What the caller gets of a streamed answer, and when.
pub(crate) enum AnswerLane {
    /// Every piece as it comes. The filter takes out the usage chunk the gateway asked for and the caller did not.
    Relay(Option<UsageChunkFilter>),
}

impl AnswerLane {
    /// Takes a piece from the provider and gives what may go to the caller now, which may be nothing.
    pub(crate) fn feed(&mut self, piece: Bytes) -> Bytes {
        match self {
            Self::Relay(None) => piece,
            Self::Relay(Some(filter)) => filter.feed(piece),
        }
    }

    /// Gives what was kept back of an answer that is at its end.
    pub(crate) fn finish(&mut self) -> Bytes {
        match self {
            Self::Relay(filter) => filter.take().map(UsageChunkFilter::finish).unwrap_or_default(),
        }
    }
}
