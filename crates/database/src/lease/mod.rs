//! The one engine of all limits: HTTP rates, rate limits, new sessions, quotas, budgets.
//!
//! A limit is counted per [`LeaseKey`], in a [`Unit`], over all replicas together. Whoever wants to do something
//! [reserves](Leases::reserve) what it may use, does it, and [settles](Reservation::settle) what it used: the surplus is given
//! back, an excess is booked. A [`Reservation`] that is dropped gives back everything, so a limit counted for a call that is
//! refused elsewhere costs nothing.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use systemprompt_database::lease::*;
//! # async fn example(leases: Leases, user: uuid::Uuid, call: uuid::Uuid) -> Result<(), ReserveError> {
//! // A month is a rolling window of thirty days: what was spent comes back a month later, not on the first.
//! let month = Sliding::new(50_000_000, Unit::Microdollars, Duration::from_hours(30 * 24));
//! let claim = Claim::new(LeaseKey::new("acme.budget", user), month, 120_000).for_call(call);
//! let reservation = leases.reserve(&claim).await?;
//! // … the call, which cost less …
//! reservation.settle(83_500);
//! # Ok(())
//! # }
//! ```
//!
//! # How it counts
//!
//! PostgreSQL keeps a row for each key, in the table `leases`. A [`Sliding`] limit has slots of a tenth of its window and
//! **never gives out more than its amount in any window**. A [`Refilling`] one is a bucket that admits a burst and then a
//! rate.
//!
//! A replica does not ask for every claim. It takes a *lease* of several units in one statement and hands them out from
//! memory. The first lease of a slot is what is claimed, and each further one doubles, up to a tenth of the limit, so a key
//! that takes 10,000 units in a slot costs about fourteen statements. When little is left a lease is at most a quarter of it,
//! down to what is claimed. Concurrent claims of one key share one statement.
//!
//! A lease of a sliding limit is good for the slot it was taken in. Units left over at its end, or for ten seconds, are given
//! back, with the next lease of that key or by [`Leases::run`], as is what reservations of earlier slots did not use. A lease
//! of a refilling limit is good for a second, and what is left is lost: the bucket fills again meanwhile.
//!
//! # How far off it can be
//!
//! It errs towards refusing, never towards granting:
//!
//! * A unit counts for up to a tenth of the window longer than the window.
//! * Units leased by a replica that does not use them are missing elsewhere for up to ten seconds and at most a slot: at most
//!   a tenth of the limit for each other replica that serves the same key, none when only one does.
//! * A claim refused for want of units is not asked about again for a second, so what another replica gives back is seen up
//!   to that much late.
//! * A replica that dies takes its leases with it for one window.
//! * When a clock steps back, what was used counts for a window from then on, whenever that was.
//!
//! Four things can grant more. What a call uses beyond its claim has been used already, and is booked late by a second. Clocks
//! of replicas that disagree by d let a window be d shorter. A crash of PostgreSQL forgets the last moments of windows shorter
//! than an hour, whose rows are committed without waiting for the disk. Of a refilling limit, each replica may hand out one
//! lease later than a single bucket would have.
//!
//! The same call, claimed again on the same replica, is answered as the first time and costs nothing: the last 256 calls of
//! each key are remembered, for two minutes at least. Claimed on another replica it counts again.
//!
//! If PostgreSQL cannot be asked when it must be, the answer is [`ReserveError::Unavailable`], and what it means is for the
//! caller to say; whatever guards money or access refuses.
//!
//! [`LocalLimits`] counts for one process alone, without PostgreSQL and without ever waiting.

mod account;
mod claim;
mod engine;
mod error;
mod generations;
mod limit;
mod local;
mod owed;
mod queries;
mod reservation;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use systemprompt_model::Ambient;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::account::{Account, Answer, Lease, LeaseRequest};
pub use self::claim::Claim;
use self::engine::Engine;
pub use self::error::{Exhausted, ReserveError, Unavailable};
pub use self::limit::{LeaseKey, Limit, Refilling, Sliding, Unit};
pub use self::local::LocalLimits;
use self::owed::Owed;
use self::reservation::Held;
pub use self::reservation::Reservation;
use crate::connect::DbPool;
use crate::schema::{Module, SchemaDefinition};

/// How long PostgreSQL may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often what is owed is booked.
const BOOK_EVERY: Duration = Duration::from_secs(1);
/// How often rows that no longer count are deleted, in rounds of booking.
const DELETE_EVERY: u32 = 60;
/// Rows that one statement books.
const BATCH: usize = 1000;

/// The table of the engine, installed before everything else.
pub fn module() -> Module {
    Module {
        id: "leases".to_owned(),
        required: true,
        schemas: vec![SchemaDefinition::inline("leases", include_str!("../../schema/leases.sql"))],
        ..Module::default()
    }
}

/// Gives out units of all limits. One for each server, shared by all its threads; clones are the same.
#[derive(Debug, Clone)]
pub struct Leases(Arc<Engine>);

impl Leases {
    /// An engine on the table in `db`. Nothing is asked of the database yet; whoever makes it [runs](Self::run) it, and
    /// [closes](Self::close) it at the end.
    pub fn new(db: DbPool, ambient: Ambient) -> Self {
        Self(Arc::new(Engine::new(db, ambient)))
    }

    /// Lets whoever asks carry on without an answer while PostgreSQL is away, counting for itself, if it can.
    pub fn carry_on(&self) {
        self.0.carries_on.store(true, Ordering::Relaxed);
    }

    /// Whether that is so.
    pub fn are_carried_on(&self) -> bool {
        self.0.carries_on.load(Ordering::Relaxed)
    }

    /// Holds the units of a claim, if there are as many.
    pub async fn reserve(&self, claim: &Claim) -> Result<Reservation, ReserveError> {
        if let Some(answer) = self.reserve_now(claim) {
            return Ok(answer?);
        }
        let account = self.0.account(claim);
        // One of the claims that wait asks for all of them.
        let _turn = account.wait_for_turn(limit::units(claim.amount)).await;
        // A lease that arrives after its slot has ended is of no use; a third one is not tried.
        for _ in 0..3 {
            let now = self.0.clock();
            let answer = match account.take(claim.wanted(), now) {
                Some(answer) => Some(answer),
                None => self.0.lease(&account, claim, now).await?,
            };
            if let Some(answer) = answer {
                return Ok(self.0.reservation(&account, claim, answer)?);
            }
        }
        Err(Unavailable::Slow.into())
    }

    /// The same, if it can be said at once; otherwise PostgreSQL must be [asked](Self::reserve).
    pub fn reserve_now(&self, claim: &Claim) -> Option<Result<Reservation, Exhausted>> {
        if claim.wanted().amount > claim.limit.amount() {
            return Some(Err(claim.limit.never()));
        }
        let account = self.0.account(claim);
        let answer = account.take(claim.wanted(), self.0.clock())?;
        Some(self.0.reservation(&account, claim, answer))
    }

    /// Books what is owed and deletes rows that no longer count, until cancelled. Spawned by whoever owns the engine.
    pub async fn run(self, cancel: CancellationToken) {
        let mut rounds = tokio::time::interval(BOOK_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for round in 0_u32.. {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = rounds.tick() => {}
            }
            warn(self.0.book(|account, limit, now| account.take_unspent(now, limit)).await);
            if round.is_multiple_of(DELETE_EVERY) {
                warn(queries::delete_expired(&self.0.db, self.0.ambient.now()).await.map_err(Unavailable::from));
            }
        }
    }

    /// Gives back all that this replica holds. Called when nothing is reserved any more.
    pub async fn close(&self) {
        warn(self.0.book(|account, limit, _| account.take_unspent(i64::MAX, limit)).await);
    }
}

impl Engine {
    fn reservation(
        self: &Arc<Self>,
        account: &Arc<Account>,
        claim: &Claim,
        answer: Answer,
    ) -> Result<Reservation, Exhausted> {
        match answer {
            Answer::Granted { period } => Ok(Reservation::of(Held {
                engine: Arc::clone(self),
                account: Arc::clone(account),
                key: claim.key.clone(),
                limit: claim.limit,
                period,
                amount: limit::units(claim.amount),
                call: claim.call,
            })),
            Answer::Repeated => Ok(Reservation::repeated()),
            Answer::Exhausted(exhausted) => Err(exhausted),
        }
    }

    /// Asks PostgreSQL, and tells it what is owed to the key.
    async fn lease(&self, account: &Account, claim: &Claim, now: i64) -> Result<Option<Answer>, Unavailable> {
        let request = account.begin_lease(claim.wanted(), now);
        let kept = Kept { account, units: request.kept };
        let lease = match &claim.limit {
            Limit::Sliding(limit) => {
                if let Some(unspent) = request.unspent {
                    self.debts.add(&claim.key, Owed::new(-unspent.units, unspent.period, limit));
                }
                let owed = self.debts.of(&claim.key, limit.unit);
                let entries: Vec<Owed> = owed.entries.iter().map(|(_, owed)| *owed).collect();
                let lease = within(queries::lease_sliding(&self.db, &claim.key, &request, &entries, limit)).await?;
                owed.arrived();
                lease
            }
            Limit::Refilling(limit) => within(queries::lease_refilling(&self.db, &claim.key, &request, limit)).await?,
        };
        Ok(kept.end(claim, self.clock(), &request, lease))
    }

    /// Books what is owed, including what `take` finds to be left of leases.
    async fn book(&self, take: impl Fn(&Account, &Limit, i64) -> Option<account::Unspent>) -> Result<(), Unavailable> {
        let now = self.clock();
        self.accounts.for_each(|(key, _), kept| {
            if let Some((limit, account)) = kept
                && let Some(unspent) = take(account, limit, now)
                && let Limit::Sliding(limit) = limit
            {
                self.debts.add(key, Owed::new(-unspent.units, unspent.period, limit));
            }
        });
        let mut sending = self.debts.all(now);
        while !sending.entries.is_empty() {
            let batch = sending.entries.len().min(BATCH);
            within(queries::book(&self.db, &sending.entries[..batch])).await?;
            sending.entries.drain(..batch);
        }
        Ok(())
    }
}

/// Units that are kept for the claim that asks PostgreSQL, and put back if it gets no answer.
struct Kept<'a> {
    account: &'a Account,
    units: i64,
}

impl Kept<'_> {
    fn end(mut self, claim: &Claim, now: i64, request: &LeaseRequest, lease: Lease) -> Option<Answer> {
        self.units = 0;
        self.account.end_lease(claim.wanted(), now, request, lease)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.account.put_back(self.units);
    }
}

async fn within<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Unavailable> {
    Ok(tokio::time::timeout(PATIENCE, statement).await.map_err(|_| Unavailable::Slow)??)
}

fn warn(booked: Result<(), Unavailable>) {
    if let Err(error) = booked {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "what limits hold could not be given back");
    }
}

#[cfg(test)]
mod tests;
