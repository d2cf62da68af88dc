//! Measures the Gate and its ledger alone: admissions per second, and the processor time they cost in this process and in
//! PostgreSQL, for every mode and several numbers of concurrent callers. Linux only, as it reads `/proc`.
//!
//! ```text
//! cargo run --release -p systemprompt-governance --example gate_load
//! ```
#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use systemprompt_database::lease::{self, Leases};
use systemprompt_database::notify::NotificationHub;
use systemprompt_database::testing::TestCluster;
use systemprompt_database::{Database, DbPool, InstallOptions, Module, install};
use systemprompt_extension::{Extension, Metrics};
use systemprompt_governance::access::{AccessRules, BootstrapOptions, DEPARTMENT};
use systemprompt_governance::config::{GovernanceConfig, PolicyConfig, SecretScanConfig};
use systemprompt_governance::ledger::{
    ContentRetention, Durability, Ledger, LedgerOptions, LedgerSettings, Payload, Retention,
};
use systemprompt_governance::policy::PolicyChain;
use systemprompt_governance::rate_limit::RateLimitConfig;
use systemprompt_governance::{
    Action, ActionKind, EntityKind, Gate, GovernanceExtension, Inference, Outcome, OutcomeStatus, Resource,
};
use systemprompt_model::{
    ActorChain, Ambient, ApiKeyId, Credential, InstanceId, Microdollars, Principal, RequestId, SessionId, TraceId,
    UserId, UserType,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const REQUEST: &str = r#"{"model":"demo","max_tokens":256,"messages":[{"role":"user","content":"Say hello to the people who read this benchmark, in one sentence, please."}]}"#;
const ANSWER: &str = r#"{"id":"msg_01","type":"message","role":"assistant","model":"demo-1","content":[{"type":"text","text":"Hello."}],"stop_reason":"end_turn","usage":{"input_tokens":21,"output_tokens":3}}"#;

#[tokio::main]
async fn main() {
    let cluster = TestCluster::start().await;
    let database = Database::connect(&cluster.connect_options()).await.expect("a database");
    // The servers of tests do not wait for the disk; here it is what is measured.
    sqlx::raw_sql("ALTER SYSTEM SET fsync = on").execute(database.write()).await.expect("a superuser");
    sqlx::raw_sql("ALTER SYSTEM SET synchronous_commit = on").execute(database.write()).await.expect("a superuser");
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(database.write()).await.expect("a superuser");
    let extension = GovernanceExtension;
    let module = Module {
        id: "governance".to_owned(),
        schemas: extension.schemas(),
        seeds: extension.seeds(),
        ..Module::default()
    };
    install(&database, &[lease::module(), module], &InstallOptions::default()).await.expect("the tables");
    println!("mode          callers  requests/s   p50 ms   p99 ms   our us   postgres us   records/commit");
    for durability in [Durability::Durable, Durability::Asynchronous] {
        for callers in [1, 16, 64, 256] {
            measure(&database, durability, callers).await;
        }
    }
}

async fn measure(database: &DbPool, durability: Durability, callers: usize) {
    let ambient = Ambient::system();
    let metrics = Metrics::new();
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let options = LedgerOptions {
        instance_id: InstanceId::generate(&ambient),
        instance_name: "load".to_owned(),
        settings: LedgerSettings { durability, ..LedgerSettings::default() },
        retention: Retention { content: ContentRetention::Full, days: 30 },
    };
    let ledger = Ledger::start(database, options, &ambient, &tracker, &metrics).await.expect("a ledger");
    let hub = NotificationHub::start(database, &tracker, stop.clone());
    let rules = AccessRules::start(
        Arc::clone(database),
        ambient.clone(),
        &hub,
        vec![DEPARTMENT.to_owned()],
        &tracker,
        stop.clone(),
    );
    rules
        .bootstrap(
            &serde_json::from_value(serde_json::json!({"rules": [
                {"entity_type": "gateway_route", "entity_id": "default", "roles": ["user"]}
            ]}))
            .expect("a rule"),
            BootstrapOptions::default(),
        )
        .await
        .expect("the rule is stored");
    let policies = GovernanceConfig {
        policies: vec![
            PolicyConfig::SecretScan(SecretScanConfig::default()),
            PolicyConfig::RateLimit(RateLimitConfig { requests_per_window: 100_000_000, ..RateLimitConfig::default() }),
        ],
        ..GovernanceConfig::default()
    };
    let leases = Leases::new(Arc::clone(database), ambient.clone());
    tracker.spawn(leases.clone().run(stop.clone()));
    let policies = PolicyChain::new(&policies, &leases).expect("policies");
    let gate = Arc::new(Gate::new(rules, policies, Arc::clone(&ledger), &metrics));

    work(&gate, &ambient, callers, Duration::from_millis(500)).await;
    let backend: i32 = sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE application_name LIKE '%:ledger'")
        .fetch_one(database.read())
        .await
        .expect("the ledger's session");
    let cpu = || (cpu_seconds("self"), cpu_seconds(&backend.to_string()));
    let before = cpu();
    let batches = batches(&metrics);
    let started = Instant::now();
    let mut latencies = work(&gate, &ambient, callers, Duration::from_secs(4)).await;
    let took = started.elapsed().as_secs_f64();
    let after = cpu();
    let (ours, theirs) = (after.0 - before.0, after.1 - before.1);
    let now = self::batches(&metrics);

    latencies.sort_unstable();
    let count = latencies.len() as f64;
    let at = |part: f64| latencies[((count - 1.0) * part) as usize].as_secs_f64() * 1e3;
    assert!(ledger.drain(Duration::from_secs(20)).await, "everything is written");
    println!(
        "{:<13} {callers:>7} {:>11.0} {:>8.2} {:>8.2} {:>8.1} {:>13.1} {:>16.1}",
        format!("{durability:?}").to_lowercase(),
        count / took,
        at(0.5),
        at(0.99),
        ours / count * 1e6,
        theirs / count * 1e6,
        (now.1 - batches.1) / (now.0 - batches.0),
    );
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}

/// Callers that ask as fast as they are answered.
async fn work(gate: &Arc<Gate>, ambient: &Ambient, callers: usize, time: Duration) -> Vec<Duration> {
    let until = Instant::now() + time;
    let callers = (0..callers).map(|_| {
        let (gate, ambient) = (Arc::clone(gate), ambient.clone());
        TaskTracker::new().spawn(async move {
            let user = UserId::generate(&ambient);
            let principal = Arc::new(Principal {
                user_id: user,
                user_name: "load".to_owned(),
                user_type: UserType::User,
                roles: vec!["user".to_owned()],
                attributes: std::collections::BTreeMap::new(),
                credential: Credential::ApiKey(ApiKeyId::generate(&ambient)),
            });
            let session_id = SessionId::generate(&ambient);
            let mut latencies = Vec::new();
            while Instant::now() < until {
                let action = Action {
                    id: RequestId::generate(&ambient),
                    principal: Arc::clone(&principal),
                    actors: ActorChain::user(user),
                    session_id,
                    context_id: None,
                    trace_id: TraceId::generate(&ambient),
                    resource: Resource { kind: EntityKind::GatewayRoute, id: "default".to_owned() },
                    content: Bytes::from_static(REQUEST.as_bytes()),
                    kind: ActionKind::Infer(Inference {
                        dialect: "anthropic-messages".to_owned(),
                        provider: "demo".to_owned(),
                        model: "demo-1".to_owned(),
                        requested_model: "demo".to_owned(),
                        route_match: "*".to_owned(),
                        conversation_id: "3f2a1b9c8d7e6f50".to_owned(),
                        max_tokens: Some(256),
                        client: Some("load/1".to_owned()),
                        ..Inference::default()
                    }),
                    received_at: ambient.now(),
                };
                let asked = Instant::now();
                let permit = gate.admit(action).await.expect("it is allowed");
                latencies.push(asked.elapsed());
                permit.finish(Outcome {
                    input_tokens: 21,
                    output_tokens: 3,
                    cost: Microdollars(75),
                    http_status: Some(200),
                    served_model: Some("demo-1".to_owned()),
                    provider_request_id: Some("req_0123456789".to_owned()),
                    stop_reason: Some("end_turn".to_owned()),
                    response: Some(Payload::complete(ANSWER.as_bytes())),
                    ..Outcome::new(OutcomeStatus::Completed, asked.elapsed())
                });
            }
            latencies
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut latencies = Vec::new();
    for caller in callers {
        latencies.extend(caller.await.expect("a caller does not panic"));
    }
    latencies
}

/// User and system time of a process, in seconds.
fn cpu_seconds(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

/// Commits so far and records in them.
fn batches(metrics: &Metrics) -> (f64, f64) {
    let page = metrics.encode();
    let value = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        line.unwrap_or_default()
    };
    (value("ledger_batch_size_count"), value("ledger_batch_size_sum"))
}
