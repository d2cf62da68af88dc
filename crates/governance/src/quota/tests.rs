//! Quotas against PostgreSQL, by several servers.
#![allow(clippy::disallowed_methods, reason = "tests own the tasks they spawn")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::json;
use systemprompt_database::testing::{self, TestDatabase};
use systemprompt_database::{Database, InstallOptions, Migration, Module, install};
use systemprompt_extension::policy::{Estimate, ModelCall, OfferedTools, Phase, PolicyInput, Subject, Texts, Usage};
use systemprompt_extension::{Metrics, SchemaDefinition};
use systemprompt_mail::{Mailer, Security, Settings};
use systemprompt_model::{
    ActionId, Ambient, Attribution, EntityKind, ManualClock, Microdollars, Resource, Secret, SeededEntropy, UserId,
};
use tokio_util::sync::CancellationToken;

use super::*;

#[path = "../../../mail/tests/smtp/server.rs"]
mod smtp;

use smtp::{Manners, SmtpServer};

/// A Thursday, four minutes after ten.
const BEGINNING: &str = "2026-11-26T10:04:00Z";

struct Servers {
    database: TestDatabase,
    clock: Arc<ManualClock>,
    ambient: Ambient,
    quotas: Vec<Arc<Quotas>>,
    policies: Vec<GatewayPolicyConfig>,
    meters: Meters,
    stop: CancellationToken,
    _stop: tokio_util::sync::DropGuard,
}

fn module() -> Module {
    Module {
        id: "quotas".to_owned(),
        required: true,
        schemas: vec![
            SchemaDefinition::inline("ai_quota_buckets", SCHEMA),
            SchemaDefinition::inline("ledger", include_str!("../../schema/ledger.sql")),
        ],
        ..Module::default()
    }
}

async fn servers(count: usize, policies: serde_json::Value) -> Servers {
    let database = testing::database(&[module()]).await;
    let beginning: DateTime<Utc> = BEGINNING.parse().expect("a time");
    let clock = Arc::new(ManualClock::new(beginning));
    let ambient = Ambient { clock: clock.clone(), entropy: Arc::new(SeededEntropy::new(3)) };
    let stop = CancellationToken::new();
    let policies: Vec<GatewayPolicyConfig> = serde_json::from_value(policies).expect("policies");
    assert_eq!(crate::config::quota::flaws(&policies), []);
    let quotas = (0..count).map(|_| quotas(&policies, &database.pool, &ambient, &stop)).collect();
    let meters = Meters::new(&policies);
    Servers { database, clock, ambient, quotas, policies, meters, stop: stop.clone(), _stop: stop.drop_guard() }
}

/// Quotas that tell of three parts of each limit, and are run until `stop`.
fn quotas(policies: &[GatewayPolicyConfig], pool: &DbPool, ambient: &Ambient, stop: &CancellationToken) -> Arc<Quotas> {
    let alerts = json!([{"name": "finance", "webhook": {"url": "https://hooks.example", "secret": "hook"}}]);
    quotas_with(&alerts, None, policies, pool, ambient, stop)
}

/// Quotas with these alerts and this server for mail.
fn quotas_with(
    alerts: &serde_json::Value,
    mail: Option<&SmtpServer>,
    policies: &[GatewayPolicyConfig],
    pool: &DbPool,
    ambient: &Ambient,
    stop: &CancellationToken,
) -> Arc<Quotas> {
    let alerts: Vec<QuotaAlertConfig> = serde_json::from_value(alerts.clone()).expect("alerts");
    assert_eq!(crate::config::quota::alert_flaws(&alerts, policies, |name| name == "hook", mail.is_some()), []);
    let secret = |_: &str| Some(Secret::new("s3"));
    let metrics = Metrics::new();
    let settings = mail.map(|server| {
        let mut settings = Settings::new("alerts@example.com", "127.0.0.1", Security::None).expect("settings");
        settings.port = server.address.port();
        settings
    });
    let mailer = Arc::new(Mailer::new(settings, &metrics).expect("a mailer"));
    let (quotas, desk, recorder) = Quotas::new(&alerts, secret, mailer, Arc::clone(pool), ambient.clone(), &metrics);
    tokio::spawn(desk.run(stop.clone()));
    tokio::spawn(recorder.run(stop.clone()));
    quotas
}

fn one(windows: serde_json::Value) -> serde_json::Value {
    json!([{"name": "q", "spec": {"quota_windows": windows}}])
}

/// A request that will use so many tokens and so much money.
struct Request {
    by: Attribution,
    action: ActionId,
    model: &'static str,
    estimate: Estimate,
}

impl Servers {
    fn user(&self, name: &str) -> Attribution {
        let mut by = Attribution::operator(name, 1, &self.ambient);
        let principal = Arc::make_mut(&mut by.principal);
        principal.user_id = UserId::generate(&self.ambient);
        principal.attributes.insert("group".to_owned(), "red".to_owned());
        by
    }

    fn request(&self, by: &Attribution) -> Request {
        let expected = Usage { calls: 1, input_tokens: 100, output_tokens: 10, cost: Microdollars(1000) };
        let most = Usage { output_tokens: 50, cost: Microdollars(4000), ..expected };
        let (by, action) = (by.clone(), ActionId::generate(&self.ambient));
        Request { by, action, model: "claude-x", estimate: Estimate { expected, most } }
    }

    /// Another server, with these alerts.
    fn add(&mut self, alerts: &serde_json::Value, mail: &SmtpServer) -> usize {
        let (policies, pool) = (&self.policies, &self.database.pool);
        let quotas = quotas_with(alerts, Some(mail), policies, pool, &self.ambient, &self.stop);
        self.quotas.push(quotas);
        self.quotas.len() - 1
    }

    /// One round of bringing alerts to where they are to go. Says how many were taken.
    async fn deliver(&self, server: usize, courier: &dyn Courier) -> usize {
        let Quotas { alerts, db, ambient, .. } = &*self.quotas[server];
        let mut taken = 0;
        for to in &alerts.destinations {
            let round = alerting::deliver_to(to, &alerts.mailer, courier, db, ambient, &self.stop);
            taken += round.await.expect("it looks");
        }
        taken
    }

    /// Waits until so many alerts are written down, by tasks of their own.
    async fn raised(&self, count: i64) {
        let raised = async || {
            let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM ai_quota_alerts");
            count.fetch_one(self.database.pool.read()).await.expect("a count")
        };
        while raised().await < count {
            tokio::task::yield_now().await;
        }
    }

    async fn judge(&self, server: usize, request: &Request) -> Said {
        let content = Bytes::from_static(b"{}");
        let input = PolicyInput {
            phase: Phase::Before,
            action: request.action,
            by: &request.by,
            resource: &Resource::entity(EntityKind::GatewayRoute, "route-1"),
            subject: Subject::Prompt,
            content: &content,
            complete: true,
            texts: &Texts::of(&content),
            model: Some(ModelCall { name: request.model, provider: "oai", streaming: false }),
            estimate: request.estimate,
            replaceable: false,
            offered_tools: &OfferedTools::none(),
            places: &[],
            headers: &[],
        };
        self.quotas[server].judge(&self.meters, &input).await
    }

    async fn hold(&self, server: usize, by: &Attribution) -> Counting {
        match self.judge(server, &self.request(by)).await {
            Said::Counted { hold, warning: None } => hold,
            Said::Refused(violation) => panic!("{}", violation.reason),
            _ => panic!("it is to be counted"),
        }
    }

    async fn refusal(&self, server: usize, by: &Attribution) -> Violation {
        match self.judge(server, &self.request(by)).await {
            Said::Refused(violation) => violation,
            _ => panic!("it is to be refused"),
        }
    }

    /// What all buckets of a kind of subject hold: requests, input, output, cost.
    async fn counted(&self, kind: &str) -> [i64; 4] {
        for quotas in &self.quotas {
            quotas.clerk.flush().await;
        }
        let sums = "SELECT ARRAY[COALESCE(sum(requests), 0), COALESCE(sum(input_tokens), 0), \
                    COALESCE(sum(output_tokens), 0), COALESCE(sum(cost_microdollars), 0)]::bigint[] \
                    FROM ai_quota_buckets WHERE subject_kind = $1";
        let sums: Vec<i64> =
            sqlx::query_scalar(sums).bind(kind).fetch_one(self.database.pool.read()).await.expect("sums");
        sums.try_into().expect("four of them")
    }

    async fn holds(&self) -> i64 {
        for quotas in &self.quotas {
            quotas.clerk.flush().await;
        }
        let count = sqlx::query_scalar("SELECT count(*) FROM ai_quota_holds");
        count.fetch_one(self.database.pool.read()).await.expect("a count")
    }
}

fn used(cost: i64) -> Usage {
    Usage { calls: 1, input_tokens: 120, output_tokens: 30, cost: Microdollars(cost) }
}

#[tokio::test]
async fn of_many_at_once_on_three_servers_exactly_the_limit_is_granted() {
    let windows = json!([
        {"period": "month", "subject": "user", "max_requests": 10},
        {"window_seconds": 3600, "subject": "group", "max_requests": 13},
    ]);
    let servers = servers(3, one(windows)).await;
    let (ada, bob) = (servers.user("ada"), servers.user("bob"));
    let judged = join_all((0..60).map(async |at| {
        let by = if at < 30 { &ada } else { &bob };
        servers.judge(at % 3, &servers.request(by)).await
    }));
    let judged = judged.await;
    let granted = judged.iter().filter(|said| matches!(said, Said::Counted { .. })).count();
    assert_eq!(granted, 13, "all of the group");
    assert!(judged.iter().take(30).filter(|said| matches!(said, Said::Counted { .. })).count() <= 10);
    assert_eq!(servers.counted("group").await[0], 13);
    assert_eq!(servers.counted("user").await[0], 13, "what was refused by one window is counted in none");
    drop(judged);
    assert_eq!(servers.counted("user").await, [0; 4], "nothing was sent");
    assert_eq!(servers.holds().await, 0);
}

#[tokio::test]
async fn the_estimate_counts_until_the_end_is_known() {
    let servers = servers(2, one(json!([{"period": "day", "subject": "user", "max_cost_microdollars": 2500}]))).await;
    let ada = servers.user("ada");
    let (first, second) = (servers.hold(0, &ada).await, servers.hold(1, &ada).await);
    let third = servers.hold(0, &ada).await;
    assert_eq!(servers.counted("user").await, [3, 300, 30, 3000]);
    // Less than the limit was set aside before the third, and more after it.
    let refusal = servers.refusal(1, &ada).await;
    assert_eq!((refusal.kind, refusal.code), (DenialKind::RateLimited, "insufficient_quota"));
    assert_eq!(
        refusal.reason,
        "the quota `q` allows the user `ada` $0.002500 per day; $0.003000 are used or set aside, and it opens again at \
         2026-11-27T00:00:00Z"
    );
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(13 * 3600 + 56 * 60 + 1)));
    assert_eq!(refusal.allowances[0].remaining, 0);

    first.settle(&used(400));
    drop(second);
    assert_eq!(servers.counted("user").await, [2, 220, 40, 1400]);
    let fourth = servers.hold(1, &ada).await;
    assert_eq!(fourth.allowances().len(), 1);
    assert_eq!((fourth.allowances()[0].limit, fourth.allowances()[0].remaining), (2500, 100));
    third.settle(&used(9000));
    fourth.settle(&used(1000));
    assert_eq!(servers.counted("user").await[3], 10_400);
    servers.refusal(0, &ada).await;
    // Tomorrow is another day.
    servers.clock.advance(TimeDelta::hours(14));
    servers.hold(0, &ada).await.settle(&used(1));
    assert_eq!(servers.holds().await, 0);
}

#[tokio::test]
async fn what_is_set_aside_is_what_the_policy_says() {
    for (reservation, held, fits) in
        [("none", [1, 0, 0, 0], 1), ("expected", [1, 100, 10, 1000], 1), ("maximum", [0; 4], 0)]
    {
        let policies = json!([{"name": "q", "spec": {
            "quota_reservation": reservation,
            "quota_windows": [{"period": "week", "subject": "installation", "max_cost_microdollars": 3999}],
        }}]);
        let servers = servers(1, policies).await;
        let ada = servers.user("ada");
        let said = servers.judge(0, &servers.request(&ada)).await;
        assert_eq!(usize::from(matches!(said, Said::Counted { .. })), fits, "{reservation}");
        assert_eq!(servers.counted("installation").await, held, "{reservation}");
        if let Said::Refused(violation) = said {
            assert!(violation.reason.contains("this request may need $0.004000"), "{}", violation.reason);
        }
    }
}

#[tokio::test]
async fn a_warning_is_given_and_the_request_counts() {
    let policies = json!([{"name": "watch", "spec": {
        "quota_mode": "warn",
        "quota_windows": [{"window_seconds": 60, "subject": "model", "max_requests": 1}],
    }}]);
    let servers = servers(1, policies).await;
    let ada = servers.user("ada");
    servers.hold(0, &ada).await.settle(&used(5));
    let Said::Counted { hold, warning: Some(warning) } = servers.judge(0, &servers.request(&ada)).await else {
        panic!("it goes on with a warning");
    };
    assert!(warning.reason.contains("`watch` allows the model `claude-x` 1 requests per minute"), "{}", warning.reason);
    hold.settle(&used(6));
    assert_eq!(servers.counted("model").await[0], 2);
}

#[tokio::test]
async fn who_cannot_be_told_is_refused_unless_that_is_switched_off() {
    for (fault, refused) in [("closed", true), ("open", false)] {
        let policies = json!([{"name": "q", "spec": {
            "quota_fault_mode": fault,
            "quota_windows": [{"period": "day", "subject": "project", "max_requests": 1}],
        }}]);
        let servers = servers(1, policies).await;
        let ada = servers.user("ada");
        match servers.judge(0, &servers.request(&ada)).await {
            Said::Refused(violation) => {
                assert!(refused);
                assert_eq!(violation.code, "quota_subject_unknown");
                assert!(violation.reason.contains("no attribute `project`"), "{}", violation.reason);
            }
            Said::NotConcerned => assert!(!refused),
            _ => panic!("it is not counted"),
        }
    }
}

#[tokio::test]
async fn only_what_fits_is_counted_and_a_call_judged_again_counts_once() {
    let windows = json!([
        {"period": "day", "subject": "user", "match": {"models": ["gpt-*"]}, "max_requests": 1},
        {"period": "day", "subject": "user", "match": {"models": ["claude-*"], "users": ["ada"]}, "max_requests": 1},
        {"period": "day", "subject": "user", "match": {"routes": ["route-1"]}, "max_requests": 2},
    ]);
    let servers = servers(1, one(windows)).await;
    let (ada, bob) = (servers.user("ada"), servers.user("bob"));
    let request = servers.request(&ada);
    let Said::Counted { hold, .. } = servers.judge(0, &request).await else { panic!("it is counted") };
    assert_eq!(
        hold.allowances().iter().map(|left| left.name.as_str()).collect::<Vec<_>>(),
        ["user-day-2-requests", "user-day-3-requests"]
    );
    assert!(matches!(servers.judge(0, &request).await, Said::Repeated));
    servers.refusal(0, &ada).await;
    servers.hold(0, &bob).await.settle(&used(1));
    hold.settle(&used(1));
    assert_eq!(servers.counted("user").await[0], 3);
}

#[tokio::test]
async fn what_dead_servers_left_behind_is_settled_by_the_ledger() {
    let servers = servers(1, one(json!([{"period": "day", "subject": "user", "max_requests": 100}]))).await;
    let ada = servers.user("ada");
    let [undecided, ended, abandoned, running] = [0; 4].map(|_| servers.request(&ada));
    for request in [&undecided, &ended, &abandoned, &running] {
        // Its server is gone, and tells nobody.
        std::mem::forget(servers.judge(0, request).await);
    }
    let end = r#"{"usage":{"calls":1,"cost_microdollars":77,"input_tokens":5,"output_tokens":6}}"#;
    let entries = [
        (&ended, "decided", "{}"),
        (&ended, "ended", end),
        (&abandoned, "decided", "{}"),
        (&abandoned, "abandoned", "{}"),
        (&running, "decided", "{}"),
    ];
    for (seq, (request, kind, body)) in entries.into_iter().enumerate() {
        let entry = "INSERT INTO ledger (chain_id, seq, at, kind, action_id, body, hash) \
                     VALUES ('00000000-0000-0000-0000-000000000001', $1, $2, $3, $4, $5, '')";
        let entry = sqlx::query(entry).bind(seq as i64).bind(servers.ambient.now()).bind(kind);
        let entry = entry.bind(request.action.as_uuid()).bind(body);
        entry.execute(servers.database.pool.write()).await.expect("an entry");
    }
    assert_eq!(servers.quotas[0].recover().await.expect("it looks"), 0, "they may still be decided");
    servers.clock.advance(TimeDelta::minutes(3));
    assert_eq!(servers.quotas[0].recover().await.expect("it looks"), 3);
    // The one that ended, the one that was abandoned, and the one that runs.
    assert_eq!(servers.counted("user").await, [3, 205, 26, 2077]);
    assert_eq!(servers.holds().await, 1);
}

#[tokio::test]
async fn without_the_database_the_answer_is_no_and_ends_are_not_lost() {
    let servers = servers(1, one(json!([{"period": "day", "subject": "user", "max_requests": 100}]))).await;
    let ada = servers.user("ada");
    let held = servers.hold(0, &ada).await;
    let pool = Database::connect(&servers.database.connect_options()).await.expect("it is there");
    let policies = servers.policies.clone();
    let stop = CancellationToken::new();
    let away = self::quotas(&policies, &pool, &servers.ambient, &stop);
    pool.close().await;
    let servers = Servers { quotas: vec![Arc::clone(&servers.quotas[0]), away], ..servers };
    assert_eq!(servers.refusal(1, &ada).await.kind, DenialKind::Unavailable);
    stop.cancel();
    held.settle(&used(3));
    servers.quotas[0].clerk.flush().await;
    assert_eq!(servers.holds().await, 0);
}

#[tokio::test]
async fn policies_are_kept_as_they_are_loaded() {
    let servers = servers(1, one(json!([{"period": "day", "subject": "user", "max_requests": 1}]))).await;
    let orphan = "INSERT INTO ai_gateway_policies VALUES ('old', 1, true, '{}', now())";
    sqlx::query(orphan).execute(servers.database.pool.write()).await.expect("a row");
    for _ in 0..2 {
        servers.quotas[0].keep_policies(&servers.policies).await.expect("they are kept");
    }
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM ai_gateway_policies")
        .fetch_all(servers.database.pool.read())
        .await
        .expect("rows");
    assert_eq!(names, ["q"]);
    servers.hold(0, &servers.user("ada")).await.settle(&used(7));
    servers.quotas[0].clerk.flush().await;
    let filter = QuotaFilter { limit: 10, ..QuotaFilter::default() };
    let rows = list(servers.database.pool.read(), &filter, servers.ambient.now()).await;
    let rows = rows.expect("rows");
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.subject_name.as_str(), row.requests, row.max_requests, row.mode), ("ada", 1, Some(1), "enforce"));
}

/// An address, headers and a body.
type Letter = (String, Vec<(&'static str, String)>, serde_json::Value);

/// Takes what it is given, or nothing.
#[derive(Default)]
struct Letterbox(std::sync::Mutex<Vec<Letter>>, std::sync::atomic::AtomicBool);

#[async_trait::async_trait]
impl Courier for Letterbox {
    async fn post(&self, url: &str, headers: &[(&'static str, String)], body: String) -> Result<(), String> {
        if self.1.load(std::sync::atomic::Ordering::SeqCst) {
            return Err("upside down".to_owned());
        }
        let body = serde_json::from_str(&body).expect("JSON");
        self.0.lock().expect("no panic").push((url.to_owned(), headers.to_vec(), body));
        Ok(())
    }

    async fn put(&self, object: crate::webhook::StoredObject<'_>) -> Result<(), String> {
        Err(format!("an alert is no object: {}", object.url))
    }
}

#[tokio::test]
async fn each_part_of_a_limit_is_told_once_whoever_sees_it() {
    let servers = servers(2, one(json!([{"period": "day", "subject": "user", "max_requests": 10}]))).await;
    let ada = servers.user("ada");
    for at in 0..10 {
        servers.hold(at % 2, &ada).await.settle(&used(1));
    }
    servers.refusal(0, &ada).await;
    servers.refusal(1, &ada).await;
    // Both servers see every threshold.
    servers.raised(3).await;
    let courier = Letterbox::default();
    courier.1.store(true, std::sync::atomic::Ordering::SeqCst);
    let deliver = async |server: usize| servers.deliver(server, &courier).await;
    assert_eq!(deliver(0).await, 0, "nobody took them");
    courier.1.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(deliver(1).await, 0, "not yet again");
    servers.clock.advance(TimeDelta::minutes(2));
    assert_eq!(deliver(1).await, 3);
    assert_eq!(deliver(0).await, 0, "once");
    let rows = super::alerts(servers.database.pool.read(), "ada").await.expect("rows");
    let [hundred, eighty, fifty] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!([hundred.threshold, eighty.threshold, fifty.threshold], [100, 80, 50]);
    for row in &rows {
        let [delivery] = row.deliveries.as_slice() else { panic!("{row:?}") };
        assert_eq!((delivery.channel.as_str(), delivery.recipient.as_str()), ("webhook", "finance"));
        let delivered_at = servers.ambient.now();
        assert_eq!((delivery.state, delivery.attempts), (QuotaDeliveryState::Delivered { delivered_at }, 2));
        assert!(delivery.last_error.is_none(), "{row:?}");
    }
    let told = courier.0.lock().expect("no panic");
    let mut thresholds: Vec<_> =
        told.iter().map(|(_, _, body)| body["data"]["threshold_percent"].as_u64().expect("a number")).collect();
    thresholds.sort_unstable();
    assert_eq!(thresholds, [50, 80, 100]);
    let (url, headers, body) = &told[0];
    assert_eq!(url, "https://hooks.example");
    assert_eq!(body["data"]["subject"]["name"], "ada");
    assert_eq!(body["data"]["limit"], 10);
    assert!(headers.iter().any(|(name, value)| *name == "webhook-signature" && value.starts_with("v1,")));
}

/// Where an alert is to go, how far it is, and how often that was tried.
fn states(rows: &[QuotaAlertRow]) -> Vec<String> {
    let state = |delivery: &QuotaDelivery| {
        let state = match delivery.state {
            QuotaDeliveryState::Waiting { .. } => "waits",
            QuotaDeliveryState::Delivered { .. } => "has it",
            QuotaDeliveryState::GivenUp => "given up",
        };
        format!("{} {state} {}", delivery.recipient, delivery.attempts)
    };
    rows.iter().flat_map(|row| &row.deliveries).map(state).collect()
}

/// A server with an alert to the webhook and these addresses, which has just been raised.
async fn alerted(mail: &SmtpServer, to: &[&str]) -> (Servers, usize) {
    let windows = json!([{"period": "day", "subject": "user", "max_cost_microdollars": 2500}]);
    let mut servers = servers(0, one(windows)).await;
    let server = servers.add(&alert(to), mail);
    let ada = servers.user("ada");
    servers.hold(server, &ada).await.settle(&used(2010));
    servers.quotas[server].clerk.flush().await;
    servers.raised(1).await;
    (servers, server)
}

fn alert(to: &[&str]) -> serde_json::Value {
    let webhook = json!({"url": "https://hooks.example", "secret": "hook"});
    json!([{"name": "finance", "thresholds": [80], "webhook": webhook, "mail": {"to": to}}])
}

#[tokio::test]
async fn a_place_that_does_not_take_an_alert_holds_up_no_other_and_repeats_none() {
    let mail = SmtpServer::start(Manners::default()).await;
    let (mut servers, server) = alerted(&mail, &["ops@example.com", "gone@example.com", "left@example.com"]).await;
    let rows = async || super::alerts(servers.database.pool.read(), "ada").await.expect("rows");

    // The webhook is down, and a recipient is refused for good, another one for now.
    let courier = Letterbox::default();
    courier.1.store(true, std::sync::atomic::Ordering::SeqCst);
    mail.refuse("gone@example.com", "550 5.1.1 nobody of this name");
    mail.refuse("left@example.com", "451 4.7.1 come again");
    assert_eq!(servers.deliver(server, &courier).await, 1, "one of them takes mail");
    let told = rows().await;
    assert_eq!(
        states(&told),
        ["finance waits 1", "gone@example.com waits 1", "left@example.com waits 1", "ops@example.com has it 1"]
    );
    let why = told[0].deliveries[1].last_error.clone().expect("a reason");
    assert!(why.ends_with("refused it: 550 5.1.1 nobody of this name"), "{why}");

    // What can be brought then is, and what was brought is not brought again.
    courier.1.store(false, std::sync::atomic::Ordering::SeqCst);
    mail.allow("left@example.com");
    servers.clock.advance(TimeDelta::minutes(2));
    assert_eq!(servers.deliver(server, &courier).await, 2);
    let letters = mail.letters();
    let recipients: Vec<&str> = letters.iter().map(|letter| letter.to[0].as_str()).collect();
    assert_eq!(recipients, ["ops@example.com", "left@example.com"]);
    assert_eq!(letters[0].header("Subject"), Some("Budget alert: user ada at 80.4 % ($0.0020 of $0.0025)"));
    assert!(letters[0].body().starts_with("user ada has reached 80 % of a limit.\n"), "{}", letters[0].body());
    // It is the same message wherever it goes.
    let id = letters[0].header("Message-ID").expect("an id").to_owned();
    assert_eq!(letters[1].header("Message-ID"), Some(id.as_str()));
    {
        let posted = courier.0.lock().expect("no panic");
        let [(_, headers, body)] = posted.as_slice() else { panic!("{posted:?}") };
        let webhook_id = headers.iter().find(|(name, _)| *name == "webhook-id").expect("an id");
        assert_eq!(id, format!("<{}@example.com>", webhook_id.1));
        assert_eq!(body["data"]["mode"], "enforce");
    }

    // A recipient that is no longer configured is left alone, and not told of what is long past when it is again.
    let without = servers.add(&alert(&["ops@example.com"]), &mail);
    servers.clock.advance(TimeDelta::hours(2));
    assert_eq!(servers.deliver(without, &courier).await, 0);
    mail.allow("gone@example.com");
    servers.clock.advance(TimeDelta::days(3));
    assert_eq!(servers.deliver(server, &courier).await, 0);
    let given_up = queries::give_up(servers.database.pool.write(), servers.ambient.now() - alerting::GIVEN_UP_AFTER);
    assert_eq!(given_up.await.expect("it looks"), 1);
    let told = super::alerts(servers.database.pool.read(), "ada").await.expect("rows");
    assert_eq!(states(&told)[1], "gone@example.com given up 1");
    assert_eq!(mail.letters().len(), 2);

    // When the window is forgotten, nothing of it stays.
    queries::delete_ended(servers.database.pool.write(), servers.ambient.now()).await.expect("it is deleted");
    let left = "SELECT (SELECT count(*) FROM ai_quota_alerts) + (SELECT count(*) FROM ai_quota_alert_deliveries)";
    let left: i64 = sqlx::query_scalar(left).fetch_one(servers.database.pool.read()).await.expect("a count");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_place_that_is_slow_holds_up_no_other() {
    let mail = SmtpServer::start(Manners::default()).await;
    let (servers, server) = alerted(&mail, &["a-slow@example.com", "ops@example.com"]).await;
    mail.refuse("a-slow@example.com", "");
    let stop = CancellationToken::new();
    let courier = Arc::new(Letterbox::default());
    let delivering = Arc::clone(&servers.quotas[server]).deliver_alerts(courier, stop.clone());
    let looking = async {
        mail.wait_for(1).await;
        loop {
            let told = super::alerts(servers.database.pool.read(), "ada").await.expect("rows");
            if states(&told) == ["finance has it 1", "a-slow@example.com waits 1", "ops@example.com has it 1"] {
                break told;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::select! {
        told = looking => told,
        () = delivering => panic!("it goes on until it is stopped"),
    };
    // It is still at it.
    assert_eq!(told[0].deliveries[1].last_error, None);
}

/// Takes a message when it is let.
#[derive(Default)]
struct Slow {
    asked: tokio::sync::Notify,
    let_go: tokio::sync::Notify,
}

#[async_trait::async_trait]
impl Courier for Slow {
    async fn post(&self, _: &str, _: &[(&'static str, String)], _: String) -> Result<(), String> {
        self.asked.notify_one();
        self.let_go.notified().await;
        Ok(())
    }

    async fn put(&self, object: crate::webhook::StoredObject<'_>) -> Result<(), String> {
        Err(format!("an alert is no object: {}", object.url))
    }
}

#[tokio::test]
async fn what_is_on_its_way_when_the_server_stops_is_marked_when_it_was_taken() {
    let mail = SmtpServer::start(Manners::default()).await;
    let (servers, server) = alerted(&mail, &["ops@example.com"]).await;
    let (stop, slow) = (CancellationToken::new(), Arc::new(Slow::default()));
    let courier: Arc<dyn Courier> = slow.clone();
    let delivering = Arc::clone(&servers.quotas[server]).deliver_alerts(courier, stop.clone());
    let stopping = async {
        slow.asked.notified().await;
        stop.cancel();
        tokio::task::yield_now().await;
        slow.let_go.notify_one();
    };
    tokio::join!(delivering, stopping);
    let told = super::alerts(servers.database.pool.read(), "ada").await.expect("rows");
    assert_eq!(states(&told)[0], "finance has it 1");
}

#[tokio::test]
async fn what_is_refused_for_good_or_may_have_been_taken_is_sent_a_few_times() {
    for (manners, recipient, apart, attempts) in [
        (Manners::default(), "gone@example.com", TimeDelta::minutes(50), 5),
        (Manners { hangs_up_after: ".", ..Manners::default() }, "ops@example.com", TimeDelta::seconds(10), 3),
    ] {
        let mail = SmtpServer::start(manners).await;
        let (servers, server) = alerted(&mail, &[recipient]).await;
        mail.refuse("gone@example.com", "550 5.1.1 nobody of this name");
        let courier = Letterbox::default();
        for attempt in 1..=attempts + 1 {
            servers.deliver(server, &courier).await;
            servers.clock.advance(apart);
            servers.deliver(server, &courier).await;
            let told = super::alerts(servers.database.pool.read(), "ada").await.expect("rows");
            let state = if attempt < attempts { "waits" } else { "given up" };
            assert_eq!(states(&told)[1], format!("{recipient} {state} {}", attempt.min(attempts)));
            servers.clock.advance(TimeDelta::hours(1));
        }
    }
}

#[tokio::test]
async fn without_a_server_for_mail_nothing_counts_as_tried() {
    let mail = SmtpServer::start(Manners::default()).await;
    let (mut servers, _) = alerted(&mail, &["ops@example.com"]).await;
    let configured = std::mem::take(&mut servers.quotas);
    let courier = Letterbox::default();
    let alerts: Vec<QuotaAlertConfig> = serde_json::from_value(alert(&["ops@example.com"])).expect("alerts");
    let (metrics, pool) = (Metrics::new(), &servers.database.pool);
    let mailer = Arc::new(Mailer::new(None, &metrics).expect("a mailer"));
    let secret = |_: &str| Some(Secret::new("s3"));
    let (without, _, _) = Quotas::new(&alerts, secret, mailer, Arc::clone(pool), servers.ambient.clone(), &metrics);
    servers.quotas.push(without);
    assert_eq!(servers.deliver(0, &courier).await, 1, "the webhook has it");
    servers.quotas = configured;
    let told = super::alerts(servers.database.pool.read(), "ada").await.expect("rows");
    assert_eq!(states(&told), ["finance has it 1", "ops@example.com waits 0"]);
    assert_eq!(servers.deliver(0, &courier).await, 1);
}

#[tokio::test]
async fn alerts_of_an_earlier_version_go_on_waiting() {
    let database = testing::empty_database().await;
    let earlier = "CREATE TABLE ai_quota_alerts (
            alert           TEXT NOT NULL,
            bucket_id       BIGINT NOT NULL,
            counted         TEXT NOT NULL,
            threshold       INTEGER NOT NULL,
            message_id      UUID NOT NULL,
            message         JSONB NOT NULL,
            raised_at       TIMESTAMPTZ NOT NULL,
            attempts        INTEGER NOT NULL DEFAULT 0,
            next_attempt_at TIMESTAMPTZ,
            delivered_at    TIMESTAMPTZ,
            last_error      TEXT,
            PRIMARY KEY (alert, bucket_id, counted, threshold)
        )";
    let alerts = "INSERT INTO ai_quota_alerts VALUES
        ('a', 1, 'requests', 50, '00000000-0000-0000-0000-000000000001', '{}', now(), 0, NULL, NULL, NULL),
        ('a', 1, 'requests', 80, '00000000-0000-0000-0000-000000000002', '{}', now(), 3, now(), NULL, 'down'),
        ('a', 1, 'requests', 90, '00000000-0000-0000-0000-000000000003', '{}', now(), 9, NULL, NULL, 'down'),
        ('b', 1, 'requests', 50, '00000000-0000-0000-0000-000000000004', '{}', now(), 1, NULL, now(), NULL)";
    for statement in [earlier, alerts] {
        sqlx::query(statement).execute(database.pool.write()).await.expect("the earlier version's");
    }
    let migrations = vec![Migration::new(2, "alert_deliveries", ALERT_DELIVERIES)];
    let module = Module { migrations, ..module() };
    for _ in 0..2 {
        install(&database.pool, std::slice::from_ref(&module), &InstallOptions::default()).await.expect("it installs");
    }
    let rows = "SELECT recipient || ' ' || channel || ' ' || attempts || ' ' || (next_attempt_at IS NOT NULL) || ' ' || \
                (delivered_at IS NOT NULL) FROM ai_quota_alert_deliveries ORDER BY message_id";
    let rows: Vec<String> = sqlx::query_scalar(rows).fetch_all(database.pool.read()).await.expect("rows");
    assert_eq!(rows, ["a webhook 3 true false", "a webhook 9 false false", "b webhook 1 false true"]);
    // Nobody sends them twice.
    let waiting = "SELECT count(*) FROM ai_quota_alerts WHERE next_attempt_at IS NOT NULL";
    let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(database.pool.read()).await.expect("a count");
    assert_eq!(waiting, 0);
}

#[tokio::test]
async fn alerts_are_added_to_an_installation_that_has_none() {
    let database = testing::empty_database().await;
    let schemas = vec![SchemaDefinition::inline("ledger", include_str!("../../schema/ledger.sql"))];
    let earlier = Module { schemas, ..module() };
    let migrations = vec![Migration::new(2, "alert_deliveries", ALERT_DELIVERIES)];
    for module in [earlier, Module { migrations, ..module() }] {
        install(&database.pool, &[module], &InstallOptions::default()).await.expect("it installs");
    }
    let applied = "SELECT count(*) FROM extension_migrations WHERE extension_id = 'quotas' AND version = 2";
    let applied: i64 = sqlx::query_scalar(applied).fetch_one(database.pool.read()).await.expect("a count");
    assert_eq!(applied, 1);
}
