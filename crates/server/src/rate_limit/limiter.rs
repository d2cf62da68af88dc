//! Whose bucket a request takes from, and where the buckets are: in this process, or shared by all replicas.
//!
//! The guard of addresses is always this process's own, as it must never wait. When PostgreSQL does not answer, each process
//! counts for itself: a limit that is too generous for a while is better than a server that nobody reaches. What must not
//! happen without the database is refused by the Gate anyway.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::Either;
use systemprompt_config::profile::{RateGroup, RateLimitBackend, RateLimits};
use systemprompt_database::lease::{Claim, Exhausted, LeaseKey, Leases, LocalLimits, Refilling, ReserveError};
use systemprompt_extension::{ClientIp, Counting, RateLimited, RateLimiter};
use systemprompt_model::{Ambient, Principal, UserType};
use uuid::Uuid;

use super::rates::{Rates, blocked, refusal};
use crate::metrics::RefusalMetrics;

/// PostgreSQL has this long to answer; nobody waits longer for a permit to wait.
const PATIENCE: Duration = Duration::from_millis(500);
/// After it did not answer it is left alone for this many milliseconds.
const RESPITE: i64 = 1000;

/// Counts requests.
pub(super) struct Limiter {
    rates: Rates,
    metrics: RefusalMetrics,
    ambient: Ambient,
    local: LocalLimits,
    leases: Leases,
    /// Where the buckets of most groups are.
    backend: RateLimitBackend,
    /// Until when PostgreSQL is not asked, because it did not answer; milliseconds since 1970.
    respite: AtomicI64,
}

impl Limiter {
    /// A limiter with these limits, whose shared buckets are in `leases`.
    pub(super) fn new(limits: &RateLimits, leases: Leases, ambient: Ambient, metrics: RefusalMetrics) -> Self {
        let rates = Rates::new(limits);
        let local = LocalLimits::new(rates.all(), ambient.clone());
        Self { rates, metrics, ambient, local, leases, backend: limits.backend, respite: AtomicI64::new(i64::MIN) }
    }

    async fn ask(&self, leases: &Leases, claim: &Claim, key: &LeaseKey, rate: &Refilling) -> Result<(), Exhausted> {
        let now = self.ambient.now().timestamp_millis();
        if now < self.respite.load(Ordering::Relaxed) {
            return self.local.take(key, rate);
        }
        let error = match tokio::time::timeout(PATIENCE, leases.reserve(claim)).await {
            Ok(Ok(reservation)) => {
                reservation.settle(1);
                return Ok(());
            }
            Ok(Err(ReserveError::Exhausted(exhausted))) => return Err(exhausted),
            Ok(Err(ReserveError::Unavailable(error))) => error.to_string(),
            Err(_) => "it does not answer in time".to_owned(),
        };
        self.respite.store(now.saturating_add(RESPITE), Ordering::Relaxed);
        tracing::warn!(error, "PostgreSQL cannot be asked for rate limits; this process counts for itself");
        self.local.take(key, rate)
    }

    fn answer(
        &self,
        taken: Result<(), Exhausted>,
        group: RateGroup,
        tier: UserType,
        rate: &Refilling,
    ) -> Result<(), RateLimited> {
        taken.map_err(|exhausted| {
            self.metrics.count(Some(group), tier);
            refusal(tier, rate, exhausted)
        })
    }
}

impl RateLimiter for Limiter {
    fn guard(&self, client: ClientIp) -> Result<(), RateLimited> {
        let key = LeaseKey::new("http.address", address(client));
        self.local.take(&key, &self.rates.guard).map_err(|exhausted| {
            self.metrics.count(None, UserType::Anon);
            refusal(UserType::Anon, &self.rates.guard, exhausted)
        })
    }

    fn count<'a>(&'a self, group: RateGroup, caller: Option<&Principal>, client: ClientIp) -> Counting<'a> {
        // An anonymous account is as quickly made as an address is changed, but not as dear.
        let (tier, subject) = match caller.filter(|caller| caller.user_type != UserType::Anon) {
            Some(caller) => (caller.user_type, caller.user_id.as_uuid()),
            None => (UserType::Anon, address(client)),
        };
        let Some(rate) = self.rates.of(group, tier) else {
            self.metrics.count(Some(group), tier);
            return Either::Left(std::future::ready(Err(blocked(tier))));
        };
        let key = LeaseKey::new(bucket(group), subject);
        if self.backend == RateLimitBackend::Memory && !group.is_always_shared() {
            let taken = self.local.take(&key, rate);
            return Either::Left(std::future::ready(self.answer(taken, group, tier, rate)));
        }
        let leases = &self.leases;
        let claim = Claim::new(key.clone(), *rate, 1);
        if let Some(reserved) = leases.reserve_now(&claim) {
            let taken = reserved.map(|reservation| reservation.settle(1));
            return Either::Left(std::future::ready(self.answer(taken, group, tier, rate)));
        }
        Either::Right(Box::pin(async move {
            let taken = self.ask(leases, &claim, &key, rate).await;
            self.answer(taken, group, tier, rate)
        }))
    }
}

fn address(client: ClientIp) -> Uuid {
    Uuid::from_u128(client.network().to_bits())
}

/// The name of a group's buckets.
fn bucket(group: RateGroup) -> String {
    format!("http.{}", group.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use chrono::{DateTime, TimeDelta};
    use systemprompt_database::testing::TestDatabase;
    use systemprompt_database::{Database, DbPool, lease};
    use systemprompt_extension::Metrics;
    use systemprompt_model::{ApiKeyId, Credential, ManualClock, UserId};

    use super::*;

    struct World {
        database: TestDatabase,
        clock: Arc<ManualClock>,
        ambient: Ambient,
        client: ClientIp,
    }

    impl World {
        async fn new() -> Self {
            let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)));
            Self {
                database: systemprompt_database::testing::database(&[lease::module()]).await,
                ambient: Ambient { clock: clock.clone(), ..Ambient::system() },
                clock,
                client: ClientIp::new([192, 0, 2, 1].into()),
            }
        }

        async fn replica(&self) -> (Limiter, DbPool) {
            let backend = RateLimitBackend::Postgres;
            let limits = RateLimits { backend, gateway_per_second: 100, ..RateLimits::default() };
            let db = Database::connect(&self.database.connect_options()).await.expect("connects");
            let leases = Leases::new(db.clone(), self.ambient.clone());
            let metrics = RefusalMetrics::new(&Metrics::new());
            (Limiter::new(&limits, leases, self.ambient.clone(), metrics), db)
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

        /// How many of `requests` by turns to the replicas are counted.
        async fn counted(&self, replicas: &[&Limiter], user: &Principal, requests: usize) -> usize {
            let mut counted = 0;
            for request in 0..requests {
                let replica = replicas[request % replicas.len()];
                counted += usize::from(replica.count(RateGroup::Gateway, Some(user), self.client).await.is_ok());
            }
            counted
        }
    }

    #[tokio::test]
    async fn replicas_share_a_bucket() {
        let world = World::new().await;
        let ((one, _), (other, _)) = (world.replica().await, world.replica().await);
        let (ada, eve) = (world.user(), world.user());
        assert_eq!(world.counted(&[&one, &other], &ada, 1000).await, 300, "the burst of a user, once");
        assert_eq!(world.counted(&[&other], &eve, 10).await, 10, "others have their own");

        let refusal = one.count(RateGroup::Gateway, Some(&ada), world.client).await.expect_err("it is empty");
        assert_eq!((refusal.limit, refusal.tier), (300, UserType::User));
        assert!(refusal.retry_after <= Duration::from_millis(10), "{refusal:?}");

        world.clock.advance(TimeDelta::seconds(1));
        let again = world.counted(&[&one, &other], &ada, 1000).await;
        assert!((80..=100).contains(&again), "a second's refill, less what leases hold back: {again}");
        world.clock.advance(TimeDelta::seconds(10));
        assert_eq!(world.counted(&[&one], &ada, 1000).await, 300);
    }

    #[tokio::test]
    async fn guessing_at_sign_in_is_counted_for_all_replicas_together() {
        let world = World::new().await;
        let replica = async || {
            let db = Database::connect(&world.database.connect_options()).await.expect("connects");
            let leases = Leases::new(db, world.ambient.clone());
            Limiter::new(&RateLimits::default(), leases, world.ambient.clone(), RefusalMetrics::new(&Metrics::new()))
        };
        let (one, other) = (replica().await, replica().await);
        let counted = async |group| {
            let mut counted = 0;
            for request in 0..1000 {
                let replica = if request % 2 == 0 { &one } else { &other };
                counted += usize::from(replica.count(group, None, world.client).await.is_ok());
            }
            counted
        };
        assert_eq!(counted(RateGroup::OauthPublic).await, 15, "once");
        assert_eq!(counted(RateGroup::Gateway).await, 2 * 150, "each for itself");
    }

    #[tokio::test]
    async fn a_busy_caller_seldom_costs_a_statement() {
        let world = World::new().await;
        let (replica, _) = world.replica().await;
        let ada = world.user();
        let mut asked = 0;
        for _ in 0..300 {
            let counting = replica.count(RateGroup::Gateway, Some(&ada), world.client);
            asked += usize::from(matches!(counting, Either::Right(_)));
            counting.await.expect("there are tokens");
        }
        assert!(asked <= 40, "{asked}");
    }

    #[tokio::test]
    async fn requests_that_arrive_together_share_what_there_is() {
        let world = World::new().await;
        let ((one, _), (other, _)) = (world.replica().await, world.replica().await);
        let ada = world.user();
        let all = (0..1000).map(|index| {
            let replica = if index % 2 == 0 { &one } else { &other };
            replica.count(RateGroup::Gateway, Some(&ada), world.client)
        });
        let counted = futures_util::future::join_all(all).await.into_iter().flatten().count();
        assert_eq!(counted, 300);
    }

    #[tokio::test]
    async fn without_the_database_each_process_counts_for_itself() {
        let world = World::new().await;
        let (replica, db) = world.replica().await;
        let ada = world.user();
        db.close().await;
        assert_eq!(world.counted(&[&replica], &ada, 1000).await, 300);
    }
}
