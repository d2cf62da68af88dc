//! `/health`, `/livez`, `/readyz`, `/metrics`, and what the server says about itself under `/api/v1`.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use systemprompt_extension::{
    Access, ExtensionContext as _, ExtensionContextExt as _, ExtensionHealth, LoaderError, RouteTable, Timeouts,
};
use systemprompt_identity::{AuthError, Authenticator};
use systemprompt_model::{ErrorCode, Principal};
use tokio::sync::Mutex;

use crate::context::ServerContext;
use crate::listener::Peer;
use crate::problem::Problem;
use crate::proxies::handed_on;

/// The database must answer a health check within this.
const DATABASE_LIMIT: Duration = Duration::from_secs(2);
/// What it answered is believed for this long, so that nobody occupies it by asking for its health.
const BELIEVED: Duration = Duration::from_secs(1);

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
    authenticator: Arc<Authenticator>,
    readiness: Arc<Readiness>,
    started: Instant,
    /// When the database was last asked and whether it answered. Held while one request asks for all that wait.
    asked: Arc<Mutex<Option<(Instant, bool)>>>,
}

/// The server's own endpoints.
pub(crate) fn table() -> RouteTable<Site> {
    RouteTable::new()
        .get("/health", Access::Public, "Whether the process and its database work: 200 or 503.", health)
        .get("/api/v1/health", Access::Public, "The same under the API's prefix.", health)
        .get(
            "/api/v1/health/detail",
            Access::Authenticated,
            "Every feature's health, the pools, the configuration's warnings.",
            detail,
        )
        .get("/livez", Access::Public, "Whether the process answers.", async || "ok")
        .get(
            "/readyz",
            Access::Public,
            "Whether to send requests here: 503 while starting, draining, or without database.",
            ready,
        )
        .get("/metrics", Access::AdminOrLocal, "Metrics in the OpenMetrics text format.", metrics)
        .get("/api/v1", Access::Public, "What this server offers and where.", discovery)
}

/// The same with its state.
pub(crate) fn router(ctx: Arc<ServerContext>, readiness: Arc<Readiness>) -> Result<Router, LoaderError> {
    let authenticator = ctx.service::<Authenticator>()?;
    let site = Site { ctx, authenticator, readiness, started: Instant::now(), asked: Arc::default() };
    Ok(table().into_router().with_state(site))
}

/// For load balancers: nothing but whether the process and its database work.
async fn health(State(site): State<Site>) -> Response {
    if site.database_answers().await {
        Json(json!({"status": "healthy"})).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unhealthy"}))).into_response()
    }
}

/// For orchestrators: whether to send requests here.
async fn ready(State(site): State<Site>) -> Response {
    let status = match (site.readiness.get(), site.database_answers().await) {
        (true, true) => return Json(json!({"status": "ready"})).into_response(),
        (false, _) => "draining",
        (true, false) => "database unreachable",
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": status}))).into_response()
}

/// For operators: every feature's own word, with the state of the pools.
async fn detail(State(site): State<Site>, request: Request) -> Response {
    if let Err(refusal) = site.require_user(request.headers()).await {
        return refusal.about(&request).into_response();
    }
    let database = site.database_answers().await;
    let features = site.ctx.registry().health(site.ctx.as_ref(), Timeouts::default()).await;
    let worst = if !database || features.iter().any(|(_, health)| matches!(health, ExtensionHealth::Unhealthy(_))) {
        "unhealthy"
    } else if features.iter().any(|(_, health)| matches!(health, ExtensionHealth::Degraded(_))) {
        "degraded"
    } else {
        "healthy"
    };
    let pool = |pool: &sqlx::PgPool| json!({"connections": pool.size(), "idle": pool.num_idle(), "max": pool.options().get_max_connections()});
    let configuration = site.ctx.configuration();
    let body = json!({
        "status": worst,
        "version": env!("CARGO_PKG_VERSION"),
        "instance": site.ctx.instance_name,
        "instance_id": site.ctx.instance_id(),
        "uptime_secs": site.started.elapsed().as_secs(),
        "profile": configuration.profile.name,
        "database": {
            "reachable": database,
            "server": site.ctx.db().server(),
            "read": pool(site.ctx.db().read()),
            "write": pool(site.ctx.db().write()),
            "listening": site.ctx.notifications().is_live(),
        },
        "features": features.into_iter().map(|(id, health)| (id.to_owned(), json!(health))).collect::<serde_json::Map<_, _>>(),
        "warnings": configuration.warnings(),
    });
    let status = if worst == "unhealthy" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(body)).into_response()
}

/// Prometheus' page, for scrapers on this machine and for administrators.
async fn metrics(State(site): State<Site>, request: Request) -> Response {
    if !is_local(&request)
        && let Err(refusal) = site.require_admin(request.headers()).await
    {
        return refusal.about(&request).into_response();
    }
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(CONTENT_TYPE, content_type)], site.ctx.metrics().encode()).into_response()
}

/// What is served here and where its documents are.
async fn discovery(State(site): State<Site>) -> Response {
    let snapshot = site.ctx.registry().snapshot();
    let profile = &site.ctx.configuration().profile;
    let features: Vec<_> = snapshot
        .extensions
        .iter()
        .filter(|extension| extension.enabled)
        .map(|extension| json!({"id": extension.id, "name": extension.name, "version": extension.version, "paths": extension.routes.iter().flat_map(|route| &route.prefixes).collect::<Vec<_>>()}))
        .collect();
    Json(json!({
        "name": profile.site.name,
        "version": env!("CARGO_PKG_VERSION"),
        "base_url": profile.server.api_external_url,
        "endpoints": {
            "health": "/api/v1/health",
            "health_detail": "/api/v1/health/detail",
            "metrics": "/metrics",
            "jwks": "/.well-known/jwks.json",
        },
        "features": features,
    }))
    .into_response()
}

/// Whether a request comes from this machine, was not handed on by a proxy on it, and not made by a page that a browser on
/// it shows: such a page has an origin, or has come by a name of its own that resolves to this machine (DNS rebinding).
fn is_local(request: &Request) -> bool {
    let headers = request.headers();
    let peer = request.extensions().get::<Peer>().map(|Peer(address)| address.ip().to_canonical());
    peer.is_some_and(|ip| ip.is_loopback())
        && !handed_on(headers)
        && !headers.contains_key(ORIGIN)
        && asked_host(request).is_some_and(is_loopback_name)
}

/// The host a request is for: `Host`, or `:authority` of HTTP/2.
fn asked_host(request: &Request) -> Option<Authority> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (request.uri().authority(), hosts.next(), hosts.next()) {
        (Some(authority), None, None) => Some(authority.clone()),
        (None, Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        // Both are allowed if they agree (RFC 9113 §8.3.1).
        (Some(authority), Some(host), None) => {
            Authority::try_from(host.as_bytes()).ok().filter(|host| host == authority)
        }
        _ => None,
    }
}

fn is_loopback_name(authority: Authority) -> bool {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

impl Site {
    async fn database_answers(&self) -> bool {
        let mut asked = self.asked.lock().await;
        if let Some((at, answered)) = *asked
            && at.elapsed() < BELIEVED
        {
            return answered;
        }
        let answers = self.ask_database().await;
        *asked = Some((Instant::now(), answers));
        answers
    }

    async fn ask_database(&self) -> bool {
        let db = self.ctx.db();
        let both = async {
            sqlx::query("SELECT 1").execute(db.read()).await?;
            if db.is_split() {
                sqlx::query("SELECT 1").execute(db.write()).await?;
            }
            Ok::<_, sqlx::Error>(())
        };
        matches!(tokio::time::timeout(DATABASE_LIMIT, both).await, Ok(Ok(())))
    }

    async fn require_user(&self, headers: &HeaderMap) -> Result<Arc<Principal>, Problem> {
        self.authenticator.authenticate(headers).await.map_err(|error| {
            let code = match error {
                AuthError::Unavailable => ErrorCode::ServiceUnavailable,
                AuthError::Missing | AuthError::Invalid => ErrorCode::Unauthorized,
            };
            Problem::new(code, error.to_string(), self.ctx.ambient())
        })
    }

    async fn require_admin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let principal = self.require_user(headers).await?;
        if principal.is_admin() {
            return Ok(());
        }
        Err(Problem::new(ErrorCode::Forbidden, "This needs an administrator.", self.ctx.ambient()))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn local_is_who_asks_this_machine_by_its_name_from_this_machine() {
        let here = "127.0.0.1";
        for (peer, uri, headers, expected) in [
            (here, "/metrics", &[("host", "localhost:8080")][..], true),
            (here, "/metrics", &[("host", "127.0.0.1")], true),
            ("::1", "/metrics", &[("host", "[::1]:8080")], true),
            ("::ffff:127.0.0.1", "/metrics", &[("host", "LOCALHOST")], true),
            (here, "http://localhost:8080/metrics", &[], true),
            (here, "http://localhost/metrics", &[("host", "localhost")], true),
            (here, "http://localhost/metrics", &[("host", "example.com")], false),
            (here, "http://example.com/metrics", &[("host", "localhost")], false),
            ("192.0.2.1", "/metrics", &[("host", "localhost")], false),
            (here, "/metrics", &[], false),
            (here, "/metrics", &[("host", "localhost"), ("host", "localhost")], false),
            (here, "/metrics", &[("host", "rebound.example.com")], false),
            (here, "/metrics", &[("host", "localhost.example.com")], false),
            (here, "/metrics", &[("host", "192.0.2.1")], false),
            (here, "/metrics", &[("host", "localhost"), ("origin", "http://localhost:3000")], false),
            (here, "/metrics", &[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")], false),
            (here, "/metrics", &[("host", "localhost"), ("forwarded", "for=192.0.2.1")], false),
            (here, "/metrics", &[("host", "localhost"), ("x-real-ip", "192.0.2.1")], false),
            (here, "/metrics", &[("host", "localhost"), ("fly-client-ip", "192.0.2.1")], false),
            (here, "/metrics", &[("host", "localhost"), ("cf-connecting-ip", "192.0.2.1")], false),
            (here, "/metrics", &[("host", "localhost"), ("via", "1.1 proxy")], false),
        ] {
            let mut request = Request::get(uri).body(Body::empty()).expect("a request");
            for (name, value) in headers {
                request.headers_mut().append(*name, HeaderValue::from_static(value));
            }
            let peer: IpAddr = peer.parse().expect("an address");
            request.extensions_mut().insert(Peer((peer, 4711).into()));
            assert_eq!(is_local(&request), expected, "{peer} {uri} {headers:?}");
        }
    }
}
