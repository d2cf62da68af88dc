//! The HTTP shapes of providers: which format, in which envelope, at which address.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_llm::Format;

use super::auth::Auth;

/// The HTTP shape an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProviderWire {
    /// Anthropic Messages: `POST {endpoint}/messages`. Also Claude in Microsoft Foundry.
    Anthropic,
    /// OpenAI Chat Completions: `POST {endpoint}/chat/completions`. Also Azure OpenAI and everything compatible.
    #[serde(rename = "openai-chat")]
    OpenAiChat,
    /// OpenAI Responses: `POST {endpoint}/responses`. Also Azure OpenAI.
    #[serde(rename = "openai-responses")]
    OpenAiResponses,
    /// Gemini: `POST {endpoint}/models/{model}:generateContent`.
    Gemini,
    /// Anthropic models of Amazon Bedrock: `POST {endpoint}/model/{model}/invoke`.
    BedrockAnthropic,
    /// Models of all vendors on Amazon Bedrock, by its Converse API: `POST {endpoint}/model/{model}/converse`.
    BedrockConverse,
    /// Anthropic models of Google Vertex AI: `POST …/publishers/anthropic/models/{model}:rawPredict`.
    VertexAnthropic,
    /// Google models of Vertex AI: `POST …/publishers/google/models/{model}:generateContent`.
    VertexGemini,
    /// Deterministic answers from inside the server, in every dialect; for trying things out, refused in production.
    Demo,
}

impl ProviderWire {
    /// The format this provider speaks. `demo` has none of its own: it answers in the caller's.
    pub(crate) const fn format(self) -> Option<Format> {
        match self {
            Self::Anthropic | Self::BedrockAnthropic | Self::VertexAnthropic => Some(Format::AnthropicMessages),
            Self::OpenAiChat => Some(Format::OpenAiChat),
            Self::OpenAiResponses => Some(Format::OpenAiResponses),
            Self::Gemini | Self::VertexGemini => Some(Format::Gemini),
            Self::BedrockConverse => Some(Format::BedrockConverse),
            Self::Demo => None,
        }
    }

    /// The format in which a request of a caller's format is asked of such a provider; `None` if it cannot be.
    pub(crate) const fn asked(self, caller: Format) -> Option<Format> {
        match (self, self.format()) {
            // Vertex AI has another way to embed.
            (Self::VertexGemini, _) if matches!(caller, Format::OpenAiEmbeddings) => None,
            (_, Some(format)) => caller.asked_of(format),
            (_, None) => Some(caller),
        }
    }

    /// How long an answer with images may usually take.
    pub(crate) const fn usual_image_timeout(self) -> Duration {
        match self {
            Self::Gemini | Self::VertexGemini => Duration::from_mins(5),
            _ => Duration::from_mins(2),
        }
    }

    /// The name in the configuration.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiResponses => "openai-responses",
            Self::Gemini => "gemini",
            Self::BedrockAnthropic => "bedrock-anthropic",
            Self::BedrockConverse => "bedrock-converse",
            Self::VertexAnthropic => "vertex-anthropic",
            Self::VertexGemini => "vertex-gemini",
            Self::Demo => "demo",
        }
    }

    /// Whether it is one of Amazon Bedrock.
    pub(crate) const fn is_bedrock(self) -> bool {
        matches!(self, Self::BedrockAnthropic | Self::BedrockConverse)
    }

    /// Whether it is one of Google Vertex AI.
    pub(crate) const fn is_vertex(self) -> bool {
        matches!(self, Self::VertexAnthropic | Self::VertexGemini)
    }

    /// How requests are usually authenticated.
    pub(crate) fn usual_auth(self) -> Auth {
        match self {
            Self::Anthropic => Auth::XApiKey,
            Self::OpenAiChat | Self::OpenAiResponses => Auth::Bearer,
            Self::Gemini => Auth::Header("x-goog-api-key".to_owned()),
            Self::BedrockAnthropic | Self::BedrockConverse => Auth::SigV4,
            Self::VertexAnthropic | Self::VertexGemini => Auth::Gcp,
            Self::Demo => Auth::None,
        }
    }

    /// The address of its service in a place.
    pub(crate) fn endpoint_of(self, region: Option<&str>, location: Option<&str>) -> Option<String> {
        if self.is_bedrock() {
            let region = region?;
            // China is a partition with a domain of its own.
            let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            return Some(format!("https://bedrock-runtime.{region}.{domain}"));
        }
        if self.is_vertex() {
            return Some(match location? {
                "global" => "https://aiplatform.googleapis.com/v1".to_owned(),
                multi @ ("us" | "eu") => format!("https://aiplatform.{multi}.rep.googleapis.com/v1"),
                one => format!("https://{one}-aiplatform.googleapis.com/v1"),
            });
        }
        None
    }
}
