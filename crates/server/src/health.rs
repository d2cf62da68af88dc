//! `/health`, `/livez`, `/readyz`, `/metrics`, and what the server says about itself under `/api/v1`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnection, PgPool};
use systemprompt_extension::api::RETRY_SOON;
use systemprompt_extension::facet::{Routes, WellKnown};
use systemprompt_extension::{
    Access, CarriesOn, ExtensionContext as _, ExtensionHealth, ExtensionRouterConfig, RouteTable, Timeouts,
    WellKnownRoute, openapi,
};
use systemprompt_model::Shortage;
use tokio::sync::Mutex;

use crate::context::ServerContext;

/// The database must answer a health check within this.
const DATABASE_LIMIT: Duration = Duration::from_secs(1);
/// What it answered is believed for this long, so that nobody occupies it by asking for its health. With the limit it is
/// less than the two seconds within which everybody is told of an outage.
const BELIEVED: Duration = Duration::from_millis(500);
/// The features nothing works without must answer within this.
const FEATURES_LIMIT: Duration = Duration::from_millis(500);

/// Whether the server takes requests; shared by whoever stops it and whoever answers `/readyz`.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    ready: AtomicBool,
}

impl Readiness {
    pub(crate) fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

#[derive(Clone)]
pub(crate) struct Site {
    ctx: Arc<ServerContext>,
    readiness: Arc<Readiness>,
    started: Instant,
    /// When the database was last asked and whether it answered. Held while one request asks for all that wait.
    asked: Arc<Mutex<Option<(Instant, Reached)>>>,
    /// The OpenAPI document; the extensions of a server do not change.
    description: Arc<serde_json::Value>,
}

/// A word for how things are.
#[derive(Debug, Serialize, JsonSchema)]
struct Status {
    status: &'static str,
    /// The features that are meant, whose own words are in the details.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    features: Vec<&'static str>,
}

impl Status {
    const fn of(status: &'static str) -> Self {
        Self { status, features: Vec::new() }
    }
}

/// What became of a question to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Answered,
    /// It could not be asked, for want of something of our own.
    Not(Shortage),
    Silent,
}

impl Reached {
    /// What is wrong, for load balancers.
    const fn trouble(self) -> Option<&'static str> {
        match self {
            Self::Answered => None,
            Self::Not(Shortage::Connections) => Some("all database connections of this server are in use"),
            Self::Not(Shortage::Descriptors | Shortage::Ports) => Some("this server can open no further connection"),
            Self::Silent => Some("database unreachable"),
        }
    }
}

/// How the features are doing that nothing works without.
#[derive(Debug, Default)]
struct Needed {
    failing: Vec<&'static str>,
    limited: Vec<&'static str>,
}

/// The server's own endpoints.
pub(crate) fn table() -> RouteTable<Site> {
    RouteTable::new()
        .get("/health", Access::Public, "Whether the process, its database and what nothing works without do: 200 or 503.", health)
        .answers::<Status>(200)
        .get("/api/v1/health", Access::Public, "The same under the API's prefix.", health)
        .answers::<Status>(200)
        .get(
            "/api/v1/health/detail",
            Access::Authenticated,
            "Every feature's health, the pools, the configuration's warnings.",
            detail,
        )
        .answers::<serde_json::Value>(200)
        .get("/", Access::Public, "Whether somebody is here; clients of model vendors look with HEAD.", hello)
        .answers::<Status>(200)
        .get("/api/hello", Access::Public, "The same.", hello)
        .answers::<Status>(200)
        .get("/livez", Access::Public, "Whether the process answers.", async || "ok")
        .get(
            "/readyz",
            Access::Public,
            "Whether to send requests here: 503 while starting, draining, without database or ledger; `degraded` is 200.",
            ready,
        )
        .answers::<Status>(200)
        .get("/metrics", Access::AdminOrLocal, "Metrics in the OpenMetrics text format.", metrics)
        .get("/api/v1", Access::Public, "What this server offers and where.", discovery)
        .answers::<serde_json::Value>(200)
        .get(
            "/api/v1/openapi.json",
            Access::Public,
            "Every endpoint of this server as an OpenAPI 3.1 document.",
            describe,
        )
        .answers::<serde_json::Value>(200)
}

/// What they answer from.
pub(crate) fn site(ctx: Arc<ServerContext>, readiness: Arc<Readiness>) -> Site {
    let description = Arc::new(openapi::document(ctx.registry()));
    Site { ctx, readiness, started: Instant::now(), asked: Arc::default(), description }
}

/// Coding assistants ask this of their vendor's server before they begin, and warn if nobody answers.
async fn hello() -> Json<Status> {
    Json(Status::of("hello"))
}

/// For load balancers: nothing but whether the process works, its database, and what nothing works without.
async fn health(State(site): State<Site>) -> Response {
    let (reached, needed) = tokio::join!(site.database(), site.needed());
    match reached.trouble() {
        Some(_) if reached != Reached::Silent => unavailable(Status::of("short of connections")),
        None if needed.failing.is_empty() => Json(Status::of("healthy")).into_response(),
        _ => unavailable(Status { status: "unhealthy", features: needed.failing }),
    }
}

/// For orchestrators: whether to send requests here.
async fn ready(State(site): State<Site>) -> Response {
    if !site.readiness.get() {
        return unavailable(Status::of("draining"));
    }
    let (reached, needed) = tokio::join!(site.database(), site.needed());
    let carries_on = || site.ctx.services().get::<CarriesOn>().is_some_and(|service| service.now());
    match reached.trouble() {
        Some(_) if needed.failing.is_empty() && carries_on() => {
            Json(Status { status: "degraded", features: needed.limited }).into_response()
        }
        None if !needed.failing.is_empty() => unavailable(Status { status: "unhealthy", features: needed.failing }),
        None if !needed.limited.is_empty() => {
            Json(Status { status: "degraded", features: needed.limited }).into_response()
        }
        None => Json(Status::of("ready")).into_response(),
        Some(trouble) => unavailable(Status { status: trouble, features: needed.failing }),
    }
}

fn unavailable(status: Status) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, RETRY_SOON)], Json(status)).into_response()
}

/// For operators: every feature's own word, with the state of the pools.
async fn detail(State(site): State<Site>) -> Response {
    let database = site.database().await;
    let features = site.ctx.registry().health(site.ctx.as_ref(), Timeouts::default()).await;
    let worst = if database != Reached::Answered
        || features.iter().any(|(_, health)| matches!(health, ExtensionHealth::Unhealthy(_)))
    {
        "unhealthy"
    } else if features.iter().any(|(_, health)| matches!(health, ExtensionHealth::Degraded(_))) {
        "degraded"
    } else {
        "healthy"
    };
    let pool = |pool: &PgPool| json!({"connections": pool.size(), "idle": pool.num_idle(), "max": pool.options().get_max_connections()});
    let configuration = site.ctx.configuration();
    let body = json!({
        "status": worst,
        "version": env!("CARGO_PKG_VERSION"),
        "instance": site.ctx.instance_name,
        "instance_id": site.ctx.instance_id(),
        "uptime_secs": site.started.elapsed().as_secs(),
        "profile": configuration.profile.name,
        "database": {
            "reachable": database == Reached::Answered,
            "trouble": database.trouble(),
            "server": site.ctx.db().server(),
            "read": pool(site.ctx.db().read()),
            "write": pool(site.ctx.db().write()),
            "listening": site.ctx.notifications().is_live(),
        },
        "features": features.into_iter().map(|(id, health)| (id.to_owned(), json!(health))).collect::<serde_json::Map<_, _>>(),
        "warnings": configuration.warnings(),
    });
    if worst == "unhealthy" {
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, RETRY_SOON)], Json(body)).into_response();
    }
    Json(body).into_response()
}

/// Prometheus' page, for scrapers on this machine and for administrators.
async fn metrics(State(site): State<Site>) -> Response {
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(CONTENT_TYPE, content_type)], site.ctx.metrics().encode()).into_response()
}

/// What is served here and where its documents are.
async fn discovery(State(site): State<Site>) -> Response {
    let registry = site.ctx.registry();
    let profile = &site.ctx.configuration().profile;
    let paths = registry.declared::<Routes>();
    let features: Vec<_> = registry
        .iter()
        .zip(&paths)
        .map(|(extension, routes)| {
            let paths: Vec<_> = routes.contributions.iter().flat_map(ExtensionRouterConfig::prefixes).collect();
            json!({"id": extension.id(), "name": extension.name(), "version": extension.version(), "paths": paths})
        })
        .collect();
    let documents = registry.declared::<WellKnown>();
    let documents: Vec<_> =
        documents.iter().flat_map(|declared| declared.contributions).map(WellKnownRoute::full_path).collect();
    Json(json!({
        "name": profile.site.name,
        "version": env!("CARGO_PKG_VERSION"),
        "base_url": profile.server.api_external_url,
        "endpoints": {
            "health": "/api/v1/health",
            "health_detail": "/api/v1/health/detail",
            "metrics": "/metrics",
            "openapi": "/api/v1/openapi.json",
        },
        "documents": documents,
        "features": features,
    }))
    .into_response()
}

/// The OpenAPI document.
async fn describe(State(site): State<Site>) -> Json<serde_json::Value> {
    Json(serde_json::Value::clone(&site.description))
}

impl Site {
    /// Whether the database answers.
    async fn database(&self) -> Reached {
        let mut asked = self.asked.lock().await;
        if let Some((at, reached)) = *asked
            && at.elapsed() < BELIEVED
        {
            return reached;
        }
        let reached = self.ask_database().await;
        *asked = Some((Instant::now(), reached));
        reached
    }

    async fn ask_database(&self) -> Reached {
        let db = self.ctx.db();
        let write = async { if db.is_split() { ask(db.write()).await } else { Reached::Answered } };
        match tokio::join!(ask(db.read()), write) {
            (Reached::Answered, other) | (other, _) => other,
        }
    }

    /// How the features are doing that nothing works without.
    async fn needed(&self) -> Needed {
        let mut needed = Needed::default();
        let asking = self.ctx.registry().iter().filter(|extension| extension.is_required()).map(async |extension| {
            let health = tokio::time::timeout(FEATURES_LIMIT, extension.health(self.ctx.as_ref())).await;
            (extension.id(), health)
        });
        for (id, health) in futures_util::future::join_all(asking).await {
            match health {
                Ok(ExtensionHealth::Healthy) => {}
                Ok(ExtensionHealth::Degraded(_)) => needed.limited.push(id),
                Ok(ExtensionHealth::Unhealthy(_)) | Err(_) => needed.failing.push(id),
            }
        }
        needed
    }
}

/// Asks over the pool, as everything else does. If it has no connection to give, one of our own tells whether that is
/// PostgreSQL's fault.
async fn ask(pool: &PgPool) -> Reached {
    let shortage = |error: &sqlx::Error| Shortage::behind(error).map_or(Reached::Silent, Reached::Not);
    match tokio::time::timeout(DATABASE_LIMIT / 2, sqlx::query("SELECT 1").execute(pool)).await {
        Ok(Ok(_)) => return Reached::Answered,
        Ok(Err(error)) if !matches!(error, sqlx::Error::PoolTimedOut) => return shortage(&error),
        _ if pool.size() < pool.options().get_max_connections() || pool.num_idle() > 0 => return Reached::Silent,
        _ => {}
    }
    let aside = async {
        let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
        connection.ping().await?;
        connection.close().await
    };
    match tokio::time::timeout(DATABASE_LIMIT / 2, aside).await {
        Ok(Ok(())) => Reached::Not(Shortage::Connections),
        Ok(Err(error)) => shortage(&error),
        Err(_) => Reached::Silent,
    }
}
