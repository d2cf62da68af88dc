//! A text as somebody reads it who resolves its escapes: those of programs and of JSON, of URLs, of pages and of terminals.
//! Characters that nobody sees are left out.
//!
//! Only what is around an escape is read once more, so a text without any costs two searches for bytes.

use std::ops::Range;

use memchr::memchr3_iter;

/// Bytes before and behind an escape that are read with it: more than a credential has.
const AROUND: usize = 320;

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

/// The parts of `text` that read otherwise than they are written.
pub(crate) fn views(text: &[u8]) -> Vec<View> {
    let escapes = memchr3_iter(b'\\', b'%', b'&', text).filter(|&at| matters(&text[at..]));
    let unseen =
        memchr3_iter(0x1b, 0xE2, 0xEF, text).chain(memchr::memchr_iter(0xC2, text)).filter(|&at| matters(&text[at..]));
    let mut places: Vec<usize> = escapes.collect();
    let seen = places.len();
    places.extend(unseen);
    if places.is_empty() {
        return Vec::new();
    }
    if places.len() > seen {
        places.sort_unstable();
    }
    let mut views = Vec::new();
    let mut places = places.into_iter().peekable();
    while let Some(first) = places.next() {
        let mut end = first + AROUND;
        while let Some(next) = places.next_if(|&next| next < end) {
            end = next + AROUND;
        }
        let (from, until) = (first.saturating_sub(AROUND), end.min(text.len()));
        views.push(View::of(text, from, until));
    }
    views
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
            let views = views(written.as_bytes());
            assert_eq!(views.len(), 1, "{written}");
            let at = memchr::memmem::find(&views[0].text, read.as_bytes()).expect(written);
            let place = views[0].written(&(at..at + read.len()));
            assert_eq!(&written[place], &written[2..written.len() - 2], "{written}");
        }
        for plain in ["a line\\nand another", "100% of it", "a & b, — and é", "C:\\temp", "<p>&amp;</p>"] {
            assert!(views(plain.as_bytes()).is_empty(), "{plain}");
        }
    }
}
