//! `POST /v1/embeddings`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use schemars::JsonSchema;
use systemprompt_llm::Format;

use super::exchange;
use super::gateway::Gateway;

/// Asks a model for embeddings, in OpenAI's form.
pub(super) async fn create(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    exchange::answer(&gateway, Format::OpenAiEmbeddings, request).await
}

/// What the gateway reads of a request for embeddings. The other fields are the vendor's, and all are passed on as they are.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used; requests are read by `InferenceRequest`")]
pub(super) struct EmbeddingsRequest {
    /// A model of `GET /v1/models`, or an alias of one.
    model: String,
    /// A text, an array of texts, or tokens.
    input: serde_json::Value,
    /// How long each embedding shall be.
    dimensions: Option<u64>,
    /// `float` or `base64`.
    encoding_format: Option<String>,
}
