//! What the mock is asked: on which wire, for what, by which model.

use http::request::Parts;
use serde::Deserialize;

use crate::wire::Wire;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An answer of a model.
    Answer,
    /// The number of tokens of a prompt.
    Count,
    /// Vectors of texts, one or several.
    Embeddings,
    /// Images, as OpenAI's API for them has them.
    Images,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) wire: Wire,
    pub(crate) purpose: Purpose,
    /// The model, on wires that have it in the path.
    model: Option<String>,
    /// Whether a stream is wanted, on wires that say it in the path.
    stream: Option<bool>,
    /// The stream is an array of JSON, not events.
    array: bool,
}

impl Address {
    /// The wire and what is wanted of it, whatever comes before the last segments of the path.
    pub(crate) fn of(head: &Parts) -> Option<Self> {
        let path = head.uri.path();
        let plain = |wire, purpose| Some(Self { wire, purpose, model: None, stream: None, array: false });
        let ends = |end| path.ends_with(end);
        if ends("/messages") {
            return plain(Wire::Anthropic, Purpose::Answer);
        } else if ends("/messages/count_tokens") {
            return plain(Wire::Anthropic, Purpose::Count);
        } else if ends("/chat/completions") {
            return plain(Wire::OpenAiChat, Purpose::Answer);
        } else if ends("/responses") {
            return plain(Wire::OpenAiResponses, Purpose::Answer);
        } else if ends("/embeddings") {
            return plain(Wire::OpenAiChat, Purpose::Embeddings);
        } else if ends("/images/generations") || ends("/images/edits") {
            return plain(Wire::OpenAiChat, Purpose::Images);
        }
        let (before, last) = path.rsplit_once('/')?;
        let in_path = |wire, purpose, model: &str, stream| {
            Some(Self { wire, purpose, model: Some(decoded(model)), stream: Some(stream), array: false })
        };
        if let Some((_, model)) = before.rsplit_once("/model/") {
            return match last {
                "invoke" => in_path(Wire::BedrockAnthropic, Purpose::Answer, model, false),
                "invoke-with-response-stream" => in_path(Wire::BedrockAnthropic, Purpose::Answer, model, true),
                "converse" => in_path(Wire::BedrockConverse, Purpose::Answer, model, false),
                "converse-stream" => in_path(Wire::BedrockConverse, Purpose::Answer, model, true),
                _ => None,
            };
        }
        if !before.ends_with("/models") {
            return None;
        }
        let (model, method) = last.rsplit_once(':')?;
        match method {
            "rawPredict" if model == "count-tokens" => plain(Wire::Anthropic, Purpose::Count),
            "rawPredict" => in_path(Wire::Anthropic, Purpose::Answer, model, false),
            "streamRawPredict" => in_path(Wire::Anthropic, Purpose::Answer, model, true),
            "generateContent" => in_path(Wire::Gemini, Purpose::Answer, model, false),
            "streamGenerateContent" => {
                let array = !head.uri.query().is_some_and(|query| query.contains("alt=sse"));
                Some(Self { array, ..in_path(Wire::Gemini, Purpose::Answer, model, true)? })
            }
            "countTokens" => in_path(Wire::Gemini, Purpose::Count, model, false),
            "embedContent" | "batchEmbedContents" => in_path(Wire::Gemini, Purpose::Embeddings, model, false),
            _ => None,
        }
    }
}

/// What the mock reads of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// What was used is told at the end of a stream (`openai-chat`).
    pub(crate) stream_usage: bool,
    /// The stream is an array of JSON, not events (`gemini`).
    pub(crate) array: bool,
    /// The conversation has results of tools.
    pub(crate) has_results: bool,
    /// The answer is to have an image (`gemini`).
    pub(crate) has_image: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    model: String,
    stream: bool,
    stream_options: Option<StreamOptions>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
}

impl Asked {
    /// Reads a body. Nothing if it is no JSON object.
    pub(crate) fn read(address: &Address, body: &[u8]) -> Option<Self> {
        let fields: Fields = serde_json::from_slice(body).ok()?;
        Some(Self {
            model: address.model.clone().unwrap_or(fields.model),
            stream: address.stream.unwrap_or(fields.stream),
            stream_usage: fields.stream_options.is_some_and(|options| options.include_usage),
            array: address.array,
            has_results: false,
            has_image: address.wire == Wire::Gemini && has(body, br#""IMAGE""#),
        })
    }
}

/// Whether a conversation has results of tools, on whatever wire.
pub(crate) fn has_results(body: &[u8]) -> bool {
    let words = [
        &br#""tool_result""#[..],
        br#""function_call_output""#,
        br#""custom_tool_call_output""#,
        br#""functionResponse""#,
        br#""toolResult""#,
        br#""tool_call_id""#,
    ];
    words.iter().any(|word| has(body, word))
}

fn has(body: &[u8], word: &[u8]) -> bool {
    body.windows(word.len()).any(|window| window == word)
}

fn decoded(segment: &str) -> String {
    // A path is decoded as a form is, but for the plus.
    let pair = format!("x={}", segment.replace('+', "%2B"));
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs.next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}
