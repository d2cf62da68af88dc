//! The feature as a server runs it: decisions through the Gate, and what the ledger says about them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt_extension::testing::{TestContext, TestContextBuilder};
use systemprompt_extension::{ExtensionContext, ExtensionHealth, Timeouts};
use systemprompt_governance::ledger::queries::{self, RequestDetail};
use systemprompt_governance::ledger::{Ledger, verify};
use systemprompt_governance::{
    Action, ActionKind, Denial, DenialKind, EntityKind, Gate, GovernanceExtension, Inference, Outcome, OutcomeStatus,
    Payload, Refusal, Resource, ToolCallRecord,
};
use systemprompt_model::{
    Actor, ActorChain, ActorKind, Ambient, ApiKeyId, Credential, Principal, RequestId, SessionId, TraceId, UserId,
    UserType,
};

const PROMPT: &str = r#"{"messages":[{"role":"user","content":"hello"}]}"#;
const LEAK: &str = r#"{"messages":[{"role":"user","content":"AKIAIOSFODNN7EXAMPLQ is my key"}]}"#;

fn server() -> TestContextBuilder {
    TestContext::builder().extension(GovernanceExtension).document(
        "access-control/roles.yaml",
        json!({"rules": [{"entity_type": "gateway_route", "entity_id": "default", "roles": ["user"]}]}),
    )
}

fn gate(server: &TestContext) -> Arc<Gate> {
    server.services().require::<Gate>().expect("governance provides the Gate")
}

fn action(content: &str, roles: &[&str]) -> Action {
    let ambient = Ambient::system();
    let user = UserId::generate(&ambient);
    Action {
        id: RequestId::generate(&ambient),
        principal: Arc::new(Principal {
            user_id: user,
            user_name: "maya".to_owned(),
            user_type: UserType::User,
            roles: roles.iter().map(ToString::to_string).collect(),
            attributes: BTreeMap::new(),
            credential: Credential::ApiKey(ApiKeyId::generate(&ambient)),
        }),
        actors: ActorChain::user(user),
        session_id: SessionId::generate(&ambient),
        context_id: None,
        trace_id: TraceId::generate(&ambient),
        resource: Resource { kind: EntityKind::GatewayRoute, id: "default".to_owned() },
        content: Bytes::copy_from_slice(content.as_bytes()),
        kind: ActionKind::Infer(Inference {
            dialect: "anthropic-messages".to_owned(),
            provider: "demo".to_owned(),
            model: "demo-1".to_owned(),
            requested_model: "demo".to_owned(),
            route_match: "*".to_owned(),
            ..Inference::default()
        }),
        received_at: ambient.now(),
    }
}

async fn recorded(server: &TestContext, id: RequestId) -> RequestDetail {
    let found = queries::show_request(server.db().read(), id).await.expect("the ledger is read");
    found.expect("the request is recorded")
}

/// `policy_id: result` of every rule that was looked at.
fn rules(request: &RequestDetail) -> Vec<String> {
    let rules = request.decision.evaluated_rules.as_array().expect("a list");
    let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    rules.iter().map(|rule| format!("{}: {}", text(rule, "policy_id"), text(rule, "result"))).collect()
}

fn denied(result: Result<systemprompt_governance::Permit, Refusal>) -> Denial {
    match result {
        Err(Refusal::Denied(denial)) => denial,
        other => panic!("expected a denial, got {other:?}"),
    }
}

#[tokio::test]
async fn what_is_allowed_gets_a_permit_for_exactly_its_bytes() {
    let server = server().start().await;
    let action = Action {
        actors: ActorChain::user(UserId::generate(&Ambient::system()))
            .delegated_to(Actor { kind: ActorKind::Agent, id: "researcher".to_owned() }),
        ..action(PROMPT, &["user"])
    };
    let id = action.id;
    let permit = gate(&server).admit(action).await.expect("the role may");
    assert_eq!((permit.request_id(), &permit.content()[..]), (id, PROMPT.as_bytes()));

    let open = recorded(&server, id).await;
    assert_eq!(open.summary.status, "pending");
    assert_eq!((open.decision.decision.as_str(), open.decision.policy.as_str()), ("allow", "default_allow"));
    assert_eq!(
        rules(&open),
        ["access_control: pass", "secret_scan: pass", "scope_check: skip", "tool_blocklist: skip", "rate_limit: pass"]
    );
    assert_eq!(open.decision.evaluated_rules[0]["detail"], "allowed to the role `user`");
    assert_eq!(open.decision.policy_version, gate(&server).policies().version());
    assert_eq!((open.actor_kind.as_str(), open.actor_id.as_str()), ("agent", "researcher"));

    permit.finish(Outcome {
        response: Some(Payload::complete("hi there")),
        ..Outcome::new(OutcomeStatus::Completed, Duration::from_millis(5))
    });
    server.services().require::<Ledger>().expect("a ledger").drain(Duration::from_secs(5)).await;
    let closed = recorded(&server, id).await;
    assert_eq!((closed.summary.status.as_str(), closed.summary.model.as_deref()), ("completed", Some("demo-1")));
    assert_eq!(closed.messages.iter().map(|message| &message.content).collect::<Vec<_>>(), ["hello", "hi there"]);
    assert_eq!(verify(server.db().read(), None, None).await.expect("read").divergence, None);
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
    assert_eq!(denial.to_string(), "[authz_default_deny]: gateway_route `default`: no rule allows it");
    let recorded = recorded(&server, id).await;
    assert_eq!(recorded.summary.status, "rejected");
    assert_eq!(
        rules(&recorded),
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
    let shown = recorded(&server, id).await;
    assert_eq!((shown.summary.status.as_str(), shown.decision.policy.as_str()), ("rejected", "secret_scan"));
    assert_eq!(
        rules(&shown),
        ["access_control: pass", "secret_scan: fail", "scope_check: skip", "tool_blocklist: skip", "rate_limit: skip"]
    );
    assert_nowhere(&server, "AKIAIOSFODNN7").await;
    assert!(server.metrics().encode().contains("gateway_denials_total{policy=\"secret_scan\"} 1"));
}

/// A column of a request's row, as text.
async fn column(server: &TestContext, id: RequestId, column: &str) -> Option<String> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT {column}::text FROM ai_requests WHERE id = $1")))
        .bind(id.as_uuid())
        .fetch_one(server.db().read())
        .await
        .expect("the row is read")
}

/// No row of the ledger contains this text.
async fn assert_nowhere(server: &TestContext, text: &str) {
    let mut transaction = server.db().read().begin().await.expect("a transaction");
    for table in ["ai_requests", "governance_decisions", "ai_request_payloads", "ai_request_tool_calls"] {
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

#[tokio::test]
async fn in_warn_mode_the_request_goes_on_and_its_record_is_redacted() {
    let policies = json!({"governance": {"mode": "warn", "policies": [{"id": "secret_scan"}]}});
    let server = server().document("governance/config.yaml", policies).start().await;
    let leak = action(LEAK, &["user"]);
    let id = leak.id;
    let permit = gate(&server).admit(leak).await.expect("it only warns");
    assert_eq!(&permit.content()[..], LEAK.as_bytes());
    assert_eq!(permit.content_limit(), 0);
    permit.finish(Outcome {
        response: Some(Payload::complete("your key AKIAIOSFODNN7EXAMPLQ is leaked")),
        ..Outcome::new(OutcomeStatus::Completed, Duration::from_millis(5))
    });
    server.services().require::<Ledger>().expect("a ledger").drain(Duration::from_secs(5)).await;
    let shown = recorded(&server, id).await;
    assert_eq!((shown.decision.decision.as_str(), shown.decision.policy.as_str()), ("warn", "secret_scan"));
    assert_eq!(shown.messages.iter().map(|message| &message.content).collect::<Vec<_>>(), ["[redacted]"]);
    assert_eq!(rules(&shown)[1], "secret_scan: fail");
    assert_nowhere(&server, "AKIAIOSFODNN7").await;
}

#[tokio::test]
async fn where_governance_is_off_nothing_is_asked_and_the_record_says_so() {
    let policies = json!({"governance": {"enabled": false}});
    let server = server().document("governance/config.yaml", policies).start().await;
    let leak = action(LEAK, &["user"]);
    let id = leak.id;
    drop(gate(&server).admit(leak).await.expect("nothing is asked"));
    let shown = recorded(&server, id).await;
    assert_eq!(shown.decision.policy, "governance_disabled");
    assert_eq!(rules(&shown)[1], "secret_scan: disabled");
}

/// Every text a client chooses, and every one a provider does, with a credential in it.
#[tokio::test]
async fn no_text_of_a_record_holds_a_credential() {
    const KEY: &str = "AKIAIOSFODNN7EXAMPLQ";
    const NEEDLE: &str = "IOSFODNN7EXAMPLQ";
    type Place = fn(&mut Inference, String);
    let places: [(&str, Place); 7] = [
        ("the model asked for", |inference, text| inference.requested_model = text),
        ("the model of the provider", |inference, text| inference.model = text),
        ("the route", |inference, text| inference.route_match = text),
        ("the conversation", |inference, text| inference.conversation_id = text),
        ("a stop sequence", |inference, text| inference.stop_sequences = vec!["stop".to_owned(), text]),
        ("the client", |inference, text| inference.client = Some(text)),
        ("the client's trace", |inference, text| inference.client_trace_id = Some(text)),
    ];
    // The scan finds what is in the content too; switched off or not asked, it still must not be recorded.
    let off = json!({"governance": {"policies": []}});
    let open = server().document("governance/config.yaml", off).start().await;
    let strict = server().start().await;
    for (what, place) in places {
        let with = |content: &str, roles: &[&str]| {
            let mut action = action(content, roles);
            let ActionKind::Infer(inference) = &mut action.kind;
            place(inference, format!("my-{KEY}"));
            action
        };
        let unknown = Denial {
            policy: "route".to_owned(),
            kind: DenialKind::NotFound,
            reason: format!("No gateway route matches model `my-{KEY}`"),
            retry_after: None,
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
            let permit = gate(server).admit(with(PROMPT, &["user"])).await.expect("the content is clean");
            permit.finish(Outcome {
                provider_request_id: Some(KEY.to_owned()),
                served_model: Some(KEY.to_owned()),
                stop_reason: Some(KEY.to_owned()),
                tool_calls: vec![ToolCallRecord { id: KEY.to_owned(), name: KEY.to_owned(), input: "{}".to_owned() }],
                ..Outcome::new(
                    OutcomeStatus::Failed { reason: format!("the provider reported a bad key {KEY}") },
                    Duration::from_millis(5),
                )
            });
        }
        let leak = with(&json!({"stop": ["stop", KEY], "model": KEY}).to_string(), &["user"]);
        let id = leak.id;
        assert_eq!(denied(gate(&strict).admit(leak).await).policy, "secret_scan", "{what}");
        assert_eq!(column(&strict, id, "stop_sequences").await, None, "{what}: they are part of what was flagged");
    }
    for server in [&open, &strict] {
        server.services().require::<Ledger>().expect("a ledger").drain(Duration::from_secs(5)).await;
        assert_nowhere(server, NEEDLE).await;
        assert_eq!(verify(server.db().read(), None, None).await.expect("read").divergence, None);
    }
}

#[tokio::test]
async fn ids_and_ordinary_texts_are_recorded_as_they_are() {
    let server = server().start().await;
    let mut usual = action(PROMPT, &["user"]);
    let id = usual.id;
    let ActionKind::Infer(inference) = &mut usual.kind;
    // Random enough to be a token, as ids are.
    let conversation = "conv-Zk3vQ9xLw2Rf7TgB1nYc8MhD4sKj6PaE0uViOt5";
    inference.conversation_id = conversation.to_owned();
    inference.requested_model = "accounts/fireworks/models/llama-v3p1-405b-instruct".to_owned();
    inference.client = Some("claude-cli/2.1.0 (external, cli) Mozilla/5.0 (X11; Linux x86_64)".to_owned());
    inference.client_trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned());
    inference.stop_sequences = vec!["\n\nHuman:".to_owned()];
    let expected = inference.clone();
    drop(gate(&server).admit(usual).await.expect("it may"));
    let shown = recorded(&server, id).await;
    assert_eq!(shown.summary.requested_model, Some(expected.requested_model));
    assert_eq!((shown.client, shown.client_trace_id), (expected.client, expected.client_trace_id));
    let stop_sequences = column(&server, id, "stop_sequences").await.expect("they are stored");
    assert_eq!(serde_json::from_str::<Value>(&stop_sequences).expect("JSON"), json!(expected.stop_sequences));
    assert_eq!(column(&server, id, "gateway_conversation_id").await.as_deref(), Some(conversation));
}

#[tokio::test]
async fn the_rate_limit_says_when_to_come_back() {
    let policies =
        json!({"governance": {"policies": [{"id": "rate_limit", "requests_per_window": 3, "window_secs": 60}]}});
    let server = server().document("governance/config.yaml", policies).start().await;
    let gate = gate(&server);
    let first = action(PROMPT, &["user"]);
    for _ in 0..3 {
        let next = Action { id: RequestId::generate(server.ambient()), ..first.clone() };
        drop(gate.admit(next).await.expect("within the limit"));
    }
    let denial = denied(gate.admit(Action { id: RequestId::generate(server.ambient()), ..first }).await);
    assert_eq!((denial.kind, denial.policy.as_str()), (DenialKind::RateLimited, "rate_limit"));
    assert!(denial.retry_after.is_some_and(|wait| wait <= Duration::from_secs(67)), "{:?}", denial.retry_after);
}

#[tokio::test]
async fn a_refusal_of_the_surface_is_recorded_like_any_other() {
    let server = server().start().await;
    let ActionKind::Infer(inference) = action(PROMPT, &["user"]).kind;
    let unknown = Inference {
        provider: String::new(),
        model: String::new(),
        route_match: String::new(),
        requested_model: "gpt-9\0".to_owned(),
        ..inference
    };
    let unknown = Action { kind: ActionKind::Infer(unknown), ..action(PROMPT, &["user"]) };
    let id = unknown.id;
    let denial = Denial {
        policy: "routing".to_owned(),
        kind: DenialKind::NotFound,
        reason: "No gateway route matches model".to_owned(),
        retry_after: None,
        code: "model_not_found",
    };
    assert_eq!(gate(&server).refuse(unknown, denial.clone()).await, Refusal::Denied(denial));
    let shown = recorded(&server, id).await;
    assert_eq!((shown.summary.status.as_str(), shown.summary.provider.as_deref()), ("rejected", None));
    assert_eq!(shown.summary.requested_model.as_deref(), Some("gpt-9\u{fffd}"));
    assert_eq!(rules(&shown)[0], "routing: fail");
    assert_eq!(verify(server.db().read(), None, None).await.expect("read").divergence, None);
}

#[tokio::test]
async fn a_stopped_ledger_permits_nothing_and_says_so() {
    let server = server().start().await;
    let health = server.registry().health(&server, Timeouts::default()).await;
    assert_eq!(health, [("governance", ExtensionHealth::Healthy)]);
    server.services().require::<Ledger>().expect("a ledger").drain(Duration::from_secs(5)).await;
    assert_eq!(gate(&server).admit(action(PROMPT, &["user"])).await.err(), Some(Refusal::LedgerUnavailable));
    let health = server.registry().health(&server, Timeouts::default()).await;
    assert!(matches!(health[0].1, ExtensionHealth::Unhealthy(_)), "{health:?}");
    server.stop().await;
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
