//! The texts of something that was said, as whoever receives it reads them.

use std::borrow::Cow;
use std::sync::OnceLock;

use memchr::memchr;

use super::strings::{Strings, looks_like_json};
use super::syntax::Span;
use super::text::{lossy, unescape};

/// How many levels of JSON in a string of JSON are looked through.
const UNWRAPPED: usize = 3;
/// Shorter numbers stand for nothing that anybody looks for: a social security number has nine digits.
const LONG_NUMBER: usize = 9;

/// The texts in a document, with JSON's escapes resolved: whoever looks for a word in the bytes themselves does not see
/// `\u0066oo`, nor a word after `\n`. Read once, when somebody asks; what has no escapes is not copied.
#[derive(Debug)]
pub struct Texts<'a> {
    content: &'a [u8],
    said: &'a [String],
    read: OnceLock<Vec<Placed>>,
}

/// A text, and where in the content it begins; at its end what was put together.
#[derive(Debug)]
struct Placed {
    at: usize,
    piece: Piece,
}

/// Where a text is.
#[derive(Debug)]
enum Piece {
    /// In the content, as it stands there.
    Within(Span),
    /// Among what was put together.
    Said(usize),
    /// Here, because it stands nowhere else.
    Own(String),
}

impl<'a> Texts<'a> {
    /// The texts of `content`.
    pub const fn of(content: &'a [u8]) -> Self {
        Self::with(content, &[])
    }

    /// The texts of `content`, which holds those of `said` in pieces, as a stream of events does.
    pub const fn with(content: &'a [u8], said: &'a [String]) -> Self {
        Self { content, said, read: OnceLock::new() }
    }

    /// Every string, every object key and every long whole number if the content is JSON, otherwise all of it; then what was
    /// put together from pieces. A text that has escapes of its own, such as the arguments of a tool call, is followed by what it stands
    /// for, up to three levels deep.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.placed().map(|(_, text)| text)
    }

    /// The same, each with where it begins in the content, in ascending order; what was put together stands at its end.
    pub fn placed(&self) -> impl Iterator<Item = (usize, &str)> {
        self.read.get_or_init(|| self.read()).iter().map(|Placed { at, piece }| {
            let text = match piece {
                // It was UTF-8 when it was read.
                Piece::Within(span) => str::from_utf8(&self.content[span.clone()]).unwrap_or_default(),
                Piece::Said(at) => &self.said[*at],
                Piece::Own(text) => text,
            };
            (*at, text)
        })
    }

    fn read(&self) -> Vec<Placed> {
        let mut pieces = Vec::new();
        let mut is_json = looks_like_json(self.content);
        if is_json {
            let mut after = 0;
            for leaf in Strings::of(self.content) {
                // Whoever receives what cannot be read may read it in a way we do not, so it is text as well.
                let Ok(leaf) = leaf else {
                    is_json = false;
                    continue;
                };
                add_numbers(&mut pieces, self.content, after..leaf.span.start);
                after = leaf.span.end;
                if leaf.escaped {
                    add_own(&mut pieces, leaf.span.start, unescaped(leaf.raw));
                } else {
                    add_within(&mut pieces, self.content, leaf.span);
                }
            }
            if is_json {
                add_numbers(&mut pieces, self.content, after..self.content.len());
            }
        }
        if !is_json {
            // Broken JSON is said twice; nothing stands before what was said already.
            let at = pieces.last().map_or(0, |last: &Placed| last.at);
            add_text(&mut pieces, self.content, 0..self.content.len(), at);
        }
        let end = self.content.len();
        for (index, said) in self.said.iter().enumerate().filter(|(_, said)| !said.is_empty()) {
            pieces.push(Placed { at: end, piece: Piece::Said(index) });
            add_inner(&mut pieces, end, said);
        }
        pieces
    }
}

/// Adds the long whole numbers that stand between two strings.
fn add_numbers(pieces: &mut Vec<Placed>, content: &[u8], span: Span) {
    let mut rest = content[span.clone()].iter().enumerate().peekable();
    while let Some((start, byte)) = rest.next() {
        let goes_on = start > 0 && b".0123456789".contains(&content[span.start + start - 1]);
        if !byte.is_ascii_digit() || goes_on {
            continue;
        }
        let mut end = start + 1;
        while rest.next_if(|(_, byte)| byte.is_ascii_digit()).is_some() {
            end += 1;
        }
        let is_fraction = rest.peek().is_some_and(|(_, byte)| b".eE".contains(byte));
        if end - start >= LONG_NUMBER && !is_fraction {
            let at = span.start + start;
            pieces.push(Placed { at, piece: Piece::Within(at..span.start + end) });
        }
    }
}

/// Adds a part of the content, which is copied only if it is not UTF-8.
fn add_within(pieces: &mut Vec<Placed>, content: &[u8], span: Span) {
    let at = span.start;
    add_text(pieces, content, span, at);
}

/// The same, as something that begins `at`.
fn add_text(pieces: &mut Vec<Placed>, content: &[u8], span: Span, at: usize) {
    match lossy(&content[span.clone()]) {
        Cow::Borrowed("") => {}
        Cow::Borrowed(text) => {
            pieces.push(Placed { at, piece: Piece::Within(span) });
            add_inner(pieces, at, text);
        }
        Cow::Owned(text) => add_own(pieces, at, text),
    }
}

fn add_own(pieces: &mut Vec<Placed>, at: usize, text: String) {
    let place = pieces.len();
    add_inner(pieces, at, &text);
    pieces.insert(place, Placed { at, piece: Piece::Own(text) });
}

/// Adds what a text stands for, if it has escapes itself.
fn add_inner(pieces: &mut Vec<Placed>, at: usize, text: &str) {
    let mut inner = unwrapped(text);
    let mut level = 0;
    while let Some(text) = inner {
        level += 1;
        inner = if level < UNWRAPPED { unwrapped(&text) } else { None };
        pieces.push(Placed { at, piece: Piece::Own(text) });
    }
}

/// What a text with escapes stands for.
fn unwrapped(text: &str) -> Option<String> {
    memchr(b'\\', text.as_bytes())?;
    Some(unescaped(text.as_bytes())).filter(|inner| inner != text)
}

fn unescaped(raw: &[u8]) -> String {
    let mut text = Vec::with_capacity(raw.len());
    unescape(raw, &mut text);
    String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_however_it_is_written() {
        let inner = r#"{"q":"a \u0066oo"}"#;
        let nested = serde_json::json!({ "arguments": inner }).to_string();
        let twice = serde_json::json!({ "input": nested }).to_string();
        for content in [
            r#"{"a":"the foo"}"#,
            r#"{"a":"the \u0066oo"}"#,
            r#"{"a":["x","\u0066\u006f\u006f"]}"#,
            r#"{"\u0066oo":1}"#,
            r#"{"a":"x\nfoo\ty"}"#,
            &nested,
            &twice,
            "no JSON, but \\u0066oo",
            "data: {\"delta\":{\"unheard_of\":\"\\u0066oo\"}}\n\n",
            r#"{"a":"\u0066oo", and broken"#,
            r#"{"a":"unclosed \u0066oo"#,
        ] {
            let texts = Texts::of(content.as_bytes());
            let words = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "foo");
            assert!(texts.iter().any(words), "{content}: {:?}", texts.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn texts_are_those_of_the_document_in_their_order() {
        let said = ["put together".to_owned()];
        let content = r#"{"a":"b","":["c\\d",{"e":"é\n"}],"n":1}"#;
        let texts = Texts::with(content.as_bytes(), &said);
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["a", "b", "c\\d", "e", "é\n", "n", "put together"]);
        assert_eq!(Texts::of(b"").iter().count(), 0);
        assert_eq!(Texts::of(b"not \xff JSON").iter().collect::<Vec<_>>(), ["not \u{fffd} JSON"]);
    }

    #[test]
    fn long_whole_numbers_are_texts() {
        let content =
            r#"{"card":4111111111111111,"n":[12345678,123456789,0.123456789,1234567890.5,1234567890e3],"s":"x"}"#;
        let texts = Texts::of(content.as_bytes());
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["card", "4111111111111111", "n", "123456789", "s", "x"]);
        assert_eq!(Texts::of(b"123456789").iter().collect::<Vec<_>>(), ["123456789"]);
        assert_eq!(Texts::of(b"[\"a\",987654321]").iter().collect::<Vec<_>>(), ["a", "987654321"]);
    }

    #[test]
    fn every_text_is_told_with_its_place() {
        let said = ["more".to_owned()];
        let content = r#"{"a":"b\\u0063","d":["e"]}"#;
        let texts = Texts::with(content.as_bytes(), &said);
        let placed: Vec<_> = texts.placed().collect();
        let expected = [(2, "a"), (6, r"b\u0063"), (6, "bc"), (17, "d"), (22, "e"), (content.len(), "more")];
        assert_eq!(placed, expected);
    }

    #[test]
    fn what_has_no_escapes_is_not_copied() {
        let content = format!(r#"{{"a":"{}"}}"#, "x".repeat(1000));
        let texts = Texts::of(content.as_bytes());
        let within = content.as_bytes().as_ptr_range();
        assert!(texts.iter().all(|text| within.contains(&text.as_ptr())));
    }
}
