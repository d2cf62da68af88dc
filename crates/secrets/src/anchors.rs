//! Looking for all anchors at once.
//!
//! An automaton reads a text byte by byte, each step waiting for the one before. For the 100 KiB of a coding session that
//! was a quarter of all the gateway did. So it is only asked where an anchor may begin, which the next three bytes tell,
//! and these are looked at independently of each other: less than half of the time.

use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};

/// The table of beginnings has two to the power of this many entries: few enough to stay in the fastest cache, enough that
/// about one place in a hundred of ordinary text is looked at again.
const BITS: u32 = 14;
/// The bytes that tell whether an anchor may begin.
const BEGINNING: usize = 3;
/// Places whose beginnings lie within one word of eight bytes.
const PLACES: usize = size_of::<u64>() + 1 - BEGINNING;

/// Literals that are looked for together.
#[derive(Debug)]
pub(crate) struct Anchors {
    /// 1 at the hash of each beginning.
    beginnings: Box<[u8; 1 << BITS]>,
    /// Says which anchor it is, the longest where one is the beginning of another.
    automaton: AhoCorasick,
}

/// An anchor in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// Its place in the list.
    pub(crate) index: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Anchors {
    /// Looks for these, which are not empty.
    pub(crate) fn new(literals: &[String]) -> Self {
        let mut beginnings = Box::new([0; 1 << BITS]);
        for literal in literals {
            for beginning in beginnings_of(literal.as_bytes()) {
                beginnings[hash(beginning)] = 1;
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .start_kind(StartKind::Anchored)
            .build(literals)
            .expect("a few dozen short literals make a small automaton");
        Self { beginnings, automaton }
    }

    /// The first anchor that begins at `from` or later.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Option<Anchor> {
        let mut at = from;
        while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk()) {
            let found = self.find_in_word::<PLACES>(u64::from_le_bytes(*word), text, at);
            if found.is_some() {
                return found;
            }
            at += PLACES;
        }
        let rest = text.get(at..).unwrap_or_default();
        let mut word = [0; size_of::<u64>()];
        word[..rest.len()].copy_from_slice(rest);
        // What is shorter than a beginning is marked with whatever may follow it, zeros too.
        self.find_in_word::<{ size_of::<u64>() - 1 }>(u64::from_le_bytes(word), text, at)
    }

    /// The first anchor that begins at one of the first places of `word`, which is the text from `at` on.
    fn find_in_word<const N: usize>(&self, word: u64, text: &[u8], at: usize) -> Option<Anchor> {
        let marked = |place: usize| self.is_marked((word >> (8 * place)) as u32);
        // Nearly always there is none, so that is asked of all of them first.
        if (0..N).fold(0, |any, place| any | marked(place)) == 0 {
            return None;
        }
        let mut marked = (0..N).filter(|place| marked(*place) != 0 && at + place < text.len());
        marked.find_map(|place| self.at(text, at + place))
    }

    /// 1 if an anchor may begin with these three bytes (the lower ones).
    fn is_marked(&self, beginning: u32) -> u8 {
        self.beginnings[hash(beginning)]
    }

    /// The anchor that begins here.
    fn at(&self, text: &[u8], start: usize) -> Option<Anchor> {
        let found = self.automaton.find(Input::new(text).range(start..).anchored(Anchored::Yes))?;
        Some(Anchor { index: found.pattern().as_usize(), start, end: found.end() })
    }
}

/// The three bytes an anchor begins with; all there can be if it is shorter.
fn beginnings_of(literal: &[u8]) -> impl Iterator<Item = u32> {
    let known = literal.len().min(BEGINNING);
    let mut bytes = [0; 4];
    bytes[..known].copy_from_slice(&literal[..known]);
    let first = u32::from_le_bytes(bytes);
    (0..1_u32 << (8 * (BEGINNING - known))).map(move |rest| first | (rest << (8 * known)))
}

/// A number below 2^[`BITS`] for the lower three bytes.
const fn hash(beginning: u32) -> usize {
    ((beginning & 0x00FF_FFFF).wrapping_mul(0x9E37_79B1) >> (u32::BITS - BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::made_of;

    #[test]
    fn every_anchor_is_found_where_it_begins_and_the_longest_of_several() {
        for salt in 0..2000 {
            let mut literals: Vec<String> =
                (1..=6).map(|n| made_of("ab-", 1 + (salt as usize + n) % 5, salt * 10 + n as u64)).collect();
            literals.sort();
            literals.dedup();
            let text = made_of("aabbc-", salt as usize % 64, salt);
            let anchors = Anchors::new(&literals);
            let mut found = Vec::new();
            let mut from = 0;
            while let Some(Anchor { index, start, end }) = anchors.find(text.as_bytes(), from) {
                assert_eq!(text[start..end], literals[index]);
                found.push((start, end));
                from = start + 1;
            }
            let longest = |at: usize| {
                let here = literals.iter().filter(|literal| text[at..].starts_with(literal.as_str()));
                here.map(String::len).max()
            };
            let expected: Vec<_> = (0..text.len()).filter_map(|at| Some((at, at + longest(at)?))).collect();
            assert_eq!(found, expected, "{literals:?} in {text}");
        }
    }
}
