//! Strings of JSON as they stand in the text, and what their escapes stand for.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

/// A string as it stands in the text, without its quotation marks.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// What is between the quotation marks.
    pub raw: &'a [u8],
    /// How many characters fewer the string has once its escapes are decoded.
    pub(super) escape_surplus: usize,
}

impl<'a> Text<'a> {
    /// What `raw` means, which is a part of a string.
    pub fn of(raw: &'a [u8]) -> Self {
        Self { raw, escape_surplus: usize::from(memchr(b'\\', raw).is_some()) }
    }

    /// The string that is meant. Borrowed unless there are escapes in it, or bytes that are not UTF-8.
    pub fn decode(&self) -> Cow<'a, str> {
        if self.escape_surplus == 0 {
            return lossy(self.raw);
        }
        let mut decoded = Vec::with_capacity(self.raw.len());
        unescape(self.raw, &mut decoded);
        Cow::Owned(match String::from_utf8(decoded) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// The number of characters of the decoded string, counted without decoding it.
    pub fn characters(&self) -> usize {
        // In blocks whose count fits a byte, so that the compiler can count many bytes at once.
        let starts = |block: &[u8]| block.iter().map(|byte| u8::from((byte & 0xC0) != 0x80)).sum::<u8>();
        let starts: usize = self.raw.chunks(255).map(|block| usize::from(starts(block))).sum();
        starts.saturating_sub(self.escape_surplus)
    }
}

/// Bytes as a text, in which what is no UTF-8 is U+FFFD. Nearly everything is UTF-8, and to ask that first costs a fifth of
/// looking for what is not.
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// Appends `raw` to `text` with its escapes resolved. What is no valid escape is kept as it is, and half a surrogate pair
/// becomes U+FFFD: nothing may hide behind a mistake.
pub fn unescape(raw: &[u8], text: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(backslash) = memchr(b'\\', rest) {
        text.extend_from_slice(&rest[..backslash]);
        rest = &rest[backslash..];
        let (character, length) = escape(rest);
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[length..];
    }
    text.extend_from_slice(rest);
}

/// The character that the escape at the start of `raw` stands for, and how many bytes it takes. A backslash that begins none
/// stands for itself.
fn escape(raw: &[u8]) -> (char, usize) {
    match raw.get(1) {
        Some(b'n') => ('\n', 2),
        Some(b't') => ('\t', 2),
        Some(b'r') => ('\r', 2),
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(&mark @ (b'"' | b'\\' | b'/')) => (char::from(mark), 2),
        Some(b'u') => unicode_escape(raw).unwrap_or(('\\', 1)),
        _ => ('\\', 1),
    }
}

/// Where in `raw` stands what is at `places` of the text it means, each as whole escapes. The places are in ascending order
/// and do not overlap.
pub fn raw_places(raw: &[u8], places: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut found = Vec::with_capacity(places.len());
    // How far `raw` and its meaning were read.
    let (mut at, mut meant) = (0, 0);
    let mut reach = |place: usize, beyond: bool| {
        while meant < place {
            let plain = memchr(b'\\', &raw[at..]).unwrap_or(raw.len() - at);
            let step = plain.min(place - meant);
            (at, meant) = (at + step, meant + step);
            if meant == place || at == raw.len() {
                break;
            }
            let (character, length) = escape(&raw[at..]);
            if !beyond && meant + character.len_utf8() > place {
                break;
            }
            (at, meant) = (at + length, meant + character.len_utf8());
        }
        at
    };
    for place in places {
        let start = reach(place.start, false);
        found.push(start..reach(place.end, true).max(start));
    }
    found
}

/// The character that `\uXXXX`, or a pair of those, stands for at the start of `raw`, and how many bytes that takes.
/// Half a surrogate pair is U+FFFD. `None` if there are no four hexadecimal digits.
pub(super) fn unicode_escape(raw: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| -> Option<u32> {
        let digits = raw.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |value, &digit| Some(value * 16 + char::from(digit).to_digit(16)?))
    };
    let first = unit(0)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 6));
    }
    match unit(6) {
        Some(second @ 0xDC00..=0xDFFF) if first < 0xDC00 => {
            let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            Some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12))
        }
        _ => Some((char::REPLACEMENT_CHARACTER, 6)),
    }
}

/// The offset of the next quotation mark, backslash or control character from `at` on, or the end of the bytes.
///
/// Nearly all bytes of a request are inside strings. Eight are looked at in one word, four words to a round: measured at
/// several gigabytes a second, and unlike `memchr` it also sees control characters and does not mind that prompts are
/// full of short `\n`-separated lines.
pub fn plain_end(bytes: &[u8], at: usize) -> usize {
    let mut rest = &bytes[at..];
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
            return bytes.len() - rest.len() + (stop.trailing_zeros() / 8) as usize;
        }
        rest = after;
    }
    let tail = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
    bytes.len() - rest.len() + tail
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved() {
        for (raw, expected) in [
            (r"a\nb\t\\\/\u0073\u00e9\ud83d\ude00", "a\nb\t\\/sé😀"),
            (r"\ud83d!", "\u{fffd}!"),
            (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
            (r"\u00g0 \x \u12", r"\u00g0 \x \u12"),
            (r"\b\f\r\", "\u{8}\u{c}\r\\"),
        ] {
            let mut out = Vec::new();
            unescape(raw.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn what_a_text_means_is_found_where_it_is_written() {
        let raw = r"a\nb\u00e9\ud83d\ude00c\x\";
        let mut text = Vec::new();
        unescape(raw.as_bytes(), &mut text);
        let text = String::from_utf8(text).unwrap();
        for (part, written) in [
            ("a", "a"),
            ("\n", r"\n"),
            ("b", "b"),
            ("é", r"\u00e9"),
            ("😀", r"\ud83d\ude00"),
            ("c", "c"),
            (r"\x\", r"\x\"),
        ] {
            let start = text.find(part).unwrap();
            let place = start..start + part.len();
            let places = raw_places(raw.as_bytes(), std::slice::from_ref(&place));
            assert_eq!(&raw[places[0].clone()], written);
        }
        let places = raw_places(raw.as_bytes(), &[0..2, 2..5, 5..9, 10..13]);
        let parts: Vec<&str> = places.into_iter().map(|place| &raw[place]).collect();
        assert_eq!(parts, [r"a\n", r"b\u00e9", r"\ud83d\ude00", r"\x\"]);
        // What is cut from a character is all of it.
        let places = raw_places(raw.as_bytes(), std::slice::from_ref(&(4..6)));
        assert_eq!(&raw[places[0].clone()], r"\u00e9\ud83d\ude00");
    }

    #[test]
    fn a_stop_is_found_at_every_position() {
        for length in 0..80 {
            for stop in ['"', '\\', '\n'] {
                let mut text = String::from("\"");
                text.extend(std::iter::repeat_n('\u{7f}', length));
                text.push(stop);
                assert_eq!(plain_end(text.as_bytes(), 1), length + 1, "{stop:?} after {length}");
            }
        }
    }
}
