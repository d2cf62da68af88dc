//! The ledger on a real PostgreSQL.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use systemprompt_database::testing::{self, TestCluster, TestDatabase};
use systemprompt_database::{Database, DbPool, InstallOptions, Module, install};
use systemprompt_extension::Metrics;
use systemprompt_model::{
    Ambient, Clock as _, DecisionId, InstanceId, ManualClock, Microdollars, RequestId, SessionId, TraceId, UserId,
};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::queries::{self, DecisionFilter, LookupError, RequestFilter};
use super::record::{Decision, canonical_json, micros, sha256};
use super::*;
use crate::config::GovernanceConfig;
use crate::permit::{Outcome, OutcomeStatus, Permit, ToolCallRecord};
use crate::secret_scan::SecretScanner;

/// Compiling its expressions takes long; every test uses this one.
static SCANNER: LazyLock<Arc<SecretScanner>> =
    LazyLock::new(|| Arc::new(SecretScanner::of(&GovernanceConfig::default()).expect("the defaults are valid")));

fn module() -> Module {
    Module { id: "governance".to_owned(), schemas: vec![schema()], seeds: vec![seed()], ..Module::default() }
}

/// A ledger and what it runs on.
struct Fixture {
    ledger: Arc<Ledger>,
    metrics: Metrics,
    ambient: Ambient,
}

struct Setup {
    name: &'static str,
    durability: Durability,
    retention: Retention,
    ambient: Ambient,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            name: "here",
            durability: Durability::Durable,
            retention: RetentionProfile::default().resolve(false),
            ambient: Ambient::system(),
        }
    }
}

impl Setup {
    async fn start(self, database: &DbPool) -> Fixture {
        let metrics = Metrics::new();
        let options = LedgerOptions {
            instance_id: InstanceId::generate(&self.ambient),
            instance_name: self.name.to_owned(),
            settings: LedgerSettings { durability: self.durability, ..LedgerSettings::default() },
            retention: self.retention,
        };
        let ledger = Ledger::start(database, options, &self.ambient, &TaskTracker::new(), &metrics)
            .await
            .expect("the ledger starts");
        Fixture { ledger, metrics, ambient: self.ambient }
    }
}

async fn ledger(database: &TestDatabase) -> Fixture {
    Setup::default().start(&database.pool).await
}

impl Fixture {
    fn record(&self, content: &[u8]) -> Admission {
        let now = self.ambient.now();
        let user = UserId::generate(&self.ambient).as_uuid();
        Admission {
            id: RequestId::generate(&self.ambient).as_uuid(),
            instance_id: self.ledger.instance_id(),
            user_id: user,
            session_id: SessionId::generate(&self.ambient).as_uuid(),
            trace_id: TraceId::generate(&self.ambient).as_uuid(),
            context_id: None,
            task_id: None,
            mcp_execution_id: None,
            conversation_id: Some("a conversation".to_owned()),
            actor_kind: "user".into(),
            actor_id: user.to_string(),
            client: Some("curl/8".to_owned()),
            client_trace_id: None,
            dialect: "anthropic-messages".to_owned(),
            provider: Some("demo".to_owned()),
            upstream_model: Some("demo-1".to_owned()),
            requested_model: Some("demo".to_owned()),
            route_match: Some("*".to_owned()),
            system_prompt_override: None,
            temperature: Some(0.7),
            top_p: Some(1e-7),
            max_tokens: Some(1024),
            stop_sequences: Some(canonical_json(&json!(["\u{0}stop", "é"]))),
            tools_offered: 2,
            is_streaming: true,
            synthetic: false,
            content_bytes: content.len() as i64,
            prepared_sha256: sha256(content),
            created_at: micros(now),
            decision: Decision {
                id: DecisionId::generate(&self.ambient).as_uuid(),
                entity_type: "gateway_route".into(),
                entity_id: "default".to_owned(),
                tool_name: Some("user_prompt".into()),
                agent_id: None,
                agent_scope: None,
                plugin_id: None,
                verdict: "allow".into(),
                policy: "default_allow".to_owned(),
                reason: None,
                evaluated_rules: canonical_json(&json!([
                    {"policy_id": "secret_scan", "result": "pass", "duration_ms": 0.012},
                    {"policy_id": "rate_limit", "result": "pass", "duration_ms": 1e-9},
                ])),
                policy_version: "0123456789abcdef".to_owned(),
                act_chain: None,
                created_at: micros(now),
            },
        }
    }

    fn refusal(&self) -> Admission {
        let mut record = self.record(b"sk-live-secret");
        record.decision.verdict = "deny".into();
        record.decision.policy = "secret_scan".to_owned();
        record.decision.reason = Some("a credential at $.messages[0]".to_owned());
        record
    }

    async fn admit(&self, content: &str) -> Result<Permit, Unavailable> {
        self.admit_flagged(content, Vec::new()).await
    }

    async fn admit_flagged(&self, content: &str, flagged: Vec<std::ops::Range<usize>>) -> Result<Permit, Unavailable> {
        let record = self.record(content.as_bytes());
        let (id, model) = (RequestId::from_uuid(record.id), record.upstream_model.clone());
        let request = self.ledger.admit(record).await?;
        let scanner = Arc::clone(&SCANNER);
        Ok(Permit::new(request, id, Bytes::copy_from_slice(content.as_bytes()), model, flagged, scanner))
    }

    async fn drained(self) {
        assert!(self.ledger.drain(Duration::from_secs(20)).await, "everything is written in time");
    }
}

fn completed(answer: &str) -> Outcome {
    Outcome {
        input_tokens: 10,
        output_tokens: 5,
        cost: Microdollars(42),
        first_byte: Some(Duration::from_millis(3)),
        http_status: Some(200),
        response: Some(Payload::complete(answer.as_bytes().to_vec())),
        stop_reason: Some("end_turn".to_owned()),
        tool_calls: vec![ToolCallRecord { id: "t1".into(), name: "search".into(), input: r#"{"q":1}"#.into() }],
        ..Outcome::new(OutcomeStatus::Completed, Duration::from_millis(7))
    }
}

async fn statuses(pool: &PgPool) -> Vec<(String, i64)> {
    sqlx::query!(r#"SELECT status, COUNT(*) AS "count!" FROM ai_requests GROUP BY 1 ORDER BY 1"#)
        .map(|row| (row.status, row.count))
        .fetch_all(pool)
        .await
        .unwrap()
}

async fn one_status(pool: &PgPool, id: RequestId) -> String {
    sqlx::query_scalar!("SELECT status FROM ai_requests WHERE id = $1", id.as_uuid()).fetch_one(pool).await.unwrap()
}

async fn assert_sound(pool: &PgPool) -> VerifyReport {
    let report = verify(pool, None, None).await.unwrap();
    assert_eq!(report.divergence, None);
    report
}

#[tokio::test]
async fn what_is_admitted_is_on_disk_and_concurrent_requests_share_commits() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let pool = database.pool.write();

    let permit = fixture.admit("hello").await.unwrap();
    assert_eq!(one_status(pool, permit.request_id()).await, "pending");

    let permits = join_all((0..200).map(|_| fixture.admit("hello"))).await;
    for permit in permits {
        permit.unwrap().finish(completed("hi"));
    }
    permit.finish(completed("hi"));
    fixture.drained().await;

    assert_eq!(statuses(pool).await, [("completed".to_owned(), 201)]);
    let commits = sqlx::query_scalar!(r#"SELECT COUNT(DISTINCT xmin::text) AS "n!" FROM audit_chain"#);
    let commits = commits.fetch_one(pool).await.unwrap();
    assert!(commits < 20, "402 records in {commits} commits");
    let report = assert_sound(pool).await;
    assert_eq!((report.from_seq, report.to_seq, report.verified), (1, 402, 402));
}

#[tokio::test]
async fn most_outcomes_touch_no_index() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    for _ in 0..20 {
        for permit in join_all((0..20).map(|_| fixture.admit("hello"))).await {
            permit.unwrap().finish(completed("hi"));
        }
    }
    let pool = database.pool.write().clone();
    fixture.drained().await;
    // The writer's session reports its counts when it ends, which it has.
    let counts = sqlx::query!(
        r#"SELECT n_tup_upd AS "updates!", n_tup_hot_upd AS "hot!" FROM pg_stat_user_tables WHERE relname = 'ai_requests'"#
    );
    let counts = counts.fetch_one(&pool).await.unwrap();
    assert_eq!(counts.updates, 400);
    assert!(counts.hot >= 340, "{} of {} updates", counts.hot, counts.updates);
}

#[tokio::test]
async fn two_servers_write_one_chain() {
    let database = testing::database(&[module()]).await;
    let a = Setup { name: "a", ..Setup::default() }.start(&database.pool).await;
    let b = Setup { name: "b", ..Setup::default() }.start(&database.pool).await;
    let work = |fixture: &Fixture| {
        let fixture = Fixture { ledger: fixture.ledger.clone(), metrics: Metrics::new(), ambient: Ambient::system() };
        async move {
            for _ in 0..20 {
                for permit in join_all((0..5).map(|_| fixture.admit("hello"))).await {
                    permit.expect("a conflict is no refusal").finish(completed("hi"));
                }
            }
        }
    };
    tokio::join!(work(&a), work(&b));
    a.drained().await;
    b.drained().await;
    assert_eq!(statuses(database.pool.write()).await, [("completed".to_owned(), 200)]);
    assert_eq!(assert_sound(database.pool.write()).await.verified, 400);
}

#[tokio::test]
async fn a_refusal_is_recorded_without_its_content() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let record = fixture.refusal();
    let id = RequestId::from_uuid(record.id);
    fixture.ledger.refuse(record).await.unwrap();
    let shown = queries::show_request(database.pool.read(), id).await.unwrap().unwrap();
    assert_eq!(shown.summary.status, "rejected");
    assert_eq!(shown.summary.error_message.as_deref(), Some("a credential at $.messages[0]"));
    assert_eq!((shown.decision.decision.as_str(), shown.decision.policy.as_str()), ("deny", "secret_scan"));
    assert!(shown.messages.is_empty() && shown.excerpts.is_empty());
    assert_eq!(shown.prepared_sha256, super::record::hex(&sha256(b"sk-live-secret")));
    fixture.drained().await;
    assert_eq!(assert_sound(database.pool.write()).await.verified, 1);
}

#[tokio::test]
async fn a_dropped_permit_is_a_failed_request() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let id = fixture.admit("hello").await.unwrap().request_id();
    let pool = database.pool.write().clone();
    fixture.drained().await;
    let shown = queries::show_request(&pool, id).await.unwrap().unwrap();
    assert_eq!(shown.summary.status, "failed");
    assert_eq!(shown.summary.error_message.as_deref(), Some("dropped without an outcome"));
    assert_sound(&pool).await;
}

#[tokio::test]
async fn callers_that_go_away_leave_nothing_open() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    for patience in 0..40 {
        let admission = fixture.admit("hello");
        // Some go before the record is queued, some while it is written, some when it is.
        let _ = tokio::time::timeout(Duration::from_micros(patience * 50), admission).await;
    }
    let pool = database.pool.write().clone();
    fixture.drained().await;
    assert!(statuses(&pool).await.iter().all(|(status, _)| status == "failed"), "{:?}", statuses(&pool).await);
    assert_sound(&pool).await;
}

#[tokio::test]
async fn the_asynchronous_mode_writes_beginning_and_end_together() {
    let database = testing::database(&[module()]).await;
    let setup = Setup { durability: Durability::Asynchronous, ..Setup::default() };
    let fixture = setup.start(&database.pool).await;
    let mut long = Vec::new();
    for index in 0..1500 {
        let permit = fixture.admit("hello").await.unwrap();
        if index % 3 == 0 {
            long.push(permit);
        } else {
            permit.finish(completed("hi"));
        }
    }
    for permit in long {
        permit.finish(completed("late"));
    }
    let pool = database.pool.write().clone();
    fixture.drained().await;
    assert_eq!(statuses(&pool).await, [("completed".to_owned(), 1500)]);
    assert_eq!(assert_sound(&pool).await.verified, 3000);
    let payloads = sqlx::query_scalar!(r#"SELECT COUNT(*) AS "n!" FROM ai_request_payloads"#);
    assert_eq!(payloads.fetch_one(&pool).await.unwrap(), 1500);
}

#[tokio::test]
async fn one_unacceptable_record_does_not_hold_up_the_others() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let first = fixture.record(b"x");
    let twice = Admission { id: first.id, ..fixture.record(b"x") };
    drop(fixture.ledger.admit(first).await.unwrap());
    let (refused, others) =
        tokio::join!(fixture.ledger.admit(twice), join_all((0..20).map(|_| fixture.admit("hello"))));
    assert_eq!(refused.err(), Some(Unavailable));
    assert!(others.iter().all(Result::is_ok));
    assert!(fixture.metrics.encode().contains("ledger_dropped_writes_total{kind=\"admission\"} 1"));
    drop(others);
    let pool = database.pool.write().clone();
    fixture.drained().await;
    assert_eq!(statuses(&pool).await, [("failed".to_owned(), 21)]);
    assert_sound(&pool).await;
}

#[tokio::test]
async fn lost_connections_neither_lose_nor_repeat_records() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let pool = database.pool.write();
    let mut answered = Vec::new();
    for _ in 0..30 {
        let kill = sqlx::query!(
            r#"SELECT pg_terminate_backend(pid) AS "done!" FROM pg_stat_activity
               WHERE datname = current_database() AND application_name LIKE '%:ledger'"#
        );
        let (killed, permits) = tokio::join!(kill.fetch_all(pool), join_all((0..10).map(|_| fixture.admit("hello"))));
        killed.unwrap();
        for permit in permits.into_iter().flatten() {
            answered.push(permit.request_id());
            permit.finish(completed("hi"));
        }
        fixture.ledger.shared.queue.available.subscribe().wait_for(|available| *available).await.unwrap();
    }
    fixture.drained().await;
    assert!(answered.len() > 200, "{} of 300 were admitted", answered.len());
    for id in answered {
        assert_eq!(one_status(pool, id).await, "completed");
    }
    assert!(statuses(pool).await.iter().all(|(status, _)| status != "pending"));
    assert_sound(pool).await;
}

#[tokio::test]
async fn without_postgresql_nothing_is_admitted_and_no_outcome_is_lost() {
    let cluster = TestCluster::start().await;
    let pool = Database::connect(&cluster.connect_options()).await.unwrap();
    install(&pool, &[module()], &InstallOptions::default()).await.unwrap();
    let fixture = Setup::default().start(&pool).await;
    let permits: Vec<_> = join_all((0..5).map(|_| fixture.admit("hello"))).await;
    let ids: Vec<_> = permits.iter().flatten().map(Permit::request_id).collect();

    cluster.stop();
    let started = Instant::now();
    let refused = join_all((0..50).map(|_| fixture.admit("hello"))).await;
    assert!(refused.iter().all(Result::is_err));
    assert!(started.elapsed() < ADMISSION_WAIT + Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(!fixture.ledger.is_available());
    let started = Instant::now();
    assert!(fixture.admit("hello").await.is_err());
    assert!(started.elapsed() < Duration::from_millis(100), "known to be away, it refuses at once");
    for permit in permits.into_iter().flatten() {
        permit.finish(completed("hi"));
    }

    cluster.restart();
    fixture.ledger.shared.queue.available.subscribe().wait_for(|available| *available).await.unwrap();
    fixture.admit("hello again").await.unwrap().finish(completed("hi"));
    fixture.drained().await;
    for id in ids {
        assert_eq!(one_status(pool.write(), id).await, "completed");
    }
    assert_eq!(statuses(pool.write()).await, [("completed".to_owned(), 6)]);
    assert_eq!(assert_sound(pool.write()).await.verified, 12);
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_waited_for_two_seconds() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let pool = database.pool.write();
    let early = fixture.admit("before").await.unwrap();

    let mut blocker = pool.begin().await.unwrap();
    sqlx::query!("SELECT seq FROM audit_chain_head FOR UPDATE").fetch_one(&mut *blocker).await.unwrap();
    let started = Instant::now();
    let refused = join_all((0..20).map(|_| fixture.admit("during"))).await;
    assert!(refused.iter().all(Result::is_err));
    assert!(started.elapsed() < ADMISSION_WAIT + Duration::from_millis(500), "{:?}", started.elapsed());
    early.finish(completed("hi"));
    let mut available = fixture.ledger.shared.queue.available.subscribe();
    available.wait_for(|available| !*available).await.unwrap();
    let started = Instant::now();
    assert!(fixture.admit("while it is known").await.is_err());
    assert!(started.elapsed() < Duration::from_millis(100));
    blocker.rollback().await.unwrap();

    available.wait_for(|available| *available).await.unwrap();
    fixture.admit("after").await.unwrap().finish(completed("hi"));
    fixture.drained().await;
    // Whoever was let go while the statement ran has done nothing, and its record says so.
    for (status, count) in statuses(pool).await {
        assert!((status == "completed" && count == 2) || (status == "failed" && count <= 20), "{count} {status}");
    }
    assert_sound(pool).await;
}

/// Ends the writer as `kill -9` would: without signing off.
async fn kill(fixture: &Fixture) {
    fixture.ledger.abort.cancel();
    fixture.ledger.ended.cancelled().await;
}

#[tokio::test]
async fn a_restart_closes_what_the_killed_server_left_open() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let killed = ledger(&database).await;
    let open: Vec<_> = join_all((0..600).map(|_| killed.admit("hello"))).await.into_iter().flatten().collect();
    killed.admit("finished").await.unwrap().finish(completed("hi"));
    let batch_written = killed.admit("the outcome travels with this").await.unwrap();
    kill(&killed).await;

    let elsewhere = Setup { name: "elsewhere", ..Setup::default() }.start(&database.pool).await;
    let theirs = elsewhere.admit("a living neighbour's").await.unwrap();
    assert_eq!(elsewhere.ledger.recover().await.unwrap(), 0, "another installation's run may be alive");

    let restarted = ledger(&database).await;
    assert_eq!(restarted.ledger.recover().await.unwrap(), open.len() as u64 + 1);
    assert_eq!(restarted.ledger.recover().await.unwrap(), 0);
    assert_eq!(one_status(pool, open[0].request_id()).await, "abandoned");
    assert_eq!(one_status(pool, batch_written.request_id()).await, "abandoned");
    theirs.finish(completed("hi"));
    elsewhere.drained().await;
    restarted.drained().await;
    assert_eq!(statuses(pool).await, [("abandoned".to_owned(), 601), ("completed".to_owned(), 2)]);
    assert_sound(pool).await;
}

#[tokio::test]
async fn a_server_that_was_not_heard_of_is_dead_until_it_speaks() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let start = DateTime::from_timestamp_micros(1_900_000_000_000_000).unwrap();
    let clock = |at: DateTime<Utc>| Ambient { clock: Arc::new(ManualClock::new(at)), ..Ambient::system() };
    let slow = Setup { name: "slow", ambient: clock(start), ..Setup::default() }.start(&database.pool).await;
    let permit = slow.admit("hello").await.unwrap();
    let id = permit.request_id();

    for (later, closed) in [(80, 0), (100, 1), (120, 0)] {
        let ambient = clock(start + TimeDelta::seconds(later));
        let other = Setup { name: "other", ambient, ..Setup::default() }.start(&database.pool).await;
        assert_eq!(other.ledger.recover().await.unwrap(), closed, "after {later} s");
        other.drained().await;
    }
    assert_eq!(one_status(pool, id).await, "abandoned");
    assert_sound(pool).await;

    permit.finish(completed("it was only slow"));
    slow.drained().await;
    assert_eq!(one_status(pool, id).await, "completed");
    assert_eq!(assert_sound(pool).await.verified, 3);
}

#[tokio::test]
async fn finished_records_cannot_be_changed() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let fixture = ledger(&database).await;
    fixture.admit("hello").await.unwrap().finish(completed("hi"));
    fixture.ledger.refuse(fixture.refusal()).await.unwrap();
    fixture.drained().await;
    for statement in [
        "UPDATE ai_requests SET status = 'failed'",
        "UPDATE ai_requests SET cost_microdollars = 0",
        "DELETE FROM ai_requests",
        "TRUNCATE ai_requests",
        "UPDATE governance_decisions SET decision = 'allow'",
        "DELETE FROM governance_decisions",
        "TRUNCATE governance_decisions",
        "UPDATE audit_chain SET kind = 'outcome'",
        "DELETE FROM audit_chain",
        "TRUNCATE audit_chain",
    ] {
        let error = sqlx::raw_sql(statement).execute(pool).await.expect_err(statement);
        let code =
            error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned);
        assert_eq!(code.as_deref(), Some("23001"), "{statement}: {error}");
    }
    // Retention says what it does, for its own transaction.
    sqlx::raw_sql(
        "BEGIN; SET LOCAL systemprompt.ledger_retention = 'on'; DELETE FROM ai_requests; DELETE FROM audit_chain; COMMIT",
    )
    .execute(pool)
    .await
    .unwrap();
    assert!(statuses(pool).await.is_empty());
}

#[tokio::test]
async fn verification_names_what_was_changed() {
    for (change, seq, problem) in [
        ("UPDATE ai_requests SET requested_model = 'gpt-5'", 1, "the request or its decision was changed"),
        ("UPDATE ai_requests SET task_id = id", 1, "the request or its decision is missing"),
        (
            "UPDATE governance_decisions SET policy = 'x' WHERE decision = 'deny'",
            2,
            "the request or its decision was changed",
        ),
        ("UPDATE governance_decisions SET evaluated_rules = '[]'", 1, "the request or its decision was changed"),
        ("UPDATE ai_requests SET cost_microdollars = 1 WHERE status = 'completed'", 3, "the outcome was changed"),
        (
            "UPDATE ai_requests SET cost_microdollars = 1 WHERE status = 'rejected'",
            2,
            "the refused request was changed",
        ),
        (
            "UPDATE ai_requests SET status = 'pending', completed_at = NULL",
            2,
            "the request is `pending`, its decision is `deny`",
        ),
        ("DELETE FROM ai_requests WHERE status = 'completed'", 1, "the request or its decision is missing"),
        ("UPDATE audit_chain SET entry_sha256 = sha256('x') WHERE seq = 2", 2, "its chain hash does not fit it"),
        ("UPDATE audit_chain SET prev_hash = sha256('x') WHERE seq = 2", 2, "it does not follow the entry before it"),
        ("DELETE FROM audit_chain WHERE seq = 2", 2, "entry 2 is missing; the next one is 3"),
        ("DELETE FROM audit_chain WHERE seq = 3", 3, "entry 3 is missing"),
        ("UPDATE audit_chain_head SET chain_hash = sha256('x')", 3, "the recorded end of the chain is another one"),
    ] {
        let database = testing::database(&[module()]).await;
        let pool = database.pool.write();
        let fixture = ledger(&database).await;
        let permit = fixture.admit("hello").await.unwrap();
        fixture.ledger.refuse(fixture.refusal()).await.unwrap();
        permit.finish(completed("hi"));
        fixture.drained().await;
        assert_eq!(assert_sound(pool).await.verified, 3);

        let mut connection = pool.acquire().await.unwrap();
        sqlx::raw_sql("SET session_replication_role = 'replica'").execute(&mut *connection).await.unwrap();
        sqlx::raw_sql(change).execute(&mut *connection).await.unwrap();
        let divergence = verify(pool, None, None).await.unwrap().divergence.expect(change);
        assert_eq!((divergence.seq, divergence.problem.as_str()), (Some(seq), problem), "{change}");
    }
}

#[tokio::test]
async fn verification_names_a_changed_abandoned_request() {
    for (change, seq, problem) in [
        ("UPDATE ai_requests SET error_message = 'x'", Some(2), "the abandoned request was changed"),
        ("UPDATE ai_requests SET cost_microdollars = 1", Some(2), "the abandoned request was changed"),
        ("UPDATE ai_requests SET status = 'pending', completed_at = NULL", Some(2), "the request was opened again"),
        (
            "UPDATE ai_requests SET status = 'completed'",
            None,
            "the request was given an outcome that is not in the chain",
        ),
    ] {
        let database = testing::database(&[module()]).await;
        let pool = database.pool.write();
        let killed = ledger(&database).await;
        let permit = killed.admit("hello").await.unwrap();
        kill(&killed).await;
        drop(permit);
        let restarted = ledger(&database).await;
        assert_eq!(restarted.ledger.recover().await.unwrap(), 1);
        restarted.drained().await;
        assert_eq!(assert_sound(pool).await.verified, 2);
        sqlx::raw_sql(change).execute(pool).await.unwrap();
        let divergence = verify(pool, None, None).await.unwrap().divergence.expect(change);
        assert_eq!((divergence.seq, divergence.problem.as_str()), (seq, problem), "{change}");
    }
}

#[tokio::test]
async fn an_outcome_that_bypassed_the_ledger_is_noticed() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let fixture = ledger(&database).await;
    let permit = fixture.admit("hello").await.unwrap();
    let id = permit.request_id();
    sqlx::query!("UPDATE ai_requests SET status = 'completed', completed_at = now() WHERE id = $1", id.as_uuid())
        .execute(pool)
        .await
        .unwrap();
    let report = verify(pool, None, None).await.unwrap();
    let divergence = report.divergence.expect("it is not in the chain");
    assert_eq!((divergence.seq, divergence.request_id), (None, Some(id)));
    assert_eq!(verify(pool, Some(1), Some(0)).await.unwrap().verified, 0);
}

#[tokio::test]
async fn content_is_kept_as_the_retention_setting_says() {
    let long = "é".repeat(700_000);
    let short = r#"{"messages":[{"role":"user","content":"hello"}]}"#;
    for (content, request, flagged, kept) in [
        (ContentRetention::None, short, None, "nothing"),
        (ContentRetention::Excerpt, short, None, "whole"),
        (ContentRetention::Excerpt, &long, None, "excerpt"),
        (ContentRetention::Full, short, None, "whole"),
        (ContentRetention::Full, &long, None, "excerpt"),
        (ContentRetention::Full, short, Some(39..44), "redacted"),
    ] {
        let database = testing::database(&[module()]).await;
        let setup = Setup { retention: Retention { content, days: 30 }, ..Setup::default() };
        let fixture = setup.start(&database.pool).await;
        let permit = fixture.admit_flagged(request, flagged.into_iter().collect()).await.unwrap();
        let id = permit.request_id();
        permit.finish(completed("hi"));
        fixture.drained().await;

        let shown = queries::show_request(database.pool.read(), id).await.unwrap().unwrap();
        assert_eq!(shown.content_bytes as usize, request.len());
        assert_eq!(shown.response_sha256, Some(super::record::hex(&sha256(b"hi"))));
        let texts: Vec<_> = shown.messages.iter().map(|message| message.content.clone()).collect();
        let tool_input = shown.tool_calls[0].input.as_deref();
        match kept {
            "nothing" => assert_eq!((texts.len(), shown.excerpts.len(), tool_input), (0, 0, None)),
            "whole" => {
                assert_eq!(texts, [json!("hello"), json!("hi")]);
                assert_eq!((shown.excerpts.len(), tool_input), (0, Some(r#"{"q":1}"#)));
            }
            "excerpt" => {
                assert_eq!(texts, [json!("hi")]);
                let excerpt = &shown.excerpts[0];
                assert_eq!((excerpt.of, excerpt.bytes), ("request", 1_400_000));
                assert_eq!((excerpt.head.len(), excerpt.tail.len()), (EXCERPT, EXCERPT));
            }
            _ => {
                assert_eq!(texts, [json!("[redacted]")]);
                assert_eq!((shown.excerpts.len(), tool_input), (0, None));
            }
        }
    }
}

#[tokio::test]
async fn content_is_deleted_after_its_time() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let clock = Arc::new(ManualClock::new(DateTime::from_timestamp_micros(1_900_000_000_000_000).unwrap()));
    let ambient = Ambient { clock: clock.clone(), ..Ambient::system() };
    let fixture = Setup { ambient, ..Setup::default() }.start(&database.pool).await;
    let old = fixture.admit("old").await.unwrap();
    let old_id = old.request_id();
    old.finish(completed("hi"));
    clock.advance(TimeDelta::days(29));
    let new = fixture.admit("new").await.unwrap();
    let new_id = new.request_id();
    new.finish(completed("hi"));
    let ledger = fixture.ledger.clone();
    fixture.drained().await;

    assert_eq!(ledger.sweep().await.unwrap(), 0);
    clock.advance(TimeDelta::days(2));
    assert_eq!(ledger.sweep().await.unwrap(), 1);
    let old = queries::show_request(pool, old_id).await.unwrap().unwrap();
    assert!(old.messages.is_empty());
    assert_eq!((old.tool_calls[0].name.as_str(), &old.tool_calls[0].input), ("search", &None));
    assert_eq!(queries::show_request(pool, new_id).await.unwrap().unwrap().messages.len(), 1);
    assert_sound(pool).await;
}

#[tokio::test]
async fn operators_find_requests() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.read();
    let clock = Arc::new(ManualClock::new(DateTime::from_timestamp_micros(1_900_000_000_000_000).unwrap()));
    let ambient = Ambient { clock: clock.clone(), ..Ambient::system() };
    let fixture = Setup { ambient, ..Setup::default() }.start(&database.pool).await;
    let mut ids = Vec::new();
    for index in 0..5 {
        clock.advance(TimeDelta::hours(1));
        let permit = fixture.admit(&format!("request {index}")).await.unwrap();
        ids.push(permit.request_id());
        permit.finish(Outcome { served_model: Some(format!("model-{}", index % 2)), ..completed("hi") });
    }
    clock.advance(TimeDelta::milliseconds(1));
    let refusal = fixture.refusal();
    let trace = refusal.trace_id;
    ids.push(RequestId::from_uuid(refusal.id));
    fixture.ledger.refuse(refusal).await.unwrap();
    let now = clock.now();
    fixture.drained().await;

    let list = async |filter: RequestFilter| {
        let page = queries::list_requests(pool, &filter).await.unwrap();
        (page.items.iter().map(|item| item.request_id).collect::<Vec<_>>(), page.next)
    };
    let all = RequestFilter::default();
    let newest_first: Vec<_> = ids.iter().rev().copied().collect();
    assert_eq!(list(all.clone()).await.0, newest_first);
    let (first, next) = list(RequestFilter { limit: 4, ..all.clone() }).await;
    assert_eq!((first.as_slice(), next), (&newest_first[..4], Some(newest_first[3])));
    let (second, next) = list(RequestFilter { limit: 4, before: next, ..all.clone() }).await;
    assert_eq!((second.as_slice(), next), (&newest_first[4..], None));
    let model = RequestFilter { model: Some("model-1".to_owned()), ..all.clone() };
    assert_eq!(list(model).await.0, [ids[3], ids[1]]);
    let recent = RequestFilter { since: Some(now - TimeDelta::minutes(90)), ..all.clone() };
    assert_eq!(list(recent).await.0, [ids[5], ids[4], ids[3]]);
    let older = RequestFilter { until: Some(now - TimeDelta::minutes(150)), ..all.clone() };
    assert_eq!(list(older).await.0, [ids[1], ids[0]]);
    assert!(list(RequestFilter { user: Some(UserId::generate(&Ambient::system())), ..all.clone() }).await.0.is_empty());

    let found = queries::audit(pool, &ids[2].to_string()).await.unwrap();
    assert_eq!(found[0].messages.len(), 1, "an answer without JSON, of a request without messages");
    assert_eq!(found[0].decision.evaluated_rules[0]["policy_id"], "secret_scan");
    let found = queries::audit(pool, &trace.to_string()).await.unwrap();
    assert_eq!(found[0].summary.request_id, ids[5]);
    let ambiguous = queries::audit(pool, &ids[2].to_string()[..3]).await;
    assert!(matches!(ambiguous, Err(LookupError::Ambiguous { candidates, .. }) if candidates.len() == 6));
    assert!(queries::audit(pool, "ffff").await.unwrap().is_empty());
    assert!(matches!(queries::audit(pool, "hello").await, Err(LookupError::NotAnId(_))));

    let stats = queries::request_stats(pool, None).await.unwrap();
    assert_eq!((stats.requests, stats.completed, stats.rejected, stats.cost), (6, 5, 1, Microdollars(210)));
    assert_eq!(stats.models.len(), 3);
    assert_eq!((stats.models[0].model.as_deref(), stats.models[0].requests), (Some("model-0"), 3));
    assert_eq!(queries::request_stats(pool, Some(now)).await.unwrap().requests, 1);

    let denied = DecisionFilter { decision: Some("deny".to_owned()), ..DecisionFilter::default() };
    let denied = queries::list_decisions(pool, &denied).await.unwrap();
    assert_eq!(denied.items.iter().map(|item| item.request_id).collect::<Vec<_>>(), [ids[5]]);
    assert_eq!(queries::list_decisions(pool, &DecisionFilter::default()).await.unwrap().items.len(), 6);
}

#[tokio::test]
async fn a_ledger_without_its_tables_does_not_start() {
    let database = testing::empty_database().await;
    let ambient = Ambient::system();
    let options = LedgerOptions {
        instance_id: InstanceId::generate(&ambient),
        instance_name: "here".to_owned(),
        settings: LedgerSettings::default(),
        retention: RetentionProfile::default().resolve(false),
    };
    let started = Ledger::start(&database.pool, options, &ambient, &TaskTracker::new(), &Metrics::new()).await;
    assert!(matches!(started, Err(LedgerError::Connect(_))));
}

#[test]
fn ids_made_at_a_time_are_bounded_by_it() {
    let ambient = Ambient::system();
    let id: Uuid = RequestId::generate(&ambient).as_uuid();
    let now = ambient.now();
    assert!(queue::first_id_at(now - TimeDelta::milliseconds(50)) < id);
    assert!(id < queue::first_id_at(now + TimeDelta::milliseconds(50)));
}
