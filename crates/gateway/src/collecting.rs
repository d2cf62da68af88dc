//! An answer that reaches the caller whole: because it was asked for so, or because the provider sent it so.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{StatusCode, response};
use systemprompt_governance::Inspection;
use systemprompt_llm::{StreamTexts, UpstreamErrorSummary};
use systemprompt_model::json::loose;

use crate::failure::FailureKind;
use crate::lane::Shape;
use crate::passage::WayBack;
use crate::recording::{End, Judged, Recording};
use crate::upstream::{self, SendError, UpstreamBody};

/// An error answer of a provider is relayed up to this size.
const ERROR_LIMIT: usize = 1024 * 1024;
/// An answer may have this size; beyond it the call fails instead of filling our memory.
const ANSWER_LIMIT: usize = 32 * 1024 * 1024;

const JSON: &str = "application/json";
/// What a stream that was collected is called.
pub(crate) const EVENTS: &str = "text/event-stream";

/// How an answer is collected.
pub(crate) struct Collecting<'a> {
    /// Into whose format.
    pub(crate) back: &'a WayBack,
    /// The caller asked for a stream.
    pub(crate) stream: bool,
    pub(crate) provider: &'a str,
    pub(crate) shape: Shape,
    /// How long the whole call may take.
    pub(crate) limit: Duration,
}

/// A whole answer.
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    /// What it is called, where that is known better than the provider says.
    pub(crate) kind: Option<&'static str>,
    pub(crate) body: Bytes,
}

impl Collecting<'_> {
    /// Reads an answer to its end, has policies look at it, and records it.
    pub(crate) async fn collect(
        &self,
        mut recording: Box<Recording>,
        head: &response::Parts,
        body: UpstreamBody,
    ) -> Result<Whole, FailureKind> {
        recording.hold();
        let status = head.status;
        let limit = if status.is_success() { ANSWER_LIMIT } else { ERROR_LIMIT };
        let time = self.limit.saturating_sub(recording.elapsed());
        let body = match upstream::collect(body, limit, time, |piece| recording.feed(piece)).await {
            Ok(body) => body,
            Err(error) => {
                let error = match error {
                    SendError::TimedOut(_) => SendError::TimedOut(self.limit),
                    // Its status says enough.
                    upstream::TOO_LARGE if !status.is_success() => {
                        SendError::Refused(status, head.headers.get(RETRY_AFTER).cloned())
                    }
                    error => error,
                };
                recording.finish(End::Failed(error.to_string()));
                return Err(error.into());
            }
        };
        recording.end_of_stream();
        let format = self.back.provider();
        let (mut body, kind) = match self.shape {
            Shape::Json => (body, Some(JSON)),
            Shape::Other => (body, None),
            // Nobody asked for a stream. An error is worth more than what came before it.
            Shape::Events | Shape::Refusal | Shape::Failure(_) => {
                match format.error_in_stream(&body).or_else(|| format.collect_stream(&body)) {
                    Some(message) => (message.into(), Some(JSON)),
                    None => (body, Some(EVENTS)),
                }
            }
        };
        // An error is looked at like any other answer: it may repeat what it was sent.
        let (is_held, is_looked_at) = (recording.holds_answer(), recording.is_looked_at());
        if is_held || is_looked_at {
            let said = if kind == Some(EVENTS) { texts(&body) } else { Vec::new() };
            let mut inspection = if is_held { recording.inspect(&body, &said).await } else { Inspection::Give };
            if is_looked_at && inspection == Inspection::Give {
                inspection = recording.look_for_safety(&body, &said).await;
            }
            if is_looked_at && inspection == Inspection::Give {
                match recording.replaced(&body, kind == Some(EVENTS)).await {
                    Ok(replaced) => body = replaced,
                    Err(denial) => inspection = Inspection::Withhold(denial),
                }
            }
            if let Inspection::Withhold(denial) = inspection {
                recording.finish(End::Withheld(format!("the answer was withheld: {denial}")));
                return Err(FailureKind::Withheld(denial));
            }
        }
        if let Inspection::Withhold(denial) = recording.inspect_tool_calls().await {
            recording.finish(End::Withheld(format!("the answer was withheld: {denial}")));
            return Err(FailureKind::Withheld(denial));
        }
        if !status.is_success() {
            return self.refused(recording, head, body);
        }
        match recording.finish_answer() {
            Judged::Complete => self.translated(Whole { status, kind, body }),
            Judged::Error(error) => self.error_in_disguise(status, &error, body),
            Judged::Broken if matches!(self.shape, Shape::Events | Shape::Refusal) => {
                Err(SendError::Broken("ended its answer before it was complete").into())
            }
            Judged::Broken => Err(SendError::Broken("sent an answer that is not a message").into()),
        }
    }

    /// An answer whose status says that it is none. The caller gets the provider's own words, unless they are about
    /// something that is not its business.
    fn refused(&self, recording: Box<Recording>, head: &response::Parts, body: Bytes) -> Result<Whole, FailureKind> {
        let status = head.status;
        let error = recording.finish_refused();
        if error.is_about_credentials(Some(status.as_u16())) {
            return Err(self.credential_refused(status.as_u16()));
        }
        // A redirect is not followed, and not shown: where it leads is none of the caller's business.
        if body.is_empty() || !(status.is_client_error() || status.is_server_error()) {
            let retry_after: Option<HeaderValue> = head.headers.get(RETRY_AFTER).cloned();
            return Err(SendError::Refused(status, retry_after).into());
        }
        Ok(self.error(status, body))
    }

    /// An answer, in the caller's format.
    fn translated(&self, whole: Whole) -> Result<Whole, FailureKind> {
        let WayBack::Translated(translation) = self.back else { return Ok(whole) };
        let (given, kind) = match (whole.kind == Some(EVENTS), self.stream) {
            (false, false) => (translation.whole(&whole.body), JSON),
            (false, true) => (translation.whole_as_stream(&whole.body), EVENTS),
            (true, _) => (translation.stream_as_whole(&whole.body), JSON),
        };
        match given {
            Some(body) => Ok(Whole { status: whole.status, kind: Some(kind), body: body.into() }),
            None => Err(SendError::Broken("sent an answer that is not a message").into()),
        }
    }

    /// An error of the provider's: its own words, or what they mean in the caller's format.
    fn error(&self, status: StatusCode, body: Bytes) -> Whole {
        match self.back {
            WayBack::Relayed { .. } => {
                let kind = loose::is_structure(&body).then_some(JSON);
                Whole { status, kind, body }
            }
            WayBack::Translated(translation) => {
                let error = translation.error(status.as_u16(), &body);
                Whole { status, kind: Some(JSON), body: error.body(translation.caller(), None).into() }
            }
        }
    }

    /// An error that came with the status of a success gets the one it should have had, so that clients see it.
    fn error_in_disguise(
        &self,
        status: StatusCode,
        error: &UpstreamErrorSummary,
        body: Bytes,
    ) -> Result<Whole, FailureKind> {
        if error.is_about_credentials(None) {
            return Err(self.credential_refused(status.as_u16()));
        }
        let meant = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::BAD_GATEWAY);
        Ok(self.error(meant, body))
    }

    fn credential_refused(&self, status: u16) -> FailureKind {
        tracing::error!(
            provider = self.provider,
            status,
            "the provider does not accept the credential the gateway has for it: renew its api_key_secret"
        );
        SendError::CredentialRefused { provider: self.provider.to_owned(), status }.into()
    }
}

/// The texts a stream says in pieces.
fn texts(stream: &[u8]) -> Vec<String> {
    let mut texts = StreamTexts::new(ANSWER_LIMIT);
    texts.feed(stream);
    texts.finish()
}
