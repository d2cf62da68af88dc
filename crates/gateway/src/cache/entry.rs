//! Answers as they are kept and found.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use systemprompt_model::UserId;

use super::key::Key;

/// An answer that was found.
pub(crate) struct Found {
    pub(crate) answer: Bytes,
    pub(super) content_type: Option<String>,
    /// In seconds.
    pub(super) age: i64,
}

impl Found {
    /// The headers of the answer, as the provider's.
    pub(crate) fn upstream_headers(&self) -> HeaderMap {
        let kind = self.content_type.as_deref().and_then(|kind| HeaderValue::from_str(kind).ok());
        kind.into_iter().map(|kind| (CONTENT_TYPE, kind)).collect()
    }
}

/// An answer that is to be kept.
pub(crate) struct Entry {
    pub(super) key: Key,
    pub(super) route: String,
    pub(super) user: Option<UserId>,
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) content_type: Option<String>,
    pub(super) answer: Bytes,
    pub(super) stored_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}
