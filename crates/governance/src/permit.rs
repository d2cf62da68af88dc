//! The proof that something may be done.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use systemprompt_model::{Microdollars, RequestId};

use crate::ledger::record::{Closing, Kept, KeptToolCall, cleaned, cut, sha256};
use crate::ledger::{OpenRequest, Payload, TOOL_INPUT_LIMIT};
use crate::secret_scan::{SecretScanner, redact};

/// Most tool calls of one answer that are recorded.
const TOOL_CALL_LIMIT: usize = 128;

/// The proof that an action was decided upon and recorded. Whatever has an effect takes one by value, so an effect that
/// was not governed does not compile.
///
/// Only [`Gate::admit`](crate::Gate::admit) makes permits:
///
/// ```
/// use systemprompt_governance::{Action, Gate, Permit, Refusal};
///
/// async fn ask(gate: &Gate, action: Action) -> Result<Permit, Refusal> {
///     gate.admit(action).await
/// }
/// ```
///
/// Nobody else can:
///
/// ```compile_fail,E0451
/// use systemprompt_governance::{Action, Gate, Permit, Refusal};
///
/// async fn ask(gate: &Gate, action: Action, other: Action) -> Result<Permit, Refusal> {
///     Ok(Permit { content: other.content, ..gate.admit(action).await? })
/// }
/// ```
///
/// One admission is one effect, for a permit cannot be copied:
///
/// ```compile_fail,E0599
/// use systemprompt_governance::{Action, Gate, Permit, Refusal};
///
/// async fn ask(gate: &Gate, action: Action) -> Result<Permit, Refusal> {
///     Ok(gate.admit(action).await?.clone())
/// }
/// ```
///
/// A permit that is dropped without [an outcome](Self::finish) is recorded as `failed`.
#[must_use = "the request stays open until the permit is finished"]
pub struct Permit {
    request: OpenRequest,
    id: RequestId,
    content: Bytes,
    model: Option<String>,
    /// What a scanner found in the content although policy lets it pass; it is not kept.
    flagged: Vec<Range<usize>>,
    scanner: Arc<SecretScanner>,
}

impl Permit {
    pub(crate) fn new(
        request: OpenRequest,
        id: RequestId,
        content: Bytes,
        model: Option<String>,
        flagged: Vec<Range<usize>>,
        scanner: Arc<SecretScanner>,
    ) -> Self {
        Self { request, id, content, model, flagged, scanner }
    }

    /// The id of the ledger record, shown to the caller.
    pub fn request_id(&self) -> RequestId {
        self.id
    }

    /// The bytes that were judged, and the only ones to be sent.
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// How much of the answer is worth holding for [`Outcome::response`], in bytes.
    pub fn content_limit(&self) -> usize {
        if self.flagged.is_empty() { self.request.retention().content.limit() } else { 0 }
    }

    /// Records how it ended. Never waits: the outcome is written with one of the next batches, and again until it is.
    pub fn finish(self, outcome: Outcome) {
        let at = self.request.now();
        let id = self.id.as_uuid();
        let (status, error_message) = match outcome.status {
            OutcomeStatus::Completed => ("completed", None),
            OutcomeStatus::Failed { reason } => ("failed", Some(reason)),
            OutcomeStatus::Abandoned => ("abandoned", None),
        };
        let retention = self.request.retention().content;
        // A provider may quote the request in what it says, in any of these.
        let text = |text: String| cleaned(self.scanner.redacted(text));
        let provider_id = |id: String| cleaned(self.scanner.redacted_id(id));
        let closing = if status == "abandoned" {
            Closing::abandoned(id, at)
        } else {
            Closing {
                status: status.into(),
                error_message: error_message.map(text),
                model: outcome.served_model.map(text).or(self.model),
                provider_request_id: outcome.provider_request_id.map(provider_id),
                http_status: outcome.http_status.and_then(|status| i16::try_from(status).ok()),
                stop_reason: outcome.stop_reason.map(text),
                input_tokens: Some(count(outcome.input_tokens)),
                output_tokens: Some(count(outcome.output_tokens)),
                cache_read_tokens: Some(count(outcome.cache_read_tokens)),
                cache_creation_tokens: Some(count(outcome.cache_creation_tokens)),
                cost_microdollars: Some(outcome.cost.0),
                latency_ms: Some(milliseconds(outcome.latency)),
                ttft_ms: outcome.first_byte.map(milliseconds),
                response_bytes: outcome.response.as_ref().map(|payload| count(payload.bytes)),
                response_sha256: outcome.response.as_ref().and_then(digest),
                ..Closing::failed(id, "", at)
            }
        };
        let kept = if self.flagged.is_empty() {
            retention.keep(&self.content).map(|request| Kept {
                request,
                response: outcome.response.as_ref().and_then(|payload| retention.keep_payload(payload)),
            })
        } else {
            // An answer may repeat what was found, so nothing is kept of it.
            let redacted = redact(&self.content, &self.flagged);
            retention.keep(&redacted).map(|request| Kept { request, response: None })
        };
        let keeps_tool_inputs = kept.is_some() && self.flagged.is_empty();
        let tool_calls = outcome
            .tool_calls
            .into_iter()
            .take(TOOL_CALL_LIMIT)
            .map(|call| KeptToolCall {
                id: provider_id(call.id),
                name: text(call.name),
                input: keeps_tool_inputs.then(|| cut(&call.input, TOOL_INPUT_LIMIT).replace('\0', "\u{fffd}")),
            })
            .collect();
        self.request.finish(closing, kept, tool_calls);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("id", &self.id).field("bytes", &self.content.len()).finish_non_exhaustive()
    }
}

/// How something that was permitted ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Well or not.
    pub status: OutcomeStatus,
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Tokens the provider read from its cache.
    pub cache_read_tokens: u64,
    /// Tokens the provider wrote to its cache.
    pub cache_creation_tokens: u64,
    /// Price of all of them.
    pub cost: Microdollars,
    /// From sending to the end of the answer.
    pub latency: Duration,
    /// From sending to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// The provider's own id of the request.
    pub provider_request_id: Option<String>,
    /// The model that answered, as the provider says; the model that was asked if absent.
    pub served_model: Option<String>,
    /// The status the provider answered with.
    pub http_status: Option<u16>,
    /// The answer. What is kept of it follows the retention setting.
    pub response: Option<Payload>,
    /// Why the answer ended.
    pub stop_reason: Option<String>,
    /// The tools the model asked for; the first 128 are recorded.
    pub tool_calls: Vec<ToolCallRecord>,
}

impl Outcome {
    /// An outcome of which nothing else is known.
    pub fn new(status: OutcomeStatus, latency: Duration) -> Self {
        Self {
            status,
            input_tokens: 0,
            output_tokens: 0,
            cache_read_tokens: 0,
            cache_creation_tokens: 0,
            cost: Microdollars::ZERO,
            latency,
            first_byte: None,
            provider_request_id: None,
            served_model: None,
            http_status: None,
            response: None,
            stop_reason: None,
            tool_calls: Vec::new(),
        }
    }
}

/// Whether it ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutcomeStatus {
    /// With a complete answer.
    Completed,
    /// Not well.
    Failed {
        /// Why, e.g. `client_disconnected`.
        reason: String,
    },
    /// Unknown, because the server stopped first.
    Abandoned,
}

/// A tool the model asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCallRecord {
    /// The id the model gave it.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What the tool is to be called with, as JSON; cut at 64 KiB.
    pub input: String,
}

fn digest(payload: &Payload) -> Option<[u8; 32]> {
    payload.sha256.or_else(|| payload.is_complete().then(|| sha256(&payload.head)))
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Counts end at 2^53, as JSON's numbers do.
fn count(value: u64) -> i64 {
    value.min(1 << 53) as i64
}
