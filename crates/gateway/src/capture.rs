//! What is kept in memory of an answer that passes, for the ledger: all of it up to a limit, beyond that its ends.

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use systemprompt_governance::Payload;

/// How much of the end of a long answer is kept.
const TAIL: usize = 8 * 1024;

/// Collects an answer piece by piece, in bounded memory.
pub(crate) struct Capture {
    limit: usize,
    head: BytesMut,
    tail: BytesMut,
    total: u64,
    digest: Sha256,
}

impl Capture {
    /// Keeps up to `limit` bytes of the beginning.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, head: BytesMut::new(), tail: BytesMut::new(), total: 0, digest: Sha256::new() }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.digest.update(bytes);
        let (first, rest) = bytes.split_at(bytes.len().min(self.limit - self.head.len()));
        self.head.extend_from_slice(first);
        // Twice the size before it is cut back, so that cutting costs little per byte.
        let rest = &rest[rest.len().saturating_sub(TAIL)..];
        self.tail.extend_from_slice(rest);
        if self.tail.len() > 2 * TAIL {
            let surplus = self.tail.len() - TAIL;
            let _ = self.tail.split_to(surplus);
        }
    }

    pub(crate) fn finish(self) -> Payload {
        let mut tail = self.tail.freeze();
        if tail.len() > TAIL {
            tail = tail.slice(tail.len() - TAIL..);
        }
        let head: Bytes = self.head.freeze();
        Payload::excerpt(head, tail, self.total, Some(self.digest.finalize().into()))
    }
}
