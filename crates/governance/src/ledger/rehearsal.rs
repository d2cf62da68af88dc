//! Entries that are written to see whether any can be, and taken back: while the ledger cannot be written nobody asks for
//! anything, so nothing else would tell when it can again; and an entry that is refused may or may not be to blame.
//!
//! A disk that is full still takes what fits into half-empty pages. These do not fit into one.

use std::sync::LazyLock;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use systemprompt_extension::ledger::EntryKind;
use uuid::Uuid;

use super::content::{Kept, KeptPart};
use super::entry::Sealed;
use super::queue::{Batch, Following};
use super::text::sha256;

/// How many entries.
const ENTRIES: usize = 16;

/// Bytes of each: short enough to lie in the table's own pages.
const ENTRY: usize = 1800;

/// Bytes of the content, which is kept apart from them.
const CONTENT: usize = 64 * 1024;

/// A batch like any other, about no action.
pub(super) fn batch() -> Batch {
    // What cannot be compressed.
    static FILLING: LazyLock<Bytes> = LazyLock::new(|| {
        let digests = (0u32..).map(|number| hex::encode(Sha256::digest(number.to_be_bytes())));
        Bytes::from(digests.take(CONTENT / 64).collect::<String>())
    });
    let entry = |number: usize| {
        let text = &FILLING[number * ENTRY..][..ENTRY];
        let body = format!(r#"{{"rehearsal":"{}"}}"#, String::from_utf8_lossy(text));
        let sha256 = sha256(body.as_bytes());
        Following::new(Sealed { kind: EntryKind::Checkpoint, action: Uuid::nil(), body, sha256 })
    };
    let kept = Kept { bytes: CONTENT as u64, body: Some(FILLING.clone()), head: None, tail: None };
    let mut following: Vec<_> = (0..ENTRIES).map(entry).collect();
    if let Some(last) = following.pop() {
        following.push(last.keeping(vec![KeptPart::new("rehearsal", kept)]));
    }
    Batch { decisions: Vec::new(), following }
}
