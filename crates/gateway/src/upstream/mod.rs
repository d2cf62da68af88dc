//! The effect: a permitted request is sent to its provider, and what comes back is recorded under the permit.
//!
//! [`Upstreams::send`] takes the [`Permit`] by value and sends the permit's own content, so the bytes that leave are the
//! bytes that were scanned. From then on the [`Recording`] owns the permit, and whichever way the call ends, the ledger
//! gets one outcome.

mod body;
mod connect;
pub(crate) mod resolver;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use systemprompt_governance::Permit;
use systemprompt_llm::demo::DemoEvent;
use systemprompt_llm::{Format, InferenceRequest, demo};
use systemprompt_model::Ambient;

pub(crate) use body::UpstreamBody;
use connect::Bounded;
use resolver::GuardedResolver;

use crate::config::ProviderWire;
use crate::recording::{End, Recording, Subject};
use crate::routing::Provider;

/// An error answer of a provider is relayed up to this size.
const ERROR_BODY_LIMIT: usize = 1024 * 1024;
/// A buffered answer may have this size; beyond it the call fails instead of filling our memory.
const BUFFERED_ANSWER_LIMIT: usize = 32 * 1024 * 1024;
/// An idle connection to a provider is kept this long.
const POOL_IDLE: Duration = Duration::from_secs(90);
const HTTP2_PING: Duration = Duration::from_secs(20);
const HTTP2_PONG: Duration = Duration::from_secs(10);

/// What of a provider's headers the caller gets: what the body is, and what SDKs go by when they try again. Limits and
/// organisation ids of our account with the provider are not the caller's business.
const RELAYED_HEADERS: [HeaderName; 4] =
    [CONTENT_TYPE, RETRY_AFTER, HeaderName::from_static("retry-after-ms"), HeaderName::from_static("x-should-retry")];

type PooledClient = Client<Bounded<HttpsConnector<HttpConnector<GuardedResolver>>>, Full<Bytes>>;

/// One pooled client per provider.
pub struct Upstreams {
    clients: HashMap<String, PooledClient>,
    ambient: Ambient,
}

/// A request ready to be sent: everything but its bytes, which the permit holds.
pub(crate) struct Order<'a> {
    pub(crate) request: &'a InferenceRequest,
    pub(crate) provider: Arc<Provider>,
    pub(crate) headers: HeaderMap,
    pub(crate) subject: Subject,
}

/// A provider's answer. Error answers are answers too: the caller gets to see them.
pub(crate) enum Answer {
    /// The whole answer, already recorded.
    Whole { status: StatusCode, headers: HeaderMap, body: Bytes },
    /// A stream whose head arrived; relaying it records it.
    Stream { headers: HeaderMap, body: UpstreamBody, recording: Box<Recording> },
}

/// Why there is no answer to relay. The outcome is already recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// No connection.
    #[error("upstream provider unreachable")]
    Unreachable,
    /// A time limit passed.
    #[error("the upstream provider did not answer within {0:?}")]
    TimedOut(Duration),
    /// The provider broke off or sent what is no answer.
    #[error("the upstream provider {0}")]
    Broken(&'static str),
    /// The provider refused without a body.
    #[error("the upstream provider answered {0} without a body")]
    Refused(StatusCode, Option<HeaderValue>),
}

impl Upstreams {
    /// Clients for all HTTP providers. `trusted` hosts may have private addresses.
    pub fn new(
        providers: &[Arc<Provider>],
        trusted: &BTreeSet<String>,
        ambient: Ambient,
    ) -> Result<Self, std::io::Error> {
        let trusted = Arc::new(trusted.clone());
        let crypto = rustls::crypto::aws_lc_rs::default_provider();
        let clients = providers
            .iter()
            .filter(|provider| provider.wire != ProviderWire::Demo)
            .map(|provider| {
                let mut tcp = HttpConnector::new_with_resolver(GuardedResolver::new(trusted.clone()));
                tcp.set_nodelay(true);
                tcp.set_keepalive(Some(Duration::from_mins(1)));
                tcp.enforce_http(false);
                // Company certificate authorities are in the system's store; a bare container has none, there the
                // bundled roots serve.
                let tls = match HttpsConnectorBuilder::new().with_provider_and_native_roots(crypto.clone()) {
                    Ok(builder) => builder,
                    Err(_) => HttpsConnectorBuilder::new()
                        .with_provider_and_webpki_roots(crypto.clone())
                        .map_err(std::io::Error::other)?,
                };
                let connector = tls.https_or_http().enable_http1().enable_http2().wrap_connector(tcp);
                let client = Client::builder(TokioExecutor::new())
                    .pool_idle_timeout(POOL_IDLE)
                    .pool_timer(TokioTimer::new())
                    .timer(TokioTimer::new())
                    // A connection that died silently would stall every call on it.
                    .http2_keep_alive_interval(HTTP2_PING)
                    .http2_keep_alive_timeout(HTTP2_PONG)
                    .build(Bounded { inner: connector, limit: provider.timeouts.connect });
                Ok((provider.name.clone(), client))
            })
            .collect::<Result<_, std::io::Error>>()?;
        Ok(Self { clients, ambient })
    }

    /// Sends what the permit allows and waits for the head of the answer (of a buffered answer: for all of it).
    pub(crate) async fn send(&self, permit: Permit, order: Order<'_>) -> Result<Answer, SendError> {
        let content = permit.content().clone();
        let limits = order.provider.timeouts;
        let streamed = order.request.stream;
        // Created before the first await: if the caller goes away now, that is what gets recorded.
        let mut recording = Recording::new(permit, order.subject);
        let call = async {
            let response = match self.clients.get(&order.provider.name) {
                Some(client) => {
                    let mut request = Request::post(upstream_uri(&order.provider))
                        .body(Full::new(content))
                        .map_err(|_| SendError::Broken("has an endpoint that is not a URI"))?;
                    *request.headers_mut() = order.headers;
                    let (head, body) = client.request(request).await.map_err(|error| classify(&error))?.into_parts();
                    http::Response::from_parts(head, UpstreamBody::Http(body))
                }
                None => demo_answer(order.request, &self.ambient),
            };
            Ok(response)
        };
        let head_limit = if streamed { limits.first_byte.min(limits.total) } else { limits.total };
        let outcome = tokio::time::timeout(head_limit, call).await;
        let response = match outcome.unwrap_or(Err(SendError::TimedOut(head_limit))) {
            Ok(response) => response,
            Err(error) => {
                recording.finish(End::Failed(error.to_string()));
                return Err(error);
            }
        };
        let (head, body) = response.into_parts();
        recording.head_arrived(&head);
        let mut headers = HeaderMap::new();
        for (name, value) in RELAYED_HEADERS.iter().filter_map(|name| Some((name, head.headers.get(name)?))) {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(id) = upstream_request_id(&head.headers) {
            headers.insert(crate::headers::UPSTREAM_REQUEST_ID, id.clone());
        }
        let is_event_stream =
            head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
        if head.status.is_success() && is_event_stream {
            return Ok(Answer::Stream { headers, body, recording: Box::new(recording) });
        }
        let limit = if head.status.is_success() { BUFFERED_ANSWER_LIMIT } else { ERROR_BODY_LIMIT };
        let collected =
            tokio::time::timeout(limits.total.saturating_sub(recording.elapsed()), Limited::new(body, limit).collect());
        let body = match collected.await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => {
                let broken = if error.is::<http_body_util::LengthLimitError>() {
                    "sent an answer that is too large"
                } else {
                    "broke off its answer"
                };
                recording.finish(End::Failed(format!("the upstream provider {broken}")));
                return Err(SendError::Broken(broken));
            }
            Err(_) => {
                let error = SendError::TimedOut(limits.total);
                recording.finish(End::Failed(error.to_string()));
                return Err(error);
            }
        };
        recording.feed(&body);
        if head.status.is_success() {
            if !recording.finish_answer() {
                return Err(SendError::Broken("sent an answer that is not a message"));
            }
            return Ok(Answer::Whole { status: head.status, headers, body });
        }
        recording.finish(End::Failed(format!("upstream status {}", head.status.as_u16())));
        // A redirect is not followed, and not shown: where it leads is none of the caller's business.
        if body.is_empty() || !(head.status.is_client_error() || head.status.is_server_error()) {
            return Err(SendError::Refused(head.status, head.headers.get(RETRY_AFTER).cloned()));
        }
        Ok(Answer::Whole { status: head.status, headers, body })
    }
}

fn upstream_uri(provider: &Provider) -> String {
    // The demo model is inside the server and has no URI; it gets none that leads anywhere.
    let path = provider.wire.format().map_or("", Format::path);
    format!("{}{path}", provider.endpoint)
}

/// The id under which the provider knows the request.
pub(crate) fn upstream_request_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    ["request-id", "x-request-id"].iter().find_map(|name| headers.get(*name))
}

fn classify(error: &hyper_util::client::legacy::Error) -> SendError {
    // The chain says which address or certificate failed: for the operator's log, not for the caller.
    let mut chain = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        chain = format!("{chain}: {cause}");
        source = cause.source();
    }
    tracing::warn!(error = %chain, "the call to the provider failed");
    if error.is_connect() {
        SendError::Unreachable
    } else {
        SendError::Broken("closed the connection without an answer")
    }
}

fn demo_answer(request: &InferenceRequest, ambient: &Ambient) -> http::Response<UpstreamBody> {
    let answer = demo::answer(request);
    let id = hex_id(ambient);
    let created = ambient.now().timestamp();
    let (content_type, events) = if request.stream {
        ("text/event-stream", answer.events(request.format, &id, created))
    } else {
        (
            "application/json",
            vec![DemoEvent { bytes: answer.buffered(request.format, &id, created).into(), delay_ms: 0 }],
        )
    };
    let mut response = http::Response::new(UpstreamBody::Demo(body::Paced::new(events)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let name = request.format.request_id_header();
    response.headers_mut().insert(name, HeaderValue::from_str(&format!("demo_{id}")).expect("hex digits are ASCII"));
    response
}

fn hex_id(ambient: &Ambient) -> String {
    hex::encode(ambient.bytes::<12>())
}
