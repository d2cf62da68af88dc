//! What the mock says, written out before anybody asks.

use bytes::Bytes;

use crate::asked::Asked;
use crate::behaviour::{Behaviour, Fault};
use crate::said::Said;
use crate::wire::{Event, GARBAGE, Wire, frame};

/// The parts of an answer in order and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) content_type: &'static str,
    pub(crate) frames: Vec<Bytes>,
    /// The length the answer would have if nothing went wrong. Only a buffered answer says it.
    pub(crate) length: Option<u64>,
    pub(crate) ending: Ending,
    /// Each frame goes out by itself, even if there is no delay between them.
    pub(crate) separately: bool,
}

/// What happens after the last part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Proper,
    Close,
    Hang,
}

/// Writes the answer to a request. Faults that show before the body are the server's business.
pub(crate) fn write(wire: Wire, asked: &Asked, behaviour: &Behaviour, fault: Option<&Fault>) -> Script {
    let said = Said::new(asked, behaviour, fault);
    let garbles = fault == Some(&Fault::GarbageJson);
    // The frame before the first part opens the stream, on wires that have something to say there.
    let mut opening = 0;
    let mut script = if asked.stream {
        let events = wire.events(&said);
        opening = usize::from(events.first().is_some_and(|first| !first.is_empty()));
        let frames = streamed(wire, asked, events, fault);
        let content_type = match (wire.is_framed(), asked.array) {
            (true, _) => "application/vnd.amazon.eventstream",
            (false, true) => "application/json",
            (false, false) => "text/event-stream",
        };
        Script { content_type, frames, length: None, ending: Ending::Proper, separately: false }
    } else {
        let body = if garbles { GARBAGE.to_owned() } else { wire.whole(&said).to_string() };
        let length = Some(body.len() as u64);
        let frames = vec![Bytes::from(body)];
        Script { content_type: "application/json", frames, length, ending: Ending::Proper, separately: false }
    };
    match fault {
        Some(Fault::CloseMidStream { after_chunks }) => script.cut(asked.stream, opening + after_chunks, Ending::Close),
        Some(Fault::HangMidStream { after_chunks }) => script.cut(asked.stream, opening + after_chunks, Ending::Hang),
        Some(Fault::SplitUtf8) => script.split_characters(),
        _ => {}
    }
    script
}

/// The bytes of a stream: what opens it, each part of the text, what ends it.
fn streamed(wire: Wire, asked: &Asked, events: Vec<Vec<Event>>, fault: Option<&Fault>) -> Vec<Bytes> {
    let encoded = |event: &Event| {
        let garbles = fault == Some(&Fault::GarbageJson) && event.data != "[DONE]";
        let event = if garbles { &event.garbled() } else { event };
        wire.encoded(event)
    };
    let mut begun = false;
    let mut frames: Vec<Vec<u8>> = Vec::with_capacity(events.len());
    for frame in &events {
        let mut bytes = Vec::new();
        for event in frame {
            if asked.array {
                bytes.extend_from_slice(if begun { b",\r\n" } else { b"[" });
                bytes.extend_from_slice(event.data.as_bytes());
            } else {
                bytes.extend(encoded(event));
            }
            begun = true;
        }
        frames.push(bytes);
    }
    if asked.array {
        frames.last_mut().expect("what ends it").extend_from_slice(b"]");
    }
    if let Some(Fault::GarbageChunk { after_chunks }) = fault {
        let garbage = if wire.is_framed() {
            let mut damaged = frame("chunk", b"{}");
            if let Some(last) = damaged.last_mut() {
                *last ^= 1;
            }
            damaged
        } else {
            Event { name: "garbage".to_owned(), data: GARBAGE.to_owned() }.named().into_bytes()
        };
        frames.insert((after_chunks + 1).min(frames.len() - 1), garbage);
    }
    frames.into_iter().filter(|frame| !frame.is_empty()).map(Bytes::from).collect()
}

impl Script {
    fn cut(&mut self, streamed: bool, frames: usize, ending: Ending) {
        if streamed {
            self.frames.truncate(frames);
        } else if let [whole] = self.frames.as_mut_slice() {
            whole.truncate(whole.len() / 2);
        }
        self.ending = ending;
        self.separately = true;
    }

    /// Cuts the answer after the first byte of every character that has more than one.
    fn split_characters(&mut self) {
        let whole = Bytes::from(self.frames.concat());
        let mut start = 0;
        self.frames.clear();
        for at in (1..whole.len()).filter(|at| whole[at - 1] >= 0xC0) {
            self.frames.push(whole.slice(start..at));
            start = at;
        }
        self.frames.push(whole.slice(start..));
        self.separately = true;
    }
}
