//! Keys for their owners; for everybody's, to administrators.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::delete;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use systemprompt_extension::{Access, RouteTable};
use systemprompt_model::{ApiKeyId, Principal, UserId};

use crate::api_key::ApiKey;
use crate::authentication::extract::Caller;
use crate::identity::Identity;
use crate::route_error::{Failure, RouteError};

const PATH: &str = "/api/public/admin/tokens/pats";

/// The routes of this file, added to others.
pub(crate) fn add_to(table: RouteTable<Identity>) -> RouteTable<Identity> {
    table
        .post(PATH, Access::Authenticated, "Makes an API key; its secret is shown once.", issue_key)
        .get(PATH, Access::Authenticated, "The caller's API keys; to administrators, those of `?user_id=`.", list_keys)
        .add("DELETE", &format!("{PATH}/{{id}}"), Access::Authenticated, "Revokes an API key.", delete(revoke_key))
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
    let Json(new) = body.map_err(|rejection| Failure::new(RouteError::Body(rejection.body_text())))?;
    let owner = owner(&caller, new.user_id).map_err(Failure::new)?;
    let issued = identity.api_keys.issue(owner, &new.name, new.expires_at).await.map_err(|e| Failure::new(e.into()))?;
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
    let Query(keys_of) = query.map_err(|rejection| Failure::new(RouteError::Body(rejection.body_text())))?;
    let owner = owner(&caller, keys_of.user_id).map_err(Failure::new)?;
    Ok(Json(identity.api_keys.list(owner).await.map_err(|error| Failure::new(error.into()))?))
}

async fn revoke_key(
    State(identity): State<Identity>,
    Caller(caller): Caller,
    id: Result<Path<ApiKeyId>, PathRejection>,
) -> Result<StatusCode, Failure> {
    let Path(id) = id.map_err(|_| Failure::new(RouteError::NoSuchKey))?;
    let key = identity.api_keys.get(id).await.map_err(|error| Failure::new(error.into()))?;
    // Whether somebody else has a key of this id is nobody's business.
    key.filter(|key| key.user_id == caller.user_id || caller.is_admin())
        .ok_or_else(|| Failure::new(RouteError::NoSuchKey))?;
    identity.api_keys.revoke(id).await.map_err(|error| Failure::new(error.into()))?;
    Ok(StatusCode::NO_CONTENT)
}

fn owner(caller: &Principal, asked_for: Option<UserId>) -> Result<UserId, RouteError> {
    match asked_for {
        Some(user) if user != caller.user_id && !caller.is_admin() => Err(RouteError::NotYours),
        Some(user) => Ok(user),
        None => Ok(caller.user_id),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;
    use systemprompt_model::Secret;

    use super::PATH;
    use crate::testing::World;

    #[tokio::test]
    async fn users_handle_their_own_keys_and_administrators_everybodys() {
        let world = World::new().await;
        let replica = world.replica().await;
        let (ada, bob, root) =
            (replica.user("ada", &[]).await, replica.user("bob", &[]).await, replica.user("root", &["admin"]).await);
        let (ada_key, bob_key, root_key) =
            (replica.key(&ada).await.secret, replica.key(&bob).await.secret, replica.key(&root).await.secret);

        let (status, issued) = replica.send((Method::POST, PATH), &ada_key, Some(json!({"name": "laptop"}))).await;
        assert_eq!((status, issued["name"].as_str()), (201, Some("laptop")), "{issued}");
        let secret = Secret::new(issued["secret"].as_str().expect("the secret"));
        assert_eq!(replica.authenticate(&secret).await.expect("is accepted").user_id, ada.id);
        let (status, listed) = replica.send((Method::GET, PATH), &secret, None).await;
        assert_eq!((status, listed.as_array().map(Vec::len)), (200, Some(2)));
        let prefixes: Vec<_> = listed.as_array().into_iter().flatten().map(|key| &key["key_prefix"]).collect();
        assert!(prefixes.contains(&&issued["key_prefix"]), "{listed}");
        assert!(!listed.to_string().contains(secret.expose()));

        let for_ada = Some(json!({"name": "for ada", "user_id": ada.id}));
        assert_eq!(replica.send((Method::POST, PATH), &bob_key, for_ada.clone()).await.0, 403);
        assert_eq!(replica.send((Method::POST, PATH), &root_key, for_ada).await.0, 201);
        let adas = format!("{PATH}?user_id={}", ada.id);
        assert_eq!(replica.send((Method::GET, &adas), &bob_key, None).await.0, 403);
        assert_eq!(replica.send((Method::GET, &adas), &root_key, None).await.1.as_array().map(Vec::len), Some(3));
        for (body, status) in [
            (json!({"name": ""}), 400),
            (json!({}), 400),
            (json!({"name": "x", "scope": "all"}), 400),
            (json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}), 400),
        ] {
            let (got, answer) = replica.send((Method::POST, PATH), &ada_key, Some(body.clone())).await;
            assert_eq!(got, status, "{body}: {answer}");
            assert!(answer["message"].is_string());
        }

        let one = format!("{PATH}/{}", issued["id"].as_str().expect("an id"));
        assert_eq!(replica.send((Method::DELETE, &one), &bob_key, None).await.0, 404);
        assert_eq!(replica.send((Method::DELETE, &format!("{PATH}/nonsense")), &bob_key, None).await.0, 404);
        replica.hears(async { assert_eq!(replica.send((Method::DELETE, &one), &ada_key, None).await.0, 204) }).await;
        assert!(replica.authenticate(&secret).await.is_err());
        replica.stop().await;
    }
}
