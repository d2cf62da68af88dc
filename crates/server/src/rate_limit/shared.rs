//! Buckets that replicas share, in PostgreSQL.
//!
//! A replica does not ask for every request. It takes a *lease* of several tokens with one statement and hands them out from
//! memory for at most a second. The first lease is one token, and each further one that is used up in time doubles, up to a
//! tenth of a second's refill, so a caller at a steady hundred requests per second costs about a dozen statements a second.
//! Requests of one caller that arrive together share a statement.
//!
//! All replicas together admit what one bucket would, and at most one lease of each replica later than it would have. Tokens
//! that are not handed out in time are lost; the bucket fills again meanwhile.
//!
//! When PostgreSQL does not answer, each process counts for itself: a limit that is too generous for a while is better than a
//! server that nobody reaches. What must not happen without the database is refused by the Gate anyway.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::Either;
use systemprompt_config::profile::RateGroup;
use systemprompt_database::DbPool;
use systemprompt_extension::{Admission, ClientIp, RateLimited, RateLimiter};
use systemprompt_model::Principal;
use tokio_util::sync::CancellationToken;

use super::generations::Generations;
use super::memory::{Key, MemoryLimiter};
use super::queries::{self, Granted};
use super::rates::{Empty, Rate, blocked};

const SECOND: i64 = 1_000_000_000;
/// A lease is good for this long.
const LEASE: i64 = SECOND;
/// PostgreSQL has this long to answer; nobody waits longer for a permit to wait.
const PATIENCE: Duration = Duration::from_millis(500);
/// After it did not answer it is left alone for this long.
const RESPITE: i64 = SECOND;
/// How often buckets that are full are deleted.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// Counts the requests to all replicas.
pub(super) struct SharedLimiter {
    /// The guard of addresses, which is for this process alone, and the buckets while PostgreSQL does not answer.
    memory: MemoryLimiter,
    db: DbPool,
    leases: Generations<Arc<Lease>>,
    /// Until when PostgreSQL is not asked, because it did not answer.
    respite: AtomicI64,
}

/// What this replica may hand out to one caller.
#[derive(Default)]
struct Lease {
    state: Mutex<State>,
    /// Held by the one request that asks for all that wait.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    left: i64,
    /// When what is left is lost.
    until: i64,
    /// Tokens asked for the last time.
    asked: i64,
    /// When the next token comes, if there was none, and when the bucket is full.
    empty: Option<(i64, i64)>,
}

impl SharedLimiter {
    pub(super) fn new(memory: MemoryLimiter, db: DbPool) -> Self {
        // A lease that has ended holds nothing worth keeping; neither does an empty bucket that has had a token since.
        let lifetime = memory.rates.longest().max(LEASE);
        Self { memory, db, leases: Generations::new(lifetime), respite: AtomicI64::new(i64::MIN) }
    }

    /// Deletes full buckets now and then, until cancelled.
    pub(super) async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = ticks.tick() => {
                    if let Err(error) = queries::delete_full(&self.db, self.memory.now()).await {
                        tracing::debug!(%error, "full rate limit buckets could not be deleted");
                    }
                }
            }
        }
    }

    async fn ask(&self, lease: &Lease, key: Key, group: RateGroup, rate: Rate) -> Result<(), Empty> {
        let _turn = lease.turn.lock().await;
        let now = self.memory.now();
        if let Some(answer) = lease.take(now) {
            return answer;
        }
        if now < self.respite.load(Ordering::Relaxed) {
            return self.memory.take(key, rate);
        }
        let wanted = lease.next_size(now, rate);
        let statement = queries::lease(&self.db, group, key.tier, key.caller, rate, now, wanted);
        match tokio::time::timeout(PATIENCE, statement).await {
            Ok(Ok(granted)) => lease.receive(granted, self.memory.now(), rate),
            failed => {
                let error = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => "it does not answer in time".to_owned(),
                };
                self.respite.store(now.saturating_add(RESPITE), Ordering::Relaxed);
                tracing::warn!(error, "PostgreSQL cannot be asked for rate limits; this process counts for itself");
                self.memory.take(key, rate)
            }
        }
    }
}

impl RateLimiter for SharedLimiter {
    fn guard(&self, client: ClientIp) -> Result<(), RateLimited> {
        self.memory.guard(client)
    }

    fn admit<'a>(&'a self, group: RateGroup, caller: Option<&Principal>, client: ClientIp) -> Admission<'a> {
        let key = Key::new(group, caller, client);
        let refuse = move |refusal| {
            self.memory.metrics.count(Some(group), key.tier);
            refusal
        };
        let Some(rate) = self.memory.rates.of(group, key.tier) else {
            return Either::Left(std::future::ready(Err(refuse(blocked(key.tier)))));
        };
        let now = self.memory.now();
        let lease = self.leases.with(self.memory.hash(key), now, |lease| lease.clone());
        if let Some(answer) = lease.take(now) {
            let admitted = answer.map_err(|empty| refuse(rate.refusal(key.tier, empty)));
            return Either::Left(std::future::ready(admitted));
        }
        Either::Right(Box::pin(async move {
            let admitted = self.ask(&lease, key, group, rate).await;
            admitted.map_err(|empty| refuse(rate.refusal(key.tier, empty)))
        }))
    }
}

impl Lease {
    /// Answers from memory, if that is possible.
    fn take(&self, now: i64) -> Option<Result<(), Empty>> {
        let mut state = self.state();
        if state.left > 0 && now < state.until {
            state.left -= 1;
            return Some(Ok(()));
        }
        match state.empty {
            Some((next, full)) if now < next => Some(Err(Empty { wait: next - now, fill: full - now })),
            _ => None,
        }
    }

    /// How many tokens to ask for: twice as many as last time if those were gone before their time.
    fn next_size(&self, now: i64, rate: Rate) -> i64 {
        let mut state = self.state();
        let busy = state.left == 0 && now < state.until;
        let largest = (rate.per_second / 10).clamp(1, 1_000_000) as i64;
        state.asked = if busy { (state.asked * 2).clamp(1, largest) } else { 1 };
        state.left = 0;
        state.asked
    }

    /// Takes in what PostgreSQL gave and answers the request that asked.
    fn receive(&self, granted: Granted, now: i64, rate: Rate) -> Result<(), Empty> {
        let mut state = self.state();
        if granted.tokens > 0 {
            state.left = granted.tokens - 1;
            state.until = now.saturating_add(LEASE);
            state.empty = None;
            return Ok(());
        }
        let fill = rate.missing(granted.full_at, now);
        let wait = (fill + rate.interval - rate.depth).max(1);
        state.empty = Some((now + wait, now + fill));
        Err(Empty { wait, fill })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::{DateTime, TimeDelta};
    use systemprompt_config::profile::RateLimits;
    use systemprompt_database::testing::TestDatabase;
    use systemprompt_database::{Database, Module};
    use systemprompt_extension::{Extension as _, Metrics};
    use systemprompt_model::{Ambient, ApiKeyId, Credential, ManualClock, UserId, UserType};

    use super::*;
    use crate::extension::ServerExtension;
    use crate::metrics::RefusalMetrics;

    struct World {
        database: TestDatabase,
        clock: Arc<ManualClock>,
        ambient: Ambient,
        client: ClientIp,
    }

    impl World {
        async fn new() -> Self {
            let schemas = ServerExtension.schemas();
            let module = Module { id: "server".to_owned(), required: true, schemas, ..Module::default() };
            let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)));
            Self {
                database: systemprompt_database::testing::database(&[module]).await,
                ambient: Ambient { clock: clock.clone(), ..Ambient::system() },
                clock,
                client: ClientIp::new([192, 0, 2, 1].into()),
            }
        }

        async fn replica(&self) -> SharedLimiter {
            let limits = RateLimits { gateway_per_second: 100, ..RateLimits::default() };
            let memory = MemoryLimiter::new(&limits, self.ambient.clone(), RefusalMetrics::new(&Metrics::new()));
            SharedLimiter::new(memory, Database::connect(&self.database.connect_options()).await.expect("connects"))
        }

        fn user(&self) -> Principal {
            Principal {
                user_id: UserId::generate(&self.ambient),
                user_name: "ada".to_owned(),
                user_type: UserType::User,
                roles: Vec::new(),
                attributes: BTreeMap::new(),
                credential: Credential::ApiKey(ApiKeyId::generate(&self.ambient)),
            }
        }

        /// How many of `requests` by turns to the replicas are admitted.
        async fn admitted(&self, replicas: &[&SharedLimiter], user: &Principal, requests: usize) -> usize {
            let mut admitted = 0;
            for request in 0..requests {
                let replica = replicas[request % replicas.len()];
                admitted += usize::from(replica.admit(RateGroup::Gateway, Some(user), self.client).await.is_ok());
            }
            admitted
        }
    }

    #[tokio::test]
    async fn replicas_share_a_bucket() {
        let world = World::new().await;
        let (one, other) = (world.replica().await, world.replica().await);
        let (ada, eve) = (world.user(), world.user());
        assert_eq!(world.admitted(&[&one, &other], &ada, 1000).await, 300, "the burst of a user, once");
        assert_eq!(world.admitted(&[&other], &eve, 10).await, 10, "others have their own");

        let refusal = one.admit(RateGroup::Gateway, Some(&ada), world.client).await.expect_err("it is empty");
        assert_eq!((refusal.limit, refusal.tier), (300, UserType::User));
        assert!(refusal.retry_after <= Duration::from_millis(10), "{refusal:?}");

        world.clock.advance(TimeDelta::seconds(1));
        let again = world.admitted(&[&one, &other], &ada, 1000).await;
        assert!((80..=100).contains(&again), "a second's refill, less what leases hold back: {again}");
        world.clock.advance(TimeDelta::seconds(10));
        assert_eq!(world.admitted(&[&one], &ada, 1000).await, 300);
    }

    #[tokio::test]
    async fn a_busy_caller_seldom_costs_a_statement() {
        let world = World::new().await;
        let replica = world.replica().await;
        let ada = world.user();
        let mut asked = 0;
        for _ in 0..300 {
            let admission = replica.admit(RateGroup::Gateway, Some(&ada), world.client);
            asked += usize::from(matches!(admission, Either::Right(_)));
            admission.await.expect("there are tokens");
        }
        assert!(asked <= 40, "{asked}");
    }

    #[tokio::test]
    async fn requests_that_arrive_together_share_what_there_is() {
        let world = World::new().await;
        let (one, other) = (world.replica().await, world.replica().await);
        let ada = world.user();
        let all = (0..1000).map(|index| {
            let replica = if index % 2 == 0 { &one } else { &other };
            replica.admit(RateGroup::Gateway, Some(&ada), world.client)
        });
        let admitted = futures_util::future::join_all(all).await.into_iter().flatten().count();
        assert_eq!(admitted, 300);
    }

    #[tokio::test]
    async fn without_the_database_each_process_counts_for_itself() {
        let world = World::new().await;
        let replica = world.replica().await;
        let ada = world.user();
        replica.db.close().await;
        assert_eq!(world.admitted(&[&replica], &ada, 1000).await, 300);
    }

    #[tokio::test]
    async fn full_buckets_are_deleted() {
        let world = World::new().await;
        let replica = world.replica().await;
        world.admitted(&[&replica], &world.user(), 1).await;
        let rows = async || {
            sqlx::query_scalar!(r#"SELECT COUNT(*) AS "count!" FROM http_rate_buckets"#)
                .fetch_one(replica.db.read())
                .await
                .expect("reads")
        };
        queries::delete_full(&replica.db, replica.memory.now()).await.expect("deletes");
        assert_eq!(rows().await, 1);
        world.clock.advance(TimeDelta::minutes(5));
        queries::delete_full(&replica.db, replica.memory.now()).await.expect("deletes");
        assert_eq!(rows().await, 0);
    }
}
