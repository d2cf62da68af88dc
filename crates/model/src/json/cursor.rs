//! The strict reader: a position in a text that knows where everything is.

use std::borrow::Cow;

use super::syntax::{Kind, MAX_DEPTH, Span, SyntaxError};
use super::text::{Text, plain_end, unicode_escape};

/// The key of an object's member and where it is.
#[derive(Debug)]
pub struct Member<'a> {
    /// The decoded key: `mod\u0065l` and `model` are the same field to every JSON parser, so they are to us.
    pub key: Cow<'a, str>,
    /// Where the key's opening quote is.
    pub start: usize,
    /// Where the value before this member ends; `None` for the first member.
    pub previous_end: Option<usize>,
}

/// A position in a JSON text.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// The offset of the next byte: after a value was read, its end.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Where the next member or element begins, if a comma after the value just read says that there is one. Only looks.
    pub fn next_sibling(&self) -> Option<usize> {
        let mut ahead = self.clone();
        ahead.whitespace();
        if !ahead.take(b',') {
            return None;
        }
        ahead.whitespace();
        Some(ahead.at)
    }

    /// What the next value is. Leaves the cursor at the value's first byte.
    pub fn kind(&mut self) -> Result<Kind, SyntaxError> {
        self.whitespace();
        match self.bytes.get(self.at) {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.expected("a value")),
        }
    }

    /// Fails unless only whitespace is left.
    pub fn end(&mut self) -> Result<(), SyntaxError> {
        self.whitespace();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.expected("the end of the text")) }
    }

    /// Reads an object. `visit` is called with the cursor before each value and must read that value.
    pub fn members<E: From<SyntaxError>>(
        &mut self,
        mut visit: impl FnMut(Member<'a>, &mut Self) -> Result<(), E>,
    ) -> Result<Span, E> {
        self.whitespace();
        let start = self.at;
        self.open(b'{', "an object")?;
        let mut previous_end = None;
        loop {
            self.whitespace();
            if previous_end.is_none() && self.take(b'}') {
                break;
            }
            let key_start = self.at;
            let key = self.key()?.decode();
            visit(Member { key, start: key_start, previous_end }, self)?;
            previous_end = Some(self.at);
            self.whitespace();
            if self.take(b'}') {
                break;
            }
            if !self.take(b',') {
                return Err(self.expected("`,` or `}`").into());
            }
        }
        self.depth -= 1;
        Ok(start..self.at)
    }

    /// Reads an array. `visit` is called with the cursor before each element and must read that element.
    pub fn elements<E: From<SyntaxError>>(
        &mut self,
        mut visit: impl FnMut(usize, &mut Self) -> Result<(), E>,
    ) -> Result<Span, E> {
        self.whitespace();
        let start = self.at;
        self.open(b'[', "an array")?;
        self.whitespace();
        if !self.take(b']') {
            for index in 0.. {
                visit(index, self)?;
                self.whitespace();
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.expected("`,` or `]`").into());
                }
            }
        }
        self.depth -= 1;
        Ok(start..self.at)
    }

    /// Reads a string.
    pub fn string(&mut self) -> Result<Text<'a>, SyntaxError> {
        self.whitespace();
        if !self.take(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at;
        let mut escape_surplus = 0;
        loop {
            self.at = plain_end(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let raw = &self.bytes[start..self.at];
                    self.at += 1;
                    return Ok(Text { raw, escape_surplus });
                }
                Some(b'\\') => escape_surplus += self.escape()?,
                Some(0..0x20) => return Err(self.expected("an escape instead of a control character")),
                // `plain_end` stops at a quote, a backslash, a control character or the end.
                _ => return Err(self.expected("the closing quote of a string")),
            }
        }
    }

    /// Reads a number and gives back its text, which is ASCII.
    pub fn number(&mut self) -> Result<&'a str, SyntaxError> {
        self.whitespace();
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        std::str::from_utf8(&self.bytes[start..self.at]).map_err(|_| self.expected("a number"))
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, SyntaxError> {
        self.whitespace();
        if self.bytes.get(self.at) == Some(&b't') {
            self.literal(b"true").map(|()| true)
        } else {
            self.literal(b"false").map(|()| false)
        }
    }

    /// Reads any value.
    pub fn skip(&mut self) -> Result<Span, SyntaxError> {
        self.walk(|_, _| ())
    }

    /// Reads any value and shows every string in it that is not a key, with the raw key of the member it stands under.
    pub fn walk(&mut self, mut on_string: impl FnMut(&'a [u8], Text<'a>)) -> Result<Span, SyntaxError> {
        self.whitespace();
        let start = self.at;
        let outer_depth = self.depth;
        // One bit for each open container, innermost last: 1 is an object. `MAX_DEPTH` bits are enough by construction.
        let mut containers: u128 = 0;
        let mut key: &[u8] = b"";
        'value: loop {
            match self.kind()? {
                Kind::Object => {
                    self.open(b'{', "an object")?;
                    containers = containers << 1 | 1;
                    self.whitespace();
                    if self.bytes.get(self.at) != Some(&b'}') {
                        key = self.key()?.raw;
                        continue 'value;
                    }
                }
                Kind::Array => {
                    self.open(b'[', "an array")?;
                    containers <<= 1;
                    self.whitespace();
                    if self.bytes.get(self.at) != Some(&b']') {
                        continue 'value;
                    }
                }
                Kind::String => on_string(key, self.string()?),
                Kind::Number => {
                    self.number()?;
                }
                Kind::Bool => {
                    self.boolean()?;
                }
                Kind::Null => self.literal(b"null")?,
            }
            loop {
                if self.depth == outer_depth {
                    return Ok(start..self.at);
                }
                self.whitespace();
                let in_object = containers & 1 == 1;
                match self.bytes.get(self.at) {
                    Some(b'}') if in_object => key = b"",
                    Some(b']') if !in_object => {}
                    Some(b',') => {
                        self.at += 1;
                        if in_object {
                            self.whitespace();
                            key = self.key()?.raw;
                        }
                        continue 'value;
                    }
                    _ if in_object => return Err(self.expected("`,` or `}`")),
                    _ => return Err(self.expected("`,` or `]`")),
                }
                self.at += 1;
                self.depth -= 1;
                containers >>= 1;
            }
        }
    }

    fn key(&mut self) -> Result<Text<'a>, SyntaxError> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(self.expected("a key in double quotes"));
        }
        let key = self.string()?;
        self.whitespace();
        if self.take(b':') { Ok(key) } else { Err(self.expected("`:`")) }
    }

    fn open(&mut self, bracket: u8, what: &'static str) -> Result<(), SyntaxError> {
        if self.depth == MAX_DEPTH {
            return Err(SyntaxError::TooDeep { offset: self.at });
        }
        if !self.take(bracket) {
            return Err(self.expected(what));
        }
        self.depth += 1;
        Ok(())
    }

    /// Moves over one escape and says how many characters longer it is than what it stands for.
    fn escape(&mut self) -> Result<usize, SyntaxError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(1)
            }
            Some(b'u') => {
                let Some((_, length)) = unicode_escape(&self.bytes[self.at..]) else {
                    return Err(self.expected("four hexadecimal digits after `\\u`"));
                };
                self.at += length;
                Ok(length - 1)
            }
            _ => Err(self.expected("a valid escape")),
        }
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn literal(&mut self, literal: &'static [u8]) -> Result<(), SyntaxError> {
        if !self.bytes[self.at..].starts_with(literal) {
            return Err(self.expected("`true`, `false` or `null`"));
        }
        self.at += literal.len();
        Ok(())
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn whitespace(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn expected(&self, what: &'static str) -> SyntaxError {
        SyntaxError::Expected { what, offset: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(text: &str) -> Result<(), SyntaxError> {
        let mut cursor = Cursor::new(text.as_bytes());
        cursor.skip()?;
        cursor.end()
    }

    /// `serde_json` is the referee: a text is JSON for us exactly when it is JSON for everybody else.
    #[test]
    fn the_grammar_is_the_one_serde_json_has() {
        let texts = [
            "{}",
            "[]",
            "[1]",
            "[1,]",
            "[,1]",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":}",
            "tru",
            "true",
            "false",
            "null",
            "nul",
            "\"\"",
            "\"",
            "\"a\\\"b\"",
            "\"\\x\"",
            "\"\\u00e9\"",
            "\"\\u00g9\"",
            "\"\\u00\"",
            "-1",
            "-",
            "01",
            "1.",
            "1.5",
            ".5",
            "1e5",
            "1e",
            "1E+5",
            "1e-5",
            "-0",
            "-0.0e0",
            "+1",
            "[1 2]",
            "[[]]",
            "[{}]",
            "[}",
            "{]",
            "{\"a\":[{}],\"b\":{}}",
            " [ 1 , 2 ] ",
            "[1] x",
            "\"a\nb\"",
            "\"a\tb\"",
            "\u{feff}{}",
            "{\"a\":1 \"b\":2}",
            "",
            " ",
            "\"caf\u{e9} \u{1F600}\"",
            "[true,false,null,\"x\",1.25e-3,{\"k\":[]}]",
            "{\"a\":{\"b\":{\"c\":[1,[2,[3]]]}}}",
            "NaN",
            "0123456789",
            "\"0123456789012345678901234567890123456789\\n0123456789\"",
            "[\"a\",\"b\"",
            "{\"k\":\"v\"",
            "'a'",
        ];
        for text in texts {
            let ours = valid(text).is_ok();
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            assert_eq!(ours, theirs, "{text:?}");
        }
    }

    #[test]
    fn strings_decode_as_serde_json_decodes_them() {
        for text in [
            r#""plain""#,
            r#""a\"b\\c\/d""#,
            r#""\b\f\n\r\t""#,
            r#""caf\u00e9 \uD83D\uDE00 end""#,
            r#""é😀 \u0041""#,
            r#""""#,
        ] {
            let expected: String = serde_json::from_str(text).expect("a JSON string");
            let read = Cursor::new(text.as_bytes()).string().expect("a JSON string");
            assert_eq!(read.decode(), expected);
            assert_eq!(read.characters(), expected.chars().count(), "{text}");
        }
        let lone = Cursor::new(br#""a\ud800b\udc00""#).string().expect("grammatical");
        assert_eq!(lone.decode(), "a\u{fffd}b\u{fffd}");
        assert_eq!(lone.characters(), 4);
    }

    #[test]
    fn depth_is_bounded_without_using_the_stack() {
        let limit = MAX_DEPTH as usize;
        assert_eq!(valid(&format!("{}{}", "[".repeat(limit), "]".repeat(limit))), Ok(()));
        assert_eq!(valid(&"[".repeat(1_000_000)), Err(SyntaxError::TooDeep { offset: limit }));
        assert_eq!(valid(&"{\"a\":".repeat(1_000_000)), Err(SyntaxError::TooDeep { offset: limit * 5 }));
    }

    #[test]
    fn walk_names_the_member_a_string_stands_under() {
        let mut seen = Vec::new();
        let text = r#"{"a":"1","b":{"c":["2",{"d":"3"},"4"]},"e":5}"#;
        Cursor::new(text.as_bytes())
            .walk(|key, text| seen.push(format!("{}={}", String::from_utf8_lossy(key), text.decode())))
            .expect("valid");
        assert_eq!(seen, ["a=1", "c=2", "d=3", "=4"]);
    }
}
