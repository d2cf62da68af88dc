//! One chain, followed entry by entry.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::format::{Entry, Link, Place, Span};

/// The hash before the first entry: one of the chain's own id, so entries of one chain do not fit another.
pub(crate) fn first(chain: Uuid) -> Place {
    let hash = Sha256::new_with_prefix(b"systemprompt ledger chain ").chain_update(chain.as_bytes()).finalize();
    Place { seq: 0, hash: hex::encode(hash) }
}

/// What holds an entry in its chain.
pub(crate) struct Held<'a> {
    pub(crate) seq: i64,
    at: i64,
    pub(crate) hash: &'a str,
    /// Of the body; nothing if what is said to be it is none.
    body_sha256: Option<Vec<u8>>,
}

impl<'a> From<&'a Entry> for Held<'a> {
    fn from(entry: &'a Entry) -> Self {
        let body_sha256 = Some(Sha256::digest(entry.body.as_bytes()).to_vec());
        Self { seq: entry.seq, at: entry.at, hash: &entry.hash, body_sha256 }
    }
}

impl<'a> From<&'a Link> for Held<'a> {
    fn from(link: &'a Link) -> Self {
        Self { seq: link.seq, at: link.at, hash: &link.hash, body_sha256: digest(&link.sha256) }
    }
}

/// How far a chain was followed.
pub(crate) struct Follower {
    pub(crate) span: Span,
    at: Place,
    time: i64,
    /// The last entry before anything was wrong.
    sound: Option<i64>,
}

impl Follower {
    pub(crate) fn new(span: Span) -> Self {
        Self { at: span.after.clone(), time: i64::MIN, sound: None, span }
    }

    /// The last entry before anything was wrong.
    pub(crate) fn sound_until(&self) -> i64 {
        self.sound.unwrap_or(self.at.seq)
    }

    /// Whether nothing was wrong so far.
    pub(crate) fn is_sound(&self) -> bool {
        self.sound.is_none()
    }

    /// Looks at the next entry, and says what is wrong with it. It goes on with what is written there, so that one change
    /// hides no other.
    pub(crate) fn follow(&mut self, entry: &Held<'_>) -> Result<(), String> {
        let expected = self.at.seq.saturating_add(1);
        let result = if entry.seq < expected {
            Err("it stands at a place that is taken, or behind one that comes later".to_owned())
        } else if entry.seq > expected {
            Err(format!("entries {expected} to {} before it are missing", entry.seq - 1))
        } else if link(&self.at.hash, entry).as_deref() != Some(entry.hash) {
            Err("it was changed, or does not follow the entry before it".to_owned())
        } else if entry.at < self.time {
            Err("it is older than the entry before it".to_owned())
        } else {
            Ok(())
        };
        if result.is_err() {
            self.sound.get_or_insert(self.at.seq);
        }
        if entry.seq >= expected {
            self.at = Place { seq: entry.seq, hash: entry.hash.to_owned() };
            self.time = self.time.max(entry.at);
        }
        result
    }

    /// Says what is wrong with where it ends.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        let end = &self.span.end;
        let result = if self.at.seq < end.seq {
            Err(format!("entries {} to {} are missing at its end", self.at.seq + 1, end.seq))
        } else if self.at != *end {
            Err(format!("it does not end as the header says, with entry {} and the hash {}", end.seq, end.hash))
        } else {
            Ok(())
        };
        if result.is_err() {
            self.sound.get_or_insert(self.at.seq);
        }
        result
    }
}

/// `SHA-256(previous ‖ seq ‖ at ‖ SHA-256(body))`; numbers as eight bytes, most significant first.
fn link(previous: &str, entry: &Held<'_>) -> Option<String> {
    let mut hash = Sha256::new_with_prefix(digest(previous)?);
    hash.update(entry.seq.to_be_bytes());
    hash.update(entry.at.to_be_bytes());
    hash.update(entry.body_sha256.as_ref()?);
    Some(hex::encode(hash.finalize()))
}

fn digest(text: &str) -> Option<Vec<u8>> {
    hex::decode(text).ok().filter(|digest| digest.len() == 32)
}
