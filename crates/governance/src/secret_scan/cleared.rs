//! Texts in which nothing was found, so that they are not looked through with each request that repeats them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::mark::{Mark, Marker};

/// Shorter texts are looked through about as fast as they are known again.
const SHORTEST: usize = 1024;
/// So many texts are remembered, in a megabyte.
const SLOTS: usize = 1 << 17;

/// Texts that were found clean. A mark lies where 17 bits of it say, as 63 others: two texts have all of these in common in
/// one of 2^80 attempts, and nothing tells whether an attempt came close.
#[derive(Debug)]
pub(super) struct Cleared {
    marker: Marker,
    slots: Box<[AtomicU64]>,
}

impl Cleared {
    /// Knows no text. Absent where texts cannot be marked; then everything is looked through every time.
    pub(super) fn new() -> Option<Self> {
        Some(Self { marker: Marker::new()?, slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() })
    }

    /// The mark of a text that is judged in this `manner`, if it is worth remembering.
    pub(super) fn mark(&self, text: &[u8], manner: bool) -> Option<Mark> {
        if text.len() < SHORTEST { None } else { self.marker.mark(Mark::from(manner), text) }
    }

    /// Whether this text was found clean, as far as it is remembered.
    pub(super) fn contains(&self, mark: Mark) -> bool {
        self.slot(mark).load(Ordering::Relaxed) == rest(mark)
    }

    /// Remembers that this text is clean, in place of the one whose mark lies there.
    pub(super) fn insert(&self, mark: Mark) {
        self.slot(mark).store(rest(mark), Ordering::Relaxed);
    }

    fn slot(&self, mark: Mark) -> &AtomicU64 {
        &self.slots[mark as usize % SLOTS]
    }
}

/// What lies in the slot. An empty one has 0.
fn rest(mark: Mark) -> u64 {
    (mark >> 64) as u64 | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_again_in_the_manner_it_was_judged_in() {
        let cleared = Cleared::new().expect("random numbers");
        let text = [b'a'; SHORTEST];
        let mark = cleared.mark(&text, false).expect("it is long enough");
        assert!(!cleared.contains(mark));
        cleared.insert(mark);
        assert!(cleared.contains(cleared.mark(&text, false).expect("the same")));
        assert!(!cleared.contains(cleared.mark(&text, true).expect("another manner")));
        assert!(!cleared.contains(cleared.mark(&[b'b'; SHORTEST], false).expect("another text")));
        assert!(cleared.mark(&text[1..], false).is_none());
    }
}
