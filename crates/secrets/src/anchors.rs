//! Looking for all anchors at once: the literals of which one stands in, or beside, every credential there is a rule for.
//!
//! An automaton reads a text byte by byte, each step waiting for the one before. Here the next four bytes tell whether an
//! anchor may begin, whatever the case of its letters, and these are looked at independently of each other, several places to
//! a step. What costs is what is found, not what is read.

/// Bits of the hash of a beginning. The table of them is sixteen kilobytes, which stay in the fastest cache.
const BITS: u32 = 17;
/// The bytes that tell whether an anchor may begin.
const BEGINNING: usize = 4;
/// Places whose beginnings lie within one word of eight bytes.
const PLACES: usize = size_of::<u64>() + 1 - BEGINNING;
/// Folds the case of letters. Other bytes share a place with others, which costs a comparison.
const FOLD: u64 = 0x2020_2020_2020_2020;

/// Literals that are looked for together.
#[derive(Debug)]
pub(crate) struct Anchors {
    /// A bit at the hash of each beginning.
    filter: Box<[u64; 1 << (BITS - 6)]>,
    /// By the folded beginning: where in `literals` those lie that have it. A hash table with open addressing.
    slots: Vec<(u32, u32, u32)>,
    literals: Vec<Literal>,
}

#[derive(Debug, Clone)]
struct Literal {
    bytes: Vec<u8>,
    any_case: bool,
    index: usize,
    /// Its first bytes, folded, and which bits of a word they are: nearly all that is something else differs here.
    head: u64,
    mask: u64,
}

impl Literal {
    fn new(bytes: Vec<u8>, any_case: bool, index: usize) -> Self {
        let mut head = [0; size_of::<u64>()];
        let length = bytes.len().min(head.len());
        head[..length].copy_from_slice(&bytes[..length]);
        let mask = u64::MAX >> (8 * (head.len() - length));
        Self { bytes, any_case, index, head: (u64::from_le_bytes(head) | FOLD) & mask, mask }
    }
}

impl Anchors {
    /// Looks for these literals of three bytes or more, in any case where that is said.
    pub(crate) fn new(literals: impl IntoIterator<Item = (Vec<u8>, bool)>) -> Self {
        let mut by_beginning: Vec<(u32, Literal)> = Vec::new();
        for (index, (bytes, any_case)) in literals.into_iter().enumerate() {
            assert!(bytes.len() >= BEGINNING - 1, "an anchor has three bytes at least");
            let bytes = if any_case { bytes.to_ascii_lowercase() } else { bytes };
            for beginning in beginnings_of(&bytes) {
                by_beginning.push((beginning, Literal::new(bytes.clone(), any_case, index)));
            }
        }
        // The longest first.
        by_beginning.sort_by(|(left, a), (right, b)| left.cmp(right).then(b.bytes.len().cmp(&a.bytes.len())));
        let mut filter = Box::new([0; 1 << (BITS - 6)]);
        let size = (by_beginning.len() * 4).next_power_of_two().max(16);
        let mut slots = vec![(0, 0, 0); size];
        let mut start = 0;
        for group in by_beginning.chunk_by(|left, right| left.0 == right.0) {
            let beginning = group[0].0;
            let hash = hash(beginning);
            filter[hash >> 6] |= 1 << (hash & 63);
            let mut slot = hash & (size - 1);
            while slots[slot].2 != 0 {
                slot = (slot + 1) & (size - 1);
            }
            slots[slot] = (beginning, start, start + group.len() as u32);
            start += group.len() as u32;
        }
        Self { filter, slots, literals: by_beginning.into_iter().map(|(_, literal)| literal).collect() }
    }

    /// Gives every anchor in `text` to `found`, with its index, where it begins and where it ends; in the order in which they
    /// begin.
    pub(crate) fn find(&self, text: &[u8], mut found: impl FnMut(usize, usize, usize)) {
        let mut at = 0;
        while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk()) {
            let word = u64::from_le_bytes(*word) | FOLD;
            let marks = (0..PLACES).fold(0, |marks, place| marks | (self.mark((word >> (8 * place)) as u32) << place));
            if marks != 0 {
                for place in (0..PLACES).filter(|place| marks >> place & 1 == 1) {
                    self.look((word >> (8 * place)) as u32, text, at + place, &mut found);
                }
            }
            at += PLACES;
        }
        // The rest, and what may be behind it.
        for at in at..(text.len() + 1).saturating_sub(BEGINNING - 1) {
            let mut bytes = [0; BEGINNING];
            let rest = &text[at..text.len().min(at + BEGINNING)];
            bytes[..rest.len()].copy_from_slice(rest);
            let beginning = u32::from_le_bytes(bytes) | FOLD as u32;
            if self.mark(beginning) != 0 {
                self.look(beginning, text, at, &mut found);
            }
        }
    }

    /// 1 if an anchor may begin with these folded bytes.
    fn mark(&self, beginning: u32) -> u64 {
        let hash = hash(beginning);
        self.filter[hash >> 6] >> (hash & 63) & 1
    }

    fn look(&self, beginning: u32, text: &[u8], at: usize, found: &mut impl FnMut(usize, usize, usize)) {
        let mut slot = hash(beginning) & (self.slots.len() - 1);
        loop {
            let (own, start, end) = self.slots[slot];
            if end == 0 {
                return;
            }
            if own == beginning {
                let mut head = [0; size_of::<u64>()];
                let rest = &text[at..text.len().min(at + head.len())];
                head[..rest.len()].copy_from_slice(rest);
                let head = u64::from_le_bytes(head) | FOLD;
                let near = |anchor: &&Literal| head & anchor.mask == anchor.head;
                for anchor in self.literals[start as usize..end as usize].iter().filter(near) {
                    let Some(here) = text.get(at..at + anchor.bytes.len()) else { continue };
                    let same =
                        if anchor.any_case { here.eq_ignore_ascii_case(&anchor.bytes) } else { here == anchor.bytes };
                    if same {
                        found(anchor.index, at, at + anchor.bytes.len());
                    }
                }
                return;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

/// The four folded bytes an anchor begins with; all there can be if it has three.
fn beginnings_of(literal: &[u8]) -> Vec<u32> {
    let of = |bytes: [u8; BEGINNING]| u32::from_le_bytes(bytes) | FOLD as u32;
    if let Some(bytes) = literal.first_chunk() {
        vec![of(*bytes)]
    } else {
        let mut all: Vec<u32> = (0..=255).map(|last| of([literal[0], literal[1], literal[2], last])).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// A number below 2^[`BITS`].
const fn hash(beginning: u32) -> usize {
    (beginning.wrapping_mul(0x9E37_79B1) >> (u32::BITS - BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::made_of;

    #[test]
    fn every_anchor_is_found_where_it_begins() {
        for salt in 0..2000 {
            let mut literals: Vec<(String, bool)> = (1..=6)
                .map(|n| (made_of("abB-", 3 + (salt as usize + n) % 4, salt * 10 + n as u64), n % 2 == 0))
                .collect();
            literals.sort();
            literals.dedup();
            let text = made_of("aAbbB-", salt as usize % 64, salt);
            let anchors = Anchors::new(literals.iter().map(|(text, any_case)| (text.clone().into_bytes(), *any_case)));
            let mut found = Vec::new();
            anchors.find(text.as_bytes(), |index, start, end| found.push((start, end, index)));
            let mut expected = Vec::new();
            for at in 0..text.len() {
                for (index, (literal, any_case)) in literals.iter().enumerate() {
                    let Some(here) = text.get(at..at + literal.len()) else { continue };
                    if here == literal || (*any_case && here.eq_ignore_ascii_case(literal)) {
                        expected.push((at, at + literal.len(), index));
                    }
                }
            }
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{literals:?} in {text}");
        }
    }
}
