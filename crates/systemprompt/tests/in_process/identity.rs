//! Identity as a server runs it.

use std::sync::Arc;

use axum::http::{Method, Request};
use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use systemprompt::models::{Ambient, ManualClock};
use systemprompt::testing::{TestClient, TestContext};
use systemprompt_extension::{ExtensionContext as _, ExtensionContextExt as _};
use systemprompt_governance::Gate;
use systemprompt_governance::changes::{ChangeFilter, ChangeRow, list_changes};
use systemprompt_identity::{Authenticator, SessionHint, Sessions, Tokens, Users, bootstrap_administrator};
use systemprompt_model::{Secret, SessionId};

use crate::guard::{account, token, until};

const KEYS: &str = "/api/public/admin/tokens/pats";
const SESSIONS: &str = "/api/public/gateway/sessions";

/// A server whose clock stands still between requests.
struct Site {
    server: TestContext,
    clock: Arc<ManualClock>,
}

impl Site {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)));
        let ambient = Ambient { clock: clock.clone(), ..Ambient::system() };
        Self { server: TestContext::builder().ambient(ambient).start().await, clock }
    }

    /// Status and JSON body of the answer. A millisecond passes before, so that changes have an order.
    async fn send(&self, method: Method, path: &str, client: &TestClient, body: Option<Value>) -> (u16, Value) {
        self.clock.advance(TimeDelta::milliseconds(1));
        let request = Request::builder().method(method).uri(path).header("user-agent", "sdk/1.0");
        let request = request.header("content-type", "application/json");
        let request = request.body(body.map(|body| body.to_string()).unwrap_or_default()).expect("a request");
        let answer = client.request(request).await;
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// What the ledger knows of changes by users, the newest first. No more can be made after it.
    async fn changes(&self) -> Vec<ChangeRow> {
        let ledger = self.server.service::<systemprompt_governance::Ledger>().expect("a service");
        assert!(ledger.drain(std::time::Duration::from_secs(10)).await, "everything is written");
        self.server.catch_up().await;
        let filter = ChangeFilter { limit: 100, ..ChangeFilter::default() };
        let changes = list_changes(self.server.db().read(), &filter).await.expect("lists").items;
        changes.into_iter().filter(|change| change.user_id.is_some()).collect()
    }
}

#[tokio::test]
async fn the_feature_publishes_its_services_and_its_keys() {
    let server = TestContext::builder().start().await;
    let gate = server.service::<Gate>().expect("is published");
    let tokens = server.service::<Tokens>().expect("is published");
    assert_eq!(tokens.issuer(), format!("http://{}", server.address()));
    server.service::<Users>().expect("is published");
    server.service::<Sessions>().expect("is published");

    let response = server.anonymous().get("/.well-known/jwks.json").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("cache-control"), "public, max-age=300");
    assert_eq!(response.json(), tokens.jwks());
    assert_eq!(response.json()["keys"][0]["alg"], "RS256");
    assert!(server.configuration().profile.security.signing_key_path.is_file(), "the key was made");

    let bootstrap = bootstrap_administrator(server.db(), &gate, server.ambient(), "admin", "admin@example.com")
        .await
        .expect("works");
    let key = bootstrap.key.expect("the first key");
    let mut headers = http::HeaderMap::new();
    headers.insert("x-api-key", key.secret.expose().parse().expect("a header value"));
    let authenticator = server.service::<Authenticator>().expect("is published");
    assert!(authenticator.authenticate(&headers).await.expect("is accepted").is_admin());

    let client = server.anonymous();
    let response = client.get("/api/public/admin/tokens/pats").await;
    assert_eq!((response.status.as_u16(), response.json()["code"].as_str()), (401, Some("unauthorized")));
    let response = client.post("/api/public/gateway/sessions", &json!({})).await;
    assert_eq!(response.status, 401);
    server.stop().await;
}

#[tokio::test]
async fn users_handle_their_own_keys_and_administrators_everybodys() {
    let site = Site::new().await;
    let server = &site.server;
    let (ada_key, bob_key, root_key) =
        (server.user("ada", &[]).await, server.user("bob", &[]).await, server.user("root", &["admin"]).await);
    let (ada, bob, root) = (account(server, "ada").await, account(server, "bob").await, account(server, "root").await);

    let (status, issued) = site.send(Method::POST, KEYS, &ada_key, Some(json!({"name": "laptop"}))).await;
    assert_eq!((status, issued["name"].as_str()), (201, Some("laptop")), "{issued}");
    let secret = Secret::new(issued["secret"].as_str().expect("the secret"));
    let laptop = server.with_credential(secret.clone());
    let (status, listed) = site.send(Method::GET, KEYS, &laptop, None).await;
    assert_eq!((status, listed.as_array().map(Vec::len)), (200, Some(2)));
    let prefixes: Vec<_> = listed.as_array().into_iter().flatten().map(|key| &key["key_prefix"]).collect();
    assert!(prefixes.contains(&&issued["key_prefix"]), "{listed}");
    assert!(!listed.to_string().contains(secret.expose()));

    let for_ada = Some(json!({"name": "for ada", "user_id": ada.id}));
    assert_eq!(site.send(Method::POST, KEYS, &bob_key, for_ada.clone()).await.0, 403);
    assert_eq!(site.send(Method::POST, KEYS, &root_key, for_ada).await.0, 201);
    let adas = format!("{KEYS}?user_id={}", ada.id);
    assert_eq!(site.send(Method::GET, &adas, &bob_key, None).await.0, 403);
    assert_eq!(site.send(Method::GET, &adas, &root_key, None).await.1.as_array().map(Vec::len), Some(3));
    for (body, status) in [
        (json!({"name": ""}), 400),
        (json!({}), 400),
        (json!({"name": "x", "scope": "all"}), 400),
        (json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}), 400),
    ] {
        let (got, answer) = site.send(Method::POST, KEYS, &ada_key, Some(body.clone())).await;
        assert_eq!(got, status, "{body}: {answer}");
        assert!(answer["message"].is_string());
    }

    let one = format!("{KEYS}/{}", issued["id"].as_str().expect("an id"));
    assert_eq!(site.send(Method::DELETE, &one, &bob_key, None).await.0, 404);
    assert_eq!(site.send(Method::DELETE, &format!("{KEYS}/nonsense"), &bob_key, None).await.0, 404);
    assert_eq!(site.send(Method::DELETE, &one, &ada_key, None).await.0, 204);
    until(async || laptop.get(KEYS).await, 401).await;

    let changes = site.changes().await;
    let told: Vec<_> = changes.iter().rev().map(|change| (change.operation.as_str(), change.status.as_str())).collect();
    assert_eq!(
        told,
        [
            ("api_key.issue", "completed"),
            ("api_key.issue", "rejected"),
            ("api_key.issue", "completed"),
            ("api_key.issue", "failed"),
            ("api_key.issue", "failed"),
            ("api_key.revoke", "rejected"),
            ("api_key.revoke", "completed"),
        ]
    );
    let [revoked, refused, .., made_by_root, refused_for_ada, made] = &changes[..] else { panic!("{changes:?}") };
    for (change, who, about) in [
        (made, ada.id, ada.id.to_string()),
        (refused_for_ada, bob.id, ada.id.to_string()),
        (made_by_root, root.id, ada.id.to_string()),
        (refused, bob.id, issued["id"].as_str().expect("an id").to_owned()),
        (revoked, ada.id, issued["id"].as_str().expect("an id").to_owned()),
    ] {
        assert_eq!((change.user_id, &change.about_id), (Some(who), &about), "{change:?}");
        assert_eq!((change.actor_kind.as_str(), &change.actor_id), ("user", &who.to_string()));
        let is_done = change.decision == "allow";
        assert_eq!(change.after_sha256.is_some(), is_done, "{change:?}");
        assert_eq!(change.before_sha256.is_some(), is_done && change.operation == "api_key.revoke", "{change:?}");
    }
    assert_ne!(revoked.before_sha256, revoked.after_sha256);
}

#[tokio::test]
async fn a_client_opens_a_session_and_names_it() {
    let site = Site::new().await;
    let server = &site.server;
    let ada = server.user("ada", &["user"]).await;
    let user = account(server, "ada").await;
    let (status, answer) = site.send(Method::POST, SESSIONS, &ada, None).await;
    assert_eq!(status, 201, "{answer}");
    let id: SessionId = answer["session_id"].as_str().expect("an id").parse().expect("a session id");
    let mut headers = http::HeaderMap::new();
    headers.insert("x-api-key", ada.credential().expect("a key").expose().parse().expect("a header value"));
    let authenticator = server.service::<Authenticator>().expect("a service");
    let principal = authenticator.authenticate(&headers).await.expect("is accepted");
    let hint = SessionHint { explicit: Some(id), required: true, ..SessionHint::default() };
    let sessions = server.service::<Sessions>().expect("a service");
    assert_eq!(sessions.bind(&principal, hint).await, Ok(id));
    let stored = sessions.get(id).await.expect("reads").expect("is there");
    assert_eq!(stored.client_id.as_deref(), Some("sdk"));

    let with_token = server.with_credential(token(server, &user, "user").await);
    assert_eq!(site.send(Method::POST, SESSIONS, &with_token, None).await.0, 403);
    let changes = site.changes().await;
    assert_eq!(changes.len(), 1, "the token was told no before there was anything to decide: {changes:?}");
    assert_eq!((changes[0].operation.as_str(), changes[0].user_id), ("session.open", Some(user.id)));
    assert_eq!((changes[0].status.as_str(), changes[0].after_sha256.is_some()), ("completed", true));
}
