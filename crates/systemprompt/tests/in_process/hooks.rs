//! Hooks of coding clients, over HTTP: what is answered, what is recorded, and what never gets in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use http::Request;
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder, TestResponse};
use systemprompt_extension::{ExtensionContext as _, ExtensionContextExt as _};
use systemprompt_governance::decisions::{DecisionDetail, DecisionFilter, list_decisions};
use systemprompt_governance::ledger::Ledger;
use systemprompt_governance::ledger::checkpoint::Remembered;
use systemprompt_governance::ledger::verify::verify;
use systemprompt_hooks::{HookEventFilter, HookEventRow, list_hook_events};
use systemprompt_identity::{NewSession, ScopeSet, SessionSource, Sessions, TokenRequest, Tokens};
use systemprompt_model::Secret;

use crate::guard::account;

const GOVERN: &str = "/api/public/hooks/govern?plugin_id=acme-tools";
const TRACK: &str = "/api/public/hooks/track?plugin_id=acme-tools";
const AWS: &str = concat!("AKIA", "IOSFODNN7EXAMPLQ");
const GITHUB: &str = concat!("ghp_", "4pQ7rT2vX9zB5nM8kL3jH6gF1dS0aW4eR7tY");

const EVENTS: [&str; 18] = [
    "SessionStart",
    "SessionEnd",
    "UserPromptSubmit",
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "PermissionRequest",
    "Stop",
    "SubagentStart",
    "SubagentStop",
    "TaskCompleted",
    "TeammateIdle",
    "Notification",
    "ConfigChange",
    "WorktreeCreate",
    "WorktreeRemove",
    "PreCompact",
    "InstructionsLoaded",
];

fn server() -> TestContextBuilder {
    TestContext::builder()
}

/// A tool that is about to be used.
fn tool(name: &str, input: &Value, session: &str, call: &str) -> Value {
    json!({
        "hook_event_name": "PreToolUse", "session_id": session, "tool_name": name, "tool_input": input,
        "tool_use_id": call, "cwd": "/home/ada/notes", "permission_mode": "default", "transcript_path": "/t.jsonl",
        "agent_id": "reviewer", "agent_type": "subagent",
    })
}

fn decision(answer: &TestResponse) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let output = &answer.json()["hookSpecificOutput"];
    let text = |key: &str| output[key].as_str().unwrap_or_default().to_owned();
    let reason = text("permissionDecisionReason");
    assert!(reason.starts_with("[GOVERNANCE] "), "{reason}");
    (text("permissionDecision"), reason)
}

async fn decisions(server: &TestContext) -> Vec<DecisionDetail> {
    server.catch_up().await;
    let filter = DecisionFilter { limit: 1000, ..DecisionFilter::default() };
    let page = list_decisions(server.db().read(), &filter).await.expect("decisions are read");
    page.items.into_iter().filter(|decision| decision.effect == "hook").collect()
}

async fn events(server: &TestContext) -> Vec<HookEventRow> {
    server.catch_up().await;
    let filter = HookEventFilter { limit: 1000, ..HookEventFilter::default() };
    list_hook_events(server.db().read(), &filter).await.expect("events are read").items
}

async fn assert_sound(server: &TestContext) {
    server.catch_up().await;
    let ledger = server.service::<Ledger>().expect("a ledger");
    let projections = ledger.projector().projections().to_vec();
    let report = verify(server.db().write(), &Remembered::default(), &projections).await.expect("the log is read");
    assert_eq!(report.problems, []);
}

async fn hook_token(server: &TestContext, name: &str, audience: &str, scope: &str, plugin: Option<&str>) -> TestClient {
    let user = account(server, name).await;
    let sessions = server.service::<Sessions>().expect("a service");
    let session = sessions.open(NewSession::new(user.id, SessionSource::Cli)).await.expect("opens").id;
    let request = TokenRequest {
        user: &user,
        session,
        audiences: &[audience],
        scope: ScopeSet::parse(scope),
        lifetime: TimeDelta::hours(1),
        authenticated_at: server.ambient().now(),
        client_id: None,
        plugin_id: plugin,
        act: None,
    };
    let token = server.service::<Tokens>().expect("a service").mint(request).expect("signs the token").token;
    server.with_credential(token)
}

#[tokio::test]
async fn tools_are_decided_by_who_asks_and_what_they_are_asked_to_do() {
    let server = server().start().await;
    let (admin, user) = (server.admin().await, server.user("ada", &["user"]).await);
    let (clean, nothing) = (json!({"name": "weather"}), json!({}));
    let body: Vec<u8> = (0..144_u8).map(|n| n.wrapping_mul(167).wrapping_add(n / 7)).collect();
    let pem = format!("-----BEGIN RSA {} KEY-----\n{}\n", "PRIVATE", STANDARD.encode(body));
    let rows: [(&TestClient, &str, Value, &str, &str); 8] = [
        (&admin, "mcp__systemprompt__list_agents", clean.clone(), "allow", "default_allow"),
        (&user, "mcp__systemprompt__list_agents", clean.clone(), "deny", "scope_check"),
        (&user, "delete_records", nothing.clone(), "deny", "tool_blocklist"),
        (&admin, "delete_records", nothing.clone(), "allow", "default_allow"),
        (&user, "Read", json!({"file_path": "/tmp/a"}), "allow", "default_allow"),
        (&admin, "Bash", json!({"command": format!("export KEY={AWS}")}), "deny", "secret_scan"),
        (&admin, "Write", json!({"nested": [{"content": GITHUB}]}), "deny", "secret_scan"),
        (&admin, "Write", json!({"content": pem}), "deny", "secret_scan"),
    ];
    for (at, (client, name, input, expected, policy)) in rows.iter().enumerate() {
        let answer = client.post(GOVERN, &tool(name, input, "s-1", &format!("toolu_{at}"))).await;
        let (permission, reason) = decision(&answer);
        assert_eq!(permission, *expected, "{name}: {reason}");
        assert!(*expected == "allow" || reason.contains(&format!("[{policy}]")), "{reason}");
        assert_eq!(answer.json()["hookSpecificOutput"]["hookEventName"], "PreToolUse");
    }
    let recorded = decisions(&server).await;
    let shown: Vec<_> = recorded.iter().rev().map(|row| (&*row.tool_name, &*row.decision, &*row.policy)).collect();
    assert_eq!(
        shown,
        rows.iter().map(|(_, name, _, decision, policy)| (*name, *decision, *policy)).collect::<Vec<_>>()
    );
    for row in &recorded {
        assert_eq!((row.plugin_id.as_deref(), row.agent_id.as_deref()), (Some("acme-tools"), Some("reviewer")));
        assert!(row.session_id.is_some() && row.evaluated_rules.as_array().is_some_and(|rules| rules.len() >= 5));
    }
    // An agent named in the event gives nothing: the scope is the caller's.
    assert_eq!(recorded.iter().filter(|row| row.agent_scope.as_deref() == Some("admin")).count(), 5);
    let everything = format!("{recorded:?}{:?}", events(&server).await);
    assert!(!everything.contains(AWS) && !everything.contains(GITHUB), "no secret is kept");
    assert_sound(&server).await;
}

#[tokio::test]
async fn prompts_are_decided_too_and_blocked_in_words_that_clients_act_on() {
    let server = server().start().await;
    let user = server.user("ada", &["user"]).await;
    let prompt = |text: &str| json!({"hook_event_name": "UserPromptSubmit", "session_id": "s-1", "prompt": text});
    let answer = user.post(GOVERN, &prompt("explain this function")).await;
    assert_eq!(decision(&answer).0, "allow");
    assert_eq!(answer.json()["decision"], Value::Null);
    let answer = user.post(GOVERN, &prompt(&format!("why is {AWS} refused?"))).await;
    let (permission, reason) = decision(&answer);
    assert_eq!((permission.as_str(), answer.json()["decision"].as_str()), ("deny", Some("block")), "{reason}");
    assert_eq!(answer.json()["reason"].as_str(), Some(reason.as_str()));
    assert!(!answer.text().contains(AWS));
    let policies: Vec<_> = decisions(&server).await.into_iter().map(|row| (row.tool_name, row.policy)).collect();
    assert_eq!(policies[0], ("user_prompt".to_owned(), "secret_scan".to_owned()));
}

#[tokio::test]
async fn a_session_that_asks_too_often_is_denied() {
    let server = server().start().await;
    let user = server.user("ada", &["user"]).await;
    let mut denied = 0;
    for at in 0..320 {
        let answer = user.post(GOVERN, &tool("Read", &json!({"at": at}), "busy", &format!("c{at}"))).await;
        let (permission, reason) = decision(&answer);
        if permission == "deny" {
            assert!(reason.contains("[rate_limit]"), "{reason}");
            denied += 1;
        }
    }
    assert_eq!(denied, 20);
}

#[tokio::test]
async fn whoever_is_not_let_in_is_denied_and_counted() {
    let server = server().start().await;
    let user = server.user("ada", &["user"]).await;
    let body = tool("Read", &json!({}), "s", "c");
    let other_plugin = hook_token(&server, "ada", "hook", "hook:govern", Some("other")).await;
    let tracking_only = hook_token(&server, "ada", "hook", "hook:track", None).await;
    let for_the_web = hook_token(&server, "ada", "web", "user", None).await;
    for client in
        [server.anonymous(), server.with_credential(Secret::new("nonsense")), other_plugin, tracking_only, for_the_web]
    {
        let (permission, reason) = decision(&client.post(GOVERN, &body).await);
        assert_eq!(permission, "deny");
        assert!(reason.contains("[authentication]") && reason.contains("auth_failure"), "{reason}");
    }
    for (audience, scope, plugin) in [
        ("hook", "hook:govern hook:track", Some("acme-tools")),
        ("hook", "hook:govern", None),
        ("plugin", "hook:govern", None),
        ("api", "user", None),
    ] {
        let client = hook_token(&server, "ada", audience, scope, plugin).await;
        let (permission, reason) = decision(&client.post(GOVERN, &body).await);
        assert_eq!(permission, "allow", "{audience} {scope}: {reason}");
    }
    drop(user);
    let page = server.metrics().encode();
    for (reason, count) in [("missing", 1), ("invalid", 2), ("scope", 1), ("plugin", 1)] {
        let line = format!("hook_credentials_refused_total{{reason=\"{reason}\"}} {count}");
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_denied_and_recorded() {
    let server = server().start().await;
    let user = server.user("ada", &["user"]).await;
    let send = async |body: Vec<u8>| {
        user.request(Request::post(GOVERN).header("content-type", "application/json").body(body).expect("a request"))
            .await
    };
    for body in [
        "",
        "not json",
        "[1]",
        "{}",
        r#"{"hook_event_name":"PreToolUse","tool_name":"","tool_input":{}}"#,
        r#"{"hook_event_name":"PreToolUse","tool_name":["Bash"]}"#,
        r#"{"hook_event_name":"PreToolUse","tool_name":"Read","tool_name":"Bash"}"#,
        r#"{"hook_event_name":"PreToolUse","tool_name":"Read","tool_input":{},"tool_input":{"x":1}}"#,
    ] {
        let (permission, reason) = decision(&send(body.into()).await);
        assert_eq!(permission, "deny", "{body}");
        assert!(reason.contains("[hook_input]"), "{reason}");
    }
    let too_large = format!(r#"{{"tool_name":"Write","tool_input":"{}"}}"#, "x".repeat(8 * 1024 * 1024));
    let (permission, reason) = decision(&send(too_large.into_bytes()).await);
    assert!(permission == "deny" && reason.contains("larger than"), "{reason}");
    assert_eq!(decisions(&server).await.iter().filter(|row| row.policy == "hook_input").count(), 9);
    // What is merely unknown or of another type is no obstacle.
    let lenient =
        json!({"hook_event_name": "PreToolUse", "tool_name": "Read", "agent_id": 7, "cwd": null, "new": [{}]});
    assert_eq!(decision(&user.post(GOVERN, &lenient).await).0, "allow");
}

#[tokio::test]
async fn the_same_call_is_answered_alike_and_recorded_once() {
    let server = server().start().await;
    let user = server.user("ada", &["user"]).await;
    let call = tool("delete_records", &json!({"id": 1}), "s-1", "toolu_1");
    let first = decision(&user.post(GOVERN, &call).await);
    let again = futures_util::future::join_all((0..20).map(|_| user.post(GOVERN, &call))).await;
    for answer in &again {
        assert_eq!(decision(answer), first);
    }
    assert_eq!(decisions(&server).await.len(), 1);
    // With another input it is another call, whatever id it claims; so it is in another session, and of somebody else.
    assert_eq!(decision(&user.post(GOVERN, &tool("Read", &json!({}), "s-1", "toolu_1")).await).0, "allow");
    assert_eq!(decision(&user.post(GOVERN, &tool("Read", &json!({"x": 1}), "s-1", "toolu_1")).await).0, "allow");
    assert_eq!(decision(&user.post(GOVERN, &tool("Read", &json!({}), "s-2", "toolu_1")).await).0, "allow");
    let bob = server.user("bob", &["user"]).await;
    assert_eq!(decision(&bob.post(GOVERN, &tool("Read", &json!({}), "s-1", "toolu_1")).await).0, "allow");
    assert_eq!(decisions(&server).await.len(), 5);
    assert_sound(&server).await;
}

#[tokio::test]
async fn every_event_is_recorded_once_and_without_secrets() {
    let server = server().start().await;
    let user = server.user("ada", &["user"]).await;
    for event in EVENTS.into_iter().chain(["SomethingNew"]) {
        let body = json!({
            "hook_event_name": event, "session_id": "s-1", "tool_name": "Bash", "tool_use_id": "toolu_9",
            "source": "startup", "tool_response": {"stdout": format!("key {AWS}")},
        });
        let receipt = user.post(TRACK, &body).await;
        assert_eq!(
            (receipt.status.as_u16(), &receipt.json()["recorded"]),
            (200, &json!(event != "PreToolUse")),
            "{event}"
        );
        assert_eq!(user.post(TRACK, &body).await.json()["recorded"], false, "{event} again");
    }
    for (path, name) in [("statusline", "Statusline"), ("transcript", "Transcript")] {
        let path = format!("/api/public/hooks/{path}");
        let body = json!({"session_id": "s-1", "model": {"id": "m"}, "hook_event_name": "Status"});
        assert_eq!(user.post(&path, &body).await.json()["recorded"], true, "{name}");
        assert_eq!(user.post(&path, &body).await.json()["recorded"], false, "{name} again");
    }
    let recorded = events(&server).await;
    let names: std::collections::BTreeSet<_> = recorded.iter().map(|row| row.event.as_str()).collect();
    assert_eq!((recorded.len(), names.len()), (20, 20), "{names:?}");
    assert!(names.contains("SomethingNew") && !names.contains("PreToolUse"));
    let sessions: std::collections::BTreeSet<_> = recorded.iter().map(|row| row.session_id).collect();
    assert_eq!(sessions.len(), 1, "all of them are of one session");
    assert!(recorded.iter().all(|row| row.decision == "allow" && row.plugin_id.is_none() == row.tool_name.is_none()));
    let kept: Vec<String> = sqlx::query_scalar("SELECT coalesce(body, head) FROM ledger_content")
        .fetch_all(server.db().read())
        .await
        .expect("content is read");
    assert!(kept.iter().any(|text| text.contains("SomethingNew")) && !kept.iter().any(|text| text.contains(AWS)));
    for (client, body, why) in [
        (server.anonymous(), json!({"hook_event_name": "Stop"}), "auth_failure"),
        (user.clone(), json!([1]), "no JSON object"),
    ] {
        let receipt = client.post(TRACK, &body).await;
        assert_eq!((receipt.status.as_u16(), &receipt.json()["recorded"]), (200, &json!(false)));
        assert!(receipt.text().contains(why), "{}", receipt.text());
    }
    assert_sound(&server).await;
}

#[tokio::test]
async fn access_rules_say_who_may_ask() {
    let rules = json!({"rules": [{"entity_type": "hook", "entity_id": "govern", "roles": ["admin"]}]});
    let server = server().document("access-control/roles.yaml", rules).start().await;
    let call = tool("Read", &json!({}), "s", "c");
    let (permission, reason) = decision(&server.user("eve", &["user"]).await.post(GOVERN, &call).await);
    assert_eq!(permission, "deny");
    assert!(reason.contains("authz_default_deny"), "{reason}");
}

#[tokio::test]
async fn without_a_ledger_nothing_is_allowed() {
    let server = server().start().await;
    let user = server.user("ada", &["user"]).await;
    assert_eq!(decision(&user.post(GOVERN, &tool("Read", &json!({}), "s", "c1")).await).0, "allow");
    server.db().close().await;
    let (permission, reason) = decision(&user.post(GOVERN, &tool("Read", &json!({}), "s", "c2")).await);
    assert_eq!(permission, "deny", "{reason}");
}
