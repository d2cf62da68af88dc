//! Changes that were made while there was no ledger to record them in: before the first start, or while the database could
//! not be reached.
//!
//! Whoever makes one writes it down in the home, and whoever next opens a Gate for this home — a server at its start, a
//! command — has it decided and recorded like any other, under the name of who made it, with the time when. Each change
//! has its id from the beginning, so that it is recorded once even if somebody dies in the middle.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use systemprompt_config::Home;
use systemprompt_config::files::{SECRET_MODE, create_private_dir};
use systemprompt_database::DbPool;
use systemprompt_model::{ActionId, Ambient, Attribution};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::administer::{About, Change, ChangeError, Changed, StateDigest};
use crate::changes::{Changes, show_change};
use crate::denial::Refusal;
use crate::gate::Gate;
use crate::ledger::{CatchUpError, Ledger};

/// How long the ledger may take to write them.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);

/// The changes of one home that wait to be recorded.
#[derive(Debug)]
pub struct Backlog {
    path: PathBuf,
}

/// Changes that cannot be written down, or recorded.
#[derive(Debug, thiserror::Error)]
pub enum BacklogError {
    /// The file.
    #[error("{}", .path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Whether they are recorded already is not known.
    #[error("what is recorded already is not known")]
    CatchUp(#[from] CatchUpError),
    /// The same.
    #[error("what is recorded already is not known")]
    Database(#[from] sqlx::Error),
    /// The ledger takes nothing.
    #[error("{0}")]
    Refused(Refusal),
    /// It took them, and has not written them.
    #[error("the ledger did not write them in time")]
    NotWritten,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    id: ActionId,
    at: DateTime<Utc>,
    uid: u32,
    user: String,
    operation: String,
    about_kind: String,
    about_id: String,
    request: Value,
    before_sha256: Option<String>,
    after_sha256: Option<String>,
}

impl Backlog {
    /// That of this home.
    pub fn of(home: &Home) -> Self {
        Self { path: home.directory().join("ledger").join("unrecorded.jsonl") }
    }

    /// Writes down what the operator of this name and user id has changed. It is on disk when this returns.
    pub fn add<T>(
        &self,
        change: Change,
        changed: Changed<T>,
        user: &str,
        uid: u32,
        ambient: &Ambient,
    ) -> Result<T, BacklogError> {
        let made = Made {
            id: ActionId::generate(ambient),
            at: ambient.now(),
            uid,
            user: user.to_owned(),
            operation: change.operation.into_owned(),
            about_kind: change.about.kind.into_owned(),
            about_id: change.about.id,
            request: change.request,
            before_sha256: changed.before.map(|state| state.written()),
            after_sha256: changed.after.map(|state| state.written()),
        };
        let line = format!("{}\n", json!(made));
        let write = || {
            self.path.parent().map_or(Ok(()), create_private_dir)?;
            let mut file =
                OpenOptions::new().create(true).read(true).append(true).mode(SECRET_MODE).open(&self.path)?;
            file.lock()?;
            // Whoever wrote last may not have come to the end.
            let torn = file.metadata()?.len() > 0 && !ends_a_line(&mut file)?;
            file.write_all(format!("{}{line}", if torn { "\n" } else { "" }).as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| self.failed(source))?;
        Ok(changed.value)
    }

    /// Has them recorded. Two processes that do so at once take turns. A line goes once its change is written, whatever the
    /// durability of the ledger. One that is no change, as a full disk leaves it, stays where it is and is told again each
    /// time; it holds up nothing.
    pub(crate) async fn record(&self, gate: &Gate, ledger: &Ledger, database: &DbPool) -> Result<(), BacklogError> {
        let Some((mut file, text)) = self.take().await? else { return Ok(()) };
        match ledger.projector().catch_up_one(Changes::NAME).await {
            // Which of them are recorded is not known. They go on waiting, and hold up nothing.
            Err(error @ CatchUpError::Failed { .. }) => {
                tracing::error!(file = %self.path.display(), %error, "changes go on waiting to be recorded");
                return Ok(());
            }
            known => known?,
        }
        let mut unreadable = String::new();
        let mut recorded = Vec::new();
        for line in text.lines() {
            let made: Made = match serde_json::from_str(line) {
                Ok(made) => made,
                Err(error) => {
                    tracing::error!(file = %self.path.display(), %error, "a line is no change that could be recorded");
                    unreadable.push_str(line);
                    unreadable.push('\n');
                    continue;
                }
            };
            if show_change(database.write(), made.id).await?.is_none() {
                recorded.extend(record_one(gate, made).await?);
            }
        }
        if !matches!(timeout(WRITTEN_WITHIN, try_join_all(recorded)).await, Ok(Ok(_))) {
            return Err(BacklogError::NotWritten);
        }
        let mut keep = || {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(unreadable.as_bytes())
        };
        keep().map_err(|source| self.failed(source))
    }

    /// The file, locked, and what is in it; nothing if there is nothing.
    async fn take(&self) -> Result<Option<(File, String)>, BacklogError> {
        let path = self.path.clone();
        let read = move || {
            let mut file = match OpenOptions::new().read(true).write(true).open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            file.lock()?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok((!text.is_empty()).then_some((file, text)))
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> BacklogError {
        BacklogError::File { path: self.path.clone(), source }
    }
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Gives what tells when the change is written; nothing if it was refused, which is written at once.
async fn record_one(gate: &Gate, made: Made) -> Result<Option<oneshot::Receiver<()>>, BacklogError> {
    let Made { id, at, uid, user, operation, about_kind, about_id, request, before_sha256, after_sha256 } = made;
    let by = Attribution::operator(&user, uid, gate.ambient());
    let request = json!({"made_at": at, "request": request});
    let change = Change::new(operation, About::new(about_kind, about_id), &request);
    let state = |digits: Option<String>| digits.and_then(|digits| StateDigest::read(&digits));
    let (before, after) = (state(before_sha256), state(after_sha256));
    let recorded = gate.change_as(id, by, change, async || Ok::<_, Infallible>(Changed { value: (), before, after }));
    match recorded.await {
        Ok(((), written)) => Ok(Some(written)),
        // It was made all the same, and the refusal is recorded.
        Err(ChangeError::Refused(Refusal::Denied(denial))) => {
            tracing::warn!(change = %id, policy = denial.policy, "a change that was made before this start is refused now");
            Ok(None)
        }
        Err(ChangeError::Refused(refusal)) => Err(BacklogError::Refused(refusal)),
        Err(ChangeError::Failed(never)) => match never {},
    }
}
