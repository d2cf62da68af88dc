//! The digest of what is judged.

use bytes::Bytes;

use crate::ledger::text::sha256;

/// Digests of contents above this size are computed on a thread where nobody waits for a turn (about half a
/// millisecond of work).
const DIGEST_APART: usize = 1024 * 1024;

/// The SHA-256 of `content`.
pub(crate) async fn digest(content: &Bytes) -> [u8; 32] {
    if content.len() > DIGEST_APART {
        let shared = content.clone();
        if let Ok(digest) = tokio::task::spawn_blocking(move || sha256(&shared)).await {
            return digest;
        }
    }
    sha256(content)
}
