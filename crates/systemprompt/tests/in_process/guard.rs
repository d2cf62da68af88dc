//! Who is let in, and what the others are told.

use std::time::Duration;

use axum::http::Request;
use chrono::TimeDelta;
use serde_json::json;
use systemprompt::extension::api::AuthUser;
use systemprompt::extension::prelude::*;
use systemprompt::models::Secret;
use systemprompt::testing::{TestContext, TestResponse};
use systemprompt_identity::{
    NewSession, ScopeSet, SessionSource, Sessions, TokenRequest, Tokens, User, UserReference, Users,
};

/// Addresses for people, for administrators and for nobody, and one for every method.
struct Doors;

fn doors() -> RouteTable<()> {
    let who = async |AuthUser(caller): AuthUser| caller.user_name.clone();
    RouteTable::new()
        .get("/me", Access::User, "Who asks.", who)
        .get("/all", Access::Admin, "Who asks.", who)
        .get("/nobody", Access::Public, "Who asks, and nobody may.", who)
        .get("/thing", Access::User, "Who reads it.", who)
        .post("/thing", Access::User, "Who adds to it.", who)
        .put("/thing", Access::User, "Who replaces it.", who)
        .patch("/thing", Access::User, "Who changes it.", who)
        .delete("/thing", Access::User, "Who removes it.", who)
}

impl Extension for Doors {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "doors", name: "Doors", version: "1.0.0" }
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        doors().endpoints_below("/api/ext/doors")
    }

    fn try_router(&self, _: &dyn ExtensionContext) -> Result<Vec<ExtensionRouter>, LoaderError> {
        let any = systemprompt::axum::routing::any(async || "anything");
        let open_to_methods =
            ExtensionRouter::new(systemprompt::axum::Router::new().route("/any", any), "/api/ext/ways");
        Ok(vec![ExtensionRouter::of(doors(), (), "/api/ext/doors"), open_to_methods.with_access(Access::User)])
    }
}

/// The account of this name.
pub async fn account(server: &TestContext, name: &str) -> User {
    let users = server.service::<Users>().expect("a service");
    users.find(&UserReference::Name(name.to_owned())).await.expect("reads").expect("is there")
}

/// A token of this user with this scope.
pub async fn token(server: &TestContext, user: &User, scope: &str) -> Secret {
    let sessions = server.service::<Sessions>().expect("a service");
    let session = sessions.open(NewSession::new(user.id, SessionSource::Cli)).await.expect("opens").id;
    let request = TokenRequest {
        user,
        session,
        audiences: &["api"],
        scope: ScopeSet::parse(scope),
        lifetime: TimeDelta::hours(1),
        authenticated_at: server.ambient().now(),
        client_id: None,
        plugin_id: None,
        act: None,
    };
    server.service::<Tokens>().expect("a service").mint(request).expect("signs the token").token
}

const REALM: &str = r#"Bearer realm="systemprompt""#;
const INVALID: &str = r#"Bearer realm="systemprompt", error="invalid_token""#;
const INSUFFICIENT: &str = r#"Bearer realm="systemprompt", error="insufficient_scope""#;

#[tokio::test]
async fn handlers_get_whom_they_let_in_and_others_get_an_answer() {
    let server = TestContext::builder().extension(Doors).start().await;
    let (ada, root) = (server.user("ada", &["user"]).await, server.user("root", &["admin", "user"]).await);
    let (account, eve) = (account(&server, "ada").await, server.user("eve", &["user"]).await);
    let nobody = server.anonymous();
    let wrong = server.with_credential(Secret::new("wrong"));
    let service = server.with_credential(token(&server, &account, "service").await);
    let anonymous = server.with_credential(token(&server, &account, "anonymous").await);

    for (client, path, name) in [(&ada, "/me", "ada"), (&root, "/me", "root"), (&root, "/all", "root")] {
        let answer = client.get(&format!("/api/ext/doors{path}")).await;
        assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (200, ""));
        assert_eq!(answer.text(), name);
    }
    for (client, path, status, code, challenge) in [
        (&nobody, "/me", 401, "unauthorized", REALM),
        (&nobody, "/all", 401, "unauthorized", REALM),
        (&nobody, "/nobody", 401, "unauthorized", REALM),
        (&wrong, "/me", 401, "unauthorized", INVALID),
        (&wrong, "/nobody", 401, "unauthorized", REALM),
        (&anonymous, "/me", 401, "unauthorized", REALM),
        (&anonymous, "/all", 401, "unauthorized", REALM),
        (&ada, "/all", 403, "forbidden", INSUFFICIENT),
        (&service, "/me", 403, "forbidden", INSUFFICIENT),
        (&service, "/all", 403, "forbidden", INSUFFICIENT),
    ] {
        let path = format!("/api/ext/doors{path}");
        let refused = client.get(&path).await;
        assert_eq!((refused.status.as_u16(), refused.header("www-authenticate")), (status, challenge), "{path}");
        let body = refused.json();
        assert_eq!((body["code"].as_str(), body["path"].as_str()), (Some(code), Some(path.as_str())));
        assert!(body["message"].is_string() && body["timestamp"].is_string(), "{body}");
        assert_eq!(body["trace_id"], refused.header("x-trace-id"), "the error names its request");
    }

    // Whom nobody remembers must be looked up, and nobody can be asked.
    server.db().close().await;
    let unavailable = eve.get("/api/ext/doors/me").await;
    assert_eq!((unavailable.status.as_u16(), unavailable.code().as_str()), (503, "service_unavailable"));
    assert_eq!(unavailable.header("www-authenticate"), "");
}

#[tokio::test]
async fn no_method_passes_the_guard() {
    let server = TestContext::builder().extension(Doors).start().await;
    let (ada, nobody) = (server.user("ada", &["user"]).await, server.anonymous());
    for method in ["OPTIONS", "HEAD", "PATCH", "TRACE", "PROPFIND"] {
        let ask = || Request::builder().method(method).uri("/api/ext/ways/any").body("").expect("a request");
        assert_eq!(nobody.request(ask()).await.status, 401, "{method}");
        assert_eq!(ada.request(ask()).await.status, 200, "{method}");
    }
    let document = server.anonymous().get("/api/v1/openapi.json").await.json();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let ask = || Request::builder().method(method).uri("/api/ext/doors/thing").body("").expect("a request");
        assert_eq!(nobody.request(ask()).await.status, 401, "{method}");
        assert_eq!(ada.request(ask()).await.text(), "ada", "{method}");
        assert!(document["paths"]["/api/ext/doors/thing"][method.to_lowercase()].is_object(), "{method}");
    }
    let unlisted = Request::builder().method("TRACE").uri("/api/ext/doors/thing").body("").expect("a request");
    assert_eq!(ada.request(unlisted).await.status, 405);
}

#[tokio::test]
async fn the_gateway_refuses_in_the_dialect_of_the_caller() {
    let server = TestContext::builder().start().await;
    let ask = json!({"model": "demo", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]});
    for client in [server.anonymous(), server.with_credential(Secret::new("wrong"))] {
        let refused = client.post("/v1/messages", &ask).await;
        assert_eq!(refused.status, 401);
        assert!(refused.header("www-authenticate").starts_with("Bearer "), "{:?}", refused.headers);
        assert_eq!(refused.json()["type"], "error", "{}", refused.text());
        assert_eq!(refused.json()["error"]["type"], "authentication_error", "{}", refused.text());
        assert!(!refused.header("x-trace-id").is_empty());

        let refused = client.post("/v1/chat/completions", &ask).await;
        assert_eq!(refused.status, 401);
        assert!(refused.json()["type"].is_null(), "{}", refused.text());
        assert!(refused.json()["error"]["code"].is_string(), "{}", refused.text());
        assert_eq!(client.get("/v1/models").await.status, 401);
    }
    let ada = server.user("ada", &["user"]).await;
    assert_eq!(ada.post("/v1/messages", &ask).await.status, 200);
    let anthropic = Request::get("/v1/nothing").header("anthropic-version", "2023-06-01").body("").expect("a request");
    assert_eq!(server.anonymous().request(anthropic).await.json()["type"], "error");
}

#[tokio::test]
async fn a_gateway_that_is_off_says_so_to_everybody_and_a_public_list_is_public() {
    let off = TestContext::builder().profile("gateway", json!({"enabled": false})).start().await;
    for path in ["/v1/messages", "/v1/chat/completions"] {
        let refused = off.anonymous().post(path, &json!({})).await;
        assert_eq!(refused.status, 404, "{}", refused.text());
        assert!(refused.text().contains("Gateway not enabled"), "{}", refused.text());
    }
    let open = TestContext::builder().profile("gateway", json!({"models_public": true})).start().await;
    let listed = open.anonymous().get("/v1/models").await;
    assert_eq!((listed.status.as_u16(), &listed.json()["data"][0]["id"]), (200, &json!("demo-1")));
    let wrong = open.with_credential(Secret::new("wrong")).get("/v1/models").await;
    assert_eq!(wrong.status, 401, "a credential that is not good is not overlooked");
}

/// Asks until the answer has this status; for what takes effect a moment after it was said.
pub async fn until(ask: impl AsyncFn() -> TestResponse, status: u16) -> TestResponse {
    for _ in 0..1000 {
        let answer = ask().await;
        if answer.status == status {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the status never became {status}");
}
