//! Looking at the answer to one action: for safety, and for credentials.

use std::sync::Arc;

use bytes::Bytes;
use systemprompt_extension::policy::Texts;
use tokio_util::task::TaskTracker;

use crate::answer_secrets::{AnswerSecrets, InWindow, SECRET_SCAN, SecretInText};
use crate::denial::Denial;
use crate::policy::SAFETY;
use crate::safety::{Safety, Subject};

/// What looks at the answer of one action. It needs nothing of the action, so an answer can be looked at when it is on its
/// way.
#[derive(Debug, Clone)]
pub struct AnswerSafety {
    pub(crate) safety: Option<Arc<Safety>>,
    pub(crate) secrets: Option<Arc<AnswerSecrets>>,
    pub(crate) subject: Subject,
    tasks: TaskTracker,
}

/// What came of looking at a part of a stream.
#[derive(Debug)]
pub enum Looked {
    /// The caller may have it.
    Clear,
    /// The caller may not.
    Objects(Denial),
    /// The caller may have it with these replaced, or not at all.
    Replace(Vec<SecretInText>, Denial),
}

impl AnswerSafety {
    /// With those of both that look at answers; nothing if none does.
    pub(crate) fn new(
        safety: Option<Arc<Safety>>,
        secrets: Option<Arc<AnswerSecrets>>,
        subject: impl FnOnce() -> Subject,
    ) -> Option<Self> {
        let tasks = safety.as_ref().map(|safety| safety.tasks());
        let tasks = tasks.or_else(|| secrets.as_ref().map(|secrets| secrets.tasks()))?.clone();
        Some(Self { safety, secrets, subject: subject(), tasks })
    }

    /// How many characters of a stream are to be held back until they have been looked at, if any are.
    pub fn window(&self) -> Option<usize> {
        let safety = self.safety.as_ref().and_then(|safety| safety.window());
        safety.max(self.secrets.as_ref().and_then(|secrets| secrets.window()))
    }

    /// Whether words that go on are to be held back whole, because parts of them may be replaced or must not be given.
    pub fn holds_words(&self) -> bool {
        self.secrets.as_ref().is_some_and(|secrets| secrets.window().is_some())
    }

    /// Looks at a part of a stream, in these texts.
    pub async fn look_in_window(&self, fresh: &[String]) -> Looked {
        if let Some(safety) = self.safety.as_ref().filter(|safety| safety.window().is_some()) {
            let texts = Texts::with(b"", fresh);
            let texts: Vec<&str> = texts.iter().collect();
            if let Some(violation) = safety.find_in_window(&self.subject, &texts).await {
                return Looked::Objects(Denial::of(SAFETY, violation));
            }
        }
        let Some(secrets) = &self.secrets else { return Looked::Clear };
        match secrets.look(fresh).await {
            InWindow::Nothing => Looked::Clear,
            InWindow::Objects(violation) => Looked::Objects(Denial::of(SECRET_SCAN, violation)),
            InWindow::Replace(found, violation) => Looked::Replace(found, Denial::of(SECRET_SCAN, violation)),
        }
    }

    /// A whole answer with placeholders where it holds credentials, if the caller is to have it so; nothing if it stays as it
    /// is.
    ///
    /// # Errors
    ///
    /// It cannot be made, so the caller may not have the answer.
    pub async fn replaced(&self, answer: &Bytes) -> Result<Option<Bytes>, Denial> {
        let Some(secrets) = &self.secrets else { return Ok(None) };
        secrets.replace(answer).await.map_err(|violation| Denial::of(SECRET_SCAN, violation))
    }

    /// Where what looks at an answer that is over goes on if nobody waits for it. The ledger is open until that is done.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
}
