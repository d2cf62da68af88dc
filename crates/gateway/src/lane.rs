//! How an answer passes to the caller. Chosen by what the provider really sent, not by what it was asked for.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap};
use http::response;
use systemprompt_llm::{
    AnswerSummary, AnswerTap, ErrorAnswer, Format, Replacement, StreamTexts, StreamWindow, Unreplaceable, WindowFull,
};

use crate::passage::Passage;
use crate::upstream::UpstreamBody;

/// A stream that is held back may have this size; beyond it the call fails instead of filling our memory.
const HELD_LIMIT: usize = 16 * 1024 * 1024;

/// How long to wait for the beginning of what is called a stream, to see whether it is one. Providers send the head of a
/// stream long before its first event, and a wrong name along with all of a short answer.
const SNIFF_WAIT: Duration = Duration::from_secs(1);

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A stream of events.
    Events,
    /// One JSON text.
    Json,
    /// A stream that says nothing but that the provider does not accept our credential. It must not reach the caller.
    Refusal,
    /// A stream that says nothing but that the provider failed, and the status that means it.
    Failure(u16),
    /// Something else, or nothing.
    Other,
}

/// How an answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    /// Like this.
    As(Shape),
    /// It may become clear with more of it.
    Unclear,
    /// Like neither.
    Strangely,
}

impl Shape {
    /// Looks at how an answer begins; what it is called counts only where that tells nothing. Error answers are whole, so
    /// that their status can be judged with what they say. Waits at most `patience` for the first byte.
    pub(crate) async fn of(
        head: &response::Parts,
        body: UpstreamBody,
        patience: Duration,
        format: Format,
    ) -> (Self, UpstreamBody) {
        if !head.status.is_success() {
            return (Self::Other, body);
        }
        let called = Self::called(&head.headers);
        let wait = if called == Self::Events { SNIFF_WAIT.min(patience) } else { patience };
        let (beginning, body) = body.peek(wait, |beginning| Self::begun(beginning) != Begun::Unclear).await;
        match Self::begun(&beginning) {
            Begun::As(Self::Events) => (Self::of_stream(format, &beginning), body),
            Begun::As(shape) => (shape, body),
            Begun::Unclear | Begun::Strangely => (called, body),
        }
    }

    /// A stream, unless it begins with an error and says nothing else.
    fn of_stream(format: Format, beginning: &[u8]) -> Self {
        let mut tap = AnswerTap::new(format, true, 0, 0);
        tap.feed(beginning);
        if !tap.terminal_seen() {
            return Self::Events;
        }
        match tap.finish() {
            AnswerSummary { error: Some(error), .. } if error.is_about_credentials(None) => Self::Refusal,
            AnswerSummary { error: Some(error), text, .. } if text.bytes == 0 => Self::Failure(error.http_status()),
            _ => Self::Events,
        }
    }

    /// What the provider calls it.
    fn called(headers: &HeaderMap) -> Self {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "text/event-stream" => Self::Events,
            "application/json" => Self::Json,
            _ => Self::Other,
        }
    }

    /// What its first bytes say.
    fn begun(beginning: &[u8]) -> Begun {
        let text = beginning.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(beginning).trim_ascii_start();
        let fields = [&b"data:"[..], b"event:", b"id:", b"retry:", b":"];
        match text.first() {
            Some(b'{' | b'[') => Begun::As(Self::Json),
            _ if fields.iter().any(|field| text.starts_with(field)) => Begun::As(Self::Events),
            _ if b"\xEF\xBB\xBF".starts_with(text) || fields.iter().any(|field| field.starts_with(text)) => {
                Begun::Unclear
            }
            _ => Begun::Strangely,
        }
    }
}

/// What the caller gets of a streamed answer, and when.
pub(crate) enum AnswerLane {
    /// Every piece when it comes.
    Open(Passage),
    /// Every event when it comes, but for the last characters, which are looked at before.
    Guarded(Box<StreamWindow>, Passage),
    /// Nothing before policies have seen all of it.
    Screened(Box<Held>, Passage),
}

/// A stream that is held back.
pub(crate) struct Held {
    stream: BytesMut,
    /// Puts its texts together: a word a policy looks for may be cut by the events.
    texts: StreamTexts,
}

/// A stream that is held back has become too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl AnswerLane {
    /// The lane of an answer that policies want to see before the caller does.
    pub(crate) fn screened(passage: Passage) -> Self {
        let texts = StreamTexts::new(HELD_LIMIT);
        Self::Screened(Box::new(Held { stream: BytesMut::new(), texts }), passage)
    }

    /// The lane of an answer in which up to `choices` texts are said in turns, and of each of which so many characters are
    /// held back until they have been looked at; with `words`, the last word of each as well.
    pub(crate) fn guarded(passage: Passage, characters: usize, words: bool, choices: u64) -> Self {
        let choices = usize::try_from(choices).unwrap_or(usize::MAX);
        let window = StreamWindow::new(characters, choices, HELD_LIMIT);
        Self::Guarded(Box::new(if words { window.of_words() } else { window }), passage)
    }

    /// Takes a piece from the provider, whose model may have `stopped`, and gives what may go to the caller now, which may
    /// be nothing.
    pub(crate) fn feed(&mut self, piece: Bytes, stopped: bool) -> Result<Bytes, TooLarge> {
        match self {
            Self::Open(passage) => Ok(passage.feed(piece)),
            Self::Guarded(window, passage) => {
                window.feed(&piece).map_err(|WindowFull| TooLarge)?;
                // What says nothing more need not wait for more.
                let all = stopped && !window.is_due(true);
                Ok(released(window, passage, all))
            }
            Self::Screened(held, _) => {
                if held.stream.len() + piece.len() > HELD_LIMIT {
                    return Err(TooLarge);
                }
                held.texts.feed(&piece);
                held.stream.extend_from_slice(&piece);
                Ok(Bytes::new())
            }
        }
    }

    /// What is to be looked at before more of a guarded answer goes to the caller; once its model has `stopped`, whatever is
    /// new.
    pub(crate) fn fresh(&self, stopped: bool) -> Option<Vec<String>> {
        match self {
            Self::Guarded(window, _) if window.is_due(stopped) => Some(window.fresh()),
            _ => None,
        }
    }

    /// The same of an answer that is at its end.
    pub(crate) fn last(&mut self) -> Option<Vec<String>> {
        if let Self::Guarded(window, _) = self {
            window.end();
        }
        self.fresh(true)
    }

    /// Replaces what was found in what was to be looked at.
    pub(crate) fn replace(&mut self, found: Vec<Replacement>) -> Result<(), Unreplaceable> {
        match self {
            Self::Guarded(window, _) => window.replace(found),
            Self::Open(_) | Self::Screened(..) => Err(Unreplaceable),
        }
    }

    /// Nothing is said against what was to be looked at: gives what may go to the caller for that, which is all of it once
    /// the model has `stopped`.
    pub(crate) fn cleared(&mut self, stopped: bool) -> Bytes {
        match self {
            Self::Guarded(window, passage) => {
                window.cleared();
                released(window, passage, stopped)
            }
            Self::Open(_) | Self::Screened(..) => Bytes::new(),
        }
    }

    /// Why no more of the provider's bytes is read, once that is so and the caller has been told.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        match self {
            // It has had only what was looked at.
            Self::Open(passage) | Self::Guarded(_, passage) => passage.trouble(),
            // The caller has nothing yet.
            Self::Screened(..) => None,
        }
    }

    /// Gives what was kept back of an answer that is at its end and was not screened.
    pub(crate) fn finish(&mut self) -> Bytes {
        match self {
            Self::Open(passage) => passage.finish(),
            Self::Guarded(window, passage) => {
                let given = released(window, passage, true);
                joined(given, passage.finish())
            }
            Self::Screened(..) => Bytes::new(),
        }
    }

    /// The end of a stream that goes wrong: `begun` of one of whose events the caller has some, with that it has whole ones,
    /// and `fresh` of one of which it has nothing.
    pub(crate) fn fail(
        &mut self,
        error: &ErrorAnswer,
        begun: impl FnOnce() -> (Vec<u8>, bool),
        fresh: impl FnOnce() -> Vec<u8>,
    ) -> Bytes {
        match self {
            Self::Open(passage) => passage.fail(error, begun),
            // The caller has whole events.
            Self::Guarded(_, passage) => passage.fail(error, || (begun().0, true)),
            Self::Screened(_, passage) => passage.fail(error, || (fresh(), true)),
        }
    }

    /// Whether an event of ours may be inserted where the caller's stream stands; `provider` says so of the provider's.
    pub(crate) fn at_boundary(&self, provider: bool) -> bool {
        match self {
            Self::Open(passage) => passage.at_boundary(provider),
            Self::Guarded(..) | Self::Screened(..) => true,
        }
    }

    /// Takes the answer that was held back, if it was, and becomes the lane of an answer that is over.
    pub(crate) fn take_held(&mut self) -> Option<HeldAnswer> {
        match std::mem::replace(self, Self::Open(Passage::Relayed(None))) {
            Self::Screened(held, passage) => Some(HeldAnswer::new(*held, passage)),
            other @ (Self::Open(_) | Self::Guarded(..)) => {
                *self = other;
                None
            }
        }
    }
}

/// A whole stream that was held back.
pub(crate) struct HeldAnswer {
    /// The bytes of the stream.
    pub(crate) stream: Bytes,
    /// What they say in pieces, in one piece each.
    pub(crate) said: Vec<String>,
    passage: Passage,
}

impl HeldAnswer {
    fn new(held: Held, passage: Passage) -> Self {
        Self { stream: held.stream.freeze(), said: held.texts.finish(), passage }
    }

    /// What the caller gets of this stream, which is the one that was held back but for what was replaced in it.
    pub(crate) fn given(mut self, stream: Bytes) -> Bytes {
        let given = self.passage.feed(stream);
        joined(given, self.passage.finish())
    }
}

/// What of a guarded stream may go to the caller, as the caller gets it.
fn released(window: &mut StreamWindow, passage: &mut Passage, all: bool) -> Bytes {
    let events = window.release(all);
    if events.is_empty() { events } else { passage.feed(events) }
}

fn joined(given: Bytes, rest: Bytes) -> Bytes {
    if rest.is_empty() { given } else { [given, rest].concat().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"for\"}}]}\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"bidden\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

    #[test]
    fn an_answer_is_what_it_begins_like() {
        for (beginning, shape) in [
            ("{\"id\"", Begun::As(Shape::Json)),
            ("\u{feff}\n {", Begun::As(Shape::Json)),
            ("[1]", Begun::As(Shape::Json)),
            ("data: {}", Begun::As(Shape::Events)),
            ("\n\nevent: message_start", Begun::As(Shape::Events)),
            (": OPENROUTER PROCESSING", Begun::As(Shape::Events)),
            ("id: 1", Begun::As(Shape::Events)),
            ("<html>", Begun::Strangely),
            ("  ", Begun::Unclear),
            ("da", Begun::Unclear),
            ("\nev", Begun::Unclear),
            ("", Begun::Unclear),
        ] {
            assert_eq!(Shape::begun(beginning.as_bytes()), shape, "{beginning}");
        }
        for (name, shape) in [
            ("Text/Event-Stream; charset=utf-8", Shape::Events),
            ("application/json;charset=UTF-8", Shape::Json),
            ("text/plain", Shape::Other),
            ("", Shape::Other),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, name.parse().expect("a header"))]);
            assert_eq!(Shape::called(&headers), shape, "{name}");
        }
        assert_eq!(Shape::called(&HeaderMap::new()), Shape::Other);
    }

    #[test]
    fn a_relayed_stream_passes_as_it_comes() {
        let mut lane = AnswerLane::Open(Passage::Relayed(None));
        assert_eq!(lane.feed(Bytes::from_static(STREAM), false), Ok(Bytes::from_static(STREAM)));
        assert!(lane.at_boundary(true) && !lane.at_boundary(false));
        assert_eq!(lane.finish(), "");
        assert!(lane.take_held().is_none());
    }

    #[test]
    fn a_screened_stream_is_held_back_and_its_text_put_together() {
        let mut lane = AnswerLane::screened(Passage::Relayed(None));
        for piece in STREAM.chunks(7) {
            assert_eq!(lane.feed(Bytes::copy_from_slice(piece), false), Ok(Bytes::new()));
            assert!(lane.at_boundary(false), "the caller has nothing yet");
        }
        let held = lane.take_held().expect("held back");
        assert_eq!((&held.stream[..], held.said[0].as_str()), (STREAM, "forbidden"));
        let stream = held.stream.clone();
        assert_eq!(held.given(stream), STREAM);
        assert_eq!(lane.finish(), "", "nothing is given twice");
    }

    #[test]
    fn a_guarded_stream_passes_as_it_comes_but_for_what_was_not_looked_at() {
        let mut lane = AnswerLane::guarded(Passage::Relayed(None), 100, false, 1);
        let mut given = Vec::new();
        for piece in STREAM.chunks(7) {
            given.extend_from_slice(&lane.feed(Bytes::copy_from_slice(piece), false).expect("room"));
            assert!(lane.at_boundary(false), "the caller has whole events");
        }
        assert_eq!((given.len(), lane.fresh(false)), (0, None), "too little for a look");
        assert_eq!(lane.last(), Some(vec!["forbidden".to_owned()]));
        given.extend_from_slice(&lane.cleared(true));
        given.extend_from_slice(&lane.finish());
        assert_eq!(given, STREAM);
        assert_eq!(lane.last(), None);
    }

    #[test]
    fn a_held_stream_has_a_limit() {
        let mut lane = AnswerLane::screened(Passage::Relayed(None));
        assert_eq!(lane.feed(vec![b'x'; HELD_LIMIT].into(), false), Ok(Bytes::new()));
        assert_eq!(lane.feed(Bytes::from_static(b"x"), false), Err(TooLarge));
    }
}
