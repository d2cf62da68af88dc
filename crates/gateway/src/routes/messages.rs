//! `POST /v1/messages`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use systemprompt_llm::Format;

use super::exchange;
use super::gateway::Gateway;

/// Asks a model, in the Anthropic Messages dialect.
pub(super) async fn create(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    exchange::answer(&gateway, Format::AnthropicMessages, request).await
}
