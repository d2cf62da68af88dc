//! The inference endpoints over HTTP, one file each: take the request apart, ask, and turn what comes into an answer in
//! the caller's dialect.

pub(crate) mod body;
mod chat_completions;
mod codex;
mod count_tokens;
mod descriptor;
mod embeddings;
mod error;
mod exchange;
mod fallback;
mod gateway;
mod gemini;
mod messages;
mod models;
mod otel;
mod reject;
mod responses;

use std::sync::Arc;

use axum::routing::any;
use systemprompt_extension::{Access, RouteTable};
use systemprompt_llm::Format;

use crate::config::GatewayConfig;

pub(crate) use gateway::Gateway;

/// The endpoints below the configured prefix. The server lets callers in, and they are refused in their dialect; so is what
/// is not an endpoint.
pub(crate) fn table(settings: &GatewayConfig) -> RouteTable<Arc<Gateway>> {
    let prefix = &settings.inference_path_prefix;
    let google = &settings.google_path_prefix();
    let wrong_method = |dialect| fallback::WrongMethod { allowed: "POST", dialect: Some(dialect) };
    // A gateway that is switched off says so to everybody.
    let callers = if settings.enabled { Access::Authenticated } else { Access::Public };
    let readers = if settings.models_public { Access::Public } else { callers };
    RouteTable::refusing_with(reject::reject)
        .get(prefix, Access::Public, "What is served here.", descriptor::show)
        .answers::<descriptor::Descriptor>(200)
        .get(&format!("{prefix}/"), Access::Public, "What is served here.", descriptor::show)
        .answers::<descriptor::Descriptor>(200)
        .post(
            &format!("{prefix}/messages"),
            callers,
            "Asks a model, in the Anthropic Messages dialect.",
            messages::create,
        )
        .other_methods(wrong_method(Format::AnthropicMessages))
        .takes::<messages::MessagesRequest>()
        .post(
            &format!("{prefix}/messages/count_tokens"),
            callers,
            "Counts the tokens of a request in the Anthropic Messages dialect.",
            count_tokens::create,
        )
        .other_methods(wrong_method(Format::AnthropicMessages))
        .takes::<messages::MessagesRequest>()
        .answers::<count_tokens::TokenCount>(200)
        .post(&format!("{prefix}/embeddings"), callers, "Asks a model for embeddings, in OpenAI's form.", embeddings::create)
        .other_methods(wrong_method(Format::OpenAiEmbeddings))
        .takes::<embeddings::EmbeddingsRequest>()
        .post(
            &format!("{prefix}/chat/completions"),
            callers,
            "Asks a model, in the OpenAI Chat Completions dialect.",
            chat_completions::create,
        )
        .other_methods(wrong_method(Format::OpenAiChat))
        .takes::<chat_completions::ChatCompletionsRequest>()
        .post(
            &format!("{prefix}/responses"),
            callers,
            "Asks a model, in the OpenAI Responses dialect.",
            responses::create,
        )
        .other_methods(wrong_method(Format::OpenAiResponses))
        .takes::<responses::ResponsesRequest>()
        .get(
            &format!("{prefix}/models"),
            readers,
            "The models the caller may use, the default model first.",
            gemini::list_for_all,
        )
        .other_methods(fallback::WrongMethod { allowed: "GET", dialect: None })
        .answers::<models::ModelList<'_>>(200)
        .post(
            &format!("{prefix}/models/{{*id}}"),
            callers,
            "Asks a model, in the Gemini dialect, as Google's libraries do that ask version 1 of its API.",
            gemini::call,
        )
        .takes::<gemini::GenerateContentRequest>()
        .get(
            &format!("{prefix}/models/{{*id}}"),
            readers,
            "One of these models, by its id or an alias. Ids may hold slashes, as they are or as %2F.",
            gemini::show_for_all,
        )
        .other_methods(fallback::WrongMethod { allowed: "GET, POST", dialect: None })
        .answers::<models::Model<'_>>(200)
        .post(&format!("{prefix}/otel"), callers, "Takes telemetry in the OpenTelemetry protocol.", otel::take)
        .other_methods(fallback::WrongMethod { allowed: "POST", dialect: None })
        .post(
            &format!("{prefix}/otel/{{*rest}}"),
            callers,
            "Takes the telemetry the path names: `v1/traces`, `v1/logs` or `v1/metrics`.",
            otel::take,
        )
        .other_methods(fallback::WrongMethod { allowed: "POST", dialect: None })
        .post(
            &format!("{google}/models/{{*target}}"),
            callers,
            "Asks a model, in the Gemini dialect: the model, `:` and `generateContent`, `streamGenerateContent`, `countTokens`, `embedContent` or `batchEmbedContents`.",
            gemini::call,
        )
        .takes::<gemini::GenerateContentRequest>()
        .get(&format!("{google}/models/{{*target}}"), readers, "One of these models, in Gemini's form.", gemini::show)
        .other_methods(fallback::WrongMethod { allowed: "GET, POST", dialect: Some(Format::Gemini) })
        .answers::<gemini::GeminiModel>(200)
        .get(&format!("{google}/models"), readers, "The models the caller may use, in Gemini's form.", gemini::list)
        .other_methods(fallback::WrongMethod { allowed: "GET", dialect: Some(Format::Gemini) })
        .answers::<gemini::GeminiModels>(200)
        .unlisted(&format!("{prefix}/{{*rest}}"), any(fallback::no_endpoint))
}
