//! The outcome of one call, gathered while it runs. However the call ends — even by the caller going away and the
//! future being dropped — exactly one outcome reaches the ledger.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::NaiveDate;
use futures_util::FutureExt as _;
use http::{StatusCode, response};
use systemprompt_extension::policy::{Allowance, Subject as Inspected, Texts, Usage as Used};
use systemprompt_governance::{
    AnswerSafety, Denial, Effect as _, Inspection, NotDiverted, NotPermitted, Outcome, OutcomeStatus, Running,
};
use systemprompt_identity::Sessions;
use systemprompt_llm::{AnswerSummary, AnswerTap, ErrorAnswer, Format, Originals, UpstreamErrorSummary, Usage};
use systemprompt_model::{Microdollars, SessionId};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::attempt::Trouble;
use crate::cache::Gathering;
use crate::capture::Capture;
use crate::config::NO_OVERRIDE;
use crate::exported::{Ended, Traced};
use crate::failure::FailureKind;
use crate::heard::Heard;
use crate::metrics::{ErrorClass, GatewayMetrics, RequestLabels};
use crate::redacted;
use crate::request::{CostSource, Infer, Inferred, ToolCallFacts, UsageSource, tool_call_part};
use crate::resilience::Slot;
use crate::routing::Destination;
use crate::settled::{Settled, Teller};
use crate::upstream::{Taken, provider_request_id};

/// How much of a tool's input is recorded (gateway specification §11).
const RECORDED_INPUT: usize = 64 * 1024;
/// How much of it policies see: files that agents write are whole in it.
const JUDGED_INPUT: usize = 1024 * 1024;
/// More of anything one call cannot use: a thousand million tokens are a thousand times the longest prompt there is.
const MOST_COUNTED: u64 = 1_000_000_000;

/// How long an answer is under way before it is noted what it has used, for the case that this process dies: most are over
/// by then.
const FIRST_STANDING: Duration = Duration::from_millis(100);

/// How often that is noted afterwards.
const STANDING_EVERY: Duration = Duration::from_secs(1);

/// What is known of a call before it is made.
pub(crate) struct Subject {
    /// The caller's format.
    pub(crate) dialect: Format,
    /// The route that matched, as the decision has it.
    pub(crate) route_match: String,
    /// Where the route leads first.
    pub(crate) first: Arc<Destination>,
    /// What was done to the system prompt of the bytes that were decided upon.
    pub(crate) system_prompt_override: Option<String>,
    /// The version of the prices.
    pub(crate) prices: NaiveDate,
    /// Tokens of the prompt, as estimated from its length.
    pub(crate) estimated_input_tokens: u64,
    /// How many answers the caller asked for.
    pub(crate) choices: u64,
    /// Since when the caller waits.
    pub(crate) received: Instant,
    pub(crate) metrics: Arc<GatewayMetrics>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) session: Option<SessionId>,
    /// The trace it is part of.
    pub(crate) traced: Traced,
    /// Who inside the server is told what it came to.
    pub(crate) teller: Option<Teller>,
}

/// Where a call is made, for its price and its metrics.
pub(crate) struct Place {
    to: Arc<Destination>,
    /// The format of the answer.
    format: Format,
    /// The model's name in metrics.
    model: Arc<str>,
}

impl Place {
    /// The place `to`, which answers in `format`.
    pub(crate) fn new(to: Arc<Destination>, format: Format) -> Self {
        Self { model: to.metric_model(), to, format }
    }

    /// The provider's name.
    fn provider(&self) -> &Arc<str> {
        &self.to.provider.name
    }

    /// What it costs here.
    fn cost(&self, usage: &Usage, service_tier: Option<&str>) -> Microdollars {
        self.to.pricing.map(|pricing| pricing.cost(usage, service_tier)).unwrap_or_default()
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With a complete answer.
    Completed,
    /// Not well, for this reason.
    Failed(String),
    /// Nobody got the request, for this reason.
    NotReached(String),
    /// With a complete answer that the caller may not have, for this reason.
    Withheld(String),
    /// With an answer of which the caller may not have the rest, for this reason.
    Cut(String),
    /// The caller did not wait for the answer.
    ClientDisconnected,
}

impl End {
    /// That of an answer that arrived to its end.
    fn of(recording: &Recording, summary: &AnswerSummary) -> Self {
        match judge(summary) {
            Judged::Complete => Self::Completed,
            Judged::Error(error) => Self::Failed(recording.reported(&error)),
            Judged::Broken => Self::Failed("the upstream provider sent an answer that is not a message".to_owned()),
        }
    }
}

/// What an answer was that arrived to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judged {
    /// A whole one.
    Complete,
    /// An error, whatever its status says.
    Error(UpstreamErrorSummary),
    /// Cut off, or no answer at all.
    Broken,
}

/// A running call: what is seen of it, and what is told at its end.
pub(crate) struct Recording {
    running: Option<Running<Infer>>,
    subject: Subject,
    place: Place,
    /// What attempts used that came to nothing: tokens of the prompt and of the answer, and their price.
    spent: (u64, u64, Microdollars),
    /// What was seen of an answer that is given up, once it was summed up.
    left: Option<AnswerSummary>,
    /// The place at the provider that the call takes.
    slot: Option<Slot>,
    tap: AnswerTap,
    /// So many of the tools that the model asks for first are known to interest no policy.
    unwatched: usize,
    streamed: bool,
    capture: Option<Capture>,
    /// When it was sent first.
    begun: Instant,
    /// When it was sent to this place first.
    sent: Instant,
    first_byte: Option<Duration>,
    /// When it is noted next what the answer has used so far.
    stands_at: Instant,
    status: Option<u16>,
    upstream_id: Option<String>,
    /// Whether the last attempt reached a provider.
    taken: Taken,
    /// The caller has nothing of the answer until all of it is there, and was inspected if a policy wants to.
    held: bool,
    /// How the provider failed, where the answer does not say.
    broke: Option<ErrorClass>,
    /// The answer is one that was given before.
    cached: bool,
    /// The answer, if it may be given once more.
    gathering: Option<Box<Gathering>>,
    /// The status that the failure means, where the caller is told of one.
    told: Option<u16>,
    /// What looks at the answer for safety, if anything does.
    safety: Option<AnswerSafety>,
    /// What a stream says that is to be looked at when it is over.
    heard: Option<Heard>,
}

impl Recording {
    /// Starts the clock of a call that is about to be sent to `place`.
    pub(crate) fn new(running: Running<Infer>, subject: Subject, place: Place, streamed: bool) -> Self {
        let sent = Instant::now();
        subject.metrics.sent_after(sent.duration_since(subject.received));
        Self {
            capture: Some(Capture::new(running.content_limit())),
            safety: running.safety(),
            running: Some(running),
            tap: tap(&subject, &place, streamed),
            unwatched: 0,
            streamed,
            subject,
            place,
            spent: (0, 0, Microdollars::ZERO),
            left: None,
            slot: None,
            begun: sent,
            sent,
            first_byte: None,
            stands_at: sent + FIRST_STANDING,
            status: None,
            upstream_id: None,
            taken: Taken::default(),
            held: false,
            broke: None,
            cached: false,
            gathering: None,
            told: None,
            heard: None,
        }
    }

    /// The answer comes from the cache: the provider has nothing to do with it.
    pub(crate) fn answered_from_cache(&mut self) {
        self.cached = true;
    }

    /// The answer is gathered from now on, because it may be given once more.
    pub(crate) fn gather(&mut self, gathering: Option<Gathering>) {
        self.gathering = gathering.map(Box::new);
    }

    /// What is left of the caller's limits.
    pub(crate) fn allowances(&self) -> Vec<Allowance> {
        self.running.iter().flat_map(Running::allowances).cloned().collect()
    }

    /// What stood where the request has placeholders, if it has any.
    pub(crate) fn originals(&self) -> Option<Arc<Originals>> {
        let originals = self.running.as_ref()?.originals();
        let pairs = originals.iter().map(|(placeholder, original)| (placeholder.to_owned(), original.clone()));
        Originals::new(pairs).map(Arc::new)
    }

    /// Begins another attempt at the same place after this trouble, and gives the bytes to send again.
    pub(crate) fn retry(&mut self, trouble: Trouble) -> Result<Bytes, NotPermitted> {
        self.subject.metrics.retried(self.place.provider());
        self.attempt_failed(trouble);
        let (usage, cost) = self.abandoned(trouble);
        self.spend(&usage, cost);
        self.taken = Taken::default();
        match &mut self.running {
            Some(running) => running.retry(&self.place.to.permit_target, &trouble.to_string(), total(&usage, cost)),
            None => Err(NotPermitted(self.place.to.permit_target.as_str().to_owned())),
        }
    }

    /// Begins another attempt at another place with bytes of its own, and gives them back if they may leave.
    pub(crate) async fn divert(
        &mut self,
        content: Bytes,
        trouble: Trouble,
        place: Place,
    ) -> Result<Bytes, NotDiverted> {
        let Some(mut running) = self.running.take() else {
            return Err(NotPermitted(place.to.permit_target.as_str().to_owned()).into());
        };
        let (usage, cost) = self.abandoned(trouble);
        let judged = running.divert(&place.to.permit_target, content, &trouble.to_string(), total(&usage, cost)).await;
        self.running = Some(running);
        // Only what is left behind counts: a place that may not be asked changes nothing.
        let content = judged?;
        // The answer of another place is none to this request.
        self.gathering = None;
        self.attempt_failed(trouble);
        self.spend(&usage, cost);
        self.left = None;
        self.taken = Taken::default();
        (self.status, self.upstream_id) = (None, None);
        self.sent = Instant::now();
        self.tap = tap(&self.subject, &place, self.streamed);
        self.unwatched = 0;
        self.place = place;
        Ok(content)
    }

    /// The request is sent to `target`, which is told of the trace if it shall be.
    pub(crate) fn sending(&mut self, target: &mut crate::target::Target, ambient: &systemprompt_model::Ambient) {
        self.subject.traced.sending(target, ambient);
    }

    /// Counts an attempt that came to nothing.
    fn attempt_failed(&mut self, trouble: Trouble) {
        if let Trouble::Status(status) = trouble {
            self.subject.traced.head(status.as_u16());
        }
        self.subject.traced.failed(trouble.class().map_or("_OTHER", ErrorClass::as_str));
        if let Some(class) = trouble.class() {
            self.subject.metrics.failed(self.place.provider(), class);
        }
    }

    /// What an attempt used of which nothing comes any more, as far as that can be said.
    fn abandoned(&mut self, trouble: Trouble) -> (Usage, Microdollars) {
        if !trouble.may_have_cost() {
            return (Usage::default(), Microdollars::ZERO);
        }
        let seen = self.left.take().unwrap_or_else(|| self.sum_up());
        let (usage, _) = self.used(&seen, &End::Failed(trouble.to_string()));
        let cost = self.place.cost(&usage, seen.service_tier.as_deref());
        self.left = Some(seen);
        (usage, cost)
    }

    /// What was seen of the answer.
    fn sum_up(&mut self) -> AnswerSummary {
        std::mem::replace(&mut self.tap, AnswerTap::new(self.place.format, self.streamed, 0, 0)).finish()
    }

    /// Adds what an attempt used to what the call has used, once.
    fn spend(&mut self, usage: &Usage, cost: Microdollars) {
        if *usage == Usage::default() {
            return;
        }
        self.subject.metrics.used(self.place.provider(), &self.place.model, usage, cost);
        self.spent.0 = self.spent.0.saturating_add(usage.prompt_tokens());
        self.spent.1 = self.spent.1.saturating_add(usage.output_tokens.unwrap_or(0));
        self.spent.2 = Microdollars(self.spent.2.0.saturating_add(cost.0));
    }

    /// Keeps the place at the provider until the call ends.
    pub(crate) fn keep(&mut self, slot: Option<Slot>) {
        self.slot = slot;
    }

    /// What the attempt that is made now tells when a provider has the request.
    pub(crate) fn taken(&self) -> Taken {
        self.taken.clone()
    }

    /// Whether a policy wants to see the answer before the caller does. From then on the caller has nothing of it.
    pub(crate) fn holds_answer(&mut self) -> bool {
        let is_inspected = self.running.as_ref().is_some_and(|running| running.is_inspected(Inspected::Answer));
        self.held |= is_inspected;
        is_inspected
    }

    /// The caller gets the answer when all of it is there.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// Asks the policies whether the caller may have an answer, in which `said` is said in pieces.
    pub(crate) async fn inspect(&mut self, answer: &Bytes, said: &[String]) -> Inspection {
        let limit = self.place.to.provider.timeouts.inspection;
        match &mut self.running {
            Some(running) => running.inspect(Inspected::Answer, answer, &Texts::with(answer, said), limit).await,
            None => Inspection::Give,
        }
    }

    /// Whether the model asks for a tool that a policy wants to see before the caller does.
    pub(crate) fn asks_for_watched_tool(&mut self) -> bool {
        let Some(running) = &self.running else { return false };
        let mut named_before = true;
        for call in self.tap.tool_calls().skip(self.unwatched) {
            if running.is_inspected(Inspected::ToolCall { name: &call.name }) {
                return true;
            }
            // One whose name is still to come is looked at again.
            named_before &= !call.name.is_empty();
            self.unwatched += usize::from(named_before);
        }
        self.tap.may_have_missed_calls() && watched(running).next().is_some()
    }

    /// Asks the policies whether the caller may have an answer in which the model asks for tools, all of which were said.
    pub(crate) async fn inspect_tool_calls(&mut self) -> Inspection {
        let limit = self.place.to.provider.timeouts.inspection;
        let Some(running) = &mut self.running else { return Inspection::Give };
        for call in self.tap.tool_calls() {
            if !running.is_inspected(Inspected::ToolCall { name: &call.name }) {
                continue;
            }
            let input = Bytes::copy_from_slice(call.input_excerpt.as_bytes());
            let is_complete = call.input_bytes == input.len() as u64;
            let inspection = running.inspect_call(&call.name, &input, is_complete, limit).await;
            if inspection != Inspection::Give {
                return inspection;
            }
        }
        if self.tap.may_have_missed_calls() {
            // A client can call what it offered.
            for name in watched(running).collect::<Vec<_>>() {
                let inspection = running.inspect_call(&name, &Bytes::new(), false, limit).await;
                if inspection != Inspection::Give {
                    return inspection;
                }
            }
        }
        Inspection::Give
    }

    /// Notes the status that a failure means.
    pub(crate) fn tells(&mut self, error: &ErrorAnswer) {
        self.told = Some(error.status);
    }

    /// Notes why no answer came, or no whole one.
    pub(crate) fn broke(&mut self, error: &FailureKind) {
        self.tells(&error.told());
        self.broke = match error {
            FailureKind::Upstream(error) => Some(ErrorClass::of(error)),
            _ => None,
        };
    }

    /// How the provider failed, if it did.
    fn failure(&self, summary: &AnswerSummary, end: &End) -> Option<ErrorClass> {
        if let Some(class) = self.status.and_then(ErrorClass::of_status) {
            return Some(class);
        }
        match end {
            End::Completed | End::Withheld(_) | End::Cut(_) | End::ClientDisconnected => None,
            End::Failed(_) | End::NotReached(_) => Some(self.broke.unwrap_or(if summary.error.is_some() {
                ErrorClass::Reported
            } else {
                ErrorClass::Malformed
            })),
        }
    }

    /// Time since the call was sent to this place.
    pub(crate) fn elapsed(&self) -> Duration {
        self.sent.elapsed()
    }

    /// Notes the head of the answer, and whether a stream follows it.
    pub(crate) fn head_arrived(&mut self, head: &response::Parts, streamed: bool) {
        self.status = Some(head.status.as_u16());
        match &mut self.gathering {
            Some(gathering) if head.status == StatusCode::OK => gathering.begin(&head.headers),
            _ => self.gathering = None,
        }
        if !self.cached {
            self.subject.traced.head(head.status.as_u16());
            self.subject.metrics.head_after(self.place.provider(), self.elapsed());
        }
        self.upstream_id = provider_request_id(&head.headers).and_then(|id| id.to_str().ok()).map(str::to_owned);
        if streamed != self.streamed {
            self.streamed = streamed;
            self.tap = tap(&self.subject, &self.place, streamed);
            self.unwatched = 0;
        }
    }

    /// Watches a piece of the answer on its way to the caller.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.first_byte.is_none() {
            self.first_byte = Some(self.begun.elapsed());
        }
        self.tap.feed(bytes);
        if let Some(capture) = &mut self.capture {
            capture.feed(bytes);
        }
        if let Some(gathering) = &mut self.gathering {
            gathering.feed(bytes);
        }
        if let Some(heard) = &mut self.heard {
            heard.feed(bytes);
        }
        let now = Instant::now();
        if now >= self.stands_at {
            self.stands_at = now + STANDING_EVERY;
            self.stands();
        }
    }

    /// Notes what the call has used so far, which is what counts if this process dies now.
    fn stands(&self) {
        let Some(running) = self.running.as_ref().filter(|_| !self.cached) else { return };
        let summary = self.tap.so_far();
        let reason = "the server died while the answer was on its way; what had been seen of it by then counts";
        let (usage, usage_source) = self.used(&summary, &End::Failed(reason.to_owned()));
        let cost = self.place.cost(&usage, summary.service_tier.as_deref());
        let (spent_input, spent_output, spent_cost) = self.spent;
        running.stands(&Outcome {
            usage: Used {
                calls: 1,
                input_tokens: usage.prompt_tokens().saturating_add(spent_input),
                output_tokens: usage.output_tokens.unwrap_or(0).saturating_add(spent_output),
                cost: Microdollars(cost.0.saturating_add(spent_cost.0)),
            },
            result: Some(Inferred {
                usage,
                usage_source,
                cost_source: if self.place.to.pricing.is_some() { CostSource::Estimated } else { CostSource::Unpriced },
                prices: Some(self.subject.prices),
                partial: true,
                service_tier: summary.service_tier,
                http_status: self.status,
                route_match: self.failover(),
                system_prompt_override: self.other_override(),
                served_provider: self.status.map(|_| self.place.provider().to_string()),
                model: summary.model.or_else(|| self.failover().map(|_| self.place.to.upstream_model.clone())),
                provider_request_id: self.upstream_id.clone().or(summary.provider_request_id),
                ttft_ms: self.first_byte.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
                ..Inferred::default()
            }),
            ..Outcome::failed(reason)
        });
    }

    /// What is to look at a stream as it comes, and how many characters of it are to be held back for that.
    pub(crate) fn guarded(&self) -> Option<(AnswerSafety, usize)> {
        let safety = self.safety.as_ref()?;
        Some((safety.clone(), safety.window()?))
    }

    /// How many answers the caller asked for.
    pub(crate) fn choices(&self) -> u64 {
        self.subject.choices
    }

    /// Whether a whole answer is looked at for safety.
    pub(crate) fn is_looked_at(&self) -> bool {
        self.safety.is_some()
    }

    /// A stream goes to the caller as it comes: what it says is looked at when it is over, if anything looks.
    pub(crate) fn overhear(&mut self) {
        self.heard = self.safety.as_ref().map(|_| Heard::default());
    }

    /// Looks at a whole answer for safety, which the caller does not have.
    pub(crate) async fn look_for_safety(&mut self, answer: &Bytes, said: &[String]) -> Inspection {
        let (Some(safety), Some(running)) = (&self.safety, &mut self.running) else { return Inspection::Give };
        running.look_for_safety(safety, answer, said, false).await
    }

    /// A whole answer as the caller gets it: credentials in it may be replaced.
    pub(crate) async fn replaced(&self, answer: &Bytes, is_stream: bool) -> Result<Bytes, Denial> {
        match &self.safety {
            Some(safety) => redacted::whole(answer, safety, is_stream).await,
            None => Ok(answer.clone()),
        }
    }

    /// Records the end of a stream: this one, or that of an answer that arrived. What it said is looked at before if anything
    /// looks, whether or not the caller waits for that; what is given tells when it is done.
    pub(crate) fn close(mut self: Box<Self>, end: Option<End>) -> Option<JoinHandle<()>> {
        let looking = self.heard.take().zip(self.safety.clone());
        let Some((heard, safety)) = looking.filter(|_| Handle::try_current().is_ok()) else {
            self.finish_as(end);
            return None;
        };
        let tasks = safety.tasks().clone();
        let mut looking = Box::pin(async move {
            self.look_at(heard, &safety, matches!(end, Some(End::Cut(_)))).await;
            self.finish_as(end);
        });
        // Mostly there is nothing to wait for.
        if looking.as_mut().now_or_never().is_some() { None } else { Some(tasks.spawn(looking)) }
    }

    /// The caller of a stream went away. The same.
    pub(crate) fn leave(mut self: Box<Self>) {
        let looking = self.heard.take().zip(self.safety.clone());
        let Some((heard, safety)) = looking.filter(|_| Handle::try_current().is_ok()) else { return };
        let tasks = safety.tasks().clone();
        let mut looking = Box::pin(async move {
            self.look_at(heard, &safety, false).await;
            drop(self);
        });
        if looking.as_mut().now_or_never().is_none() {
            tasks.spawn(looking);
        }
    }

    async fn look_at(&mut self, heard: Heard, safety: &AnswerSafety, was_cut: bool) {
        let said = heard.finish();
        if let Some(running) = &mut self.running {
            running.look_for_safety(safety, &Bytes::new(), &said, !was_cut).await;
        }
    }

    fn finish_as(self: Box<Self>, end: Option<End>) {
        match end {
            Some(end) => self.finish(end),
            None => {
                self.finish_answer();
            }
        }
    }

    /// Whether the stream announced its own end.
    pub(crate) fn terminal_seen(&self) -> bool {
        self.tap.terminal_seen()
    }

    /// Whether the model said why it stopped.
    pub(crate) fn has_stopped(&self) -> bool {
        self.tap.has_stopped()
    }

    /// Nothing more of the answer comes.
    pub(crate) fn end_of_stream(&mut self) {
        // What comes to its end without saying so may lack something, which nobody shall get once more.
        if !self.tap.end_of_stream() {
            self.gathering = None;
        }
    }

    /// Whether what was fed so far ends where an event ends, so that one of ours may follow.
    pub(crate) fn at_event_boundary(&self) -> bool {
        self.tap.at_event_boundary()
    }

    /// The events that end the provider's stream with this error, where it stands.
    pub(crate) fn error_events(&self, error: &ErrorAnswer, request: &str) -> Vec<u8> {
        self.tap.error_events(error, Some(request))
    }

    /// Records the end of the call.
    pub(crate) fn finish(mut self: Box<Self>, end: End) {
        self.write_with(|_, _| end);
    }

    /// Records an answer that arrived to its end, and says what it was.
    pub(crate) fn finish_answer(mut self: Box<Self>) -> Judged {
        let mut judged = Judged::Broken;
        self.write_with(|recording, summary| {
            judged = judge(summary);
            End::of(recording, summary)
        });
        judged
    }

    /// Records an answer with an error status, and says what the provider says of it.
    pub(crate) fn finish_refused(mut self: Box<Self>) -> UpstreamErrorSummary {
        let mut error = UpstreamErrorSummary::default();
        self.write_with(|recording, summary| {
            error = summary.error.clone().unwrap_or_default();
            End::Failed(recording.reported(&error))
        });
        error
    }

    /// An error of the provider's, in words for the ledger. What it says of our credential may quote it.
    fn reported(&self, error: &UpstreamErrorSummary) -> String {
        let said = if error.is_about_credentials(self.status) {
            let kind = error.code.as_deref().or(error.kind.as_deref()).unwrap_or("it does not say why");
            Some(format!("the provider does not accept the gateway's credential ({kind})"))
        } else {
            (!error.message.is_empty()).then(|| format!("the provider reported {}", error.message))
        };
        let status = self.status.filter(|status| !(200..300).contains(status));
        match (status, said) {
            (Some(status), Some(said)) => format!("upstream status {status}: {said}"),
            (Some(status), None) => format!("upstream status {status}"),
            (None, said) => said.unwrap_or_else(|| "the provider reported an error without a word".to_owned()),
        }
    }

    /// What the call used: what the provider counted, and where it did not, what it must have cost it. From the moment it
    /// has the request that is at least the prompt, as estimated, and what was read of the answer, at four characters a
    /// token: providers count at the end, so an answer that is given up before would otherwise be free. Free is what it
    /// refused with an error, and what never reached it.
    ///
    /// A count that cannot be is recorded as the most that can, and as that: sums, budgets and quotas stay numbers.
    fn used(&self, summary: &AnswerSummary, end: &End) -> (Usage, UsageSource) {
        let (usage, source) = self.counted(summary, end);
        let bounded = usage.at_most(MOST_COUNTED);
        if bounded == usage { (usage, source) } else { (bounded, UsageSource::Bounded) }
    }

    fn counted(&self, summary: &AnswerSummary, end: &End) -> (Usage, UsageSource) {
        let mut usage = summary.usage;
        let tools: u64 = summary.tool_calls.iter().map(|call| call.input_bytes).sum();
        let seen = (summary.text.bytes + summary.thinking.bytes + tools).max(summary.unread_bytes).div_ceil(4);
        // Proxies that do not count say zero.
        if usage.total() == 0 && seen > 0 && usage.web_searches.is_none() {
            usage.input_tokens = None;
            usage.output_tokens = None;
        }
        let is_error =
            summary.error.is_some() && seen == 0 || self.status.is_some_and(|status| !(200..300).contains(&status));
        if is_error || !self.taken.is_taken() || matches!(end, End::NotReached(_)) {
            let source = if usage == Usage::default() { UsageSource::None } else { UsageSource::Provider };
            return (usage, source);
        }
        usage.input_tokens = usage.input_tokens.or(Some(self.subject.estimated_input_tokens));
        usage.output_tokens = match (usage.output_tokens, end) {
            (Some(counted), End::Completed | End::Withheld(_)) => Some(counted),
            (counted, _) => Some(counted.unwrap_or(0).max(seen)),
        };
        // What it counted before the model stopped is not all of it.
        let is_last_word = matches!(end, End::Completed | End::Withheld(_)) || summary.stop_reason.is_some();
        let source =
            if is_last_word && usage == summary.usage { UsageSource::Provider } else { UsageSource::Estimated };
        (usage, source)
    }

    /// How the route was left for another place than its first, if it was.
    fn failover(&self) -> Option<String> {
        let (first, here) = (&self.subject.first, &self.place.to);
        (here.permit_target != first.permit_target).then(|| {
            let (from, to) = if here.provider.name == first.provider.name {
                (first.permit_target.as_str(), here.permit_target.as_str())
            } else {
                (&*first.provider.name, &*here.provider.name)
            };
            format!("{},failover:{from}->{to}", self.subject.route_match)
        })
    }

    /// What was done to the system prompt, if it is not what the decision says.
    fn other_override(&self) -> Option<String> {
        let here = self.place.to.override_name();
        let decided = self.subject.system_prompt_override.as_deref();
        (here != decided).then(|| here.unwrap_or(NO_OVERRIDE).to_owned())
    }

    /// Tells those who export it, if there are any.
    fn export(
        &mut self,
        summary: &AnswerSummary,
        end: &End,
        status: &'static str,
        (usage, usage_source): (&Usage, UsageSource),
        cost: Microdollars,
    ) {
        let Some(exported) = self.subject.traced.end() else { return };
        let error = match end {
            End::Completed => None,
            End::Withheld(_) | End::Cut(_) => Some("withheld"),
            End::ClientDisconnected => Some("client_disconnected"),
            End::Failed(_) | End::NotReached(_) => {
                Some(self.failure(summary, end).map_or("_OTHER", ErrorClass::as_str))
            }
        };
        // What a provider says of a failure may quote what it was sent.
        let message = match end {
            End::NotReached(reason) | End::Withheld(reason) | End::Cut(reason) => Some(reason.as_str()),
            End::Completed | End::Failed(_) | End::ClientDisconnected => None,
        };
        exported.finish(&Ended {
            status,
            error,
            message,
            provider: self.place.provider(),
            model: &self.place.model,
            usage,
            usage_source,
            cost,
            response_model: summary.model.as_deref(),
            response_id: summary.provider_request_id.as_deref(),
            stop_reason: summary.stop_reason.as_ref().map(systemprompt_llm::StopReason::as_str),
            streamed: self.streamed,
            sent: self.begun,
            first_byte: self.first_byte,
        });
    }

    fn write_with(&mut self, judge: impl FnOnce(&Self, &AnswerSummary) -> End) {
        let Some(running) = self.running.take() else { return };
        let summary = self.left.take().unwrap_or_else(|| self.sum_up());
        let end = judge(self, &summary);
        let (usage, usage_source) = self.used(&summary, &end);
        if let Some(gathering) = self.gathering.take()
            && end == End::Completed
            && running.may_be_repeated()
        {
            gathering.keep(self.subject.dialect, &summary);
        }
        let cost_source = match (self.place.to.pricing, usage_source) {
            _ if self.cached => CostSource::None,
            (Some(_), UsageSource::Provider) if self.spent == (0, 0, Microdollars::ZERO) => CostSource::Provider,
            (None, UsageSource::Provider | UsageSource::Estimated | UsageSource::Bounded) => CostSource::Unpriced,
            (_, UsageSource::None) if self.spent == (0, 0, Microdollars::ZERO) => CostSource::None,
            _ => CostSource::Estimated,
        };
        // What was answered before was paid for then.
        let used = if self.cached { Usage::default() } else { usage };
        let cost = self.place.cost(&used, summary.service_tier.as_deref());
        if cost_source == CostSource::Unpriced {
            self.subject.metrics.unpriced(self.place.provider(), &self.place.model);
        }
        let status = match &end {
            End::Completed => OutcomeStatus::Completed,
            End::Failed(reason) | End::NotReached(reason) | End::Withheld(reason) | End::Cut(reason) => {
                OutcomeStatus::Failed { reason: reason.clone() }
            }
            End::ClientDisconnected => OutcomeStatus::Failed { reason: "client_disconnected".to_owned() },
        };

        let (subject, place) = (&self.subject, &self.place);
        let labels = RequestLabels {
            provider: place.provider().clone(),
            model: place.model.clone(),
            status: match &end {
                End::Completed => "completed",
                End::Failed(_) | End::NotReached(_) => "failed",
                End::Withheld(_) | End::Cut(_) => "withheld",
                End::ClientDisconnected => "client_disconnected",
            },
            dialect: subject.dialect.as_str(),
        };
        subject.metrics.ended(&labels, subject.received.elapsed(), &used, cost);
        if let Some(class) = self.failure(&summary, &end) {
            subject.metrics.failed(place.provider(), class);
        }
        // What came to nothing before was used as well.
        let (spent_input, spent_output, spent_cost) = self.spent;
        let input = used.prompt_tokens().saturating_add(spent_input);
        let output = used.output_tokens.unwrap_or(0).saturating_add(spent_output);
        let cost = Microdollars(cost.0.saturating_add(spent_cost.0));
        if let Some(session) = subject.session {
            subject.sessions.record_usage(session, input, output, cost);
        }
        self.export(&summary, &end, labels.status, (&used, usage_source), cost);
        let place = &self.place;
        if let Some(teller) = &self.subject.teller {
            teller.tell(Settled {
                request: running.id(),
                provider: place.provider().to_string(),
                model: summary.model.clone().unwrap_or_else(|| place.to.upstream_model.clone()),
                usage,
                cost,
                cached: self.cached,
                withheld: matches!(end, End::Withheld(_) | End::Cut(_)),
                failure: self.told,
            });
        }

        // What a provider says of our credential may quote it, and is kept nowhere.
        let about_credentials = |error: &UpstreamErrorSummary| error.is_about_credentials(self.status);
        let quotes_credential = self.status == Some(401) || summary.error.as_ref().is_some_and(about_credentials);
        let parts = summary.tool_calls.iter().enumerate().map(|(sequence, call)| {
            // Kept as content, which expires; the ledger keeps the name.
            let recorded = call.input_excerpt.floor_char_boundary(RECORDED_INPUT);
            (tool_call_part(sequence), call.input_excerpt[..recorded].to_owned())
        });
        running.finish(Outcome {
            usage: Used { calls: 1, input_tokens: input, output_tokens: output, cost },
            answer: self.capture.take().filter(|_| !quotes_credential).map(Capture::finish),
            parts: parts.collect(),
            result: Some(Inferred {
                usage,
                usage_source,
                cost_source,
                cache_hit: self.cached,
                prices: Some(self.subject.prices),
                partial: summary.is_partial(),
                service_tier: summary.service_tier,
                http_status: self.status,
                route_match: self.failover(),
                system_prompt_override: self.other_override(),
                served_provider: self.status.map(|_| place.provider().to_string()),
                model: summary.model.or_else(|| self.failover().map(|_| place.to.upstream_model.clone())),
                provider_request_id: self.upstream_id.take().or(summary.provider_request_id),
                stop_reason: summary.stop_reason.map(|reason| reason.to_string()),
                tool_calls: summary
                    .tool_calls
                    .into_iter()
                    .map(|call| ToolCallFacts { id: call.id, name: call.name })
                    .collect(),
                ttft_ms: self.first_byte.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            }),
            ..Outcome::new(status)
        });
    }
}

/// Those of the tools that a model is offered whose calls a policy wants to see.
fn watched(running: &Running<Infer>) -> impl Iterator<Item = String> + '_ {
    let offered = running.effect().offered_tools().into_iter();
    offered.filter(|name| running.is_inspected(Inspected::ToolCall { name }))
}

/// A tap for the answer to a call.
fn tap(subject: &Subject, place: &Place, streamed: bool) -> AnswerTap {
    let mut tap = AnswerTap::new(place.format, streamed, 0, JUDGED_INPUT);
    tap.expect_choices(subject.choices);
    tap
}

/// What an attempt used, as budgets count it.
fn total(usage: &Usage, cost: Microdollars) -> Used {
    if *usage == Usage::default() {
        return Used::default();
    }
    let (input_tokens, output_tokens) = (usage.prompt_tokens(), usage.output_tokens.unwrap_or(0));
    Used { calls: 1, input_tokens, output_tokens, cost }
}

/// What an answer was that arrived to its end.
fn judge(summary: &AnswerSummary) -> Judged {
    match &summary.error {
        _ if summary.complete => Judged::Complete,
        Some(error) => Judged::Error(error.clone()),
        None => Judged::Broken,
    }
}

impl Drop for Recording {
    /// A call that was given up by whoever awaited it: the caller closed the connection. One that has all of the answer
    /// does so rightly.
    fn drop(&mut self) {
        if self.held || !(self.tap.terminal_seen() || self.tap.has_stopped()) {
            return self.write_with(|_, _| End::ClientDisconnected);
        }
        self.end_of_stream();
        self.write_with(End::of);
    }
}
