//! `POST /v1/responses`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use schemars::JsonSchema;
use systemprompt_llm::Format;

use super::exchange;
use super::gateway::Gateway;

/// Asks a model, in the OpenAI Responses dialect.
pub(super) async fn create(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    exchange::answer(&gateway, Format::OpenAiResponses, request).await
}

/// What the gateway reads of a request in the OpenAI Responses dialect. The other fields are the vendor's, and all are
/// passed on as they are, but for `store`, which is false: the gateway keeps no conversations for clients.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used; requests are read by `InferenceRequest`")]
pub(super) struct ResponsesRequest {
    /// A model of `GET /v1/models`, or an alias of one.
    model: String,
    /// A text, or the items of the conversation.
    input: serde_json::Value,
    /// What the operator tells the model.
    instructions: Option<String>,
    /// At most so many tokens of an answer; lowered to what the model has.
    max_output_tokens: Option<u64>,
    /// Whether to send the answer piece by piece.
    stream: Option<bool>,
}
