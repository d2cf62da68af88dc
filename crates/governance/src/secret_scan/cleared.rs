//! Texts in which nothing was found, so that they are not looked through with each request that repeats them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mark::{Mark, Marker};

/// Shorter texts are looked through about as fast as they are known again.
const WORTH_REMEMBERING: usize = 1024;
/// Two to the power of this many texts are remembered, in a megabyte.
const BITS: u32 = 17;

/// Texts that were found clean. A mark lies where some bits of it say, as 63 others.
pub(super) struct Cleared {
    marker: Marker,
    slots: Box<[AtomicU64]>,
}

impl Cleared {
    /// Knows no text.
    pub(super) fn new() -> Self {
        Self { marker: Marker::new(), slots: (0..1 << BITS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The mark of a text, if it is worth remembering. Whether its distribution counts makes it another.
    pub(super) fn mark(&self, text: &[u8], by_entropy: bool) -> Option<Mark> {
        let beginning = Mark::beginning(by_entropy.into());
        (text.len() >= WORTH_REMEMBERING).then(|| self.marker.mark(beginning, text))
    }

    /// Whether this text was found clean, as far as it is remembered.
    pub(super) fn contains(&self, mark: Mark) -> bool {
        let (slot, rest) = place(mark);
        self.slots[slot].load(Ordering::Relaxed) == rest
    }

    /// Remembers that this text is clean, in place of the one whose mark lies there.
    pub(super) fn insert(&self, mark: Mark) {
        let (slot, rest) = place(mark);
        self.slots[slot].store(rest, Ordering::Relaxed);
    }
}

/// Where a mark lies, and as what: 0 is an empty slot.
fn place(mark: Mark) -> (usize, u64) {
    let (slot, rest) = mark.split(BITS);
    (slot, rest | 1)
}

impl fmt::Debug for Cleared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleared").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_again_as_it_was_judged() {
        let cleared = Cleared::new();
        let text = [b'a'; WORTH_REMEMBERING];
        let mark = cleared.mark(&text, false).expect("it is long enough");
        assert!(!cleared.contains(mark));
        cleared.insert(mark);
        assert!(cleared.contains(cleared.mark(&text, false).expect("the same")));
        assert!(!cleared.contains(cleared.mark(&text, true).expect("judged otherwise")));
        assert!(!cleared.contains(cleared.mark(&[b'b'; WORTH_REMEMBERING], false).expect("another text")));
        assert!(cleared.mark(&text[1..], false).is_none());
    }
}
