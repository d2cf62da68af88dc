//! A strict JSON reader that knows where everything is.
//!
//! `serde_json` gives values, we need positions: which bytes to replace, which to leave alone. The reader walks the text
//! once, checks the whole grammar of RFC 8259, keeps no copy, and never recurses, so the depth of the input costs no
//! stack. Escapes are decoded only in the strings somebody asks for.

use std::borrow::Cow;
use std::ops::Range;

/// How many arrays and objects may be nested in each other. The same limit `serde_json` has.
pub(crate) const MAX_DEPTH: u32 = 128;

/// A range of byte offsets into the text that was read.
pub(crate) type Span = Range<usize>;

/// Text that is not JSON, or nests too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyntaxError {
    Expected { what: &'static str, offset: usize },
    TooDeep { offset: usize },
}

/// What a value is, known from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// A string as it stands in the text, without its quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) raw: &'a [u8],
    /// How many characters fewer the string has once its escapes are decoded.
    escape_surplus: usize,
}

impl<'a> Text<'a> {
    pub(crate) fn decode(&self) -> Cow<'a, str> {
        if self.escape_surplus == 0 {
            return String::from_utf8_lossy(self.raw);
        }
        let mut decoded = Vec::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(backslash) = memchr::memchr(b'\\', rest) {
            decoded.extend_from_slice(&rest[..backslash]);
            let escape = &rest[backslash + 1..];
            let (character, length) = match escape[0] {
                b'b' => ('\u{8}', 1),
                b'f' => ('\u{c}', 1),
                b'n' => ('\n', 1),
                b'r' => ('\r', 1),
                b't' => ('\t', 1),
                b'u' => unicode_escape(escape),
                other => (char::from(other), 1),
            };
            decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &escape[length..];
        }
        decoded.extend_from_slice(rest);
        Cow::Owned(match String::from_utf8(decoded) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// The number of characters of the decoded string, counted without decoding it.
    pub(crate) fn characters(&self) -> usize {
        let starts = self.raw.iter().filter(|byte| (**byte & 0xC0) != 0x80).count();
        starts.saturating_sub(self.escape_surplus)
    }
}

/// Decodes `uXXXX`, or `uXXXX\uXXXX` where that is a surrogate pair. A lone surrogate becomes U+FFFD.
fn unicode_escape(escape: &[u8]) -> (char, usize) {
    let unit = |at: usize| -> Option<u32> {
        let digits = std::str::from_utf8(escape.get(at..at + 4)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(1) else { return (char::REPLACEMENT_CHARACTER, escape.len().min(5)) };
    if let Some(character) = char::from_u32(first) {
        return (character, 5);
    }
    if first < 0xDC00
        && escape.get(5..7) == Some(b"\\u")
        && let Some(second @ 0xDC00..=0xDFFF) = unit(7)
    {
        let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 11);
    }
    (char::REPLACEMENT_CHARACTER, 5)
}

/// The key of an object's member and where it is.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// The decoded key: `mod\u0065l` and `model` are the same field to every JSON parser, so they are to us.
    pub(crate) key: Cow<'a, str>,
    /// Where the key's opening quote is.
    pub(crate) start: usize,
    /// Where the value before this member ends; `None` for the first member.
    pub(crate) previous_end: Option<usize>,
}

/// A position in a JSON text.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// The offset of the next byte: after a value was read, its end.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// What the next value is. Leaves the cursor at the value's first byte.
    pub(crate) fn kind(&mut self) -> Result<Kind, SyntaxError> {
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
    pub(crate) fn end(&mut self) -> Result<(), SyntaxError> {
        self.whitespace();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.expected("the end of the text")) }
    }

    /// Reads an object. `visit` is called with the cursor before each value and must read that value.
    pub(crate) fn members<E: From<SyntaxError>>(
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
    pub(crate) fn elements<E: From<SyntaxError>>(
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

    pub(crate) fn string(&mut self) -> Result<Text<'a>, SyntaxError> {
        self.whitespace();
        if !self.take(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at;
        let mut escape_surplus = 0;
        loop {
            self.plain_characters();
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let raw = &self.bytes[start..self.at];
                    self.at += 1;
                    return Ok(Text { raw, escape_surplus });
                }
                Some(b'\\') => escape_surplus += self.escape()?,
                Some(0..0x20) => return Err(self.expected("an escape instead of a control character")),
                // `plain_characters` stops at a quote, a backslash, a control character or the end.
                _ => return Err(self.expected("the closing quote of a string")),
            }
        }
    }

    /// Reads a number and gives back its text, which is ASCII.
    pub(crate) fn number(&mut self) -> Result<&'a str, SyntaxError> {
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

    pub(crate) fn boolean(&mut self) -> Result<bool, SyntaxError> {
        self.whitespace();
        if self.bytes.get(self.at) == Some(&b't') {
            self.literal(b"true").map(|()| true)
        } else {
            self.literal(b"false").map(|()| false)
        }
    }

    /// Reads any value.
    pub(crate) fn skip(&mut self) -> Result<Span, SyntaxError> {
        self.walk(|_, _| ())
    }

    /// Reads any value and shows every string in it that is not a key, with the raw key of the member it stands under.
    pub(crate) fn walk(&mut self, mut on_string: impl FnMut(&'a [u8], Text<'a>)) -> Result<Span, SyntaxError> {
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

    /// Moves over a string's characters up to the next quote, backslash, control character or the end.
    ///
    /// Nearly all bytes of a request are here. Eight are looked at in one word, four words to a round: measured at
    /// several gigabytes a second, and unlike `memchr` it also sees control characters and does not mind that prompts
    /// are full of short `\n`-separated lines.
    fn plain_characters(&mut self) {
        let mut rest = &self.bytes[self.at..];
        while let Some((block, after)) = rest.split_first_chunk::<32>() {
            let mut stop = 0;
            for word in block.as_chunks::<8>().0 {
                stop |= stops(u64::from_le_bytes(*word));
            }
            if stop != 0 {
                break;
            }
            rest = after;
        }
        while let Some((word, after)) = rest.split_first_chunk::<8>() {
            let stop = stops(u64::from_le_bytes(*word));
            if stop != 0 {
                // A borrow can only raise false alarms above a true one, so the lowest is exact.
                self.at = self.bytes.len() - rest.len() + (stop.trailing_zeros() / 8) as usize;
                return;
            }
            rest = after;
        }
        let tail = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
        self.at = self.bytes.len() - rest.len() + tail;
    }

    /// Moves over one escape and says how many characters longer it is than what it stands for.
    fn escape(&mut self) -> Result<usize, SyntaxError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(1)
            }
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6);
                let Some(digits) = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)) else {
                    return Err(self.expected("four hexadecimal digits after `\\u`"));
                };
                // The second half of a surrogate pair adds no character of its own.
                let low_surrogate = matches!(digits, [b'd' | b'D', b'c'..=b'f' | b'C'..=b'F', ..]);
                self.at += 6;
                Ok(if low_surrogate { 6 } else { 5 })
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

/// Marks the high bit of every byte that ends a run of plain characters: a quote, a backslash or a control character.
const fn stops(word: u64) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (LOW * b'"' as u64);
    let backslash = word ^ (LOW * b'\\' as u64);
    ((quote.wrapping_sub(LOW) & !quote)
        | (backslash.wrapping_sub(LOW) & !backslash)
        | (word.wrapping_sub(LOW * 0x20) & !word))
        & HIGH
}

/// The raw values of the members of an object that have one of these names; the last one where a name repeats.
pub(crate) fn pick<'a, const N: usize>(
    object: &'a [u8],
    names: [&str; N],
) -> Result<[Option<&'a [u8]>; N], SyntaxError> {
    let mut found = [None; N];
    let mut cursor = Cursor::new(object);
    cursor.members(|member, cursor| {
        let value = cursor.skip()?;
        if let Some(at) = names.iter().position(|name| *name == member.key) {
            found[at] = Some(&object[value]);
        }
        Ok::<_, SyntaxError>(())
    })?;
    cursor.end()?;
    Ok(found)
}

/// The raw elements of an array, at most `limit` of them.
pub(crate) fn elements(array: &[u8], limit: usize) -> Vec<&[u8]> {
    let mut found = Vec::new();
    // A text that is no array has no elements; `pick` has already checked the grammar of what comes from outside.
    let _ = Cursor::new(array).elements(|_, cursor| {
        let element = cursor.skip()?;
        if found.len() < limit {
            found.push(&array[element]);
        }
        Ok::<_, SyntaxError>(())
    });
    found
}

/// The decoded text of a raw value, if it is a string.
pub(crate) fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    Cursor::new(value).string().ok().map(|text| text.decode())
}

/// The number a raw value holds, if it is a whole number, zero or more. Beyond 64 bits it saturates.
pub(crate) fn unsigned(value: &[u8]) -> Option<u64> {
    whole_number(Cursor::new(value).number().ok()?)
}

/// Reads the text of a JSON number as a whole number, zero or more. Beyond 64 bits it saturates.
pub(crate) fn whole_number(number: &str) -> Option<u64> {
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| {
        number.bytes().fold(0, |value: u64, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
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
    }

    #[test]
    fn a_stop_is_found_at_every_position() {
        for length in 0..80 {
            for stop in ['"', '\\', '\n'] {
                let mut text = String::from("\"");
                text.extend(std::iter::repeat_n('\u{7f}', length));
                text.push(stop);
                let mut cursor = Cursor::new(text.as_bytes());
                cursor.at = 1;
                cursor.plain_characters();
                assert_eq!(cursor.at, length + 1, "{stop:?} after {length}");
            }
        }
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

    #[test]
    fn whole_numbers_saturate() {
        assert_eq!(unsigned(b"0"), Some(0));
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned(b"99999999999999999999"), Some(u64::MAX));
        assert_eq!(unsigned(b"-1"), None);
        assert_eq!(unsigned(b"1.0"), None);
        assert_eq!(unsigned(b"null"), None);
    }
}
