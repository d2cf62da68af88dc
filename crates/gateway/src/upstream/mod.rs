//! Transport: bytes go to a provider, its answer comes back. Nothing here knows of permits or records.
//!
//! [`Upstreams::send`] makes one attempt. Whether to make another is the caller's decision; it goes by what a
//! [`SendError`] says for certain, and the only certainty that allows it is [`SendError::NeverRead`].

mod body;
mod connect;
mod decode;
mod demo;
mod error;
mod events;
mod fetch;
mod outgoing;
mod resolver;
mod watched;
mod webhooks;

use std::collections::{BTreeSet, HashMap};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use systemprompt_llm::cloud_error;
use systemprompt_model::{Ambient, Shortage, with_causes};

use body::FromProvider;
pub(crate) use body::UpstreamBody;
use connect::{Connector, connector};
use decode::Decoded;
use error::BodyError;
pub use error::SendError;
use events::Framed;
pub(crate) use fetch::Fetcher;
use outgoing::Outgoing;
pub(crate) use outgoing::Taken;
use watched::Watch;
pub(crate) use webhooks::Webhooks;

use crate::config::{ProviderWire, Timeouts};
use crate::packing::Packing;
use crate::routing::Provider;
use crate::target::Target;

const HTTP2_PING: Duration = Duration::from_secs(20);
const HTTP2_PONG: Duration = Duration::from_secs(10);

/// The clients of all providers.
pub(crate) struct Upstreams {
    clients: HashMap<Arc<str>, Clients>,
    ambient: Ambient,
}

#[derive(Clone)]
struct Clients {
    pooled: Client<Connector, Outgoing>,
    /// Opens a connection for each request.
    fresh: Client<Connector, Outgoing>,
    /// How long connecting may take, and keeping a connection.
    limits: (Duration, Duration),
}

/// What AWS calls its streams of frames.
const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";
/// An error of a cloud is read up to this size, and for so long.
const CLOUD_ERROR_LIMIT: usize = 64 * 1024;
const CLOUD_ERROR_TIME: Duration = Duration::from_secs(10);

/// Which connection an attempt is made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// An idle one if there is one.
    Pooled,
    /// A new one.
    Fresh,
}

impl Upstreams {
    /// Clients for all HTTP providers. `trusted` hosts may have private addresses. Those of `before` are kept, with their
    /// connections, where they have the same limits.
    pub(crate) fn new(
        providers: &[Arc<Provider>],
        trusted: &BTreeSet<String>,
        ambient: Ambient,
        before: Option<&Self>,
    ) -> Result<Self, std::io::Error> {
        let trusted = Arc::new(trusted.clone());
        let clients = providers
            .iter()
            .filter(|provider| provider.wire != ProviderWire::Demo)
            .map(|provider| {
                let Timeouts { connect, pool_idle, .. } = provider.timeouts;
                let kept = before.and_then(|before| before.clients.get(&provider.name));
                if let Some(kept) = kept.filter(|kept| kept.limits == (connect, pool_idle)) {
                    return Ok((provider.name.clone(), kept.clone()));
                }
                let connector = connector(trusted.clone(), connect, pool_idle)?;
                Ok((provider.name.clone(), Clients::new(&connector)))
            })
            .collect::<Result<_, std::io::Error>>()?;
        Ok(Self { clients, ambient })
    }

    /// Sends `content` to `target` once and waits for the head of the answer, at most `limit` long. `taken` says from when
    /// on the provider may have it.
    pub(crate) async fn send(
        &self,
        target: &Target,
        content: Bytes,
        line: Line,
        limit: Duration,
        taken: Taken,
    ) -> Result<Response<UpstreamBody>, SendError> {
        let Some(clients) = self.clients.get(&target.provider.name) else {
            taken.take();
            return demo::answer(target, content, &self.ambient);
        };
        let request = Request::post(&target.uri).body(());
        let request = request.map_err(|_| SendError::Broken("has an endpoint that is not a URI"))?;
        let (mut head, ()) = request.into_parts();
        head.headers.clone_from(&target.headers);
        let client = match line {
            Line::Pooled => &clients.pooled,
            Line::Fresh => &clients.fresh,
        };
        let answering = async {
            let mut shown = None;
            if let Some(credential) = &target.credential {
                let showing = credential.show(&mut head, &content).await.map_err(|error| SendError::NoCredential {
                    provider: target.provider.name.to_string(),
                    reason: error.to_string(),
                })?;
                shown = showing.map(|shown| (credential, shown));
            }
            let request = Request::from_parts(head, Outgoing::new(content, taken.clone()));
            let response = client.request(request).await.map_err(|error| classify(&error, &taken))?;
            let (mut head, body) = unpacked(response).into_parts();
            if let Some(again) = shown.and_then(|(credential, shown)| credential.note(shown, &head)) {
                head.extensions.insert(again);
            }
            Ok(in_own_words(Response::from_parts(head, body), target).await)
        };
        tokio::time::timeout(limit, answering).await.unwrap_or(Err(SendError::TimedOut(limit)))
    }
}

impl Clients {
    fn new(connector: &Connector) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(connector.idle)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            // Every attempt is ours, so that it is recorded.
            .retry_canceled_requests(false)
            // A connection that died silently would stall every call on it.
            .http2_keep_alive_interval(HTTP2_PING)
            .http2_keep_alive_timeout(HTTP2_PONG);
        let pooled = builder.build(connector.clone());
        let fresh = builder.pool_max_idle_per_host(0).build(connector.clone());
        Self { pooled, fresh, limits: (connector.limit, connector.idle) }
    }
}

/// The answer as if it had not been compressed. It is asked not to be, and some providers do it all the same.
fn unpacked(response: Response<Incoming>) -> Response<UpstreamBody> {
    let watch = response.extensions().get::<Arc<Watch>>();
    let busy = watch.map(|watch| watch.answers(response.headers()));
    let (mut head, body) = response.into_parts();
    let body = FromProvider::new(body, busy);
    let body = match Packing::of(&head.headers) {
        Ok(None) => UpstreamBody::Http(body),
        Ok(Some(packing)) => {
            decode::strip(&mut head.headers);
            UpstreamBody::Decoded(Box::new(Decoded::new(body, packing)))
        }
        // Some servers have other words there than an encoding.
        Err(_) => {
            decode::strip(&mut head.headers);
            UpstreamBody::Decoded(Box::new(Decoded::unknown(body)))
        }
    };
    Response::from_parts(head, body)
}

/// The answer in the format of its provider, where a cloud puts it into an envelope of its own: the frames of its streams
/// become server-sent events, and its errors those of the format.
async fn in_own_words(response: Response<UpstreamBody>, target: &Target) -> Response<UpstreamBody> {
    let wire = target.provider.wire;
    if !(wire.is_bedrock() || wire.is_vertex()) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    if !head.status.is_success() {
        let mut said = Vec::new();
        // Of one that breaks off, what came is worth more than that it did.
        let _ = collect(body, CLOUD_ERROR_LIMIT, CLOUD_ERROR_TIME, |piece| said.extend_from_slice(piece)).await;
        let said = cloud_error(target.format, head.status.as_u16(), &said).unwrap_or(said);
        head.headers.remove(CONTENT_LENGTH);
        return Response::from_parts(
            head,
            UpstreamBody::Peeked([Ok(said.into())].into(), Box::new(UpstreamBody::Empty)),
        );
    }
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if wire.is_bedrock() && kind.starts_with(EVENT_STREAM) {
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        let body = UpstreamBody::Framed(Box::new(Framed::new(body, target.format)));
        return Response::from_parts(head, body);
    }
    Response::from_parts(head, body)
}

/// A body was longer than allowed.
pub(crate) const TOO_LARGE: SendError = SendError::Broken("sent an answer that is too large");

/// All of a body of at most `limit` bytes, within `time`. `on_piece` sees each piece as it comes, so that it is known what
/// there was of a body that never came to its end.
pub(crate) async fn collect(
    mut body: UpstreamBody,
    limit: usize,
    time: Duration,
    mut on_piece: impl FnMut(&[u8]),
) -> Result<Bytes, SendError> {
    let whole = async {
        // Most answers come in one piece, which is then used as it is.
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken_off(&error))?;
            let Ok(piece) = frame.into_data() else { continue };
            on_piece(&piece);
            if first.len().max(all.len()) + piece.len() > limit {
                return Err(TOO_LARGE);
            }
            if first.is_empty() {
                first = piece;
                continue;
            }
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&piece);
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    };
    tokio::time::timeout(time, whole).await.unwrap_or(Err(SendError::TimedOut(time)))
}

/// What is told of an answer that broke off; the operator's log has the details.
pub(crate) fn broken_off(error: &BodyError) -> SendError {
    tracing::debug!(error = %with_causes(error), "the provider's answer broke off");
    match error {
        BodyError::Connection(_) => SendError::Broken("broke off its answer"),
        BodyError::Frames(_) => SendError::Broken("sent a damaged stream"),
        BodyError::Encoding(_) => SendError::Broken("sent an answer that cannot be unpacked"),
    }
}

/// The id under which the provider knows the request.
pub(crate) fn provider_request_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    ["request-id", "x-request-id", "x-amzn-requestid", "apim-request-id"].iter().find_map(|name| headers.get(*name))
}

fn classify(error: &Error, taken: &Taken) -> SendError {
    // The chain says which address or certificate failed: for the operator's log, not for the caller.
    let chain = with_causes(error);
    if never_read(error, taken) {
        tracing::debug!(error = %chain, "the provider did not read the request");
        return SendError::NeverRead;
    }
    if error.is_connect()
        && let Some(shortage) = Shortage::behind(error)
    {
        tracing::warn!(error = %chain, "the provider was not called: this server {shortage}");
        return SendError::Shortage(shortage);
    }
    tracing::warn!(error = %chain, "the call to the provider failed");
    if error.is_connect() {
        SendError::Unreachable
    } else {
        SendError::Broken("closed the connection without an answer")
    }
}

/// Whether nobody can have read the request: the connection had served before, and it was closed before the request was
/// written, or before all of it arrived. What is certain of the latter is in [`watched`]. Over HTTP/2 the provider can say so.
fn never_read(error: &Error, taken: &Taken) -> bool {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    if causes.filter_map(|cause| cause.downcast_ref::<h2::Error>()).any(not_processed) {
        return true;
    }
    let Some(connected) = error.connect_info() else { return false };
    let mut extras = http::Extensions::new();
    connected.get_extras(&mut extras);
    extras
        .get::<Arc<Watch>>()
        .is_some_and(|watch| watch.has_served() && (!taken.is_taken() || watch.was_closed_before()))
}

/// Whether an error says that the provider did not process the request and never will (RFC 9113 §8.7): it refused the
/// stream, or it said goodbye and named an earlier stream as its last. Of a goodbye with a fault all streams are told, those
/// that it did process too.
fn not_processed(error: &h2::Error) -> bool {
    error.is_remote()
        && match error.reason() {
            Some(Reason::REFUSED_STREAM) => error.is_reset(),
            Some(Reason::NO_ERROR) => error.is_go_away(),
            _ => false,
        }
}

#[cfg(test)]
mod tests;
