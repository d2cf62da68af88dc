//! Server-sent events, read from raw bytes as they arrive.
//!
//! The grammar is that of the WHATWG: lines end in CRLF, LF or CR, a blank line ends an event, several `data` lines are
//! joined. Everything takes bytes, not text, because a chunk may end inside a UTF-8 sequence or inside a line end.
//!
//! Where an event would begin, some servers write the JSON of an error instead, without anything around it. Its lines, up
//! to a blank one or the end, are the data of an event too.
//!
//! [`LineEnds`] finds the lines and keeps nothing of them. [`SseParser`] makes events of the lines, and holds at most one
//! of them, up to a limit.

use memchr::memchr2;

/// Writes an event: its first lines, and its data, of which each line is one of the event.
pub(crate) fn event(begin: &[u8], data: &[u8]) -> Vec<u8> {
    let mut event = begin.to_vec();
    for line in data.trim_ascii().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end) {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line);
        event.push(b'\n');
    }
    event.push(b'\n');
    event
}

/// Finds the ends of the lines of a stream that is cut anywhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct LineEnds(Place);

/// Where in a line the stream stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// At the start of a line, after LF, CRLF or at the start of the stream.
    #[default]
    Start,
    /// At the start of a line, after a CR that was the last byte of its chunk: a following LF belongs to that line end.
    StartAfterCr,
    Inside,
}

/// The end of a line, in offsets of the chunk it was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineEnd {
    /// Where the line end begins: just after the line's last byte.
    pub(crate) at: usize,
    /// Where the next line begins.
    pub(crate) next: usize,
    /// Whether nothing is on the line, neither here nor in the chunks before.
    pub(crate) blank: bool,
}

impl LineEnds {
    /// How many bytes of a new chunk belong to the line end before it: 1 for the LF of a CRLF that was cut in two.
    /// To be asked once for each chunk, before its lines.
    pub(crate) fn rest_of_line_end(&mut self, chunk: &[u8]) -> usize {
        if self.0 == Place::StartAfterCr && chunk.first() == Some(&b'\n') {
            self.0 = Place::Start;
            return 1;
        }
        0
    }

    /// The next end of a line, looking from `from` on; `None` at the end of the chunk.
    pub(crate) fn next(&mut self, chunk: &[u8], from: usize) -> Option<LineEnd> {
        let rest = chunk.get(from..)?;
        let Some(length) = memchr2(b'\n', b'\r', rest) else {
            if !rest.is_empty() {
                self.0 = Place::Inside;
            }
            return None;
        };
        let blank = length == 0 && self.0 != Place::Inside;
        let at = from + length;
        let (next, place) = match (chunk[at], chunk.get(at + 1)) {
            (b'\r', Some(b'\n')) => (at + 2, Place::Start),
            (b'\r', None) => (at + 1, Place::StartAfterCr),
            _ => (at + 1, Place::Start),
        };
        self.0 = place;
        Some(LineEnd { at, next, blank })
    }
}

/// Cuts a stream of bytes into events and shows the data of each.
#[derive(Debug)]
pub(crate) struct SseParser {
    limit: usize,
    ends: LineEnds,
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// A line of the event was read.
    begun: bool,
    /// The event is JSON alone.
    bare: bool,
    /// Something of this event was longer than the limit, so the event will not be shown.
    oversized: bool,
    /// No byte of the current event has been seen yet.
    at_boundary: bool,
    at_start: bool,
    skipped: u64,
}

impl SseParser {
    /// A parser that passes over events longer than `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            ends: LineEnds::default(),
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            begun: false,
            bare: false,
            oversized: false,
            at_boundary: true,
            at_start: true,
            skipped: 0,
        }
    }

    /// Reads the next bytes and shows the data of every event they complete.
    pub(crate) fn feed(&mut self, chunk: &[u8], mut on_data: impl FnMut(&[u8])) {
        let mut at = self.ends.rest_of_line_end(chunk);
        while let Some(end) = self.ends.next(chunk, at) {
            let part = &chunk[at..end.at];
            at = end.next;
            if self.line.is_empty() {
                self.line_of_event(part, &mut on_data);
            } else {
                self.hold(part);
                let mut line = std::mem::take(&mut self.line);
                self.line_of_event(&line, &mut on_data);
                line.clear();
                self.line = line;
            }
        }
        if at < chunk.len() {
            self.hold(&chunk[at..]);
        }
    }

    /// Ends the stream. An event that lacks only its blank line is shown: some servers forget it before they close.
    pub(crate) fn finish(&mut self, mut on_data: impl FnMut(&[u8])) {
        // Where the bytes stand does not change by that.
        let at_boundary = self.at_boundary;
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.line_of_event(&line, &mut on_data);
        }
        self.line_of_event(b"", &mut on_data);
        self.at_boundary = at_boundary;
    }

    /// Whether the stream stands between two events, so that another event could be inserted here.
    pub(crate) fn at_event_boundary(&self) -> bool {
        self.at_boundary
    }

    /// How many events were passed over because they were longer than the limit.
    pub(crate) fn skipped_events(&self) -> u64 {
        self.skipped
    }

    /// How much memory the parser has for what it holds.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held(&self) -> usize {
        self.line.capacity() + self.data.capacity()
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.at_boundary = false;
        if self.line.len() + bytes.len() > self.limit {
            self.oversized = true;
            // What is kept only has to be not empty, so that the end of this line is not taken for a blank line.
            self.line.clear();
            self.line.push(b':');
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn line_of_event(&mut self, line: &[u8], on_data: &mut impl FnMut(&[u8])) {
        let mut line = line;
        if line.len() > self.limit {
            // The same as if it had come in pieces and been held.
            self.oversized = true;
            line = b":";
        }
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            if self.oversized {
                self.skipped += 1;
            } else if self.has_data {
                on_data(&self.data);
            }
            self.data.clear();
            self.has_data = false;
            self.bare = false;
            self.begun = false;
            self.oversized = false;
            self.at_boundary = true;
            return;
        }
        self.at_boundary = false;
        self.bare |= !std::mem::replace(&mut self.begun, true) && line.starts_with(b"{");
        let (field, value) = match memchr::memchr(b':', line) {
            _ if self.bare => (&b"data"[..], line),
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = if self.bare { value } else { value.strip_prefix(b" ").unwrap_or(value) };
        match field {
            b"data" if self.data.len() + value.len() > self.limit => {
                self.oversized = true;
                self.data.clear();
            }
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(parser: &mut SseParser, chunks: &[&[u8]]) -> Vec<String> {
        let mut seen = Vec::new();
        for chunk in chunks {
            parser.feed(chunk, |data| seen.push(String::from_utf8_lossy(data).into_owned()));
        }
        seen
    }

    #[track_caller]
    fn check(stream: &str, expected: &[&str]) {
        let whole = events(&mut SseParser::new(1024), &[stream.as_bytes()]);
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        let single = events(&mut SseParser::new(1024), &bytes);
        assert_eq!(whole, expected, "whole: {stream:?}");
        assert_eq!(single, expected, "byte by byte: {stream:?}");
    }

    #[test]
    fn every_line_ending_and_field_form_is_read() {
        check("data: a\n\ndata: b\n\n", &["a", "b"]);
        check("event: x\r\ndata: a\r\n\r\ndata:b\r\n\r\n", &["a", "b"]);
        check("event: x\rdata: a\r\rdata: b\r\r", &["a", "b"]);
        check("data: a\ndata: b\n\n", &["a\nb"]);
        check("data\n\n", &[""]);
        check(": comment\n\nevent: ping\n\ndata:  two spaces\n\n", &[" two spaces"]);
        check("\u{feff}data: bom\n\n", &["bom"]);
        check("id: 1\nretry: 5\ndata: é\u{1F600}\n\n", &["é\u{1F600}"]);
        check("data: unfinished", &[]);
        check("{\"error\": {\n  \"code\": 1\n}}\n\ndata: a\n{\n\n", &["{\"error\": {\n  \"code\": 1\n}}", "a"]);
    }

    #[test]
    fn a_missing_blank_line_at_the_end_is_forgiven() {
        for tail in ["data: [DONE]", "data: [DONE]\n", "data: [DONE]\r\n"] {
            let mut parser = SseParser::new(1024);
            assert!(events(&mut parser, &[tail.as_bytes()]).is_empty());
            let mut seen = 0;
            parser.finish(|data| {
                assert_eq!(data, b"[DONE]");
                seen += 1;
            });
            assert_eq!(seen, 1, "{tail:?}");
        }
    }

    #[test]
    fn an_endless_line_costs_no_memory_and_spoils_only_its_event() {
        let mut parser = SseParser::new(64);
        let long = [b'x'; 1000];
        let mut seen = events(&mut parser, &[b"data: ", &long, &long, b"\n", b"data: more\n\n", b"data: next\n\n"]);
        assert!(parser.line.capacity() <= 2 * 64 + 64);
        assert_eq!(seen.pop(), Some("next".to_owned()));
        assert!(seen.is_empty());
        assert_eq!(parser.skipped_events(), 1);
        let many = b"data: 0123456789\n".repeat(100);
        assert!(events(&mut parser, &[&many, b"\n"]).is_empty());
        assert_eq!(parser.skipped_events(), 2);
    }

    #[test]
    fn a_line_is_too_long_whole_or_in_pieces() {
        let stream = format!("data: {}\n\n: {}\ndata: a\n\ndata: b\n\n", "x".repeat(20), "y".repeat(30));
        for size in [1, 7, 1000] {
            let mut parser = SseParser::new(24);
            let chunks: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            assert_eq!(events(&mut parser, &chunks), ["b"], "in pieces of {size}");
            assert_eq!(parser.skipped_events(), 2);
        }
    }

    #[test]
    fn boundaries_are_known() {
        let mut parser = SseParser::new(1024);
        assert!(parser.at_event_boundary());
        parser.feed(b"da", |_| ());
        assert!(!parser.at_event_boundary());
        parser.feed(b"ta: a\n", |_| ());
        assert!(!parser.at_event_boundary());
        parser.feed(b"\n", |_| ());
        assert!(parser.at_event_boundary());
    }
}
