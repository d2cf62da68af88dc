//! The ledger on a real PostgreSQL.

mod mutations;

use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, PgPool};
use systemprompt_config::Home;
use systemprompt_database::lease::Leases;
use systemprompt_database::testing::{self, TestCluster, TestDatabase};
use systemprompt_database::{Database, DbPool, InstallOptions, Module, install};
use systemprompt_extension::Metrics;
use systemprompt_extension::ledger::{EntryKind, LedgerEntry, Projection, ProjectionError, Record};
use systemprompt_extension::policy::{Subject, Usage};
use systemprompt_model::pattern::Pattern;
use systemprompt_model::{
    ActionId, Actor, ActorChain, ActorKind, Ambient, ApiKeyId, Attribution, Client, Clock as _, ContextId, Credential,
    DecisionId, InstanceId, ManualClock, Microdollars, Principal, Resource, SessionId, TaskId, TraceId, UserId,
};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::chain::Head;
use super::checkpoint::{Checkpoints, Remembered};
use super::entry::{AttemptedEntry, DecidedEntry, EndedEntry, Judged, Sealed};
use super::export::selection::Selection;
use super::export::{Export, Exported, Out, export, trust};
use super::journal::Journal;
use super::kept::KeptDigest;
use super::keys::signing_key;
use super::queue::{Batch, Following};
use super::signature::Signature;
use super::text::sha256;
use super::verify::{LedgerProblem, VerifyReport, verify};
use super::write::{Rows, write};
use super::*;
use crate::action::{Action, Target};
use crate::administer::{About, Change, Changed, StateDigest};
use crate::backlog::Backlog;
use crate::changes::Changes;
use crate::config::{GovernanceConfig, PolicyConfig};
use crate::denial::Refusal;
use crate::effect::{Authority, Effect, Facts, FactsWriter};
use crate::gate::Gate;
use crate::permit::Permit;
use crate::policy::{Evaluation, EvaluationResult, PolicyChain};
use crate::running::{NotDiverted, Outcome};

mod survival;

/// Compiling the expressions of the secret scan takes long; every test uses this chain's configuration.
static POLICIES: LazyLock<GovernanceConfig> = LazyLock::new(|| {
    let mut config = GovernanceConfig::default();
    config.policies.retain(|policy| !matches!(policy, PolicyConfig::RateLimit(_)));
    config
});

/// An effect for tests.
#[derive(Debug, Clone, Default)]
struct Ask {
    model: String,
    /// The tool that is called, instead of a prompt.
    tool: Option<String>,
}

struct Answered {
    tokens: u64,
}

impl Effect for Ask {
    const KIND: &'static str = "ask";
    type Result = Answered;

    fn subject(&self) -> Subject<'_> {
        self.tool.as_deref().map_or(Subject::Prompt, |name| Subject::ToolCall { name })
    }

    fn authority(&self) -> Authority {
        Authority::Administration
    }

    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.stranger("model", Some(&self.model));
    }
}

impl Facts for Answered {
    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.count("tokens", Some(self.tokens));
    }
}

fn module() -> Module {
    Module {
        id: "governance".to_owned(),
        schemas: vec![
            schema(),
            SchemaDefinition::inline("ledger_shipments", include_str!("../../schema/shipping.sql")),
            SchemaDefinition::inline("governance_decisions", include_str!("../../schema/decisions.sql")),
        ],
        ..Module::default()
    }
}

/// A ledger and what it runs on.
struct Fixture {
    ledger: Arc<Ledger>,
    gate: Gate,
    metrics: Metrics,
    ambient: Ambient,
}

struct Setup {
    name: &'static str,
    exclusive: bool,
    durability: Durability,
    retention: Retention,
    ambient: Ambient,
    journal: Option<Journal>,
    audit: AuditProfile,
    checkpoints: Option<Checkpoints>,
    projections: Vec<Arc<dyn Projection>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            name: "here",
            exclusive: true,
            durability: Durability::Durable,
            retention: RetentionProfile::default().resolve(false),
            ambient: Ambient::system(),
            journal: None,
            audit: AuditProfile::default(),
            checkpoints: None,
            projections: Vec::new(),
        }
    }
}

impl Setup {
    async fn start(self, database: &DbPool) -> Fixture {
        let metrics = Metrics::new();
        let options = LedgerOptions {
            instance_id: InstanceId::generate(&self.ambient),
            name: self.name.to_owned(),
            exclusive: self.exclusive,
            settings: LedgerSettings { durability: self.durability, ..LedgerSettings::default() },
            audit: self.audit,
            retention: self.retention,
            journal: self.journal,
            checkpoints: self.checkpoints,
        };
        let ledger = Ledger::start(database, options, self.projections, &self.ambient, &TaskTracker::new(), &metrics)
            .await
            .expect("the ledger starts");
        let leases = Leases::new(Arc::clone(database), self.ambient.clone());
        let policies = PolicyChain::new(&POLICIES, Vec::new(), &leases, None).expect("the defaults are valid");
        let gate = Gate::new(None, policies, Arc::clone(&ledger), &metrics);
        Fixture { ledger, gate, metrics, ambient: self.ambient }
    }
}

async fn ledger(database: &TestDatabase) -> Fixture {
    Setup::default().start(&database.pool).await
}

fn target() -> Target {
    Target::new("demo/demo-1")
}

impl Fixture {
    fn action(&self, content: &str) -> Action<Ask> {
        Action {
            id: ActionId::generate(&self.ambient),
            by: Attribution::system(&self.ambient),
            resource: Resource::installation("tests"),
            targets: vec![target()],
            content: Bytes::copy_from_slice(content.as_bytes()),
            effect: Ask { model: "demo".to_owned(), tool: None },
            received_at: self.ambient.now(),
        }
    }

    async fn admit(&self, content: &str) -> Result<Permit<Ask>, Refusal> {
        self.gate.admit(self.action(content)).await
    }

    /// One that is refused for its content.
    async fn refuse(&self) -> ActionId {
        let action = self.action(concat!("AKIA", "IOSFODNN7EXAMPLQ is my key"));
        let id = action.id;
        assert!(matches!(self.gate.admit(action).await, Err(Refusal::Denied(_))));
        id
    }

    async fn drained(self) {
        assert!(self.ledger.drain(Duration::from_secs(20)).await, "everything is written in time");
    }
}

fn finish(permit: Permit<Ask>, answer: &str) {
    let (_, running) = permit.begin(&target()).expect("it is the target");
    running.finish(Outcome {
        answer: Some(Payload::complete(answer.as_bytes().to_vec())),
        parts: vec![("tool_call.0".into(), r#"{"q":1}"#.to_owned())],
        ..Outcome::completed(Answered { tokens: 15 })
    });
}

/// What the log says of each action, by how it stands.
async fn statuses(pool: &PgPool) -> Vec<(String, i64)> {
    sqlx::query_as(
        "SELECT status, COUNT(*) FROM (
            SELECT COALESCE(
                (SELECT e.body::jsonb ->> 'status' FROM ledger AS e WHERE e.action_id = d.action_id AND e.kind = 'ended'),
                (SELECT MIN(e.kind) FROM ledger AS e WHERE e.action_id = d.action_id AND e.kind = 'abandoned'),
                CASE d.body::jsonb #>> '{decision,verdict}' WHEN 'deny' THEN 'rejected' ELSE 'pending' END
            ) AS status
            FROM ledger AS d
            WHERE d.kind = 'decided'
        ) AS actions
        GROUP BY 1 ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

async fn entries_of(pool: &PgPool, id: ActionId) -> Vec<(String, Value)> {
    sqlx::query_as("SELECT kind, body::jsonb FROM ledger WHERE action_id = $1 ORDER BY at, chain_id, seq")
        .bind(id.as_uuid())
        .fetch_all(pool)
        .await
        .unwrap()
}

async fn kinds_of(pool: &PgPool, id: ActionId) -> Vec<String> {
    entries_of(pool, id).await.into_iter().map(|(kind, _)| kind).collect()
}

async fn assert_sound(pool: &PgPool) -> VerifyReport {
    let report = verify(pool, &Remembered::default(), &[]).await.unwrap();
    assert_eq!(report.problems, []);
    report
}

async fn run(pool: &PgPool, statement: &str) {
    let mut connection = pool.acquire().await.unwrap();
    // As somebody who does not mind the triggers.
    let statement = format!("SET session_replication_role = 'replica'; {statement}; RESET session_replication_role");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await.unwrap();
}

#[tokio::test]
async fn what_is_admitted_is_on_disk_and_concurrent_actions_share_commits() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let pool = database.pool.write();

    let permit = fixture.admit("hello").await.unwrap();
    assert_eq!(kinds_of(pool, permit.id()).await, ["decided"]);

    let permits = join_all((0..200).map(|_| fixture.admit("hello"))).await;
    for permit in permits {
        finish(permit.unwrap(), "hi");
    }
    finish(permit, "hi");
    fixture.drained().await;

    assert_eq!(statuses(pool).await, [("completed".to_owned(), 201)]);
    let (commits,): (i64,) =
        sqlx::query_as("SELECT COUNT(DISTINCT xmin::text) FROM ledger").fetch_one(pool).await.unwrap();
    assert!(commits < 20, "402 entries in {commits} commits");
    let report = assert_sound(pool).await;
    assert_eq!((report.chains[0].from_seq, report.chains[0].to_seq, report.verified), (1, 402, 402));
}

#[tokio::test]
async fn each_server_writes_its_own_chain_and_commands_share_one() {
    let database = testing::database(&[module()]).await;
    let mut fixtures = Vec::new();
    for (name, exclusive) in [("a", true), ("b", true), ("commands", false), ("commands", false)] {
        fixtures.push(Setup { name, exclusive, ..Setup::default() }.start(&database.pool).await);
    }
    join_all(fixtures.iter().map(|fixture| async {
        for _ in 0..10 {
            for permit in join_all((0..5).map(|_| fixture.admit("hello"))).await {
                finish(permit.expect("a conflict is no refusal"), "hi");
            }
        }
    }))
    .await;
    for fixture in fixtures {
        fixture.drained().await;
    }
    assert_eq!(statuses(database.pool.write()).await, [("completed".to_owned(), 200)]);
    let report = assert_sound(database.pool.write()).await;
    let mut lengths: Vec<_> = report.chains.iter().map(|chain| chain.to_seq).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [100, 100, 200]);
}

#[tokio::test]
async fn a_refusal_is_recorded_without_its_content() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let id = fixture.refuse().await;
    let pool = database.pool.read();
    let entries = entries_of(pool, id).await;
    assert_eq!(entries.len(), 1);
    let decision = &entries[0].1["decision"];
    assert_eq!((decision["verdict"].as_str(), decision["policy"].as_str()), (Some("deny"), Some("secret_scan")));
    assert_eq!(
        entries[0].1["content"]["sha256"],
        hex::encode(sha256(concat!("AKIA", "IOSFODNN7EXAMPLQ is my key").as_bytes()))
    );
    let (kept,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM ledger_content").fetch_one(pool).await.unwrap();
    assert_eq!(kept, 0);
    fixture.drained().await;
    assert_eq!(assert_sound(database.pool.write()).await.verified, 1);
}

#[tokio::test]
async fn a_credential_used_as_a_name_is_recorded_nowhere() {
    const SECRET: &str = concat!("AKIA", "IOSFODNN7EXAMPLQ");
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let (first, second) = (Target::new(format!("demo/{SECRET}")), Target::new(format!("{SECRET}/other")));
    let mut action = fixture.action("hello");
    action.targets = vec![first.clone(), second.clone()];
    action.effect.tool = Some(SECRET.to_owned());
    action.by.actors =
        ActorChain::operator("root", 7).delegated_to(Actor { kind: ActorKind::Agent, id: format!("agent {SECRET}") });
    let id = action.id;
    let (_, mut running) = fixture.gate.admit(action).await.unwrap().begin(&first).unwrap();
    running.retry(&second, "why", Usage::default()).unwrap();
    running.finish(Outcome::completed(Answered { tokens: 1 }));
    // One that the scan of ids does not know, but which was found in the name of the model.
    let mut action = fixture.action("hello");
    let random = "v1?key=q7Zk2LmX9vRt4BwY8sNc3HdJ6fGp1AeU5oTi0KxM";
    action.effect.model = random.to_owned();
    action.targets = vec![Target::new(format!("demo/{random}"))];
    drop(fixture.gate.admit(action).await.unwrap());
    let about = About::new("user", SECRET);
    let change = Change::new("user.create", about, &json!({}));
    let by = Attribution::system(&fixture.ambient);
    fixture.gate.change(by, change, async || Ok::<_, String>(Changed::unseen(()))).await.unwrap();
    fixture.drained().await;

    let pool = database.pool.write();
    let (bodies,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM ledger WHERE strpos(body, $1) > 0 OR strpos(body, $2) > 0")
            .bind(SECRET)
            .bind(random)
            .fetch_one(pool)
            .await
            .unwrap();
    assert_eq!(bodies, 0);
    let entries = entries_of(pool, id).await;
    assert_eq!(entries[0].1["targets"], json!(["[redacted]", "[redacted]"]));
    assert_eq!(entries[0].1["decision"]["subject"], "[redacted]");
    assert_eq!(entries[1].1["target"], "[redacted]");
    let (targets,): (Value,) =
        sqlx::query_as("SELECT body::jsonb -> 'targets' FROM ledger WHERE body LIKE '%demo/[redacted]%'")
            .fetch_one(pool)
            .await
            .unwrap();
    assert_eq!(targets, json!(["demo/[redacted]"]));
    assert_sound(pool).await;
}

#[tokio::test]
async fn a_change_that_waited_is_written_when_it_waits_no_more() {
    let database = testing::database(&[module_with_changes()]).await;
    let directory = tempfile::tempdir().unwrap();
    let home = Home::at(directory.path());
    let setup =
        Setup { durability: Durability::Asynchronous, projections: vec![Arc::new(Changes)], ..Setup::default() };
    let fixture = setup.start(&database.pool).await;
    let waiting = Backlog::of(&home);
    let changed = Changed { value: (), before: None, after: Some(StateDigest::of(&"made")) };
    let change = Change::new("thing.make", About::new("thing", "first"), &json!({}));
    waiting.add(change, changed, "root", 0, &fixture.ambient).unwrap();
    waiting.record(&fixture.gate, &fixture.ledger, &database.pool).await.unwrap();
    let bodies: Vec<(String, String)> =
        sqlx::query_as("SELECT kind, body FROM ledger ORDER BY seq").fetch_all(database.pool.write()).await.unwrap();
    let kinds: Vec<_> = bodies.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["decided", "ended"], "although nobody waits for the disk in this mode");
    assert!(bodies[1].1.contains("after_sha256"), "{}", bodies[1].1);
    assert_eq!(std::fs::read_to_string(directory.path().join("ledger/unrecorded.jsonl")).unwrap(), "");
    waiting.record(&fixture.gate, &fixture.ledger, &database.pool).await.unwrap();
    assert_eq!(assert_sound(database.pool.write()).await.verified, 2, "once");
}

#[tokio::test]
async fn a_dropped_permit_is_a_failed_action() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let dropped = fixture.admit("hello").await.unwrap().id();
    let begun = fixture.admit("hello").await.unwrap();
    let begun_id = begun.id();
    drop(begun.begin(&target()).unwrap());
    let pool = database.pool.write().clone();
    fixture.drained().await;
    for id in [dropped, begun_id] {
        let entries = entries_of(&pool, id).await;
        assert_eq!(entries[1].1["status"], "failed");
        assert_eq!(entries[1].1["reason"], "dropped without an outcome");
    }
    assert_sound(&pool).await;
}

#[tokio::test]
async fn a_permit_for_one_target_cannot_be_spent_on_another() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let permit = fixture.admit("hello").await.unwrap();
    let id = permit.id();
    let refused = permit.begin(&Target::new("elsewhere/demo-1")).unwrap_err();
    assert_eq!(refused.to_string(), "the permit is not for `elsewhere/demo-1`");

    let mut action = fixture.action("hello");
    action.targets.push(Target::new("second/demo-1"));
    let retried = action.id;
    let (first, mut running) = fixture.gate.admit(action).await.unwrap().begin(&target()).unwrap();
    assert!(running.retry(&Target::new("third/demo-1"), "refused", Usage::default()).is_err());
    let second = running.retry(&Target::new("second/demo-1"), "the connection was closed", Usage::default()).unwrap();
    assert_eq!(first, second, "the same bytes, under the same decision");
    running.finish(Outcome::completed(Answered { tokens: 1 }));

    let pool = database.pool.write().clone();
    fixture.drained().await;
    assert_eq!(entries_of(&pool, id).await[1].1["status"], "failed");
    let entries = entries_of(&pool, retried).await;
    assert_eq!(kinds_of(&pool, retried).await, ["decided", "attempted", "ended"]);
    assert_eq!(
        (entries[1].1["number"].as_i64(), entries[1].1["target"].as_str(), entries[1].1["why"].as_str()),
        (Some(2), Some("second/demo-1"), Some("the connection was closed"))
    );
    assert_sound(&pool).await;
}

#[tokio::test]
async fn other_bytes_leave_only_after_they_were_judged() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let [second, third] = ["second/demo-1", "third/demo-1"].map(Target::new);
    let mut action = fixture.action("hello");
    action.targets.extend([second.clone(), third.clone()]);
    let id = action.id;
    let (_, mut running) = fixture.gate.admit(action).await.unwrap().begin(&target()).unwrap();

    let elsewhere = running.divert(&Target::new("fourth/demo-1"), "hello".into(), "refused", Usage::default()).await;
    assert!(matches!(elsewhere, Err(NotDiverted::NotPermitted(_))), "{elsewhere:?}");
    let secret = Bytes::from_static(concat!("AKIA", "IOSFODNN7EXAMPLQ is my key").as_bytes());
    let denied = running.divert(&second, secret, "refused", Usage::default()).await.unwrap_err();
    assert!(matches!(&denied, NotDiverted::Denied(denial) if denial.policy == "secret_scan"), "{denied}");
    assert_eq!(running.retry(&second, "refused", Usage::default()).unwrap(), "hello", "what was judged is what leaves");
    let other = Bytes::from_static(b"hello, third");
    let used = Usage { calls: 1, input_tokens: 2, output_tokens: 3, cost: Microdollars(9) };
    assert_eq!(running.divert(&third, other.clone(), "it broke off", used).await.unwrap(), other);
    assert_eq!(running.retry(&third, "once more", Usage::default()).unwrap(), other, "and again");
    running.finish(Outcome::completed(Answered { tokens: 1 }));

    let pool = database.pool.write().clone();
    fixture.drained().await;
    let entries: Vec<Value> = entries_of(&pool, id).await.into_iter().map(|(_, body)| body).collect();
    let digests: Vec<_> = entries.iter().map(|entry| entry["content"]["sha256"].as_str()).collect();
    let (first, last) = (hex::encode(sha256(b"hello")), hex::encode(sha256(&other)));
    assert_eq!(digests, [Some(first.as_str()), None, Some(last.as_str()), None, None]);
    let asked: Vec<_> = entries[2]["evaluations"].as_array().unwrap().iter().map(|said| &said["policy_id"]).collect();
    assert_eq!(asked, ["secret_scan"], "whoever counts is not asked twice");
    assert_eq!((&entries[2]["usage"]["output_tokens"], &entries[3]["usage"]), (&json!(3), &Value::Null));
    assert_eq!(entries[4]["inspections"][0]["result"], "fail", "that it was denied is recorded: {}", entries[4]);
    let kept: Vec<String> = sqlx::query_scalar("SELECT body FROM ledger_content").fetch_all(&pool).await.unwrap();
    assert_eq!(kept, ["hello"], "what was decided upon is what is kept");
    assert_sound(&pool).await;
}

#[tokio::test]
async fn callers_that_go_away_leave_nothing_open() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    for patience in 0..40 {
        let admission = fixture.admit("hello");
        // Some go before the entry is queued, some while it is written, some when it is.
        let _ = timeout(Duration::from_micros(patience * 50), admission).await;
    }
    let pool = database.pool.write().clone();
    fixture.drained().await;
    assert!(statuses(&pool).await.iter().all(|(status, _)| status == "failed"), "{:?}", statuses(&pool).await);
    assert_sound(&pool).await;
}

#[tokio::test]
async fn in_the_asynchronous_mode_what_follows_comes_after() {
    let database = testing::database(&[module()]).await;
    let setup = Setup { durability: Durability::Asynchronous, ..Setup::default() };
    let fixture = setup.start(&database.pool).await;
    let mut long = Vec::new();
    for index in 0..1500 {
        let permit = fixture.admit("hello").await.unwrap();
        if index % 3 == 0 {
            long.push(permit);
        } else {
            finish(permit, "hi");
        }
    }
    for permit in long {
        finish(permit, "late");
    }
    let pool = database.pool.write().clone();
    fixture.drained().await;
    assert_eq!(statuses(&pool).await, [("completed".to_owned(), 1500)]);
    assert_eq!(assert_sound(&pool).await.verified, 3000);
    let (early,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM ledger AS e JOIN ledger AS d ON d.action_id = e.action_id AND d.kind = 'decided'
         WHERE e.kind = 'ended' AND e.seq < d.seq",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(early, 0, "an end before its beginning");
    let (kept,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM ledger_content").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, 4500, "request, answer and a part of each");
}

#[tokio::test]
async fn one_unacceptable_entry_does_not_hold_up_the_others() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let bad = Sealed {
        kind: EntryKind::Decided,
        action: ActionId::generate(&fixture.ambient).as_uuid(),
        body: "\0".to_owned(),
        sha256: sha256(b"\0"),
    };
    let (refused, others) =
        tokio::join!(fixture.ledger.admit(bad, "ask"), join_all((0..20).map(|_| fixture.admit("hello"))));
    assert_eq!(refused.err(), Some(Unavailable));
    assert!(others.iter().all(Result::is_ok));
    assert!(fixture.metrics.encode().contains("ledger_dropped_writes_total{kind=\"decision\"} 1"));
    drop(others);
    let pool = database.pool.write().clone();
    fixture.drained().await;
    assert_eq!(statuses(&pool).await, [("failed".to_owned(), 20)]);
    assert_sound(&pool).await;
}

#[tokio::test]
async fn lost_connections_neither_lose_nor_repeat_entries() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let pool = database.pool.write();
    let mut answered = Vec::new();
    for _ in 0..30 {
        let kill = sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE '%:ledger'",
        );
        let (killed, permits) = tokio::join!(kill.fetch_all(pool), join_all((0..10).map(|_| fixture.admit("hello"))));
        killed.unwrap();
        for permit in permits.into_iter().flatten() {
            answered.push(permit.id());
            finish(permit, "hi");
        }
        fixture.ledger.shared.queue.available.subscribe().wait_for(|available| *available).await.unwrap();
    }
    fixture.drained().await;
    assert!(answered.len() > 200, "{} of 300 were admitted", answered.len());
    for id in answered {
        assert_eq!(kinds_of(pool, id).await, ["decided", "ended"]);
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

    cluster.stop();
    refused_in_time(&fixture, 50).await;
    assert_refused_at_once(&fixture);
    for permit in permits {
        finish(permit.unwrap(), "hi");
    }

    cluster.restart();
    fixture.ledger.shared.queue.available.subscribe().wait_for(|available| *available).await.unwrap();
    finish(fixture.admit("hello again").await.unwrap(), "hi");
    fixture.drained().await;
    let pool = Database::connect(&cluster.connect_options()).await.unwrap();
    assert_eq!(statuses(pool.write()).await, [("completed".to_owned(), 6)]);
    assert_eq!(assert_sound(pool.write()).await.verified, 12);
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_waited_for_a_moment() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let pool = database.pool.write();
    let early = fixture.admit("before").await.unwrap();

    let mut blocker = pool.begin().await.unwrap();
    sqlx::query("SELECT seq FROM ledger_chains FOR UPDATE").fetch_one(&mut *blocker).await.unwrap();
    refused_in_time(&fixture, 20).await;
    finish(early, "hi");
    assert_refused_at_once(&fixture);
    blocker.rollback().await.unwrap();

    fixture.ledger.shared.queue.available.subscribe().wait_for(|available| *available).await.unwrap();
    finish(fixture.admit("after").await.unwrap(), "hi");
    fixture.drained().await;
    // Whoever was let go while the statement ran has done nothing, and its record says so.
    for (status, count) in statuses(pool).await {
        assert!((status == "completed" && count == 2) || (status == "failed" && count <= 20), "{count} {status}");
    }
    assert_sound(pool).await;
}

/// Asks so often while the database is away; nothing is admitted, and nobody waits longer than they may. Then it is known.
///
/// The clock stands still meanwhile, and goes to the next limit when there is nothing else to do: how fast the machine is
/// does not matter.
async fn refused_in_time(fixture: &Fixture, requests: usize) {
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let refused = join_all((0..requests).map(|_| fixture.admit("hello"))).await;
    let waited = begun.elapsed();
    tokio::time::resume();
    assert!(refused.iter().all(|refused| matches!(refused, Err(Refusal::LedgerUnavailable))));
    assert!(
        waited <= ADMISSION_WAIT + Duration::from_millis(1),
        "timers have a resolution of a millisecond: {waited:?}"
    );
    fixture.ledger.shared.queue.available.subscribe().wait_for(|available| !*available).await.unwrap();
}

/// While the database is known to be away, a request is refused without waiting for anything.
fn assert_refused_at_once(fixture: &Fixture) {
    let refused = tokio_test::assert_ready!(tokio_test::task::spawn(fixture.admit("hello")).poll());
    assert_eq!(refused.err(), Some(Refusal::LedgerUnavailable));
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
    finish(killed.admit("finished").await.unwrap(), "hi");
    let batch_written = killed.admit("the outcome travels with this").await.unwrap();
    killed.refuse().await;
    kill(&killed).await;

    let elsewhere = Setup { name: "elsewhere", ..Setup::default() }.start(&database.pool).await;
    let theirs = elsewhere.admit("a living neighbour's").await.unwrap();
    assert_eq!(elsewhere.ledger.recover().await.unwrap(), 0, "another installation's run may be alive");

    let restarted = ledger(&database).await;
    let newer = restarted.admit("of this run").await.unwrap();
    assert_eq!(restarted.ledger.recover().await.unwrap(), open.len() as u64 + 1);
    assert_eq!(restarted.ledger.recover().await.unwrap(), 0);
    assert_eq!(kinds_of(pool, open[0].id()).await, ["decided", "abandoned"]);
    assert_eq!(kinds_of(pool, batch_written.id()).await, ["decided", "abandoned"]);
    finish(theirs, "hi");
    finish(newer, "hi");
    elsewhere.drained().await;
    restarted.drained().await;
    let expected = [("abandoned", 601), ("completed", 3), ("rejected", 1)];
    assert_eq!(statuses(pool).await, expected.map(|(status, count)| (status.to_owned(), count)));
    assert_sound(pool).await;
    let again = ledger(&database).await;
    assert_eq!(again.ledger.recover().await.unwrap(), 0, "nothing is looked at twice");
    again.drained().await;
}

#[tokio::test]
async fn a_server_that_was_not_heard_of_is_dead_until_it_speaks() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let slow = Setup { name: "slow", ..Setup::default() }.start(&database.pool).await;
    let permit = slow.admit("hello").await.unwrap();
    let id = permit.id();

    for (silent, closed) in [(80, 0), (100, 1), (120, 0)] {
        // The clock of the database counts, not that of a replica.
        let clock = Arc::new(ManualClock::new(Ambient::system().now() + TimeDelta::hours(1)));
        let ambient = Ambient { clock, ..Ambient::system() };
        let other = Setup { name: "other", ambient, ..Setup::default() }.start(&database.pool).await;
        sqlx::query(
            "UPDATE ledger_chains SET heartbeat_at = clock_timestamp() - make_interval(secs => $1) WHERE name = 'slow'",
        )
        .bind(f64::from(silent))
        .execute(pool)
        .await
        .unwrap();
        assert_eq!(other.ledger.recover().await.unwrap(), 0, "it may be the clock");
        other.ledger.shared.silences.pass(Duration::from_secs(30));
        assert_eq!(other.ledger.recover().await.unwrap(), closed, "silent for {silent} s");
        other.drained().await;
    }
    assert_eq!(kinds_of(pool, id).await, ["decided", "abandoned"]);
    assert_sound(pool).await;

    finish(permit, "it was only slow");
    slow.drained().await;
    assert_eq!(statuses(pool).await, [("completed".to_owned(), 1)]);
    assert_eq!(assert_sound(pool).await.verified, 3);
}

#[tokio::test]
async fn entries_cannot_be_changed() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let fixture = ledger(&database).await;
    finish(fixture.admit("hello").await.unwrap(), "hi");
    fixture.drained().await;
    for statement in [
        "UPDATE ledger SET kind = 'ended'",
        "DELETE FROM ledger",
        "TRUNCATE ledger",
        "DELETE FROM ledger_chains",
        "TRUNCATE ledger_chains",
    ] {
        let error = sqlx::raw_sql(statement).execute(pool).await.expect_err(statement);
        let code =
            error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned);
        assert_eq!(code.as_deref(), Some("23001"), "{statement}: {error}");
    }
    // Retention says what it does, for its own transaction.
    sqlx::raw_sql("BEGIN; SET LOCAL systemprompt.ledger_retention = 'on'; DELETE FROM ledger; COMMIT")
        .execute(pool)
        .await
        .unwrap();
    assert!(statuses(pool).await.is_empty());
}

#[tokio::test]
async fn verification_names_what_was_changed() {
    let changed = "it was changed, or does not follow the entry before it";
    for (change, seq, problem) in [
        ("UPDATE ledger SET body = replace(body, 'demo', 'gpt-5') WHERE seq = 1", 1, changed),
        ("UPDATE ledger SET body = replace(body, '\"deny\"', '\"allow\"') WHERE seq = 2", 2, changed),
        ("UPDATE ledger SET at = at - interval '1 second' WHERE seq = 2", 2, changed),
        ("UPDATE ledger SET hash = sha256('x') WHERE seq = 2", 2, changed),
        ("UPDATE ledger SET kind = 'ended' WHERE seq = 2", 2, "its columns say something else than its body"),
        (
            "UPDATE ledger SET action_id = gen_random_uuid() WHERE seq = 3",
            3,
            "its columns say something else than its body",
        ),
        ("DELETE FROM ledger WHERE seq = 2", 2, "entry 2 is missing; the next one is 3"),
        ("DELETE FROM ledger WHERE seq = 3", 3, "entry 3 is missing: the recorded end of the chain is 3"),
        (
            "UPDATE ledger_chains SET hash = sha256('x')",
            3,
            "the recorded end of the chain has another hash than its last entry",
        ),
        (
            "INSERT INTO ledger SELECT chain_id, 4, at, kind, action_id, body, hash FROM ledger WHERE seq = 3; \
             UPDATE ledger_chains SET seq = 4",
            4,
            changed,
        ),
    ] {
        let database = testing::database(&[module()]).await;
        let pool = database.pool.write();
        let fixture = ledger(&database).await;
        let permit = fixture.admit("hello").await.unwrap();
        fixture.refuse().await;
        finish(permit, "hi");
        fixture.drained().await;
        assert_eq!(assert_sound(pool).await.verified, 3);

        run(pool, change).await;
        let problems = verify(pool, &Remembered::default(), &[]).await.unwrap().problems;
        assert_eq!(
            problems.iter().map(|problem| (problem.seq, problem.problem.as_str())).collect::<Vec<_>>(),
            [(Some(seq), problem)],
            "{change}"
        );
    }
}

#[tokio::test]
async fn a_chain_that_lost_its_end_shows_in_the_checkpoints() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let home = tempfile::tempdir().unwrap();
    let checkpoints = |directory: &Path| Checkpoints::open(directory).unwrap();
    let setup = Setup { checkpoints: Some(checkpoints(home.path())), ..Setup::default() };
    let fixture = setup.start(&database.pool).await;
    for _ in 0..3 {
        finish(fixture.admit("hello").await.unwrap(), "hi");
    }
    fixture.drained().await;
    let seen = remembered(home.path());
    assert_eq!((seen.checkpoints.len(), seen.forged), (2, 0), "one to begin with, one at the shutdown");
    let report = verify(pool, &seen, &[]).await.unwrap();
    assert_eq!((report.problems.as_slice(), report.verified, report.checkpoints), ([].as_slice(), 7, 2));

    // Cut off the end and make the recorded one fit: the chain alone looks whole.
    run(
        pool,
        "DELETE FROM ledger WHERE seq > 4; \
         UPDATE ledger_chains AS c SET seq = 4, hash = l.hash, at = l.at FROM ledger AS l WHERE l.chain_id = c.chain_id AND l.seq = 4",
    )
    .await;
    assert_sound(pool).await;
    let problems = verify(pool, &seen, &[]).await.unwrap().problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].problem.starts_with("entries 5 to 7 are missing: the checkpoint of"), "{problems:?}");

    // Another chain's checkpoint sees it too, without the home.
    let other_home = tempfile::tempdir().unwrap();
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let victim = ledger(&database).await;
    finish(victim.admit("hello").await.unwrap(), "hi");
    finish(victim.admit("hello").await.unwrap(), "hi");
    victim.drained().await;
    let setup = Setup { name: "witness", checkpoints: Some(checkpoints(other_home.path())), ..Setup::default() };
    setup.start(&database.pool).await.drained().await;
    assert_sound(pool).await;
    let chain = chains::chain_of("here");
    run(
        pool,
        &format!(
            "DELETE FROM ledger WHERE chain_id = '{chain}' AND seq > 2; \
             UPDATE ledger_chains AS c SET seq = 2, hash = l.hash, at = l.at FROM ledger AS l \
             WHERE c.chain_id = '{chain}' AND l.chain_id = c.chain_id AND l.seq = 2"
        ),
    )
    .await;
    let problems = verify(pool, &Remembered::default(), &[]).await.unwrap().problems;
    assert!(problems[0].problem.starts_with("entries 3 to 4 are missing"), "{problems:?}");

    // A line nobody with the key wrote counts for nothing.
    let file = home.path().join("checkpoints.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"seq\":7", "\"seq\":4")).unwrap();
    let seen = remembered(home.path());
    assert_eq!((seen.checkpoints.len(), seen.forged), (1, 1));
    let problems = verify(pool, &seen, &[]).await.unwrap().problems;
    assert!(problems.iter().any(|problem| problem.problem.contains("not signed by its key")), "{problems:?}");
}

fn remembered(home: &Path) -> Remembered {
    Remembered::read(home, Some("here")).unwrap()
}

/// A home that remembers where the chain `here`, of seven entries, ends.
async fn seven_entries(database: &TestDatabase) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let setup = Setup { checkpoints: Some(Checkpoints::open(home.path()).unwrap()), ..Setup::default() };
    let fixture = setup.start(&database.pool).await;
    for _ in 0..3 {
        finish(fixture.admit("hello").await.unwrap(), "hi");
    }
    fixture.drained().await;
    home
}

fn said(report: &VerifyReport) -> Vec<&str> {
    report.problems.iter().map(|problem| problem.problem.as_str()).collect()
}

#[tokio::test]
async fn the_database_alone_cannot_say_that_the_beginning_of_a_chain_was_dropped() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let home = seven_entries(&database).await;
    let chain = chains::chain_of("here");
    let (hash,): (Vec<u8>,) = sqlx::query_as("SELECT hash FROM ledger WHERE seq = 3").fetch_one(pool).await.unwrap();
    run(
        pool,
        "UPDATE ledger_chains SET dropped_seq = 3, dropped_hash = (SELECT hash FROM ledger WHERE seq = 3); \
         DELETE FROM ledger WHERE seq <= 3; DELETE FROM ledger_content",
    )
    .await;
    for seen in [remembered(home.path()), Remembered::default()] {
        let report = verify(pool, &seen, &[]).await.unwrap();
        let expected =
            "entries 1 to 3 are said to be dropped, and neither a signature of this home nor an entry says so";
        assert_eq!(said(&report), [expected]);
        let problems = read_export(&exported(pool, &seen, None).await, &seen);
        assert!(
            problems.iter().any(|problem| problem.contains("no signature says that they were dropped")),
            "{problems:?}"
        );
    }

    // An entry that says so, in a chain of its own, is not worth more than the database it stands in.
    let ghost = chains::chain_of("ghost");
    let first = chain::Head::first(ghost);
    sqlx::query("INSERT INTO ledger_chains VALUES ($1, 'ghost', 0, $2, now(), 1, now(), now())")
        .bind(ghost)
        .bind(&first.hash[..])
        .execute(pool)
        .await
        .unwrap();
    let head = systemprompt_extension::ledger::ChainHead { chain, hash: hex::encode(hash), seq: 3 };
    let note = entry::checkpoint(&[head], entry::DROPPED, None, DateTime::UNIX_EPOCH);
    append_raw(pool, ghost, "checkpoint", Uuid::nil(), &note.body).await;
    let report = verify(pool, &remembered(home.path()), &[]).await.unwrap();
    assert!(said(&report)[0].contains("of which no checkpoint of this home knows yet"), "{report:?}");
    // Who has no home to compare with is told what it rests on.
    let report = verify(pool, &Remembered::default(), &[]).await.unwrap();
    assert_eq!((said(&report).len(), report.notes.len()), (0, 1), "{report:?}");
    assert!(report.notes[0].contains("not by a signature of this home"), "{report:?}");

    // Where the home has seen an end, it knows its hash.
    run(pool, "UPDATE ledger_chains SET dropped_seq = 7, dropped_hash = sha256('x'), hash = sha256('x') WHERE seq = 7")
        .await;
    run(pool, &format!("DELETE FROM ledger WHERE chain_id = '{chain}'")).await;
    let report = verify(pool, &remembered(home.path()), &[]).await.unwrap();
    assert!(said(&report)[0].starts_with("it is another one than the checkpoint of"), "{report:?}");
}

#[tokio::test]
async fn entries_outside_of_every_chain_are_reported_and_count_for_nothing() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let home = seven_entries(&database).await;
    let stray = Uuid::from_u128(98);
    // It speaks of entries that never were, in a row nobody can follow.
    let chain = chains::chain_of("here");
    let head = systemprompt_extension::ledger::ChainHead { chain, hash: "12".repeat(32), seq: 50 };
    let lie = entry::checkpoint(&[head], "hourly", None, DateTime::UNIX_EPOCH);
    for (of, seq) in [(stray, 1), (stray, 2), (chain, 9)] {
        sqlx::query("INSERT INTO ledger VALUES ($1, $2, now(), 'checkpoint', $3, $4, sha256('x'))")
            .bind(of)
            .bind(seq)
            .bind(Uuid::nil())
            .bind(&lie.body)
            .execute(pool)
            .await
            .unwrap();
    }
    let report = verify(pool, &remembered(home.path()), &[]).await.unwrap();
    let mut found: Vec<_> =
        report.problems.iter().map(|problem| (problem.chain, problem.seq, problem.problem.as_str())).collect();
    found.sort_unstable();
    let mut expected = [
        (Some(chain), Some(9), "1 entries outside of what its chain says it has, the last of them 9"),
        (Some(stray), Some(1), "2 entries of a chain that is not listed, the last of them 2"),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn verification_beside_a_busy_server_finds_nothing() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let home = tempfile::tempdir().unwrap();
    let setup = Setup { checkpoints: Some(Checkpoints::open(home.path()).unwrap()), ..Setup::default() };
    let fixture = setup.start(&database.pool).await;
    fixture.ledger.checkpoint("hourly").await;
    let done = AtomicBool::new(false);
    let work = async {
        while !done.load(Ordering::Relaxed) {
            for permit in join_all((0..5).map(|_| fixture.admit("hello"))).await {
                finish(permit.unwrap(), "hi");
            }
            fixture.ledger.checkpoint("hourly").await;
        }
    };
    let look = async {
        for _ in 0..20 {
            let report = verify(pool, &remembered(home.path()), &[]).await.unwrap();
            assert_eq!(report.problems, []);
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(work, look);
    fixture.drained().await;
}

#[tokio::test]
async fn a_checkpoint_file_may_be_torn_at_its_end_and_is_missed_when_it_is_gone() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let home = seven_entries(&database).await;
    let file = home.path().join("checkpoints.jsonl");
    let mut text = std::fs::read_to_string(&file).unwrap();
    let half = text[..text.len() / 4].to_owned();
    text.push_str(&half);
    std::fs::write(&file, &text).unwrap();
    let report = verify(pool, &remembered(home.path()), &[]).await.unwrap();
    assert_eq!((said(&report).len(), report.notes.len(), report.checkpoints), (0, 1, 2), "{report:?}");
    assert!(report.notes[0].contains("is incomplete"), "{report:?}");

    // The next line stands alone.
    let setup = Setup { checkpoints: Some(Checkpoints::open(home.path()).unwrap()), ..Setup::default() };
    setup.start(&database.pool).await.drained().await;
    let report = verify(pool, &remembered(home.path()), &[]).await.unwrap();
    assert_eq!((said(&report).len(), report.notes.len(), report.checkpoints), (0, 0, 3), "{report:?}");

    let whole = std::fs::read_to_string(&file).unwrap();
    let (_, rest) = whole.split_once('\n').unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    std::fs::write(&file, rest).unwrap();
    let report = verify(pool, &remembered(home.path()), &[]).await.unwrap();
    assert!(said(&report)[0].contains("what the home remembers begins later"), "{report:?}");

    std::fs::remove_file(&file).unwrap();
    let report = verify(pool, &remembered(home.path()), &[]).await.unwrap();
    assert!(said(&report)[0].ends_with("its file or key is gone"), "{report:?}");
    std::fs::remove_file(home.path().join("checkpoint.key")).unwrap();
    let report = verify(pool, &remembered(home.path()), &[]).await.unwrap();
    assert!(said(&report)[0].ends_with("its file or key is gone"), "{report:?}");
    assert!(!home.path().join("checkpoint.key").exists(), "whoever verifies makes no key");
}

#[tokio::test]
async fn the_checkpoint_file_forgets_old_ends_and_never_what_was_dropped() {
    let database = testing::database(&[module()]).await;
    let home = seven_entries(&database).await;
    let file = home.path().join("checkpoints.jsonl");
    let line = std::fs::read_to_string(&file).unwrap().lines().next().unwrap().to_owned();
    let cut = line.replacen(
        "\"heads\"",
        "\"dropped\":[{\"chain\":\"00000000-0000-0000-0000-000000000001\",\
        \"hash\":\"12\",\"seq\":3}],\"heads\"",
        1,
    );
    std::fs::write(&file, format!("{line}\n{cut}\n") + &format!("{line}\n").repeat(11_000)).unwrap();
    let setup = Setup { checkpoints: Some(Checkpoints::open(home.path()).unwrap()), ..Setup::default() };
    setup.start(&database.pool).await.drained().await;
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!((kept.lines().next(), kept.lines().count()), (Some(cut.as_str()), 10_001));
}

/// Every field of every kind of entry, with a value of its own.
fn filled(ambient: &Ambient) -> Vec<(EntryKind, Sealed)> {
    let now = text::micros(ambient.now());
    let action = ActionId::generate(ambient);
    let by = Attribution {
        principal: Arc::new(Principal {
            user_id: UserId::generate(ambient),
            credential: Credential::ApiKey(ApiKeyId::generate(ambient)),
            roles: vec!["analyst".to_owned()],
            attributes: [("department".to_owned(), "Research".to_owned())].into(),
            ..Principal::operator("root", 7)
        }),
        actors: ActorChain::operator("root", 7)
            .delegated_to(Actor { kind: ActorKind::Agent, id: "researcher".to_owned() }),
        session: Some(SessionId::generate(ambient)),
        context: Some(ContextId::generate(ambient)),
        task: Some(TaskId::generate(ambient)),
        trace: TraceId::generate(ambient),
        client: Some(Client { name: Some("curl/8".to_owned()), trace: Some("4bf92f35".to_owned()) }),
    };
    let actors: Vec<_> = by.actors.links().iter().map(|actor| actor.id.as_str().into()).collect();
    let evaluations = [Evaluation {
        findings: Vec::new(),
        replaced: Vec::new(),
        policy_id: "secret_scan".into(),
        result: EvaluationResult::Fail,
        detail: "because \"of\" this".into(),
        duration_ms: 1e-7,
        version: None,
    }];
    let kept = [
        KeptDigest { part: "finding.0", bytes: 27, sha256: Some(sha256(b"kept")) },
        KeptDigest { part: "answer", bytes: 28, sha256: Some(sha256(b"also kept")) },
    ];
    let decided = DecidedEntry {
        action,
        at: now + TimeDelta::microseconds(1),
        by: &by,
        actors: &actors,
        client: Some("curl/8"),
        client_trace: Some("4bf92f35"),
        content_bytes: 11,
        content_sha256: sha256(b"content"),
        decision: DecisionId::generate(ambient),
        evaluations: &evaluations,
        policy: "default_allow",
        policy_version: "0123456789abcdef",
        reason: Some("a reason"),
        subject: "user_prompt",
        verdict: "warn",
        effect: "ask",
        facts: r#"{"model":"é"}"#,
        instance: InstanceId::generate(ambient),
        kept: None,
        received_at: now + TimeDelta::microseconds(2),
        resource: &Resource::installation("part"),
        resource_id: "part",
        targets: &["first".into(), "second".into()],
    };
    let ended = EndedEntry {
        action,
        answer: Some((12, Some(sha256(b"answer")))),
        at: now + TimeDelta::microseconds(3),
        effect: "ask",
        facts: Some(r#"{"tokens":15}"#),
        inspections: &evaluations,
        kept: &kept[1..],
        latency_ms: Some(13),
        reason: Some("another reason"),
        status: "failed",
        usage: Usage { calls: 14, input_tokens: 15, output_tokens: 17, cost: Microdollars(16) },
    };
    let attempted = AttemptedEntry {
        action,
        at: now,
        judged: Some(&Judged { bytes: 22, sha256: sha256(b"other bytes"), evaluations: &evaluations }),
        effect: "ask",
        number: 20,
        target: "second",
        used: Usage { calls: 23, input_tokens: 24, output_tokens: 26, cost: Microdollars(25) },
        why: "why",
    };
    let heads =
        [systemprompt_extension::ledger::ChainHead { chain: Uuid::from_u128(17), hash: "18".repeat(32), seq: 19 }];
    let signature = Signature::of(&signing_key(tempfile::tempdir().unwrap().path()).unwrap(), now, &[], &heads);
    let decided = DecidedEntry { kept: Some(&kept[..1]), ..decided };
    vec![
        (EntryKind::Decided, decided.seal()),
        (EntryKind::Attempted, attempted.seal()),
        (EntryKind::Ended, ended.seal()),
        (EntryKind::Abandoned, entry::abandoned(action, "ask", now)),
        (EntryKind::Checkpoint, entry::checkpoint(&heads, "regular", Some(&signature), now)),
    ]
}

#[tokio::test]
async fn every_field_of_every_entry_is_written_read_and_verified_from_an_export_alone() {
    let ambient = Ambient::system();
    let entries = filled(&ambient);
    assert_eq!(entries.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), EntryKind::ALL);
    for (kind, entry) in &entries {
        // What is read and not written is missing or empty here; what is written and not read is not among the fields.
        let record = Record::read(*kind, &entry.body).unwrap_or_else(|error| panic!("{kind}: {error}\n{}", entry.body));
        let value: Value = serde_json::from_str(&entry.body).unwrap();
        assert_eq!(canonical::canonical(&value), entry.body, "{kind}: the body is canonical");
        let empty = format!("{record:?}");
        assert!(!empty.contains("None") && !empty.contains("[]"), "{kind}: a field is empty: {empty}");
        let mut fields = Vec::new();
        collect_fields(&value, &mut fields);
        for field in fields {
            assert!(empty.contains(&format!("{field}: ")), "{kind}: `{field}` is not read: {empty}");
        }
    }
    let mut texts: Vec<String> = Vec::new();
    for (_, entry) in &entries[..1] {
        collect_leaves(&serde_json::from_str(&entry.body).unwrap(), &mut texts);
    }
    let total = texts.len();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), total, "every value is distinct");

    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    for (kind, entry) in entries.clone() {
        match kind {
            EntryKind::Decided => drop(fixture.ledger.admit(entry, "ask").await.unwrap()),
            _ => fixture.ledger.append(entry).await.unwrap(),
        }
    }
    fixture.drained().await;
    let pool = database.pool.write();
    // The checkpoint speaks of a chain that is not there.
    let report = verify(pool, &Remembered::default(), &[]).await.unwrap();
    assert_eq!(report.verified, 6, "{report:?}");
    assert_eq!(report.problems.len(), 1);

    let seen = Remembered::default();
    let exported = exported(pool, &seen, None).await;
    for (_, entry) in &entries {
        let body = serde_json::to_string(&entry.body).unwrap();
        assert!(exported.contains(&body), "the export holds the hashed bytes");
    }
    // The checkpoint that speaks of a chain that is not there is named here, too.
    let problems = read_export(&exported, &seen);
    assert!(matches!(problems.as_slice(), [problem] if problem.contains("saw them")), "{problems:?}");
    let problems = read_export(&exported.replace("another reason", "another person"), &seen);
    // The dropped permit of the decision comes before what was appended by hand.
    assert!(problems.iter().any(|problem| problem.contains("entry 4: it was changed")), "{problems:?}");
}

/// An export of everything, signed if there is a home.
async fn exported(pool: &PgPool, seen: &Remembered, home: Option<&Checkpoints>) -> String {
    let mut out = Vec::new();
    let export = Export { signer: home, home: Some(seen), ..Export::default() };
    super::export::export(pool, &export, DateTime::UNIX_EPOCH, Out::Jsonl(&mut out)).await.unwrap();
    String::from_utf8(out).unwrap()
}

/// What whoever has nothing but the export and what a home remembers finds wrong with it.
fn read_export(export: &str, seen: &Remembered) -> Vec<String> {
    let mut lines = systemprompt_verify::read::Jsonl::new(Cursor::new(export));
    let report = systemprompt_verify::verify::verify(&mut lines, &trust(seen)).unwrap();
    report.problems.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn an_export_proves_itself_and_any_change_of_it_is_named() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let home = seven_entries(&database).await;
    let checkpoints = Checkpoints::open(home.path()).unwrap();
    let before = keys::public_keys(home.path()).unwrap();
    let (_, after) = keys::rotate(home.path(), DateTime::UNIX_EPOCH).unwrap();
    let seen = remembered(home.path());
    let whole = exported(pool, &seen, Some(&checkpoints)).await;
    assert!(whole.contains(&after.key), "it is signed with the new key");
    assert_eq!(read_export(&whole, &seen), [""; 0]);
    // Who knows the first key follows it to the second; who knows another one trusts neither.
    let mut first = Remembered::default();
    first.trust(before);
    assert_eq!(read_export(&whole, &first), [""; 0]);
    let elsewhere = tempfile::tempdir().unwrap();
    signing_key(elsewhere.path()).unwrap();
    let mut strange = Remembered::default();
    strange.trust(keys::public_keys(elsewhere.path()).unwrap());
    let problems = read_export(&whole, &strange);
    assert!(
        problems.iter().any(|problem| problem.contains("no trusted signature covers entries 1 to 7")),
        "{problems:?}"
    );

    // Whatever line is taken out, doubled or exchanged with the next, and whatever character is changed, it is named.
    let lines: Vec<&str> = whole.lines().collect();
    for at in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(at);
        let mut twice = lines.clone();
        twice.insert(at, lines[at]);
        let mut swapped = lines.clone();
        swapped.swap(at, (at + 1) % lines.len());
        for (what, changed) in [("without", without), ("twice", twice), ("swapped", swapped)] {
            // Where checkpoints stand among entries says nothing.
            let in_order = |lines: &[&str]| {
                let rest = lines.iter().filter(|line| !line.starts_with("{\"checkpoint"));
                rest.map(|line| (*line).to_owned()).collect::<Vec<_>>()
            };
            if what == "swapped" && in_order(&changed) == in_order(&lines) {
                continue;
            }
            let text = changed.join("\n") + "\n";
            let mut reader = systemprompt_verify::read::Jsonl::new(Cursor::new(text));
            let report = systemprompt_verify::verify::verify(&mut reader, &trust(&seen));
            assert!(report.is_err() || !report.unwrap().is_sound(), "line {at} {what}");
        }
    }
    let beginning = whole.find("{\"entry\"").unwrap();
    for at in (beginning..whole.len()).step_by(7).filter(|at| whole.as_bytes()[*at].is_ascii_alphanumeric()) {
        let mut changed = whole.clone().into_bytes();
        changed[at] = if changed[at] == b'7' { b'8' } else { b'7' };
        let mut reader = systemprompt_verify::read::Jsonl::new(Cursor::new(changed));
        let report = systemprompt_verify::verify::verify(&mut reader, &trust(&seen));
        assert!(
            report.is_err() || !report.unwrap().is_sound(),
            "character {at}: {}",
            &whole[at.saturating_sub(40)..=at]
        );
    }

    // A part of it.
    let (third,): (DateTime<Utc>,) =
        sqlx::query_as("SELECT at FROM ledger WHERE seq = 3").fetch_one(pool).await.unwrap();
    let mut out = Vec::new();
    let part = Export { since: Some(third), signer: Some(&checkpoints), home: Some(&seen), ..Export::default() };
    let Exported { entries, left_out } = export(pool, &part, DateTime::UNIX_EPOCH, Out::Jsonl(&mut out)).await.unwrap();
    assert!((1..7).contains(&entries) && left_out == 0, "{entries}");
    assert_eq!(read_export(&String::from_utf8(out).unwrap(), &seen), [""; 0]);
}

/// Writes a table with what proves it beside it.
async fn exported_table(pool: &PgPool, wanted: &Export<'_>, path: &Path) -> Exported {
    let (mut table, mut proof) = (Vec::new(), Vec::new());
    let out = match path.extension().and_then(|end| end.to_str()) {
        Some("csv") => Out::Csv { entries: &mut table, proof: &mut proof },
        _ => Out::Parquet { entries: &mut table, proof: &mut proof },
    };
    let exported = export(pool, wanted, DateTime::UNIX_EPOCH, out).await.unwrap();
    std::fs::write(path, table).unwrap();
    std::fs::write(format!("{}.proof", path.display()), proof).unwrap();
    exported
}

#[tokio::test]
async fn an_export_as_a_table_and_one_of_a_few_prove_themselves_too() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let home = tempfile::tempdir().unwrap();
    let setup = Setup { checkpoints: Some(Checkpoints::open(home.path()).unwrap()), ..Setup::default() };
    let fixture = setup.start(&database.pool).await;
    finish(fixture.admit("hello").await.unwrap(), "hi");
    drop(fixture.admit("never mind").await.unwrap());
    finish(fixture.admit("hello").await.unwrap(), "hi");
    fixture.drained().await;
    let checkpoints = Checkpoints::open(home.path()).unwrap();
    let seen = remembered(home.path());
    let everything = Export { signer: Some(&checkpoints), home: Some(&seen), ..Export::default() };
    let of = |selection| Export { only: selection, signer: Some(&checkpoints), home: Some(&seen), ..Export::default() };
    let files = tempfile::tempdir().unwrap();
    let verified = |path: &Path| {
        let mut lines = systemprompt_verify::open::open(path).unwrap();
        systemprompt_verify::verify::verify(&mut *lines, &trust(&seen))
    };
    let completed = Selection { status: Some("completed".to_owned()), ..Selection::default() };
    for name in ["ledger.csv", "ledger.parquet"] {
        let path = files.path().join(name);
        assert_eq!(exported_table(pool, &everything, &path).await, Exported { entries: 7, left_out: 0 });
        let report = verified(&path).unwrap();
        assert_eq!((report.problems.as_slice(), report.verified, report.left_out), ([].as_slice(), 7, 0), "{name}");

        let exported = exported_table(pool, &of(completed.clone()), &path).await;
        assert!(exported.entries > 0 && exported.left_out > 0, "{exported:?}");
        let report = verified(&path).unwrap();
        assert_eq!(report.problems, [], "{name}");
        assert_eq!((report.verified, report.left_out), (exported.entries, exported.left_out), "{name}");

        // What was left out cannot be taken away, changed, or be more than the filter explains.
        let proof = format!("{}.proof", path.display());
        let lines = std::fs::read_to_string(&proof).unwrap();
        let link = lines.lines().find(|line| line.starts_with(r#"{"link""#)).unwrap();
        let filter = r#""filter":{"status":"completed"},"#;
        assert!(lines.contains(filter), "{lines}");
        let cut = format!("{link}\n");
        let changed = link.replace(r#""at":"#, r#""at":1"#);
        for (from, to) in [(cut.as_str(), ""), (link, changed.as_str()), (filter, "")] {
            std::fs::write(&proof, lines.replacen(from, to, 1)).unwrap();
            let report = verified(&path);
            assert!(report.is_err() || !report.unwrap().is_sound(), "{name}: {from}");
        }
    }
    let path = files.path().join("ledger.csv");
    exported_table(pool, &everything, &path).await;
    let forged = std::fs::read_to_string(&path).unwrap().replacen("demo", "dem0", 1);
    std::fs::write(&path, forged).unwrap();
    assert!(!verified(&path).unwrap().is_sound());
    // A table of Parquet has a checksum of nothing: what it says is compared with the hashes.
    let path = files.path().join("ledger.parquet");
    exported_table(pool, &everything, &path).await;
    let mut forged = std::fs::read(&path).unwrap();
    let at = forged.windows(4).position(|window| window == b"demo").unwrap();
    forged[at] = b'D';
    std::fs::write(&path, forged).unwrap();
    assert!(verified(&path).map_or(true, |report| !report.is_sound()));

    // Whoever is asked about.
    let by: Value = sqlx::query_scalar("SELECT body::jsonb -> 'by' FROM ledger WHERE kind = 'decided' LIMIT 1")
        .fetch_one(pool)
        .await
        .unwrap();
    let user = by["user"].as_str().map(|user| user.parse().unwrap());
    let model = |glob: &str| Some(Pattern::new(glob).unwrap());
    for (selection, expected) in [
        (Selection { user, ..Selection::default() }, true),
        (Selection { user: Some(UserId::from_uuid(Uuid::from_u128(7))), ..Selection::default() }, false),
        (Selection { model: model("dem*"), ..Selection::default() }, true),
        (Selection { model: model("other"), ..Selection::default() }, false),
        (Selection { keys: Some(vec![ApiKeyId::from_uuid(Uuid::from_u128(7))]), ..Selection::default() }, false),
        (Selection { session: Some((Uuid::nil(), Uuid::nil())), ..Selection::default() }, false),
        (Selection { policy: Some("nobody's".to_owned()), ..Selection::default() }, false),
        (Selection { status: Some("pending".to_owned()), ..Selection::default() }, false),
    ] {
        let mut out = Vec::new();
        let exported = export(pool, &of(selection.clone()), DateTime::UNIX_EPOCH, Out::Jsonl(&mut out)).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.contains(r#"\"kind\":\"decided\""#), expected, "{selection:?}: {text}");
        assert_eq!(exported.entries + exported.left_out, 7, "{selection:?}");
        assert_eq!(read_export(&text, &seen), [""; 0], "{selection:?}");
    }
}

/// The names of the fields that are ours. What features and policies say is kept as it is.
fn collect_fields(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                names.push(name.clone());
                if !["facts", "evaluations", "inspections"].contains(&name.as_str()) {
                    collect_fields(value, names);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|value| collect_fields(value, names)),
        _ => {}
    }
}

fn collect_leaves(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.values().for_each(|value| collect_leaves(value, texts)),
        Value::Array(items) => items.iter().for_each(|value| collect_leaves(value, texts)),
        leaf => texts.push(leaf.to_string()),
    }
}

/// A projection for tests: how each action stands.
struct Standing {
    /// Fails while this is set.
    broken: AtomicBool,
    /// Told when it begins to forget, and waited for until it may go on.
    forgetting: Option<(Notify, Notify)>,
    applied: Mutex<Vec<(Uuid, i64)>>,
}

impl Standing {
    fn new() -> Arc<Self> {
        Arc::new(Self { broken: AtomicBool::new(false), forgetting: None, applied: Mutex::default() })
    }
}

const STANDING: &str =
    "CREATE TABLE IF NOT EXISTS standing (id UUID PRIMARY KEY, status TEXT NOT NULL, ends BIGINT NOT NULL);";

#[async_trait]
impl Projection for Standing {
    fn name(&self) -> &'static str {
        "standing"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["standing"]
    }

    async fn apply(&self, connection: &mut PgConnection, entries: &[LedgerEntry]) -> Result<(), ProjectionError> {
        for entry in entries {
            match &entry.record {
                Record::Decided(decided) => {
                    sqlx::query("INSERT INTO standing (id, status, ends) VALUES ($1, $2, 0)")
                        .bind(decided.action.as_uuid())
                        .bind(if decided.is_refused() { "rejected" } else { "pending" })
                        .execute(&mut *connection)
                        .await?;
                }
                Record::Ended(ended) => {
                    sqlx::query("UPDATE standing SET status = $2, ends = ends + 1 WHERE id = $1")
                        .bind(ended.action.as_uuid())
                        .bind(&ended.status)
                        .execute(&mut *connection)
                        .await?;
                }
                _ => {}
            }
        }
        if self.broken.load(Ordering::Relaxed) {
            return Err(ProjectionError::Database(sqlx::Error::RowNotFound));
        }
        self.applied.lock().unwrap().extend(entries.iter().map(|entry| (entry.chain, entry.seq)));
        Ok(())
    }

    async fn forget(&self, connection: &mut PgConnection, actions: &[ActionId]) -> Result<(), ProjectionError> {
        let actions: Vec<Uuid> = actions.iter().map(ActionId::as_uuid).collect();
        sqlx::query("DELETE FROM standing WHERE id = ANY ($1)").bind(&actions).execute(connection).await?;
        if let Some((begun, go_on)) = &self.forgetting {
            begun.notify_one();
            go_on.notified().await;
        }
        Ok(())
    }
}

fn module_with_standing() -> Module {
    let mut module = module();
    module.schemas.push(SchemaDefinition::inline("standing", STANDING));
    module
}

async fn standing(pool: &PgPool) -> Vec<(String, i64, i64)> {
    sqlx::query_as("SELECT status, COUNT(*), SUM(ends)::bigint FROM standing GROUP BY 1 ORDER BY 1")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn projections_apply_every_entry_once_and_agree_with_the_log() {
    let database = testing::database(&[module_with_standing()]).await;
    let pool = database.pool.write();
    let first = Standing::new();
    let second = Standing::new();
    let start = |name, projection: &Arc<Standing>| {
        let projections: Vec<Arc<dyn Projection>> =
            vec![Arc::clone(projection) as _, Arc::new(crate::decisions::Decisions)];
        Setup { name, projections, ..Setup::default() }.start(&database.pool)
    };
    let (a, b) = (start("a", &first).await, start("b", &second).await);
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    tracker.spawn(Arc::clone(&a.ledger).project(stop.clone()));
    tracker.spawn(Arc::clone(&b.ledger).project(stop.clone()));
    for _ in 0..30 {
        for fixture in [&a, &b] {
            for permit in join_all((0..5).map(|_| fixture.admit("hello"))).await {
                finish(permit.unwrap(), "hi");
            }
        }
        a.refuse().await;
        b.ledger.catch_up().await.unwrap();
    }
    // A reader that asks for it sees its own write.
    let open = a.admit("still open").await.unwrap();
    b.ledger.catch_up().await.unwrap();
    let (seen,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM governance_decisions WHERE action_id = $1")
        .bind(open.id().as_uuid())
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(seen, 1);
    finish(open, "hi");
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    let ledger = Arc::clone(&a.ledger);
    let projections = ledger.projector().projections().to_vec();
    a.drained().await;
    b.drained().await;
    ledger.catch_up().await.unwrap();

    let expected = vec![("completed".to_owned(), 301, 301), ("rejected".to_owned(), 30, 0)];
    assert_eq!(standing(pool).await, expected);
    let mut applied = first.applied.lock().unwrap().clone();
    applied.extend(second.applied.lock().unwrap().iter());
    let total = applied.len();
    applied.sort_unstable();
    applied.dedup();
    assert_eq!((applied.len(), total), (632, 632), "each entry once, by one replica or the other");
    let report = verify(pool, &Remembered::default(), &projections).await.unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(report.projections, ["standing", "governance_decisions"]);

    // Dropped and rebuilt, it is the same.
    sqlx::raw_sql("DELETE FROM standing").execute(pool).await.unwrap();
    assert_eq!(ledger.projector().rebuild("standing").await.unwrap(), 632);
    assert_eq!(standing(pool).await, expected);
    assert!(matches!(ledger.projector().rebuild("nothing").await, Err(CatchUpError::Unknown(_))));
    for status in ledger.projector().status().await.unwrap() {
        assert_eq!((status.behind, status.error), (0, None), "{}", status.name);
    }
}

#[tokio::test]
async fn rows_that_the_log_does_not_say_are_noticed() {
    let database = testing::database(&[module_with_standing()]).await;
    let pool = database.pool.write();
    let projections: Vec<Arc<dyn Projection>> = vec![Standing::new()];
    let fixture = Setup { projections: projections.clone(), ..Setup::default() }.start(&database.pool).await;
    finish(fixture.admit("hello").await.unwrap(), "hi");
    fixture.refuse().await;
    let ledger = Arc::clone(&fixture.ledger);
    fixture.drained().await;
    ledger.catch_up().await.unwrap();
    assert_eq!(verify(pool, &Remembered::default(), &projections).await.unwrap().problems, []);
    for (change, expected) in [
        (
            "UPDATE standing SET status = 'completed' WHERE status = 'rejected'",
            "the row was changed: `status` is completed, the log says rejected",
        ),
        ("INSERT INTO standing VALUES (gen_random_uuid(), 'completed', 1)", "there is no entry for this row"),
        ("DELETE FROM standing WHERE status = 'rejected'", "the row that the log says is missing"),
    ] {
        sqlx::raw_sql(change).execute(pool).await.unwrap();
        let problems = verify(pool, &Remembered::default(), &projections).await.unwrap().problems;
        assert!(problems.iter().any(|problem| problem.problem.starts_with(expected)), "{change}: {problems:?}");
        assert!(problems.iter().all(|problem| problem.projection.as_deref() == Some("standing")));
        ledger.projector().rebuild("standing").await.unwrap();
    }
}

#[tokio::test]
async fn a_projection_that_fails_stands_alone() {
    let database = testing::database(&[module_with_standing()]).await;
    let pool = database.pool.write();
    let broken = Standing::new();
    broken.broken.store(true, Ordering::Relaxed);
    let projections: Vec<Arc<dyn Projection>> = vec![Arc::clone(&broken) as _, Arc::new(crate::decisions::Decisions)];
    let fixture = Setup { projections, ..Setup::default() }.start(&database.pool).await;
    finish(fixture.admit("hello").await.unwrap(), "hi");
    let error = fixture.ledger.catch_up().await.unwrap_err();
    assert!(matches!(&error, CatchUpError::Failed { name: "standing", .. }), "{error}");
    assert_eq!(fixture.ledger.projector().failures()[0].0, "standing");
    assert!(standing(pool).await.is_empty(), "nothing of it is left half done");
    let (decisions,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM governance_decisions").fetch_one(pool).await.unwrap();
    assert_eq!(decisions, 1, "the other one goes on");
    finish(fixture.admit("and so does the log").await.unwrap(), "hi");

    broken.broken.store(false, Ordering::Relaxed);
    let ledger = Arc::clone(&fixture.ledger);
    fixture.drained().await;
    ledger.catch_up().await.unwrap();
    assert_eq!(standing(pool).await, [("completed".to_owned(), 2, 2)]);
    assert!(ledger.projector().failures().is_empty());
}

/// Appends an entry as somebody would who can write to the database and knows how hashes are made.
async fn append_raw(pool: &PgPool, chain: Uuid, kind: &str, action: Uuid, body: &str) -> i64 {
    let (seq, hash, at): (i64, Vec<u8>, DateTime<Utc>) =
        sqlx::query_as("SELECT seq, hash, at FROM ledger_chains WHERE chain_id = $1")
            .bind(chain)
            .fetch_one(pool)
            .await
            .unwrap();
    let at = at.max(DateTime::UNIX_EPOCH + TimeDelta::days(1));
    let hash = chain::link_hash(&hash.try_into().unwrap(), seq + 1, at, &sha256(body.as_bytes()));
    sqlx::query("INSERT INTO ledger VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(chain)
        .bind(seq + 1)
        .bind(at)
        .bind(kind)
        .bind(action)
        .bind(body)
        .bind(&hash[..])
        .execute(pool)
        .await
        .unwrap();
    sqlx::query("UPDATE ledger_chains SET seq = $2, hash = $3, at = $4 WHERE chain_id = $1")
        .bind(chain)
        .bind(seq + 1)
        .bind(&hash[..])
        .bind(at)
        .execute(pool)
        .await
        .unwrap();
    seq + 1
}

fn module_with_changes() -> Module {
    let mut module = module_with_standing();
    let changes = include_str!("../../schema/changes.sql");
    module.schemas.push(SchemaDefinition::inline("governance_changes", changes));
    module
}

#[tokio::test]
async fn what_only_a_newer_version_understands_is_left_out() {
    let database = testing::database(&[module_with_standing()]).await;
    let pool = database.pool.write();
    let projections: Vec<Arc<dyn Projection>> = vec![Standing::new(), Arc::new(crate::decisions::Decisions)];
    let fixture = Setup { projections: projections.clone(), ..Setup::default() }.start(&database.pool).await;
    fixture.refuse().await;
    let ledger = Arc::clone(&fixture.ledger);
    let (_, decided) = filled(&fixture.ambient).swap_remove(0);
    fixture.drained().await;
    let chain = chains::chain_of("here");
    let newer = decided.body.replacen('{', r#"{"aaa":{"new":1},"#, 1).replace(r#""by":{"#, r#""by":{"aaa":[2],"#);
    append_raw(pool, chain, "decided", decided.action, &newer).await;
    let novel = format!(r#"{{"action":"{}","kind":"novel","of":[3]}}"#, decided.action);
    append_raw(pool, chain, "novel", decided.action, &novel).await;

    ledger.catch_up().await.unwrap();
    assert_eq!(standing(pool).await, [("pending".to_owned(), 1, 0), ("rejected".to_owned(), 1, 0)]);
    for status in ledger.projector().status().await.unwrap() {
        assert_eq!((status.behind, status.error), (0, None), "{}", status.name);
    }
    let report = verify(pool, &Remembered::default(), &projections).await.unwrap();
    assert_eq!((report.problems.as_slice(), report.verified), ([].as_slice(), 3));
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_stops_projections_in_front_of_it_and_is_named() {
    let database = testing::database(&[module_with_standing()]).await;
    let pool = database.pool.write();
    let projections: Vec<Arc<dyn Projection>> = vec![Standing::new(), Arc::new(crate::decisions::Decisions)];
    let fixture = Setup { projections: projections.clone(), ..Setup::default() }.start(&database.pool).await;
    fixture.refuse().await;
    let ledger = Arc::clone(&fixture.ledger);
    let (_, decided) = filled(&fixture.ambient).swap_remove(0);
    fixture.drained().await;
    let chain = chains::chain_of("here");
    append_raw(pool, chain, "ended", decided.action, r#"{"kind":"ended"}"#).await;
    append_raw(pool, chain, "decided", decided.action, &decided.body).await;

    let error = ledger.catch_up().await.unwrap_err();
    let place = format!("entry 2 of chain {chain}");
    assert!(error.to_string().contains(&place), "{error}");
    assert_eq!(standing(pool).await, [("rejected".to_owned(), 1, 0)], "what comes before it is applied");
    assert_eq!(ledger.projector().failures().len(), 2);
    // Everybody who asks is told, not only the process that applies.
    let elsewhere = Projector::new(&database.pool, projections, &Metrics::new());
    for status in elsewhere.status().await.unwrap() {
        assert_eq!(status.behind, 2);
        assert!(status.error.as_ref().is_some_and(|error| error.contains(&place)), "{status:?}");
        assert!(status.failing_since.is_some());
    }

    run(pool, "UPDATE ledger SET kind = 'novel' WHERE seq = 2").await;
    elsewhere.catch_up().await.unwrap();
    for status in elsewhere.status().await.unwrap() {
        assert_eq!((status.behind, status.error), (0, None), "{}", status.name);
    }
}

#[tokio::test]
async fn a_repeated_entry_stops_no_projection() {
    let database = testing::database(&[module_with_changes()]).await;
    let pool = database.pool.write();
    let projections: Vec<Arc<dyn Projection>> =
        vec![Arc::new(crate::decisions::Decisions), Arc::new(crate::changes::Changes)];
    let fixture = Setup { projections, ..Setup::default() }.start(&database.pool).await;
    let change = Change::new("user.create", About::new("user", "somebody"), &json!({}));
    let by = Attribution::system(&fixture.ambient);
    fixture.gate.change(by, change, async || Ok::<_, String>(Changed::unseen(()))).await.unwrap();
    let ledger = Arc::clone(&fixture.ledger);
    fixture.drained().await;
    ledger.catch_up().await.unwrap();
    let entries: Vec<(String, Uuid, String)> =
        sqlx::query_as("SELECT kind, action_id, body FROM ledger ORDER BY seq").fetch_all(pool).await.unwrap();
    assert_eq!(entries.len(), 2);
    for (kind, action, body) in &entries {
        append_raw(pool, chains::chain_of("here"), kind, *action, body).await;
    }
    ledger.catch_up().await.unwrap();
    let changes: Vec<(String, String)> =
        sqlx::query_as("SELECT operation, status FROM governance_changes").fetch_all(pool).await.unwrap();
    assert_eq!(changes, [("user.create".to_owned(), "completed".to_owned())]);
    let (decisions,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM governance_decisions").fetch_one(pool).await.unwrap();
    assert_eq!(decisions, 1);
}

#[tokio::test]
async fn a_change_about_something_without_a_name_stops_no_projection() {
    let database = testing::database(&[module_with_changes()]).await;
    let pool = database.pool.write();
    let projections: Vec<Arc<dyn Projection>> = vec![Arc::new(Changes)];
    let fixture = Setup { projections, ..Setup::default() }.start(&database.pool).await;
    for (kind, id) in [("user", ""), ("", ""), ("user", "somebody")] {
        let change = Change::new("user.create", About::new(kind, id), &json!({}));
        let by = Attribution::system(&fixture.ambient);
        fixture.gate.change(by, change, async || Ok::<_, String>(Changed::unseen(()))).await.unwrap();
    }
    let ledger = Arc::clone(&fixture.ledger);
    fixture.drained().await;
    ledger.catch_up().await.unwrap();
    let (bodies,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM ledger WHERE kind = 'decided' AND body NOT LIKE '%about_id%'")
            .fetch_one(pool)
            .await
            .unwrap();
    assert_eq!(bodies, 2, "what is empty is left out");
    let changes: Vec<(String, String, String)> =
        sqlx::query_as("SELECT about_kind, about_id, status FROM governance_changes ORDER BY id")
            .fetch_all(pool)
            .await
            .unwrap();
    let change = |kind: &str, id: &str| (kind.to_owned(), id.to_owned(), "completed".to_owned());
    assert_eq!(changes, [change("user", ""), change("", ""), change("user", "somebody")]);
    assert_eq!(ledger.projector().rebuild(Changes::NAME).await.unwrap(), 6);
}

/// Name, size, and what is kept: the whole, or both ends.
type Part = (String, i64, Option<String>, Option<String>, Option<String>);

#[tokio::test]
async fn content_is_kept_as_the_retention_setting_says() {
    let long = "é".repeat(700_000);
    let short = r#"{"messages":[{"role":"user","content":"hello"}]}"#;
    let leak = concat!(r#"{"messages":[{"role":"user","content":"AKIA"#, r#"IOSFODNN7EXAMPLQ"}]}"#);
    let warn = serde_json::from_value(json!({"mode": "warn", "policies": [{"id": "secret_scan"}]})).unwrap();
    for (content, request, kept) in [
        (ContentRetention::None, short, "nothing"),
        (ContentRetention::Excerpt, short, "whole"),
        (ContentRetention::Excerpt, long.as_str(), "excerpt"),
        (ContentRetention::Full, short, "whole"),
        (ContentRetention::Full, long.as_str(), "excerpt"),
        (ContentRetention::Full, leak, "redacted"),
    ] {
        let database = testing::database(&[module()]).await;
        let setup = Setup { retention: Retention::of(content, 30, None), ..Setup::default() };
        let mut fixture = setup.start(&database.pool).await;
        let leases = Leases::new(Arc::clone(&database.pool), fixture.ambient.clone());
        let policies = PolicyChain::new(&warn, Vec::new(), &leases, None).unwrap();
        fixture.gate = Gate::new(None, policies, Arc::clone(&fixture.ledger), &Metrics::new());
        let permit = fixture.admit(request).await.unwrap();
        let id = permit.id();
        finish(permit, "hi");
        fixture.drained().await;

        let pool = database.pool.read();
        let entries = entries_of(pool, id).await;
        assert_eq!(entries[0].1["content"]["bytes"].as_u64(), Some(request.len() as u64));
        assert_eq!(entries[1].1["answer"]["sha256"], hex::encode(sha256(b"hi")));
        let parts: Vec<Part> = sqlx::query_as("SELECT part, bytes, body, head, tail FROM ledger_content ORDER BY part")
            .fetch_all(pool)
            .await
            .unwrap();
        let names: Vec<_> = parts.iter().map(|part| part.0.as_str()).collect();
        let body = |name: &str| parts.iter().find(|part| part.0 == name).and_then(|part| part.2.as_deref());
        match kept {
            "nothing" => assert!(parts.is_empty()),
            "whole" => {
                assert_eq!(names, ["answer", "request", "tool_call.0"]);
                let bodies = (body("answer"), body("request"), body("tool_call.0"));
                assert_eq!(bodies, (Some("hi"), Some(request), Some(r#"{"q":1}"#)));
            }
            "excerpt" => {
                assert_eq!(names, ["answer", "request", "tool_call.0"]);
                let (_, bytes, whole, head, tail) = &parts[1];
                assert_eq!((*bytes, whole), (1_400_000, &None));
                let lengths = (head.as_ref().map(String::len), tail.as_ref().map(String::len));
                assert_eq!(lengths, (Some(EXCERPT), Some(EXCERPT)));
            }
            _ => {
                assert_eq!(names, ["request"], "an answer may repeat what was found");
                assert_eq!(body("request"), Some(r#"{"messages":[{"role":"user","content":"[redacted]"}]}"#));
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
    finish(fixture.admit("old").await.unwrap(), "hi");
    // Written after everything that waits.
    fixture.ledger.append(entry::checkpoint(&[], "hourly", None, clock.now())).await.unwrap();
    clock.advance(TimeDelta::days(29));
    let new = fixture.admit("new").await.unwrap();
    let new_id = new.id();
    finish(new, "hi");
    let ledger = fixture.ledger.clone();
    fixture.drained().await;

    assert_eq!(ledger.sweep(clock.now()).await.unwrap(), 0);
    clock.advance(TimeDelta::days(2));
    assert_eq!(ledger.sweep(clock.now()).await.unwrap(), 1);
    let left: Vec<(Uuid,)> =
        sqlx::query_as("SELECT DISTINCT action_id FROM ledger_content").fetch_all(pool).await.unwrap();
    assert_eq!(left, [(new_id.as_uuid(),)]);
    assert_eq!(assert_sound(pool).await.verified, 5, "the log is as it was");
}

#[tokio::test]
async fn segments_are_months_and_made_ahead() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let clock = Arc::new(ManualClock::new("2031-12-31T23:59:59.999Z".parse().unwrap()));
    let ambient = Ambient { clock: clock.clone(), ..Ambient::system() };
    let fixture = Setup { ambient, ..Setup::default() }.start(&database.pool).await;
    let before = fixture.admit("the old year").await.unwrap();
    clock.advance(TimeDelta::milliseconds(2));
    finish(before, "hi");
    finish(fixture.admit("the new year").await.unwrap(), "hi");
    // Written after everything that waits.
    fixture.ledger.append(entry::checkpoint(&[], "hourly", None, clock.now())).await.unwrap();
    clock.advance(TimeDelta::days(70));
    finish(fixture.admit("nobody made this month").await.unwrap(), "hi");
    fixture.drained().await;
    let segments: Vec<(String, i64)> =
        sqlx::query_as("SELECT tableoid::regclass::text, COUNT(*) FROM ledger GROUP BY 1 ORDER BY 1")
            .fetch_all(pool)
            .await
            .unwrap();
    let expected = [("ledger_2031_12", 1), ("ledger_2032_01", 4), ("ledger_unsorted", 2)];
    assert_eq!(segments, expected.map(|(name, count)| (name.to_owned(), count)));
    segments::prepare(pool, clock.now()).await.expect("what is there stays where it is");
    assert_sound(pool).await;
}

#[tokio::test]
async fn old_segments_are_dropped_whole_and_the_rest_is_verified() {
    let database = testing::database(&[module_with_standing()]).await;
    let pool = database.pool.write();
    let home = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new("2031-01-15T12:00:00Z".parse().unwrap()));
    let ambient = Ambient { clock: clock.clone(), ..Ambient::system() };
    let start = |checkpoints: Option<Checkpoints>| {
        let retention = Retention::of(ContentRetention::None, 30, Some(31));
        let projections: Vec<Arc<dyn Projection>> = vec![Standing::new()];
        Setup { ambient: ambient.clone(), retention, projections, checkpoints, ..Setup::default() }
    };
    for month in 0..3 {
        let fixture = start(None).start(&database.pool).await;
        fixture.ledger.recover().await.unwrap();
        for _ in 0..4 {
            finish(fixture.admit("hello").await.unwrap(), "hi");
        }
        if month == 1 {
            let running = fixture.admit("decided in February, dropped in March").await.unwrap();
            clock.advance(TimeDelta::days(28));
            drop(running);
        } else {
            clock.advance(TimeDelta::days(31));
        }
        fixture.drained().await;
    }
    let fixture = start(Some(Checkpoints::open(home.path()).unwrap())).start(&database.pool).await;
    // What cannot be signed is not dropped.
    let file = home.path().join("checkpoints.jsonl");
    std::fs::create_dir(&file).unwrap();
    assert!(matches!(fixture.ledger.drop_expired(clock.now()).await, Err(SegmentError::Checkpoint(_))));
    std::fs::remove_dir(&file).unwrap();
    assert!(assert_sound(pool).await.chains[0].from_seq == 1, "everything is there");

    // What a destination has not got yet waits for it, up to a month; one that is not configured any more is waited for by
    // nobody.
    let destination = |name: &str, tried: &str| {
        format!("INSERT INTO ledger_shipments (destination, next_attempt_at) VALUES ('{name}', {tried})")
    };
    run(pool, &destination("gone", "now() - interval '2 days'")).await;
    run(pool, &destination("siem", "now()")).await;
    let cursor = "INSERT INTO ledger_shipment_cursors SELECT 'siem', chain_id, seq - 1 FROM ledger_chains";
    assert_eq!(fixture.ledger.drop_expired(clock.now()).await.unwrap(), 1, "January is a month over its time");
    let page = fixture.metrics.encode();
    assert!(page.contains(r#"ledger_never_shipped_entries_total{destination="siem"} "#), "{page}");
    assert!(!page.contains(r#"{destination="gone"}"#), "{page}");
    assert_eq!(fixture.ledger.drop_expired(clock.now()).await.unwrap(), 0, "February waits");
    run(pool, cursor).await;
    assert_eq!(fixture.ledger.drop_expired(clock.now()).await.unwrap(), 1, "February");
    assert_eq!(fixture.ledger.drop_expired(clock.now()).await.unwrap(), 0);
    let ledger = Arc::clone(&fixture.ledger);
    fixture.drained().await;
    ledger.catch_up().await.unwrap();
    let home = remembered(home.path());
    let cuts: Vec<_> = home.checkpoints.iter().map(|line| line.dropped.len()).collect();
    assert_eq!(
        cuts,
        [0, 0, 1, 0, 1, 0],
        "one to begin with, one before each is dropped and one for it, one at the end"
    );
    let report = verify(pool, &home, ledger.projector().projections()).await.unwrap();
    assert_eq!((report.problems.as_slice(), report.notes.as_slice()), ([].as_slice(), [].as_slice()));
    assert!(report.chains[0].from_seq > 9, "{report:?}");
    assert_eq!(read_export(&exported(pool, &home, None).await, &home), [""; 0]);
    let (left,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM standing").fetch_one(pool).await.unwrap();
    assert_eq!(left, 4, "what was derived from them is gone too");
    assert_eq!(ledger.projector().rebuild("standing").await.unwrap(), report.verified as u64);
    assert_eq!(standing(pool).await, [("completed".to_owned(), 4, 4)]);
}

#[tokio::test]
async fn a_ledger_without_its_tables_does_not_start() {
    let database = testing::empty_database().await;
    let ambient = Ambient::system();
    let options = LedgerOptions {
        instance_id: InstanceId::generate(&ambient),
        name: "here".to_owned(),
        exclusive: true,
        settings: LedgerSettings::default(),
        audit: AuditProfile::default(),
        retention: RetentionProfile::default().resolve(false),
        journal: None,
        checkpoints: None,
    };
    let started =
        Ledger::start(&database.pool, options, Vec::new(), &ambient, &TaskTracker::new(), &Metrics::new()).await;
    assert!(matches!(started, Err(LedgerError::Connect(_))));
}

#[tokio::test]
async fn what_a_lost_connection_left_behind_cannot_write_any_more() {
    let database = testing::database(&[module()]).await;
    let mut connection = database.pool.write().acquire().await.unwrap();
    let (chain, now) = (chains::chain_of("fenced"), Ambient::system().now());
    let lost = chains::announce(&mut connection, chain, "fenced", now).await.unwrap();
    let current = chains::announce(&mut connection, chain, "fenced", now).await.unwrap();
    assert_eq!(lost.head.hash, current.head.hash, "nothing was written meanwhile");

    let entry = entry::abandoned(ActionId::generate(&Ambient::system()), "infer", now);
    let batch = Batch { decisions: Vec::new(), following: vec![Following::new(entry)] };
    let mut written_by = async |generation: i64, from: &Head| {
        let (links, to) = from.extend(batch.entries(), now);
        let rows = Rows::new(&batch, links);
        write(&mut connection, chain, generation, from, &to, to.seq + 1, &rows).await.unwrap()
    };
    assert!(
        !written_by(lost.generation, &lost.head).await,
        "its batch is written by the connection that came after it"
    );
    assert!(written_by(current.generation, &current.head).await);
}

#[tokio::test]
async fn dropping_a_segment_holds_up_nobody_and_nobody_holds_it_up() {
    let database = testing::database(&[module_with_standing()]).await;
    let home = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new("2031-01-15T12:00:00Z".parse().unwrap()));
    let standing = Arc::new(Standing {
        broken: AtomicBool::new(false),
        forgetting: Some((Notify::new(), Notify::new())),
        applied: Mutex::default(),
    });
    let fixture = Setup {
        ambient: Ambient { clock: clock.clone(), ..Ambient::system() },
        retention: Retention::of(ContentRetention::None, 30, Some(31)),
        projections: vec![standing.clone()],
        checkpoints: Some(Checkpoints::open(home.path()).unwrap()),
        ..Setup::default()
    }
    .start(&database.pool)
    .await;
    fixture.ledger.recover().await.unwrap();
    finish(fixture.admit("in January").await.unwrap(), "hi");
    // Written after everything that waits.
    fixture.ledger.append(entry::checkpoint(&[], "hourly", None, clock.now())).await.unwrap();
    clock.advance(TimeDelta::days(70));

    let (begun, go_on) = standing.forgetting.as_ref().unwrap();
    let dropped = AtomicBool::new(false);
    let dropping = async {
        assert_eq!(fixture.ledger.drop_expired(clock.now()).await.expect("the writer is not in its way"), 1);
        dropped.store(true, Ordering::Relaxed);
    };
    let admitting = async {
        begun.notified().await;
        finish(fixture.admit("while January is forgotten").await.expect("it is not in the writer's way"), "hi");
        go_on.notify_one();
        while !dropped.load(Ordering::Relaxed) {
            finish(fixture.admit("while it is dropped").await.expect("it is not in the writer's way"), "hi");
        }
    };
    tokio::join!(dropping, admitting);
    fixture.drained().await;
}
