//! One event of a stream, and the shapes it can have on a connection.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What is sent instead of JSON.
pub(crate) const GARBAGE: &str = "{\"id\": \"garbage\", <html>";

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
}

impl Event {
    /// An event of this name.
    pub(crate) fn new(name: &str, data: &Value) -> Self {
        Self { name: name.to_owned(), data: data.to_string() }
    }

    /// One that says its name in its data too.
    pub(crate) fn typed(name: &str, mut data: Value) -> Self {
        data["type"] = name.into();
        Self::new(name, &data)
    }

    /// One that is not JSON, named as this one.
    pub(crate) fn garbled(&self) -> Self {
        Self { name: self.name.clone(), data: GARBAGE.to_owned() }
    }

    /// A server-sent event with its name.
    pub(crate) fn named(&self) -> String {
        format!("event: {}\n{}", self.name, self.unnamed())
    }

    /// A server-sent event without it.
    pub(crate) fn unnamed(&self) -> String {
        format!("data: {}\n\n", self.data)
    }

    /// A frame of this type.
    pub(crate) fn as_frame(&self) -> Vec<u8> {
        frame(&self.name, self.data.as_bytes())
    }

    /// A frame that carries it in Base64, as Bedrock's streams of a model's own events have it.
    pub(crate) fn in_chunk(&self) -> Vec<u8> {
        frame("chunk", json!({ "bytes": base64(self.data.as_bytes()), "p": "abcdefgh" }).to_string().as_bytes())
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A frame of `application/vnd.amazon.eventstream`.
pub(crate) fn frame(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")] {
        headers.push(u8::try_from(name.len()).expect("a short name"));
        headers.extend_from_slice(name.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&u16::try_from(value.len()).expect("a short value").to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let length = |bytes: usize| u32::try_from(bytes).expect("less than 4 GiB").to_be_bytes();
    let mut frame = length(16 + headers.len() + payload.len()).to_vec();
    frame.extend_from_slice(&length(headers.len()));
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&headers);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}
