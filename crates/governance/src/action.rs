//! What is to be governed: who wants to do what to which thing, with exactly which content.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use systemprompt_model::{ActionId, Attribution, Resource};

/// One thing somebody wants to do, as a surface understood it. [`Gate::admit`](crate::Gate::admit) turns it into a
/// [`Permit`](crate::Permit) or a refusal.
#[derive(Debug, Clone)]
pub struct Action<E> {
    /// The id of its entries in the ledger.
    pub id: ActionId,
    /// Who is behind it.
    pub by: Attribution,
    /// What it is done to.
    pub resource: Resource,
    /// Where it may go, first choice first. The permit can be spent on these and nothing else. Empty for a request that
    /// found no way to go, which can only be refused.
    pub targets: Vec<Target>,
    /// The exact bytes that will be sent. They are what policies look at, and the permit gives them back.
    pub content: Bytes,
    /// What is done.
    pub effect: E,
    /// When the request reached us.
    pub received_at: DateTime<Utc>,
}

/// Where an effect goes: a provider and model, a server and tool, a table of our own. Two effects with the same target
/// reach the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target(Arc<str>);

impl Target {
    /// The target of this name, e.g. `openai/gpt-4.1`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The permit is not for this target. Nothing may be done with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the permit is not for `{0}`")]
pub struct NotPermitted(pub String);
