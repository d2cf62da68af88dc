//! What callers, open actions and the writer know of one ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use systemprompt_model::{Ambient, InstanceId};
use tokio::sync::Notify;
use uuid::Uuid;

use super::journal::Journal;
use super::queue::Queue;
use super::recent::Recent;
use super::retention::Retention;
use super::retention_clock::RetentionClock;
use super::settings::LedgerSettings;
use super::settings::{AuditProfile, OnStoreFailure};
use super::silences::Silences;
use super::text::Sha;
use crate::digest::Digester;

/// Shared by all of them.
pub(crate) struct Shared {
    pub(super) queue: Queue,
    pub(super) ambient: Ambient,
    pub(super) settings: LedgerSettings,
    pub(super) audit: AuditProfile,
    pub(super) retention: Retention,
    pub(super) retention_clock: RetentionClock,
    /// Digests what is recorded as judged.
    pub(super) digester: Digester,
    pub(super) instance_id: InstanceId,
    pub(super) chain: Uuid,
    pub(super) name: String,
    pub(super) exclusive: bool,
    pub(super) started_at: DateTime<Utc>,
    /// A bound of the actions that an earlier run left open; `i64::MAX` once they are closed.
    pub(super) inherited: AtomicI64,
    /// Entries of this chain carry no earlier time than this, in microseconds: they speak of entries of other chains.
    pub(super) not_before: AtomicI64,
    /// Which servers were not heard of.
    pub(super) silences: Silences,
    /// Something was appended.
    pub(super) written: Notify,
    /// What was.
    pub(super) recent: Arc<Recent>,
}

impl Shared {
    /// What may be kept of content.
    pub(crate) fn retention(&self) -> &Retention {
        &self.retention
    }

    /// The digest that is recorded of these bytes.
    pub(crate) async fn digest(&self, content: &Bytes) -> Sha {
        self.digester.digest(content).await
    }

    /// The clock entries are dated by.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.ambient.now()
    }

    /// Where decisions are kept while they cannot be written, if that is so, the profile wants it and there is room.
    pub(super) fn spool(&self) -> Option<&Arc<Journal>> {
        if self.queue.is_available() || self.audit.on_store_failure == OnStoreFailure::Deny {
            return None;
        }
        let limit = u64::from(self.audit.spool_limit_mib) * 1024 * 1024;
        self.queue.journal().filter(|journal| journal.waiting() < limit && !self.queue.is_closed())
    }

    pub(super) fn not_before(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.not_before.load(Ordering::Relaxed)).unwrap_or_default()
    }
}
