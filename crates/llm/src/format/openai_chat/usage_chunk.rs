//! Hiding the usage chunk a caller did not ask for.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use systemprompt_model::json::loose;

use crate::sse::LineEnds;

/// Takes the usage chunk out of an `openai-chat` stream whose caller did not ask for one.
///
/// The gateway asks providers for it to know what a request cost. Clients that did not ask may index `choices[0]`
/// without looking, so they must not see a chunk without choices. All other bytes pass through as they came; only the
/// bytes of an event whose end has not arrived are held back, which no client can notice, because an event takes effect
/// at its end. An event longer than 64 KiB is not a usage chunk and passes through unheld.
#[derive(Debug, Default)]
pub struct UsageChunkFilter {
    held: BytesMut,
    /// Inside an event that was too long to hold.
    passing: bool,
    ends: LineEnds,
    /// The event before was taken out, and its line end may not have been complete.
    dropped: bool,
}

const HELD_LIMIT: usize = 64 * 1024;

impl UsageChunkFilter {
    /// A filter at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes from the provider and gives back those for the caller: often all, sometimes none.
    pub fn feed(&mut self, mut chunk: Bytes) -> Bytes {
        let mut output = BytesMut::new();
        // As long as this holds, what goes out is the chunk up to `start`.
        let mut untouched = self.held.is_empty();
        let mut start = 0;
        let mut at = self.ends.rest_of_line_end(&chunk);
        let between_events = untouched && !self.passing;
        if at == 1 && between_events {
            // This LF completes the CRLF of the event before, so it goes where that went.
            if self.dropped {
                chunk.advance(1);
                at = 0;
            } else {
                start = 1;
            }
        }
        while let Some(end) = self.event_end(&chunk, &mut at) {
            let part = &chunk[start..end];
            if self.held.is_empty() {
                self.dropped = !std::mem::take(&mut self.passing) && is_usage_chunk(part);
                if self.dropped && untouched {
                    output.extend_from_slice(&chunk[..start]);
                    untouched = false;
                } else if !self.dropped && !untouched {
                    output.extend_from_slice(part);
                }
            } else {
                self.held.extend_from_slice(part);
                let event = self.held.split();
                self.dropped = is_usage_chunk(&event);
                if !self.dropped {
                    output.extend_from_slice(&event);
                }
            }
            start = end;
        }
        let rest = chunk.slice(start..);
        if !self.passing {
            self.passing = self.held.len() + rest.len() > HELD_LIMIT;
            if !self.passing {
                self.held.extend_from_slice(&rest);
                return if untouched { chunk.slice(..start) } else { output.freeze() };
            }
        }
        if untouched {
            return chunk;
        }
        output.extend_from_slice(&self.held.split());
        output.extend_from_slice(&rest);
        output.freeze()
    }

    /// Ends the stream and gives back what was held, unless it is a usage chunk that lacks only its blank line.
    pub fn finish(self) -> Bytes {
        if is_usage_chunk(&self.held) { Bytes::new() } else { self.held.freeze() }
    }

    /// The offset just after the next blank line, looking from `at` on.
    fn event_end(&mut self, chunk: &[u8], at: &mut usize) -> Option<usize> {
        while let Some(end) = self.ends.next(chunk, *at) {
            *at = end.next;
            if end.blank {
                return Some(end.next);
            }
        }
        None
    }
}

/// Whether these bytes are one event whose data is a chunk without choices but with usage.
fn is_usage_chunk(event: &[u8]) -> bool {
    // Every chunk of a stream that will have a usage chunk says `"usage":null`.
    if !has_usage(event) {
        return false;
    }
    let mut lines = event.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(|line| line.strip_prefix(b"data:"));
    let (Some(data), None) = (lines.next(), lines.next()) else { return false };
    let [choices, usage] = loose::pick(data, ["choices", "usage"]);
    let is_empty = choices.is_none_or(|choices| choices == b"null" || loose::is_empty(choices));
    is_empty && usage.is_some_and(|usage| usage.starts_with(b"{")) && loose::is_whole(data)
}

fn has_usage(event: &[u8]) -> bool {
    memmem::find_iter(event, br#""usage""#).any(|at| {
        let mut rest = event[at + br#""usage""#.len()..].iter().filter(|byte| !byte.is_ascii_whitespace());
        rest.next() == Some(&b':') && rest.next() == Some(&b'{')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"é \\\"choices\\\":[]\"}}],\"usage\":null}\n\n";
    const USAGE: &str =
        "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
    const SPACED: &str = "data: { \"usage\" : {\"prompt_tokens\":1}, \"choices\" : [ ] }\r\n\r\n";
    const BARE: &str = "data: {\"id\":\"c\",\"usage\":{\"prompt_tokens\":1}}\n\n";
    const FILTERED: &str = "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn filtered(stream: &str, size: usize) -> String {
        let mut filter = UsageChunkFilter::new();
        let mut output = Vec::new();
        for chunk in stream.as_bytes().chunks(size) {
            output.extend_from_slice(&filter.feed(Bytes::copy_from_slice(chunk)));
        }
        output.extend_from_slice(&filter.finish());
        String::from_utf8(output).expect("the bytes of the stream")
    }

    #[test]
    fn only_the_usage_chunk_leaves_however_the_stream_is_cut() {
        let long = format!("data: {}\n\n", "x".repeat(HELD_LIMIT * 2));
        for (stream, expected) in [
            (format!("{TEXT}{USAGE}{DONE}"), format!("{TEXT}{DONE}")),
            (format!("{TEXT}{SPACED}{DONE}"), format!("{TEXT}{DONE}")),
            (format!("{TEXT}{BARE}{DONE}"), format!("{TEXT}{DONE}")),
            (
                format!("{TEXT}{}{DONE}", BARE.replace("\"id\"", "\"choices\":null,\"x\":NaN,\"id\"")),
                format!("{TEXT}{DONE}"),
            ),
            (format!("{FILTERED}{TEXT}{USAGE}"), format!("{FILTERED}{TEXT}")),
            (format!("{TEXT}{}", USAGE.trim_end()), TEXT.to_owned()),
            (format!("{TEXT}data: {{\"choices\":[],\"us"), format!("{TEXT}data: {{\"choices\":[],\"us")),
            (format!(": comment\n\n\n{TEXT}not an event"), format!(": comment\n\n\n{TEXT}not an event")),
            (format!("{long}{USAGE}{DONE}"), format!("{long}{DONE}")),
            (TEXT.replace('\n', "\r") + &USAGE.replace('\n', "\r"), TEXT.replace('\n', "\r")),
            (format!("{TEXT}{USAGE}{TEXT}").replace('\n', "\r\n"), format!("{TEXT}{TEXT}").replace('\n', "\r\n")),
            (String::new(), String::new()),
        ] {
            for size in [1, 2, 3, 7, 50, 100, 4096, 1 << 20] {
                assert_eq!(filtered(&stream, size), expected, "in chunks of {size}");
            }
        }
    }

    #[test]
    fn a_chunk_of_whole_events_is_not_copied() {
        let mut filter = UsageChunkFilter::new();
        let chunk = Bytes::from(format!("{TEXT}{TEXT}"));
        assert_eq!(filter.feed(chunk.clone()).as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn an_event_is_passed_on_as_soon_as_it_is_complete() {
        let mut filter = UsageChunkFilter::new();
        let (head, tail) = TEXT.split_at(20);
        assert!(filter.feed(Bytes::from(head)).is_empty());
        assert_eq!(filter.feed(Bytes::from(tail)), TEXT);
    }
}
