//! The wires: one writer each, which puts an answer into its words.

mod anthropic;
mod converse;
mod event;
mod gemini;
mod kind;
mod openai_chat;
mod openai_responses;

use http::StatusCode;
use serde_json::{Value, json};

pub(crate) use event::{Event, GARBAGE, frame};
pub(crate) use kind::Wire;

use crate::said::Said;

impl Wire {
    /// Whether its streams are frames.
    pub(crate) fn is_framed(self) -> bool {
        matches!(self, Self::BedrockAnthropic | Self::BedrockConverse)
    }

    /// An answer that comes whole.
    pub(crate) fn whole(self, said: &Said<'_>) -> Value {
        match self {
            Self::Anthropic | Self::BedrockAnthropic => anthropic::whole(said),
            Self::OpenAiChat => openai_chat::whole(said),
            Self::OpenAiResponses => openai_responses::whole(said),
            Self::Gemini => gemini::whole(said),
            Self::BedrockConverse => converse::whole(said),
        }
    }

    /// The events of an answer: those before the text, those of each of its parts, those after it.
    pub(crate) fn events(self, said: &Said<'_>) -> Vec<Vec<Event>> {
        match self {
            Self::Anthropic | Self::BedrockAnthropic => anthropic::events(said),
            Self::OpenAiChat => openai_chat::events(said),
            Self::OpenAiResponses => openai_responses::events(said),
            Self::Gemini => gemini::events(said),
            Self::BedrockConverse => converse::events(said),
        }
    }

    /// The bytes of one event in a stream.
    pub(crate) fn encoded(self, event: &Event) -> Vec<u8> {
        match self {
            Self::BedrockAnthropic => event.in_chunk(),
            Self::BedrockConverse => event.as_frame(),
            Self::Anthropic | Self::OpenAiResponses => event.named().into_bytes(),
            Self::OpenAiChat | Self::Gemini => event.unnamed().into_bytes(),
        }
    }

    /// The header that carries the id of a request.
    pub(crate) fn request_id(self) -> &'static str {
        match self {
            Self::Anthropic => "request-id",
            Self::OpenAiChat | Self::OpenAiResponses | Self::Gemini => "x-request-id",
            Self::BedrockAnthropic | Self::BedrockConverse => "x-amzn-requestid",
        }
    }

    /// An error body for a status, and what AWS calls it in a header.
    pub(crate) fn error(self, status: u16) -> (Value, Option<&'static str>) {
        let (kind, google, aws, message) = match status {
            401 => ("authentication_error", "UNAUTHENTICATED", "UnrecognizedClientException", "mock: invalid key"),
            403 => ("permission_error", "PERMISSION_DENIED", "AccessDeniedException", "mock: not allowed"),
            404 => ("not_found_error", "NOT_FOUND", "ResourceNotFoundException", "mock: not found"),
            429 => ("rate_limit_error", "RESOURCE_EXHAUSTED", "ThrottlingException", "mock: rate limited"),
            529 => ("overloaded_error", "UNAVAILABLE", "ServiceUnavailableException", "mock: overloaded"),
            400..500 => ("invalid_request_error", "INVALID_ARGUMENT", "ValidationException", "mock: bad request"),
            _ => ("api_error", "INTERNAL", "InternalServerException", "mock: internal error"),
        };
        match self {
            Self::Anthropic => (json!({ "type": "error", "error": { "type": kind, "message": message } }), None),
            Self::OpenAiChat | Self::OpenAiResponses => {
                (json!({ "error": { "message": message, "type": kind, "param": null, "code": null } }), None)
            }
            Self::Gemini => (json!({ "error": { "code": status, "message": message, "status": google } }), None),
            Self::BedrockAnthropic | Self::BedrockConverse => (json!({ "message": message }), Some(aws)),
        }
    }

    /// The number of tokens of a prompt.
    pub(crate) fn counted(self, tokens: usize) -> Value {
        match self {
            Self::Gemini => json!({ "totalTokens": tokens }),
            _ => json!({ "input_tokens": tokens }),
        }
    }

    /// Vectors for the texts of a request.
    pub(crate) fn embeddings(self, request: &Value) -> Result<Value, StatusCode> {
        let vector = [0.25_f32, -0.5, 1.0];
        if self == Self::Gemini {
            let values = json!({ "values": vector });
            return Ok(match request["requests"].as_array() {
                Some(requests) => json!({ "embeddings": vec![values; requests.len()] }),
                None => json!({ "embedding": values }),
            });
        }
        let texts = match &request["input"] {
            Value::String(_) => 1,
            // An array of numbers is one text, written as tokens.
            Value::Array(texts) if texts.first().is_some_and(Value::is_number) => 1,
            Value::Array(texts) => texts.len(),
            _ => return Err(StatusCode::BAD_REQUEST),
        };
        let embedding = if request["encoding_format"] == "base64" {
            Value::from(event::base64(&vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()))
        } else {
            json!(vector)
        };
        let one = |index: usize| json!({ "object": "embedding", "index": index, "embedding": embedding });
        let data: Vec<Value> = (0..texts).map(one).collect();
        let usage = json!({ "prompt_tokens": 5 * texts, "total_tokens": 5 * texts });
        Ok(json!({ "object": "list", "data": data, "model": request["model"], "usage": usage }))
    }
}

/// Images of one pixel for a request of OpenAI's API.
pub(crate) fn images(request: &Value) -> Result<Value, StatusCode> {
    let count = request["n"].as_u64().unwrap_or(1);
    if !request["prompt"].is_string() || !(1..=10).contains(&count) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let references = request["images"].as_array().map_or(0, Vec::len) as u64;
    let data: Vec<Value> = (0..count).map(|_| json!({ "b64_json": event::base64(gemini::PIXEL) })).collect();
    let (text, images, made) = (10, 100 * references, 200 * count);
    let input = json!({ "text_tokens": text, "image_tokens": images });
    let usage = json!({
        "input_tokens": text + images, "input_tokens_details": input, "output_tokens": made,
        "total_tokens": text + images + made,
    });
    Ok(json!({ "created": 1, "output_format": "png", "data": data, "usage": usage }))
}
