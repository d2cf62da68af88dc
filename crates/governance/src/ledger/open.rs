//! A request that was admitted and has not ended.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::Shared;
use super::queue::QueuedClosing;
use super::record::Closing;

/// Stands for an open record. Whoever drops it without closing it leaves a record that says so.
pub(crate) struct OpenRequest {
    ledger: Arc<Shared>,
    id: Uuid,
    armed: bool,
}

impl OpenRequest {
    /// A request whose record is not written yet; dropping it means nothing until it is [armed](Self::armed).
    pub(super) fn planned(ledger: Arc<Shared>, id: Uuid) -> Self {
        Self { ledger, id, armed: false }
    }

    /// The request now that its record is written, or certain to be.
    pub(super) fn armed(mut self) -> Self {
        self.armed = true;
        self
    }

    pub(crate) fn ledger(&self) -> &Arc<Shared> {
        &self.ledger
    }

    /// Queues the end of the request.
    pub(super) fn close(mut self, closing: QueuedClosing) {
        self.armed = false;
        self.ledger.queue.push_closing(closing);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if self.armed {
            let closing = Closing::failed(self.id, "dropped without an outcome", self.ledger.ambient.now());
            self.ledger.queue.push_closing(QueuedClosing::new(closing));
        }
    }
}

impl fmt::Debug for OpenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenRequest").field("id", &self.id).field("armed", &self.armed).finish_non_exhaustive()
    }
}
