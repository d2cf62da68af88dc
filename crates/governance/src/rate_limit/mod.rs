//! `rate_limit`: within any W seconds at most N requests of a user in one session, and at most M in all of them, over all
//! replicas together.
//!
//! Sessions come about by what clients say, and users make API keys themselves, so the first limit only divides what the
//! second one grants: it keeps one conversation that runs wild from using up what others need. A request needs a permit of
//! both. One that gets only one puts it back.
//!
//! # How it counts
//!
//! Time is cut into *slots* of a tenth of the window. PostgreSQL keeps, for each session of a user and for each user, how
//! many permits were given out in each slot. A permit given out in a slot counts until the **end** of that slot is a whole
//! window in the past. So any window of W seconds is covered entirely by what is counted, and **never are more than N (or M)
//! requests admitted in it**.
//!
//! A replica does not ask for every request. It takes a *lease* of several permits in one statement and hands them out from
//! memory. The first lease of a slot is one permit, and each further one doubles, up to a tenth of the limit, so a session
//! that makes 10,000 requests in a slot costs about fourteen statements. When little is left a lease is at most a quarter of
//! it, down to single permits. Concurrent requests of one session share one statement. Both limits are asked for at the same
//! time, so the second one costs statements and no waiting.
//!
//! A lease is good for the slot it was taken in. Permits left over at its end are given back, with the next lease of that
//! session or user, or by [`RateLimiter::run`], which also deletes rows that no longer count.
//!
//! # How far off it can be
//!
//! It errs towards refusing, never towards admitting:
//!
//! * A permit counts for up to W/10 longer than W.
//! * Until a slot ends, permits leased by a replica that does not use them are missing elsewhere: at most a tenth of the
//!   limit for each other replica that serves the same session or user, none when only one does.
//! * A request refused for want of permits is not asked about again before the next slot (or before the moment a permit
//!   is known to come free), so permits given back by another replica are seen up to W/10 late.
//! * A replica that dies takes its leases with it for one window.
//!
//! Two things can admit more. Clocks of replicas that disagree by d let a window be d shorter. A crash of PostgreSQL
//! forgets the windows that were running, as the table is not logged; whatever was leased by then is still handed out.
//!
//! The same call, judged again by the same replica, is answered as the first time and costs nothing: the last 256 calls of
//! each session and user are remembered. Judged by another replica it counts again.
//!
//! If PostgreSQL cannot be asked when it must be, the answer is no ([`DenialKind::Unavailable`]).

mod queries;
mod window;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use systemprompt_database::DbPool;
use systemprompt_model::{Ambient, RequestId, SessionId, UserId};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::window::{Answer, Limits, Unspent, Window};
use crate::config::RateLimitConfig;
use crate::denial::DenialKind;
use crate::policy::{Verdict, Violation};

/// How long PostgreSQL may take to answer before the request is refused.
const PATIENCE: Duration = Duration::from_secs(3);
const SHARDS: usize = 16;

/// Hands out permits of both limits. One for each process and database; shared by all threads.
pub struct RateLimiter {
    db: DbPool,
    ambient: Ambient,
    per_session: Limits,
    per_user: Limits,
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

type Shard = HashMap<Key, Arc<Window>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    /// `None` stands for all sessions of the user together.
    session: Option<SessionId>,
    user: UserId,
}

impl Key {
    /// As it is stored. No session has the nil UUID.
    fn session_uuid(self) -> Uuid {
        self.session.map_or(Uuid::nil(), |session| session.as_uuid())
    }
}

impl RateLimiter {
    /// A limiter for `config` on the tables in `db`. Nothing is asked of the database yet.
    pub fn new(config: &RateLimitConfig, db: DbPool, ambient: Ambient) -> Self {
        Self {
            db,
            ambient,
            per_session: Limits::new(config.requests_per_window, config.window_secs),
            per_user: Limits::new(config.user_limit(), config.window_secs),
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    /// Whether `user` may make the call `call` in `session` now.
    pub async fn evaluate(&self, session: SessionId, user: UserId, call: RequestId) -> Verdict {
        if self.per_session.limit == 0 || self.per_user.limit == 0 {
            let wait = Duration::from_millis(self.per_session.window_ms as u64);
            return refused("no requests are allowed: the limit is 0".to_owned(), wait);
        }
        let session_key = Key { session: Some(session), user };
        let user_key = Key { session: None, user };
        let (in_session, in_all) = (self.window(session_key), self.window(user_key));
        let now = self.now();
        let answers = match (in_session.peek(call, now), in_all.peek(call, now)) {
            (Some(Answer::Repeated), _) | (_, Some(Answer::Repeated)) => return Verdict::Pass,
            (None, None) => {
                tokio::join!(
                    self.take(&in_session, session_key, call, &self.per_session),
                    self.take(&in_all, user_key, call, &self.per_user),
                )
            }
            // What is known to be refused takes nothing from the other limit.
            (in_session, in_all) => {
                return self.refusal(in_session.map_or(0, Answer::wait_ms), in_all.map_or(0, Answer::wait_ms));
            }
        };
        match answers {
            (Ok(Answer::Admitted | Answer::Repeated), Ok(Answer::Admitted | Answer::Repeated)) => Verdict::Pass,
            (session_answer, user_answer) => {
                put_back(&in_session, &session_answer, call);
                put_back(&in_all, &user_answer, call);
                match (session_answer, user_answer) {
                    (Ok(session_answer), Ok(user_answer)) => {
                        self.refusal(session_answer.wait_ms(), user_answer.wait_ms())
                    }
                    (Err(error), _) | (_, Err(error)) => {
                        tracing::warn!(%error, "the rate limit cannot be asked for, so the request is refused");
                        Verdict::Fail(Violation::unavailable("the rate limit cannot be checked at present"))
                    }
                }
            }
        }
    }

    /// Says no, for the limit of which one must wait longer.
    fn refusal(&self, in_session: i64, in_all: i64) -> Verdict {
        let Limits { limit, window_ms, .. } = if in_all > in_session { self.per_user } else { self.per_session };
        let whose = if in_all > in_session { " of one user" } else { "" };
        let reason = format!("more than {limit} requests{whose} in {} seconds; try again later", window_ms / 1000);
        refused(reason, Duration::from_millis(in_session.max(in_all).max(1) as u64))
    }

    async fn take(&self, window: &Window, key: Key, call: RequestId, limits: &Limits) -> Result<Answer, Unavailable> {
        if let Some(answer) = window.take(call, self.now(), limits) {
            return Ok(answer);
        }
        // One of the requests that wait asks for all of them.
        let _turn = window.wait_for_turn().await;
        // A lease that arrives after its slot has ended is of no use; a third one is not tried.
        for _ in 0..3 {
            let now = self.now();
            if let Some(answer) = window.take(call, now, limits) {
                return Ok(answer);
            }
            let request = window.begin_lease(now, limits);
            let lease = queries::lease(&self.db, key, &request, limits);
            let lease = tokio::time::timeout(PATIENCE, lease).await.map_err(|_| Unavailable::Slow)??;
            if let Some(answer) = window.end_lease(call, self.now(), &request, &lease, limits) {
                return Ok(answer);
            }
        }
        Err(Unavailable::Slow)
    }

    /// Gives back what is left of past leases and deletes rows that no longer count, once in each slot, until cancelled;
    /// then gives back everything. Spawned by whoever owns the limiter.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut slots = tokio::time::interval(Duration::from_millis(self.per_session.slot_ms as u64));
        slots.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = slots.tick() => {
                    if let Err(error) = self.sweep().await {
                        tracing::warn!(%error, "unused permits of the rate limit could not be given back");
                    }
                }
            }
        }
        if let Err(error) = self.give_back(self.unspent(i64::MAX)).await {
            tracing::warn!(%error, "unused permits of the rate limit could not be given back");
        }
    }

    /// One round of [`run`](Self::run): two statements, however many sessions and users there are. Both limits have the
    /// same slots.
    pub async fn sweep(&self) -> Result<(), Unavailable> {
        let now = self.now();
        let unspent = self.unspent(self.per_session.slot_of(now));
        self.give_back(unspent).await?;
        queries::delete_expired(&self.db, self.ambient.now()).await?;
        Ok(())
    }

    /// Takes what is left of leases of slots before `slot` out of the windows, and forgets windows that are idle.
    fn unspent(&self, slot: i64) -> Vec<(Key, Unspent)> {
        let now = self.now();
        let mut all = Vec::new();
        for shard in &self.shards {
            lock(shard).retain(|key, window| {
                all.extend(window.take_unspent(slot).map(|unspent| (*key, unspent)));
                // Whoever holds the window outside of the map is using it.
                Arc::strong_count(window) > 1 || !window.is_idle(now, &self.per_session)
            });
        }
        all
    }

    async fn give_back(&self, unspent: Vec<(Key, Unspent)>) -> Result<(), Unavailable> {
        if unspent.is_empty() {
            return Ok(());
        }
        let (mut sessions, mut users, mut slots, mut permits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (key, unspent) in unspent {
            sessions.push(key.session_uuid());
            users.push(key.user.as_uuid());
            slots.push(unspent.slot);
            permits.push(unspent.permits);
        }
        let give_back = queries::give_back(&self.db, &sessions, &users, &slots, &permits);
        tokio::time::timeout(PATIENCE, give_back).await.map_err(|_| Unavailable::Slow)?
    }

    fn window(&self, key: Key) -> Arc<Window> {
        let shard = &self.shards[self.hasher.hash_one(key) as usize % SHARDS];
        Arc::clone(lock(shard).entry(key).or_default())
    }

    fn now(&self) -> i64 {
        self.ambient.now().timestamp_millis()
    }
}

impl std::fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimiter")
            .field("per_session", &self.per_session)
            .field("per_user", &self.per_user)
            .finish_non_exhaustive()
    }
}

/// PostgreSQL could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// It did not answer in time.
    #[error("PostgreSQL does not answer in time")]
    Slow,
    /// It answered with an error, or could not be reached.
    #[error("PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
}

/// Takes back a permit of a call that is not admitted in full.
fn put_back(window: &Window, answer: &Result<Answer, Unavailable>, call: RequestId) {
    if matches!(answer, Ok(Answer::Admitted)) {
        window.put_back(call);
    }
}

fn refused(reason: String, wait: Duration) -> Verdict {
    Verdict::Fail(Violation {
        retry_after: Some(wait),
        ..Violation::new(DenialKind::RateLimited, "rate_limit_exceeded", reason)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while the lock is held")
}

#[cfg(test)]
mod tests;
