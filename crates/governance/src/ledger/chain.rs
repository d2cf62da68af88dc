//! The hash chain as a value: where it ends, and how entries are appended to it.

use super::record::{Entry, Sha, chain_hash};

/// The end of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: i64,
    pub(super) hash: Sha,
}

/// One entry in its place.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) seq: i64,
    pub(super) entry: Entry,
    pub(super) previous: Sha,
    pub(super) hash: Sha,
}

impl Head {
    /// The chain with these entries appended: the links, and its new end.
    pub(super) fn extend(self, entries: impl Iterator<Item = Entry>) -> (Vec<Link>, Self) {
        let mut end = self;
        let links = entries
            .map(|entry| {
                let seq = end.seq + 1;
                let hash = chain_hash(&end.hash, seq, &entry.sha256);
                let link = Link { seq, entry, previous: end.hash, hash };
                end = Self { seq, hash };
                link
            })
            .collect();
        (links, end)
    }
}
