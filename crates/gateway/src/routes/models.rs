//! `GET /v1/models` and `GET /v1/models/{id}`: what a caller may ask for.
//!
//! Anthropic and OpenAI clients read different fields of the same object, so one answer carries both sets. Codex gets a list of
//! its own beside it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_extension::{AuthError, Rejection};
use systemprompt_governance::policy::PolicyChain;
use systemprompt_llm::Format;
use systemprompt_model::{EntityKind, Principal};

use super::codex::{self, CodexModel};
use super::error::RouteError;
use super::exchange::{self, dialect_of, trace_of};
use super::gateway::Gateway;
use crate::config::{GatewayConfig, Surface, strip_marker};
use crate::headers::{self, INFERENCE_PROTOCOL};
use crate::routing::{Listed, Route};
use crate::snapshot::GatewaySnapshot;

/// The models the caller may use, the default model first.
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (dialect, trace) = (dialect_of(request.headers()), trace_of(&gateway, &request));
    let (head, _) = request.into_parts();
    match allowed_models(&gateway, &head).await {
        Ok(mut response) => {
            headers::stamp(response.headers_mut(), trace, None);
            response
        }
        Err(error) => exchange::refuse(&gateway, dialect, trace, &error),
    }
}

/// One of these models.
pub(super) async fn show(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, request: Request) -> Response {
    let (dialect, trace) = (dialect_of(request.headers()), trace_of(&gateway, &request));
    let (head, _) = request.into_parts();
    match allowed_model(&gateway, &head, id).await {
        Ok(mut response) => {
            headers::stamp(response.headers_mut(), trace, None);
            response
        }
        Err(error) => exchange::refuse(&gateway, dialect, trace, &error),
    }
}

async fn allowed_models(gateway: &Gateway, head: &http::request::Parts) -> Result<Response, RouteError> {
    let snapshot = gateway.inference.snapshot();
    let query = Query::<ListQuery>::try_from_uri(&head.uri).map_err(|error| RouteError::Query(error.body_text()))?;
    let surface = match head.headers.get(INFERENCE_PROTOCOL) {
        None => None,
        Some(name) => Some(name.to_str().ok().and_then(surface_named).ok_or(RouteError::UnknownSurface)?),
    };
    let mut open = open_to(gateway, &snapshot, head).await?;
    open.retain(|listed| surface.is_none_or(|surface| listed.provider.surface == surface));
    sort(&mut open, snapshot.settings.default_model.as_deref(), surface.unwrap_or_else(|| own_surface(&head.headers)));
    Ok(Json(page(&open, &query)).into_response())
}

async fn allowed_model(gateway: &Gateway, head: &http::request::Parts, id: String) -> Result<Response, RouteError> {
    let snapshot = gateway.inference.snapshot();
    Ok(Json(Model::of(one(gateway, &snapshot, head, id).await?)).into_response())
}

/// The advertised models that whoever asks may use.
pub(super) async fn open_to<'a>(
    gateway: &Gateway,
    snapshot: &'a GatewaySnapshot,
    head: &http::request::Parts,
) -> Result<Vec<&'a Listed>, RouteError> {
    let reader = reader(&snapshot.settings, head)?;
    let table = &snapshot.table;
    let policies = gateway.inference.policies();
    let mut listed: Vec<&Listed> = table.advertised().collect();
    listed.retain(|listed| table.routes_to(listed).into_iter().any(|route| leads_anywhere(route, &policies)));
    if let Some(principal) = reader {
        // One question per route, not per model: models of one provider share theirs.
        let routes = listed.iter().flat_map(|listed| table.routes_to(listed));
        let routes = routes.filter(|route| leads_anywhere(route, &policies));
        let mut routes: Vec<&str> = routes.map(|route| route.id.as_str()).collect();
        routes.sort_unstable();
        routes.dedup();
        let mut open = Vec::with_capacity(routes.len());
        for route in routes {
            if may_use(gateway, principal, route).await? {
                open.push(route);
            }
        }
        listed.retain(|listed| table.routes_to(listed).iter().any(|route| open.contains(&route.id.as_str())));
    }
    Ok(listed)
}

/// One of these models, by its id or an alias. What a caller may not use is not there for it, as in the list.
pub(super) async fn one<'a>(
    gateway: &Gateway,
    snapshot: &'a GatewaySnapshot,
    head: &http::request::Parts,
    id: String,
) -> Result<&'a Listed, RouteError> {
    let reader = reader(&snapshot.settings, head)?;
    let table = &snapshot.table;
    let policies = gateway.inference.policies();
    let listed = table.find(&id);
    let routes = listed.into_iter().flat_map(|listed| table.routes_to(listed));
    let mut open = false;
    for route in routes.filter(|route| leads_anywhere(route, &policies)) {
        open = open
            || match reader {
                Some(principal) => may_use(gateway, principal, &route.id).await?,
                None => true,
            };
    }
    listed.filter(|_| open).ok_or(RouteError::NoModel { id })
}

/// The default model first, then what the client knows best.
pub(super) fn sort(models: &mut [&Listed], default: Option<&str>, own: Surface) {
    let default = default.map(strip_marker);
    models.sort_by_key(|listed| (default != Some(listed.model.id.as_str()), listed.provider.surface != own));
}

/// Who reads; nobody may only where the list is public.
fn reader<'a>(
    settings: &GatewayConfig,
    head: &'a http::request::Parts,
) -> Result<Option<&'a Arc<Principal>>, RouteError> {
    if !settings.enabled {
        return Err(RouteError::Disabled);
    }
    let principal = head.extensions.get::<Arc<Principal>>();
    // Nobody may read a public list, but not with a credential that is not good.
    let error = exchange::unknown(head);
    if principal.is_none() && !(settings.models_public && error == AuthError::Missing) {
        return Err(Rejection::Auth(error).into());
    }
    Ok(principal)
}

/// Whether a request that takes this route may be let go to any of its places.
fn leads_anywhere(route: &Route, policies: &PolicyChain) -> bool {
    route.leads_where(|provider| !policies.leaves_out(&route.id, provider.region.as_deref()))
}

async fn may_use(gateway: &Gateway, principal: &Principal, route: &str) -> Result<bool, RouteError> {
    let decision = gateway.access.decide(principal, EntityKind::GatewayRoute, route).await?;
    Ok(decision.decision.is_allowed())
}

/// Query of the model list.
#[derive(Debug, Default, Deserialize)]
struct ListQuery {
    /// At most this many entries, 1…1000; default 1000, so that clients that do not page see all.
    limit: Option<usize>,
    /// Only entries after this id.
    after_id: Option<String>,
    /// Only entries before this id, the last ones of them.
    before_id: Option<String>,
    /// The version of Codex, which alone sends one.
    client_version: Option<String>,
}

/// A page of models.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelList<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
    /// The models as Codex reads them, if it asks; those of its own vendor, which it knows, are not among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<CodexModel>>,
}

/// A model, with the fields that clients of either dialect read.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Model<'a> {
    r#type: &'static str,
    object: &'static str,
    id: &'a str,
    display_name: &'a str,
    lifecycle: &'static str,
    created_at: DateTime<Utc>,
    created: i64,
    owned_by: &'a str,
}

impl<'a> Model<'a> {
    fn of(listed: &'a Listed) -> Self {
        // Clients sort by the date and show it; a model nobody knows the date of is as old as time.
        let released = listed.model.released.and_then(|day| day.and_hms_opt(0, 0, 0));
        let created_at = released.map_or(DateTime::UNIX_EPOCH, |at| at.and_utc());
        Self {
            r#type: "model",
            object: "model",
            id: &listed.model.id,
            display_name: &listed.model.display_name,
            lifecycle: "active",
            created_at,
            created: created_at.timestamp(),
            owned_by: &listed.provider.name,
        }
    }
}

/// The surface a client asked for by name.
fn surface_named(name: &str) -> Option<Surface> {
    match name {
        "anthropic" => Some(Surface::Anthropic),
        "openai" => Some(Surface::OpenAi),
        "gemini" => Some(Surface::Gemini),
        _ => None,
    }
}

/// The family of the client that asks.
fn own_surface(headers: &HeaderMap) -> Surface {
    match dialect_of(headers) {
        Format::AnthropicMessages => Surface::Anthropic,
        Format::Gemini => Surface::Gemini,
        _ => Surface::OpenAi,
    }
}

/// The page of `models` that `query` asks for.
fn page<'a>(models: &[&'a Listed], query: &ListQuery) -> ModelList<'a> {
    let position = |id: &String| models.iter().position(|listed| listed.model.id == *id);
    let start = query.after_id.as_ref().and_then(position).map_or(0, |found| found + 1);
    let end = query.before_id.as_ref().and_then(position).unwrap_or(models.len());
    let window = models.get(start..end.max(start)).unwrap_or_default();
    let limit = query.limit.unwrap_or(1000).clamp(1, 1000);
    // A page before a cursor ends at the cursor, so that clients can page backwards.
    let skipped = if query.before_id.is_some() { window.len().saturating_sub(limit) } else { 0 };
    let data: Vec<_> = window.iter().skip(skipped).take(limit).map(|listed| Model::of(listed)).collect();
    ModelList {
        object: "list",
        has_more: window.len() > limit,
        first_id: data.first().map(|model| model.id),
        last_id: data.last().map(|model| model.id),
        data,
        models: query.client_version.is_some().then(|| codex::models(models)),
    }
}
