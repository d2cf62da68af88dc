//! Governance as a server runs it: decisions through the Gate, and what the ledger says about them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt::testing::{TestContext, TestContextBuilder};
use systemprompt_extension::policy::{
    DenialKind, Estimate, Hold, Phase, Policy, PolicyDef, PolicyInput, Subject, Texts, Usage, Verdict, Violation,
};
use systemprompt_extension::prelude::*;
use systemprompt_extension::{ExtensionContext, ExtensionHealth, Timeouts};
use systemprompt_governance::changes::{self, ChangeFilter};
use systemprompt_governance::decisions::{self, DecisionDetail, DecisionFilter};
use systemprompt_governance::ledger::Ledger;
use systemprompt_governance::ledger::checkpoint::Remembered;
use systemprompt_governance::ledger::verify::verify;
use systemprompt_governance::{
    About, Action, Change, ChangeError, Changed, Denial, Effect, Facts, FactsWriter, Gate, Inspection, Outcome,
    Payload, Permit, Refusal, StateDigest, Target,
};
use systemprompt_model::{
    ActionId, Actor, ActorChain, ActorKind, Ambient, ApiKeyId, Attribution, Client, Credential, EntityKind,
    Microdollars, Principal, Resource, SessionId, TraceId, UserId, UserType,
};

/// How long policies may look at an answer.
const LIMIT: Duration = Duration::from_secs(30);
const PROMPT: &str = r#"{"messages":[{"role":"user","content":"hello"}]}"#;
const LEAK: &str = concat!(r#"{"messages":[{"role":"user","content":"AKIA"#, r#"IOSFODNN7EXAMPLQ is my key"}]}"#);

/// An effect as a feature would bring it.
#[derive(Debug, Clone, Default)]
struct Ask {
    model: String,
    conversation: String,
    stop: Vec<String>,
}

#[derive(Default)]
struct Answered {
    model: String,
    request: String,
}

impl Effect for Ask {
    const KIND: &'static str = "ask";
    type Result = Answered;

    fn subject(&self) -> Subject<'_> {
        Subject::Prompt
    }

    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.stranger_id("conversation", Some(&self.conversation));
        facts.stranger("model", Some(&self.model));
        facts.part_of_content("stop", &self.stop);
    }

    fn estimate(&self) -> Estimate {
        Estimate::exactly(Usage { cost: Microdollars(40), ..Usage::ONE_CALL })
    }
}

impl Facts for Answered {
    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.stranger("model", Some(&self.model));
        facts.stranger_id("request", Some(&self.request));
    }
}

fn server() -> TestContextBuilder {
    TestContext::builder().document(
        "access-control/roles.yaml",
        json!({"rules": [{"entity_type": "gateway_route", "entity_id": "demo", "roles": ["user"]}]}),
    )
}

fn gate(server: &TestContext) -> Arc<Gate> {
    server.services().require::<Gate>().expect("governance provides the Gate")
}

fn ledger(server: &TestContext) -> Arc<Ledger> {
    server.services().require::<Ledger>().expect("a ledger")
}

async fn drain(server: &TestContext) {
    assert!(ledger(server).drain(Duration::from_secs(5)).await);
}

fn target() -> Target {
    Target::new("demo/demo-1")
}

fn somebody(user_type: UserType, roles: &[&str]) -> Attribution {
    let ambient = Ambient::system();
    let user = UserId::generate(&ambient);
    Attribution {
        principal: Arc::new(Principal {
            user_id: user,
            user_name: "maya".to_owned(),
            user_type,
            roles: roles.iter().map(ToString::to_string).collect(),
            attributes: BTreeMap::new(),
            credential: Credential::ApiKey(ApiKeyId::generate(&ambient)),
        }),
        actors: ActorChain::user(user),
        session: Some(SessionId::generate(&ambient)),
        context: None,
        task: None,
        trace: TraceId::generate(&ambient),
        client: None,
    }
}

fn action(content: &str, roles: &[&str]) -> Action<Ask> {
    let ambient = Ambient::system();
    Action {
        id: ActionId::generate(&ambient),
        by: somebody(UserType::User, roles),
        resource: Resource::entity(EntityKind::GatewayRoute, "demo"),
        targets: vec![target()],
        content: Bytes::copy_from_slice(content.as_bytes()),
        effect: Ask { model: "demo".to_owned(), ..Ask::default() },
        received_at: ambient.now(),
    }
}

fn finish(permit: Permit<Ask>, outcome: Outcome<Ask>) {
    let (_, running) = permit.begin(&target()).expect("it is the target");
    running.finish(outcome);
}

/// The decision about an action, as the projection has it.
async fn decision(server: &TestContext, id: ActionId) -> DecisionDetail {
    server.catch_up().await;
    let filter = DecisionFilter { limit: 1000, ..DecisionFilter::default() };
    let page = decisions::list_decisions(server.db().read(), &filter).await.expect("decisions are read");
    page.items.into_iter().find(|decision| decision.action_id == id).expect("the decision is recorded")
}

async fn entries(server: &TestContext, id: ActionId) -> Vec<Value> {
    sqlx::query_scalar("SELECT body::jsonb FROM ledger WHERE action_id = $1 ORDER BY seq")
        .bind(id.as_uuid())
        .fetch_all(server.db().read())
        .await
        .expect("the log is read")
}

async fn assert_sound(server: &TestContext) {
    server.catch_up().await;
    let projections = ledger(server).projector().projections().to_vec();
    let report = verify(server.db().write(), &Remembered::default(), &projections).await.expect("the log is read");
    assert_eq!(report.problems, []);
}

/// `policy_id: result` of every rule that was looked at.
fn rules(decision: &DecisionDetail) -> Vec<String> {
    let rules = decision.evaluated_rules.as_array().expect("a list");
    let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    rules.iter().map(|rule| format!("{}: {}", text(rule, "policy_id"), text(rule, "result"))).collect()
}

fn denied<E: Effect>(result: Result<Permit<E>, Refusal>) -> Denial {
    match result {
        Err(Refusal::Denied(denial)) => denial,
        other => panic!("expected a denial, got {other:?}"),
    }
}

#[tokio::test]
async fn what_is_allowed_gets_a_permit_for_exactly_its_bytes() {
    let server = server().start().await;
    let mut action = action(PROMPT, &["user"]);
    let agent = Actor { kind: ActorKind::Agent, id: "researcher".to_owned() };
    action.by.actors = action.by.actors.delegated_to(agent);
    let id = action.id;
    let permit = gate(&server).admit(action).await.expect("the role may");
    assert_eq!(permit.id(), id);

    let open = decision(&server, id).await;
    assert_eq!((open.decision.as_str(), open.policy.as_str()), ("allow", "default_allow"));
    assert_eq!(
        rules(&open),
        ["access_control: pass", "secret_scan: pass", "scope_check: skip", "tool_blocklist: skip", "rate_limit: pass"]
    );
    assert_eq!(open.evaluated_rules[0]["detail"], "allowed to the role `user`");
    assert_eq!(open.policy_version, gate(&server).policies().version());
    let actors = &entries(&server, id).await[0]["by"]["actors"];
    assert_eq!((actors[0]["kind"].as_str(), actors[0]["id"].as_str()), (Some("agent"), Some("researcher")));

    let (content, running) = permit.begin(&target()).expect("it is the target");
    assert_eq!(&content[..], PROMPT.as_bytes());
    running.finish(Outcome {
        answer: Some(Payload::complete("hi there")),
        usage: Usage { calls: 1, input_tokens: 4, output_tokens: 3, cost: Microdollars(8) },
        ..Outcome::completed(Answered::default())
    });
    drain(&server).await;
    let ended = &entries(&server, id).await[1];
    assert_eq!((ended["status"].as_str(), ended["usage"]["cost_microdollars"].as_i64()), (Some("completed"), Some(8)));
    assert_sound(&server).await;
}

#[tokio::test]
async fn what_no_rule_allows_is_denied_and_nothing_else_is_asked() {
    let server = server().start().await;
    let visitor = action(LEAK, &["visitor"]);
    let id = visitor.id;
    let denial = denied(gate(&server).admit(visitor).await);
    assert_eq!(
        (denial.kind, denial.policy.as_str(), denial.code),
        (DenialKind::NotEntitled, "authz_default_deny", "not_assigned")
    );
    assert_eq!(denial.to_string(), "[authz_default_deny]: gateway_route `demo`: no rule allows it");
    assert_eq!(
        rules(&decision(&server, id).await),
        ["access_control: fail", "secret_scan: skip", "scope_check: skip", "tool_blocklist: skip", "rate_limit: skip"]
    );
}

#[tokio::test]
async fn a_credential_is_refused_and_not_stored() {
    let server = server().start().await;
    let leak = action(LEAK, &["user"]);
    let id = leak.id;
    let denial = denied(gate(&server).admit(leak).await);
    assert_eq!((denial.kind, denial.policy.as_str(), denial.code), (DenialKind::Content, "secret_scan", "secret_leak"));
    let shown = decision(&server, id).await;
    assert_eq!((shown.decision.as_str(), shown.policy.as_str()), ("deny", "secret_scan"));
    assert_eq!(
        rules(&shown),
        ["access_control: pass", "secret_scan: fail", "scope_check: skip", "tool_blocklist: skip", "rate_limit: skip"]
    );
    assert_nowhere(&server, "AKIAIOSFODNN7").await;
    assert!(server.metrics().encode().contains("gateway_denials_total{policy=\"secret_scan\"} 1"));
}

/// No row contains this text.
async fn assert_nowhere(server: &TestContext, text: &str) {
    server.catch_up().await;
    let mut transaction = server.db().read().begin().await.expect("a transaction");
    for table in ["ledger", "ledger_content", "governance_decisions", "governance_changes"] {
        let found: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT EXISTS (SELECT FROM {table} AS t WHERE t::text LIKE '%' || $1 || '%')"
        )))
        .bind(text)
        .fetch_one(&mut *transaction)
        .await
        .expect("the table is read");
        assert!(!found, "`{text}` is in {table}");
    }
}

/// With the defaults: what is merely random is recorded, and the credential of an MCP server goes where it belongs.
#[tokio::test]
async fn a_random_token_warns_and_what_the_api_asks_for_passes() {
    let server = server().start().await;
    let random = json!({"messages": [{"role": "user", "content": "https://api.acme.com/v1?key=q7Rt2Xv9Lm4Kp8Zw3Nc6Bd1Hf5Js0Yg2Ta"}]});
    let warned = action(&random.to_string(), &["user"]);
    let id = warned.id;
    finish(gate(&server).admit(warned).await.expect("it only warns"), Outcome::completed(Answered::default()));
    let shown = decision(&server, id).await;
    assert_eq!((shown.decision.as_str(), shown.policy.as_str()), ("warn", "secret_scan"));
    assert!(shown.reason.unwrap_or_default().contains("high-entropy-token at $.messages[0].content"));

    let token = concat!("AKIA", "IOSFODNN7EXAMPLQ");
    let body = json!({"mcp_servers": [{"name": "a", "authorization_token": token}], "messages": []});
    let entrusted = action(&body.to_string(), &["user"]);
    let id = entrusted.id;
    let permit = gate(&server).admit(entrusted).await.expect("the API asks for it");
    let (content, running) = permit.begin(&target()).expect("it is the target");
    assert!(String::from_utf8_lossy(&content).contains(token), "it is sent");
    assert!(running.content_limit() > 0, "the answer is kept as always");
    running.finish(Outcome::completed(Answered::default()));
    assert_eq!(decision(&server, id).await.decision, "allow");
    drain(&server).await;
    assert_nowhere(&server, "AKIAIOSFODNN7").await;
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let server = server().start().await;
    let body = json!({"messages": [
        {"role": "user", "content": "read it"},
        {"role": "assistant", "content": "I shall"},
        {"role": "user", "content": [{"type": "tool_result", "content": concat!("key: AKIA", "IOSFODNN7EXAMPLQ")}]},
    ]});
    let leak = action(&body.to_string(), &["user"]);
    let id = leak.id;
    let told = denied(gate(&server).admit(leak).await).told(Some(id));
    let expected = format!(
        "[secret_scan]: message 2, a tool result, holds a secret: aws-access-key at $.messages[2].content[0].content. Nothing \
         was sent. The text is still in this conversation, so repeating the request is refused again: go back to before \
         message 2, or start a new conversation. If it is no secret, an administrator allows it with `warn_only: \
         [aws-access-key]` in the policy `secret_scan` of services/governance/config.yaml. Request id: {id}"
    );
    assert_eq!(told, expected);

    let policies = json!({"governance": {"policies": [{"id": "secret_scan", "warn_only": ["aws-access-key"]}]}});
    let lenient = self::server().document("governance/config.yaml", policies).start().await;
    assert!(gate(&lenient).admit(action(&body.to_string(), &["user"])).await.is_ok(), "as it says");
    let somebody = denied(gate(&lenient).admit(action("{}", &["nobody"])).await).told(None);
    assert!(somebody.contains("ask an administrator for access"), "{somebody}");
}

#[tokio::test]
async fn in_warn_mode_the_action_goes_on_and_its_record_is_redacted() {
    let policies = json!({"governance": {"mode": "warn", "policies": [{"id": "secret_scan"}]}});
    let server = server().document("governance/config.yaml", policies).start().await;
    let leak = action(LEAK, &["user"]);
    let id = leak.id;
    let (content, running) = gate(&server).admit(leak).await.expect("it only warns").begin(&target()).expect("it is");
    assert_eq!(&content[..], LEAK.as_bytes());
    assert_eq!(running.content_limit(), 0);
    running.finish(Outcome {
        answer: Some(Payload::complete(concat!("your key AKIA", "IOSFODNN7EXAMPLQ is leaked"))),
        ..Outcome::completed(Answered::default())
    });
    let shown = decision(&server, id).await;
    assert_eq!((shown.decision.as_str(), shown.policy.as_str()), ("warn", "secret_scan"));
    assert_eq!(rules(&shown)[1], "secret_scan: fail");
    drain(&server).await;
    assert_nowhere(&server, "AKIAIOSFODNN7").await;
}

#[tokio::test]
async fn where_governance_is_off_nothing_is_asked_and_the_record_says_so() {
    let policies = json!({"governance": {"enabled": false}});
    let server = server().document("governance/config.yaml", policies).start().await;
    let leak = action(LEAK, &["user"]);
    let id = leak.id;
    drop(gate(&server).admit(leak).await.expect("nothing is asked"));
    let shown = decision(&server, id).await;
    assert_eq!(shown.policy, "governance_disabled");
    assert_eq!(rules(&shown)[1], "secret_scan: disabled");
}

/// Every text a client chooses, and every one a provider does, with a credential in it.
#[tokio::test]
async fn no_text_of_a_record_holds_a_credential() {
    const KEY: &str = concat!("AKIA", "IOSFODNN7EXAMPLQ");
    const NEEDLE: &str = "IOSFODNN7EXAMPLQ";
    type Place = fn(&mut Action<Ask>, String);
    let places: [(&str, Place); 6] = [
        ("the model asked for", |action, text| action.effect.model = text),
        ("the conversation", |action, text| action.effect.conversation = text),
        ("a stop sequence", |action, text| action.effect.stop = vec!["stop".to_owned(), text]),
        ("the client", |action, text| action.by.client = Some(Client { name: Some(text), trace: None })),
        ("the client's trace", |action, text| action.by.client = Some(Client { name: None, trace: Some(text) })),
        ("the resource", |action, text| action.resource.id = text),
    ];
    // The scan finds what is in the content too; switched off or not asked, it still must not be recorded.
    let off = json!({"governance": {"policies": []}});
    let open = server().document("governance/config.yaml", off).start().await;
    let strict = server().start().await;
    for (what, place) in places {
        let with = |content: &str, roles: &[&str]| {
            let mut action = action(content, roles);
            place(&mut action, format!("my-{KEY}"));
            action
        };
        let unknown = Denial {
            policy: "route".to_owned(),
            kind: DenialKind::NotFound,
            reason: format!("No gateway route matches model `my-{KEY}`"),
            advice: None,
            retry_after: None,
            allowances: Vec::new(),
            code: "model_not_found",
        };
        for server in [&open, &strict] {
            let refused = gate(server).refuse(with(PROMPT, &["user"]), unknown.clone()).await;
            let Refusal::Denied(told) = refused else { panic!("{what}: {refused:?}") };
            assert!(!told.reason.contains(NEEDLE), "{what}: {}", told.reason);
            if what == "the model asked for" {
                assert_eq!(told.reason, "No gateway route matches model `[redacted]`");
            }
            denied(gate(server).admit(with(PROMPT, &["visitor"])).await);
            if what == "the resource" {
                continue;
            }
            let permit = gate(server).admit(with(PROMPT, &["user"])).await.expect("the content is clean");
            let (_, mut running) = permit.begin(&target()).expect("it is the target");
            running
                .retry(&target(), &format!("the provider reported a bad key {KEY}"), Usage::default())
                .expect("it is the target");
            running.finish(Outcome {
                result: Some(Answered { model: KEY.to_owned(), request: KEY.to_owned() }),
                ..Outcome::failed(format!("the provider reported a bad key {KEY}"))
            });
        }
        let leak = with(&json!({"stop": ["stop", KEY], "model": KEY}).to_string(), &["user"]);
        if what != "the resource" {
            let id = leak.id;
            assert_eq!(denied(gate(&strict).admit(leak).await).policy, "secret_scan", "{what}");
            let facts = &entries(&strict, id).await[0]["effect"]["facts"];
            assert_eq!(facts.get("stop"), None, "{what}: they are part of what was flagged");
        }
    }
    for server in [&open, &strict] {
        drain(server).await;
        assert_nowhere(server, NEEDLE).await;
        assert_sound(server).await;
    }
}

#[tokio::test]
async fn ids_and_ordinary_texts_are_recorded_as_they_are() {
    let server = server().start().await;
    let mut usual = action(PROMPT, &["user"]);
    let id = usual.id;
    // Random enough to be a token, as ids are.
    let conversation = "conv-Zk3vQ9xLw2Rf7TgB1nYc8MhD4sKj6PaE0uViOt5";
    usual.effect.conversation = conversation.to_owned();
    usual.effect.model = "accounts/fireworks/models/llama-v3p1-405b-instruct".to_owned();
    usual.effect.stop = vec!["\n\nHuman:".to_owned(), "\0".to_owned()];
    let client = "claude-cli/2.1.0 (external, cli) Mozilla/5.0 (X11; Linux x86_64)";
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    usual.by.client = Some(Client { name: Some(client.to_owned()), trace: Some(trace.to_owned()) });
    drop(gate(&server).admit(usual).await.expect("it may"));
    let recorded = &entries(&server, id).await[0];
    assert_eq!(recorded["effect"]["facts"]["model"], "accounts/fireworks/models/llama-v3p1-405b-instruct");
    assert_eq!(recorded["effect"]["facts"]["conversation"], conversation);
    assert_eq!(recorded["effect"]["facts"]["stop"], json!(["\n\nHuman:", "\u{fffd}"]));
    assert_eq!((&recorded["by"]["client"], &recorded["by"]["client_trace"]), (&json!(client), &json!(trace)));
}

#[tokio::test]
async fn the_rate_limit_says_when_to_come_back_and_counts_what_was_done() {
    let policies =
        json!({"governance": {"policies": [{"id": "rate_limit", "requests_per_window": 3, "window_secs": 60}]}});
    let server = server().document("governance/config.yaml", policies).start().await;
    let gate = gate(&server);
    let first = action(PROMPT, &["user"]);
    let next = || Action { id: ActionId::generate(server.ambient()), ..first.clone() };
    for _ in 0..5 {
        drop(gate.admit(next()).await.expect("what is not done does not count"));
    }
    for _ in 0..3 {
        finish(gate.admit(next()).await.expect("within the limit"), Outcome::completed(Answered::default()));
    }
    let denial = denied(gate.admit(next()).await);
    assert_eq!((denial.kind, denial.policy.as_str()), (DenialKind::RateLimited, "rate_limit"));
    assert!(denial.retry_after.is_some_and(|wait| wait <= Duration::from_secs(67)), "{:?}", denial.retry_after);
}

#[tokio::test]
async fn a_refusal_of_the_surface_is_recorded_like_any_other() {
    let server = server().start().await;
    let mut unknown = action(PROMPT, &["user"]);
    unknown.targets.clear();
    unknown.effect.model = "gpt-9\0".to_owned();
    let id = unknown.id;
    let denial = Denial {
        policy: "routing".to_owned(),
        kind: DenialKind::NotFound,
        reason: "No gateway route matches model".to_owned(),
        advice: None,
        retry_after: None,
        allowances: Vec::new(),
        code: "model_not_found",
    };
    assert_eq!(gate(&server).refuse(unknown, denial.clone()).await, Refusal::Denied(denial));
    assert_eq!(entries(&server, id).await[0]["effect"]["facts"]["model"], "gpt-9\u{fffd}");
    assert_eq!(rules(&decision(&server, id).await)[0], "routing: fail");
    assert_sound(&server).await;
}

#[tokio::test]
async fn a_stopped_ledger_permits_nothing_and_says_so() {
    let server = server().start().await;
    let health = async || {
        let all = server.registry().health(&*server, Timeouts::default()).await;
        all.into_iter().find(|(id, _)| *id == "governance").expect("it is asked").1
    };
    assert_eq!(health().await, ExtensionHealth::Healthy);
    drain(&server).await;
    assert_eq!(gate(&server).admit(action(PROMPT, &["user"])).await.err(), Some(Refusal::LedgerUnavailable));
    let health = health().await;
    assert!(matches!(health, ExtensionHealth::Unhealthy(_)), "{health:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_change_is_decided_and_recorded_with_who_made_it() {
    let server = server().start().await;
    let gate = gate(&server);
    let change = || Change::new("user.create", About::new("user", "maya"), &json!({"name": "maya", "roles": ["user"]}));
    let operator = Attribution::operator("root", 0, server.ambient());
    let after = StateDigest::of(&json!({"name": "maya"}));
    let made = gate
        .change(operator, change(), async || Ok::<_, String>(Changed { value: 7, before: None, after: Some(after) }))
        .await;
    assert_eq!(made.expect("an operator may"), 7);

    let mut done = false;
    let by_user = somebody(UserType::User, &["user"]);
    let refused = gate
        .change(by_user.clone(), change(), async || {
            done = true;
            Ok::<_, String>(Changed::unseen(()))
        })
        .await;
    assert!(
        matches!(&refused, Err(ChangeError::Refused(Refusal::Denied(denial))) if denial.code == "not_an_administrator")
    );
    assert!(!done, "nothing is done that was refused");
    let own = change().or_own(by_user.principal.user_id);
    gate.change(by_user, own, async || Ok::<_, String>(Changed::unseen(()))).await.expect("their own");
    let admin = somebody(UserType::Admin, &["admin"]);
    let failed = gate.change(admin, change(), async || Err::<Changed<()>, _>("the name is taken")).await;
    assert!(matches!(failed, Err(ChangeError::Failed("the name is taken"))));
    let leak =
        Change::new("user.create", About::new("user", "x"), &json!({"note": concat!("AKIA", "IOSFODNN7EXAMPLQ")}));
    let leaked =
        gate.change(Attribution::system(server.ambient()), leak, async || Ok::<_, String>(Changed::unseen(())));
    leaked.await.expect("a credential is cut out of the record rather than refused");

    drain(&server).await;
    server.catch_up().await;
    let filter = ChangeFilter { operation: Some("user".to_owned()), limit: 10, ..ChangeFilter::default() };
    let listed = changes::list_changes(server.db().read(), &filter).await.expect("changes are read").items;
    let lines: Vec<_> = listed
        .iter()
        .rev()
        .map(|change| {
            let actor =
                format!("{} {}", change.actor_kind, if change.user_id.is_some() { "maya" } else { &change.actor_id });
            format!("{} {} {actor} {}", change.operation, change.about_id, change.status)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "user.create maya operator root (uid 0) completed",
            "user.create maya user maya rejected",
            "user.create maya user maya completed",
            "user.create maya user maya failed",
            "user.create x system systemprompt completed",
        ]
    );
    let first = changes::show_change(server.db().read(), listed[4].id).await.expect("read").expect("it is there");
    assert_eq!(first.request, Some(json!({"name": "maya", "roles": ["user"]})));
    assert_eq!((first.change.before_sha256.is_none(), first.change.after_sha256.is_some()), (true, true));
    assert_eq!(listed[1].reason.as_deref(), Some("the name is taken"));
    assert_nowhere(&server, "AKIAIOSFODNN7").await;
    assert_sound(&server).await;
}

/// An extension with policies of its own: one refuses a word in what is asked and in what is answered, one holds a budget.
#[derive(Default)]
struct House {
    left: Arc<AtomicI64>,
}

struct ForbiddenWord;
struct Budget(Arc<AtomicI64>);
struct Part(Arc<AtomicI64>, i64);

impl Extension for House {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "house", name: "House", version: "1.0.0" }
    }

    fn dependencies(&self) -> Vec<&'static str> {
        vec!["governance"]
    }

    fn governance_policies(&self) -> Vec<PolicyDef> {
        let left = Arc::clone(&self.left);
        vec![
            PolicyDef::new("house.budget", "So much and no more", move |_| Ok(Arc::new(Budget(Arc::clone(&left))))),
            PolicyDef::new("house.forbidden_word", "A word is forbidden", |_| Ok(Arc::new(ForbiddenWord))),
        ]
    }
}

#[async_trait]
impl Policy for ForbiddenWord {
    fn id(&self) -> &'static str {
        "house.forbidden_word"
    }

    fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        matches!((phase, subject), (Phase::Before, _) | (Phase::After, Subject::Answer))
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        if input.content.windows(5).any(|word| word == b"xyzzy") {
            return Verdict::Fail(Violation::new(DenialKind::Content, "forbidden_word", "a word is forbidden here"));
        }
        Verdict::Pass
    }
}

#[async_trait]
impl Policy for Budget {
    fn id(&self) -> &'static str {
        "house.budget"
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        let Subject::Prompt = input.subject else { return Verdict::Skip(Cow::Borrowed("it costs nothing")) };
        let wanted = input.estimate.most.cost.0;
        let taken =
            self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| (left >= wanted).then_some(left - wanted));
        match taken {
            Ok(_) => Verdict::Hold(Box::new(Part(Arc::clone(&self.0), wanted))),
            Err(_) => Verdict::Fail(Violation::new(DenialKind::RateLimited, "budget", "the budget is used up")),
        }
    }
}

impl Hold for Part {
    fn settle(mut self: Box<Self>, used: &Usage) {
        self.1 -= used.cost.0;
    }
}

impl Drop for Part {
    /// What is left of it goes back.
    fn drop(&mut self) {
        self.0.fetch_add(self.1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn policies_of_extensions_judge_hold_and_are_settled() {
    let left = Arc::new(AtomicI64::new(100));
    let server = server().extension(House { left: Arc::clone(&left) }).start().await;
    let gate = gate(&server);
    let spend = |cost: i64| Outcome {
        usage: Usage { cost: Microdollars(cost), ..Usage::ONE_CALL },
        ..Outcome::completed(Answered::default())
    };
    let first = action(PROMPT, &["user"]);
    let id = first.id;
    let permit = gate.admit(first).await.expect("there is enough");
    assert_eq!(left.load(Ordering::SeqCst), 60, "forty are set aside");
    finish(permit, spend(25));
    assert_eq!(left.load(Ordering::SeqCst), 75, "and fifteen given back");
    assert_eq!(rules(&decision(&server, id).await)[5..], ["house.budget: pass", "house.forbidden_word: pass"]);

    // A later policy refuses: what the earlier one had set aside is given back.
    let denial = denied(gate.admit(action("say xyzzy", &["user"])).await);
    assert_eq!((denial.policy.as_str(), denial.code), ("house.forbidden_word", "forbidden_word"));
    assert_eq!(left.load(Ordering::SeqCst), 75);
    // So it is when nothing is done, or nobody says how it ended.
    drop(gate.admit(action(PROMPT, &["user"])).await.expect("there is enough"));
    drop(gate.admit(action(PROMPT, &["user"])).await.expect("there is enough").begin(&target()).expect("it is"));
    assert_eq!(left.load(Ordering::SeqCst), 75);
    // And a permit for another target has done nothing.
    assert!(gate.admit(action(PROMPT, &["user"])).await.expect("enough").begin(&Target::new("else")).is_err());
    assert_eq!(left.load(Ordering::SeqCst), 75);
    finish(gate.admit(action(PROMPT, &["user"])).await.expect("there is enough"), spend(50));
    assert_eq!(denied(gate.admit(action(PROMPT, &["user"])).await).policy, "house.budget");

    // What comes back is judged before anybody sees it.
    left.store(100, Ordering::SeqCst);
    let asked = action(PROMPT, &["user"]);
    let id = asked.id;
    let (_, mut running) = gate.admit(asked).await.expect("there is enough").begin(&target()).expect("it is");
    assert!(running.is_inspected(Subject::Answer) && !running.is_inspected(Subject::Prompt));
    let answer = Bytes::from_static(b"plugh");
    let good = running.inspect(Subject::Answer, &answer, &Texts::of(&answer), LIMIT).await;
    assert_eq!(good, Inspection::Give);
    let answer = Bytes::from_static(b"xyzzy");
    let bad = running.inspect(Subject::Answer, &answer, &Texts::of(&answer), LIMIT).await;
    assert!(matches!(bad, Inspection::Withhold(denial) if denial.policy == "house.forbidden_word"));
    running.finish(Outcome { answer: Some(Payload::complete("xyzzy")), ..spend(40) });
    drain(&server).await;
    let ended = entries(&server, id).await.remove(1);
    assert_eq!(ended["inspections"][1]["result"], "fail");
    assert_nowhere(&server, "xyzzy").await;
    assert_sound(&server).await;
}

#[tokio::test]
async fn the_configuration_orders_policies_of_extensions_and_knows_their_names() {
    let policies = json!({"governance": {"policies": [
        {"id": "house.forbidden_word", "mode": "warn"},
        {"id": "house.budget", "enabled": false},
        {"id": "secret_scan"},
    ]}});
    let server = server().extension(House::default()).document("governance/config.yaml", policies).start().await;
    let said = action("say xyzzy", &["user"]);
    let id = said.id;
    drop(gate(&server).admit(said).await.expect("it only warns"));
    assert_eq!(
        rules(&decision(&server, id).await)[..4],
        ["access_control: pass", "house.forbidden_word: fail", "house.budget: disabled", "secret_scan: pass"]
    );
}

#[tokio::test]
async fn broken_configuration_is_reported_all_at_once() {
    let problems = server()
        .profile("governance", json!({"ledger": {"durability": "eventually", "queue_limit": 0}}))
        .profile("retention", json!({"content": "everything"}))
        .document("governance/config.yaml", json!({"governance": {"policies": [{"id": "secretscan"}]}}))
        .document("access-control/more.yaml", json!({"rules": [{"entity_type": "gateway_route"}], "rolls": []}))
        .problems()
        .join("\n");
    for expected in ["durability", "queue_limit", "retention.content", "governance.policies[0]", "rolls"] {
        assert!(problems.contains(expected), "`{expected}` is not reported:\n{problems}");
    }
    let problems = server()
        .document(
            "governance/config.yaml",
            json!({"governance": {"policies": [{"id": "rate_limit", "window_secs": 0}]}}),
        )
        .document("access-control/more.yaml", json!({"rules": [{"entity_type": "gateway_route", "roles": ["user"]}]}))
        .problems()
        .join("\n");
    for expected in ["window_secs", "names no entity"] {
        assert!(problems.contains(expected), "`{expected}` is not reported:\n{problems}");
    }
}

/// What a rule names must be there: a rule about nothing forbids nothing.
#[tokio::test]
async fn rules_and_policies_that_name_nothing_are_refused_with_what_was_meant() {
    let rule = |rule: Value| json!({"rules": [rule]});
    let document = |rule: Value| server().document("access-control/more.yaml", rule).problems().join("\n");
    for (document, expected) in [
        (
            document(rule(
                json!({"entity_type": "gateway_route", "entity_id": "demoo", "access": "deny", "roles": ["intern"]}),
            )),
            "there is no gateway_route `demoo`; did you mean `demo`?",
        ),
        (
            document(rule(
                json!({"entity_type": "gateway_route", "entity_id": "demo", "access": "deny", "roles": ["usr"]}),
            )),
            "there is no role `usr`; did you mean `user`?",
        ),
        (
            document(rule(json!({"entity_type": "gateway_route", "entity_match": "*", "departments": ["Reserch"]}))),
            "`Reserch` is not among `departments`",
        ),
        (
            document(rule(json!({"entity_type": "gateway_route", "entity_match": "dmo*", "roles": ["user"]}))),
            "`dmo*` fits no gateway_route; did you mean `demo`?",
        ),
        (
            document(rule(
                json!({"entity_type": "gateway_route", "entity_match": "*", "access": "deny", "roles": ["contractor"]}),
            )),
            "rules[0].roles[0]: there is no role `contractor`; there are: `a2a`, `admin`",
        ),
        (
            server()
                .document("governance/config.yaml", json!({"governance": {"policies": [{"id": "secret_scann"}]}}))
                .problems()
                .join("\n"),
            "governance.policies[0].id: must be one of `secret_scan`",
        ),
        (
            server()
                .document("governance/config.yaml", json!({"governance": {"policies": [{"id": "house.wrods"}]}}))
                .problems()
                .join("\n"),
            "no extension brings the policy `house.wrods`",
        ),
        (
            server()
                .document(
                    "governance/config.yaml",
                    json!({"governance": {"policies": [{"id": "secret_scan", "warn_only": ["jwt_rwa"]}]}}),
                )
                .problems()
                .join("\n"),
            "there is no pattern `jwt_rwa`; did you mean `jwt-raw`?",
        ),
    ] {
        assert!(document.contains(expected), "`{expected}` is not told:\n{document}");
    }
    let own = json!({
        "rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["tester", "intern"]}],
        "roles": [{"name": "tester"}, {"name": "intern", "description": "Here for a summer."}],
    });
    assert_eq!(document(own), "", "roles of one's own are declared");
}
