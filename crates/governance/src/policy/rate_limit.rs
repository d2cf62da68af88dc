//! `rate_limit`: within any window at most so many requests of a user in one session, and at most so many in all of them,
//! over all replicas together.
//!
//! Sessions come about by what clients say, and users make API keys themselves, so the first limit only divides what the
//! second one grants: it keeps one conversation that runs wild from using up what others need. A request needs a unit of
//! both. One that gets only one gives it back, as does one that another policy refuses.
//!
//! How exact it is, is said in [`systemprompt_database::lease`]. If PostgreSQL cannot be asked when it must be, the answer is
//! no ([`DenialKind::Unavailable`]).

use std::time::Duration;

use async_trait::async_trait;
use systemprompt_database::lease::{Claim, Exhausted, LeaseKey, Leases, Reservation, ReserveError, Sliding, Unit};
use systemprompt_extension::policy::{DenialKind, Hold, Policy, PolicyInput, Subject, Usage, Verdict, Violation};
use systemprompt_model::{ActionId, SessionId, UserId};
use uuid::Uuid;

use super::alone::Alone;
use crate::config::RateLimitConfig;

/// Both limits of one configuration.
#[derive(Debug)]
pub(crate) struct RateLimit {
    leases: Leases,
    /// Counts while the database is away.
    alone: Alone,
    per_session: u32,
    per_user: u32,
    window_secs: u32,
}

impl RateLimit {
    pub(crate) fn new(config: &RateLimitConfig, leases: Leases) -> Self {
        Self {
            leases,
            alone: Alone::default(),
            per_session: config.requests_per_window,
            per_user: config.user_limit(),
            window_secs: config.window_secs.max(1),
        }
    }

    /// Holds a request of both limits for the call of `user` in `session`: settle each with 1 when the request is made, drop
    /// them when it is not. The same call holds them once. None if it was counted here alone, because the database is away
    /// and the profile has us carry on.
    async fn reserve(&self, session: SessionId, user: UserId, call: ActionId) -> Result<Vec<Reservation>, Violation> {
        let window = Duration::from_secs(self.window_secs.into());
        if self.per_session == 0 || self.per_user == 0 {
            return Err(refused("no requests are allowed: the limit is 0".to_owned(), window));
        }
        if self.leases.are_carried_on() && self.alone.is_in_charge() {
            return self.count_alone(session, user, window);
        }
        let claim = |name: &'static str, part: Option<SessionId>, limit: u32| {
            let key = LeaseKey {
                part: part.map_or(Uuid::nil(), |part| part.as_uuid()),
                ..LeaseKey::new(name, user.as_uuid())
            };
            Claim::new(key, Sliding::new(limit.into(), Unit::Requests, window), 1).for_call(call.as_uuid())
        };
        let in_session = claim("rate_limit.session", Some(session), self.per_session);
        let in_all = claim("rate_limit.user", None, self.per_user);
        // What is known to be refused asks PostgreSQL for nothing of the other limit.
        let (in_session, in_all) = match (self.leases.reserve_now(&in_session), self.leases.reserve_now(&in_all)) {
            (Some(session), Some(all)) => (session.map_err(Into::into), all.map_err(Into::into)),
            (Some(Err(session)), None) => return Err(self.exhausted(Some(session), None)),
            (None, Some(Err(all))) => return Err(self.exhausted(None, Some(all))),
            (Some(session), None) => (session.map_err(Into::into), self.leases.reserve(&in_all).await),
            (None, Some(all)) => (self.leases.reserve(&in_session).await, all.map_err(Into::into)),
            (None, None) => tokio::join!(self.leases.reserve(&in_session), self.leases.reserve(&in_all)),
        };
        match (in_session, in_all) {
            (Ok(in_session), Ok(in_all)) => Ok(vec![in_session, in_all]),
            (Err(ReserveError::Unavailable(_)), _) | (_, Err(ReserveError::Unavailable(_)))
                if self.leases.are_carried_on() =>
            {
                self.alone.takes_charge();
                self.count_alone(session, user, window)
            }
            (Err(ReserveError::Unavailable(error)), _) | (_, Err(ReserveError::Unavailable(error))) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the rate limit cannot be asked for, so the request is refused");
                Err(Violation::unavailable("the rate limit cannot be checked at present"))
            }
            (in_session, in_all) => Err(self.exhausted(exhausted(in_session), exhausted(in_all))),
        }
    }

    /// Counts a request here alone; nothing is held of it.
    fn count_alone(&self, session: SessionId, user: UserId, window: Duration) -> Result<Vec<Reservation>, Violation> {
        let limits = [("session", session.as_uuid(), self.per_session), ("user", user.as_uuid(), self.per_user)];
        self.alone.take(&limits, window).map(|()| Vec::new()).map_err(|wait| {
            refused("more requests than one server may grant while the database is away".to_owned(), wait)
        })
    }

    /// Says no, for the limit of which one must wait longer.
    fn exhausted(&self, in_session: Option<Exhausted>, in_all: Option<Exhausted>) -> Violation {
        let wait = |exhausted: Option<Exhausted>| exhausted.map_or(Duration::ZERO, |exhausted| exhausted.retry_after);
        let (in_session, in_all) = (wait(in_session), wait(in_all));
        let (limit, whose) =
            if in_all > in_session { (self.per_user, "one user") } else { (self.per_session, "one session") };
        let reason = format!("more than {limit} requests of {whose} in {} seconds; try again later", self.window_secs);
        refused(reason, in_session.max(in_all))
    }
}

#[async_trait]
impl Policy for RateLimit {
    fn id(&self) -> &'static str {
        "rate_limit"
    }

    fn depends_on_content(&self) -> bool {
        false
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        match input.subject {
            Subject::Change { .. } => return Verdict::Skip("changes are not counted".into()),
            Subject::Hook { .. } => return Verdict::Skip("reports are not counted".into()),
            _ => {}
        }
        let Some(session) = input.by.session else { return Verdict::Skip("not part of a session".into()) };
        match self.reserve(session, input.by.principal.user_id, input.action).await {
            Ok(reserved) => Verdict::Hold(Box::new(Counted(reserved))),
            Err(violation) => Verdict::Fail(violation),
        }
    }
}

/// A request that counts once it has been made.
struct Counted(Vec<Reservation>);

impl Hold for Counted {
    fn settle(self: Box<Self>, _used: &Usage) {
        for reservation in self.0 {
            reservation.settle(1);
        }
    }
}

fn exhausted(reserved: Result<Reservation, ReserveError>) -> Option<Exhausted> {
    match reserved {
        Err(ReserveError::Exhausted(exhausted)) => Some(exhausted),
        Ok(_) | Err(ReserveError::Unavailable(_)) => None,
    }
}

fn refused(reason: String, wait: Duration) -> Violation {
    let violation = Violation::new(DenialKind::RateLimited, "rate_limit_exceeded", reason).with_advice(
        "Wait and go on with the same conversation; an administrator sets the limits in the policy `rate_limit` of \
         services/governance/config.yaml",
    );
    Violation { retry_after: Some(wait), ..violation }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::{DateTime, TimeDelta};
    use systemprompt_database::Database;
    use systemprompt_database::lease::module;
    use systemprompt_database::testing::{self, TestDatabase};
    use systemprompt_model::{Ambient, ManualClock, SeededEntropy};

    use super::*;

    struct Replicas {
        database: TestDatabase,
        clock: Arc<ManualClock>,
        ambient: Ambient,
        limits: Vec<RateLimit>,
        session: SessionId,
        user: UserId,
    }

    /// Limits that share a database and a clock, which shows the start of a slot.
    async fn replicas(count: usize, config: RateLimitConfig) -> Replicas {
        let database = testing::database(&[module()]).await;
        let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        let ambient = Ambient { clock: clock.clone(), entropy: Arc::new(SeededEntropy::new(1)) };
        let limit = || RateLimit::new(&config, Leases::new(Arc::clone(&database.pool), ambient.clone()));
        let limits = std::iter::repeat_with(limit).take(count).collect();
        let (session, user) = (SessionId::generate(&ambient), UserId::generate(&ambient));
        Replicas { database, clock, ambient, limits, session, user }
    }

    fn per_window(requests_per_window: u32) -> RateLimitConfig {
        RateLimitConfig { requests_per_window, ..RateLimitConfig::default() }
    }

    impl Replicas {
        async fn reserve(&self, replica: usize) -> Result<Vec<Reservation>, Violation> {
            let call = ActionId::generate(&self.ambient);
            self.limits[replica].reserve(self.session, self.user, call).await
        }

        /// Makes a request, if there may be one.
        async fn makes(&self, replica: usize, session: SessionId, user: UserId) -> Result<(), Violation> {
            let call = ActionId::generate(&self.ambient);
            let reserved = self.limits[replica].reserve(session, user, call).await?;
            for reservation in reserved {
                reservation.settle(1);
            }
            Ok(())
        }

        async fn used(&self) -> (i64, i64) {
            let of = |name: &'static str| {
                let sum = "SELECT COALESCE(sum(n), 0)::bigint FROM leases, unnest(used) AS n WHERE name = $1";
                sqlx::query_scalar(sum).bind(name).fetch_one(self.database.pool.read())
            };
            (of("rate_limit.session").await.unwrap(), of("rate_limit.user").await.unwrap())
        }
    }

    #[tokio::test]
    async fn of_many_at_once_exactly_the_limit_is_granted() {
        let replicas = replicas(2, per_window(50)).await;
        let ask = |at: usize| replicas.makes(at % 2, replicas.session, replicas.user);
        let granted = futures_util::future::join_all((0..200).map(ask)).await;
        assert_eq!(granted.iter().flatten().count(), 50);
        assert_eq!(replicas.used().await.0, 50);
        let other = UserId::generate(&replicas.ambient);
        replicas.makes(0, replicas.session, other).await.expect("another user has a limit of its own");
    }

    #[tokio::test]
    async fn what_is_refused_says_when_to_come_back() {
        let replicas = replicas(2, per_window(2)).await;
        replicas.makes(0, replicas.session, replicas.user).await.unwrap();
        replicas.clock.advance(TimeDelta::seconds(7));
        replicas.makes(1, replicas.session, replicas.user).await.unwrap();
        for replica in [0, 1] {
            let refusal = replicas.reserve(replica).await.unwrap_err();
            assert_eq!((refusal.kind, refusal.code), (DenialKind::RateLimited, "rate_limit_exceeded"));
            // The first slot ends after 6 s, and counts for 60 s more.
            assert_eq!(refusal.retry_after, Some(Duration::from_secs(59)));
            assert_eq!(refusal.reason, "more than 2 requests of one session in 60 seconds; try again later");
        }
        replicas.clock.advance(TimeDelta::seconds(59));
        replicas.makes(1, replicas.session, replicas.user).await.unwrap();
    }

    #[tokio::test]
    async fn a_call_judged_again_counts_once_and_one_that_is_not_made_does_not() {
        let replicas = replicas(1, per_window(2)).await;
        let call = ActionId::generate(&replicas.ambient);
        let judge = async || replicas.limits[0].reserve(replicas.session, replicas.user, call).await;
        let held = judge().await.unwrap();
        for _ in 0..5 {
            assert!(judge().await.unwrap().iter().all(Reservation::is_repeated));
        }
        for _ in 0..5 {
            drop(replicas.reserve(0).await.expect("a later policy refuses, and it is given back"));
        }
        let other = replicas.reserve(0).await.unwrap();
        assert!(replicas.reserve(0).await.is_err());
        for reservation in held {
            reservation.settle(1);
        }
        assert!(judge().await.is_ok(), "it was granted before");
        drop(other);
        assert!(replicas.reserve(0).await.is_ok());
    }

    #[tokio::test]
    async fn the_sessions_of_one_user_share_a_limit() {
        let replicas = replicas(2, RateLimitConfig { requests_per_user_window: Some(25), ..per_window(10) }).await;
        let mut granted = [0; 8];
        for (at, granted) in granted.iter_mut().enumerate() {
            let session = SessionId::generate(&replicas.ambient);
            for _ in 0..12 {
                match replicas.makes(at % 2, session, replicas.user).await {
                    Ok(()) => *granted += 1,
                    Err(refused) => assert_eq!(refused.retry_after, Some(Duration::from_secs(66))),
                }
            }
        }
        assert_eq!((granted[0], granted[1], granted.iter().sum::<i32>()), (10, 10, 25), "{granted:?}");
        let refusal = replicas.reserve(0).await.unwrap_err();
        assert_eq!(refusal.reason, "more than 25 requests of one user in 60 seconds; try again later");
        let other = UserId::generate(&replicas.ambient);
        replicas.makes(0, replicas.session, other).await.expect("others go on");

        // What the refused ones held of their sessions is given back.
        for limit in &replicas.limits {
            limit.leases.close().await;
        }
        assert_eq!(replicas.used().await, (26, 26));
        replicas.clock.advance(TimeDelta::seconds(66));
        replicas.makes(0, replicas.session, replicas.user).await.expect("a window later");
    }

    #[tokio::test]
    async fn a_limit_of_zero_blocks_everything() {
        let replicas = replicas(1, per_window(0)).await;
        assert_eq!(replicas.reserve(0).await.unwrap_err().kind, DenialKind::RateLimited);
        assert_eq!(replicas.used().await, (0, 0));
    }

    #[tokio::test]
    async fn without_the_database_the_answer_is_no() {
        let replicas = replicas(1, per_window(100)).await;
        let pool = Database::connect(&replicas.database.connect_options()).await.unwrap();
        let leases = Leases::new(Arc::clone(&pool), replicas.ambient.clone());
        let limit = RateLimit::new(&RateLimitConfig::default(), leases);
        pool.close().await;
        let call = ActionId::generate(&replicas.ambient);
        let refused = limit.reserve(replicas.session, replicas.user, call).await.unwrap_err();
        assert_eq!(refused.kind, DenialKind::Unavailable);
    }
}
