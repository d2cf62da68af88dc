//! Keys for their owners; for everybody's, to administrators.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::delete;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use systemprompt_extension::{Access, RouteTable};
use systemprompt_governance::{About, Change, Changed, Refusal, StateDigest};
use systemprompt_model::{ApiKeyId, Principal, UserId};

use crate::api_key::ApiKey;
use crate::api_key::store::ApiKeyError;
use crate::authentication::extract::Caller;
use crate::change::{Author, Site};
use crate::route_error::{Failure, RouteError};

const PATH: &str = "/api/public/admin/tokens/pats";

/// The routes of this file, added to others.
pub(crate) fn add_to(table: RouteTable<Site>) -> RouteTable<Site> {
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
    State(site): State<Site>,
    author: Author,
    body: Result<Json<NewKey>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(new) = body.map_err(|rejection| Failure::new(RouteError::Body(rejection.body_text())))?;
    let owner = new.user_id.unwrap_or(author.0.principal.user_id);
    let request = json!({"name": new.name, "expires_at": new.expires_at});
    let change = Change::new("api_key.issue", About::new("user", owner), &request).or_own(owner);
    let issue = async || {
        let issued = site.identity.api_keys.issue(owner, &new.name, new.expires_at).await?;
        let after = Some(StateDigest::of(&issued.key));
        Ok::<_, ApiKeyError>(Changed { value: issued, before: None, after })
    };
    let issued = site.change(author, change, issue).await.map_err(Failure::new)?;
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
    State(Site { identity, .. }): State<Site>,
    Caller(caller): Caller,
    query: Result<Query<KeysOf>, QueryRejection>,
) -> Result<Json<Vec<ApiKey>>, Failure> {
    let Query(keys_of) = query.map_err(|rejection| Failure::new(RouteError::Body(rejection.body_text())))?;
    let owner = owner(&caller, keys_of.user_id).map_err(Failure::new)?;
    Ok(Json(identity.api_keys.list(owner).await.map_err(|error| Failure::new(error.into()))?))
}

async fn revoke_key(
    State(site): State<Site>,
    author: Author,
    id: Result<Path<ApiKeyId>, PathRejection>,
) -> Result<StatusCode, Failure> {
    let api_keys = &site.identity.api_keys;
    let Path(id) = id.map_err(|_| Failure::new(RouteError::NoSuchKey))?;
    let found = api_keys.get(id).await.map_err(|error| Failure::new(error.into()))?;
    let key = found.ok_or_else(|| Failure::new(RouteError::NoSuchKey))?;
    let change = Change::new("api_key.revoke", About::new("api_key", id), &()).or_own(key.user_id);
    let is_strangers = key.user_id != author.0.principal.user_id;
    let revoke = async || {
        let revoked = api_keys.revoke(id).await?;
        let (before, after) = (Some(StateDigest::of(&key)), Some(StateDigest::of(&revoked)));
        Ok::<_, ApiKeyError>(Changed { value: (), before, after })
    };
    site.change(author, change, revoke).await.map_err(|error| match error {
        // Whether somebody else has a key of this id is nobody's business.
        RouteError::Refused(Refusal::Denied(_)) if is_strangers => Failure::new(RouteError::NoSuchKey),
        error => Failure::new(error),
    })?;
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

        let changes = replica.changes().await;
        let told: Vec<_> =
            changes.iter().rev().map(|change| (change.operation.as_str(), change.status.as_str())).collect();
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
        replica.stop().await;
    }
}
