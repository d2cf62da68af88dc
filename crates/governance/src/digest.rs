//! The digest of what is judged.

use std::sync::Arc;

use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::ledger::text::{Sha, sha256};
use crate::mark::{Mark, Marker};

/// Digests of contents above this size are computed on a thread where nobody waits for a turn (about half a
/// millisecond of work).
const DIGEST_APART: usize = 1024 * 1024;

/// At each multiple of so many bytes it is remembered how far the digest has come.
const BLOCK: usize = 16 * 1024;

/// How many blocks are remembered: conversations of 64 MiB together, in a megabyte of memory.
const REMEMBERED: u64 = 4096;

/// How many blocks are remembered of one content, the last ones: it grows at its end.
const REMEMBERED_OF_ONE: usize = 64;

/// Computes digests, of conversations that grow only from where they grew.
///
/// A content that begins with the same blocks as an earlier one has the same digest up to there, so it is taken on from
/// there. Of the 100 KiB and more that coding sessions send with each request, hashing was a fifth of all the gateway did.
#[derive(Debug, Clone)]
pub(crate) struct Digester {
    marker: Arc<Marker>,
    /// How far the digest has come after the blocks that have this mark.
    begun: Cache<Mark, Sha256>,
}

impl Default for Digester {
    fn default() -> Self {
        let begun = Cache::builder().max_capacity(REMEMBERED).eviction_policy(EvictionPolicy::lru()).build();
        Self { marker: Arc::new(Marker::new()), begun }
    }
}

impl Digester {
    /// The SHA-256 of `content`.
    pub(crate) async fn digest(&self, content: &Bytes) -> Sha {
        if content.len() > DIGEST_APART {
            let (this, shared) = (self.clone(), content.clone());
            if let Ok(digest) = tokio::task::spawn_blocking(move || this.compute(&shared)).await {
                return digest;
            }
        }
        self.compute(content)
    }

    fn compute(&self, content: &[u8]) -> Sha {
        if content.len() < BLOCK {
            return sha256(content);
        }
        let marks: Vec<Mark> = content
            .chunks_exact(BLOCK)
            .scan(Mark::beginning(0), |mark, block| {
                *mark = self.marker.mark(*mark, block);
                Some(*mark)
            })
            .collect();
        // A mark stands for everything up to it, so the last one that is known is where to go on.
        let known = marks.iter().enumerate().rev().find_map(|(at, mark)| Some((at + 1, self.begun.get(mark)?)));
        let (done, mut digest) = known.unwrap_or_default();
        let mut blocks = content[done * BLOCK..].chunks_exact(BLOCK);
        for (block, (at, mark)) in blocks.by_ref().zip(marks.iter().enumerate().skip(done)) {
            digest.update(block);
            if at + REMEMBERED_OF_ONE >= marks.len() {
                self.begun.insert(*mark, digest.clone());
            }
        }
        digest.update(blocks.remainder());
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_content_has_its_digest_whatever_was_digested_before() {
        let digester = Digester::default();
        let text: Vec<u8> = (0..DIGEST_APART + 3 * BLOCK).map(|at| (at / 7) as u8).collect();
        let lengths = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 5 * BLOCK + 77, text.len(), 3 * BLOCK + 5];
        for round in 0..2 {
            for length in lengths {
                // As it is, and with one byte changed where others know it: at the beginning, at the end, and between.
                for changed in [None, Some(0), Some(length / 2), Some(length.saturating_sub(1))] {
                    let mut content = text[..length].to_vec();
                    if let Some(byte) = changed.and_then(|at| content.get_mut(at)) {
                        *byte ^= 1;
                    }
                    let content = Bytes::from(content);
                    let digest = digester.digest(&content).await;
                    assert_eq!(digest, sha256(&content), "{length} bytes, {changed:?} changed, round {round}");
                }
            }
        }
    }

    #[tokio::test]
    async fn it_is_taken_on_from_the_last_block_that_is_known() {
        let digester = Digester::default();
        let text = Bytes::from(vec![b'a'; 3 * BLOCK + 5]);
        let first = digester.marker.mark(Mark::beginning(0), &text[..BLOCK]);
        let second = digester.marker.mark(first, &text[BLOCK..2 * BLOCK]);
        // Nobody else could have put this there; that it counts shows where the digest began.
        digester.begun.insert(second, Sha256::new_with_prefix("elsewhere"));
        let expected = Sha256::new_with_prefix("elsewhere").chain_update(&text[2 * BLOCK..]);
        assert_eq!(digester.digest(&text).await, Sha::from(expected.finalize()));
    }
}
