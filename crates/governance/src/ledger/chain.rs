//! The hash chain as a value: where it ends, and how entries are appended to it.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::entry::Sealed;
use super::text::Sha;

/// The end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    pub(crate) hash: Sha,
    /// When its last entry was written. Never decreases.
    pub(crate) at: DateTime<Utc>,
}

/// The place of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) seq: i64,
    pub(super) hash: Sha,
}

impl Head {
    /// A chain without entries. It begins with a hash of its own id, so entries of one chain do not fit another.
    pub(crate) fn first(chain: Uuid) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"systemprompt ledger chain ");
        hash.update(chain.as_bytes());
        Self { seq: 0, hash: hash.finalize().into(), at: DateTime::UNIX_EPOCH }
    }

    /// The chain with these entries appended at this time: their places, and its new end.
    pub(super) fn extend<'a>(self, entries: impl Iterator<Item = &'a Sealed>, now: DateTime<Utc>) -> (Vec<Link>, Self) {
        let mut end = Self { at: self.at.max(now), ..self };
        let links = entries
            .map(|entry| {
                end.seq += 1;
                end.hash = link_hash(&end.hash, end.seq, end.at, &entry.sha256);
                Link { seq: end.seq, hash: end.hash }
            })
            .collect();
        (links, end)
    }
}

/// `SHA-256(previous ‖ seq ‖ at ‖ SHA-256(body))`; the sequence number and the time in microseconds since 1970 as eight
/// bytes each, most significant first.
pub(crate) fn link_hash(previous: &Sha, seq: i64, at: DateTime<Utc>, body: &Sha) -> Sha {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(seq.to_be_bytes());
    hash.update(at.timestamp_micros().to_be_bytes());
    hash.update(body);
    hash.finalize().into()
}
