//! A call to a model that was permitted: sending it until there is an answer, and choosing how the answer passes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use systemprompt_model::{ActionId, Ambient};
use tokio_util::sync::CancellationToken;

use crate::answer::{AnswerBody, Reply};
use crate::ask::{Ask, UsageWish};
use crate::attempt::{Attempted, Trouble};
use crate::collecting::Collecting;
use crate::failure::{Failure, ProviderShut};
use crate::headers::UPSTREAM_REQUEST_ID;
use crate::lane::{AnswerLane, Shape};
use crate::metrics::GatewayMetrics;
use crate::passage::WayBack;
use crate::recording::{End, Place, Recording};
use crate::relay::Relay;
use crate::resilience::{Pass, backoff};
use crate::routing::Destination;
use crate::snapshot::GatewaySnapshot;
use crate::target::{Target, prepare};
use crate::upstream::{self, Line, SendError};

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
    pub(crate) recording: Recording,
    /// Where it is sent.
    pub(crate) here: Here,
    /// Where it may go instead, in order.
    pub(crate) others: VecDeque<Destination>,
    /// How often it was sent once more to the same place.
    pub(crate) retries: u32,
}

/// A place a request is sent to, and what it gets.
pub(crate) struct Here {
    pub(crate) to: Destination,
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
    pub(crate) async fn answer(mut self, ask: &Ask) -> Result<Answered, Failure> {
        let id = self.id;
        let cut = self.means.cut.clone();

        // Send.
        let sent = tokio::select! {
            biased;
            sent = self.send(ask) => sent,
            () = cut.cancelled() => Err(SendError::ShuttingDown.into()),
        };
        let Self { means, wish, mut recording, here, .. } = self;
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                recording.broke(&error);
                recording.finish(match Trouble::of(&Err(error.clone())) {
                    Some(Trouble::TimedOut | Trouble::Broken | Trouble::Status(_)) | None => {
                        End::Failed(error.to_string())
                    }
                    Some(Trouble::NeverRead | Trouble::Unreachable | Trouble::CircuitOpen | Trouble::Full) => {
                        End::NotReached(error.to_string())
                    }
                });
                return Err(Failure::new(id, error));
            }
        };
        let Here { target, back, .. } = here;
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
        let stream = ask.request.stream;
        if shape == Shape::Events && stream {
            if wish == UsageWish::Refused {
                provider.stream_usage.note_refusal();
            }
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            let passage = back.passage();
            let lane = if recording.holds_answer() { AnswerLane::screened(passage) } else { AnswerLane::Open(passage) };
            let cut = cut.cancelled_owned();
            let active = means.metrics.stream_started();
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

    /// Makes attempts until one has a result for the caller, or there is nowhere left to go: once more at the same place
    /// within the budget, then at the next. What the caller gets if nothing helps is what came last.
    async fn send(&mut self, ask: &Ask) -> Attempted {
        loop {
            let outcome = self.attempt().await;
            let Some(trouble) = Trouble::of(&outcome) else { return outcome };
            if let Some(wait) = self.wait(trouble, &outcome) {
                drop(outcome);
                tokio::time::sleep(wait).await;
                self.retries += 1;
                self.here.content = self.recording.retry(&self.here.target.name, trouble)?;
            } else if !self.go_on(ask, trouble).await {
                return outcome;
            }
        }
    }

    /// How long to wait before the same place is asked once more, if it shall be at all.
    fn wait(&self, trouble: Trouble, outcome: &Attempted) -> Option<Duration> {
        let retries = &self.here.target.provider.retries;
        if !trouble.may_be_repeated() || self.retries >= retries.attempts {
            return None;
        }
        let headers = outcome.as_ref().ok().map(http::Response::headers);
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
            let as_taken = self.wish == UsageWish::AsTaken;
            let Ok(prepared) = prepare(&ask.request, &to, as_taken, self.id, self.means.ambient.now().timestamp())
            else {
                continue;
            };
            let place = Place::of(&to, &target.name, prepared.back.provider());
            match self.recording.divert(&target.name, prepared.bytes, trouble, place).await {
                Ok(content) => {
                    let from = &self.here.target.provider.name;
                    tracing::warn!(request_id = %self.id, %from, to = %to.provider.name, why = %trouble, "a request goes on to a fallback");
                    self.means.metrics.failed_over(from, &to.provider.name, trouble.reason());
                    self.here = Here { to, target, content, back: prepared.back, pass: Some(pass) };
                    return true;
                }
                Err(error) => {
                    tracing::warn!(request_id = %self.id, to = %to.provider.name, %error, "a fallback may not be asked");
                }
            }
        }
        false
    }

    /// Makes one attempt; a second one on a new connection if nobody can have read the first.
    async fn attempt(&mut self) -> Attempted {
        let Self { means, recording, here, .. } = self;
        let Here { to, target, content, pass, .. } = here;
        let (provider, model) = (&target.provider, to.metric_model());
        let entered = match pass.take() {
            Some(pass) => Ok(pass),
            None => provider.health.enter(&model, Instant::now()),
        };
        let mut pass = entered.map_err(|shut| ProviderShut::new(&provider.name, shut))?;
        if pass.is_probe() {
            means.metrics.breaker(&provider.name, &model, provider.health.state(&model, Instant::now()));
        }
        let mut line = Line::Pooled;
        let outcome = loop {
            let limit = target.head_limit.saturating_sub(recording.elapsed());
            let upstreams = &means.snapshot.upstreams;
            match upstreams.send(target, content.clone(), line, limit, recording.taken()).await {
                Err(SendError::NeverRead) if line == Line::Pooled => {
                    *content = recording.retry(&target.name, Trouble::NeverRead)?;
                    line = Line::Fresh;
                }
                Err(SendError::TimedOut(_)) => break Err(SendError::TimedOut(target.head_limit).into()),
                Err(error) => break Err(error.into()),
                Ok(response) => break Ok(response),
            }
        };
        let trouble = Trouble::of(&outcome);
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
