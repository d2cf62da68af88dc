//! The proof that something may be done.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use systemprompt_extension::policy::Hold;
use systemprompt_model::{ActionId, Attribution, Resource};

use crate::action::{NotPermitted, Target};
use crate::effect::Effect;
use crate::ledger::OpenAction;
use crate::ledger::content::KeptPart;
use crate::originals::Originals;
use crate::policy::PolicyChain;
use crate::running::{Outcome, Running};

/// The proof that an action was decided upon and recorded. Whatever has an effect takes one by value, so an effect that
/// was not governed does not compile.
///
/// Only [`Gate::admit`](crate::Gate::admit) makes permits:
///
/// ```
/// use systemprompt_governance::{Action, Effect, Gate, Permit, Refusal};
///
/// async fn ask<E: Effect>(gate: &Gate, action: Action<E>) -> Result<Permit<E>, Refusal> {
///     gate.admit(action).await
/// }
/// ```
///
/// Nobody else can:
///
/// ```compile_fail,E0451
/// use systemprompt_governance::{Action, Effect, Gate, Permit, Refusal};
///
/// async fn ask<E: Effect>(gate: &Gate, action: Action<E>, other: Action<E>) -> Result<Permit<E>, Refusal> {
///     Ok(Permit { content: other.content, ..gate.admit(action).await? })
/// }
/// ```
///
/// One admission is one effect, for a permit cannot be copied:
///
/// ```compile_fail,E0599
/// use systemprompt_governance::{Action, Effect, Gate, Permit, Refusal};
///
/// async fn ask<E: Effect>(gate: &Gate, action: Action<E>) -> Result<Permit<E>, Refusal> {
///     Ok(gate.admit(action).await?.clone())
/// }
/// ```
///
/// Nor can what is sent be exchanged afterwards: other bytes leave only after [`Running::divert`](crate::Running::divert)
/// has had them judged.
///
/// ```compile_fail,E0616
/// use bytes::Bytes;
/// use systemprompt_governance::{Action, Effect, Gate, NotPermitted, Permit, Target};
///
/// fn again<E: Effect>(permit: Permit<E>, target: &Target, other: Bytes) -> Result<Bytes, NotPermitted> {
///     let (_, mut running) = permit.begin(target)?;
///     running.judged = other;
///     running.retry(target, "why", Default::default())
/// }
/// ```
///
/// And a permit for one kind of effect is none for another:
///
/// ```compile_fail,E0308
/// use systemprompt_governance::{Action, Administer, Effect, Gate, Permit, Refusal};
///
/// async fn ask<E: Effect>(gate: &Gate, action: Action<Administer>) -> Result<Permit<E>, Refusal> {
///     gate.admit(action).await
/// }
/// ```
///
/// A permit that is dropped before it [begins](Self::begin) is recorded as `failed`, and what policies had set aside for it
/// is given back.
#[must_use = "the action stays open until the permit is begun and finished"]
pub struct Permit<E: Effect> {
    pub(crate) open: OpenAction,
    pub(crate) id: ActionId,
    pub(crate) by: Attribution,
    pub(crate) resource: Resource,
    pub(crate) targets: Vec<Target>,
    pub(crate) content: Bytes,
    pub(crate) effect: E,
    /// What a scanner found in the content although policy lets it pass; it is not kept.
    pub(crate) flagged: Vec<Range<usize>>,
    /// What stood where there are placeholders now.
    pub(crate) originals: Originals,
    pub(crate) holds: Vec<Box<dyn Hold>>,
    pub(crate) policies: Arc<PolicyChain>,
    /// How many findings are recorded with the decision, and what they were found in.
    pub(crate) found: usize,
    pub(crate) excerpts: Vec<KeptPart>,
}

impl<E: Effect> Permit<E> {
    /// The id of the action, shown to the caller.
    pub fn id(&self) -> ActionId {
        self.id
    }

    /// Whether it can be spent on this target: policies may have left some out.
    pub fn is_for(&self, target: &Target) -> bool {
        self.targets.contains(target)
    }

    /// Begins the effect: gives the bytes that were judged, the only ones to be sent, and what the end is told to.
    ///
    /// # Errors
    ///
    /// The target is not one of those that were admitted. The permit is spent; the action is recorded as failed.
    pub fn begin(self, target: &Target) -> Result<(Bytes, Running<E>), NotPermitted> {
        let content = self.content.clone();
        let admitted = self.is_for(target);
        let running = Running {
            open: self.open,
            id: self.id,
            by: self.by,
            resource: self.resource,
            targets: self.targets,
            attempts: 1,
            judged: self.content.clone(),
            content: self.content,
            effect: self.effect,
            flagged: self.flagged,
            originals: self.originals,
            holds: self.holds,
            policies: self.policies,
            found: self.found,
            excerpts: self.excerpts,
            inspections: Vec::new(),
            answer_is_suspect: false,
            begun: Instant::now(),
        };
        if admitted {
            return Ok((content, running));
        }
        let refused = NotPermitted(target.as_str().to_owned());
        // Nothing was done, so what was set aside is given back rather than settled.
        running.give_up(Outcome::failed(refused.to_string()));
        Err(refused)
    }
}

impl<E: Effect> fmt::Debug for Permit<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("effect", &E::KIND)
            .field("id", &self.id)
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}
