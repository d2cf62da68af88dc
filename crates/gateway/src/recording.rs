//! The outcome of one call, gathered while it runs. However the call ends — even by the caller going away and the
//! future being dropped — exactly one outcome reaches the ledger.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::response;
use systemprompt_governance::{Outcome, OutcomeStatus, Permit, ToolCallRecord};
use systemprompt_identity::Sessions;
use systemprompt_llm::catalog::Pricing;
use systemprompt_llm::{AnswerSummary, AnswerTap, Format, Usage};
use systemprompt_model::SessionId;

use crate::capture::Capture;
use crate::metrics::{GatewayMetrics, RequestLabels};
use crate::upstream::provider_request_id;

/// How much of a tool's input is recorded (gateway specification §11).
const TOOL_INPUT: usize = 64 * 1024;

/// What is known of a call before it is made, for its price and its metrics.
pub(crate) struct Subject {
    pub(crate) format: Format,
    pub(crate) provider: String,
    /// The model's name in metrics.
    pub(crate) model: String,
    pub(crate) pricing: Pricing,
    /// Tokens of the prompt, as estimated from its length.
    pub(crate) estimated_input_tokens: u64,
    /// Since when the caller waits.
    pub(crate) received: Instant,
    pub(crate) metrics: Arc<GatewayMetrics>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) session_id: SessionId,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With a complete answer.
    Completed,
    /// Not well, for this reason.
    Failed(String),
    /// The caller did not wait for the answer.
    ClientDisconnected,
}

/// A running call and the permit it runs under.
pub(crate) struct Recording {
    permit: Option<Permit>,
    subject: Subject,
    tap: AnswerTap,
    streamed: bool,
    capture: Option<Capture>,
    sent: Instant,
    first_byte: Option<Duration>,
    status: Option<u16>,
    upstream_id: Option<String>,
}

impl Recording {
    /// Starts the clock of a call that is about to be sent.
    pub(crate) fn new(permit: Permit, subject: Subject, streamed: bool) -> Self {
        let sent = Instant::now();
        subject.metrics.sent_after(sent.duration_since(subject.received));
        Self {
            capture: Some(Capture::new(permit.content_limit())),
            permit: Some(permit),
            tap: AnswerTap::new(subject.format, streamed, 0, TOOL_INPUT),
            streamed,
            subject,
            sent,
            first_byte: None,
            status: None,
            upstream_id: None,
        }
    }

    /// The bytes to send: those that were judged.
    pub(crate) fn content(&self) -> Bytes {
        self.permit.as_ref().map(|permit| permit.content().clone()).unwrap_or_default()
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
            self.tap = AnswerTap::new(self.subject.format, streamed, 0, TOOL_INPUT);
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

    /// Whether what was fed so far ends where an event ends, so that one of ours may follow.
    pub(crate) fn at_event_boundary(&self) -> bool {
        self.tap.at_event_boundary()
    }

    /// Records the end of the call.
    pub(crate) fn finish(mut self, end: End) {
        self.write_with(|_| end);
    }

    /// Records an answer that arrived to its end. Returns false, and records a failure, if it is not a whole message.
    pub(crate) fn finish_answer(mut self) -> bool {
        self.write_with(judge) == Some(End::Completed)
    }

    /// What an unfinished answer used: what the provider counted so far, and at least what the caller got to see, at four
    /// characters a token. Providers count at the end; hanging up before must not make the answer free.
    fn at_least(&self, summary: &AnswerSummary) -> Usage {
        let tools: u64 = summary.tool_calls.iter().map(|call| call.input_bytes).sum();
        let seen = (summary.text.bytes + tools).div_ceil(4);
        let mut usage = summary.usage;
        if seen > 0 {
            usage.output_tokens = Some(usage.output_tokens.unwrap_or(0).max(seen));
            usage.input_tokens = usage.input_tokens.or(Some(self.subject.estimated_input_tokens));
        }
        usage
    }

    fn write_with(&mut self, judge: impl FnOnce(&AnswerSummary) -> End) -> Option<End> {
        let permit = self.permit.take()?;
        let tap = std::mem::replace(&mut self.tap, AnswerTap::new(self.subject.format, self.streamed, 0, 0));
        let summary = tap.finish();
        let end = judge(&summary);
        let usage = &if end == End::Completed { summary.usage } else { self.at_least(&summary) };
        let cost = self.subject.pricing.cost(usage);
        let status = match &end {
            End::Completed => OutcomeStatus::Completed,
            End::Failed(reason) => OutcomeStatus::Failed { reason: reason.clone() },
            End::ClientDisconnected => OutcomeStatus::Failed { reason: "client_disconnected".to_owned() },
        };

        let subject = &self.subject;
        let labels = RequestLabels {
            provider: subject.provider.clone(),
            model: subject.model.clone(),
            status: match &end {
                End::Completed => "completed",
                End::Failed(_) => "failed",
                End::ClientDisconnected => "client_disconnected",
            },
            dialect: subject.format.as_str(),
        };
        subject.metrics.ended(&labels, usage, cost);
        let (input, output) = (usage.prompt_tokens(), usage.output_tokens.unwrap_or(0));
        subject.sessions.record_usage(subject.session_id, input, output, cost);

        permit.finish(Outcome {
            status,
            input_tokens: usage.input_tokens.unwrap_or(0),
            output_tokens: usage.output_tokens.unwrap_or(0),
            cache_read_tokens: usage.cache_read_tokens.unwrap_or(0),
            cache_creation_tokens: usage.cache_creation_tokens.unwrap_or(0),
            cost,
            latency: self.sent.elapsed(),
            first_byte: self.first_byte,
            provider_request_id: self.upstream_id.take().or(summary.provider_request_id),
            served_model: summary.model,
            http_status: self.status,
            stop_reason: summary.stop_reason.map(|reason| reason.to_string()),
            response: self.capture.take().map(Capture::finish),
            tool_calls: summary
                .tool_calls
                .into_iter()
                .map(|call| ToolCallRecord { id: call.id, name: call.name, input: call.input_excerpt })
                .collect(),
        });
        Some(end)
    }
}

/// How an answer ended that arrived to its end.
fn judge(summary: &AnswerSummary) -> End {
    match &summary.error {
        _ if summary.complete => End::Completed,
        Some(error) => End::Failed(format!("the provider reported {}", error.message)),
        None => End::Failed("the upstream provider sent an answer that is not a message".to_owned()),
    }
}

impl Drop for Recording {
    /// A call that was given up by whoever awaited it: the caller closed the connection. One that has all of the answer
    /// does so rightly.
    fn drop(&mut self) {
        if self.tap.terminal_seen() {
            self.write_with(judge);
        } else {
            self.write_with(|_| End::ClientDisconnected);
        }
    }
}
