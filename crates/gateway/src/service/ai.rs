//! The service, and its plainest use: a question and its whole answer.

use std::sync::Arc;

use systemprompt_llm::neutral::{Answer, Grounding};
use systemprompt_model::{ActionId, Attribution, Microdollars};

use super::error::AiError;
use super::message::AiMessage;
use super::request::AiRequest;
use super::response::AiResponse;
use super::speaking::{Asking, speak};
use crate::inference::Inference;
use crate::settled::{Settled, Settling};

/// Asks models, for agents, MCP tools, jobs and extensions. One per server: `ctx.ai()` of an extension's context.
///
/// ```
/// use systemprompt_gateway::service::{AiError, AiMessage, AiRequest, AiService};
/// use systemprompt_model::Attribution;
///
/// async fn summary(ai: &AiService, by: Attribution, text: &str) -> Result<String, AiError> {
///     let messages = vec![AiMessage::system("Summarise in one sentence."), AiMessage::user(text)];
///     let response = ai.generate(&AiRequest::new(by, messages)).await?;
///     tracing::info!(request_id = %response.request_id, cost = %response.cost_microdollars, "summarised");
///     Ok(response.content)
/// }
/// ```
#[derive(Clone)]
pub struct AiService {
    pub(super) inference: Arc<Inference>,
}

impl AiService {
    pub(crate) fn new(inference: Arc<Inference>) -> Self {
        Self { inference }
    }

    /// Asks a model and waits for all of the answer. When it is there the call is settled: what the response says it used
    /// and cost is what is recorded.
    pub async fn generate(&self, request: &AiRequest) -> Result<AiResponse, AiError> {
        self.answer(speak(&self.inference.snapshot(), request, &|_| {})?).await
    }

    /// Asks a model, the default one if none is named, and gives what it says in words.
    pub async fn generate_text(
        &self,
        by: &Attribution,
        messages: &[AiMessage],
        model: Option<&str>,
    ) -> Result<String, AiError> {
        let request = AiRequest { model: model.map(str::to_owned), ..AiRequest::new(by.clone(), messages.to_vec()) };
        Ok(self.generate(&request).await?.content)
    }

    /// Asks, and reads the answer.
    pub(super) async fn answer(&self, asking: Asking) -> Result<AiResponse, AiError> {
        let Asking { ask, inside, mut settling, hearing, searches, begun } = asking;
        let reply = self.inference.ask_from_inside(ask, inside).await?;
        let (id, status, headers) = (reply.request, reply.status, reply.headers);
        let body = reply.body.whole().await;
        if !status.is_success() {
            let error = hearing.format().error_of(status.as_u16(), &body);
            return Err(AiError::answered(id, error, &headers, self.inference.ambient.now()));
        }
        let Some(answer) = hearing.whole(&body) else {
            return Err(AiError::interrupted(id, 502, "the provider sent an answer that is not a message".to_owned()));
        };
        let settled = settled(&mut settling, id, &answer);
        let grounding = if searches { hearing.grounding(&body) } else { Grounding::default() };
        Ok(AiResponse::of(settled, answer, grounding, begun.elapsed()))
    }
}

/// What a call came to. What was answered without one, used what the answer says and cost nothing.
pub(super) fn settled(settling: &mut Settling, request: ActionId, answer: &Answer) -> Settled {
    settling.of(request).unwrap_or_else(|| Settled {
        request,
        provider: String::new(),
        model: answer.model.clone().unwrap_or_default(),
        usage: answer.usage,
        cost: Microdollars::ZERO,
        cached: false,
        withheld: false,
        failure: None,
    })
}
