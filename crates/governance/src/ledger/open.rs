//! An action that was admitted and has not ended.

use std::fmt;
use std::sync::Arc;

use systemprompt_extension::policy::Usage;
use systemprompt_model::ActionId;

use super::Shared;
use super::entry::{EndedEntry, Sealed};
use super::queue::Following;

/// Stands for an action whose beginning is in the ledger. Whoever drops it without closing it leaves an end that says so.
pub(crate) struct OpenAction {
    ledger: Arc<Shared>,
    id: ActionId,
    effect: &'static str,
    armed: bool,
}

impl OpenAction {
    /// An action whose beginning is not written yet; dropping it means nothing until it is [armed](Self::armed).
    pub(super) fn planned(ledger: Arc<Shared>, id: ActionId, effect: &'static str) -> Self {
        Self { ledger, id, effect, armed: false }
    }

    /// The action now that its beginning is written, or certain to be.
    pub(super) fn armed(mut self) -> Self {
        self.armed = true;
        self
    }

    pub(crate) fn ledger(&self) -> &Arc<Shared> {
        &self.ledger
    }

    /// Queues an entry about the action that does not end it.
    pub(crate) fn note(&self, entry: Sealed) {
        self.ledger.queue.push_following(Following::new(entry));
    }

    /// Queues the end of the action.
    pub(crate) fn close(mut self, end: Following) {
        self.armed = false;
        self.ledger.queue.push_following(end);
    }
}

impl Drop for OpenAction {
    fn drop(&mut self) {
        if self.armed {
            let end = EndedEntry {
                action: self.id,
                answer: None,
                at: self.ledger.ambient.now(),
                effect: self.effect,
                facts: None,
                inspections: &[],
                latency_ms: None,
                reason: Some("dropped without an outcome"),
                status: "failed",
                usage: Usage::default(),
            };
            self.ledger.queue.push_following(Following::new(end.seal()));
        }
    }
}

impl fmt::Debug for OpenAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAction").field("id", &self.id).field("armed", &self.armed).finish_non_exhaustive()
    }
}
