//! Writing a request for a provider.

use serde::Serialize;
use serde_json::{Value, json};

use super::contents::{Content, Part, contents};
use super::models::Model;
use super::schemas;
use crate::format::{Format, schema};
use crate::neutral::codec::Encoding;
use crate::neutral::{
    Feature, Function, Json, Losses, Part as Said, Request, Tool, ToolChoice, Unsupported, WebSearch,
};
use crate::request::facts::ResponseFormat;

/// The most texts that can end an answer.
const MOST_STOPS: usize = 5;
/// The most of the likeliest tokens that are told.
const MOST_LOGPROBS: u64 = 20;

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    contents: Vec<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Instruction>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<Value>,
    #[serde(skip_serializing_if = "GenerationConfig::is_empty")]
    generation_config: GenerationConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Instruction {
    parts: Vec<Part>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum ToolBody {
    FunctionDeclarations(Vec<Declaration>),
    #[serde(untagged)]
    Other(Json),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<Json>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    response_logprobs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    response_modalities: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    image_config: Option<Value>,
}

impl GenerationConfig<'_> {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Writes a request.
pub(super) fn encode(request: &Request, encoding: &Encoding, losses: &mut Losses) -> Result<Vec<u8>, Unsupported> {
    let model = Model::of(&encoding.model);
    let mut body = Body { contents: contents(request, model, losses)?, ..Body::default() };
    let mut system: Vec<Part> =
        request.system.iter().filter(|text| !text.text.is_empty()).map(|text| Part::text(&text.text)).collect();
    tools(request, &mut body, losses)?;
    system.extend(output(request, model, &mut body, losses)?.map(Part::text));
    body.system_instruction = (!system.is_empty()).then_some(Instruction { parts: system });

    let config = &mut body.generation_config;
    config.max_output_tokens = match (request.max_output_tokens, encoding.max_output_tokens) {
        (Some(asked), Some(most)) => Some(asked.min(most)),
        (asked, _) => asked,
    };
    if let Some(reasoning) = request.reasoning {
        let (thinking, inexact) = model.thinking(reasoning, encoding.max_thinking_budget);
        config.thinking_config = thinking;
        if inexact {
            losses.lose(Feature::Reasoning, "reasoning")?;
        }
    }
    if let Some(images) = &request.output.images {
        config.response_modalities = &["TEXT", "IMAGE"];
        let named = [("aspectRatio", &images.aspect_ratio), ("imageSize", &images.size)];
        let told =
            named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value.as_deref()?))));
        let told: serde_json::Map<String, Value> = told.collect();
        config.image_config = (!told.is_empty()).then_some(Value::Object(told));
    }
    sampling(request, config, losses)?;
    body.service_tier = match request.service_tier.as_deref() {
        None | Some("auto") => None,
        // What callers of other formats say.
        Some("default" | "standard" | "standard_only") => Some("standard"),
        Some("flex") => Some("flex"),
        Some("priority") => Some("priority"),
        Some(_) => {
            losses.lose(Feature::ServiceTier, "service_tier")?;
            None
        }
    };
    if request.parallel_tool_calls == Some(false) && !request.tools.is_empty() {
        losses.lose(Feature::ParallelToolCallsOff, "parallel_tool_calls")?;
    }
    if request.prompt_cache_key.is_some() {
        losses.lose(Feature::PromptCacheKey, "prompt_cache_key")?;
    }
    if request.output.verbosity.is_some() {
        losses.lose(Feature::Verbosity, "verbosity")?;
    }
    if has_cache_marks(request) {
        losses.lose(Feature::CacheControl, "cache_control")?;
    }
    // Texts, numbers and checked JSON serialise.
    Ok(serde_json::to_vec(&body).unwrap_or_default())
}

fn has_cache_marks(request: &Request) -> bool {
    let marked = |part: &Said| match part {
        Said::Text(text) => text.cache.is_some(),
        Said::Media(media) => media.cache.is_some(),
        Said::ToolCall(call) => call.cache.is_some(),
        Said::ToolResult(result) => result.cache.is_some(),
        Said::Refusal(_) | Said::Thinking(_) | Said::Native(..) => false,
    };
    request.system.iter().any(|text| text.cache.is_some())
        || request.messages.iter().flat_map(|message| &message.parts).any(marked)
        || request.tools.iter().any(|tool| matches!(tool, Tool::Function(function) if function.cache.is_some()))
}

fn tools(request: &Request, body: &mut Body<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    let mut functions = Vec::new();
    let mut others = Vec::new();
    let mut strict = false;
    for (index, tool) in request.tools.iter().enumerate() {
        let place = || format!("tools[{index}]");
        match tool {
            Tool::Function(function) => {
                strict |= function.strict == Some(true);
                functions.push(declaration(function));
            }
            Tool::Custom(tool) => {
                losses.lose(Feature::CustomTools, place())?;
                functions.push(declaration(&tool.as_function()));
            }
            Tool::WebSearch(search) => {
                let WebSearch { allowed_domains, blocked_domains, .. } = search;
                if !allowed_domains.is_empty() || !blocked_domains.is_empty() {
                    losses.lose(Feature::WebSearch, place())?;
                }
                others.push((index, Json::of(&json!({ "googleSearch": {} }))));
            }
            Tool::Native(Format::Gemini, _, tool) => others.push((index, tool.clone())),
            Tool::Native(..) => losses.lose(Feature::VendorTools, place())?,
        }
    }
    if functions.is_empty() {
        body.tools.extend(others.into_iter().map(|(_, tool)| ToolBody::Other(tool)));
        return Ok(());
    }
    // The vendor's tools do not go together with functions.
    for (index, _) in others {
        losses.lose(Feature::WebSearchAmongTools, format!("tools[{index}]"))?;
    }
    body.tools.push(ToolBody::FunctionDeclarations(functions));
    let calling = match &request.tool_choice {
        None | Some(ToolChoice::Auto) if strict => json!({ "mode": "VALIDATED" }),
        None => return Ok(()),
        Some(ToolChoice::Auto) => json!({ "mode": "AUTO" }),
        Some(ToolChoice::None) => json!({ "mode": "NONE" }),
        Some(ToolChoice::Required) => json!({ "mode": "ANY" }),
        Some(ToolChoice::Named(name)) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
        Some(ToolChoice::Among { required, names }) => {
            json!({ "mode": if *required { "ANY" } else { "VALIDATED" }, "allowedFunctionNames": names })
        }
    };
    body.tool_config = Some(json!({ "functionCallingConfig": calling }));
    Ok(())
}

fn declaration(function: &Function) -> Declaration {
    // What the vendor does not read of a schema it passes over, and the model is none the worse.
    let schema = function.parameters.as_ref().map(|schema| schemas::taken(&schema::of_input(Some(schema))).0);
    Declaration {
        name: function.name.clone(),
        description: function.description.clone(),
        parameters_json_schema: schema,
    }
}

/// The form of the answer; a sentence for the prompt where the model cannot be held to it.
fn output(
    request: &Request,
    model: Model,
    body: &mut Body<'_>,
    losses: &mut Losses,
) -> Result<Option<String>, Unsupported> {
    let output = &request.output;
    let feature = match output.format {
        ResponseFormat::Text => return Ok(None),
        ResponseFormat::JsonObject => Feature::JsonObject,
        ResponseFormat::JsonSchema => Feature::JsonSchema,
    };
    let schema = output.schema.as_ref().filter(|_| output.format == ResponseFormat::JsonSchema);
    if !body.tools.is_empty() && !model.takes_schemas_with_tools() {
        losses.lose(feature, "response_format")?;
        return Ok(Some(match schema {
            Some(schema) => format!("Answer with JSON of this schema and nothing else:\n{}", schema.as_str()),
            None => "Answer with a JSON object and nothing else.".to_owned(),
        }));
    }
    let config = &mut body.generation_config;
    config.response_mime_type = Some("application/json");
    if let Some(schema) = schema {
        let (schema, lossy) = schemas::taken(schema);
        if lossy {
            losses.lose(feature, "response_format")?;
        }
        config.response_json_schema = Some(schema);
    }
    Ok(None)
}

fn sampling<'a>(
    request: &'a Request,
    config: &mut GenerationConfig<'a>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let asked = &request.sampling;
    config.temperature = asked.temperature;
    config.top_p = asked.top_p;
    config.top_k = asked.top_k;
    config.presence_penalty = asked.presence_penalty;
    config.frequency_penalty = asked.frequency_penalty;
    config.seed = asked.seed.and_then(|seed| i32::try_from(seed).ok());
    if asked.seed.is_some() && config.seed.is_none() {
        losses.lose(Feature::Seed, "seed")?;
    }
    config.stop_sequences = &request.stop[..request.stop.len().min(MOST_STOPS)];
    if config.stop_sequences.len() < request.stop.len() {
        losses.lose(Feature::StopSequences, "stop")?;
    }
    if let Some(top) = request.logprobs {
        config.response_logprobs = true;
        config.logprobs = (top > 0).then_some(top.min(MOST_LOGPROBS));
    }
    Ok(())
}
