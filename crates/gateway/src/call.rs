//! A call to a model that was permitted: sending it until there is an answer, and choosing how the answer passes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode, response};
use systemprompt_llm::Format;
use systemprompt_model::{ActionId, Ambient};
use tokio_util::sync::CancellationToken;

use crate::answer::{AnswerBody, Reply};
use crate::ask::{Ask, UsageWish};
use crate::attempt::Trouble;
use crate::cache::{Caching, Told};
use crate::collecting::{Collecting, EVENTS};
use crate::credential::AskAgain;
use crate::failure::{Failure, FailureKind, ProviderShut};
use crate::headers::UPSTREAM_REQUEST_ID;
use crate::lane::{AnswerLane, Shape};
use crate::metrics::GatewayMetrics;
use crate::passage::WayBack;
use crate::recording::{End, Place, Recording};
use crate::recovery::{GoOn, GoingOn, Recovery, WentOn};
use crate::relay::Relay;
use crate::resilience::{Pass, ShutReason, backoff};
use crate::restored::{self, Restored};
use crate::routing::Destination;
use crate::snapshot::GatewaySnapshot;
use crate::target::{Target, prepare};
use crate::upstream::{self, Line, SendError, UpstreamBody};

/// What of a provider's headers the caller gets: what the body is, and what SDKs go by when they try again. Limits and
/// organisation ids of our account with the provider are not the caller's business.
const RELAYED_HEADERS: [HeaderName; 4] =
    [CONTENT_TYPE, RETRY_AFTER, HeaderName::from_static("retry-after-ms"), HeaderName::from_static("x-should-retry")];

/// What a provider said to a request.
pub(crate) enum Answered {
    Reply(Reply),
    /// It may not know the field that asks what a stream used.
    UsageRefused(Reply),
}

impl Answered {
    /// What it said.
    pub(crate) fn reply(self) -> Reply {
        match self {
            Self::Reply(reply) | Self::UsageRefused(reply) => reply,
        }
    }
}

/// What a call is made with.
pub(crate) struct Means {
    /// The configuration it began with.
    pub(crate) snapshot: Arc<GatewaySnapshot>,
    pub(crate) metrics: Arc<GatewayMetrics>,
    pub(crate) ambient: Ambient,
    /// Cancelled when the time for draining streams is over.
    pub(crate) cut: CancellationToken,
}

/// A call to a model that was permitted.
pub(crate) struct Call {
    pub(crate) id: ActionId,
    pub(crate) means: Means,
    pub(crate) wish: UsageWish,
    /// What the cache is to it, if its route has one.
    pub(crate) caching: Option<Box<Caching>>,
    pub(crate) recording: Box<Recording>,
    /// Where it is sent. Apart, like the recording, because a call is moved several times.
    pub(crate) here: Box<Here>,
    /// Where it may go instead, in order.
    pub(crate) others: VecDeque<Arc<Destination>>,
    /// How often it was sent once more to the same place.
    pub(crate) retries: u32,
    /// Whether another provider goes on with a streamed answer that breaks off.
    pub(crate) goes_on: bool,
}

/// An answer that has begun.
struct Opened {
    head: response::Parts,
    body: UpstreamBody,
    shape: Shape,
}

/// A place a request is sent to, and what it gets.
pub(crate) struct Here {
    pub(crate) to: Arc<Destination>,
    pub(crate) target: Target,
    /// The bytes, which were judged.
    pub(crate) content: Bytes,
    /// The way back of the answer.
    pub(crate) back: WayBack,
    /// The place may be asked, if that is known already.
    pub(crate) pass: Option<Pass>,
}

impl Call {
    /// Sends the request and gives the answer once it has begun.
    pub(crate) async fn answer(mut self, ask: &Arc<Ask>) -> Result<Answered, Failure> {
        let id = self.id;
        let cut = self.means.cut.clone();

        // What was answered before.
        let (kept, told) = match self.caching.take() {
            Some(caching) => self.kept(caching).await,
            None => (None, None),
        };

        // Send.
        let sent = if let Some(kept) = kept {
            Ok(kept)
        } else {
            tokio::select! {
                biased;
                sent = self.send(ask) => sent,
                () = cut.cancelled() => Err(SendError::ShuttingDown.into()),
            }
        };
        let Self { means, wish, mut recording, here, others, retries, goes_on, .. } = self;
        let Opened { head, body, shape } = match sent {
            Ok(opened) => opened,
            Err(error) => {
                recording.broke(&error);
                recording.finish(match Trouble::of_failure(&error) {
                    Some(Trouble::TimedOut | Trouble::Broken | Trouble::Status(_)) | None => {
                        End::Failed(error.to_string())
                    }
                    Some(
                        Trouble::NeverRead
                        | Trouble::Unreachable
                        | Trouble::Shortage(_)
                        | Trouble::NoCredential
                        | Trouble::CircuitOpen
                        | Trouble::Full,
                    ) => End::NotReached(error.to_string()),
                });
                return Err(Failure::new(id, error));
            }
        };
        let provider = here.target.provider.clone();
        let limits = provider.timeouts;
        recording.head_arrived(&head, matches!(shape, Shape::Events | Shape::Refusal));
        // With room for what the server adds to every answer.
        let mut headers = HeaderMap::with_capacity(20);
        for (name, value) in RELAYED_HEADERS.iter().filter_map(|name| Some((name, head.headers.get(name)?))) {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(id) = upstream::provider_request_id(&head.headers) {
            headers.insert(UPSTREAM_REQUEST_ID, id.clone());
        }
        if let Some(told) = told {
            told.write(&mut headers);
        }

        // Lane, which finishes the call at the answer's end.
        let originals = recording.originals();
        let stream = ask.request.stream;
        if shape == Shape::Events && stream {
            if wish == UsageWish::Refused {
                provider.stream_usage.note_refusal();
            }
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            let passage = here.back.passage();
            let is_held = recording.holds_answer();
            let guard = if is_held { None } else { recording.guarded() };
            let lane = match &guard {
                _ if is_held => AnswerLane::screened(passage),
                Some((safety, characters)) => {
                    AnswerLane::guarded(passage, *characters, safety.holds_words(), recording.choices())
                }
                None => AnswerLane::Open(passage),
            };
            if !is_held {
                recording.overhear();
            }
            let caller = here.back.caller();
            let active = means.metrics.stream_started();
            let recovers = goes_on && !is_held && guard.is_none() && here.can_be_gone_on_with();
            let recovery = recovers.then(|| {
                let ask = ask.clone();
                Recovery::new(Box::new(Onward { ask, id, means, wish, here, others, retries }))
            });
            let relay = Relay::new(body, lane, recording, (id, caller), limits, cut.cancelled_owned(), active);
            let relay = relay.with_guard(guard.map(|(safety, _)| safety)).with_recovery(recovery);
            let body = match originals {
                Some(originals) => AnswerBody::stream(Restored::new(relay, originals)),
                None => AnswerBody::stream(relay),
            };
            return Ok(Answered::Reply(Reply { request: id, status: head.status, headers, body }));
        }
        let back = &here.back;
        let collecting = Collecting { back, stream, provider: &provider.name, shape, limit: here.target.limit };
        let whole = collecting.collect(recording, &head, body).await.map_err(|kind| Failure::new(id, kind))?;
        if let Some(kind) = whole.kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if wish == UsageWish::Refused && whole.status.is_success() {
            provider.stream_usage.note_refusal();
        }
        let unknown_field = back.usage_added() && provider.stream_usage.may_be_refused(whole.status, &whole.body);
        let body = restored::whole(whole.body, originals.as_ref(), whole.kind == Some(EVENTS));
        let reply = Reply { request: id, status: whole.status, headers, body: AnswerBody::whole_of(body) };
        Ok(if unknown_field { Answered::UsageRefused(reply) } else { Answered::Reply(reply) })
    }

    /// Looks for what was answered to the same request before. If it is not there, the answer that comes is gathered.
    async fn kept(&mut self, caching: Box<Caching>) -> (Option<Opened>, Option<Told>) {
        let (found, told) = caching.find().await;
        let Some(found) = found else {
            self.recording.gather(caching.gather());
            return (None, Some(told));
        };
        self.recording.answered_from_cache();
        let mut response = Response::new(UpstreamBody::whole(found.answer.clone()));
        *response.headers_mut() = found.upstream_headers();
        (Some(self.open(response).await), Some(told))
    }

    /// Makes attempts until one has a result for the caller, or there is nowhere left to go: once more at the same place
    /// within the budget, then at the next. What the caller gets if nothing helps is what came last.
    async fn send(&mut self, ask: &Ask) -> Result<Opened, FailureKind> {
        loop {
            let (outcome, trouble) = match self.attempt().await {
                Ok(response) => {
                    let mut opened = self.open(response).await;
                    let trouble = match opened.shape {
                        // What could have been a status was said in the first event, which nobody has seen yet.
                        Shape::Failure(status) => StatusCode::from_u16(status).ok().and_then(Trouble::of_status),
                        _ => Trouble::of_status(opened.head.status),
                    };
                    if let Shape::Failure(_) = opened.shape {
                        opened.shape = Shape::Events;
                    }
                    (Ok(opened), trouble)
                }
                Err(failure) => {
                    let trouble = Trouble::of_failure(&failure);
                    (Err(failure), trouble)
                }
            };
            let Some(trouble) = trouble else { return outcome };
            if let Some(wait) = self.wait(trouble, outcome.as_ref().ok()) {
                drop(outcome);
                tokio::time::sleep(wait).await;
                self.retries += 1;
                self.here.content = self.recording.retry(trouble)?;
            } else if !self.go_on(ask, trouble).await {
                return outcome;
            }
        }
    }

    /// Looks at how an answer begins.
    async fn open(&self, response: Response<UpstreamBody>) -> Opened {
        let (head, body) = response.into_parts();
        let patience = self.here.target.limit.saturating_sub(self.recording.elapsed());
        let (shape, body) = Shape::of(&head, body, patience, self.here.back.provider()).await;
        Opened { head, body, shape }
    }

    /// How long to wait before the same place is asked once more, if it shall be at all.
    fn wait(&self, trouble: Trouble, answer: Option<&Opened>) -> Option<Duration> {
        let retries = &self.here.target.provider.retries;
        if !trouble.may_be_repeated() || self.retries >= retries.attempts {
            return None;
        }
        let to = &self.here.to;
        if to.provider.health.is_shut(&to.metric_model(), Instant::now()) == Some(ShutReason::CircuitOpen) {
            // This was one failure too many. What it said is worth more to the caller than that it is left alone now.
            return None;
        }
        let headers = answer.map(|answer| &answer.head.headers);
        if headers.is_some_and(backoff::is_final) {
            return None;
        }
        let asked = headers.and_then(|headers| backoff::asked(headers, self.means.ambient.now()));
        let chance = u16::from_le_bytes(self.means.ambient.bytes());
        let wait = backoff::wait(retries, self.retries, asked, chance)?;
        (self.recording.elapsed() + wait < self.here.target.head_limit).then_some(wait)
    }

    /// Goes on to the next place that can take the request, if there is one.
    async fn go_on(&mut self, ask: &Ask, trouble: Trouble) -> bool {
        while let Some(to) = self.others.pop_front() {
            let Ok(pass) = to.provider.health.enter(&to.metric_model(), Instant::now()) else { continue };
            let target = Target::new(&to, &ask.request, &ask.forwarded.headers, &self.means.snapshot.credentials);
            let (as_taken, created) = (self.wish == UsageWish::AsTaken, self.means.ambient.now().timestamp());
            let Ok(prepared) = prepare(&ask.request, &ask.forwarded.headers, &to, as_taken, self.id, created) else {
                continue;
            };
            let place = Place::new(to.clone(), prepared.back.provider());
            match self.recording.divert(prepared.bytes, trouble, place).await {
                Ok(content) => {
                    let from = &self.here.target.provider.name;
                    tracing::warn!(request_id = %self.id, %from, to = %to.provider.name, why = %trouble, "a request goes on to a fallback");
                    self.means.metrics.failed_over(from, &to.provider.name, trouble.reason());
                    *self.here = Here { to, target, content, back: prepared.back, pass: Some(pass) };
                    return true;
                }
                Err(error) => {
                    tracing::warn!(request_id = %self.id, to = %to.provider.name, %error, "a fallback may not be asked");
                }
            }
        }
        false
    }

    /// Makes one attempt; a second one on a new connection if nobody can have read the first, and others with each further
    /// credential if the provider refuses the first or has enough of it.
    async fn attempt(&mut self) -> Result<Response<UpstreamBody>, FailureKind> {
        let Self { means, recording, here, .. } = self;
        let Here { to, target, content, pass, .. } = &mut **here;
        let (provider, model) = (target.provider.clone(), to.metric_model());
        let entered = match pass.take() {
            Some(pass) => Ok(pass),
            None => provider.health.enter(&model, Instant::now()),
        };
        let mut pass = entered.map_err(|shut| ProviderShut::new(&provider.name, shut))?;
        if pass.is_probe() {
            means.metrics.breaker(&provider.name, &model, provider.health.state(&model, Instant::now()));
        }
        let mut line = Line::Pooled;
        let mut credentials = target.credential.as_ref().map_or(0, |credential| credential.number());
        let outcome = loop {
            let limit = target.head_limit.saturating_sub(recording.elapsed());
            let upstreams = &means.snapshot.upstreams;
            recording.sending(target, &means.ambient);
            match upstreams.send(target, content.clone(), line, limit, recording.taken()).await {
                Err(SendError::NeverRead) if line == Line::Pooled => {
                    *content = recording.retry(Trouble::NeverRead)?;
                    line = Line::Fresh;
                }
                Ok(response) if credentials > 0 && response.extensions().get::<AskAgain>().is_some() => {
                    credentials -= 1;
                    let status = response.status().as_u16();
                    tracing::warn!(
                        provider = %provider.name,
                        status,
                        "the provider refuses a credential or has enough of it; another one is shown"
                    );
                    *content = recording.retry(Trouble::Status(response.status()))?;
                }
                Err(SendError::TimedOut(_)) => break Err(SendError::TimedOut(target.head_limit).into()),
                Err(error) => break Err(error.into()),
                Ok(response) => break Ok(response),
            }
        };
        let trouble = match &outcome {
            Ok(response) => Trouble::of_status(response.status()),
            Err(failure) => Trouble::of_failure(failure),
        };
        let is_failure = trouble.is_some_and(Trouble::is_failure);
        let was_probe = pass.is_probe();
        match &outcome {
            _ if is_failure => pass.failed(Instant::now()),
            Ok(_) => pass.answered(),
            Err(_) => {}
        }
        recording.keep(pass.into_slot());
        if is_failure || was_probe {
            means.metrics.breaker(&provider.name, &model, provider.health.state(&model, Instant::now()));
        }
        outcome
    }
}

impl Here {
    /// Whether another provider could go on with a streamed answer.
    fn can_be_gone_on_with(&self) -> bool {
        matches!(self.back, WayBack::Relayed { format: Format::AnthropicMessages, .. })
    }
}

/// A call whose answer is being streamed, should it have to go on elsewhere.
struct Onward {
    ask: Arc<Ask>,
    id: ActionId,
    means: Means,
    wish: UsageWish,
    here: Box<Here>,
    others: VecDeque<Arc<Destination>>,
    retries: u32,
}

impl GoOn for Onward {
    fn go_on(self: Box<Self>, recording: Box<Recording>, said: String, trouble: Trouble) -> GoingOn {
        Box::pin(async move {
            let Self { ask, id, means, wish, here, mut others, retries } = *self;
            let Some(request) = ask.request.going_on(&said) else { return Err(recording) };
            others.retain(|to| to.format == request.format);
            let continued = Ask { by: ask.by.clone(), request, forwarded: ask.forwarded.clone() };
            let cut = means.cut.clone();
            let mut call = Call { id, means, wish, caching: None, recording, here, others, retries, goes_on: true };
            let sent = tokio::select! {
                biased;
                sent = call.send_on(&continued, trouble) => sent,
                () = cut.cancelled() => None,
            };
            let Call { means, mut recording, here, others, retries, .. } = call;
            let Some(Opened { head, body, shape: Shape::Events }) = sent else { return Err(recording) };
            recording.head_arrived(&head, true);
            let idle = here.target.provider.timeouts.idle;
            let next: Option<Box<dyn GoOn>> = here
                .can_be_gone_on_with()
                .then(|| Box::new(Self { ask, id, means, wish, here, others, retries }) as Box<dyn GoOn>);
            Ok(WentOn { recording, upstream: body, idle, next })
        })
    }
}

impl Call {
    /// Sends the request on to another place, because the answer of this one broke off. Nothing unless an answer begins.
    async fn send_on(&mut self, ask: &Ask, trouble: Trouble) -> Option<Opened> {
        if !self.go_on(ask, trouble).await {
            return None;
        }
        self.send(ask).await.ok().filter(|opened| opened.head.status.is_success())
    }
}
