//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use schemars::JsonSchema;
use systemprompt_llm::Format;

use super::exchange;
use super::gateway::Gateway;

/// Asks a model, in the OpenAI Chat Completions dialect.
pub(super) async fn create(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    exchange::answer(&gateway, Format::OpenAiChat, request).await
}

/// What the gateway reads of a request in the OpenAI Chat Completions dialect. The other fields are the vendor's, and
/// all are passed on as they are.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used; requests are read by `InferenceRequest`")]
pub(super) struct ChatCompletionsRequest {
    /// A model of `GET /v1/models`, or an alias of one.
    model: String,
    /// The conversation.
    messages: Vec<serde_json::Map<String, serde_json::Value>>,
    /// At most so many tokens of an answer; lowered to what the model has.
    max_completion_tokens: Option<u64>,
    /// The older name of the same.
    max_tokens: Option<u64>,
    /// Whether to send the answer piece by piece.
    stream: Option<bool>,
}
