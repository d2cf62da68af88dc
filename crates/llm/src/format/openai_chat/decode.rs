//! Reading a caller's request into neutral words.

use std::collections::HashMap;

use serde_json::json;

use super::reasoning::signature as reasoning_signature;
use crate::format::raw::{self, Object};
use crate::format::{Format, ids};
use crate::neutral::{
    CacheMark, CustomTool, Feature, Function, Json, Media, MediaKind, Message, Output, Part, Reasoning, Request, Role,
    Sampling, Source, Text, Thinking, Tool, ToolCall, ToolChoice, ToolResult, WebSearch,
};
use crate::request::InferenceRequest;
use crate::request::error::RequestError;
use crate::request::facts::{Effort, ResponseFormat};

/// What the caller said and no neutral word exists for.
type Further = Vec<(Feature, String)>;

/// Reads a request.
pub(super) fn decode(request: &InferenceRequest) -> Result<Request, RequestError> {
    // It was read before, so it is UTF-8 and an object.
    let body = std::str::from_utf8(&request.body).unwrap_or_default().trim();
    let mut object = Object::read(body, "", "a JSON object")?;
    let mut further = Further::new();

    let mut system = Vec::new();
    let mut messages = Vec::new();
    let mut calls = Calls::default();
    for (path, raw) in object.list("messages")?.unwrap_or_default() {
        let message = Object::read(raw, path, "an object with `role` and `content`")?;
        let message = self::message(message, &mut calls, &mut further)?;
        // What the operator says before anybody else is the system prompt.
        if message.role == Role::System && messages.is_empty() {
            system.extend(message.parts.into_iter().filter_map(|part| match part {
                Part::Text(text) => Some(text),
                _ => None,
            }));
        } else {
            messages.push(message);
        }
    }
    let mut tools = Vec::new();
    for (path, raw) in object.list("tools")?.unwrap_or_default() {
        tools.push(tool(Object::read(raw, path, "a tool")?, raw, &mut further)?);
    }
    // The form before there could be other tools than functions.
    for (path, raw) in object.list("functions")?.unwrap_or_default() {
        tools.push(Tool::Function(function(Object::read(raw, path, "a function")?, &mut further)?));
    }
    tools.extend(web_search(&mut object)?.map(Tool::WebSearch));
    let tool_choice = tool_choice(&mut object, &mut further)?;
    let output = output(&mut object, &mut further)?;
    let reasoning = reasoning(&mut object, &mut further)?;
    let sampling = Sampling {
        temperature: request.temperature,
        top_p: request.top_p,
        top_k: object.count("top_k")?,
        presence_penalty: object.number("presence_penalty")?,
        frequency_penalty: object.number("frequency_penalty")?,
        seed: object.number("seed")?.map(|seed| seed as i64),
    };
    let logprobs = match (object.switch("logprobs")?, object.count("top_logprobs")?) {
        (Some(true), top) => Some(top.unwrap_or(0)),
        _ => None,
    };
    let parallel_tool_calls = object.switch("parallel_tool_calls")?;
    let service_tier = object.text("service_tier")?;
    let prompt_cache_key = object.text("prompt_cache_key")?;
    settings(&mut object, request, &mut further)?;
    for path in object.rest() {
        further.push((Feature::UnknownField, path));
    }
    Ok(Request {
        model: request.model.clone(),
        system,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls,
        max_output_tokens: request.max_tokens,
        sampling,
        stop: request.stop_sequences.clone(),
        reasoning,
        output,
        logprobs,
        service_tier,
        prompt_cache_key,
        stream: request.stream,
        stream_usage: request.stream_usage_requested(),
        further,
    })
}

/// Reads the settings no neutral word exists for.
fn settings(object: &mut Object<'_>, request: &InferenceRequest, further: &mut Further) -> Result<(), RequestError> {
    if request.answers > 1 {
        further.push((Feature::SeveralAnswers, "n".to_owned()));
    }
    if object.switch("store")? == Some(true) {
        further.push((Feature::Store, "store".to_owned()));
    }
    let modalities = object.texts("modalities")?;
    if modalities.iter().any(|modality| modality != "text") {
        further.push((Feature::OutputModalities, "modalities".to_owned()));
    }
    for (name, feature) in [
        ("audio", Feature::OutputModalities),
        ("logit_bias", Feature::LogitBias),
        ("metadata", Feature::Metadata),
        ("prediction", Feature::Prediction),
        ("prompt_cache_options", Feature::CacheControl),
        ("prompt_cache_retention", Feature::CacheControl),
    ] {
        let value = object.take(name);
        // An empty one says nothing.
        if value.is_some_and(|value| !matches!(value.trim(), "{}" | "[]")) {
            further.push((feature, name.to_owned()));
        }
    }
    // Who the user is, is nobody's business in any format.
    object.ignore(&[
        "model",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "safety_identifier",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "user",
    ]);
    Ok(())
}

/// The calls so far, by id, with the names of their tools and whether these take text.
#[derive(Default)]
struct Calls(HashMap<String, (String, bool)>);

fn message(mut message: Object<'_>, calls: &mut Calls, further: &mut Further) -> Result<Message, RequestError> {
    let role = message.required_text("role", "say whose message it is, e.g. \"user\"")?;
    let path = message.at("content");
    let content = message.take("content");
    let mut parts = content.map_or(Ok(Vec::new()), |content| self::parts(content, &path, further))?;
    mark_last(&mut parts, cache(&mut message)?);
    let role = match role.as_str() {
        "user" => Role::User,
        "system" | "developer" => Role::System,
        "assistant" => {
            assistant(&mut message, &mut parts, calls, further)?;
            Role::Assistant
        }
        "tool" | "function" => {
            let name = message.text("name")?;
            // The form before calls had ids is known by the function alone.
            let id = match &name {
                Some(name) if role == "function" => legacy_id(name),
                _ => message.required_text("tool_call_id", "name the call it answers")?,
            };
            let (call_id, _) = ids::heard(&id);
            let known = calls.0.get(&call_id).cloned();
            let custom = known.as_ref().is_some_and(|(_, custom)| *custom);
            let name = known.map(|(name, _)| name).or(name);
            parts = vec![Part::ToolResult(ToolResult { call_id, name, parts, is_error: false, custom, cache: None })];
            Role::User
        }
        _ => {
            let roles = "`system`, `developer`, `user`, `assistant` or `tool`";
            return Err(RequestError::invalid(message.at("role"), roles));
        }
    };
    unknown(message, further);
    Ok(Message { role, parts })
}

fn assistant(
    message: &mut Object<'_>,
    parts: &mut Vec<Part>,
    calls: &mut Calls,
    further: &mut Further,
) -> Result<(), RequestError> {
    for field in ["reasoning_content", "reasoning"] {
        let said = message.take(field).and_then(raw::text).filter(|text| !text.is_empty());
        if let Some(text) = said
            && !matches!(parts.first(), Some(Part::Thinking(_)))
        {
            let signature = Some(reasoning_signature(field));
            parts.insert(0, Part::Thinking(Thinking { text, signature, redacted: false }));
        }
    }
    if let Some(words) = message.text("refusal")?.filter(|words| !words.is_empty()) {
        parts.push(Part::Refusal(words));
    }
    for (path, raw) in message.list("tool_calls")?.unwrap_or_default() {
        let mut call = Object::read(raw, path, "a tool call")?;
        let (id, signature) = ids::heard(&call.text("id")?.unwrap_or_default());
        let (custom, inside) = match call.object("custom")? {
            Some(custom) => (true, Some(custom)),
            None => (false, call.object("function")?),
        };
        let missing = RequestError::Missing { field: call.at("function").into(), fix: "say which function is called" };
        let mut inside = inside.ok_or(missing)?;
        let name = inside.required_text("name", "name the function")?;
        let input = inside.take(if custom { "input" } else { "arguments" }).unwrap_or_default();
        // Some clients send the object itself instead of its text.
        let input = raw::text(input).unwrap_or_else(|| input.to_owned());
        calls.0.insert(id.clone(), (name.clone(), custom));
        call.ignore(&["type", "index", "function"]);
        unknown(inside, further);
        unknown(call, further);
        parts.push(Part::ToolCall(ToolCall { id, name, input, custom, signature, cache: None }));
    }
    if let Some(mut call) = message.object("function_call")? {
        let name = call.required_text("name", "name the function")?;
        let input = call.text("arguments")?.unwrap_or_default();
        let id = legacy_id(&name);
        calls.0.insert(id.clone(), (name.clone(), false));
        parts.push(Part::ToolCall(ToolCall { id, name, input, custom: false, signature: None, cache: None }));
    }
    if message.take("audio").is_some() {
        further.push((Feature::VendorBlocks, message.at("audio")));
    }
    // What answers have and requests need not.
    message.ignore(&["annotations", "reasoning_details"]);
    Ok(())
}

fn legacy_id(name: &str) -> String {
    format!("function_{name}")
}

/// Reads content: a text or an array of parts.
fn parts(raw: &str, path: &str, further: &mut Further) -> Result<Vec<Part>, RequestError> {
    if let Some(text) = raw::text(raw) {
        return Ok(vec![Part::Text(Text::plain(text))]);
    }
    let elements = raw::elements(raw, path)
        .ok_or_else(|| RequestError::invalid(path.to_owned(), "a string or an array of content parts"))?;
    let mut parts = Vec::new();
    for (path, raw) in elements {
        match raw::text(raw) {
            Some(text) => parts.push(Part::Text(Text::plain(text))),
            None => part(Object::read(raw, path, "a content part")?, &mut parts, further)?,
        }
    }
    Ok(parts)
}

fn part(mut part: Object<'_>, parts: &mut Vec<Part>, further: &mut Further) -> Result<(), RequestError> {
    let kind = part.required_text("type", "say what kind of part it is, e.g. \"text\"")?;
    let cache = cache(&mut part)?;
    let found = match kind.as_str() {
        "text" | "input_text" | "output_text" => {
            let text = part.required_text("text", "say what it says")?;
            part.ignore(&["annotations"]);
            Part::Text(Text { text, cache, citations: Vec::new() })
        }
        "refusal" => Part::Refusal(part.required_text("refusal", "say what it says")?),
        "image_url" | "video_url" | "input_image" => {
            let path = part.at("image_url");
            let field = if kind == "video_url" { "video_url" } else { "image_url" };
            let mut detail = part.text("detail")?;
            let raw = part.take(field).ok_or(RequestError::Missing { field: path.into(), fix: "send the address" })?;
            let url = if let Some(url) = raw::text(raw) {
                url
            } else {
                let mut image = Object::read(raw, part.at(field), "an object with `url`")?;
                detail = image.text("detail")?.or(detail);
                let url = image.required_text("url", "send an address or a data URL")?;
                unknown(image, further);
                url
            };
            let kind = if field == "video_url" { MediaKind::Video } else { MediaKind::Image };
            let (media_type, source) = place(url);
            Part::Media(Media { kind, media_type, source, name: None, detail, cache })
        }
        "input_audio" => {
            let missing = RequestError::Missing { field: part.at("input_audio").into(), fix: "send the sound" };
            let mut audio = part.object("input_audio")?.ok_or(missing)?;
            let data = audio.required_text("data", "send the bytes in Base64")?;
            let format = audio.text("format")?;
            let media_type = Some(format!("audio/{}", format.as_deref().unwrap_or("wav")));
            let source = Source::Base64(data);
            Part::Media(Media { kind: MediaKind::Audio, media_type, source, name: None, detail: None, cache })
        }
        "file" => {
            let missing = RequestError::Missing { field: part.at("file").into(), fix: "say which file it is" };
            let mut file = part.object("file")?.ok_or(missing)?;
            let name = file.text("filename")?;
            let (media_type, source) = match (file.text("file_data")?, file.text("file_id")?) {
                (Some(data), _) => place(data),
                (None, Some(id)) => (None, Source::File(Format::OpenAiChat, id)),
                (None, None) => return Err(RequestError::invalid(file.path().to_owned(), "`file_data` or `file_id`")),
            };
            let kind = match media_type.as_deref() {
                Some(media_type) if media_type.starts_with("image/") => MediaKind::Image,
                _ => MediaKind::Document,
            };
            unknown(file, further);
            Part::Media(Media { kind, media_type, source, name, detail: None, cache })
        }
        // What the model thought, as servers with reasoning models take it back.
        "thinking" | "reasoning" => {
            let text = part.text("thinking")?.or(part.text("text")?).unwrap_or_default();
            let signature = Some(reasoning_signature("reasoning_content"));
            part.ignore(&["signature"]);
            Part::Thinking(Thinking { text, signature, redacted: false })
        }
        _ => {
            further.push((Feature::VendorBlocks, part.path().to_owned()));
            return Ok(());
        }
    };
    parts.push(found);
    unknown(part, further);
    Ok(())
}

/// What stands behind an address, or in a data URL, or is Base64 without anything around it.
fn place(url: String) -> (Option<String>, Source) {
    if let Some((head, data)) = url.strip_prefix("data:").and_then(|rest| rest.split_once(',')) {
        let mut words = head.split(';');
        let media_type = words.next().filter(|media_type| !media_type.is_empty()).map(str::to_owned);
        return if words.any(|word| word.eq_ignore_ascii_case("base64")) {
            (media_type, Source::Base64(data.to_owned()))
        } else {
            (media_type, Source::PlainText(data.to_owned()))
        };
    }
    if url.contains("://") { (None, Source::Url(url)) } else { (None, Source::Base64(url)) }
}

/// Reads a mark for the cache: OpenAI's own, or Anthropic's, which many servers and clients pass on.
fn cache(object: &mut Object<'_>) -> Result<Option<CacheMark>, RequestError> {
    let own = object.object("prompt_cache_breakpoint")?;
    let Some(mut mark) = object.object("cache_control")?.or(own) else { return Ok(None) };
    let long = matches!(mark.text("ttl")?.as_deref(), Some("1h" | "12h"));
    Ok(Some(if long { CacheMark::Hour } else { CacheMark::Short }))
}

/// A mark on a message is one on the last of its parts.
fn mark_last(parts: &mut [Part], mark: Option<CacheMark>) {
    let (Some(last), Some(mark)) = (parts.last_mut(), mark) else { return };
    match last {
        Part::Text(text) => text.cache = Some(mark),
        Part::Media(media) => media.cache = Some(mark),
        _ => {}
    }
}

fn tool(mut tool: Object<'_>, raw: &str, further: &mut Further) -> Result<Tool, RequestError> {
    let kind = tool.text("type")?.unwrap_or_else(|| "function".to_owned());
    match kind.as_str() {
        "function" => {
            let mark = cache(&mut tool)?;
            let missing = RequestError::Missing { field: tool.at("function").into(), fix: "describe the function" };
            // Some clients leave out what is around it.
            let function = match tool.object("function")? {
                Some(function) => {
                    unknown(tool, further);
                    function
                }
                None if raw.contains("\"name\"") => tool,
                None => return Err(missing),
            };
            let function = self::function(function, further)?;
            Ok(Tool::Function(Function { cache: function.cache.or(mark), ..function }))
        }
        "custom" => {
            let missing = RequestError::Missing { field: tool.at("custom").into(), fix: "describe the tool" };
            let mut custom = tool.object("custom")?.ok_or(missing)?;
            let format = custom.json("format").map(|format| {
                let value = format.to_value();
                let grammar = &value["grammar"];
                if !grammar.is_object() {
                    return format;
                }
                Json::of(&json!({
                    "type": "grammar",
                    "syntax": grammar["syntax"],
                    "definition": grammar["definition"],
                }))
            });
            let name = custom.required_text("name", "name the tool")?;
            let description = custom.text("description")?;
            unknown(custom, further);
            Ok(Tool::Custom(CustomTool { name, description, format }))
        }
        _ => {
            let raw = Json::parse(raw).unwrap_or_else(Json::empty_object);
            Ok(Tool::Native(Format::OpenAiChat, kind, raw))
        }
    }
}

fn function(mut function: Object<'_>, further: &mut Further) -> Result<Function, RequestError> {
    let found = Function {
        name: function.required_text("name", "name the function")?,
        description: function.text("description")?,
        parameters: function.json("parameters"),
        strict: function.switch("strict")?,
        cache: cache(&mut function)?,
    };
    unknown(function, further);
    Ok(found)
}

fn web_search(object: &mut Object<'_>) -> Result<Option<WebSearch>, RequestError> {
    let Some(mut options) = object.object("web_search_options")? else { return Ok(None) };
    // Here the place is one level deeper than elsewhere.
    let user_location = options.json("user_location").map(|location| {
        let mut place = location.to_value()["approximate"].take();
        place["type"] = "approximate".into();
        Json::of(&place)
    });
    let context_size = options.text("search_context_size")?;
    Ok(Some(WebSearch { user_location, context_size, ..WebSearch::default() }))
}

fn tool_choice(object: &mut Object<'_>, further: &mut Further) -> Result<Option<ToolChoice>, RequestError> {
    let older = object.take("function_call");
    let Some(raw) = object.take("tool_choice").or(older) else { return Ok(None) };
    let expected = "`none`, `auto`, `required` or a tool";
    if let Some(word) = raw::text(raw) {
        return match word.as_str() {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::None)),
            "required" | "any" => Ok(Some(ToolChoice::Required)),
            _ => Err(RequestError::invalid("tool_choice", expected)),
        };
    }
    let mut choice = Object::read(raw, "tool_choice", expected)?;
    choice.ignore(&["type"]);
    if let Some(mut allowed) = choice.object("allowed_tools")? {
        let required = allowed.text("mode")?.as_deref() == Some("required");
        let mut names = Vec::new();
        for (path, raw) in allowed.list("tools")?.unwrap_or_default() {
            let mut tool = Object::read(raw, path, "a tool")?;
            let inside = match tool.object("function")? {
                Some(function) => Some(function),
                None => tool.object("custom")?,
            };
            names.push(inside.unwrap_or(tool).required_text("name", "name the tool")?);
        }
        return Ok(Some(ToolChoice::Among { required, names }));
    }
    let inside = match choice.object("function")? {
        Some(function) => Some(function),
        None => choice.object("custom")?,
    };
    let name = match inside {
        Some(mut inside) => inside.required_text("name", "name the tool")?,
        None => choice.required_text("name", "name the tool")?,
    };
    unknown(choice, further);
    Ok(Some(ToolChoice::Named(name)))
}

fn output(object: &mut Object<'_>, further: &mut Further) -> Result<Output, RequestError> {
    let mut output = Output { verbosity: object.text("verbosity")?, ..Output::default() };
    let Some(mut format) = object.object("response_format")? else { return Ok(output) };
    match format.text("type")?.as_deref() {
        Some("json_object") => output.format = ResponseFormat::JsonObject,
        Some("json_schema") => {
            output.format = ResponseFormat::JsonSchema;
            if let Some(mut schema) = format.object("json_schema")? {
                output.schema = schema.json("schema");
                output.name = schema.text("name")?;
                output.description = schema.text("description")?;
                output.strict = schema.switch("strict")?;
                unknown(schema, further);
            }
        }
        _ => {}
    }
    unknown(format, further);
    Ok(output)
}

/// Reads `reasoning_effort`, and what servers that lead to models of many vendors have: `reasoning` {effort, max_tokens,
/// enabled, exclude} and `thinking` {type, budget_tokens}.
fn reasoning(object: &mut Object<'_>, further: &mut Further) -> Result<Option<Reasoning>, RequestError> {
    let mut found = Reasoning::default();
    let mut asked = false;
    let word = object.take("reasoning_effort").and_then(raw::text);
    found.effort = word.and_then(|word| Effort::from_name(&word));
    if let Some(mut reasoning) = object.object("reasoning")? {
        found.effort = found.effort.or(reasoning.text("effort")?.and_then(|word| Effort::from_name(&word)));
        found.budget = reasoning.count("max_tokens")?;
        let enabled = reasoning.switch("enabled")?;
        found.off = enabled == Some(false);
        asked = enabled == Some(true);
        found.told = reasoning.switch("exclude")?.map(|excluded| !excluded);
        reasoning.ignore(&["summary"]);
        unknown(reasoning, further);
    }
    if let Some(mut thinking) = object.object("thinking")? {
        found.budget = found.budget.or(thinking.count("budget_tokens")?);
        match thinking.text("type")?.as_deref() {
            Some("disabled") => found.off = true,
            Some("adaptive" | "auto") => found.adaptive = true,
            _ => asked = true,
        }
        unknown(thinking, further);
    }
    found.off |= found.effort == Some(Effort::None);
    // Asked to think, and not how much.
    found.adaptive |= asked && found.effort.is_none() && found.budget.is_none();
    Ok((found != Reasoning::default()).then_some(found))
}

fn unknown(object: Object<'_>, further: &mut Further) {
    further.extend(object.rest().map(|path| (Feature::UnknownField, path)));
}
