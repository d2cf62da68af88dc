//! Looking at the answer to one action for safety.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::task::TaskTracker;

use crate::denial::Denial;
use crate::policy::ChainOutcome;
use crate::safety::{Judged, Objection, Safety, Subject};

/// What looks at the answer of one action for safety. It needs nothing of the action, so an answer can be looked at when it
/// is on its way.
#[derive(Debug, Clone)]
pub struct AnswerSafety {
    pub(crate) safety: Arc<Safety>,
    pub(crate) subject: Subject,
}

impl AnswerSafety {
    /// How many characters of a stream are to be held back until they have been looked at, if any are.
    pub fn window(&self) -> Option<usize> {
        self.safety.window()
    }

    /// What is said against a part of a stream, if the caller may not have it.
    pub async fn find_in_window(&self, texts: &[&str]) -> Option<Denial> {
        let violation = self.safety.find_in_window(&self.subject, texts).await?;
        let mut outcome = ChainOutcome::default();
        let objection = Some(Objection { violation, blocks: true });
        outcome.judged(Judged { objection, ..Judged::default() }, Instant::now());
        outcome.denial
    }

    /// Where what looks at an answer that is over goes on if nobody waits for it. The ledger is open until that is done.
    pub fn tasks(&self) -> &TaskTracker {
        self.safety.tasks()
    }
}
