//! Changes to the installation itself: users, roles, keys, rules, configuration, projections.
//!
//! Whoever makes one — an administrator over HTTP, the operator at the command line, the server at its start — makes it
//! through [`Gate::change`], so it is decided, and recorded with who did it and what was there before and after.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use systemprompt_extension::policy::Subject;
use systemprompt_model::{ActionId, Attribution, Resource};
use tokio::sync::oneshot;

use crate::action::{Action, Target};
use crate::denial::Refusal;
use crate::effect::{Authority, Effect, Facts, FactsWriter};
use crate::gate::Gate;
use crate::ledger::canonical::canonical;
use crate::ledger::text::{Sha, sha256};
use crate::running::{Outcome, Running};
use crate::secret_scan::redact;

/// The effect: the installation is changed.
#[derive(Debug, Clone)]
pub struct Administer {
    operation: Cow<'static, str>,
    about: About,
    authority: Authority,
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// `user`, `api_key`, `access_rule`, `configuration` …
    pub kind: Cow<'static, str>,
    /// Its id or name within its kind.
    pub id: String,
}

impl About {
    /// The thing of this kind and id.
    pub fn new(kind: impl Into<Cow<'static, str>>, id: impl Display) -> Self {
        Self { kind: kind.into(), id: id.to_string() }
    }
}

/// A change somebody wants to make.
#[derive(Debug)]
pub struct Change {
    /// What is done: `user.create`, `api_key.revoke`. The same for ever.
    pub operation: Cow<'static, str>,
    /// What is changed; a new thing by its name.
    pub about: About,
    /// What is asked for. It is what policies judge, and it is kept as content.
    pub request: Value,
    /// Who may.
    pub authority: Authority,
    /// The id it is recorded under, if what is changed has to know it.
    pub id: Option<ActionId>,
}

impl Change {
    /// A change for administrators.
    pub fn new(operation: impl Into<Cow<'static, str>>, about: About, request: &impl Serialize) -> Self {
        let request = serde_json::to_value(request).unwrap_or_default();
        Self { operation: operation.into(), about, request, authority: Authority::Administration, id: None }
    }

    /// The same, for somebody who changes what is their own.
    #[must_use]
    pub fn or_own(mut self, account: systemprompt_model::UserId) -> Self {
        self.authority = Authority::OwnAccount(account);
        self
    }

    /// The same, for whoever has one of these roles and nobody else.
    #[must_use]
    pub fn by_holders_of(mut self, roles: Vec<String>) -> Self {
        self.authority = Authority::Roles(roles);
        self
    }

    /// The same, recorded under this id.
    #[must_use]
    pub fn under(mut self, id: ActionId) -> Self {
        self.id = Some(id);
        self
    }
}

/// What was changed.
#[derive(Debug)]
pub struct Changed<T> {
    /// What the caller gets.
    pub value: T,
    /// The state before; absent for something new.
    pub before: Option<StateDigest>,
    /// The state after; absent for something that is gone.
    pub after: Option<StateDigest>,
}

impl<T> Changed<T> {
    /// A change of which the states are not told.
    pub fn unseen(value: T) -> Self {
        Self { value, before: None, after: None }
    }
}

/// The digest of a state: SHA-256 over its canonical JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateDigest(Sha);

impl StateDigest {
    /// Of this state.
    pub fn of(state: &impl Serialize) -> Self {
        Self(sha256(canonical(&serde_json::to_value(state).unwrap_or_default()).as_bytes()))
    }

    /// The digest as it is recorded.
    pub(crate) fn written(&self) -> String {
        hex::encode(self.0)
    }

    /// A digest as it is recorded.
    pub(crate) fn read(digits: &str) -> Option<Self> {
        hex::decode(digits).ok().and_then(|digest| Sha::try_from(digest).ok()).map(Self)
    }
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError<E> {
    /// It was refused, or cannot be recorded.
    #[error(transparent)]
    Refused(Refusal),
    /// It was allowed and failed.
    #[error(transparent)]
    Failed(E),
}

/// How a change ended.
#[derive(Debug)]
pub struct ChangeResult {
    before: Option<StateDigest>,
    after: Option<StateDigest>,
}

impl Effect for Administer {
    const KIND: &'static str = "administer";
    type Result = ChangeResult;

    fn subject(&self) -> Subject<'_> {
        Subject::Change { operation: &self.operation }
    }

    fn authority(&self) -> Authority {
        self.authority.clone()
    }

    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.stranger_id("about_id", Some(&self.about.id));
        facts.text("about_kind", &self.about.kind);
        facts.text("operation", &self.operation);
    }
}

impl Facts for ChangeResult {
    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.digest("after_sha256", self.after.as_ref().map(|state| &state.0));
        facts.digest("before_sha256", self.before.as_ref().map(|state| &state.0));
    }
}

/// A change whose work is under way. A command may be interrupted in the middle, a start given up.
struct Unfinished(Option<Running<Administer>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            running.finish(Outcome::failed("it was given up while it was being made; it may have been made"));
        }
    }
}

impl Gate {
    /// Makes a change: decides, has `work` done, and records what came of it.
    ///
    /// `work` is not begun unless the decision is recorded. What it fails with is given back, and the failure is recorded.
    pub async fn change<T, E: Display>(
        &self,
        by: Attribution,
        change: Change,
        work: impl AsyncFnOnce() -> Result<Changed<T>, E>,
    ) -> Result<T, ChangeError<E>> {
        let id = change.id.unwrap_or_else(|| ActionId::generate(self.ambient()));
        let made = self.change_as(id, by, change, work).await;
        made.map(|(value, _)| value)
    }

    /// The same for somebody who may go away in the middle, as a client may hang up: what was begun is done and recorded
    /// all the same, and a server that stops waits for it.
    pub async fn change_to_the_end<T, E, F>(
        self: &Arc<Self>,
        by: Attribution,
        change: Change,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, ChangeError<E>>
    where
        T: Send + 'static,
        E: Display + Send + 'static,
        F: Future<Output = Result<Changed<T>, E>> + Send + 'static,
    {
        let gate = Arc::clone(self);
        let made = self.tasks().spawn(async move { gate.change(by, change, async move || work().await).await });
        made.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
    }

    /// The same, under an id that was given out before. Also gives what tells when all of it is in the ledger.
    pub(crate) async fn change_as<T, E: Display>(
        &self,
        id: ActionId,
        by: Attribution,
        change: Change,
        work: impl AsyncFnOnce() -> Result<Changed<T>, E>,
    ) -> Result<(T, oneshot::Receiver<()>), ChangeError<E>> {
        let ambient = self.ambient();
        let Change { operation, about, request, authority, id: _ } = change;
        let target = Target::new(format!("{}/{}", about.kind, about.id));
        // What is asked for is kept. A credential in it is cut out rather than refused: whoever changes the installation
        // may have to name one, in a statement for example, and it goes nowhere but into the record.
        let mut content = Bytes::from(canonical(&request));
        let scan = self.policies().scanner().scan(&content);
        if !scan.is_clean() {
            content = redact(&content, &scan.flagged);
        }
        let action = Action {
            id,
            by,
            resource: Resource::installation(target.as_str()),
            targets: vec![target.clone()],
            content,
            effect: Administer { operation, about, authority },
            received_at: ambient.now(),
        };
        let permit = self.admit(action).await.map_err(ChangeError::Refused)?;
        let (_, running) = permit.begin(&target).expect("it is the only target there is");
        let mut unfinished = Unfinished(Some(running));
        let done = work().await;
        let Some(running) = unfinished.0.take() else { unreachable!("it is taken here only") };
        match done {
            Ok(Changed { value, before, after }) => {
                Ok((value, running.finish_watched(Outcome::completed(ChangeResult { before, after }))))
            }
            Err(error) => {
                running.finish(Outcome::failed(error.to_string()));
                Err(ChangeError::Failed(error))
            }
        }
    }
}
