//! Asking a model, from a parsed request to its answer. HTTP is one caller among others.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use systemprompt_governance::{Action, Gate};
use systemprompt_identity::Sessions;
use systemprompt_llm::InferenceRequest;
use systemprompt_model::{ActionId, Ambient, Attribution, EntityKind, Resource};
use tokio_util::sync::CancellationToken;

pub use crate::answer::{AnswerBody, Reply};
use crate::attempt::AttemptFailure;
use crate::collecting::Collecting;
use crate::failure::untranslatable;
pub use crate::failure::{Failure, FailureKind};
use crate::lane::{AnswerLane, Shape};
use crate::metrics::GatewayMetrics;
use crate::passage::WayBack;
use crate::recording::{End, Recording, Subject};
use crate::relay::Relay;
use crate::request::Infer;
use crate::routing::Way;
use crate::snapshot::GatewaySnapshot;
use crate::target::{Target, prepare};
pub use crate::upstream::SendError;
use crate::upstream::{self, Line, UpstreamBody, Upstreams};
use crate::waiting::Waiting;

/// The provider's own id of the request, on every answer that has one.
pub(crate) const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");

/// What of a provider's headers the caller gets: what the body is, and what SDKs go by when they try again. Limits and
/// organisation ids of our account with the provider are not the caller's business.
const RELAYED_HEADERS: [HeaderName; 4] =
    [CONTENT_TYPE, RETRY_AFTER, HeaderName::from_static("retry-after-ms"), HeaderName::from_static("x-should-retry")];

/// The service that asks models. One per server; agents, jobs and extensions take it from the server's services and ask
/// under the same rules, with the same records, as a client that comes by HTTP:
///
/// ```
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use systemprompt_gateway::inference::{Ask, Failure, Forwarded, Inference};
/// use systemprompt_llm::{Format, InferenceRequest};
/// use systemprompt_model::Attribution;
///
/// async fn summarise(inference: &Arc<Inference>, by: Attribution, body: Bytes) -> Result<Bytes, Failure> {
///     let request = InferenceRequest::parse(Format::AnthropicMessages, body).expect("a request we wrote ourselves");
///     let reply = inference.ask(Ask { by, request, forwarded: Forwarded::default() }).await?;
///     Ok(reply.whole().await)
/// }
/// ```
pub struct Inference {
    /// What the configuration in force makes of it; a reload puts another here.
    pub(crate) current: ArcSwap<GatewaySnapshot>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) metrics: Arc<GatewayMetrics>,
    pub(crate) ambient: Ambient,
    /// Cancelled when the time for draining streams is over.
    pub(crate) cut: CancellationToken,
}

/// A question to a model.
pub struct Ask {
    /// Who asks.
    pub by: Attribution,
    /// What is asked, in one of the dialects.
    pub request: InferenceRequest,
    /// What comes along with it.
    pub forwarded: Forwarded,
}

/// What comes along with a request besides its body. A caller inside the server usually has none of it.
#[derive(Debug, Clone, Default)]
pub struct Forwarded {
    /// The caller's headers. Only `anthropic-*` go on, and only to providers of that wire.
    pub headers: HeaderMap,
    /// The conversation, if the caller names one; otherwise it is derived from the request.
    pub conversation: Option<String>,
    /// Which of the caller's agents asks, by its own id.
    pub agent: Option<String>,
    /// Since when the caller waits; since now if absent.
    pub received: Option<Instant>,
}

impl Inference {
    /// Asks a model: finds the way, has the Gate judge exactly the bytes that will be sent, sends them and gives the
    /// answer as it comes. The ledger has the decision before anything is sent, and one outcome however the call ends.
    ///
    /// # Errors
    ///
    /// The Gate refused, or no usable answer came.
    pub async fn ask(self: &Arc<Self>, ask: Ask) -> Result<Reply, Failure> {
        // One configuration for all of the call, whatever is reloaded meanwhile.
        let snapshot = self.snapshot();
        let call = Box::pin(self.begin(&snapshot, &ask, UsageWish::AsTaken)).await?;
        let (id, is_stream) = (call.id, ask.request.stream);
        let dialect = (ask.request.format, ask.request.stream_usage_requested());
        let patience = call.target.provider.timeouts.head_patience;
        let inference = Arc::clone(self);
        let mut answering = Box::pin(async move {
            let refused = match call.answer().await? {
                Answered::Reply(reply) => return Ok(reply),
                Answered::UsageRefused(reply) => reply,
            };
            // A request of its own: what is sent now was not judged yet.
            match inference.begin(&snapshot, &ask, UsageWish::Refused).await {
                Ok(call) => Ok(call.answer().await.map_or(refused, Answered::reply)),
                Err(_) => Ok(refused),
            }
        });
        if !is_stream {
            return answering.await;
        }
        // The caller gets the status of the answer if it comes for as long as the caller has patience.
        if let Ok(reply) = tokio::time::timeout(patience, &mut answering).await {
            return reply;
        }
        let body = AnswerBody::stream(Waiting::new(answering, id, dialect, self.cut.clone().cancelled_owned()));
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))]);
        Ok(Reply { request: id, status: StatusCode::OK, headers, body })
    }

    /// What the configuration in force makes of the gateway.
    pub(crate) fn snapshot(&self) -> Arc<GatewaySnapshot> {
        self.current.load_full()
    }

    /// All that comes before the first byte is sent: the way, the bytes, the Gate's permit.
    async fn begin(&self, snapshot: &GatewaySnapshot, ask: &Ask, wish: UsageWish) -> Result<Call, Failure> {
        let Ask { by, request, forwarded } = ask;
        let id = ActionId::generate(&self.ambient);

        // Route.
        let way = match snapshot.table.resolve(request, forwarded.conversation.as_deref()) {
            Ok(way) => way,
            Err(no_route) => {
                let refusal = self.gate.refuse(self.action(id, ask, None, Bytes::new()), no_route.into()).await;
                return Err(Failure::new(id, refusal));
            }
        };

        // Prepare.
        let to = &way.first;
        let target = Target::new(to, request, &forwarded.headers, &snapshot.credentials);
        let created = self.ambient.now();
        let prepared = match prepare(request, to, wish == UsageWish::AsTaken, id, created.timestamp()) {
            Ok(prepared) => prepared,
            Err(error) => {
                let action = self.action(id, ask, Some((&way, &target)), Bytes::new());
                let refusal = self.gate.refuse(action, untranslatable(&error)).await;
                return Err(Failure::new(id, refusal));
            }
        };

        // Admit.
        let mut action = self.action(id, ask, Some((&way, &target)), prepared.bytes);
        action.effect.losses = prepared.losses;
        let permit = self.gate.admit(action).await.map_err(|refusal| Failure::new(id, refusal))?;

        // Begin. If the caller goes away from here on, that is what gets recorded.
        let (content, running) = permit.begin(&target.name).map_err(|error| Failure::new(id, error))?;
        let subject = Subject {
            dialect: request.format,
            format: prepared.back.provider(),
            provider: target.provider.name.clone(),
            model: to.metric_model(),
            pricing: to.pricing,
            estimated_input_tokens: request.estimated_input_tokens,
            choices: request.answers,
            received: forwarded.received.unwrap_or_else(Instant::now),
            metrics: self.metrics.clone(),
            sessions: self.sessions.clone(),
            session: by.session,
            inspection_limit: target.provider.timeouts.inspection,
        };
        let recording = Recording::new(running, subject, request.stream);

        Ok(Call {
            id,
            stream: request.stream,
            back: prepared.back,
            wish,
            content,
            target,
            recording,
            upstreams: snapshot.upstreams.clone(),
            metrics: self.metrics.clone(),
            cut: self.cut.clone(),
        })
    }

    /// The request as the Gate sees it. Without a way it is a request that found none.
    fn action(&self, id: ActionId, ask: &Ask, way: Option<(&Way, &Target)>, content: Bytes) -> Action<Infer> {
        let Ask { by, request, forwarded } = ask;
        let route = way.map_or("", |(way, _)| way.route.id.as_str());
        Action {
            id,
            by: by.clone(),
            resource: Resource::entity(EntityKind::GatewayRoute, route),
            targets: way.iter().map(|(_, target)| target.name.clone()).collect(),
            content,
            effect: Infer::new(
                request,
                forwarded.conversation.as_deref(),
                forwarded.agent.as_deref(),
                way.map(|(way, _)| way),
            ),
            received_at: self.ambient.now(),
        }
    }
}

/// Whether to ask a provider what a stream used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UsageWish {
    /// If it takes that.
    AsTaken,
    /// No: it refused the same request, maybe because it was asked.
    Refused,
}

/// What a provider said to a request.
enum Answered {
    Reply(Reply),
    /// It may not know the field that asks what a stream used.
    UsageRefused(Reply),
}

impl Answered {
    fn reply(self) -> Reply {
        match self {
            Self::Reply(reply) | Self::UsageRefused(reply) => reply,
        }
    }
}

/// A call to a provider that was permitted.
struct Call {
    id: ActionId,
    /// The caller asked for a stream.
    stream: bool,
    /// The way back of the answer.
    back: WayBack,
    wish: UsageWish,
    content: Bytes,
    target: Target,
    recording: Recording,
    upstreams: Arc<Upstreams>,
    metrics: Arc<GatewayMetrics>,
    cut: CancellationToken,
}

impl Call {
    /// Sends the request and gives the answer once it has begun.
    async fn answer(self) -> Result<Answered, Failure> {
        let Self { id, stream, back, wish, content, target, mut recording, upstreams, metrics, cut } = self;

        // Send.
        let sent = tokio::select! {
            biased;
            sent = send(&upstreams, &mut recording, &target, content) => sent,
            () = cut.cancelled() => Err(SendError::ShuttingDown),
        };
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                recording.broke(&error);
                recording.finish(match error {
                    SendError::Unreachable | SendError::NeverRead => End::NotReached(error.to_string()),
                    SendError::TimedOut(_)
                    | SendError::Broken(_)
                    | SendError::ShuttingDown
                    | SendError::CredentialRefused { .. }
                    | SendError::Refused(..) => End::Failed(error.to_string()),
                });
                return Err(Failure::new(id, error));
            }
        };
        let limits = target.provider.timeouts;
        let (head, body) = response.into_parts();
        let patience = limits.total.saturating_sub(recording.elapsed());
        let (shape, body) = tokio::select! {
            biased;
            shaped = Shape::of(&head, body, patience, back.provider()) => shaped,
            () = cut.cancelled() => {
                recording.finish(End::Failed(SendError::ShuttingDown.to_string()));
                return Err(Failure::new(id, SendError::ShuttingDown));
            }
        };
        recording.head_arrived(&head, matches!(shape, Shape::Events | Shape::Refusal));
        let mut headers = HeaderMap::new();
        for (name, value) in RELAYED_HEADERS.iter().filter_map(|name| Some((name, head.headers.get(name)?))) {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(id) = upstream::provider_request_id(&head.headers) {
            headers.insert(UPSTREAM_REQUEST_ID, id.clone());
        }

        // Lane, which finishes the call at the answer's end.
        let provider = &target.provider;
        if shape == Shape::Events && stream {
            if wish == UsageWish::Refused {
                provider.stream_usage.note_refusal();
            }
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            let passage = back.passage();
            let lane = if recording.holds_answer() { AnswerLane::screened(passage) } else { AnswerLane::Open(passage) };
            let cut = cut.cancelled_owned();
            let active = metrics.stream_started();
            let body = AnswerBody::stream(Relay::new(body, lane, recording, (id, back.caller()), limits, cut, active));
            return Ok(Answered::Reply(Reply { request: id, status: head.status, headers, body }));
        }
        let collecting = Collecting { back: &back, stream, provider: &provider.name, shape, limit: limits.total };
        let whole = collecting.collect(recording, &head, body).await.map_err(|kind| Failure::new(id, kind))?;
        if let Some(kind) = whole.kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if wish == UsageWish::Refused && whole.status.is_success() {
            provider.stream_usage.note_refusal();
        }
        let unknown_field = back.usage_added() && provider.stream_usage.may_be_refused(whole.status, &whole.body);
        let reply = Reply { request: id, status: whole.status, headers, body: AnswerBody::whole_of(whole.body) };
        Ok(if unknown_field { Answered::UsageRefused(reply) } else { Answered::Reply(reply) })
    }
}

/// Makes attempts until one has a result. Another one is made only after a failure of which it is certain that nothing
/// happened, once, and on a new connection.
async fn send(
    upstreams: &Upstreams,
    recording: &mut Recording,
    target: &Target,
    mut content: Bytes,
) -> Result<Response<UpstreamBody>, SendError> {
    let mut line = Line::Pooled;
    loop {
        let limit = target.head_limit.saturating_sub(recording.elapsed());
        let error = match upstreams.send(target, content, line, limit, recording.taken()).await {
            Ok(response) => return Ok(response),
            Err(SendError::TimedOut(_)) => return Err(SendError::TimedOut(target.head_limit)),
            Err(error) => error,
        };
        let Some(why) = AttemptFailure::of(&error).filter(|_| line == Line::Pooled) else { return Err(error) };
        let Ok(again) = recording.retry(&target.name, why) else { return Err(error) };
        content = again;
        line = Line::Fresh;
    }
}
