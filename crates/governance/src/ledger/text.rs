//! Texts and times as PostgreSQL can store them, so that what is hashed is what is stored.

use std::borrow::Cow;

use chrono::{DateTime, SubsecRound as _, Utc};
use sha2::{Digest as _, Sha256};
use systemprompt_model::json::lossy;
use uuid::Uuid;

/// A SHA-256 digest.
pub(crate) type Sha = [u8; 32];

/// Texts somebody else chooses are cut here before they become part of an entry. Content has its own, larger limits.
const TEXT_LIMIT: usize = 1024;

/// Bytes as a text that PostgreSQL can store.
pub(crate) fn storable(bytes: &[u8]) -> Cow<'_, str> {
    match lossy(bytes) {
        text if memchr::memchr(0, text.as_bytes()).is_none() => text,
        text => Cow::Owned(text.replace('\0', "\u{fffd}")),
    }
}

/// A text that PostgreSQL can store, cut to 1024 bytes.
pub(crate) fn cleaned(text: &str) -> Cow<'_, str> {
    match storable(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(cut(text, TEXT_LIMIT)),
        Cow::Owned(storable) => Cow::Owned(cut(&storable, TEXT_LIMIT).to_owned()),
    }
}

/// The longest beginning of `text` of at most `limit` bytes.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// The time as PostgreSQL stores it.
pub(crate) fn micros(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}

/// The digest of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Sha {
    Sha256::digest(bytes).into()
}

/// The smallest id of any kind made at this time or later.
pub(crate) fn first_id_at(at: DateTime<Utc>) -> Uuid {
    let millis = u128::from(u64::try_from(at.timestamp_millis()).unwrap_or(0));
    Uuid::from_u128(millis << 80)
}
