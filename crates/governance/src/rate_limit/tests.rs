use chrono::{DateTime, TimeDelta};
use systemprompt_database::testing::{self, TestDatabase};
use systemprompt_database::{Database, Module, SchemaDefinition};
use systemprompt_model::{Ambient, ManualClock, SeededEntropy};

use super::*;

struct Replicas {
    database: TestDatabase,
    clock: Arc<ManualClock>,
    ambient: Ambient,
    limiters: Vec<Arc<RateLimiter>>,
    session: SessionId,
    user: UserId,
}

/// Limiters that share a database and a clock, which shows the start of a slot.
async fn replicas(count: usize, requests_per_window: u32, window_secs: u32) -> Replicas {
    let module = Module {
        id: "rate_limit".to_owned(),
        schemas: vec![SchemaDefinition::inline("governance_rate_windows", include_str!("../../schema/rate_limit.sql"))],
        ..Module::default()
    };
    let database = testing::database(&[module]).await;
    let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
    let ambient = Ambient { clock: clock.clone(), entropy: Arc::new(SeededEntropy::new(1)) };
    let config = RateLimitConfig { requests_per_window, window_secs, ..RateLimitConfig::default() };
    let limiter = || Arc::new(RateLimiter::new(&config, Arc::clone(&database.pool), ambient.clone()));
    let limiters = std::iter::repeat_with(limiter).take(count).collect();
    let (session, user) = (SessionId::generate(&ambient), UserId::generate(&ambient));
    Replicas { database, clock, ambient, limiters, session, user }
}

impl Replicas {
    async fn ask(&self, replica: usize) -> Verdict {
        self.limiters[replica].evaluate(self.session, self.user, RequestId::generate(&self.ambient)).await
    }

    async fn admits(&self, replica: usize) -> bool {
        self.ask(replica).await == Verdict::Pass
    }

    fn advance(&self, millis: i64) {
        self.clock.advance(TimeDelta::milliseconds(millis));
    }

    async fn used(&self) -> i64 {
        self.used_by_sessions_and_users().await.0
    }

    async fn used_by_sessions_and_users(&self) -> (i64, i64) {
        let used = sqlx::query!(
            r#"
            SELECT
                COALESCE(sum(n) FILTER (WHERE session_id <> $1), 0)::bigint AS "sessions!",
                COALESCE(sum(n) FILTER (WHERE session_id = $1), 0)::bigint AS "users!"
            FROM governance_rate_windows, unnest(used) AS n
            "#,
            Uuid::nil(),
        )
        .fetch_one(self.database.pool.write())
        .await
        .unwrap();
        (used.sessions, used.users)
    }
}

fn violation(verdict: Verdict) -> Violation {
    let Verdict::Fail(violation) = verdict else { panic!("{verdict:?}") };
    violation
}

#[tokio::test]
async fn no_window_ever_holds_more_than_the_limit() {
    const LIMIT: usize = 40;
    let replicas = replicas(3, 40, 60).await;
    let mut admitted: Vec<i64> = Vec::new();
    let mut now = 0_i64;
    let mut asked = 0;
    while now < 400_000 {
        let [step, replica, burst] = replicas.ambient.bytes::<3>();
        let step = i64::from(step) * i64::from(step) / 8;
        replicas.advance(step);
        now += step;
        for at in 0..(burst % 12) {
            asked += 1;
            if replicas.admits(usize::from(replica.wrapping_add(at / 4)) % 3).await {
                admitted.push(now);
            }
        }
        if burst % 16 == 0 {
            replicas.limiters[usize::from(replica) % 3].sweep().await.unwrap();
        }
    }
    for (index, &at) in admitted.iter().enumerate() {
        let within = admitted[..=index].iter().filter(|&&earlier| earlier > at - 60_000).count();
        assert!(within <= LIMIT, "{within} requests in the minute before {at}");
    }
    // 400 seconds are six windows of 66 seconds. What replicas lease and do not use may cost a part of it.
    assert!(asked > 400 && admitted.len() >= LIMIT * 5, "{} of {asked} were admitted", admitted.len());
}

#[tokio::test]
async fn of_many_at_once_exactly_the_limit_is_admitted() {
    let replicas = replicas(2, 50, 60).await;
    let ask = |at: usize| {
        let limiter = Arc::clone(&replicas.limiters[at % 2]);
        let (session, user, call) = (replicas.session, replicas.user, RequestId::generate(&replicas.ambient));
        async move { limiter.evaluate(session, user, call).await }
    };
    let verdicts = futures_util::future::join_all((0..200).map(ask)).await;
    assert_eq!(verdicts.iter().filter(|&verdict| *verdict == Verdict::Pass).count(), 50);
    assert_eq!(replicas.used().await, 50);
    let other = UserId::generate(&replicas.ambient);
    let call = RequestId::generate(&replicas.ambient);
    let verdict = replicas.limiters[0].evaluate(replicas.session, other, call).await;
    assert_eq!(verdict, Verdict::Pass, "another user has a limit of its own");
}

#[tokio::test]
async fn retry_after_is_when_the_next_request_is_admitted() {
    let replicas = replicas(2, 2, 60).await;
    assert!(replicas.admits(0).await);
    replicas.advance(7_000);
    assert!(replicas.admits(1).await);
    for replica in [0, 1] {
        let refusal = violation(replicas.ask(replica).await);
        assert_eq!((refusal.kind, refusal.code), (DenialKind::RateLimited, "rate_limit_exceeded"));
        // The first slot ends after 6 s, and counts for 60 s more.
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(59)));
    }
    replicas.advance(58_999);
    assert!(!replicas.admits(0).await && !replicas.admits(1).await);
    replicas.advance(1);
    assert!(replicas.admits(0).await);
    assert_eq!(violation(replicas.ask(1).await).retry_after, Some(Duration::from_secs(6)));
}

#[tokio::test]
async fn a_call_judged_again_counts_once() {
    let replicas = replicas(1, 2, 60).await;
    let call = RequestId::generate(&replicas.ambient);
    for _ in 0..5 {
        let verdict = replicas.limiters[0].evaluate(replicas.session, replicas.user, call).await;
        assert_eq!(verdict, Verdict::Pass);
    }
    assert!(replicas.admits(0).await);
    assert!(!replicas.admits(0).await);
    let verdict = replicas.limiters[0].evaluate(replicas.session, replicas.user, call).await;
    assert_eq!(verdict, Verdict::Pass, "it was admitted before");
}

#[tokio::test]
async fn what_was_leased_and_not_used_is_given_back() {
    let replicas = replicas(2, 1000, 60).await;
    for _ in 0..20 {
        assert!(replicas.admits(0).await);
    }
    assert!(replicas.used().await > 20, "a lease is larger than what was asked for");
    replicas.advance(6_000);
    replicas.limiters[0].sweep().await.unwrap();
    assert_eq!(replicas.used().await, 20);

    // With the next lease of the same session, too, and at shutdown.
    for _ in 0..4 {
        assert!(replicas.admits(0).await);
    }
    replicas.advance(6_000);
    assert!(replicas.admits(0).await);
    let stopped = CancellationToken::new();
    stopped.cancel();
    replicas.limiters[0].run(stopped).await;
    assert_eq!(replicas.used().await, 25);

    replicas.advance(300_000);
    replicas.limiters[1].sweep().await.unwrap();
    assert_eq!(replicas.used().await, 0, "rows that no longer count are deleted");
}

#[tokio::test]
async fn the_sessions_of_one_user_share_a_limit() {
    let mut replicas = replicas(2, 10, 60).await;
    let config = RateLimitConfig { requests_per_window: 10, requests_per_user_window: Some(25), ..Default::default() };
    for limiter in &mut replicas.limiters {
        *limiter = Arc::new(RateLimiter::new(&config, Arc::clone(&replicas.database.pool), replicas.ambient.clone()));
    }
    let mut admitted = [0; 8];
    for (at, admitted) in admitted.iter_mut().enumerate() {
        let session = SessionId::generate(&replicas.ambient);
        for _ in 0..12 {
            let call = RequestId::generate(&replicas.ambient);
            match replicas.limiters[at % 2].evaluate(session, replicas.user, call).await {
                Verdict::Pass => *admitted += 1,
                refused => assert_eq!(violation(refused).retry_after, Some(Duration::from_secs(66))),
            }
        }
    }
    assert_eq!((admitted[0], admitted[1], admitted.iter().sum::<i32>()), (10, 10, 25), "{admitted:?}");
    let refusal = violation(replicas.ask(0).await);
    assert_eq!(refusal.reason, "more than 25 requests of one user in 60 seconds; try again later");
    let other = UserId::generate(&replicas.ambient);
    let call = RequestId::generate(&replicas.ambient);
    assert_eq!(replicas.limiters[0].evaluate(replicas.session, other, call).await, Verdict::Pass, "others go on");

    // What the refused ones held of their sessions is given back.
    replicas.advance(6_000);
    for limiter in &replicas.limiters {
        limiter.sweep().await.unwrap();
    }
    assert_eq!(replicas.used_by_sessions_and_users().await, (26, 26));
    replicas.advance(60_000);
    assert!(replicas.admits(0).await, "a window later");
}

#[tokio::test]
async fn a_limit_of_zero_blocks_everything() {
    let replicas = replicas(1, 0, 60).await;
    assert_eq!(violation(replicas.ask(0).await).kind, DenialKind::RateLimited);
    assert_eq!(replicas.used().await, 0);
}

#[tokio::test]
async fn without_the_database_the_answer_is_no() {
    let replicas = replicas(1, 100, 60).await;
    let pool = Database::connect(&replicas.database.connect_options()).await.unwrap();
    let config = RateLimitConfig { requests_per_window: 100, ..RateLimitConfig::default() };
    let limiter = RateLimiter::new(&config, Arc::clone(&pool), replicas.ambient.clone());
    pool.close().await;
    let verdict = limiter.evaluate(replicas.session, replicas.user, RequestId::generate(&replicas.ambient)).await;
    assert_eq!(violation(verdict).kind, DenialKind::Unavailable);
}
