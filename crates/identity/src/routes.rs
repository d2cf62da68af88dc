//! The HTTP endpoints of keys and sessions. Each is one handler: extract, call, convert.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRef, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::delete;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use http::header::USER_AGENT;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use systemprompt_extension::{Audience, RouteTable};
use systemprompt_model::{Ambient, ApiError, ApiKeyId, Credential, ErrorCode, Principal, SessionId, UserId};

use crate::{ApiKey, ApiKeyError, Authenticator, Caller, Identity, NewSession, SessionSource, StoreError};

/// What the routes below lie under.
pub(crate) const PREFIXES: &[&str] = &["/api/public/admin/tokens", "/api/public/gateway/sessions"];

/// Keys for their owners (for everybody's, to administrators), and sessions for clients that name them.
pub(crate) fn table() -> RouteTable<Identity> {
    let keys = "/api/public/admin/tokens/pats";
    RouteTable::new()
        .post(keys, Audience::Authenticated, "Makes an API key; its secret is shown once.", issue_key)
        .get(
            keys,
            Audience::Authenticated,
            "The caller's API keys; to administrators, those of `?user_id=`.",
            list_keys,
        )
        .add("DELETE", &format!("{keys}/{{id}}"), Audience::Authenticated, "Revokes an API key.", delete(revoke_key))
        .post(
            "/api/public/gateway/sessions",
            Audience::Authenticated,
            "Opens a session, to be named in `x-session-id`.",
            open_session,
        )
}

/// The same with its state.
pub(crate) fn router(identity: Identity) -> Router {
    table().into_router().with_state(identity)
}

impl FromRef<Identity> for Arc<Authenticator> {
    fn from_ref(identity: &Identity) -> Self {
        Arc::clone(&identity.authenticator)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: String,
    expires_at: Option<DateTime<Utc>>,
    /// Whose the key shall be, if not the caller's own; for administrators.
    user_id: Option<UserId>,
}

#[derive(Debug, Serialize)]
struct NewKeyAnswer {
    id: ApiKeyId,
    name: String,
    key_prefix: String,
    /// The whole key; it is not shown again.
    secret: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

async fn issue_key(
    State(identity): State<Identity>,
    Caller(caller): Caller,
    body: Result<Json<NewKey>, JsonRejection>,
) -> Result<Response, Failure> {
    let failure = |refusal| Failure::new(refusal, identity.authenticator.ambient());
    let Json(new) = body.map_err(|rejection| failure(Refusal::Body(rejection.body_text())))?;
    let owner = owner(&caller, new.user_id).map_err(failure)?;
    let issued = identity.api_keys.issue(owner, &new.name, new.expires_at).await.map_err(|e| failure(e.into()))?;
    let answer = NewKeyAnswer {
        id: issued.key.id,
        name: issued.key.name,
        key_prefix: issued.key.prefix,
        secret: issued.secret.expose().to_owned(),
        created_at: issued.key.created_at,
        expires_at: issued.key.expires_at,
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysOf {
    /// Whose keys, if not the caller's own; for administrators.
    user_id: Option<UserId>,
}

async fn list_keys(
    State(identity): State<Identity>,
    Caller(caller): Caller,
    query: Result<Query<KeysOf>, QueryRejection>,
) -> Result<Json<Vec<ApiKey>>, Failure> {
    let failure = |refusal| Failure::new(refusal, identity.authenticator.ambient());
    let Query(keys_of) = query.map_err(|rejection| failure(Refusal::Body(rejection.body_text())))?;
    let owner = owner(&caller, keys_of.user_id).map_err(failure)?;
    Ok(Json(identity.api_keys.list(owner).await.map_err(|error| failure(error.into()))?))
}

async fn revoke_key(
    State(identity): State<Identity>,
    Caller(caller): Caller,
    id: Result<Path<ApiKeyId>, PathRejection>,
) -> Result<StatusCode, Failure> {
    let failure = |refusal| Failure::new(refusal, identity.authenticator.ambient());
    let Path(id) = id.map_err(|_| failure(Refusal::NoSuchKey))?;
    let key = identity.api_keys.get(id).await.map_err(|error| failure(error.into()))?;
    // Whether somebody else has a key of this id is nobody's business.
    key.filter(|key| key.user_id == caller.user_id || caller.is_admin()).ok_or_else(|| failure(Refusal::NoSuchKey))?;
    identity.api_keys.revoke(id).await.map_err(|error| failure(error.into()))?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize)]
struct NewSessionAnswer {
    session_id: SessionId,
}

/// Opens a session that the holder of an API key then names in `x-session-id`. A token has one already.
async fn open_session(
    State(identity): State<Identity>,
    Caller(caller): Caller,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let failure = |refusal| Failure::new(refusal, identity.authenticator.ambient());
    let Credential::ApiKey(key) = caller.credential else { return Err(failure(Refusal::TokenHasSession)) };
    let user_agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let client = user_agent.and_then(|agent| agent.split(['/', ' ']).next());
    let new =
        NewSession { client, user_agent, api_key: Some(key), ..NewSession::new(caller.user_id, SessionSource::Api) };
    let session = identity.sessions.open(new).await.map_err(|error| failure(error.into()))?;
    Ok((StatusCode::CREATED, Json(NewSessionAnswer { session_id: session.id })).into_response())
}

fn owner(caller: &Principal, asked_for: Option<UserId>) -> Result<UserId, Refusal> {
    match asked_for {
        Some(user) if user != caller.user_id && !caller.is_admin() => Err(Refusal::NotYours),
        Some(user) => Ok(user),
        None => Ok(caller.user_id),
    }
}

/// Why a request was not answered as it wished.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Body(String),
    #[error("only administrators may handle the keys of others")]
    NotYours,
    #[error("there is no such key")]
    NoSuchKey,
    #[error("a token has its session already; sessions are opened with an API key")]
    TokenHasSession,
    #[error("{0}")]
    Key(ApiKeyError),
    #[error("the database cannot be asked at the moment")]
    Unavailable(#[source] StoreError),
}

impl From<ApiKeyError> for Refusal {
    fn from(error: ApiKeyError) -> Self {
        match error {
            ApiKeyError::NotFound(_) => Self::NoSuchKey,
            ApiKeyError::Store(error) => Self::Unavailable(error),
            ApiKeyError::InvalidName | ApiKeyError::AlreadyExpired(_) | ApiKeyError::NoSuchUser(_) => Self::Key(error),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error)
    }
}

#[derive(Debug)]
struct Failure(ApiError);

impl Failure {
    fn new(refusal: Refusal, ambient: &Ambient) -> Self {
        let message = refusal.to_string();
        let code = match refusal {
            Refusal::Body(_) => ErrorCode::BadRequest,
            Refusal::NotYours | Refusal::TokenHasSession => ErrorCode::Forbidden,
            Refusal::NoSuchKey => ErrorCode::NotFound,
            Refusal::Key(_) => ErrorCode::ValidationError,
            Refusal::Unavailable(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a request for keys or sessions failed");
                ErrorCode::ServiceUnavailable
            }
        };
        Self(ApiError::new(code, message, ambient.now()))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).expect("the statuses of error codes are valid");
        (status, Json(self.0)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Method, Request};
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use systemprompt_model::Secret;
    use tower::ServiceExt;

    use super::*;
    use crate::SessionHint;
    use crate::testing::{World, bearer};

    async fn send(
        identity: &Identity,
        request: (Method, &str),
        credential: &Secret,
        body: Option<Value>,
    ) -> (u16, Value) {
        let (method, path) = request;
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        *request.headers_mut().expect("headers") = {
            let mut headers = bearer(credential.expose());
            headers.insert("content-type", "application/json".parse().expect("a header value"));
            headers.insert("user-agent", "sdk/1.0".parse().expect("a header value"));
            headers
        };
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response =
            router(identity.clone()).oneshot(request.body(body).expect("a request")).await.expect("never fails");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn users_handle_their_own_keys_and_administrators_everybodys() {
        let world = World::new().await;
        let replica = world.replica().await;
        let identity = &replica.identity;
        let (ada, bob, root) =
            (replica.user("ada", &[]).await, replica.user("bob", &[]).await, replica.user("root", &["admin"]).await);
        let (ada_key, bob_key, root_key) =
            (replica.key(&ada).await.secret, replica.key(&bob).await.secret, replica.key(&root).await.secret);
        let pats = "/api/public/admin/tokens/pats";

        let (status, issued) = send(identity, (Method::POST, pats), &ada_key, Some(json!({"name": "laptop"}))).await;
        assert_eq!((status, issued["name"].as_str()), (201, Some("laptop")), "{issued}");
        let secret = Secret::new(issued["secret"].as_str().expect("the secret"));
        assert_eq!(replica.authenticate(&secret).await.expect("is accepted").user_id, ada.id);
        let (status, listed) = send(identity, (Method::GET, pats), &secret, None).await;
        assert_eq!((status, listed.as_array().map(Vec::len)), (200, Some(2)));
        let prefixes: Vec<_> = listed.as_array().into_iter().flatten().map(|key| &key["key_prefix"]).collect();
        assert!(prefixes.contains(&&issued["key_prefix"]), "{listed}");
        assert!(!listed.to_string().contains(secret.expose()));

        let for_ada = Some(json!({"name": "for ada", "user_id": ada.id}));
        assert_eq!(send(identity, (Method::POST, pats), &bob_key, for_ada.clone()).await.0, 403);
        assert_eq!(send(identity, (Method::POST, pats), &root_key, for_ada).await.0, 201);
        let adas = format!("{pats}?user_id={}", ada.id);
        assert_eq!(send(identity, (Method::GET, &adas), &bob_key, None).await.0, 403);
        assert_eq!(send(identity, (Method::GET, &adas), &root_key, None).await.1.as_array().map(Vec::len), Some(3));
        for (body, status) in [
            (json!({"name": ""}), 400),
            (json!({}), 400),
            (json!({"name": "x", "scope": "all"}), 400),
            (json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}), 400),
        ] {
            let (got, answer) = send(identity, (Method::POST, pats), &ada_key, Some(body.clone())).await;
            assert_eq!(got, status, "{body}: {answer}");
            assert!(answer["message"].is_string());
        }

        let one = format!("{pats}/{}", issued["id"].as_str().expect("an id"));
        assert_eq!(send(identity, (Method::DELETE, &one), &bob_key, None).await.0, 404);
        assert_eq!(send(identity, (Method::DELETE, &format!("{pats}/nonsense")), &bob_key, None).await.0, 404);
        replica.hears(async { assert_eq!(send(identity, (Method::DELETE, &one), &ada_key, None).await.0, 204) }).await;
        assert!(replica.authenticate(&secret).await.is_err());
        replica.stop().await;
    }

    #[tokio::test]
    async fn a_client_opens_a_session_and_names_it() {
        let world = World::new().await;
        let replica = world.replica().await;
        let identity = &replica.identity;
        let user = replica.user("ada", &["user"]).await;
        let key = replica.key(&user).await.secret;
        let sessions = (Method::POST, "/api/public/gateway/sessions");
        let (status, answer) = send(identity, sessions.clone(), &key, None).await;
        assert_eq!(status, 201, "{answer}");
        let id: SessionId = answer["session_id"].as_str().expect("an id").parse().expect("a session id");
        let principal = replica.authenticate(&key).await.expect("is accepted");
        let hint = SessionHint { explicit: Some(id), required: true, ..SessionHint::default() };
        assert_eq!(identity.sessions.bind(&principal, hint).await, Ok(id));
        let stored = identity.sessions.get(id).await.expect("reads").expect("is there");
        assert_eq!(stored.client_id.as_deref(), Some("sdk"));

        let token = replica.token(&user, "user").await.token;
        assert_eq!(send(identity, sessions, &token, None).await.0, 403);
        replica.stop().await;
    }
}
