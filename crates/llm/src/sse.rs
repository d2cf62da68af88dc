//! Server-sent events, read from raw bytes as they arrive.
//!
//! The parser follows the WHATWG event stream grammar: lines end in CRLF, LF or CR, a blank line ends an event, several
//! `data` lines are joined. It takes bytes, not text, because a chunk may end inside a UTF-8 sequence, and it holds at
//! most one event, up to a limit.

use memchr::memchr2;

/// One event of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// The `event` field; empty if there was none.
    pub name: &'a [u8],
    /// The `data` field.
    pub data: &'a [u8],
}

/// Cuts a stream of bytes into events.
#[derive(Debug)]
pub struct SseParser {
    limit: usize,
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// Something of this event was longer than the limit, so the event will not be shown.
    oversized: bool,
    /// The last byte was CR, so a following LF belongs to the same line end.
    after_cr: bool,
    /// No byte of the current event has been seen yet.
    at_boundary: bool,
    at_start: bool,
    skipped: u64,
}

impl SseParser {
    /// A parser that passes over events longer than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            name: Vec::new(),
            data: Vec::new(),
            has_data: false,
            oversized: false,
            after_cr: false,
            at_boundary: true,
            at_start: true,
            skipped: 0,
        }
    }

    /// Reads the next bytes and shows every event they complete.
    pub fn feed(&mut self, chunk: &[u8], mut on_event: impl FnMut(SseEvent<'_>)) {
        let mut rest = chunk;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', rest) else {
                self.hold(rest);
                return;
            };
            self.after_cr = rest[end] == b'\r';
            if self.line.is_empty() {
                self.line_of_event(&rest[..end], &mut on_event);
            } else {
                self.hold(&rest[..end]);
                let mut line = std::mem::take(&mut self.line);
                self.line_of_event(&line, &mut on_event);
                line.clear();
                self.line = line;
            }
            rest = &rest[end + 1..];
        }
    }

    /// Ends the stream. An event that lacks only its blank line is shown: some servers forget it before they close.
    pub fn finish(&mut self, mut on_event: impl FnMut(SseEvent<'_>)) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.line_of_event(&line, &mut on_event);
        }
        self.line_of_event(b"", &mut on_event);
    }

    /// Whether the stream stands between two events, so that another event could be inserted here.
    pub fn at_event_boundary(&self) -> bool {
        self.at_boundary
    }

    /// How many events were passed over because they were longer than the limit.
    pub fn skipped_events(&self) -> u64 {
        self.skipped
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

    fn line_of_event(&mut self, line: &[u8], on_event: &mut impl FnMut(SseEvent<'_>)) {
        let mut line = line;
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            if self.oversized {
                self.skipped += 1;
            } else if self.has_data {
                on_event(SseEvent { name: &self.name, data: &self.data });
            }
            self.name.clear();
            self.data.clear();
            self.has_data = false;
            self.oversized = false;
            self.at_boundary = true;
            return;
        }
        self.at_boundary = false;
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
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
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(parser: &mut SseParser, chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut seen = Vec::new();
        for chunk in chunks {
            parser.feed(chunk, |event| {
                seen.push((
                    String::from_utf8_lossy(event.name).into_owned(),
                    String::from_utf8_lossy(event.data).into_owned(),
                ));
            });
        }
        seen
    }

    #[track_caller]
    fn check(stream: &str, expected: &[(&str, &str)]) {
        let whole = events(&mut SseParser::new(1024), &[stream.as_bytes()]);
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        let single = events(&mut SseParser::new(1024), &bytes);
        let expected: Vec<(String, String)> =
            expected.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect();
        assert_eq!(whole, expected, "whole: {stream:?}");
        assert_eq!(single, expected, "byte by byte: {stream:?}");
    }

    #[test]
    fn every_line_ending_and_field_form_is_read() {
        check("data: a\n\ndata: b\n\n", &[("", "a"), ("", "b")]);
        check("event: x\r\ndata: a\r\n\r\ndata:b\r\n\r\n", &[("x", "a"), ("", "b")]);
        check("event: x\rdata: a\r\rdata: b\r\r", &[("x", "a"), ("", "b")]);
        check("data: a\ndata: b\n\n", &[("", "a\nb")]);
        check("data\n\n", &[("", "")]);
        check(": comment\n\nevent: ping\n\ndata:  two spaces\n\n", &[("", " two spaces")]);
        check("\u{feff}data: bom\n\n", &[("", "bom")]);
        check("id: 1\nretry: 5\ndata: é\u{1F600}\n\n", &[("", "é\u{1F600}")]);
        check("data: unfinished", &[]);
    }

    #[test]
    fn a_missing_blank_line_at_the_end_is_forgiven() {
        for tail in ["data: [DONE]", "data: [DONE]\n", "data: [DONE]\r\n"] {
            let mut parser = SseParser::new(1024);
            assert!(events(&mut parser, &[tail.as_bytes()]).is_empty());
            let mut seen = 0;
            parser.finish(|event| {
                assert_eq!(event.data, b"[DONE]");
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
        assert_eq!(seen.pop(), Some((String::new(), "next".to_owned())));
        assert!(seen.is_empty());
        assert_eq!(parser.skipped_events(), 1);
        let many = b"data: 0123456789\n".repeat(100);
        assert!(events(&mut parser, &[&many, b"\n"]).is_empty());
        assert_eq!(parser.skipped_events(), 2);
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
