//! The forgiving forms: some members, all elements, the text or the count of a value in a text that may be no JSON.
//!
//! Providers write `NaN` for a missing probability, put line feeds into strings, begin with a byte order mark, nest more
//! deeply than any parser allows, or end in the middle. What such an answer says of itself is still wanted. So nothing
//! here is checked that need not be: brackets are counted and not matched, whatever is no string, bracket or separator is
//! part of some value, and what a text lacks at its end is simply not found.
//!
//! Only for reading what passes by anyway. Bytes we act on are read with a [`Cursor`](super::Cursor).

use std::borrow::Cow;

use memchr::memchr;

use super::text::{lossy, plain_end, unescape};

/// The raw values of the members of an object that have one of these names; the last one where a name repeats. What is
/// found before the text breaks off is found.
pub fn pick<'a, const N: usize>(object: &'a [u8], names: [&str; N]) -> [Option<&'a [u8]>; N] {
    let mut found = [None; N];
    let mut scan = Scan::inside(object, b'{');
    while let Some(key) = scan.as_mut().and_then(Scan::string) {
        let Some(scan) = &mut scan else { break };
        if !scan.take(b':') {
            break;
        }
        let (value, _) = scan.value();
        if let Some(at) = names.iter().position(|name| *name == decoded(key)) {
            found[at] = Some(value);
        }
        if !scan.take(b',') {
            break;
        }
    }
    found
}

/// The raw elements of an array, at most `limit` of them.
pub fn elements(array: &[u8], limit: usize) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let Some(mut scan) = Scan::inside(array, b'[') else { return found };
    while found.len() < limit {
        let (element, _) = scan.value();
        if !element.is_empty() {
            found.push(element);
        }
        if !scan.take(b',') {
            break;
        }
    }
    found
}

/// The decoded text of a raw value, if it is a string, whole or cut off.
pub fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    let mut scan = Scan { bytes: value, at: 0 };
    scan.string().map(decoded)
}

/// The count a raw value states: a whole number, also written `12.0`, `1.2e1` or `"12"`. A fraction is rounded, and
/// beyond 64 bits it saturates. What is negative or no number states none.
pub fn count(value: &[u8]) -> Option<u64> {
    let value = std::str::from_utf8(value).ok()?.trim();
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map_or(value, str::trim);
    super::whole_number(value).filter(|_| !value.is_empty()).or_else(|| {
        let number: f64 = value.parse().ok()?;
        // A cast from a float saturates.
        (number.is_finite() && number >= 0.0).then(|| number.round() as u64)
    })
}

/// Whether nothing stands in a text, or no more than the beginning of a byte order mark.
pub fn is_blank(text: &[u8]) -> bool {
    let mut scan = Scan { bytes: text, at: 0 };
    scan.space();
    scan.peek().is_none() || b"\xEF\xBB\xBF".starts_with(text)
}

/// Whether an array has no elements.
pub fn is_empty(array: &[u8]) -> bool {
    Scan::inside(array, b'[').is_some_and(|mut scan| scan.take(b']'))
}

/// Whether a text begins like an object or an array.
pub fn is_structure(text: &[u8]) -> bool {
    let mut scan = Scan { bytes: text, at: 0 };
    scan.space();
    matches!(scan.peek(), Some(b'{' | b'['))
}

/// Whether a text begins with an object or an array that is closed again. What follows it does not matter.
pub fn is_whole(text: &[u8]) -> bool {
    is_structure(text) && Scan { bytes: text, at: 0 }.value().1 == 0
}

fn decoded(raw: &[u8]) -> Cow<'_, str> {
    if memchr(b'\\', raw).is_none() {
        return lossy(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    unescape(raw, &mut text);
    Cow::Owned(String::from_utf8_lossy(&text).into_owned())
}

/// A position in a text of which nothing is certain.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// A position behind the opening bracket.
    fn inside(bytes: &'a [u8], bracket: u8) -> Option<Self> {
        let mut scan = Self { bytes, at: 0 };
        scan.take(bracket).then_some(scan)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        if self.at == 0 && self.bytes.starts_with(b"\xEF\xBB\xBF") {
            self.at = 3;
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace() || byte == 0) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    /// What is between the quotation marks of a string, or after the first if there is no second.
    fn string(&mut self) -> Option<&'a [u8]> {
        if !self.take(b'"') {
            return None;
        }
        let start = self.at;
        loop {
            self.at = plain_end(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Some(&self.bytes[start..self.at - 1]);
                }
                Some(b'\\') => self.at = (self.at + 2).min(self.bytes.len()),
                Some(_) => self.at += 1,
                None => return Some(&self.bytes[start..]),
            }
        }
    }

    /// Any value, up to the separator or the bracket that ends it, and how many brackets were left open in it. May be empty.
    fn value(&mut self) -> (&'a [u8], usize) {
        self.space();
        let start = self.at;
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' | b',' if depth == 0 => break,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        break;
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
        (self.bytes[start..self.at].trim_ascii_end(), depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<const N: usize>(found: [Option<&[u8]>; N]) -> [Option<&str>; N] {
        found.map(|value| value.map(|value| std::str::from_utf8(value).expect("UTF-8")))
    }

    #[test]
    fn what_no_parser_takes_is_read_all_the_same() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for (object, expected) in [
            ("{\"p\":NaN,\"a\":1,\"b\":-Infinity}".to_owned(), [Some("1"), Some("-Infinity")]),
            ("\u{feff} {\"a\":{\"x\":[1,\"}\"]},\"b\":2}".to_owned(), [Some("{\"x\":[1,\"}\"]}"), Some("2")]),
            ("{\"t\":\"two\nlines\",\"a\":\"\t\",\"b\":null}".to_owned(), [Some("\"\t\""), Some("null")]),
            (format!("{{\"d\":{deep},\"a\":1,\"b\":2}}"), [Some("1"), Some("2")]),
            ("{\"a\":1,\"b\":\"cut of".to_owned(), [Some("1"), Some("\"cut of")]),
            ("{\"a\":1,\"b\":2,}".to_owned(), [Some("1"), Some("2")]),
            ("{\"\\u0061\":1 , \"b\" : 2 } and more".to_owned(), [Some("1"), Some("2")]),
            ("[1,2]".to_owned(), [None, None]),
            ("{a:1}".to_owned(), [None, None]),
            (String::new(), [None, None]),
        ] {
            assert_eq!(texts(pick(object.as_bytes(), ["a", "b"])), expected, "{}", &object[..object.len().min(60)]);
        }
    }

    #[test]
    fn elements_and_texts_end_where_the_bytes_do() {
        assert_eq!(elements(b"[NaN, {\"a\":[1,2]}, \"x,y\"]", 9), [&b"NaN"[..], b"{\"a\":[1,2]}", b"\"x,y\""]);
        assert_eq!(elements(b"[1,2,3", 2), [b"1", b"2"]);
        assert_eq!(elements(b"[]", 9), [b""; 0]);
        assert_eq!(elements(b"{}", 9), [b""; 0]);
        assert_eq!(text(b"\"a\nb\\nc\\x\\").as_deref(), Some("a\nb\nc\\x\\"));
        assert_eq!(text(b"12"), None);
    }

    #[test]
    fn what_is_whole_is_closed() {
        for whole in ["{}", " [1,NaN] \n", "\u{feff}{\"a\":\"}\n\"}", "{} {", "{}\n<!-- served by x -->"] {
            assert!(is_whole(whole.as_bytes()), "{whole}");
        }
        for broken in ["", "5", "{\"a\":1", "{\"a\":\"}", "{\"a\":{\"b\":1}", "<html>"] {
            assert!(!is_whole(broken.as_bytes()), "{broken}");
        }
    }

    #[test]
    fn counts_come_in_many_forms() {
        for (value, expected) in [
            ("12", Some(12)),
            ("12.0", Some(12)),
            ("1.2e1", Some(12)),
            ("\"12\"", Some(12)),
            ("12.5", Some(13)),
            ("1e300", Some(u64::MAX)),
            ("99999999999999999999", Some(u64::MAX)),
            ("-1", None),
            ("NaN", None),
            ("Infinity", None),
            ("null", None),
            ("\"\"", None),
            ("", None),
            ("{}", None),
        ] {
            assert_eq!(count(value.as_bytes()), expected, "{value}");
        }
    }
}
