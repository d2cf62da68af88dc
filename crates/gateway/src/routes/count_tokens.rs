//! `POST /v1/messages/count_tokens`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use systemprompt_llm::Format;

use super::exchange;
use super::gateway::Gateway;

/// Counts the tokens of a request in the Anthropic Messages dialect.
pub(super) async fn create(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    exchange::count(&gateway, Format::AnthropicMessages, None, request).await
}

/// How many tokens a request has.
#[derive(Serialize, JsonSchema)]
pub(super) struct TokenCount {
    /// As the provider counts them; estimated where it does not.
    input_tokens: u64,
}
