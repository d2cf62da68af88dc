//! Writing a request for a provider.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::reasoning;
use crate::format::gpt::Model;
use crate::format::{Format, ids, schema};
use crate::neutral::codec::{Compatibility, Encoding};
use crate::neutral::turns::{Answered, Turn, turns};
use crate::neutral::{
    CustomTool, Feature, Function, Json, Losses, Media, MediaKind, Part, Request, Role, Source, Text, Tool, ToolCall,
    ToolChoice, ToolResult, Unsupported,
};
use crate::request::facts::ResponseFormat;

/// The longest id of a call that is taken.
const LONGEST_ID: usize = 40;
/// The most texts that can end an answer.
const MOST_STOPS: usize = 4;

#[derive(Debug, Default, Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    logprobs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormatBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    web_search_options: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Value>,
}

#[derive(Debug, Default, Serialize)]
struct Message {
    role: &'static str,
    content: Option<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart {
    Text { text: String },
    ImageUrl { image_url: Url },
    InputAudio { input_audio: Audio },
    File { file: File },
}

#[derive(Debug, Serialize)]
struct Url {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Debug, Serialize)]
struct Audio {
    data: String,
    format: String,
}

#[derive(Debug, Default, Serialize)]
struct File {
    #[serde(skip_serializing_if = "Option::is_none", rename = "filename")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "file_data")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "file_id")]
    id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Call {
    Function { id: String, function: CalledFunction },
    Custom { id: String, custom: CalledCustom },
}

#[derive(Debug, Serialize)]
struct CalledFunction {
    name: String,
    arguments: String,
}

#[derive(Debug, Serialize)]
struct CalledCustom {
    name: String,
    input: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToolBody {
    Function {
        function: FunctionBody,
    },
    Custom {
        custom: Value,
    },
    #[serde(untagged)]
    Other(Json),
}

#[derive(Debug, Serialize)]
struct FunctionBody {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    parameters: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Debug, Serialize)]
struct ResponseFormatBody<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<SchemaBody<'a>>,
}

#[derive(Debug, Serialize)]
struct SchemaBody<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    schema: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

/// Writes a request.
pub(super) fn encode(request: &Request, encoding: &Encoding, losses: &mut Losses) -> Result<Vec<u8>, Unsupported> {
    let model = Model::of(&encoding.model);
    if request.output.images.is_some() {
        losses.lose(Feature::OutputModalities, "modalities")?;
    }
    let compatibility = encoding.compatibility;
    let mut body = Body { model: &encoding.model, stream: request.stream, ..Body::default() };
    let mut conversation =
        Conversation { losses, compatibility, ids: Vec::new(), said: Vec::new(), messages: Vec::new() };
    conversation.write(request)?;
    if conversation.messages.is_empty() {
        // Nothing of what was said could be.
        conversation.push("user", "Continue.".to_owned());
    }
    body.messages = conversation.messages;

    let limit = match (request.max_output_tokens, encoding.max_output_tokens) {
        (Some(asked), Some(most)) => Some(asked.min(most)),
        (asked, _) => asked,
    };
    if compatibility.max_tokens_field {
        body.max_tokens = limit;
    } else {
        body.max_completion_tokens = limit;
    }
    tools(request, &encoding.model, compatibility, &mut body, losses)?;
    thinking(request, encoding, model, &mut body, losses)?;
    sampling(request, model, &mut body, losses)?;
    output(request, compatibility, &mut body, losses)?;

    let stops = &request.stop[..request.stop.len().min(MOST_STOPS)];
    body.stop = if model.takes_stop() { stops } else { &[] };
    if body.stop.len() < request.stop.len() {
        losses.lose(Feature::StopSequences, "stop")?;
    }
    // What Anthropic's callers say, and our own.
    body.service_tier = match request.service_tier.as_deref() {
        Some("standard_only" | "standard") => Some("default"),
        tier => tier,
    };
    if let Some(key) = &request.prompt_cache_key {
        // Servers that are merely compatible need not know it.
        if compatibility.developer_role {
            body.prompt_cache_key = Some(key);
        } else {
            losses.lose(Feature::PromptCacheKey, "prompt_cache_key")?;
        }
    }
    if has_cache_marks(request) {
        losses.lose(Feature::CacheControl, "cache_control")?;
    }
    if request.stream && compatibility.stream_usage {
        body.stream_options = Some(json!({ "include_usage": true }));
    }
    // Texts, numbers and checked JSON serialise.
    Ok(serde_json::to_vec(&body).unwrap_or_default())
}

fn has_cache_marks(request: &Request) -> bool {
    let marked = |part: &Part| match part {
        Part::Text(text) => text.cache.is_some(),
        Part::Media(media) => media.cache.is_some(),
        Part::ToolCall(call) => call.cache.is_some(),
        Part::ToolResult(result) => result.cache.is_some(),
        Part::Refusal(_) | Part::Thinking(_) | Part::Native(..) => false,
    };
    request.system.iter().any(|text| text.cache.is_some())
        || request.messages.iter().flat_map(|message| &message.parts).any(marked)
        || request.tools.iter().any(|tool| matches!(tool, Tool::Function(function) if function.cache.is_some()))
}

/// The conversation as it is written.
struct Conversation<'l> {
    losses: &'l mut Losses,
    compatibility: Compatibility,
    /// The ids of the last turn's calls.
    ids: Vec<String>,
    /// What the user says and was not written yet.
    said: Vec<ContentPart>,
    messages: Vec<Message>,
}

impl Conversation<'_> {
    fn write(&mut self, request: &Request) -> Result<(), Unsupported> {
        let operator = if self.compatibility.developer_role { "developer" } else { "system" };
        let system: Vec<&str> = texts(request.system.iter());
        if !system.is_empty() {
            self.push(operator, system.join("\n\n"));
        }
        for turn in turns(request) {
            match turn.role {
                Role::Assistant => self.assistant(&turn)?,
                Role::User => self.user(&turn)?,
                Role::System => {
                    let said = turn.parts.iter().filter_map(|part| match part {
                        Part::Text(text) => Some(text),
                        _ => None,
                    });
                    let said = texts(said);
                    if !said.is_empty() {
                        self.flush();
                        self.push(operator, said.join("\n\n"));
                    }
                }
            }
        }
        self.flush();
        match self.messages.last() {
            // Models of this format begin a new answer.
            Some(last) if last.role == "assistant" => self.losses.lose(Feature::Prefill, "messages"),
            _ => Ok(()),
        }
    }

    /// Writes what the user said.
    fn flush(&mut self) {
        if let Some(content) = joined(std::mem::take(&mut self.said)) {
            self.messages.push(Message { role: "user", content: Some(content), ..Message::default() });
        }
    }

    fn push(&mut self, role: &'static str, text: String) {
        self.messages.push(Message { role, content: Some(Content::Text(text)), ..Message::default() });
    }

    fn assistant(&mut self, turn: &Turn<'_>) -> Result<(), Unsupported> {
        let mut message = Message { role: "assistant", ..Message::default() };
        let mut text = String::new();
        self.ids.clear();
        for part in &turn.parts {
            match part {
                Part::Text(said) => text.push_str(&said.text),
                Part::Refusal(words) if self.compatibility.developer_role => {
                    message.refusal.get_or_insert_default().push_str(words);
                }
                Part::Refusal(words) => {
                    self.losses.lose(Feature::Refusals, "messages")?;
                    text.push_str(words);
                }
                Part::Thinking(thought) => match reasoning::field(thought) {
                    // The server that thought so wants to see it again; OpenAI itself tells no thoughts in this format.
                    Some(field) if !self.compatibility.developer_role => {
                        let place =
                            if field == "reasoning" { &mut message.reasoning } else { &mut message.reasoning_content };
                        place.get_or_insert_default().push_str(&thought.text);
                    }
                    _ => self.losses.lose(Feature::ThinkingReplay, "messages")?,
                },
                Part::ToolCall(call) => {
                    let call = self.call(call);
                    message.tool_calls.push(call);
                }
                Part::Native(..) | Part::Media(_) => self.losses.lose(Feature::VendorBlocks, "messages")?,
                // A result in a turn of the model's is nobody's.
                Part::ToolResult(_) => {}
            }
        }
        let says_something = !text.is_empty() || message.refusal.is_some() || !message.tool_calls.is_empty();
        if !text.is_empty() || message.tool_calls.is_empty() && message.refusal.is_none() {
            message.content = Some(Content::Text(text));
        }
        if says_something || message.reasoning.is_some() || message.reasoning_content.is_some() {
            self.flush();
            self.messages.push(message);
        }
        Ok(())
    }

    fn call(&mut self, call: &ToolCall) -> Call {
        let given = if call.id.is_empty() { format!("call_{}", self.ids.len()) } else { call.id.clone() };
        let id = ids::fitting(&given, LONGEST_ID);
        self.ids.push(id.clone());
        let name = call.name.clone();
        if call.custom && self.compatibility.developer_role {
            return Call::Custom { id, custom: CalledCustom { name, input: call.input.clone() } };
        }
        // A model's broken input is shown to it as it wrote it.
        let is_json = !call.custom && Json::parse(call.input.trim()).is_some();
        let arguments = if is_json { call.input.clone() } else { call.input_object().as_str().to_owned() };
        Call::Function { id, function: CalledFunction { name, arguments } }
    }

    fn user(&mut self, turn: &Turn<'_>) -> Result<(), Unsupported> {
        let ids = std::mem::take(&mut self.ids);
        let mut parts = std::mem::take(&mut self.said);
        for (answer, id) in turn.answers.iter().zip(ids) {
            let text = self.answer(answer, &mut parts)?;
            let content = Some(Content::Text(text));
            self.messages.push(Message { role: "tool", content, tool_call_id: Some(id), ..Message::default() });
        }
        for part in &turn.parts {
            self.said(part, &mut parts)?;
        }
        self.said = parts;
        Ok(())
    }

    /// The text of a tool's answer. Its images and files have no place there and follow in the user's message.
    fn answer(&mut self, answer: &Answered<'_>, media: &mut Vec<ContentPart>) -> Result<String, Unsupported> {
        let Some(result) = answer.result else {
            return Ok("Error: the call was interrupted; there is no result.".to_owned());
        };
        let mut text = String::new();
        let mut attached = Vec::new();
        for part in &result.parts {
            match part {
                Part::Text(said) => {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(&said.text);
                }
                part => self.said(part, &mut attached)?,
            }
        }
        if !attached.is_empty() {
            self.losses.lose(Feature::MediaInToolResults, "messages")?;
            media.push(ContentPart::Text { text: format!("Attached to the result of {}:", answer.call.name) });
            media.append(&mut attached);
            if text.is_empty() {
                "The result is attached to the next message.".clone_into(&mut text);
            }
        }
        if result.is_error {
            self.losses.lose(Feature::ToolErrors, "messages")?;
            let says_so = text.trim_start().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("error"));
            if !says_so {
                text.insert_str(0, "Error: ");
            }
        }
        Ok(text)
    }

    fn said(&mut self, part: &Part, parts: &mut Vec<ContentPart>) -> Result<(), Unsupported> {
        match part {
            Part::Text(text) => {
                if !text.text.is_empty() {
                    parts.push(ContentPart::Text { text: text.text.clone() });
                }
                Ok(())
            }
            Part::Media(media) => self.media(media, parts),
            Part::ToolResult(result) => self.stray(result, parts),
            Part::Native(..) => self.losses.lose(Feature::VendorBlocks, "messages"),
            // Only models do this.
            Part::Refusal(_) | Part::Thinking(_) | Part::ToolCall(_) => Ok(()),
        }
    }

    /// A result that no call asked for.
    fn stray(&mut self, result: &ToolResult, parts: &mut Vec<ContentPart>) -> Result<(), Unsupported> {
        let tool = result.name.as_deref().unwrap_or("a tool");
        parts.push(ContentPart::Text { text: format!("Result of {tool}:") });
        for part in &result.parts {
            self.said(part, parts)?;
        }
        Ok(())
    }

    fn media(&mut self, media: &Media, parts: &mut Vec<ContentPart>) -> Result<(), Unsupported> {
        let data_url =
            |usual: &str, data: &str| format!("data:{};base64,{data}", media.media_type.as_deref().unwrap_or(usual));
        let part = match (media.kind, &media.source) {
            (MediaKind::Image, Source::Base64(data)) => ContentPart::ImageUrl {
                image_url: Url { url: data_url("image/png", data), detail: media.detail.clone() },
            },
            (MediaKind::Image, Source::Url(url)) => {
                ContentPart::ImageUrl { image_url: Url { url: url.clone(), detail: media.detail.clone() } }
            }
            (MediaKind::Document, Source::Base64(data)) => ContentPart::File {
                file: File {
                    name: Some(media.name.clone().unwrap_or_else(|| "document.pdf".to_owned())),
                    data: Some(data_url("application/pdf", data)),
                    id: None,
                },
            },
            (MediaKind::Document, Source::File(Format::OpenAiChat | Format::OpenAiResponses, id)) => {
                ContentPart::File { file: File { id: Some(id.clone()), ..File::default() } }
            }
            (_, Source::PlainText(text)) => {
                let name = media.name.as_deref().map(|name| format!(" title=\"{name}\"")).unwrap_or_default();
                ContentPart::Text { text: format!("<document{name}>\n{text}\n</document>") }
            }
            (MediaKind::Document, Source::Url(_)) => return self.losses.lose(Feature::DocumentUrls, "messages"),
            (MediaKind::Audio, Source::Base64(data)) => {
                let media_type = media.media_type.as_deref().unwrap_or("audio/wav");
                let format = match media_type.rsplit('/').next().unwrap_or_default() {
                    "mpeg" | "mp3" => "mp3",
                    "wav" | "x-wav" | "wave" => "wav",
                    _ => return self.losses.lose(Feature::Audio, "messages"),
                };
                ContentPart::InputAudio { input_audio: Audio { data: data.clone(), format: format.to_owned() } }
            }
            (MediaKind::Audio, _) => return self.losses.lose(Feature::Audio, "messages"),
            (MediaKind::Video, _) => return self.losses.lose(Feature::Video, "messages"),
            (_, Source::File(..)) => return self.losses.lose(Feature::Files, "messages"),
        };
        parts.push(part);
        Ok(())
    }
}

fn texts<'a>(texts: impl Iterator<Item = &'a Text>) -> Vec<&'a str> {
    texts.map(|text| text.text.as_str()).filter(|text| !text.is_empty()).collect()
}

/// Content as it is written: texts alone are one text, which every server takes.
fn joined(parts: Vec<ContentPart>) -> Option<Content> {
    let all_text = parts.iter().all(|part| matches!(part, ContentPart::Text { .. }));
    if parts.is_empty() {
        return None;
    }
    if !all_text {
        return Some(Content::Parts(parts));
    }
    let texts: Vec<String> = parts
        .into_iter()
        .filter_map(|part| match part {
            ContentPart::Text { text } => Some(text),
            _ => None,
        })
        .collect();
    Some(Content::Text(texts.join("\n\n")))
}

fn tools(
    request: &Request,
    model: &str,
    compatibility: Compatibility,
    body: &mut Body<'_>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    // Servers that are merely compatible know one tool or any.
    let among = match &request.tool_choice {
        Some(ToolChoice::Among { names, .. }) if !compatibility.developer_role => {
            Some(names.iter().collect::<HashSet<_>>())
        }
        _ => None,
    };
    let offered = |name: &String| among.as_ref().is_none_or(|names| names.contains(name));
    for (index, tool) in request.tools.iter().enumerate() {
        match tool {
            Tool::Function(function) if offered(&function.name) => body.tools.push(function_body(function)),
            Tool::Custom(tool) if !offered(&tool.name) => {}
            Tool::Custom(tool) if compatibility.developer_role => body.tools.push(custom_body(tool)),
            Tool::Custom(tool) => {
                losses.lose(Feature::CustomTools, format!("tools[{index}]"))?;
                body.tools.push(function_body(&tool.as_function()));
            }
            Tool::Function(_) => {}
            // Some models search always, and none does when it is asked to.
            Tool::WebSearch(search) if model.contains("search") => {
                let mut options = json!({});
                if let Some(size) = &search.context_size {
                    options["search_context_size"] = size.clone().into();
                }
                if let Some(location) = &search.user_location {
                    let mut place = location.to_value();
                    if let Value::Object(place) = &mut place {
                        place.remove("type");
                    }
                    options["user_location"] = json!({ "type": "approximate", "approximate": place });
                }
                body.web_search_options = Some(options);
            }
            Tool::WebSearch(_) => losses.lose(request.search_feature(), format!("tools[{index}]"))?,
            Tool::Native(Format::OpenAiChat, _, tool) => body.tools.push(ToolBody::Other(tool.clone())),
            Tool::Native(..) => losses.lose(Feature::VendorTools, format!("tools[{index}]"))?,
        }
    }
    if body.tools.is_empty() {
        return Ok(());
    }
    let custom = request.tools.iter().filter_map(|tool| match tool {
        Tool::Custom(tool) if compatibility.developer_role => Some(&tool.name),
        _ => None,
    });
    let custom: HashSet<&String> = custom.collect();
    let named = |name: &String| {
        let kind = if custom.contains(name) { "custom" } else { "function" };
        json!({ "type": kind, kind: { "name": name } })
    };
    body.tool_choice = request.tool_choice.as_ref().map(|choice| match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => named(name),
        ToolChoice::Among { required, names } => {
            let mode = if *required { "required" } else { "auto" };
            if among.is_some() {
                return mode.into();
            }
            let tools: Vec<Value> = names.iter().map(named).collect();
            json!({ "type": "allowed_tools", "allowed_tools": { "mode": mode, "tools": tools } })
        }
    });
    body.parallel_tool_calls = request.parallel_tool_calls;
    Ok(())
}

fn function_body(function: &Function) -> ToolBody {
    let parameters = schema::of_input(function.parameters.as_ref());
    let strict = function.strict.filter(|strict| *strict);
    let parameters = if strict.is_some() { schema::strict(&parameters) } else { parameters };
    let (name, description) = (function.name.clone(), function.description.clone());
    ToolBody::Function { function: FunctionBody { name, description, parameters, strict } }
}

fn custom_body(tool: &CustomTool) -> ToolBody {
    let mut custom = json!({ "name": tool.name });
    if let Some(description) = &tool.description {
        custom["description"] = description.clone().into();
    }
    if let Some(format) = &tool.format {
        let format = format.to_value();
        custom["format"] = if format["type"] == "grammar" && !format["grammar"].is_object() {
            let grammar = json!({ "syntax": format["syntax"], "definition": format["definition"] });
            json!({ "type": "grammar", "grammar": grammar })
        } else {
            format
        };
    }
    ToolBody::Custom { custom }
}

fn thinking(
    request: &Request,
    encoding: &Encoding,
    model: Model,
    body: &mut Body<'_>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let Some(reasoning) = request.reasoning else { return Ok(()) };
    // How much a model thinks that decides itself is what it does anyway.
    let Some(effort) = reasoning.effort() else { return Ok(()) };
    let cannot = encoding.max_thinking_budget == Some(0);
    body.reasoning_effort = model.effort(effort).filter(|_| !cannot);
    if body.reasoning_effort.is_none() && !reasoning.off {
        losses.lose(Feature::Reasoning, "reasoning")?;
    }
    Ok(())
}

fn sampling(request: &Request, model: Model, body: &mut Body<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    let asked = &request.sampling;
    let taken = model.takes_sampling(body.reasoning_effort);
    // What is the default anyway is not lost.
    let settings = [
        (Feature::Temperature, "temperature", asked.temperature, 1.0, &mut body.temperature),
        (Feature::TopP, "top_p", asked.top_p, 1.0, &mut body.top_p),
        (Feature::Penalties, "presence_penalty", asked.presence_penalty, 0.0, &mut body.presence_penalty),
        (Feature::Penalties, "frequency_penalty", asked.frequency_penalty, 0.0, &mut body.frequency_penalty),
    ];
    for (feature, field, value, usual, place) in settings {
        if taken {
            *place = value;
        } else if value.is_some_and(|value| (value - usual).abs() > f64::EPSILON) {
            losses.lose(feature, field)?;
        }
    }
    if asked.top_k.is_some() {
        losses.lose(Feature::TopK, "top_k")?;
    }
    body.seed = asked.seed;
    if let Some(top) = request.logprobs {
        if taken {
            body.logprobs = true;
            body.top_logprobs = (top > 0).then_some(top);
        } else {
            losses.lose(Feature::Logprobs, "logprobs")?;
        }
    }
    Ok(())
}

fn output<'a>(
    request: &'a Request,
    compatibility: Compatibility,
    body: &mut Body<'a>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let output = &request.output;
    body.response_format = match (output.format, &output.schema) {
        (ResponseFormat::Text, _) => None,
        (ResponseFormat::JsonSchema, Some(schema)) => {
            let strict = output.strict.filter(|strict| *strict);
            let schema = if strict.is_some() { schema::strict(schema) } else { schema.clone() };
            Some(ResponseFormatBody {
                r#type: "json_schema",
                json_schema: Some(SchemaBody {
                    name: output.name.as_deref().unwrap_or("answer"),
                    description: output.description.as_deref(),
                    schema,
                    strict,
                }),
            })
        }
        (ResponseFormat::JsonObject | ResponseFormat::JsonSchema, _) => {
            Some(ResponseFormatBody { r#type: "json_object", json_schema: None })
        }
    };
    if let Some(verbosity) = &output.verbosity {
        // Servers that are merely compatible need not know it.
        if compatibility.developer_role {
            body.verbosity = Some(verbosity);
        } else {
            losses.lose(Feature::Verbosity, "verbosity")?;
        }
    }
    Ok(())
}
