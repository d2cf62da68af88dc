//! An action that was admitted and has not ended.

use std::fmt;
use std::sync::Arc;

use systemprompt_extension::policy::Usage;
use systemprompt_model::ActionId;
use tokio::sync::oneshot;

use super::entry::{EndedEntry, Sealed};
use super::queue::{Following, Waiter};
use super::shared::Shared;

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

    /// Whether it is worth saying how the action stands.
    pub(crate) fn is_followed(&self) -> bool {
        self.ledger.queue.journal().is_some()
    }

    /// Notes the end that the action has if this process dies before it says more.
    pub(crate) fn stands(&self, end: &Sealed) {
        if let Some(journal) = self.ledger.queue.journal() {
            journal.note(end);
        }
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
                kept: &[],
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

/// A caller of `admit` that waits. The action it is given closes itself when it is dropped, so a caller that went away at any
/// moment leaves no open action behind.
#[derive(Debug)]
pub(super) struct Admission {
    caller: Option<oneshot::Sender<OpenAction>>,
    action: OpenAction,
}

impl Admission {
    pub(super) fn of(action: OpenAction) -> (Self, oneshot::Receiver<OpenAction>) {
        let (sender, receiver) = oneshot::channel();
        (Self { caller: Some(sender), action }, receiver)
    }
}

impl Waiter for Admission {
    fn is_there(&self) -> bool {
        self.caller.as_ref().is_some_and(|caller| !caller.is_closed())
    }

    fn release(&mut self) {
        self.caller = None;
    }

    fn written(self: Box<Self>) {
        let action = self.action.armed();
        if let Some(caller) = self.caller {
            // A caller that went away drops what it is sent.
            drop(caller.send(action));
        }
    }
}
