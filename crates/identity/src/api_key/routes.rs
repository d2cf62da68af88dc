//! Keys for their owners; for everybody's, to administrators.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use systemprompt_extension::api::AuthUser;
use systemprompt_extension::{Access, RouteTable};
use systemprompt_governance::{About, Change, Changed, Refusal, StateDigest};
use systemprompt_model::{ApiKeyId, Principal, UserId};

use crate::api_key::ApiKey;
use crate::api_key::store::ApiKeyError;
use crate::change::{Author, Site};
use crate::route_error::{Failure, RouteError};

const PATH: &str = "/api/public/admin/tokens/pats";

/// The routes of this file, added to others.
pub(crate) fn add_to(table: RouteTable<Site>) -> RouteTable<Site> {
    table
        .post(PATH, Access::User, "Makes an API key; its secret is shown once.", issue_key)
        .takes::<NewKey>()
        .answers::<NewKeyAnswer>(201)
        .get(PATH, Access::User, "The caller's API keys; to administrators, those of `?user_id=`.", list_keys)
        .answers::<Vec<ApiKey>>(200)
        .delete(&format!("{PATH}/{{id}}"), Access::User, "Revokes an API key.", revoke_key)
        .answers_bare(204)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// What its owner calls it.
    name: String,
    /// From when on it shall be refused.
    expires_at: Option<DateTime<Utc>>,
    /// Whose the key shall be, if not the caller's own; for administrators.
    user_id: Option<UserId>,
}

#[derive(Debug, Serialize, JsonSchema)]
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
    let api_keys = Arc::clone(&site.identity.api_keys);
    let issue = async move || {
        let issued = api_keys.issue(owner, &new.name, new.expires_at).await?;
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
    AuthUser(caller): AuthUser,
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
    let api_keys = Arc::clone(&site.identity.api_keys);
    let Path(id) = id.map_err(|_| Failure::new(RouteError::NoSuchKey))?;
    let found = api_keys.get(id).await.map_err(|error| Failure::new(error.into()))?;
    let key = found.ok_or_else(|| Failure::new(RouteError::NoSuchKey))?;
    let change = Change::new("api_key.revoke", About::new("api_key", id), &()).or_own(key.user_id);
    let is_strangers = key.user_id != author.0.principal.user_id;
    let revoke = async move || {
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
