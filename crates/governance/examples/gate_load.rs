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
use systemprompt_extension::policy::{Subject, Usage};
use systemprompt_extension::{Extension, Metrics};
use systemprompt_governance::access::{AccessRules, Authored, BootstrapOptions, Dimensions};
use systemprompt_governance::config::{GovernanceConfig, PolicyConfig, RateLimitConfig, SecretScanConfig};
use systemprompt_governance::ledger::{
    AuditProfile, ContentRetention, Durability, Ledger, LedgerOptions, LedgerSettings, Payload, Retention,
};
use systemprompt_governance::policy::PolicyChain;
use systemprompt_governance::{Action, Effect, Facts, FactsWriter, Gate, GovernanceExtension, Outcome, Target};
use systemprompt_model::{
    ActionId, ActorChain, Ambient, ApiKeyId, Attribution, Client, Credential, EntityKind, InstanceId, Microdollars,
    Principal, Resource, SessionId, TraceId, UserId, UserType,
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
    let module = Module { id: "governance".to_owned(), schemas: extension.schemas(), ..Module::default() };
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
        name: "load".to_owned(),
        exclusive: true,
        settings: LedgerSettings { durability, ..LedgerSettings::default() },
        audit: AuditProfile::default(),
        retention: Retention::of(ContentRetention::Full, 30, None),
        journal: None,
        checkpoints: None,
    };
    let projections = GovernanceExtension.projections();
    let ledger = Ledger::start(database, options, projections, &ambient, &tracker, &metrics).await.expect("a ledger");
    tracker.spawn(Arc::clone(&ledger).project(stop.clone()));
    let hub = NotificationHub::start(database, &tracker, stop.clone());
    let rules =
        AccessRules::start(Arc::clone(database), ambient.clone(), &hub, Dimensions::default(), &tracker, stop.clone());
    rules
        .bootstrap(
            &serde_json::from_value(serde_json::json!({"rules": [
                {"entity_type": "gateway_route", "entity_id": "default", "roles": ["user"]}
            ]}))
            .expect("a rule"),
            Authored::default(),
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
    let policies = PolicyChain::new(&policies, Vec::new(), &leases, None).expect("policies");
    let gate = Arc::new(Gate::new(Some(rules), policies, Arc::clone(&ledger), &metrics));

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

/// An effect that records about as much as asking a model does.
struct Ask;
struct Answered;

impl Effect for Ask {
    const KIND: &'static str = "ask";
    type Result = Answered;

    fn subject(&self) -> Subject<'_> {
        Subject::Prompt
    }

    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.stranger_id("conversation", Some("3f2a1b9c8d7e6f50"));
        facts.text("dialect", "anthropic-messages");
        facts.count("max_tokens", Some(256));
        facts.text("provider", "demo");
        facts.stranger("requested_model", Some("demo"));
        facts.text("route_match", "*");
        facts.text("upstream_model", "demo-1");
    }
}

impl Facts for Answered {
    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.count("http_status", Some(200));
        facts.count("input_tokens", Some(21));
        facts.stranger("model", Some("demo-1"));
        facts.count("output_tokens", Some(3));
        facts.stranger_id("provider_request_id", Some("req_0123456789"));
        facts.stranger("stop_reason", Some("end_turn"));
    }
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
            let session = Some(SessionId::generate(&ambient));
            let target = Target::new("demo/demo-1");
            let mut latencies = Vec::new();
            while Instant::now() < until {
                let action = Action {
                    id: ActionId::generate(&ambient),
                    by: Attribution {
                        principal: Arc::clone(&principal),
                        actors: ActorChain::user(user),
                        session,
                        context: None,
                        task: None,
                        trace: TraceId::generate(&ambient),
                        client: Some(Client { name: Some("load/1".to_owned()), trace: None }),
                    },
                    resource: Resource::entity(EntityKind::GatewayRoute, "default"),
                    targets: vec![target.clone()],
                    content: Bytes::from_static(REQUEST.as_bytes()),
                    effect: Ask,
                    received_at: ambient.now(),
                };
                let asked = Instant::now();
                let permit = gate.admit(action).await.expect("it is allowed");
                latencies.push(asked.elapsed());
                let (_, running) = permit.begin(&target).expect("it is the target");
                running.finish(Outcome {
                    usage: Usage { calls: 1, input_tokens: 20, output_tokens: 4, cost: Microdollars(75) },
                    answer: Some(Payload::complete(ANSWER.as_bytes())),
                    ..Outcome::completed(Answered)
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
