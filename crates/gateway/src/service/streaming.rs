//! An answer piece by piece.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body::Body as _;
use systemprompt_llm::HeardStream;
use systemprompt_llm::neutral::{Answer, Delta, Event, Grounding, Part, ToolCall};
use systemprompt_model::ActionId;

use super::ai::{AiService, settled};
use super::error::AiError;
use super::request::AiRequest;
use super::response::{AiResponse, AiUsage};
use super::speaking::{Asking, speak};
use crate::inference::AnswerBody;
use crate::settled::Settling;

/// Something of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum AiEvent {
    /// More of what the model says.
    Text(String),
    /// More of what it thinks.
    Thinking(String),
    /// A tool it wants called, whole.
    ToolCall(ToolCall),
    /// What all of it used, as the ledger has it. The answer is over.
    Usage(AiUsage),
    /// The whole answer. Nothing follows.
    Stop(Box<AiResponse>),
}

/// An answer on its way. It ends with [`AiEvent::Stop`] or with an error, and with nothing else: an answer that breaks off is
/// an error. Dropping it before gives up the call, which is recorded with what it used until then.
pub struct AiStream {
    request: ActionId,
    body: AnswerBody,
    heard: HeardStream,
    settling: Settling,
    answer: Answer,
    ready: VecDeque<Result<AiEvent, AiError>>,
    over: bool,
    begun: Instant,
}

impl AiService {
    /// Asks a model and gives the answer as it comes. What keeps it from being asked is an error here; what happens to an
    /// answer that has begun is told in the stream.
    pub async fn stream(&self, request: &AiRequest) -> Result<AiStream, AiError> {
        let snapshot = self.inference.snapshot();
        let asking = speak(&snapshot, request, &|said| said.stream = true)?;
        let Asking { ask, inside, settling, hearing, begun, .. } = asking;
        let reply = self.inference.ask_from_inside(ask, inside).await?;
        let (id, status, headers) = (reply.request, reply.status, reply.headers);
        if !status.is_success() {
            let body = reply.body.whole().await;
            let error = hearing.format().error_of(status.as_u16(), &body);
            return Err(AiError::answered(id, error, &headers, self.inference.ambient.now()));
        }
        let mut stream = AiStream {
            request: id,
            heard: hearing.stream(),
            body: reply.body,
            settling,
            answer: Answer::default(),
            ready: VecDeque::new(),
            over: false,
            begun,
        };
        if !stream.body.is_stream() {
            let whole = std::mem::replace(&mut stream.body, AnswerBody::whole_of(Bytes::new())).whole().await;
            match hearing.whole(&whole) {
                Some(answer) => answer.into_events().into_iter().for_each(|event| stream.tell(event)),
                None => stream.feed(&whole),
            }
        }
        Ok(stream)
    }
}

impl AiStream {
    /// The record of the request.
    pub fn request_id(&self) -> ActionId {
        self.request
    }

    /// The next piece; nothing once the answer is over.
    pub async fn next(&mut self) -> Option<Result<AiEvent, AiError>> {
        StreamExt::next(self).await
    }

    fn feed(&mut self, bytes: &[u8]) {
        let mut events = Vec::new();
        self.heard.feed(bytes, |event| events.push(event));
        for event in events {
            self.tell(event);
        }
    }

    /// Takes an event up into the answer, and tells what it means.
    fn tell(&mut self, event: Event) {
        match &event {
            Event::Delta(Delta::Text(more)) => match self.answer.parts.last() {
                Some(Part::Text(_) | Part::Refusal(_)) => self.ready.push_back(Ok(AiEvent::Text(more.clone()))),
                Some(Part::Thinking(_)) => self.ready.push_back(Ok(AiEvent::Thinking(more.clone()))),
                _ => {}
            },
            Event::PartStop => {
                if let Some(Part::ToolCall(call)) = self.answer.parts.last() {
                    self.ready.push_back(Ok(AiEvent::ToolCall(call.clone())));
                }
            }
            _ => {}
        }
        self.answer.add(event);
    }

    /// The body is over: so is the answer, or it broke off.
    fn end(&mut self) {
        self.over = true;
        let mut events = Vec::new();
        self.heard.finish(|event| events.push(event));
        for event in events {
            self.tell(event);
        }
        let settled = settled(&mut self.settling, self.request, &self.answer);
        let answer = std::mem::take(&mut self.answer);
        if let Some(error) = &answer.error {
            let (request, message) = (self.request, error.message.clone());
            self.ready.push_back(Err(if settled.withheld {
                AiError::Withheld { request: Some(request), reason: message }
            } else {
                AiError::interrupted(request, settled.failure.unwrap_or_else(|| error.http_status()), message)
            }));
        } else if answer.complete || answer.stop_reason.is_some() {
            // Some providers end after the model said why it stopped, without another word.
            let response = AiResponse::of(settled, answer, Grounding::default(), self.begun.elapsed());
            self.ready.push_back(Ok(AiEvent::Usage(response.usage)));
            self.ready.push_back(Ok(AiEvent::Stop(Box::new(response))));
        } else {
            let message = "the provider's answer ended before it was complete".to_owned();
            self.ready.push_back(Err(AiError::interrupted(self.request, 502, message)));
        }
    }
}

impl Stream for AiStream {
    type Item = Result<AiEvent, AiError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            if this.over {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        this.feed(&data);
                    }
                }
                Some(Err(never)) => match never {},
                None => this.end(),
            }
        }
    }
}
