//! The binary event streams of AWS as server-sent events.
//!
//! A frame is: its length, the length of its headers, a checksum of both, headers, payload, a checksum of all before it;
//! numbers are big-endian and checksums CRC-32.
//! <https://smithy.io/2.0/aws/amazon-eventstream.html>
//!
//! [`EventStream`] takes pieces as they come and writes what they say: of Anthropic models the events of Anthropic
//! Messages, which Bedrock wraps in Base64; of others `{"<event type>": <payload>}`. An exception becomes the event that
//! says so in the format.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use systemprompt_model::json::loose;

use crate::cloud::cloud_error;
use crate::format::Format;
use crate::sse;

/// Lengths and the checksum of both.
const PRELUDE: usize = 12;
/// The checksum at the end.
const CHECKSUM: usize = 4;
/// AWS allows payloads of 24 MiB and headers of 128 KiB.
const LONGEST: usize = 24 * 1024 * 1024 + LONGEST_HEADERS + PRELUDE + CHECKSUM;
const LONGEST_HEADERS: usize = 128 * 1024;

/// A stream that is no stream of frames, or is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length that no frame has.
    #[error("a frame has an impossible length")]
    Length,
    /// A checksum that is not that of the bytes.
    #[error("a frame has a wrong checksum")]
    Checksum,
    /// Headers that cannot be read.
    #[error("the headers of a frame cannot be read")]
    Headers,
    /// A chunk that holds no event.
    #[error("a frame holds no event")]
    Payload,
    /// It ends inside a frame.
    #[error("the stream ends inside a frame")]
    Cut,
}

/// Reads a stream of frames, piece by piece.
#[derive(Debug)]
pub struct EventStream {
    format: Format,
    /// The beginning of a frame that is not all there yet.
    held: Vec<u8>,
}

impl EventStream {
    /// A stream whose events are of this format.
    pub fn new(format: Format) -> Self {
        Self { format, held: Vec::new() }
    }

    /// Takes the next piece and appends the server-sent events of the frames it completes.
    ///
    /// # Errors
    ///
    /// The stream is damaged; nothing after this can be read.
    pub fn feed(&mut self, piece: &[u8], events: &mut Vec<u8>) -> Result<(), FrameError> {
        // Most frames come whole, and are then read where they are.
        let whole;
        let mut rest: &[u8] = if self.held.is_empty() {
            piece
        } else {
            self.held.extend_from_slice(piece);
            whole = std::mem::take(&mut self.held);
            &whole
        };
        while let Some(length) = length(rest)? {
            let Some((frame, after)) = rest.split_at_checked(length) else { break };
            self.frame(frame, events)?;
            rest = after;
        }
        self.held = rest.to_vec();
        Ok(())
    }

    /// The stream has ended.
    ///
    /// # Errors
    ///
    /// It ended inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.held.is_empty() { Ok(()) } else { Err(FrameError::Cut) }
    }

    fn frame(&self, frame: &[u8], events: &mut Vec<u8>) -> Result<(), FrameError> {
        let (checked, checksum) = frame.split_at(frame.len() - CHECKSUM);
        if crc32fast::hash(checked) != number(checksum) {
            return Err(FrameError::Checksum);
        }
        let (headers, payload) = checked[PRELUDE..].split_at(number(&checked[4..8]) as usize);
        let headers = Headers::read(headers)?;
        match headers.message_type {
            b"event" => event(headers.event_type, payload, events),
            b"exception" => {
                self.exception(headers.exception_type, payload, events);
                Ok(())
            }
            b"error" => {
                let message = serde_json::json!({ "message": String::from_utf8_lossy(headers.error_message) });
                self.exception(headers.error_code, message.to_string().as_bytes(), events);
                Ok(())
            }
            _ => Err(FrameError::Headers),
        }
    }

    /// What went wrong, as the format says it: Anthropic's in its own words, others as one more kind of event.
    fn exception(&self, kind: &[u8], payload: &[u8], events: &mut Vec<u8>) {
        if self.format != Format::AnthropicMessages {
            events.extend(wrapped(kind, payload));
            return;
        }
        let status = match kind.to_ascii_lowercase().as_slice() {
            b"throttlingexception" => 429,
            b"validationexception" => 400,
            b"modeltimeoutexception" => 504,
            b"serviceunavailableexception" => 503,
            b"accessdeniedexception" => 403,
            // `modelStreamErrorException`, `internalServerException` and what else there may be.
            _ => 502,
        };
        let body = cloud_error(self.format, status, payload).unwrap_or_else(|| payload.to_vec());
        events.extend((self.format.definition().error_events)(&body, None, None));
    }
}

fn event(kind: &[u8], payload: &[u8], events: &mut Vec<u8>) -> Result<(), FrameError> {
    if kind == b"chunk" {
        let [bytes] = loose::pick(payload, ["bytes"]);
        let bytes = bytes.and_then(loose::text).ok_or(FrameError::Payload)?;
        let event = STANDARD.decode(bytes.as_bytes()).map_err(|_| FrameError::Payload)?;
        let [name] = loose::pick(&event, ["type"]);
        let name = name.and_then(loose::text).unwrap_or_default();
        let begin = format!("event: {}\n", name.replace(['\n', '\r'], " "));
        events.extend(sse::event(begin.as_bytes(), &one_line(&event)));
        return Ok(());
    }
    // The protocol lets a service begin with an answer to the request itself, which says nothing here.
    if kind != b"initial-response" {
        events.extend(wrapped(kind, payload));
    }
    Ok(())
}

/// An event whose data is an object with its kind as its only member.
fn wrapped(kind: &[u8], payload: &[u8]) -> Vec<u8> {
    let kind = Value::from(String::from_utf8_lossy(kind));
    let payload = if payload.trim_ascii().is_empty() { b"{}" } else { payload };
    let data = [b"{", kind.to_string().as_bytes(), b":", payload, b"}"].concat();
    sse::event(b"", &one_line(&data))
}

/// The length of the frame that begins here, as soon as that can be told.
fn length(rest: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(prelude) = rest.get(..PRELUDE) else { return Ok(None) };
    let (lengths, checksum) = prelude.split_at(8);
    if crc32fast::hash(lengths) != number(checksum) {
        return Err(FrameError::Checksum);
    }
    let (all, headers) = (number(&lengths[..4]) as usize, number(&lengths[4..]) as usize);
    let fits = all <= LONGEST && headers <= LONGEST_HEADERS && all >= PRELUDE + headers + CHECKSUM;
    if fits { Ok(Some(all)) } else { Err(FrameError::Length) }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

/// JSON may have line ends between its parts, and a server-sent event has none.
fn one_line(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\n', b'\r', text).is_none() {
        return Cow::Borrowed(text);
    }
    text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
}

/// The headers that say what a frame is.
#[derive(Default)]
struct Headers<'a> {
    message_type: &'a [u8],
    event_type: &'a [u8],
    exception_type: &'a [u8],
    error_code: &'a [u8],
    error_message: &'a [u8],
}

impl<'a> Headers<'a> {
    fn read(mut rest: &'a [u8]) -> Result<Self, FrameError> {
        let mut headers = Self::default();
        let take = |rest: &mut &'a [u8], length: usize| {
            let (taken, after) = rest.split_at_checked(length).ok_or(FrameError::Headers)?;
            *rest = after;
            Ok::<_, FrameError>(taken)
        };
        while !rest.is_empty() {
            let length = number(take(&mut rest, 1)?) as usize;
            let name = take(&mut rest, length)?;
            let kind = number(take(&mut rest, 1)?);
            let length = match kind {
                0 | 1 => 0,
                2 => 1,
                3 => 2,
                4 => 4,
                5 | 8 => 8,
                6 | 7 => number(take(&mut rest, 2)?) as usize,
                9 => 16,
                _ => return Err(FrameError::Headers),
            };
            let value = take(&mut rest, length)?;
            match (kind, name) {
                (7, b":message-type") => headers.message_type = value,
                (7, b":event-type") => headers.event_type = value,
                (7, b":exception-type") => headers.exception_type = value,
                (7, b":error-code") => headers.error_code = value,
                (7, b":error-message") => headers.error_message = value,
                _ => {}
            }
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with text headers.
    fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let mut written = Vec::new();
        for (name, value) in headers {
            written.push(u8::try_from(name.len()).expect("short"));
            written.extend_from_slice(name.as_bytes());
            written.push(7);
            written.extend_from_slice(&u16::try_from(value.len()).expect("short").to_be_bytes());
            written.extend_from_slice(value.as_bytes());
        }
        let all = u32::try_from(PRELUDE + written.len() + payload.len() + CHECKSUM).expect("short");
        let mut frame = all.to_be_bytes().to_vec();
        frame.extend_from_slice(&u32::try_from(written.len()).expect("short").to_be_bytes());
        frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
        frame.extend_from_slice(&written);
        frame.extend_from_slice(payload);
        frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
        frame
    }

    fn chunk(event: &str) -> Vec<u8> {
        let payload = format!(r#"{{"bytes":"{}","p":"abcdef"}}"#, STANDARD.encode(event));
        frame(
            &[(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")],
            payload.as_bytes(),
        )
    }

    fn read(format: Format, stream: &[u8], size: usize) -> Result<String, FrameError> {
        let (mut reader, mut events) = (EventStream::new(format), Vec::new());
        for piece in stream.chunks(size.max(1)) {
            reader.feed(piece, &mut events)?;
        }
        reader.finish()?;
        Ok(String::from_utf8(events).expect("text"))
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let one = r#"{"type":"message_start","message":{"id":"m"}}"#;
        let two = r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":1}}"#;
        let stream = [chunk(one), chunk(two)].concat();
        let expected = format!("event: message_start\ndata: {one}\n\nevent: message_stop\ndata: {two}\n\n");
        for size in [1, 7, 12, 100, stream.len()] {
            assert_eq!(read(Format::AnthropicMessages, &stream, size).as_deref(), Ok(expected.as_str()), "{size}");
        }
    }

    #[test]
    fn exceptions_are_errors_of_the_format() {
        for (kind, word) in [
            ("throttlingException", "rate_limit_error"),
            ("validationException", "invalid_request_error"),
            ("modelTimeoutException", "api_error"),
            ("modelStreamErrorException", "api_error"),
            ("internalServerException", "api_error"),
        ] {
            let headers = [(":exception-type", kind), (":message-type", "exception")];
            let stream = frame(&headers, br#"{"message":"too many"}"#);
            let events = read(Format::AnthropicMessages, &stream, 9).expect("a stream");
            assert!(events.starts_with("event: error\ndata: {\"type\":\"error\""), "{events}");
            assert!(events.contains(word) && events.contains("too many"), "{kind}: {events}");
        }
        let headers = [(":message-type", "error"), (":error-code", "InternalError"), (":error-message", "no luck")];
        let events = read(Format::AnthropicMessages, &frame(&headers, b""), 9).expect("a stream");
        assert!(events.contains("no luck"), "{events}");
    }

    #[test]
    fn events_of_other_formats_have_their_kind_as_a_key() {
        let event = |kind, payload: &[u8]| frame(&[(":event-type", kind), (":message-type", "event")], payload);
        let stream = [
            event("initial-response", b"{}"),
            event("messageStart", b"{\"role\":\n\"assistant\"}"),
            event("contentBlockStop", b""),
            frame(
                &[(":exception-type", "throttlingException"), (":message-type", "exception")],
                b"{\"message\":\"m\"}",
            ),
        ]
        .concat();
        let expected = concat!(
            "data: {\"messageStart\":{\"role\": \"assistant\"}}\n\n",
            "data: {\"contentBlockStop\":{}}\n\n",
            "data: {\"throttlingException\":{\"message\":\"m\"}}\n\n"
        );
        assert_eq!(read(Format::OpenAiChat, &stream, 8).as_deref(), Ok(expected));
    }

    #[test]
    fn damage_is_told() {
        let good = chunk(r#"{"type":"ping"}"#);
        for at in [0, 5, 9, 20, good.len() - 20, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(read(Format::AnthropicMessages, &bad, 11), Err(FrameError::Checksum), "byte {at}");
        }
        for end in [1, 11, 12, good.len() - 1] {
            assert_eq!(read(Format::AnthropicMessages, &good[..end], 5), Err(FrameError::Cut), "{end} bytes");
        }
        let mut endless = vec![0xFF; 8];
        endless.extend_from_slice(&crc32fast::hash(&endless).to_be_bytes());
        assert_eq!(read(Format::AnthropicMessages, &endless, 99), Err(FrameError::Length));
        let empty = frame(&[(":event-type", "chunk"), (":message-type", "event")], b"{}");
        assert_eq!(read(Format::AnthropicMessages, &empty, 99), Err(FrameError::Payload));
        assert_eq!(read(Format::AnthropicMessages, &frame(&[], b""), 99), Err(FrameError::Headers));
    }
}
