//! Asking a model, from a parsed request to its answer. HTTP is one caller among others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use systemprompt_governance::{Action, Gate, Inspection};
use systemprompt_identity::Sessions;
use systemprompt_llm::{Format, InferenceRequest, UsageChunkFilter};
use systemprompt_model::{ActionId, Ambient, Attribution, EntityKind, Resource};
use tokio_util::sync::CancellationToken;

pub use crate::answer::{AnswerBody, Reply};
use crate::attempt::AttemptFailure;
pub use crate::failure::{Failure, FailureKind};
use crate::lane::{self, AnswerLane};
use crate::metrics::GatewayMetrics;
use crate::recording::{End, Recording, Subject};
use crate::relay::Relay;
use crate::request::Infer;
use crate::routing::{Destination, RoutingTable};
use crate::target::{Credentials, Target, prepare};
pub use crate::upstream::SendError;
use crate::upstream::{self, Line, UpstreamBody, Upstreams};
use crate::waiting::Waiting;

/// An error answer of a provider is relayed up to this size.
const ERROR_BODY_LIMIT: usize = 1024 * 1024;
/// A buffered answer may have this size; beyond it the call fails instead of filling our memory.
const BUFFERED_ANSWER_LIMIT: usize = 32 * 1024 * 1024;

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
/// use bytes::Bytes;
/// use systemprompt_gateway::inference::{Ask, Failure, Forwarded, Inference};
/// use systemprompt_llm::{Format, InferenceRequest};
/// use systemprompt_model::Attribution;
///
/// async fn summarise(inference: &Inference, by: Attribution, body: Bytes) -> Result<Bytes, Failure> {
///     let request = InferenceRequest::parse(Format::AnthropicMessages, body).expect("a request we wrote ourselves");
///     let reply = inference.ask(Ask { by, request, forwarded: Forwarded::default() }).await?;
///     Ok(reply.whole().await)
/// }
/// ```
pub struct Inference {
    pub(crate) table: RoutingTable,
    pub(crate) credentials: Credentials,
    pub(crate) upstreams: Arc<Upstreams>,
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
    pub async fn ask(&self, ask: Ask) -> Result<Reply, Failure> {
        match self.ask_once(&ask).await? {
            Answered::Reply(reply) => Ok(reply),
            // A request of its own: what is sent now was not judged yet.
            Answered::UsageRefused(reply) => match self.ask_once(&ask).await {
                Ok(answered) => Ok(answered.reply()),
                Err(_) => Ok(reply),
            },
        }
    }

    async fn ask_once(&self, ask: &Ask) -> Result<Answered, Failure> {
        let Ask { by, request, forwarded } = ask;
        let id = ActionId::generate(&self.ambient);

        // Route.
        let way = match self.table.resolve(request) {
            Ok(way) => way,
            Err(no_route) => {
                let refusal = self.gate.refuse(self.action(id, ask, None, Bytes::new()), no_route.into()).await;
                return Err(Failure::new(id, refusal));
            }
        };

        // Prepare.
        let target = Target::new(&way, request, &forwarded.headers, &self.credentials);
        let prepared = prepare(request, &way);

        // Admit.
        let action = self.action(id, ask, Some((&way, &target)), prepared.bytes);
        let permit = self.gate.admit(action).await.map_err(|refusal| Failure::new(id, refusal))?;

        // Begin. If the caller goes away from here on, that is what gets recorded.
        let (content, running) = permit.begin(&target.name).map_err(|error| Failure::new(id, error))?;
        let subject = Subject {
            format: request.format,
            provider: target.provider.name.clone(),
            model: way.metric_model(),
            pricing: way.pricing,
            estimated_input_tokens: request.estimated_input_tokens,
            received: forwarded.received.unwrap_or_else(Instant::now),
            metrics: self.metrics.clone(),
            sessions: self.sessions.clone(),
            session: by.session,
            inspection_limit: target.provider.timeouts.inspection,
        };
        let recording = Recording::new(running, subject, request.stream);

        // Send, and wait for the head of the answer for as long as the caller has patience.
        let patience = target.provider.timeouts.head_patience;
        let call = Call {
            id,
            format: request.format,
            usage_added: prepared.usage_added,
            target,
            upstreams: self.upstreams.clone(),
            metrics: self.metrics.clone(),
            cut: self.cut.clone(),
        };
        if !request.stream {
            return call.answer(recording, content).await;
        }
        let mut answering = Box::pin(call.answer(recording, content));
        if let Ok(answered) = tokio::time::timeout(patience, &mut answering).await {
            return answered;
        }
        let answering = async move { Ok(answering.await?.reply()) };
        let cut = self.cut.clone().cancelled_owned();
        let body = AnswerBody::stream(Waiting::new(Box::pin(answering), id, request.format, cut));
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))]);
        Ok(Answered::Reply(Reply { request: id, status: StatusCode::OK, headers, body }))
    }

    /// The request as the Gate sees it. Without a way it is a request that found none.
    fn action(&self, id: ActionId, ask: &Ask, way: Option<(&Destination, &Target)>, content: Bytes) -> Action<Infer> {
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

/// What a provider said to a request.
enum Answered {
    Reply(Reply),
    /// It does not know the field that asks what a stream used, which is known from now on.
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
    format: Format,
    /// The gateway asks what it used, and the caller did not.
    usage_added: bool,
    target: Target,
    upstreams: Arc<Upstreams>,
    metrics: Arc<GatewayMetrics>,
    cut: CancellationToken,
}

impl Call {
    /// Sends `content` and gives the answer once it has begun.
    async fn answer(self, mut recording: Recording, content: Bytes) -> Result<Answered, Failure> {
        let Self { id, ref target, .. } = self;

        // Send.
        let response = match self.send(&mut recording, target, content).await {
            Ok(response) => response,
            Err(error) => {
                recording.finish(match error {
                    SendError::Unreachable | SendError::NeverRead => End::NotReached(error.to_string()),
                    SendError::TimedOut(_) | SendError::Broken(_) | SendError::Refused(..) => {
                        End::Failed(error.to_string())
                    }
                });
                return Err(Failure::new(id, error));
            }
        };
        let (head, body) = response.into_parts();
        let streamed = lane::is_stream(&head);
        recording.head_arrived(&head, streamed);
        let mut headers = HeaderMap::new();
        for (name, value) in RELAYED_HEADERS.iter().filter_map(|name| Some((name, head.headers.get(name)?))) {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(id) = upstream::provider_request_id(&head.headers) {
            headers.insert(UPSTREAM_REQUEST_ID, id.clone());
        }

        // Lane, which finishes the call at the answer's end.
        let limits = target.provider.timeouts;
        let body = if streamed {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            let filter = self.usage_added.then(UsageChunkFilter::new);
            let lane = if recording.holds_answer() { AnswerLane::screened(filter) } else { AnswerLane::Relay(filter) };
            let cut = self.cut.clone().cancelled_owned();
            let active = self.metrics.stream_started();
            AnswerBody::stream(Relay::new(body, lane, recording, (id, self.format), limits, cut, active))
        } else {
            let retry_after = head.headers.get(RETRY_AFTER);
            let whole = collect(recording, head.status, retry_after, body, limits.total).await;
            let whole = whole.map_err(|kind| Failure::new(id, kind))?;
            let unknown_field = self.usage_added && target.provider.stream_usage.learn(head.status, &whole);
            let reply = Reply { request: id, status: head.status, headers, body: AnswerBody::whole_of(whole) };
            return Ok(if unknown_field { Answered::UsageRefused(reply) } else { Answered::Reply(reply) });
        };
        Ok(Answered::Reply(Reply { request: id, status: head.status, headers, body }))
    }

    /// Makes attempts until one has a result. Another one is made only after a failure of which it is certain that nothing
    /// happened, once, and on a new connection.
    async fn send(
        &self,
        recording: &mut Recording,
        target: &Target,
        mut content: Bytes,
    ) -> Result<Response<UpstreamBody>, SendError> {
        let mut line = Line::Pooled;
        loop {
            let limit = target.head_limit.saturating_sub(recording.elapsed());
            let error = match self.upstreams.send(target, content, line, limit, recording.taken()).await {
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
}

/// Reads an answer that is no stream to its end, and records it.
async fn collect(
    mut recording: Recording,
    status: StatusCode,
    retry_after: Option<&HeaderValue>,
    body: UpstreamBody,
    total: Duration,
) -> Result<Bytes, FailureKind> {
    let limit = if status.is_success() { BUFFERED_ANSWER_LIMIT } else { ERROR_BODY_LIMIT };
    let time = total.saturating_sub(recording.elapsed());
    let body = match upstream::collect(body, limit, time, |piece| recording.feed(piece)).await {
        Ok(body) => body,
        Err(error) => {
            let error = if let SendError::TimedOut(_) = error { SendError::TimedOut(total) } else { error };
            recording.finish(End::Failed(error.to_string()));
            return Err(error.into());
        }
    };
    // An error is looked at like any other answer: it may repeat what it was sent.
    if recording.holds_answer()
        && let Inspection::Withhold(denial) = recording.inspect(&body, &[]).await
    {
        recording.finish(End::Withheld(format!("the answer was withheld: {denial}")));
        return Err(FailureKind::Withheld(denial));
    }
    if status.is_success() {
        if recording.finish_answer() {
            return Ok(body);
        }
        return Err(SendError::Broken("sent an answer that is not a message").into());
    }
    recording.finish(End::Failed(format!("upstream status {}", status.as_u16())));
    // A redirect is not followed, and not shown: where it leads is none of the caller's business.
    if body.is_empty() || !(status.is_client_error() || status.is_server_error()) {
        return Err(SendError::Refused(status, retry_after.cloned()).into());
    }
    Ok(body)
}
