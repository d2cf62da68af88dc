//! The lease engine on a real PostgreSQL: never more than the limit, whoever asks.

use chrono::{DateTime, TimeDelta};
use futures_util::future::join_all;
use systemprompt_model::{ManualClock, SeededEntropy};
use uuid::Uuid;

use super::*;
use crate::connect::Database;
use crate::testing::{self, TestDatabase};

/// Engines that share a database and a clock, which shows the start of a slot.
struct Replicas {
    database: TestDatabase,
    clock: Arc<ManualClock>,
    ambient: Ambient,
    engines: Vec<Leases>,
    key: LeaseKey,
}

async fn replicas(count: usize) -> Replicas {
    let database = testing::database(&[module()]).await;
    let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
    let ambient = Ambient { clock: clock.clone(), entropy: Arc::new(SeededEntropy::new(1)) };
    let engines = (0..count).map(|_| Leases::new(Arc::clone(&database.pool), ambient.clone())).collect();
    let key = LeaseKey::new("test", Uuid::from_bytes(ambient.bytes()));
    Replicas { database, clock, ambient, engines, key }
}

fn minute(amount: u64) -> Sliding {
    Sliding::new(amount, Unit::Requests, Duration::from_mins(1))
}

impl Replicas {
    async fn reserve(&self, replica: usize, limit: impl Into<Limit>, amount: u64) -> Result<Reservation, Exhausted> {
        let call = Uuid::from_bytes(self.ambient.bytes());
        self.claim(replica, &Claim::new(self.key.clone(), limit, amount).for_call(call)).await
    }

    async fn claim(&self, replica: usize, claim: &Claim) -> Result<Reservation, Exhausted> {
        match self.engines[replica].reserve(claim).await {
            Ok(reservation) => Ok(reservation),
            Err(ReserveError::Exhausted(exhausted)) => Err(exhausted),
            Err(ReserveError::Unavailable(error)) => panic!("{error:?}"),
        }
    }

    /// Takes one unit for good.
    async fn takes(&self, replica: usize, limit: impl Into<Limit>) -> bool {
        self.reserve(replica, limit, 1).await.map(|reservation| reservation.settle(1)).is_ok()
    }

    /// A round of what [`Leases::run`] does.
    async fn book(&self, replica: usize) {
        self.engines[replica].0.book(|account, limit, now| account.take_unspent(now, limit)).await.unwrap();
    }

    fn advance(&self, millis: i64) {
        self.clock.advance(TimeDelta::milliseconds(millis));
    }

    async fn used(&self) -> i64 {
        sqlx::query_scalar("SELECT COALESCE(sum(n), 0)::bigint FROM leases, unnest(used) AS n")
            .fetch_one(self.database.pool.read())
            .await
            .unwrap()
    }

    fn random(&self, below: u64) -> u64 {
        let mut bytes = [0; 8];
        self.ambient.entropy.fill(&mut bytes);
        u64::from_le_bytes(bytes) % below
    }
}

#[tokio::test]
async fn no_window_ever_holds_more_than_the_limit() {
    let replicas = replicas(3).await;
    let mut granted: Vec<i64> = Vec::new();
    let mut now = 0_i64;
    let mut asked = 0;
    while now < 400_000 {
        let [step, replica, burst] = replicas.ambient.bytes::<3>();
        let step = i64::from(step) * i64::from(step) / 8;
        replicas.advance(step);
        now += step;
        for at in 0..(burst % 12) {
            asked += 1;
            if replicas.takes(usize::from(replica.wrapping_add(at / 4)) % 3, minute(40)).await {
                granted.push(now);
            }
        }
        if burst % 16 == 0 {
            replicas.book(usize::from(replica) % 3).await;
        }
    }
    for (index, &at) in granted.iter().enumerate() {
        let within = granted[..=index].iter().filter(|&&earlier| earlier > at - 60_000).count();
        assert!(within <= 40, "{within} in the minute before {at}");
    }
    // 400 seconds are six windows of 66 seconds. What replicas lease and do not use may cost a part of it.
    assert!(asked > 400 && granted.len() >= 200, "{} of {asked} were granted", granted.len());
}

/// A clock that was wrong and is put right, or the other way round, refuses for a window at most.
#[tokio::test]
async fn a_clock_that_steps_back_refuses_for_no_longer_than_a_window() {
    for steps in [-3_600_000, -86_400_000, -1_000] {
        let replicas = replicas(2).await;
        let (bucket, other) = (Refilling::new(3, Unit::Requests, 1), LeaseKey::new("bucket", Uuid::nil()));
        let draws = async |replica: usize| replicas.claim(replica, &Claim::new(other.clone(), bucket, 1)).await;
        for _ in 0..3 {
            assert!(replicas.takes(0, minute(3)).await);
            draws(0).await.expect("the bucket is full").settle(1);
        }
        assert!(!replicas.takes(0, minute(3)).await && !replicas.takes(1, minute(3)).await);
        assert!(draws(0).await.is_err());
        replicas.advance(steps);
        for replica in [0, 1] {
            let refused = replicas.reserve(replica, minute(3), 1).await.expect_err("three were used");
            assert!(refused.retry_after <= Duration::from_secs(72), "{refused:?} after {steps} ms");
        }
        assert!(draws(0).await.is_err(), "it is empty, whatever the time");
        replicas.advance(4_000);
        draws(0).await.expect("the bucket has filled again").settle(1);
        replicas.advance(68_000);
        for replica in [0, 1, 0] {
            assert!(replicas.takes(replica, minute(3)).await, "a window later, {steps} ms");
        }
        assert!(!replicas.takes(1, minute(3)).await, "the limit holds, {steps} ms");
    }
}

/// What calls hold and what they have used is never above the limit, whatever they claim, use, give back, and when.
#[tokio::test]
async fn what_is_held_and_used_never_exceeds_the_limit() {
    const LIMIT: u64 = 5_000;
    let replicas = replicas(3).await;
    let limit = Sliding::new(LIMIT, Unit::Tokens, Duration::from_mins(1));
    let mut now = 0_i64;
    let mut open: Vec<(i64, u64, Reservation)> = Vec::new();
    // When it was claimed and how much; what is given back leaves it again.
    let mut counted: Vec<(i64, u64)> = Vec::new();
    let mut used_up = 0;
    let mut refused = 0;
    for _ in 0..2_000 {
        let step = replicas.random(400).cast_signed();
        replicas.advance(step);
        now += step;
        let replica = replicas.random(3) as usize;
        match replicas.random(10) {
            0..6 => {
                let amount = 1 + replicas.random(400);
                match replicas.reserve(replica, limit, amount).await {
                    Ok(reservation) => open.push((now, amount, reservation)),
                    Err(_) => refused += 1,
                }
            }
            6..9 if !open.is_empty() => {
                let at = replicas.random(open.len() as u64) as usize;
                let (claimed_at, amount, reservation) = open.swap_remove(at);
                let used = replicas.random(amount + 1);
                if used == 0 {
                    drop(reservation);
                } else {
                    reservation.settle(used);
                    counted.push((claimed_at, used));
                    used_up += used;
                }
            }
            _ => replicas.book(replica).await,
        }
        let held: u64 = open.iter().filter(|(at, ..)| *at > now - 60_000).map(|(_, amount, _)| amount).sum();
        let used: u64 = counted.iter().filter(|(at, _)| *at > now - 60_000).map(|(_, used)| used).sum();
        assert!(held + used <= LIMIT, "{held} held and {used} used at {now}");
    }
    // About 400 seconds: six windows. Most of each must be there to be used.
    assert!(refused > 100 && used_up > 4 * LIMIT, "{used_up} used, {refused} refused");

    open.clear();
    for replica in 0..3 {
        replicas.engines[replica].close().await;
    }
    let used: u64 = counted.iter().filter(|(at, _)| *at > now - 60_000).map(|(_, used)| used).sum();
    let stored = replicas.used().await;
    assert!(stored >= used.cast_signed(), "{stored} are stored, {used} count");
}

#[tokio::test]
async fn of_many_at_once_exactly_the_limit_is_granted() {
    let replicas = replicas(3).await;
    let granted = join_all((0..200).map(|at| replicas.takes(at % 3, minute(50)))).await;
    assert_eq!(granted.into_iter().filter(|granted| *granted).count(), 50);
    assert_eq!(replicas.used().await, 50);
    let other = replicas.key.clone().part(Uuid::from_u128(7));
    assert!(replicas.claim(0, &Claim::new(other, minute(50), 1)).await.is_ok(), "another key has its own");

    // With claims of many units too; what is left is less than the next claim.
    let key = LeaseKey { name: "tokens".into(), ..replicas.key.clone() };
    let tokens = Sliding::new(1000, Unit::Tokens, Duration::from_mins(1));
    let claim = Claim::new(key, tokens, 7);
    let granted = join_all((0..600).map(|at| replicas.claim(at % 3, &claim))).await;
    let granted: Vec<_> = granted.into_iter().flatten().collect();
    assert!((130..=142).contains(&granted.len()), "{} of 142", granted.len());
}

#[tokio::test]
async fn retry_after_is_when_the_next_claim_is_granted() {
    let replicas = replicas(2).await;
    assert!(replicas.takes(0, minute(2)).await);
    replicas.advance(7_000);
    assert!(replicas.takes(1, minute(2)).await);
    for replica in [0, 1] {
        let exhausted = replicas.reserve(replica, minute(2), 1).await.unwrap_err();
        // The first slot ends after 6 s, and counts for 60 s more; the second 6 s later.
        assert_eq!(exhausted.retry_after, Duration::from_secs(59));
        assert_eq!(exhausted.reset, Duration::from_secs(65));
    }
    replicas.advance(58_999);
    assert!(!replicas.takes(0, minute(2)).await && !replicas.takes(1, minute(2)).await);
    replicas.advance(1);
    assert!(replicas.takes(0, minute(2)).await);
    assert_eq!(replicas.reserve(1, minute(2), 1).await.unwrap_err().retry_after, Duration::from_secs(6));
}

#[tokio::test]
async fn a_call_claimed_again_counts_once() {
    let replicas = replicas(1).await;
    let claim = Claim::new(replicas.key.clone(), minute(2), 1).for_call(Uuid::from_u128(1));
    let first = replicas.claim(0, &claim).await.unwrap();
    for _ in 0..5 {
        assert!(replicas.claim(0, &claim).await.unwrap().is_repeated());
    }
    assert!(replicas.takes(0, minute(2)).await);
    assert!(!replicas.takes(0, minute(2)).await);
    assert!(replicas.claim(0, &claim).await.unwrap().is_repeated(), "it was granted before");
    drop(first);
    assert!(!replicas.claim(0, &claim).await.unwrap().is_repeated(), "it was given back");
}

#[tokio::test]
async fn what_was_leased_and_not_used_is_given_back() {
    let replicas = replicas(2).await;
    for _ in 0..20 {
        assert!(replicas.takes(0, minute(1000)).await);
    }
    assert!(replicas.used().await > 20, "a lease is larger than what was asked for");
    replicas.advance(6_000);
    replicas.book(0).await;
    assert_eq!(replicas.used().await, 20);

    // With the next lease of the same key, too, and at the end.
    for _ in 0..4 {
        assert!(replicas.takes(0, minute(1000)).await);
    }
    replicas.advance(6_000);
    assert!(replicas.takes(0, minute(1000)).await);
    replicas.engines[0].close().await;
    assert_eq!(replicas.used().await, 25);

    // In a long window not only when the slot ends.
    let month = Sliding::new(1000, Unit::Microdollars, Duration::from_hours(30 * 24));
    replicas.reserve(0, month, 3).await.unwrap().settle(3);
    replicas.reserve(0, month, 3).await.unwrap().settle(3);
    replicas.reserve(0, month, 3).await.unwrap().settle(3);
    replicas.advance(10_000);
    replicas.book(0).await;
    assert_eq!(replicas.used().await, 25 + 9);

    replicas.advance(300_000);
    queries::delete_expired(&replicas.database.pool, replicas.ambient.now()).await.unwrap();
    assert_eq!(replicas.used().await, 9, "rows that no longer count are deleted");
}

#[tokio::test]
async fn a_reservation_is_settled_whenever_it_is_known_what_was_used() {
    let replicas = replicas(2).await;
    let limit = Sliding::new(1000, Unit::Tokens, Duration::from_mins(1));
    let (early, late) = (replicas.reserve(0, limit, 500), replicas.reserve(0, limit, 500));
    let (early, late) = (early.await.unwrap(), late.await.unwrap());
    assert!(replicas.reserve(0, limit, 1).await.is_err());
    early.settle(100);
    replicas.reserve(0, limit, 400).await.expect("the surplus is there at once").settle(400);
    assert!(replicas.reserve(1, limit, 1).await.is_err());

    // A slot later it must not be handed out again as if it were new, but no longer counts.
    replicas.advance(7_000);
    late.settle(200);
    replicas.reserve(0, limit, 300).await.expect("the next lease says so").settle(450);
    replicas.book(0).await;
    assert_eq!(replicas.used().await, 1150, "an excess is booked, though it is over the limit");
    replicas.advance(1_000);
    assert!(replicas.reserve(1, limit, 1).await.is_err());
    replicas.advance(58_000);
    drop(replicas.reserve(1, limit, 550).await.expect("the first slot no longer counts"));
    replicas.advance(200_000);

    // An excess counts also when the row has been deleted meanwhile.
    let long = replicas.reserve(0, limit, 100).await.unwrap();
    replicas.advance(200_000);
    queries::delete_expired(&replicas.database.pool, replicas.ambient.now()).await.unwrap();
    assert_eq!(replicas.used().await, 0);
    long.settle(400);
    replicas.book(0).await;
    assert_eq!(replicas.used().await, 300);
}

#[tokio::test]
async fn a_dropped_reservation_was_never_there() {
    let replicas = replicas(2).await;
    for _ in 0..20 {
        drop(replicas.reserve(0, minute(1), 1).await.unwrap());
    }
    let held = replicas.reserve(0, minute(1), 1).await.unwrap();
    replicas.advance(6_000);
    drop(held);
    replicas.book(0).await;
    assert_eq!(replicas.used().await, 0);
    assert!(replicas.takes(1, minute(1)).await, "the other replica sees it, too");
    let more = replicas.reserve(0, minute(1), 2).await.unwrap_err();
    assert_eq!(more.retry_after, Duration::from_mins(1), "as much there never is");
    assert!(replicas.reserve(0, Sliding::new(0, Unit::Sessions, Duration::from_mins(1)), 1).await.is_err());
}

#[tokio::test]
async fn replicas_share_a_bucket() {
    let replicas = replicas(2).await;
    let limit = Refilling::new(300, Unit::Requests, 100);
    let taken = async || {
        let mut taken = 0;
        for request in 0..1000 {
            taken += usize::from(replicas.takes(request % 2, limit).await);
        }
        taken
    };
    assert_eq!(taken().await, 300);
    let exhausted = replicas.reserve(0, limit, 1).await.unwrap_err();
    assert_eq!((exhausted.retry_after, exhausted.reset), (Duration::from_millis(10), Duration::from_secs(3)));
    replicas.advance(1_000);
    let again = taken().await;
    assert!((80..=100).contains(&again), "a second's refill, less what leases hold back: {again}");
    replicas.advance(10_000);
    let granted = join_all((0..1000).map(|at| replicas.takes(at % 2, limit))).await;
    assert_eq!(granted.into_iter().filter(|granted| *granted).count(), 300, "also of many at once");
    replicas.advance(10_000);
    for _ in 0..10 {
        replicas.reserve(0, limit, 30).await.unwrap().settle(30);
    }
    assert_eq!(replicas.reserve(0, limit, 30).await.unwrap_err().retry_after, Duration::from_millis(300));
}

#[tokio::test]
async fn one_replica_counts_alone_without_waiting() {
    let (clock, limit) = (Arc::new(ManualClock::new(DateTime::UNIX_EPOCH)), Refilling::new(6, Unit::Requests, 2));
    let limits = LocalLimits::new([&limit], Ambient { clock: clock.clone(), ..Ambient::system() });
    let taken = |subject: u128| {
        let key = LeaseKey::new("http.guard", Uuid::from_u128(subject));
        (0..10).filter(|_| limits.take(&key, &limit).is_ok()).count()
    };
    assert_eq!((taken(1), taken(2), taken(1)), (6, 6, 0));
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(taken(1), 2);
}

#[tokio::test]
async fn without_postgresql_nobody_knows() {
    let replicas = replicas(1).await;
    let pool = Database::connect(&replicas.database.connect_options()).await.unwrap();
    let leases = Leases::new(Arc::clone(&pool), replicas.ambient.clone());
    let claim = Claim::new(replicas.key.clone(), minute(100), 1);
    let held = leases.reserve(&claim).await.unwrap();
    leases.reserve(&claim).await.unwrap().settle(1);
    pool.close().await;
    drop(leases.reserve(&claim).await.expect("the lease holds two"));
    held.settle(50);
    assert!(matches!(leases.reserve(&claim).await, Err(ReserveError::Unavailable(_))));
    leases.close().await;
    assert_eq!(leases.0.debts.all(limit::clock(&replicas.ambient)).entries.len(), 1, "what was used is not forgotten");
}
