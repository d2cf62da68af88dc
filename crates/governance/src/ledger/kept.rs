//! The digests of what is kept beside the log: what somebody changes there shows, as long as it is kept.

use std::borrow::Cow;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::content::KeptPart;
use super::text::{Sha, sha256, storable};

/// What stands between the two ends of an excerpt when it is digested. No text has this byte.
pub(super) const BETWEEN: u8 = 0xff;

/// A part of the content, as the log knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptDigest<'a> {
    /// Which part.
    pub(crate) part: &'a str,
    /// How long the whole of it was.
    pub(crate) bytes: u64,
    /// The digest of what is kept; absent when it is the one that the log has of what was judged, or answered.
    pub(crate) sha256: Option<Sha>,
}

impl KeptPart {
    /// Its digest, as it will be stored. `is_known`: the log has the digest of the whole of it.
    pub(crate) fn digest(&self, is_known: bool) -> KeptDigest<'_> {
        let sha256 = if let Some(body) = &self.kept.body {
            match storable(body) {
                // Nothing was exchanged, so it is stored as it was.
                Cow::Borrowed(_) if is_known => None,
                text => Some(sha256(text.as_bytes())),
            }
        } else {
            let end = |end: &Option<Bytes>| storable(end.as_deref().unwrap_or_default()).into_owned();
            let digest = Sha256::new_with_prefix(end(&self.kept.head).as_bytes());
            Some(digest.chain_update([BETWEEN]).chain_update(end(&self.kept.tail).as_bytes()).finalize().into())
        };
        KeptDigest { part: &self.name, bytes: self.kept.bytes, sha256 }
    }
}
