//! Marks by which bytes are known again.
//!
//! With each request a session sends its whole conversation, nearly all of which was in the request before. What was found out
//! about that need not be found out again, if it can be told for certain that the bytes are the same.

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Stands for bytes in this process. It is not shown, in no log either.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mark(u128);

/// Makes marks, under a key that nobody knows.
///
/// Whoever could find two texts with the same mark could have the harmless one judged, and the other pass. So a mark is a MAC:
/// GMAC (NIST SP 800-38D), and its tag encrypted once more, so that nothing of a mark, such as the place where it is kept and
/// which other it takes that from, says anything about the key. Two texts of the largest size have the same one in one of 2^74
/// cases. This is twelve times as fast as a digest of which everybody may know everything.
///
/// How long a request takes may tell that bytes were here before, whoever sent them: by a microsecond for each kilobyte, and
/// once, for then they are known.
pub(crate) struct Marker(LessSafeKey);

impl Mark {
    /// Of nothing. What is judged in one of several ways begins with a number of that way.
    pub(crate) const fn beginning(way: u8) -> Self {
        Self(way as u128)
    }

    /// A number below two to the power of `bits`, and 64 other bits.
    pub(crate) const fn split(self, bits: u32) -> (usize, u64) {
        ((self.0 as usize) & ((1 << bits) - 1), (self.0 >> 64) as u64)
    }
}

impl Marker {
    /// With a key of its own.
    pub(crate) fn new() -> Self {
        let mut key = [0; 16];
        aws_lc_rs::rand::fill(&mut key).expect("the system has random numbers");
        Self(LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).expect("a key of this length")))
    }

    /// The mark of `bytes` that follow what has the mark `before`.
    pub(crate) fn mark(&self, before: Mark, bytes: &[u8]) -> Mark {
        // The tag of nothing is the nonce, encrypted.
        self.tag(self.tag(before, bytes), &[])
    }

    fn tag(&self, Mark(before): Mark, bytes: &[u8]) -> Mark {
        // A nonce must never come twice where tags are seen. These are not, and it only tells the same bytes apart that
        // follow different ones.
        let before = before.to_le_bytes();
        let nonce = Nonce::assume_unique_for_key(std::array::from_fn(|at| before[at]));
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(bytes), &mut []).expect("less than 2^61 bytes");
        Mark(u128::from_le_bytes(tag.as_ref().try_into().expect("a tag has 16 bytes")))
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark(..)")
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marker(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_known_again_and_others_are_not() {
        let (marker, beginning) = (Marker::new(), Mark::beginning(0));
        let bytes = vec![b'a'; 5000];
        let mark = marker.mark(beginning, &bytes);
        assert_eq!(marker.mark(beginning, &bytes), mark);
        assert_ne!(marker.mark(Mark::beginning(1), &bytes), mark, "judged in another way");
        assert_ne!(marker.mark(mark, &bytes), mark, "after something else");
        assert_ne!(marker.mark(beginning, &bytes[1..]), mark, "shorter");
        assert_ne!(Marker::new().mark(beginning, &bytes), mark, "under another key");
        for at in [0, 2500, 4999] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(marker.mark(beginning, &other), mark, "changed at {at}");
        }
        assert_eq!(format!("{mark:?} {marker:?}"), "Mark(..) Marker(..)");
    }

    #[test]
    fn marks_say_nothing_of_how_texts_differ() {
        // Tags of GMAC under one nonce do: the difference of two is a sum over the bytes in which the texts differ, so here
        // that of two pairs would be the same.
        let (marker, beginning) = (Marker::new(), Mark::beginning(0));
        let mark = |text: &[u8; 32]| marker.mark(beginning, text).0;
        let (one, mut other) = ([b'a'; 32], [b'a'; 32]);
        other[3] ^= 1;
        let (mut one_more, mut other_more) = (one, other);
        one_more[20] ^= 4;
        other_more[20] ^= 4;
        assert_ne!(mark(&one) ^ mark(&other), mark(&one_more) ^ mark(&other_more));
    }
}
