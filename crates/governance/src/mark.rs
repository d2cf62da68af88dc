//! Marks by which bytes are known again.
//!
//! With each request a session sends its whole conversation, nearly all of which was in the request before. What was found out
//! about that need not be found out again, if it can be told for certain that the bytes are the same.

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Stands for bytes in this process.
pub(crate) type Mark = u128;

/// Makes marks: those of a MAC (GMAC, NIST SP 800-38D) under a key that nobody knows.
///
/// Whoever could find two texts with the same mark could have the harmless one judged, and the other pass. Without the key
/// that is a matter of luck, one in 2^96 or less for two texts, as long as no mark is seen outside; what cannot be seen cannot
/// be searched. This is twelve times as fast as a digest of which everybody may know everything.
///
/// How long a request takes can tell that the same bytes were here before, a microsecond for each kilobyte: to somebody who
/// has all of them, once.
pub(crate) struct Marker(LessSafeKey);

impl Marker {
    /// With a key of its own. Absent where the system has no random numbers: then nothing is known again.
    pub(crate) fn new() -> Option<Self> {
        let mut key = [0; 16];
        aws_lc_rs::rand::fill(&mut key).ok()?;
        Some(Self(LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?)))
    }

    /// The mark of `bytes` that follow what has the mark `before`, of which 96 bits count.
    pub(crate) fn mark(&self, before: Mark, bytes: &[u8]) -> Option<Mark> {
        // A nonce must never come twice where tags are seen. These are not, and it only tells the same bytes apart that
        // follow different ones.
        let nonce = Nonce::assume_unique_for_key(*before.to_le_bytes().first_chunk()?);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(bytes), &mut []).ok()?;
        Some(Mark::from_le_bytes(*tag.as_ref().first_chunk()?))
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marker").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_known_again_and_others_are_not() {
        let marker = Marker::new().expect("random numbers");
        let bytes = vec![b'a'; 5000];
        let mark = marker.mark(0, &bytes);
        assert!(mark.is_some());
        assert_eq!(marker.mark(0, &bytes), mark);
        assert_ne!(marker.mark(1, &bytes), mark, "after something else");
        assert_ne!(marker.mark(0, &bytes[1..]), mark, "shorter");
        assert_ne!(Marker::new().expect("random numbers").mark(0, &bytes), mark, "under another key");
        for at in [0, 2500, 4999] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(marker.mark(0, &other), mark, "changed at {at}");
        }
    }
}
