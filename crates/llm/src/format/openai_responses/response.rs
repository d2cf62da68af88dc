//! The object a caller gets: what was said, and the settings it was said under.

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::stop_word;
use crate::answer::summary::{StopReason, Usage};
use crate::format::raw::Object;
use crate::neutral::Json;

/// A response.
#[derive(Debug, Serialize)]
pub(super) struct Response<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created_at: i64,
    pub(super) status: &'static str,
    pub(super) error: Option<Value>,
    pub(super) incomplete_details: Option<Value>,
    /// The caller's name for it.
    pub(super) model: &'a str,
    pub(super) output: &'a [Json],
    pub(super) usage: Option<Value>,
    pub(super) service_tier: &'a str,
    #[serde(flatten)]
    pub(super) settings: &'a Settings,
}

/// What the caller asked for, as the answer repeats it. What was left out has its default.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    background: bool,
    completed_at: Option<i64>,
    frequency_penalty: f64,
    instructions: Option<Json>,
    max_output_tokens: Option<Json>,
    max_tool_calls: Option<Json>,
    metadata: Json,
    parallel_tool_calls: Json,
    presence_penalty: f64,
    previous_response_id: Option<Json>,
    prompt_cache_key: Option<Json>,
    reasoning: Json,
    safety_identifier: Option<Json>,
    store: bool,
    temperature: Json,
    text: Json,
    tool_choice: Json,
    tools: Json,
    top_logprobs: Json,
    top_p: Json,
    truncation: Json,
    user: Option<Json>,
}

impl Settings {
    /// Those of a body that was read before.
    pub(super) fn of(body: &[u8]) -> Self {
        let body = std::str::from_utf8(body).unwrap_or_default().trim();
        let mut object = Object::read(body, "", "").ok();
        let mut asked = |name: &str| object.as_mut().and_then(|object| object.json(name));
        let mut text = asked("text").map(|text| text.to_value()).filter(Value::is_object).unwrap_or_else(|| json!({}));
        if text["format"].is_null() {
            text["format"] = json!({ "type": "text" });
        }
        let nothing = || Json::of(&json!({ "effort": null, "summary": null }));
        Self {
            background: false,
            completed_at: None,
            frequency_penalty: 0.0,
            instructions: asked("instructions"),
            max_output_tokens: asked("max_output_tokens"),
            max_tool_calls: asked("max_tool_calls"),
            metadata: asked("metadata").unwrap_or_else(Json::empty_object),
            parallel_tool_calls: asked("parallel_tool_calls").unwrap_or_else(|| Json::of(&true)),
            presence_penalty: 0.0,
            previous_response_id: None,
            prompt_cache_key: asked("prompt_cache_key"),
            reasoning: asked("reasoning").unwrap_or_else(nothing),
            safety_identifier: asked("safety_identifier"),
            store: false,
            temperature: asked("temperature").unwrap_or_else(|| Json::of(&1.0)),
            text: Json::of(&text),
            tool_choice: asked("tool_choice").unwrap_or_else(|| Json::of(&"auto")),
            tools: asked("tools").unwrap_or_else(|| Json::of(&[(); 0])),
            top_logprobs: asked("top_logprobs").unwrap_or_else(|| Json::of(&0)),
            top_p: asked("top_p").unwrap_or_else(|| Json::of(&1.0)),
            truncation: asked("truncation").unwrap_or_else(|| Json::of(&"disabled")),
            user: asked("user"),
        }
    }
}

/// The status of an answer that ended for this reason, and why it is not complete.
pub(super) fn status(reason: Option<&StopReason>) -> (&'static str, Option<Value>) {
    match reason.map(stop_word) {
        None | Some("completed") => ("completed", None),
        Some(reason) => ("incomplete", Some(json!({ "reason": reason }))),
    }
}

/// What was used. This format says zero where nothing is known.
pub(super) fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens(),
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens.unwrap_or(0),
            "cache_write_tokens": usage.cache_creation_tokens.unwrap_or(0),
        },
        "output_tokens": usage.output_tokens.unwrap_or(0),
        "output_tokens_details": { "reasoning_tokens": usage.reasoning_tokens.unwrap_or(0) },
        "total_tokens": usage.total(),
    })
}
