//! Writing a request for a provider.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::content::{Block, Message, cache_point, messages};
use super::models::Model;
use crate::format::schema;
use crate::neutral::codec::Encoding;
use crate::neutral::{Feature, Function, Json, Losses, Request, Tool, ToolChoice, Unsupported};
use crate::request::facts::ResponseFormat;

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block>,
    #[serde(skip_serializing_if = "InferenceConfig::is_empty")]
    inference_config: InferenceConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    additional_model_request_fields: Map<String, Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    additional_model_response_field_paths: &'static [&'static str],
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct InferenceConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<String>,
}

impl InferenceConfig {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig {
    tools: Vec<ToolBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum ToolBody {
    ToolSpec(ToolSpec),
    CachePoint(Value),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolSpec {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    input_schema: InputSchema,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Debug, Serialize)]
struct InputSchema {
    json: Json,
}

/// Writes a request.
pub(super) fn encode(request: &Request, encoding: &Encoding, losses: &mut Losses) -> Result<Vec<u8>, Unsupported> {
    let model = Model::of(&encoding.model);
    let mut body = Body { messages: messages(request, model, losses)?, ..Body::default() };
    for text in request.system.iter().filter(|text| !text.text.trim().is_empty()) {
        body.system.push(Block::Text(text.text.clone()));
        match text.cache {
            Some(mark) if model.takes_cache_points() => body.system.push(Block::CachePoint(cache_point(mark))),
            Some(_) => losses.lose(Feature::CacheControl, "cache_control")?,
            None => {}
        }
    }
    body.system.extend(output(request, model, &mut body.output_config, losses)?.map(Block::Text));
    tools(request, model, &mut body, losses)?;

    let config = &mut body.inference_config;
    config.max_tokens = match (request.max_output_tokens, encoding.max_output_tokens) {
        (Some(asked), Some(most)) => Some(asked.min(most)),
        (asked, _) => asked,
    };
    let forced = body
        .tool_config
        .as_ref()
        .and_then(|config| config.tool_choice.as_ref())
        .is_some_and(|choice| choice.get("auto").is_none());
    let mut thinks = false;
    if let Some(reasoning) = request.reasoning {
        // A Claude cannot be made to call a tool and think before.
        let cannot = forced && matches!(model, Model::Claude(_)) && !reasoning.off;
        let fields = &mut body.additional_model_request_fields;
        if cannot || !model.thinking(reasoning, config.max_tokens, encoding.max_thinking_budget, fields) {
            losses.lose(Feature::Reasoning, "reasoning")?;
        }
        thinks = fields.get("thinking").is_some_and(|thinking| thinking["type"] != "disabled");
    }
    sampling(request, model, thinks, &mut body, losses)?;
    body.service_tier = match request.service_tier.as_deref() {
        None | Some("auto") => None,
        Some("standard" | "standard_only") => Some("default"),
        Some(tier @ ("default" | "flex" | "priority" | "reserved")) => Some(tier),
        Some(_) => {
            losses.lose(Feature::ServiceTier, "service_tier")?;
            None
        }
    }
    .map(|tier| json!({ "type": tier }));
    for (is_asked, feature, field) in [
        (request.parallel_tool_calls == Some(false), Feature::ParallelToolCallsOff, "parallel_tool_calls"),
        (request.logprobs.is_some(), Feature::Logprobs, "logprobs"),
        (request.prompt_cache_key.is_some(), Feature::PromptCacheKey, "prompt_cache_key"),
        (request.output.verbosity.is_some(), Feature::Verbosity, "verbosity"),
        (request.output.images.is_some(), Feature::OutputModalities, "modalities"),
    ] {
        if is_asked {
            losses.lose(feature, field)?;
        }
    }
    // Texts, numbers and checked JSON serialise.
    Ok(serde_json::to_vec(&body).unwrap_or_default())
}

fn tools(request: &Request, model: Model, body: &mut Body, losses: &mut Losses) -> Result<(), Unsupported> {
    let among = match &request.tool_choice {
        Some(ToolChoice::Among { names, .. }) => Some(names),
        _ => None,
    };
    let mut tools = Vec::new();
    let mut declared = BTreeSet::new();
    for (index, tool) in request.tools.iter().enumerate() {
        let place = || format!("tools[{index}]");
        let (spec, mark) = match tool {
            Tool::Function(function) => {
                let asked = function.strict == Some(true);
                let strict = asked && model.takes_schemas();
                if asked && !strict {
                    losses.lose(Feature::StrictTools, place())?;
                }
                (tool_spec(function, strict), function.cache)
            }
            Tool::Custom(tool) => {
                losses.lose(Feature::CustomTools, place())?;
                (tool_spec(&tool.as_function(), false), None)
            }
            Tool::WebSearch(_) => {
                losses.lose(request.search_feature(), place())?;
                continue;
            }
            Tool::Native(..) => {
                losses.lose(Feature::VendorTools, place())?;
                continue;
            }
        };
        if among.is_some_and(|names| !names.contains(&spec.name)) {
            continue;
        }
        declared.insert(spec.name.clone());
        tools.push(ToolBody::ToolSpec(spec));
        match mark {
            Some(mark) if model.takes_cache_points() => tools.push(ToolBody::CachePoint(cache_point(mark))),
            Some(_) => losses.lose(Feature::CacheControl, "cache_control")?,
            None => {}
        }
    }
    let called = body.messages.iter().flat_map(|message| &message.content).filter_map(|block| match block {
        Block::ToolUse(call) => Some(call.name.clone()),
        _ => None,
    });
    let called: Vec<String> = called.collect();
    let choice = match &request.tool_choice {
        _ if declared.is_empty() => None,
        // There is no word for it: no tools, where none was called, means the same.
        Some(ToolChoice::None) if called.is_empty() => return Ok(()),
        Some(ToolChoice::None) => {
            losses.lose(Feature::ToolChoice, "tool_choice")?;
            None
        }
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Among { required: true, .. })
            if !model.takes_forced_tools() =>
        {
            losses.lose(Feature::ToolChoice, "tool_choice")?;
            Some(json!({ "auto": {} }))
        }
        Some(ToolChoice::Required | ToolChoice::Among { required: true, .. }) => Some(json!({ "any": {} })),
        Some(ToolChoice::Named(name)) => Some(json!({ "tool": { "name": name } })),
        Some(ToolChoice::Auto | ToolChoice::Among { required: false, .. }) => Some(json!({ "auto": {} })),
        None => None,
    };
    // Calls in a conversation want their tools declared, whoever offers them no more.
    for name in called {
        if declared.insert(name.clone()) {
            tools.push(ToolBody::ToolSpec(tool_spec(&Function { name, ..Function::default() }, false)));
        }
    }
    if !tools.is_empty() {
        body.tool_config = Some(ToolConfig { tools, tool_choice: choice });
    }
    Ok(())
}

fn tool_spec(function: &Function, strict: bool) -> ToolSpec {
    let schema = schema::of_input(function.parameters.as_ref());
    let json = if strict { schema::closed(&schema) } else { schema };
    ToolSpec {
        name: function.name.clone(),
        // One of nothing is refused.
        description: function.description.clone().filter(|words| !words.trim().is_empty()),
        input_schema: InputSchema { json },
        strict: strict.then_some(true),
    }
}

/// The form of the answer; a sentence for the prompt where the model cannot be held to it.
fn output(
    request: &Request,
    model: Model,
    config: &mut Option<Value>,
    losses: &mut Losses,
) -> Result<Option<String>, Unsupported> {
    let output = &request.output;
    match (output.format, &output.schema) {
        (ResponseFormat::Text, _) => Ok(None),
        (ResponseFormat::JsonSchema, Some(schema)) if model.takes_schemas() => {
            let mut wanted = json!({ "schema": schema::closed(schema).as_str() });
            for (name, value) in [("name", &output.name), ("description", &output.description)] {
                if let Some(value) = value {
                    wanted[name] = value.as_str().into();
                }
            }
            *config = Some(json!({ "textFormat": { "type": "json_schema", "structure": { "jsonSchema": wanted } } }));
            Ok(None)
        }
        (ResponseFormat::JsonSchema, Some(schema)) => {
            losses.lose(Feature::JsonSchema, "response_format")?;
            Ok(Some(format!("Answer with JSON of this schema and nothing else:\n{}", schema.as_str())))
        }
        (ResponseFormat::JsonObject | ResponseFormat::JsonSchema, _) => {
            losses.lose(Feature::JsonObject, "response_format")?;
            Ok(Some("Answer with a JSON object and nothing else.".to_owned()))
        }
    }
}

fn sampling(
    request: &Request,
    model: Model,
    thinks: bool,
    body: &mut Body,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let asked = &request.sampling;
    // Who thinks samples as it sees fit.
    let taken = model.takes_sampling() && !thinks;
    let both = asked.temperature.is_some() && asked.top_p.is_some() && model.takes_one_of_sampling();
    let config = &mut body.inference_config;
    for (feature, field, value, is_taken, place) in [
        // One above what the vendor takes is the highest there is.
        (
            Feature::Temperature,
            "temperature",
            asked.temperature.map(|value| value.min(1.0)),
            taken,
            &mut config.temperature,
        ),
        (Feature::TopP, "top_p", asked.top_p, taken && !both, &mut config.top_p),
    ] {
        if is_taken {
            *place = value;
        } else if value.is_some_and(|value| (value - 1.0).abs() > f64::EPSILON) {
            losses.lose(feature, field)?;
        }
    }
    if let Some(top) = asked.top_k
        && !(taken && model.top_k(top, &mut body.additional_model_request_fields))
    {
        losses.lose(Feature::TopK, "top_k")?;
    }
    for (value, feature, field) in [
        (asked.presence_penalty, Feature::Penalties, "presence_penalty"),
        (asked.frequency_penalty, Feature::Penalties, "frequency_penalty"),
        (asked.seed.map(|seed| seed as f64 + 0.5), Feature::Seed, "seed"),
    ] {
        if value.is_some_and(|value| value.abs() > f64::EPSILON) {
            losses.lose(feature, field)?;
        }
    }
    // A stop sequence of blanks alone is refused.
    let stops = request.stop.iter().filter(|stop| !stop.trim().is_empty());
    body.inference_config.stop_sequences = stops.take(MOST_STOPS).cloned().collect();
    if body.inference_config.stop_sequences.len() < request.stop.len() {
        losses.lose(Feature::StopSequences, "stop")?;
    }
    if matches!(model, Model::Claude(_)) && !body.inference_config.stop_sequences.is_empty() {
        // Otherwise nobody says which of them it was.
        body.additional_model_response_field_paths = &["/stop_sequence"];
    }
    Ok(())
}

/// The most texts that can end an answer, at the models that take the fewest.
const MOST_STOPS: usize = 4;
