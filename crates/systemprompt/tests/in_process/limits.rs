//! The limits on a server's real routes. The server trusts this machine as a proxy, so that requests come from anywhere.

use std::sync::Arc;

use axum::routing::get;
use axum::{Extension as Inserted, Router};
use chrono::{DateTime, TimeDelta};
use http::Request;
use serde_json::{Value, json};
use systemprompt::extension::Meter;
use systemprompt::extension::prelude::*;
use systemprompt::models::{Ambient, ManualClock, Secret};
use systemprompt::testing::{TestContext, TestResponse};

/// Routes behind which the server stands guard.
struct Plain;

impl Extension for Plain {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "plain", name: "Plain", version: "1.0.0" }
    }

    fn try_router(&self, _: &dyn ExtensionContext) -> Result<Vec<ExtensionRouter>, LoaderError> {
        let whom = async |client: Option<Inserted<ClientIp>>, meter: Option<Inserted<Meter>>| {
            format!("{} {}", client.expect("every request has one").0, meter.is_some())
        };
        let routes = || Router::new().route("/whom", get(whom));
        Ok(vec![
            ExtensionRouter::public(routes(), "/api/ext/public"),
            ExtensionRouter::new(routes(), "/api/ext/limited").with_rate_limit(RateGroup::Content),
            ExtensionRouter::new(routes(), "/api/ext/admin").with_access(Access::Admin),
        ])
    }
}

struct Server {
    context: TestContext,
    clock: Arc<ManualClock>,
}

impl Server {
    async fn new(limits: Value, proxies: &[&str]) -> Self {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)));
        let proxies = [&["127.0.0.1"], proxies].concat();
        let context = TestContext::builder()
            .extension(Plain)
            .profile("rate_limits", limits)
            .profile("server", json!({ "trusted_proxies": proxies }))
            .ambient(Ambient { clock: clock.clone(), ..Ambient::system() })
            .start()
            .await;
        Self { context, clock }
    }

    async fn key(&self, name: &str, roles: &[&str]) -> String {
        let user = self.context.user(name, roles).await;
        user.credential().expect("users have keys").expose().to_owned()
    }

    async fn send(&self, mut request: Request<&'static str>, peer: &str) -> TestResponse {
        let said = request.headers_mut().remove("x-forwarded-for");
        let said = said.map(|said| format!("{}, ", said.to_str().expect("text"))).unwrap_or_default();
        request.headers_mut().insert("x-forwarded-for", format!("{said}{peer}").parse().expect("a header value"));
        self.context.anonymous().request(request).await
    }

    async fn get(&self, path: &str, key: &str, peer: &str) -> TestResponse {
        let client =
            if key.is_empty() { self.context.anonymous() } else { self.context.with_credential(Secret::new(key)) };
        client.request(Request::get(path).header("x-forwarded-for", peer).body("").expect("a request")).await
    }

    /// The statuses of so many requests, runs of the same one counted: `10×200 2×429`.
    async fn statuses(&self, count: usize, path: &str, key: &str, peer: &str) -> String {
        let mut runs: Vec<(usize, u16)> = Vec::new();
        for _ in 0..count {
            let status = self.get(path, key, peer).await.status.as_u16();
            match runs.last_mut() {
                Some((length, last)) if *last == status => *length += 1,
                _ => runs.push((1, status)),
            }
        }
        runs.iter().map(|(length, status)| format!("{length}×{status}")).collect::<Vec<_>>().join(" ")
    }
}

const MODELS: &str = "/v1/models";
const HERE: &str = "192.0.2.1";

#[tokio::test]
async fn a_caller_at_the_gateway_has_a_burst_and_a_rate() {
    let server = Server::new(json!({"disabled": false, "gateway_per_second": 5, "burst_multiplier": 2}), &[]).await;
    let (ada, eve, root) =
        (server.key("ada", &["user"]).await, server.key("eve", &["user"]).await, server.key("root", &["admin"]).await);
    assert_eq!(server.statuses(12, MODELS, &ada, HERE).await, "10×200 2×429");
    assert_eq!(server.statuses(12, MODELS, &ada, "198.51.100.7").await, "12×429", "whatever the address");
    assert_eq!(server.statuses(3, MODELS, &eve, HERE).await, "3×200", "others at the same address have their own");
    assert_eq!(
        server.statuses(120, MODELS, &root, HERE).await,
        "100×200 20×429",
        "administrators have ten times as much"
    );

    let refused = server.get(MODELS, &ada, HERE).await;
    let told = ["retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-rate-limit-tier"];
    assert_eq!(told.map(|name| refused.header(name)), ["1", "10", "0", "2", "user"]);
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error", "in the dialect of the caller");
    let chat = Request::post("/v1/chat/completions").header("authorization", format!("Bearer {ada}"));
    let refused = server.send(chat.body("not even JSON").expect("a request"), HERE).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "1"));
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");

    server.clock.advance(TimeDelta::milliseconds(200));
    assert_eq!(server.statuses(2, MODELS, &ada, HERE).await, "1×200 1×429");
    server.clock.advance(TimeDelta::seconds(60));
    assert_eq!(server.statuses(12, MODELS, &ada, HERE).await, "10×200 2×429");
    let metrics = server.context.metrics().encode();
    assert!(metrics.contains(r#"http_requests_rate_limited_total{group="gateway",tier="user"}"#), "{metrics}");
}

#[tokio::test]
async fn callers_without_a_credential_are_told_apart_by_address() {
    let limits = json!({"disabled": false, "gateway_per_second": 4, "burst_multiplier": 1});
    let server = Server::new(limits, &["10.0.0.0/8"]).await;
    assert_eq!(server.statuses(4, MODELS, "", HERE).await, "2×401 2×429");
    assert_eq!(
        server.statuses(3, MODELS, "sp-live-000000000000.nonsense", HERE).await,
        "3×429",
        "guessing is no better"
    );
    assert_eq!(server.statuses(1, MODELS, "", "192.0.2.2").await, "1×401");
    assert_eq!(server.statuses(2, MODELS, "", "2001:db8::1").await, "2×401");
    assert_eq!(server.statuses(1, MODELS, "", "2001:db8::ffff:1").await, "1×429", "a /64 is one customer");
    assert_eq!(server.statuses(1, MODELS, "", "2001:db8:0:1::1").await, "1×401");

    let behind = async |proxy: &str, client: &str| {
        let request = Request::get(MODELS).header("x-forwarded-for", client).body("").expect("a request");
        server.send(request, proxy).await.status
    };
    assert_eq!(behind("10.0.0.1", HERE).await, 429, "the client behind a trusted proxy is who it is");
    assert_eq!(behind("10.0.0.1", "198.51.100.9").await, 401);
    assert_eq!(behind(HERE, "198.51.100.10").await, 429, "and nobody talks himself out by claiming to be one");
    let key = server.key("ada", &["user"]).await;
    assert_eq!(server.statuses(3, MODELS, &key, HERE).await, "3×200", "neighbours with an account are not concerned");
}

#[tokio::test]
async fn a_tier_with_multiplier_zero_is_blocked() {
    let server = Server::new(json!({"disabled": false, "tier_multipliers": {"anon": 0}}), &[]).await;
    let refused = server.get(MODELS, "", HERE).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-ratelimit-limit")), (429, "0"));
    assert!(refused.text().contains("blocked"), "{}", refused.text());
    let key = server.key("ada", &["user"]).await;
    assert_eq!(server.get(MODELS, &key, HERE).await.status, 200);
}

#[tokio::test]
async fn an_address_is_guarded_before_anybody_asks_whose_request_it_is() {
    let all = json!({"admin": 1, "user": 1, "a2a": 1, "mcp": 1, "service": 1, "anon": 1});
    let limits = json!({"disabled": false, "burst_multiplier": 3, "tier_multipliers": all, "gateway_per_second": 2,
        "admin_per_second": 2, "oauth_public_per_second": 2, "oauth_auth_per_second": 2});
    let server = Server::new(limits, &[]).await;
    let (ada, eve) = (server.key("ada", &["user"]).await, server.key("eve", &["user"]).await);
    assert_eq!(server.statuses(4, MODELS, &ada, HERE).await, "4×200");
    assert_eq!(server.statuses(4, MODELS, &eve, HERE).await, "2×200 2×429", "six are what one address may send");
    assert_eq!(server.statuses(1, "/api/ext/public/whom", "", HERE).await, "1×429", "wherever it sends them");
    assert_eq!(server.statuses(2, MODELS, &eve, "192.0.2.2").await, "2×200", "her own bucket has some left");

    let messages = Request::post("/v1/messages").body("not even JSON").expect("a request");
    let refused = server.send(messages, HERE).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["type"]), (429, &json!("rate_limit_error")));
    let wrong = Request::delete("/health").body("").expect("a request");
    assert_eq!(server.send(wrong, HERE).await.status, 429);
    // What needs no credential is counted as well, whether there is something or not.
    for (path, host, expected) in [
        ("/v1", "198.51.100.1", "6×200 1×429"),
        ("/v1/nothing", "198.51.100.2", "6×404 1×429"),
        ("/v1/messages", "198.51.100.3", "6×405 1×429"),
        ("/nothing", "198.51.100.4", "6×404 1×429"),
    ] {
        assert_eq!(server.statuses(7, path, "", host).await, expected, "{path}");
    }
    assert_eq!(server.get("/nothing", "", "198.51.100.4").await.header("x-ratelimit-limit"), "6");
}

#[tokio::test]
async fn every_group_has_its_own_rate_and_answers_in_json() {
    let limits = json!({"disabled": false, "burst_multiplier": 1, "content_per_second": 3, "admin_per_second": 1,
        "oauth_auth_per_second": 2, "oauth_public_per_second": 10});
    let server = Server::new(limits, &[]).await;
    let (ada, root) = (server.key("ada", &["user"]).await, server.key("root", &["admin"]).await);
    assert_eq!(server.statuses(4, "/api/ext/limited/whom", &ada, HERE).await, "3×200 1×429");
    assert_eq!(server.statuses(3, "/api/public/admin/tokens/pats", &ada, HERE).await, "2×200 1×429");
    assert_eq!(server.statuses(11, "/api/ext/admin/whom", &root, HERE).await, "10×200 1×429");
    assert_eq!(server.statuses(2, "/api/ext/admin/whom", &ada, HERE).await, "1×403 1×429", "who may not, not often");
    assert_eq!(server.statuses(6, "/.well-known/jwks.json", "", HERE).await, "5×200 1×429");
    for path in ["/api/ext/limited/whom", "/api/public/admin/tokens/pats"] {
        let refused = server.get(path, &ada, HERE).await;
        let body = refused.json();
        assert_eq!((body["code"].as_str(), body["path"].as_str()), (Some("rate_limited"), Some(path)));
        assert_eq!((&body["message"], refused.header("retry-after")), (&json!("Rate limit exceeded"), "1"));
        assert!(body["details"].as_str().is_some_and(|details| details.contains("tier `user`")), "{body}");
    }
}

#[tokio::test]
async fn without_limits_there_is_no_meter() {
    let server = Server::new(json!({"disabled": true, "gateway_per_second": 1}), &[]).await;
    let ada = server.key("ada", &["user"]).await;
    assert_eq!(server.statuses(50, MODELS, &ada, HERE).await, "50×200");
    let request = Request::get("/api/ext/public/whom").header("x-real-ip", "198.51.100.1");
    let answer = server.context.anonymous().request(request.body("").expect("a request")).await;
    assert_eq!(answer.text(), "198.51.100.1 false");
}
