//! The outcome of one call, gathered while it runs. However the call ends — even by the caller going away and the
//! future being dropped — exactly one outcome reaches the ledger.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::response;
use systemprompt_extension::policy::{Subject as Inspected, Texts, Usage as Used};
use systemprompt_governance::{Inspection, NotPermitted, Outcome, OutcomeStatus, Running, Target};
use systemprompt_identity::Sessions;
use systemprompt_llm::catalog::Pricing;
use systemprompt_llm::{AnswerSummary, AnswerTap, Format, UpstreamErrorSummary, Usage};
use systemprompt_model::SessionId;

use crate::attempt::AttemptFailure;
use crate::capture::Capture;
use crate::metrics::{ErrorClass, GatewayMetrics, RequestLabels};
use crate::request::{Infer, Inferred, ToolCallFacts, UsageSource, tool_call_part};
use crate::upstream::{SendError, Taken, provider_request_id};

/// How much of a tool's input is recorded (gateway specification §11).
const TOOL_INPUT: usize = 64 * 1024;

/// What is known of a call before it is made, for its price and its metrics.
pub(crate) struct Subject {
    /// The caller's format.
    pub(crate) dialect: Format,
    /// The format of the answer.
    pub(crate) format: Format,
    pub(crate) provider: String,
    /// The model's name in metrics.
    pub(crate) model: String,
    pub(crate) pricing: Pricing,
    /// Tokens of the prompt, as estimated from its length.
    pub(crate) estimated_input_tokens: u64,
    /// How many answers the caller asked for.
    pub(crate) choices: u64,
    /// Since when the caller waits.
    pub(crate) received: Instant,
    pub(crate) metrics: Arc<GatewayMetrics>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) session: Option<SessionId>,
    /// How long policies may look at the answer.
    pub(crate) inspection_limit: Duration,
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
    tap: AnswerTap,
    streamed: bool,
    capture: Option<Capture>,
    sent: Instant,
    first_byte: Option<Duration>,
    status: Option<u16>,
    upstream_id: Option<String>,
    /// Whether the last attempt reached a provider.
    taken: Taken,
    /// The caller has nothing of the answer until all of it is there, and was inspected if a policy wants to.
    held: bool,
    /// How the provider failed, where the answer does not say.
    broke: Option<ErrorClass>,
}

impl Recording {
    /// Starts the clock of a call that is about to be sent.
    pub(crate) fn new(running: Running<Infer>, subject: Subject, streamed: bool) -> Self {
        let sent = Instant::now();
        subject.metrics.sent_after(sent.duration_since(subject.received));
        Self {
            capture: Some(Capture::new(running.content_limit())),
            running: Some(running),
            tap: tap(&subject, streamed),
            streamed,
            subject,
            sent,
            first_byte: None,
            status: None,
            upstream_id: None,
            taken: Taken::default(),
            held: false,
            broke: None,
        }
    }

    /// Begins another attempt, and gives the bytes to send again.
    pub(crate) fn retry(&mut self, target: &Target, why: AttemptFailure) -> Result<Bytes, NotPermitted> {
        self.subject.metrics.retried(&self.subject.provider);
        self.taken = Taken::default();
        match &mut self.running {
            Some(running) => running.retry(target, &why.to_string()),
            None => Err(NotPermitted(target.as_str().to_owned())),
        }
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
        let limit = self.subject.inspection_limit;
        match &mut self.running {
            Some(running) => running.inspect(Inspected::Answer, answer, &Texts::with(answer, said), limit).await,
            None => Inspection::Give,
        }
    }

    /// Notes why no answer came, or no whole one.
    pub(crate) fn broke(&mut self, error: &SendError) {
        self.broke = Some(ErrorClass::of(error));
    }

    /// How the provider failed, if it did.
    fn failure(&self, summary: &AnswerSummary, end: &End) -> Option<ErrorClass> {
        if let Some(class) = self.status.and_then(ErrorClass::of_status) {
            return Some(class);
        }
        match end {
            End::Completed | End::Withheld(_) | End::ClientDisconnected => None,
            End::Failed(_) | End::NotReached(_) => Some(self.broke.unwrap_or(if summary.error.is_some() {
                ErrorClass::Reported
            } else {
                ErrorClass::Malformed
            })),
        }
    }

    /// Time since the call was sent.
    pub(crate) fn elapsed(&self) -> Duration {
        self.sent.elapsed()
    }

    /// Notes the head of the answer, and whether a stream follows it.
    pub(crate) fn head_arrived(&mut self, head: &response::Parts, streamed: bool) {
        self.status = Some(head.status.as_u16());
        self.upstream_id = provider_request_id(&head.headers).and_then(|id| id.to_str().ok()).map(str::to_owned);
        self.subject.metrics.head_after(&self.subject.provider, self.elapsed());
        if streamed != self.streamed {
            self.streamed = streamed;
            self.tap = tap(&self.subject, streamed);
        }
    }

    /// Watches a piece of the answer on its way to the caller.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.first_byte.is_none() {
            self.first_byte = Some(self.elapsed());
        }
        self.tap.feed(bytes);
        if let Some(capture) = &mut self.capture {
            capture.feed(bytes);
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

    /// The provider ended the stream.
    pub(crate) fn end_of_stream(&mut self) {
        self.tap.end_of_stream();
    }

    /// Whether what was fed so far ends where an event ends, so that one of ours may follow.
    pub(crate) fn at_event_boundary(&self) -> bool {
        self.tap.at_event_boundary()
    }

    /// Records the end of the call.
    pub(crate) fn finish(mut self, end: End) {
        self.write_with(|_, _| end);
    }

    /// Records an answer that arrived to its end, and says what it was.
    pub(crate) fn finish_answer(mut self) -> Judged {
        let mut judged = Judged::Broken;
        self.write_with(|recording, summary| {
            judged = judge(summary);
            End::of(recording, summary)
        });
        judged
    }

    /// Records an answer with an error status, and says what the provider says of it.
    pub(crate) fn finish_refused(mut self) -> UpstreamErrorSummary {
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
    fn used(&self, summary: &AnswerSummary, end: &End) -> (Usage, UsageSource) {
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

    fn write_with(&mut self, judge: impl FnOnce(&Self, &AnswerSummary) -> End) {
        let Some(running) = self.running.take() else { return };
        let tap = std::mem::replace(&mut self.tap, AnswerTap::new(self.subject.format, self.streamed, 0, 0));
        let summary = tap.finish();
        let end = judge(self, &summary);
        let (usage, usage_source) = self.used(&summary, &end);
        let cost = self.subject.pricing.cost(&usage, summary.service_tier.as_deref());
        let status = match &end {
            End::Completed => OutcomeStatus::Completed,
            End::Failed(reason) | End::NotReached(reason) | End::Withheld(reason) => {
                OutcomeStatus::Failed { reason: reason.clone() }
            }
            End::ClientDisconnected => OutcomeStatus::Failed { reason: "client_disconnected".to_owned() },
        };

        let subject = &self.subject;
        let labels = RequestLabels {
            provider: subject.provider.clone(),
            model: subject.model.clone(),
            status: match &end {
                End::Completed => "completed",
                End::Failed(_) | End::NotReached(_) => "failed",
                End::Withheld(_) => "withheld",
                End::ClientDisconnected => "client_disconnected",
            },
            dialect: subject.dialect.as_str(),
        };
        subject.metrics.ended(&labels, subject.received.elapsed(), &usage, cost);
        if let Some(class) = self.failure(&summary, &end) {
            subject.metrics.failed(&subject.provider, class);
        }
        let (input, output) = (usage.prompt_tokens(), usage.output_tokens.unwrap_or(0));
        if let Some(session) = subject.session {
            subject.sessions.record_usage(session, input, output, cost);
        }

        // What a provider says of our credential may quote it, and is kept nowhere.
        let about_credentials = |error: &UpstreamErrorSummary| error.is_about_credentials(self.status);
        let quotes_credential = self.status == Some(401) || summary.error.as_ref().is_some_and(about_credentials);
        let parts = summary.tool_calls.iter().enumerate().map(|(sequence, call)| {
            // Kept as content, which expires; the ledger keeps the name.
            (tool_call_part(sequence), call.input_excerpt.clone())
        });
        running.finish(Outcome {
            usage: Used { calls: 1, tokens: input.saturating_add(output), cost },
            answer: self.capture.take().filter(|_| !quotes_credential).map(Capture::finish),
            parts: parts.collect(),
            result: Some(Inferred {
                usage,
                usage_source,
                partial: summary.is_partial(),
                service_tier: summary.service_tier,
                http_status: self.status,
                model: summary.model,
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

/// A tap for the answer to a call.
fn tap(subject: &Subject, streamed: bool) -> AnswerTap {
    let mut tap = AnswerTap::new(subject.format, streamed, 0, TOOL_INPUT);
    tap.expect_choices(subject.choices);
    tap
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
        self.tap.end_of_stream();
        self.write_with(End::of);
    }
}
