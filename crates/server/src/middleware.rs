//! What happens to every request, outermost first. The order is the design, so it is all here.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::Method;
use http::header::{
    CONNECTION, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY, RETRY_AFTER,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use systemprompt_extension::api::{ErrorAnswer, name_request};
use systemprompt_extension::{
    AddressBans, Arrival, Ban, ClientIp, CredentialsRefused, Guard, RateLimiter, RefusedBecause,
};
use systemprompt_model::{Ambient, ErrorCode, TraceId};
use tower::layer::layer_fn;
use tower::{Layer as _, Service};
use tower_http::cors::{self, AllowOrigin, CorsLayer};
use tracing::Instrument;
use tracing::field::Empty;

use crate::authorization::TooManyFromAddress;
use crate::framing::Malformed;
use crate::listener::Peer;
use crate::logs::cut;
use crate::metrics::{HttpMetrics, InFlight};
use crate::pace::Unread;
use crate::proxies::Proxies;
use crate::unread_body::{self, KeptBody};

/// Header under which every answer names its trace.
pub(crate) const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// What a page from another origin may read of an answer besides its body (Fetch standard §3.3.2).
const EXPOSED: [HeaderName; 17] = [
    TRACE_ID,
    systemprompt_extension::REQUEST_ID,
    // The same, where the SDKs of model vendors look for it.
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-gateway-request-id"),
    HeaderName::from_static("x-upstream-request-id"),
    RETRY_AFTER,
    HeaderName::from_static("retry-after-ms"),
    systemprompt_extension::api::SHOULD_RETRY,
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("x-rate-limit-tier"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    BLOCKED_REASON,
    HeaderName::from_static("x-session-id"),
];

/// The longest path in a log line, in bytes. Whoever asks chooses it, and up to 64 KiB may be asked for.
const LOGGED_PATH: usize = 256;

/// What the middleware needs.
pub(crate) struct Observer {
    pub(crate) ambient: Ambient,
    pub(crate) metrics: HttpMetrics,
    pub(crate) security_headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) proxies: Proxies,
    /// Says who may reach what.
    pub(crate) guard: Arc<dyn Guard>,
    /// `None` when requests are not limited.
    pub(crate) limiter: Option<Arc<dyn RateLimiter>>,
    /// Which addresses are shut out, if a feature knows.
    pub(crate) bans: Option<AddressBans>,
    pub(crate) refused: CredentialsRefused,
}

/// Wraps the finished router.
pub(crate) fn wrap(router: Router, observer: Arc<Observer>, origins: &[String]) -> Router {
    let allowed: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(allowed))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .allow_credentials(true)
        // `Observed` says that of every answer, whoever asked.
        .vary([]);
    let cors = (!origins.is_empty()).then(|| Arc::new(cors));
    // axum runs the layer added last first, so this list reads from the inside out.
    let router = router.layer(layer_fn(move |inner| CrossOrigin { inner, cors: cors.clone() }));
    // Outermost: what it times is what the caller waits for, and nothing is answered without a trace id.
    let by_origin = !origins.is_empty();
    router.layer(layer_fn(move |inner| Observed { inner, observer: observer.clone(), by_origin }))
}

/// What of a request its answer goes by where pages from other origins may ask.
const BY_ORIGIN: HeaderValue =
    HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");

/// A router that pages from other origins may ask. Most requests are none of a page's, and for those nothing is copied.
#[derive(Clone)]
struct CrossOrigin<S> {
    inner: S,
    /// `None` when pages from other origins may not.
    cors: Option<Arc<CorsLayer>>,
}

impl<S> Service<Request> for CrossOrigin<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<cors::ResponseFuture<S::Future>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let is_asked = || request.headers().contains_key(ORIGIN) || request.method() == Method::OPTIONS;
        match &self.cors {
            Some(cors) if is_asked() => Either::Left(cors.layer(self.inner.clone()).call(request)),
            _ => Either::Right(self.inner.call(request)),
        }
    }
}

/// A router of whose requests each is [seen](Seen).
#[derive(Clone)]
struct Observed<S> {
    inner: S,
    observer: Arc<Observer>,
    /// Whether the origin of a request is part of what its answer goes by.
    by_origin: bool,
}

impl<S> Service<Request> for Observed<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (mut seen, request) = Seen::of(&self.observer, request);
        let answering = match seen.turn_away(&self.observer, &request) {
            Some(answer) => Either::Left(std::future::ready(Ok(answer))),
            None => Either::Right(self.inner.call(request)),
        };
        let (observer, by_origin) = (self.observer.clone(), self.by_origin);
        Box::pin(async move {
            let answering = AssertUnwindSafe(answering).catch_unwind().instrument(seen.span.clone());
            // A panic must not take the connection down, and is counted and logged as what it is for the caller.
            let answer = answering.await.unwrap_or_else(|_| Ok(gone_wrong()));
            let Ok(mut response) = answer;
            if by_origin {
                response.headers_mut().append(VARY, BY_ORIGIN);
            }
            Ok(seen.end(&observer, response).await)
        })
    }
}

/// Why an address is shut out.
const BLOCKED_REASON: HeaderName = HeaderName::from_static("x-blocked-reason");

/// The answer to an address that is shut out.
fn shut_out(ban: Ban) -> Response {
    if ban == Ban::Unknown {
        return ErrorAnswer::new(ErrorCode::ServiceUnavailable, "it cannot be checked who may ask").into_response();
    }
    let mut answer = ErrorAnswer::new(ErrorCode::Forbidden, "Access denied").into_response();
    answer.headers_mut().insert(BLOCKED_REASON, HeaderValue::from_static("ip-banned"));
    answer
}

/// The answer to a request that cannot be told from the next one on its connection, which therefore ends.
fn malformed(Malformed { status, message }: Malformed) -> Response {
    let mut answer = ErrorAnswer::new(ErrorCode::BadRequest, message).into_response();
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn gone_wrong() -> Response {
    let message = "Something went wrong on our side. The trace id helps to find out what.";
    ErrorAnswer::new(ErrorCode::InternalError, message).into_response()
}

/// A request that was seen, until it is answered.
struct Seen {
    started: Instant,
    trace: TraceId,
    client: Option<ClientIp>,
    method: Method,
    path: String,
    /// The pattern of the route, not the path: what a caller writes there must not become a new time series.
    pattern: Arc<str>,
    span: tracing::Span,
    body: Option<KeptBody>,
    /// It is not worth a line: who is shut out must not fill the log.
    quiet: bool,
    _in_flight: InFlight,
}

impl Seen {
    /// Gives the request a trace id and its client's address, and counts it, for its address too.
    fn of(observer: &Observer, mut request: Request) -> (Self, Request) {
        let started = Instant::now();
        let trace = TraceId::generate(&observer.ambient);
        let extensions = request.extensions_mut();
        extensions.insert(trace);
        extensions.insert(Arrival(started));
        extensions.insert(observer.guard.clone());
        let peer = extensions.get::<Peer>().copied();
        let pattern = extensions.get::<MatchedPath>().map_or("unmatched".into(), |matched| matched.as_str().into());
        let client = peer.map(|Peer(address)| observer.proxies.client(address.ip(), request.headers()));
        if let Some(client) = client {
            request.extensions_mut().insert(client);
        }
        if let Some(limiter) = &observer.limiter {
            // Only a request that came through no socket has no address.
            let client = client.unwrap_or_else(|| ClientIp::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
            if let Err(limited) = limiter.guard(client) {
                request.extensions_mut().insert(TooManyFromAddress(limited));
            }
        }
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        // Who asks, and for what, is known later, and recorded by whoever finds out.
        let span = tracing::info_span!(
            "request", trace_id = %trace, user_id = Empty, key_id = Empty, session_id = Empty, request_id = Empty
        );
        let (request, body) = unread_body::hand_over(request);
        let in_flight = observer.metrics.begin();
        (
            Self { started, trace, client, method, path, pattern, span, body, quiet: false, _in_flight: in_flight },
            request,
        )
    }

    /// The answer to a request that goes no further, whatever it asks for.
    fn turn_away(&mut self, observer: &Observer, request: &Request) -> Option<Response> {
        let wrong = request.extensions().get::<Malformed>().copied();
        if wrong.is_some() {
            // Where its body ends is what is not known, whoever sends it.
            self.body = None;
            if let Some(unread) = request.extensions().get::<Unread>() {
                unread.set();
            }
        }
        let ban = self.client.zip(observer.bans.as_ref()).map_or(Ban::Free, |(client, bans)| bans.ban_of(client));
        if ban == Ban::Free {
            return wrong.map(malformed);
        }
        self.quiet = true;
        observer.refused.count(RefusedBecause::Banned);
        let mut answer = shut_out(ban);
        if wrong.is_some() {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Some(answer)
    }

    /// Completes the answer, and counts and logs how it ended.
    async fn end(self, observer: &Observer, mut response: Response) -> Response {
        let Self { started, trace, client, method, path, pattern, span, body, quiet, _in_flight } = self;
        unread_body::settle(body, &mut response).await;
        name_request(&mut response, &path, trace, observer.ambient.now());
        let status = response.status();
        let headers = response.headers_mut();
        headers.entry(TRACE_ID).or_insert_with(|| trace.to_string().try_into().expect("an id is ASCII"));
        for (name, value) in &observer.security_headers {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        let elapsed = started.elapsed();
        observer.metrics.finish(&method, &pattern, status, elapsed);
        let duration_ms = elapsed.as_secs_f64() * 1000.0;
        let client_ip = client.map(tracing::field::display);
        let path = cut(&path, LOGGED_PATH);
        let _entered = span.enter();
        // Governed requests have their ledger row; the rest is worth a line. Server errors ask for someone to look.
        if status.is_server_error() && !quiet {
            tracing::warn!(kind = "access_log", %method, %path, status = status.as_u16(), duration_ms, client_ip, "request failed");
        } else if status.is_client_error() && !quiet {
            tracing::info!(kind = "access_log", %method, %path, status = status.as_u16(), duration_ms, client_ip, "request refused");
        } else {
            tracing::debug!(kind = "access_log", %method, %path, status = status.as_u16(), duration_ms, client_ip, "request served");
        }
        response
    }
}

/// The headers of `server.security_headers`. HSTS is only for installations reached over HTTPS.
pub(crate) fn security_headers(profile: &systemprompt_config::Profile) -> Vec<(HeaderName, HeaderValue)> {
    let configured = &profile.server.security_headers;
    if !configured.enabled {
        return Vec::new();
    }
    let https = profile.server.is_https();
    [
        (X_CONTENT_TYPE_OPTIONS, Some(configured.content_type_options.as_str())),
        (X_FRAME_OPTIONS, Some(configured.frame_options.as_str())),
        (REFERRER_POLICY, Some(configured.referrer_policy.as_str())),
        (HeaderName::from_static("permissions-policy"), Some(configured.permissions_policy.as_str())),
        (CONTENT_SECURITY_POLICY, configured.content_security_policy.as_deref()),
        (STRICT_TRANSPORT_SECURITY, Some(configured.hsts.as_str()).filter(|_| https)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, HeaderValue::from_str(value?).ok()?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http::header::ACCESS_CONTROL_EXPOSE_HEADERS;
    use systemprompt_extension::{Access, Metrics, Rejection};
    use tower::ServiceExt as _;

    use super::*;

    struct Everybody;

    #[async_trait::async_trait]
    impl Guard for Everybody {
        async fn check(&self, _: Access, _: &mut Request) -> Result<(), Rejection> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn pages_may_read_what_an_answer_says_about_itself() {
        let observer = Observer {
            ambient: Ambient::system(),
            metrics: HttpMetrics::new(&Metrics::new()),
            security_headers: Vec::new(),
            proxies: Proxies::default(),
            guard: Arc::new(Everybody),
            limiter: None,
            bans: None,
            refused: CredentialsRefused::default(),
        };
        let router = Router::new().route("/", get(async || "hello"));
        let router = wrap(router, Arc::new(observer), &["https://example.com".to_owned()]);
        let request = Request::get("/").header(ORIGIN, "https://example.com").body(Body::empty()).expect("a request");
        let answer = router.oneshot(request).await.expect("never fails");
        let exposed = answer.headers()[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().expect("text").to_owned();
        for name in [
            "x-trace-id",
            "x-systemprompt-request-id",
            "request-id",
            "x-should-retry",
            "retry-after",
            "x-ratelimit-remaining",
        ] {
            assert!(exposed.split(',').any(|exposed| exposed == name), "{exposed}");
        }
    }
}
