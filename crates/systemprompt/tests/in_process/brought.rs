//! What extensions bring to the gateway: guards that refuse requests, and selectors that send them another way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::{Request, StatusCode};
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext};
use systemprompt_extension::gateway::{
    Fault, GatewayDenyReason, GatewayGuardDef, GatewayGuardRequest, GatewayRequestGuard, GuardError, RouteRequest,
    RouteSelector, RouteSelectorDef,
};
use systemprompt_extension::prelude::*;

use crate::ended::ended;

/// How often each was made.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// Does what the model is called.
struct Gate;

#[async_trait]
impl GatewayRequestGuard for Gate {
    async fn check(&self, pool: &sqlx::PgPool, request: &GatewayGuardRequest<'_>) -> Result<(), GuardError> {
        let at = if request.model == "counted" { "far" } else { "demo" };
        assert_eq!((request.route_id, request.provider), (at, at));
        assert_eq!(request.user_id(), request.principal.user_id);
        match request.model {
            "forbidden" | "counted" => Err(GatewayDenyReason::forbidden("it is after hours").into()),
            "used-up" => Err(GatewayDenyReason::quota("come back later", 30).into()),
            "broken" => sqlx::query("SELECT nothing FROM nowhere").execute(pool).await.map(drop).map_err(Into::into),
            "panics" => panic!("out of luck"),
            "hangs" => std::future::pending().await,
            "streams" if !request.streaming => Err(GatewayDenyReason::forbidden("streams only").into()),
            _ => Ok(()),
        }
    }
}

/// Is never asked after another one refused.
struct Second;

#[async_trait]
impl GatewayRequestGuard for Second {
    async fn check(&self, _: &sqlx::PgPool, request: &GatewayGuardRequest<'_>) -> Result<(), GuardError> {
        assert!(!["forbidden", "counted"].contains(&request.model), "the first that refuses decides");
        Ok(())
    }
}

struct Guards;

impl Extension for Guards {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "brought", name: "Brought", version: "1.0.0" }
    }

    fn gateway_guards(&self) -> Vec<GatewayGuardDef> {
        let gate = |_: &dyn ExtensionContext| {
            MADE.fetch_add(1, Relaxed);
            Ok(Arc::new(Gate) as Arc<dyn GatewayRequestGuard>)
        };
        vec![
            GatewayGuardDef::new("brought.gate", "Does what the model is called.", gate),
            GatewayGuardDef::new("brought.second", "Comes later.", |_| Ok(Arc::new(Second))),
        ]
    }
}

const MODELS: [&str; 7] = ["fine", "forbidden", "used-up", "broken", "panics", "hangs", "streams"];

async fn guarded(fault_mode: &str) -> TestContext {
    let models: Vec<_> = MODELS
        .iter()
        .map(|model| json!({"id": model, "pricing": {"input_per_million": 1.0, "output_per_million": 1.0}}))
        .collect();
    TestContext::builder()
        .extension(Guards)
        .profile(
            "providers",
            json!([
                {"name": "demo", "wire": "demo", "surface": "anthropic", "models": models},
                // It is never reached.
                {"name": "far", "wire": "anthropic", "surface": "anthropic", "endpoint": "http://127.0.0.1:9/v1", "models": [
                    {"id": "counted", "pricing": {"input_per_million": 1.0, "output_per_million": 1.0}}]},
            ]),
        )
        .document(
            "governance/config.yaml",
            json!({"governance": {"policies": [{"id": "secret_scan"}],
                "request_guards": {"timeout_ms": 100, "fault_mode": fault_mode}}}),
        )
        .document(
            "gateway/policies.yaml",
            json!({"policies": [{"name": "few", "spec": {"quota_windows": [
                {"period": "month", "subject": "user", "max_requests": 2}]}}]}),
        )
        .start()
        .await
}

fn hello(model: &str) -> Value {
    json!({"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]})
}

#[tokio::test]
async fn a_guard_refuses_in_the_callers_dialect_and_gives_back_what_quotas_set_aside() {
    let before = MADE.load(Relaxed);
    let context = guarded("closed").await;
    let ada = context.user("ada", &["user"]).await;
    // Of two requests a month none is used up by what guards refuse.
    for _ in 0..3 {
        let refused = ada.post("/v1/messages", &hello("forbidden")).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
        assert_eq!(refused.json()["error"]["type"], "permission_error");
        assert!(refused.text().contains("it is after hours"), "{}", refused.text());
        let detail = ended(&context, &refused).await;
        assert_eq!((detail.summary.status.as_str(), detail.decision.policy.as_str()), ("rejected", "brought.gate"));
        assert_eq!(detail.decision.reason.as_deref(), Some("it is after hours"));
        let refused = ada.post("/v1/messages/count_tokens", &hello("counted")).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "what is counted leaves as well: {}", refused.text());
    }
    let refused = ada.post("/v1/chat/completions", &hello("used-up")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "30"));
    assert!(refused.json()["error"]["message"].as_str().is_some_and(|said| said.contains("come back later")));
    for model in ["broken", "panics", "hangs"] {
        let refused = ada.post("/v1/messages", &hello(model)).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{model}: {}", refused.text());
        assert_eq!(ended(&context, &refused).await.decision.policy, "brought.gate");
    }
    assert_eq!(ada.post("/v1/messages", &hello("streams")).await.status, 403);
    let mut streamed = hello("streams");
    streamed["stream"] = true.into();
    assert_eq!(ada.post("/v1/messages", &streamed).await.status, 200);
    assert_eq!(ada.post("/v1/messages", &hello("fine")).await.status, 200);
    let used_up = ada.post("/v1/messages", &hello("fine")).await;
    assert_eq!(used_up.status, StatusCode::TOO_MANY_REQUESTS, "the third that was let through");
    assert!(used_up.text().contains("the quota `few`"), "{}", used_up.text());
    assert_eq!(MADE.load(Relaxed) - before, 1, "made once for a server");
}

#[tokio::test]
async fn an_operator_may_let_requests_pass_that_a_guard_says_nothing_of() {
    let context = guarded("open").await;
    for (user, models) in [("ada", ["broken", "panics"]), ("eve", ["hangs", "fine"])] {
        let client = context.user(user, &["user"]).await;
        for model in models {
            let response = client.post("/v1/messages", &hello(model)).await;
            assert_eq!(response.status, 200, "{model}: {}", response.text());
        }
    }
    let eve = context.user("eva", &["user"]).await;
    assert_eq!(eve.post("/v1/messages", &hello("forbidden")).await.status, 403, "what it says counts");
}

/// Chooses what the agent of the client names.
struct Chosen;

#[async_trait]
impl RouteSelector for Chosen {
    async fn refine(&self, route: &str, request: &RouteRequest<'_>) -> Result<Option<String>, Fault> {
        assert!(request.routes.iter().any(|known| known == route));
        match request.conversation {
            "fails" => Err("no idea".into()),
            "panics" => panic!("out of luck"),
            "nothing" => Ok(None),
            chosen => Ok(Some(chosen.to_owned())),
        }
    }
}

struct Selects;

impl Extension for Selects {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "selects", name: "Selects", version: "1.0.0" }
    }

    fn route_selectors(&self) -> Vec<RouteSelectorDef> {
        vec![RouteSelectorDef::new("selects.named", "Takes the route that is named.", |_| Ok(Arc::new(Chosen)))]
    }
}

#[tokio::test]
async fn a_selector_chooses_among_routes_and_access_is_judged_of_the_one_it_chose() {
    let model = |id: &str| json!({"id": id, "pricing": {"input_per_million": 1.0, "output_per_million": 1.0}});
    let provider =
        |name: &str, id: &str| json!({"name": name, "wire": "demo", "surface": "backend", "models": [model(id)]});
    let route = |id: &str, provider: &str, name: &str| json!({"id": id, "model_pattern": id, "provider": provider, "upstream_model": name});
    let context = TestContext::builder()
        .extension(Selects)
        .profile("providers", json!([provider("one", "large"), provider("two", "small"), provider("three", "secret")]))
        .profile(
            "gateway",
            json!({"enabled": true, "routes": [
                route("large", "one", "large"), route("small", "two", "small"), route("secret", "three", "secret")]}),
        )
        .document(
            "access-control/roles.yaml",
            json!({"rules": [
                {"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"]},
                {"entity_type": "gateway_route", "entity_id": "secret", "access": "deny", "roles": ["user"]},
            ]}),
        )
        .start()
        .await;
    let ada = context.user("ada", &["user"]).await;
    let ask = async |client: &TestClient, chosen: &str| {
        let request = Request::post("/v1/messages").header("x-gateway-conversation-id", chosen);
        client.request(request.body(hello("large").to_string()).expect("a request")).await
    };
    for (chosen, provider, matched) in [
        ("nothing", "one", "rule:large"),
        ("small", "two", "rule:small,selector:selects.named:large->small"),
        ("large", "one", "rule:large"),
        ("nowhere", "one", "rule:large"),
        ("fails", "one", "rule:large"),
        ("panics", "one", "rule:large"),
    ] {
        let response = ask(&ada, chosen).await;
        assert_eq!(response.status, 200, "{chosen}: {}", response.text());
        let detail = ended(&context, &response).await;
        assert_eq!(
            (detail.summary.provider.as_deref(), detail.route_match.as_deref()),
            (Some(provider), Some(matched))
        );
    }
    let refused = ask(&ada, "secret").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    assert!(refused.text().contains("gateway_route `secret`"), "{}", refused.text());
    assert_eq!(ended(&context, &refused).await.decision.entity_id, "secret");
}
