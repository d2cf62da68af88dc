//! Texts in which nothing was found, so that they are not looked through with each request that repeats them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use systemprompt_secrets::Memory;

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
}

impl Memory for Cleared {
    type Mark = Mark;

    fn mark(&self, text: &[u8], way: u8) -> Option<Mark> {
        (text.len() >= WORTH_REMEMBERING).then(|| self.marker.mark(Mark::beginning(way), text))
    }

    fn is_clean(&self, mark: Mark) -> bool {
        let (slot, rest) = place(mark);
        self.slots[slot].load(Ordering::Relaxed) == rest
    }

    /// In place of the one whose mark lies there.
    fn remember(&self, mark: Mark) {
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
        let mark = cleared.mark(&text, 0).expect("it is long enough");
        assert!(!cleared.is_clean(mark));
        cleared.remember(mark);
        assert!(cleared.is_clean(cleared.mark(&text, 0).expect("the same")));
        assert!(!cleared.is_clean(cleared.mark(&text, 1).expect("judged otherwise")));
        assert!(!cleared.is_clean(cleared.mark(&[b'b'; WORTH_REMEMBERING], 0).expect("another text")));
        assert!(cleared.mark(&text[1..], 0).is_none());
    }
}
