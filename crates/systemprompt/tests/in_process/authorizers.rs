//! Who is asked beside the access rules: a webhook, extensions, nobody, everybody.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use systemprompt::axum::Router;
use systemprompt::axum::extract::State;
use systemprompt::axum::response::{IntoResponse as _, Response};
use systemprompt::axum::routing::post;
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder, TestResponse};
use systemprompt_extension::authorizer::{
    Authorization, AuthorizationDenial, AuthorizationRequest, AuthorizedEntity, Authorizer, AuthorizerDef, Fault,
    ReasonKind,
};
use systemprompt_extension::prelude::*;
use systemprompt_gateway::configured::authorizer_client;
use systemprompt_governance::Authorizers;
use systemprompt_governance::access::AccessRules;
use systemprompt_governance::config::{ACKNOWLEDGEMENT, AuthzHookConfig};
use systemprompt_identity::{UserReference, Users};
use systemprompt_model::{Credential, EntityKind, Principal, TraceId, UserType};

use crate::ended::ended;

const SECRET: &str = "a shared word";

/// A webhook that answers as it is told and remembers what it was asked.
#[derive(Clone, Default)]
struct Hook(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    status: u16,
    answer: String,
    waits: bool,
    asked: Vec<(HeaderMap, Bytes)>,
}

impl Hook {
    async fn start(&self) -> String {
        self.answers(200, r#"{"decision":"allow"}"#);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new().route("/check", post(asked)).with_state(self.clone());
        tokio::spawn(async move { systemprompt::axum::serve(listener, router).await });
        format!("http://{address}/check?key=hidden")
    }

    fn answers(&self, status: u16, answer: impl Into<String>) {
        let mut told = self.0.lock().expect("nobody panicked");
        (told.status, told.answer, told.waits) = (status, answer.into(), false);
    }

    fn waits(&self) {
        self.0.lock().expect("nobody panicked").waits = true;
    }

    fn asked(&self) -> Vec<(HeaderMap, Bytes)> {
        std::mem::take(&mut self.0.lock().expect("nobody panicked").asked)
    }
}

async fn asked(State(hook): State<Hook>, headers: HeaderMap, body: Bytes) -> Response {
    let (status, answer, waits) = {
        let mut told = hook.0.lock().expect("nobody panicked");
        told.asked.push((headers, body));
        (told.status, told.answer.clone(), told.waits)
    };
    if waits {
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [("location", "http://127.0.0.1:1/elsewhere")], answer).into_response()
}

fn with_hook(hook: Value) -> TestContextBuilder {
    TestContext::builder().profile("governance", json!({"authz": {"hook": hook}})).secret("word", SECRET)
}

fn hello() -> Value {
    json!({"model": "demo-1", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]})
}

async fn ask(client: &TestClient) -> TestResponse {
    client.post("/v1/messages", &hello()).await
}

/// What the record of a request says of this authorizer.
async fn said(context: &TestContext, response: &TestResponse, authorizer: &str) -> (String, Said) {
    let decision = ended(context, response).await.decision;
    let all: Vec<Said> = serde_json::from_value(decision.evaluated_rules).expect("evaluations");
    (decision.policy, all.into_iter().find(|said| said.policy_id == authorizer).expect("it is recorded"))
}

/// What a record says of one of those who were asked.
#[derive(Deserialize)]
struct Said {
    policy_id: String,
    result: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    duration_ms: f64,
}

#[tokio::test]
async fn a_webhook_is_asked_after_the_rules_and_both_must_allow() {
    let hook = Hook::default();
    let url = hook.start().await;
    let profile = json!({"mode": "webhook", "url": url, "secret": "word", "timeout_ms": 5000});
    let rules = json!({"rules": [
        {"entity_type": "gateway_route", "entity_match": "*", "departments": ["Default"]},
        {"entity_type": "gateway_route", "entity_match": "*", "access": "deny", "roles": ["a2a"]},
    ]});
    let context = with_hook(profile).document("access-control/roles.yaml", rules).start().await;
    let ada = context.user("ada", &["user", "mcp"]).await;

    let allowed = ask(&ada).await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    let (policy, allow) = said(&context, &allowed, "authz").await;
    assert_eq!((policy.as_str(), allow.result.as_str()), ("default_allow", "pass"));
    assert!(allow.detail.contains("/check allows it") && !allow.detail.contains("hidden"), "{}", allow.detail);
    assert!(allow.duration_ms > 0.0);
    let asked = hook.asked();
    let [(headers, body)] = &asked[..] else { panic!("{asked:?}") };
    let request: Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(request["entity"], json!({"kind": "gateway_route", "id": "demo"}));
    assert_eq!(request["context"], json!({"kind": "gateway.invocation", "model": "demo-1"}));
    assert_eq!(
        (&request["roles"], &request["attributes"]),
        (&json!(["mcp", "user"]), &json!({"department": ["Default"]}))
    );
    assert_eq!(request["act_chain"][0], json!({"kind": "user", "id": request["user_id"]}));
    assert!(request["trace_id"].is_string() && request["session_id"].is_string(), "{request}");
    let header = |name: &str| headers[name].to_str().expect("text").to_owned();
    let signed = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), String::from_utf8_lossy(body));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
    assert_eq!(header("webhook-signature"), format!("v1,{}", STANDARD.encode(signature)));

    for (reason, status, told) in [
        (json!({"kind": "policy_violation", "message": "not after hours"}), 403, "not after hours"),
        (json!({"kind": "rate_limit_exceeded", "message": "slowly"}), 429, "slowly"),
        (json!({"kind": "user_deny"}), 403, "the authorizer of this installation refuses it"),
    ] {
        hook.answers(200, json!({"decision": "deny", "reason": reason, "policy": "hours"}).to_string());
        let refused = ask(&ada).await;
        assert_eq!(refused.status.as_u16(), status, "{}", refused.text());
        assert!(refused.text().contains(told) && !refused.text().contains("/check"), "{}", refused.text());
        let (policy, deny) = said(&context, &refused, "authz").await;
        assert_eq!((policy.as_str(), deny.result.as_str()), ("authz", "fail"));
        assert!(deny.detail.contains(reason["kind"].as_str().expect("a kind")), "{}", deny.detail);
        assert!(deny.detail.contains("by its policy `hours`"), "{}", deny.detail);
    }
    assert_eq!(hook.asked().len(), 3);

    let a2a = context.user("agent", &["a2a"]).await;
    hook.answers(200, r#"{"decision":"allow"}"#);
    assert_eq!(ask(&a2a).await.status, 200, "the department comes before the role");
    hook.asked();
    let page = context.metrics().encode();
    for line in [
        r#"governance_authorizer_calls_total{authorizer="authz",result="allow"} 2"#,
        r#"governance_authorizer_calls_total{authorizer="authz",result="deny"} 3"#,
        r#"governance_authorizer_calls_total{authorizer="authz",result="fault"} 0"#,
        r#"governance_authorizer_seconds_count{authorizer="authz"} 5"#,
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }
}

#[tokio::test]
async fn a_webhook_that_gives_no_answer_refuses_and_what_the_rules_refuse_it_is_not_asked() {
    let hook = Hook::default();
    let url = hook.start().await;
    let profile = json!({"mode": "webhook", "url": url, "authorization": "word", "timeout_ms": 300});
    let rules = json!({"rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"]}]});
    let context = with_hook(profile).document("access-control/roles.yaml", rules).start().await;
    let (ada, eve) = (context.user("ada", &["user"]).await, context.user("eve", &["a2a"]).await);

    let refused = ask(&eve).await;
    assert_eq!(refused.status, 403);
    let (policy, skipped) = said(&context, &refused, "authz").await;
    assert_eq!((policy.as_str(), skipped.result.as_str()), ("authz_default_deny", "skip"));
    assert_eq!(hook.asked().len(), 0);

    let large = format!(r#"{{"decision":"allow","why":"{}"}}"#, "x".repeat(70_000));
    for (status, answer, why) in [
        (500, r#"{"decision":"allow"}"#, "it answered 500"),
        (302, r#"{"decision":"allow"}"#, "redirects are not followed"),
        (404, "", "it answered 404"),
        (200, "yes", "its answer is none"),
        (200, r#"{"allow":true}"#, "its answer is none"),
        (200, &*large, "more than 65536 bytes"),
    ] {
        hook.answers(status, answer);
        let refused = ask(&ada).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{why}: {}", refused.text());
        let (policy, fault) = said(&context, &refused, "authz").await;
        assert_eq!((policy.as_str(), fault.result.as_str()), ("authz_hook_fault", "fail"));
        assert!(fault.detail.contains(why), "{why}: {}", fault.detail);
    }
    hook.waits();
    let refused = ask(&ada).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said(&context, &refused, "authz").await.1.detail.contains("within 300 ms"));
    hook.answers(200, r#"{"decision":"allow"}"#);
    assert_eq!(ask(&ada).await.status, 200, "it answers again");
    let asked = hook.asked();
    assert_eq!(asked.len(), 8);
    assert!(asked.iter().all(|(headers, _)| headers["authorization"] == SECRET && !headers.contains_key("webhook-id")));

    // Nobody is there.
    let profile = json!({"mode": "webhook", "url": "http://127.0.0.1:9/check", "timeout_ms": 2000});
    let context = with_hook(profile).start().await;
    let refused = ask(&context.user("ada", &["user"]).await).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(said(&context, &refused, "authz").await.0, "authz_hook_fault");
}

/// The program of the guide, until it is dropped.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("our own child");
    }
}

#[tokio::test]
async fn the_program_of_the_guide_decides() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/authorizer.py");
    let mut command = std::process::Command::new("python3");
    command.args([program, "0"]).env("AUTHORIZER_SECRET", SECRET).stdout(std::process::Stdio::piped());
    let mut program = Program(command.spawn().expect("python3"));
    let mut url = String::new();
    let output = program.0.stdout.take().expect("it is piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut url).expect("its address");

    let models = ["demo-1", "demo-2"]
        .map(|model| json!({"id": model, "pricing": {"input_per_million": 1.0, "output_per_million": 1.0}}));
    let server = |secret: &str| {
        let hook = json!({"mode": "webhook", "url": url.trim(), "secret": "word", "timeout_ms": 5000});
        let rules = json!({"roles": [{"name": "contractor"}],
            "rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"]}]});
        TestContext::builder()
            .profile("governance", json!({"authz": {"hook": hook}}))
            .secret("word", secret)
            .profile("providers", json!([{"name": "demo", "wire": "demo", "surface": "anthropic", "models": models}]))
            .document("access-control/roles.yaml", rules)
            .start()
    };
    let context = server(SECRET).await;
    let (ada, carl) = (context.user("ada", &["user"]).await, context.user("carl", &["user", "contractor"]).await);
    let second = json!({"model": "demo-2", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]});
    assert_eq!(ada.post("/v1/messages", &second).await.status, 200);
    assert_eq!(ask(&carl).await.status, 200);
    let refused = carl.post("/v1/messages", &second).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    assert!(refused.text().contains("contractors may use demo-1"), "{}", refused.text());
    let (_, deny) = said(&context, &refused, "authz").await;
    assert!(deny.detail.contains("role_deny, by its policy `contractors`"), "{}", deny.detail);

    let stranger = server("another word").await;
    let refused = ask(&stranger.user("ada", &["user"]).await).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "who signs with another word is nobody");
    assert!(said(&stranger, &refused, "authz").await.1.detail.contains("it answered 401"));
}

/// Does what the model is called.
struct Moody;

#[async_trait]
impl Authorizer for Moody {
    async fn authorize(&self, request: &AuthorizationRequest) -> Result<Authorization, Fault> {
        match request.context.model.as_deref() {
            Some("forbidden") => Ok(Authorization::Deny(AuthorizationDenial {
                kind: ReasonKind::AttributeDeny,
                message: Some("not from there".to_owned()),
                policy: None,
            })),
            Some("broken") => Err("out of order".into()),
            Some("panics") => panic!("out of luck"),
            Some("hangs") => std::future::pending().await,
            _ => Ok(Authorization::Allow),
        }
    }
}

/// Refuses commands.
struct NoCommands;

#[async_trait]
impl Authorizer for NoCommands {
    async fn authorize(&self, request: &AuthorizationRequest) -> Result<Authorization, Fault> {
        assert_ne!(request.context.model.as_deref(), Some("forbidden"), "the first that refuses decides");
        match request.context.tool.as_deref() {
            Some("Bash") => Ok(Authorization::deny("no commands")),
            _ => Ok(Authorization::Allow),
        }
    }
}

struct Brought;

impl Extension for Brought {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "asked", name: "Asked", version: "1.0.0" }
    }

    fn governance_authorizers(&self) -> Vec<AuthorizerDef> {
        vec![
            AuthorizerDef::new("asked.moody", "Does what the model is called.", |_| Ok(Arc::new(Moody))),
            AuthorizerDef::new("asked.no_commands", "Refuses commands.", |_| Ok(Arc::new(NoCommands))),
        ]
    }
}

#[tokio::test]
async fn authorizers_of_extensions_must_all_allow() {
    let models: Vec<_> = ["fine", "forbidden", "broken", "panics", "hangs"]
        .iter()
        .map(|model| json!({"id": model, "pricing": {"input_per_million": 1.0, "output_per_million": 1.0}}))
        .collect();
    let context = with_hook(json!({"mode": "extension", "timeout_ms": 100}))
        .extension(Brought)
        .profile("providers", json!([{"name": "demo", "wire": "demo", "surface": "anthropic", "models": models}]))
        .start()
        .await;
    let ada = context.user("ada", &["user"]).await;
    let ask = async |model: &str| {
        let mut body = hello();
        body["model"] = model.into();
        ada.post("/v1/messages", &body).await
    };
    assert_eq!(ask("fine").await.status, 200);
    let refused = ask("forbidden").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    assert!(refused.text().contains("not from there"), "{}", refused.text());
    let (policy, deny) = said(&context, &refused, "asked.moody").await;
    assert_eq!((policy.as_str(), deny.result.as_str()), ("authz_extension_hook", "fail"));
    assert!(deny.detail.contains("attribute_deny"), "{}", deny.detail);
    assert_eq!(said(&context, &refused, "asked.no_commands").await.1.result, "skip");
    for (model, why) in [("broken", "out of order"), ("panics", "panicked"), ("hangs", "within 100 ms")] {
        let refused = ask(model).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{model}: {}", refused.text());
        let (policy, fault) = said(&context, &refused, "asked.moody").await;
        assert_eq!(policy, "authz_hook_fault");
        assert!(fault.detail.contains(why), "{model}: {}", fault.detail);
    }
    let event = json!({"hook_event_name": "PreToolUse", "session_id": "s", "tool_name": "Bash",
        "tool_input": {"command": "ls"}, "tool_use_id": "c1"});
    let answer = ada.post("/api/public/hooks/govern", &event).await.json();
    assert_eq!(answer["hookSpecificOutput"]["permissionDecision"], "deny", "{answer}");
    assert!(answer.to_string().contains("no commands"), "{answer}");
}

#[tokio::test]
async fn who_switches_it_off_or_allows_everything_has_said_so() {
    let nobody = json!({"rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["a2a"]}]});
    let disabled = with_hook(json!({"mode": "disabled"})).start().await;
    let admin = disabled.admin().await;
    let refused = ask(&admin).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    assert_eq!(ended(&disabled, &refused).await.decision.policy, "authz_default_deny");
    assert_eq!(admin.get("/api/public/admin/access-control").await.status, 200, "it is administered as ever");

    let open = with_hook(json!({"mode": "unrestricted", "acknowledgement": ACKNOWLEDGEMENT}))
        .document("access-control/roles.yaml", nobody.clone())
        .start()
        .await;
    let ada = open.user("ada", &["user"]).await;
    let allowed = ask(&ada).await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    assert_eq!(ended(&open, &allowed).await.decision.policy, "authz_unrestricted");
    assert_eq!(ada.get("/api/public/admin/access-control").await.status, 403, "users administer nothing");

    let alone = TestContext::builder().document("access-control/roles.yaml", nobody).start().await;
    assert_eq!(ask(&alone.user("ada", &["user"]).await).await.status, 403, "without the key the rules alone decide");
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_before_the_start() {
    let first = |hook: Value| with_hook(hook).problems().into_iter().next().unwrap_or_default();
    for (hook, told) in [
        (json!({"mode": "webhook", "secret": "word"}), "needs `url`"),
        (json!({"mode": "webhook", "url": "https://10.0.0.7/check", "secret": "word"}), "names a private address"),
        (json!({"mode": "webhook", "url": "https://[fd00::1]/check", "secret": "word"}), "names a private address"),
        (json!({"mode": "webhook", "url": "http://authz.example.com/check", "secret": "word"}), "in clear text"),
        (json!({"mode": "webhook", "url": "https://a.example.com", "secret": "gone"}), "there is no secret `gone`"),
        (json!({"mode": "extension"}), "no extension of this installation brings an authorizer"),
        (json!({"mode": "unrestricted", "acknowledgement": "yes"}), ACKNOWLEDGEMENT),
        (json!({"mode": "webhok"}), "webhook"),
        (json!({"mode": "disabled", "timeout": 3}), "is not a known key"),
    ] {
        let problem = first(hook.clone());
        assert!(problem.contains(told) && problem.contains("governance"), "{hook}: {problem}");
    }
}

#[tokio::test]
async fn the_built_in_webhook_answers_services_by_the_rules() {
    let rules = json!({"rules": [
        {"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"]},
        {"entity_type": "gateway_route", "entity_match": "*", "access": "deny", "departments": ["Sales"]},
        {"entity_type": "gateway_route", "entity_match": "*", "access": "deny", "groups": ["contractors"]},
    ], "departments": [{"name": "Sales"}], "groups": [{"name": "auditors"}, {"name": "contractors"}]});
    let context = TestContext::builder().document("access-control/roles.yaml", rules).start().await;
    let (service, user) = (context.user("checker", &["service"]).await, context.user("ada", &["user"]).await);
    let path = "/api/public/govern/authz";
    let about = |kind: &str, id: &str, roles: &[&str], department: &str| {
        json!({"entity": {"kind": kind, "id": id}, "user_id": "0195a000-0000-7000-8000-000000000001", "roles": roles,
            "attributes": {"department": [department]}, "context": {"kind": "gateway.invocation", "model": "demo-1"},
            "act_chain": [], "more": 1})
    };
    for (request, decision, kind, policy) in [
        (about("gateway_route", "demo", &["user"], "Default"), "allow", None, "authz_rule_based"),
        (about("gateway_route", "demo", &["user"], "Sales"), "deny", Some("attribute_deny"), "authz_rule_based"),
        // Each value counts, wherever it stands.
        (
            json!({"entity": {"kind": "gateway_route", "id": "demo"}, "roles": ["user"],
                "attributes": {"department": ["Default", "Sales"]}}),
            "deny",
            Some("attribute_deny"),
            "authz_rule_based",
        ),
        (
            json!({"entity": {"kind": "gateway_route", "id": "demo"}, "roles": ["user"],
                "attributes": {"group": ["auditors", "contractors"]}}),
            "deny",
            Some("attribute_deny"),
            "authz_rule_based",
        ),
        (about("gateway_route", "demo", &["a2a"], "Default"), "deny", Some("not_assigned"), "authz_default_deny"),
        (about("gateway_route", "gone", &["user"], "Default"), "deny", Some("unknown_entity"), "authz_default_deny"),
    ] {
        let answer = service.post(path, &request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!((&answer["decision"], &answer["policy"]), (&json!(decision), &json!(policy)), "{request}: {answer}");
        assert_eq!(answer["reason"]["kind"].as_str(), kind, "{answer}");
    }
    let body = about("gateway_route", "demo", &["user"], "Default");
    assert_eq!(user.post(path, &body).await.status, 403);
    assert_eq!(context.anonymous().post(path, &body).await.status, 401);
    assert_eq!(context.admin().await.post(path, &body).await.status, 200);
    let wrong = service.post(path, &json!({"entity": {"kind": "gateway_rout", "id": "demo"}})).await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (400, "AUTHORIZATION_REQUEST_INVALID".to_owned()));

    // What one installation decides can be asked by another.
    let key = service.credential().expect("a key").expose().to_owned();
    let url = format!("http://{}{path}", context.address());
    let hook = json!({"mode": "webhook", "url": url, "authorization": "key", "timeout_ms": 5000});
    let other = TestContext::builder()
        .profile("governance", json!({"authz": {"hook": hook}}))
        .secret("key", &format!("Bearer {key}"))
        .start()
        .await;
    assert_eq!(ask(&other.user("ada", &["user"]).await).await.status, 200);
    let refused = ask(&other.user("bot", &["mcp"]).await).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("no rule allows it"), "{}", refused.text());
}

#[tokio::test]
async fn who_only_wants_to_know_asks_as_the_server_does_and_says_so() {
    let hook = Hook::default();
    let profile = json!({"mode": "webhook", "url": hook.start().await, "secret": "word"});
    let context = with_hook(profile.clone()).start().await;
    context.user("ada", &["user"]).await;
    let users = context.service::<Users>().expect("identity provides it");
    let ada = users.find(&UserReference::Name("ada".to_owned())).await.expect("reads").expect("the user");
    let principal = Principal {
        user_id: ada.id,
        user_name: ada.name,
        user_type: UserType::User,
        roles: ada.roles,
        attributes: ada.attributes,
        credential: Credential::Installation,
    };
    let rules = context.service::<AccessRules>().expect("governance provides it");
    let described = rules.describe(&principal).await.expect("rules");
    let configured: AuthzHookConfig = serde_json::from_value(profile).expect("a hook");
    let client = authorizer_client(context.configuration()).expect("a client");
    let secret = |name: &str| context.configuration().secrets.get(name).cloned();
    let webhook = Authorizers::to_ask(&configured, client, secret, context.ambient()).expect("a webhook");
    let inquire = async || {
        let entity = AuthorizedEntity { kind: EntityKind::GatewayRoute, id: "demo".to_owned() };
        let trace = TraceId::generate(context.ambient());
        webhook.inquire(ada.id, &described.subject, entity, trace).await.remove(0)
    };
    let said = inquire().await;
    assert!(said.allows && said.words.ends_with("/check allows it") && !said.authorizer.contains("hidden"), "{said:?}");
    let asked = hook.asked();
    let [(headers, body)] = &asked[..] else { panic!("{asked:?}") };
    let request: Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(
        (&request["context"], &request["roles"], &request["user_id"]),
        (&json!({"kind": "inquiry"}), &json!(["user"]), &json!(ada.id))
    );
    assert!(headers.contains_key("webhook-signature"), "{headers:?}");
    hook.answers(200, r#"{"decision":"deny","reason":{"kind":"not_assigned","message":"not yours"}}"#);
    let said = inquire().await;
    assert!(!said.allows && said.words.contains("refuses it, not_assigned: not yours"), "{said:?}");
    hook.answers(500, "");
    let said = inquire().await;
    assert!(!said.allows && said.words.contains("did not answer: it answered 500"), "{said:?}");
}
