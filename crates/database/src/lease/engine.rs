//! What the parts of the engine work on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use systemprompt_model::Ambient;

use super::account::Account;
use super::claim::Claim;
use super::generations::Generations;
use super::limit::{LeaseKey, Limit, SECOND, Unit, clock};
use super::owed::Debts;
use crate::connect::DbPool;

/// An account that nobody asked for is remembered for this long. By then what it held has been given back.
const REMEMBERED: i64 = 120 * SECOND;

/// The state of one engine, shared by whoever reserves and whatever is reserved.
pub(super) struct Engine {
    pub(super) db: DbPool,
    pub(super) ambient: Ambient,
    pub(super) accounts: Generations<(LeaseKey, Unit), Option<Limited>>,
    pub(super) debts: Debts,
    /// Whoever asks carries on without an answer, if it can.
    pub(super) carries_on: AtomicBool,
}

/// An account and the limit it was begun with.
pub(super) type Limited = (Limit, Arc<Account>);

impl Engine {
    pub(super) fn new(db: DbPool, ambient: Ambient) -> Self {
        Self {
            db,
            ambient,
            accounts: Generations::new(REMEMBERED),
            debts: Debts::default(),
            carries_on: AtomicBool::new(false),
        }
    }

    /// Now, in nanoseconds since 1970.
    pub(super) fn clock(&self) -> i64 {
        clock(&self.ambient)
    }

    /// The account of a claim's key.
    pub(super) fn account(&self, claim: &Claim) -> Arc<Account> {
        let key = (claim.key.clone(), claim.limit.unit());
        self.accounts.with(key, self.clock(), |kept| match kept {
            // A key with another limit than before, because the configuration changed, begins a new account.
            Some((limit, account)) if *limit == claim.limit => Arc::clone(account),
            _ => Arc::clone(&kept.insert((claim.limit, Arc::default())).1),
        })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").finish_non_exhaustive()
    }
}
