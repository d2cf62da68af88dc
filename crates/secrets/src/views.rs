//! A text as somebody reads it who resolves its escapes: those of programs and of JSON, of URLs, of pages and of terminals.
//! Characters that nobody sees are left out.
//!
//! Only what is around an escape is read once more, so a text without any costs two searches for bytes.

use std::ops::Range;

use memchr::{memchr_iter, memchr3_iter};

/// Bytes before and behind an escape that are read with it: more than a credential has.
const AROUND: usize = 320;
/// A part is no longer than this, and the next begins so many bytes before its end: more than a credential has, escapes and
/// all.
const LARGEST: usize = 64 * 1024;
const BORDER: usize = 16 * AROUND;

/// A part of a text, with its escapes resolved.
pub(crate) struct View {
    /// What is read.
    pub(crate) text: Vec<u8>,
    pieces: Vec<Piece>,
}

/// What a stretch of the view was made of.
struct Piece {
    read: usize,
    written: Range<usize>,
    escape: bool,
}

impl View {
    /// Where in the text stands what is at `place` of the view.
    pub(crate) fn written(&self, place: &Range<usize>) -> Range<usize> {
        let piece = |at: usize| &self.pieces[self.pieces.partition_point(|piece| piece.read <= at) - 1];
        let (first, last) = (piece(place.start), piece(place.end - 1));
        let start = if first.escape { first.written.start } else { first.written.start + place.start - first.read };
        let end = if last.escape { last.written.end } else { last.written.start + place.end - last.read };
        start..end.max(start)
    }

    /// Whether an escape stands in or beside what is at `place`. Otherwise the text says the same, with more around it.
    pub(crate) fn is_of_escapes(&self, place: &Range<usize>) -> bool {
        const BESIDE: usize = 16;
        let (from, until) = (place.start.saturating_sub(BESIDE), place.end + BESIDE);
        let first = self.pieces.partition_point(|piece| piece.read < from);
        let near = self.pieces[first..].iter().take_while(|piece| piece.read < until);
        // Escapes that stand for nothing have no piece; what is behind one has.
        near.enumerate().any(|(index, piece)| piece.escape || first + index > 0)
    }

    fn of(text: &[u8], from: usize, until: usize) -> Self {
        let mut view = Self { text: Vec::with_capacity(until - from), pieces: Vec::new() };
        let mut plain = from;
        let mut at = from;
        while at < until {
            let Some((read, length)) = escape(&text[at..until]) else {
                at += 1;
                continue;
            };
            view.plain(text, plain..at);
            view.pieces.push(Piece { read: view.text.len(), written: at..at + length, escape: true });
            let empty = view.text.len();
            if let Some(character) = read {
                view.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            if view.text.len() == empty {
                view.pieces.pop();
            }
            at += length;
            plain = at;
        }
        view.plain(text, plain..until);
        view
    }

    fn plain(&mut self, text: &[u8], written: Range<usize>) {
        if !written.is_empty() {
            self.pieces.push(Piece { read: self.text.len(), written: written.clone(), escape: false });
            self.text.extend_from_slice(&text[written]);
        }
    }
}

/// Shows `each` the parts of `text` that read otherwise than they are written, one after the other, so that a text of
/// nothing but escapes takes no more room than one part.
pub(crate) fn views(text: &[u8], mut each: impl FnMut(&View)) {
    let escapes = memchr3_iter(b'\\', b'%', b'&', text);
    let unseen = memchr3_iter(0x1b, 0xE2, 0xEF, text);
    let hyphens = memchr_iter(0xC2, text);
    let mut places = in_order(in_order(escapes, unseen), hyphens).filter(|&at| matters(&text[at..]));
    let (mut next, mut before) = (places.next(), AROUND);
    while let Some(first) = next {
        let from = first.saturating_sub(before);
        let mut end = first + AROUND;
        next = places.next();
        while let Some(place) = next.filter(|&place| place < end && place < from + LARGEST) {
            end = place + AROUND;
            next = places.next();
        }
        before = if next.is_some_and(|place| place < end) { BORDER } else { AROUND };
        each(&View::of(text, from, end.min(text.len())));
    }
}

/// What both give, which are in order.
fn in_order(left: impl Iterator<Item = usize>, right: impl Iterator<Item = usize>) -> impl Iterator<Item = usize> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(one), Some(other)) if other < one => right.next(),
        (Some(_), _) => left.next(),
        (None, _) => right.next(),
    })
}

/// Whether what begins here may hide a credential: an escape that stands for a character of one, or what nobody sees.
fn matters(text: &[u8]) -> bool {
    match text {
        [b'\\', ..] => {
            let next = text.iter().take(8).find(|&&byte| byte != b'\\');
            matches!(next, Some(b'u' | b'x' | b'U' | b'/')) && escape(text).is_some()
        }
        [b'%', ..] => matches!(escape(text), Some((Some(character), _)) if character.is_ascii_graphic()),
        [b'&', b'#', ..] | [0x1b | 0xE2 | 0xEF | 0xC2, ..] => escape(text).is_some(),
        _ => false,
    }
}

/// What the escape at the beginning of `text` stands for, if anything, and how long it is.
fn escape(text: &[u8]) -> Option<(Option<char>, usize)> {
    let hex = |digits: &[u8]| {
        let digits =
            std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, 16).ok()
    };
    match text {
        [b'\\', ..] => {
            let slashes = text.iter().take(8).take_while(|&&byte| byte == b'\\').count();
            let rest = &text[slashes..];
            let (code, length) = match rest {
                [b'u', b'{', ..] => {
                    let end = rest.iter().take(10).position(|&byte| byte == b'}')?;
                    (hex(&rest[2..end])?, end + 1)
                }
                [b'u', ..] => (hex(rest.get(1..5)?)?, 5),
                [b'U', ..] => (hex(rest.get(1..9)?)?, 9),
                [b'x', ..] => (hex(rest.get(1..3)?)?, 3),
                [b'n' | b'r' | b't', ..] => (u32::from(b'\n'), 1),
                [mark @ (b'/' | b'"' | b'\''), ..] => (u32::from(*mark), 1),
                [b'0', b'3', b'3', ..] => (0x1b, 3),
                [b'e', b'[', ..] => (0x1b, 1),
                _ => return None,
            };
            let length = slashes + length;
            if code == 0x1b {
                return Some((None, length + colour(&text[length..])));
            }
            Some((char::from_u32(code).filter(|&character| !is_unseen(character)), length))
        }
        [b'%', high, low, ..] => Some((char::from_u32(hex(&[*high, *low])?).filter(char::is_ascii), 3)),
        [b'&', ..] => {
            let end = text.iter().take(10).position(|&byte| byte == b';')?;
            let code = match &text[1..end] {
                b"amp" => u32::from(b'&'),
                b"quot" => u32::from(b'"'),
                b"apos" => u32::from(b'\''),
                b"lt" => u32::from(b'<'),
                b"gt" => u32::from(b'>'),
                [b'#', b'x' | b'X', digits @ ..] => hex(digits)?,
                [b'#', digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok()?,
                _ => return None,
            };
            Some((char::from_u32(code).filter(|&character| !is_unseen(character)), end + 1))
        }
        [0x1b, rest @ ..] => Some((None, 1 + colour(rest))),
        [0xE2 | 0xEF, ..] => {
            let character = std::str::from_utf8(text.get(..3)?).ok()?.chars().next()?;
            is_unseen(character).then_some((None, 3))
        }
        [0xC2, 0xAD, ..] => Some((None, 2)),
        _ => None,
    }
}

/// Spaces without width, marks of direction, joiners.
fn is_unseen(character: char) -> bool {
    matches!(character, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}' | '\u{AD}')
}

/// How long the rest of a sequence is that colours a terminal.
fn colour(rest: &[u8]) -> usize {
    let Some(b'[') = rest.first() else { return 0 };
    let codes =
        rest[1..].iter().take(16).take_while(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b'?')).count();
    match rest.get(1 + codes) {
        Some(b'm' | b'K' | b'J' | b'H' | b'G' | b'A'..=b'D') => codes + 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_as_it_is_meant_and_found_where_it_stands() {
        for (written, read) in [
            ("a \\u0067hp b", "ghp"),
            ("a \\\\u0067\\u0068p b", "ghp"),
            ("a \\x67hp b", "ghp"),
            ("a %67hp b", "ghp"),
            ("a &#103;h&#x70; b", "ghp"),
            ("a g\u{200b}h\u{2060}p b", "ghp"),
            ("a g\x1b[31mhp b", "ghp"),
            ("a g\\x1b[31mhp b", "ghp"),
            ("a https:\\/\\/x b", "https://x"),
        ] {
            let mut places = Vec::new();
            views(written.as_bytes(), |view| {
                let at = memchr::memmem::find(&view.text, read.as_bytes()).expect(written);
                places.push(view.written(&(at..at + read.len())));
            });
            assert_eq!((places.len(), &places[0]), (1, &(2..written.len() - 2)), "{written}");
        }
        for plain in ["a line\\nand another", "100% of it", "a & b, — and é", "C:\\temp", "<p>&amp;</p>"] {
            views(plain.as_bytes(), |_| panic!("{plain}"));
        }
    }

    #[test]
    fn a_large_text_is_read_in_parts_and_nothing_stands_between_them() {
        const LETTERS: usize = 600;
        let escaped = |letter: &str, times: usize| letter.repeat(times);
        for before in (LARGEST / 3 - LETTERS - 10..LARGEST / 3 + 10).step_by(29) {
            let text = [escaped("%2d", before), escaped("%41", LETTERS), escaped("%2d", LARGEST)].concat();
            let (mut whole, mut parts, mut until) = (false, 0, 0);
            views(text.as_bytes(), |view| {
                parts += 1;
                let written = view.written(&(0..view.text.len()));
                assert!(written.start <= until && written.len() <= LARGEST + BORDER, "{written:?}");
                until = written.end;
                whole |= memchr::memmem::find(&view.text, "A".repeat(LETTERS).as_bytes()).is_some();
            });
            assert!(whole && parts > 3 && until == text.len(), "{before}: {parts} parts, until {until}");
        }
    }
}
