//! The inference endpoints over HTTP, one file each: take the request apart, ask, and turn what comes into an answer in
//! the caller's dialect.

pub(crate) mod body;
mod chat_completions;
mod descriptor;
mod error;
mod exchange;
mod fallback;
mod gateway;
mod messages;
mod models;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get, post};
use systemprompt_extension::{Access, RouteTable};
use systemprompt_llm::Format;

pub(crate) use gateway::Gateway;

/// The endpoints below `prefix`.
pub(crate) fn table(prefix: &str) -> RouteTable<Arc<Gateway>> {
    let wrong_method = |dialect| fallback::WrongMethod { allowed: "POST", dialect: Some(dialect) };
    RouteTable::self_guarded()
        .get(prefix, Access::Public, "What is served here.", descriptor::show)
        .get(&format!("{prefix}/"), Access::Public, "What is served here.", descriptor::show)
        .add(
            "POST",
            &format!("{prefix}/messages"),
            Access::Authenticated,
            "Asks a model, in the Anthropic Messages dialect.",
            post(messages::create).fallback(wrong_method(Format::AnthropicMessages)),
        )
        .add(
            "POST",
            &format!("{prefix}/chat/completions"),
            Access::Authenticated,
            "Asks a model, in the OpenAI Chat Completions dialect.",
            post(chat_completions::create).fallback(wrong_method(Format::OpenAiChat)),
        )
        .add(
            "GET",
            &format!("{prefix}/models"),
            Access::Authenticated,
            "The models the caller may use, the default model first.",
            get(models::list).fallback(fallback::WrongMethod { allowed: "GET", dialect: None }),
        )
}

/// The routes below `prefix`. What is not an endpoint is refused in a dialect too.
pub(crate) fn router(gateway: Arc<Gateway>, prefix: &str) -> Router {
    table(prefix).into_router().route(&format!("{prefix}/{{*rest}}"), any(fallback::no_endpoint)).with_state(gateway)
}
