//! What is asked of the engine.

use uuid::Uuid;

use super::account::Wanted;
use super::limit::{LeaseKey, Limit, units};

/// What somebody wants of a limit.
#[derive(Debug, Clone)]
pub struct Claim {
    pub(super) key: LeaseKey,
    pub(super) limit: Limit,
    pub(super) amount: u64,
    pub(super) call: Option<Uuid>,
}

impl Claim {
    /// A claim of so many units.
    pub fn new(key: LeaseKey, limit: impl Into<Limit>, amount: u64) -> Self {
        Self { key, limit: limit.into(), amount, call: None }
    }

    /// For a call that is granted its units once, however often it is claimed for.
    #[must_use]
    pub fn for_call(self, call: Uuid) -> Self {
        Self { call: Some(call), ..self }
    }

    pub(super) fn wanted(&self) -> Wanted<'_> {
        Wanted { amount: units(self.amount), call: self.call, limit: &self.limit }
    }
}
