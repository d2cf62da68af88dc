//! Reading a caller's request into neutral words.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::request::camel;
use super::{media, schemas, signature};
use crate::format::raw::{self, Object};
use crate::format::{Format, ids};
use crate::neutral::{
    Feature, Function, Json, Media, Message, Output, Part, Reasoning, Request, Role, Sampling, Source, Text, Thinking,
    Tool, ToolCall, ToolChoice, ToolResult, WebSearch,
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
    let mut object = read(body, "", "a JSON object")?;
    let mut further = Further::new();

    let system = match object.take("systemInstruction") {
        Some(raw) => system(raw, &mut further)?,
        None => Vec::new(),
    };
    let mut messages = Vec::new();
    let mut calls = Calls::default();
    for (path, raw) in one_or_many(object.take("contents"), "contents") {
        messages.push(content(read(raw, path, "an object with `role` and `parts`")?, &mut calls, &mut further)?);
    }
    let mut tools = Vec::new();
    for (path, raw) in one_or_many(object.take("tools"), "tools") {
        tool(read(raw, path, "a tool")?, &mut tools, &mut further)?;
    }
    let tool_choice = tool_choice(&mut object, &mut further)?;

    let mut found = Request {
        model: request.model.clone(),
        system,
        messages,
        tools,
        tool_choice,
        max_output_tokens: request.max_tokens,
        sampling: Sampling { temperature: request.temperature, top_p: request.top_p, ..Sampling::default() },
        stop: request.stop_sequences.clone(),
        stream: request.stream,
        stream_usage: true,
        ..Request::default()
    };
    if let Some(raw) = object.take("generationConfig") {
        generation_config(read(raw, "generationConfig", "an object")?, request, &mut found, &mut further)?;
    }
    found.service_tier = object.text("serviceTier")?.filter(|tier| tier != "unspecified");
    for (name, feature) in [
        ("safetySettings", Feature::SafetySettings),
        ("cachedContent", Feature::ServerState),
        ("labels", Feature::Metadata),
        ("modelArmorConfig", Feature::SafetySettings),
    ] {
        let value = object.take(name);
        // An empty one says nothing.
        if value.is_some_and(|value| !matches!(value.trim(), "{}" | "[]" | "\"\"")) {
            further.push((feature, name.to_owned()));
        }
    }
    if object.switch("store")? == Some(true) {
        further.push((Feature::Store, "store".to_owned()));
    }
    object.ignore(&["model"]);
    unknown(object, &mut further);
    found.further = further;
    Ok(found)
}

/// Reads an object whose keys may be in either spelling.
fn read<'a>(raw: &'a str, path: impl Into<String>, expected: &'static str) -> Result<Object<'a>, RequestError> {
    Object::read(raw, path, expected).map(|object| object.renamed(camel))
}

fn unknown(object: Object<'_>, further: &mut Further) {
    further.extend(object.rest().map(|path| (Feature::UnknownField, path)));
}

/// The elements of an array; what is no array is one, as Google has it.
fn one_or_many<'a>(raw: Option<&'a str>, path: &str) -> Vec<(String, &'a str)> {
    let Some(raw) = raw else { return Vec::new() };
    raw::elements(raw, path).unwrap_or_else(|| vec![(path.to_owned(), raw)])
}

fn system(raw: &str, further: &mut Further) -> Result<Vec<Text>, RequestError> {
    if let Some(text) = raw::text(raw) {
        return Ok(vec![Text::plain(text)]);
    }
    let mut content = read(raw, "systemInstruction", "an object with `parts`")?;
    let path = content.at("parts");
    let mut texts = Vec::new();
    for (path, raw) in one_or_many(content.take("parts"), &path) {
        if let Some(text) = raw::text(raw) {
            texts.push(Text::plain(text));
            continue;
        }
        let mut part = read(raw, path, "a part")?;
        texts.extend(part.text("text")?.map(Text::plain));
        unknown(part, further);
    }
    content.ignore(&["role"]);
    unknown(content, further);
    Ok(texts)
}

/// A call that may wait for its answer.
struct Open {
    id: String,
    answered: bool,
}

/// The calls of the model's last turn, with the names of their tools.
#[derive(Default)]
struct Calls {
    open: Vec<Open>,
    /// Their places, by id and by the name of the tool, in their order.
    by_id: HashMap<String, VecDeque<usize>>,
    by_name: HashMap<String, VecDeque<usize>>,
    /// How many there were in the conversation.
    count: usize,
}

impl Calls {
    /// A call; its id, or the one it is known by here.
    fn called(&mut self, id: Option<String>, name: &str) -> String {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{}", self.count));
        self.count += 1;
        let at = self.open.len();
        self.by_id.entry(id.clone()).or_default().push_back(at);
        self.by_name.entry(name.to_owned()).or_default().push_back(at);
        self.open.push(Open { id: id.clone(), answered: false });
        id
    }

    /// The model speaks again: what nobody answered stays without.
    fn begin(&mut self) {
        self.open.clear();
        self.by_id.clear();
        self.by_name.clear();
    }

    /// The call that a result is about: the one it names, or else the first of this tool.
    fn answered(&mut self, id: Option<&str>, name: &str) -> String {
        let Self { open, by_id, by_name, .. } = self;
        let mut next = |places: Option<&mut VecDeque<usize>>| {
            let places = places?;
            while let Some(at) = places.pop_front() {
                if !std::mem::replace(&mut open[at].answered, true) {
                    return Some(open[at].id.clone());
                }
            }
            None
        };
        let found = id.and_then(|id| next(by_id.get_mut(id))).or_else(|| next(by_name.get_mut(name)));
        found.or_else(|| id.map(str::to_owned)).unwrap_or_else(|| format!("nobody_{name}"))
    }
}

fn content(mut content: Object<'_>, calls: &mut Calls, further: &mut Further) -> Result<Message, RequestError> {
    let role = content.text("role")?.unwrap_or_default().to_ascii_lowercase();
    let role = match role.as_str() {
        "" | "user" | "function" | "tool" => Role::User,
        "model" | "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(RequestError::invalid(content.at("role"), "`user` or `model`")),
    };
    if role == Role::Assistant {
        calls.begin();
    }
    let path = content.at("parts");
    let mut parts = Vec::new();
    for (path, raw) in one_or_many(content.take("parts"), &path) {
        match raw::text(raw) {
            Some(text) => parts.push(Part::Text(Text::plain(text))),
            None => part(read(raw, path, "a part")?, raw, &mut parts, calls, further)?,
        }
    }
    unknown(content, further);
    Ok(Message { role, parts })
}

fn part(
    mut part: Object<'_>,
    raw: &str,
    parts: &mut Vec<Part>,
    calls: &mut Calls,
    further: &mut Further,
) -> Result<(), RequestError> {
    let signed = part.text("thoughtSignature")?.and_then(|field| signature::heard(&field));
    let thought = part.switch("thought")? == Some(true);
    if thought {
        let text = part.text("text")?.unwrap_or_default();
        let redacted = text.is_empty();
        // A thought of Google's is one without a signature too.
        let signature = Some(signed.unwrap_or_else(|| signature::own("")));
        parts.push(Part::Thinking(Thinking { text, signature, redacted }));
    } else if let Some(text) = part.text("text")? {
        if !text.is_empty() {
            parts.push(Part::Text(Text::plain(text)));
        }
        parts.extend(signed.map(|signed| {
            Part::Thinking(if signed.by == Format::Gemini {
                signature::behind_text(&signed.data)
            } else {
                Thinking { text: String::new(), signature: Some(signed), redacted: true }
            })
        }));
    } else if let Some(call) = part.take("functionCall") {
        let mut call = read(call, part.at("functionCall"), "an object")?;
        let name = call.required_text("name", "name the function")?;
        let (id, in_id) = match call.text("id")? {
            Some(id) => {
                let (id, signature) = ids::heard(&id);
                (Some(id), signature)
            }
            None => (None, None),
        };
        let id = calls.called(id, &name);
        let input = call.take("args").unwrap_or("{}").to_owned();
        call.ignore(&["willContinue"]);
        unknown(call, further);
        let signature = signed.or(in_id);
        parts.push(Part::ToolCall(ToolCall { id, name, input, custom: false, signature, cache: None }));
    } else if let Some(response) = part.take("functionResponse") {
        let response = read(response, part.at("functionResponse"), "an object")?;
        parts.push(Part::ToolResult(function_response(response, calls, further)?));
    } else if let Some(media) = blob(&mut part)? {
        parts.push(Part::Media(media));
    } else if ["executableCode", "codeExecutionResult", "toolCall", "toolResponse"]
        .iter()
        .any(|name| part.take(name).is_some())
    {
        parts.extend(Json::parse(raw).map(|raw| Part::Native(Format::Gemini, raw)));
    }
    if part.take("mediaResolution").is_some() {
        further.push((Feature::ImageDetail, part.at("mediaResolution")));
    }
    part.ignore(&["partMetadata"]);
    unknown(part, further);
    Ok(())
}

/// `inlineData` or `fileData`, if there is one.
fn blob(part: &mut Object<'_>) -> Result<Option<Media>, RequestError> {
    let (media_type, name, source) = if let Some(raw) = part.take("inlineData") {
        let mut blob = read(raw, part.at("inlineData"), "an object")?;
        // Clients may write the bytes in the other alphabet.
        let data = blob.required_text("data", "send the bytes in Base64")?.replace('-', "+").replace('_', "/");
        (blob.text("mimeType")?, blob.text("displayName")?, Source::Base64(data))
    } else if let Some(raw) = part.take("fileData") {
        let mut file = read(raw, part.at("fileData"), "an object")?;
        let uri = file.required_text("fileUri", "name the file")?;
        let source = if media::is_stored(&uri) { Source::File(Format::Gemini, uri) } else { Source::Url(uri) };
        (file.text("mimeType")?, file.text("displayName")?, source)
    } else {
        return Ok(None);
    };
    let known = media_type.as_deref().or_else(|| match &source {
        Source::Url(address) | Source::File(_, address) => media::of_address(address),
        Source::Base64(_) | Source::PlainText(_) => None,
    });
    let kind = media::kind(known.unwrap_or_default());
    Ok(Some(Media { kind, media_type, source, name, detail: None, cache: None }))
}

fn function_response(
    mut response: Object<'_>,
    calls: &mut Calls,
    further: &mut Further,
) -> Result<ToolResult, RequestError> {
    let name = response.text("name")?.unwrap_or_default();
    let id = response.text("id")?.filter(|id| !id.is_empty()).map(|id| ids::heard(&id).0);
    let call_id = calls.answered(id.as_deref(), &name);
    let mut parts = Vec::new();
    let mut is_error = false;
    if let Some(raw) = response.take("response") {
        let (text, failed) = said(raw, response.at("response"))?;
        is_error = failed;
        parts.push(Part::Text(Text::plain(text)));
    }
    let path = response.at("parts");
    for (path, raw) in one_or_many(response.take("parts"), &path) {
        let mut part = read(raw, path, "an object with `inlineData`")?;
        parts.extend(blob(&mut part)?.map(Part::Media));
        unknown(part, further);
    }
    response.ignore(&["willContinue", "scheduling"]);
    unknown(response, further);
    Ok(ToolResult { call_id, name: Some(name), parts, is_error, custom: false, cache: None })
}

/// What a tool said, and whether that is an error: of an object with one member of these, its value.
fn said(raw: &str, path: String) -> Result<(String, bool), RequestError> {
    let mut object = Object::read(raw, path, "an object")?;
    let mut found = None;
    for (name, failed) in [("error", true), ("result", false), ("output", false)] {
        if let Some(value) = object.take(name) {
            if found.is_some() {
                return Ok((raw.to_owned(), false));
            }
            found = Some((raw::text(value).unwrap_or_else(|| value.to_owned()), failed));
        }
    }
    let alone = object.rest().next().is_none();
    Ok(found.filter(|_| alone).unwrap_or_else(|| (raw.to_owned(), false)))
}

fn tool(mut tool: Object<'_>, tools: &mut Vec<Tool>, further: &mut Further) -> Result<(), RequestError> {
    let path = tool.at("functionDeclarations");
    for (path, raw) in one_or_many(tool.take("functionDeclarations"), &path) {
        tools.push(Tool::Function(function(read(raw, path, "a function")?, further)?));
    }
    for name in ["googleSearch", "googleSearchRetrieval"] {
        let Some(raw) = tool.take(name) else { continue };
        let mut search = read(raw, tool.at(name), "an object")?;
        let blocked_domains = search.texts("excludeDomains")?;
        unknown(search, further);
        tools.push(Tool::WebSearch(WebSearch { blocked_domains, ..WebSearch::default() }));
    }
    for path in tool.names() {
        let Some(value) = tool.take(&path) else { continue };
        let raw = format!("{{{}:{value}}}", Value::from(path.as_str()));
        tools.extend(Json::parse(raw).map(|raw| Tool::Native(Format::Gemini, path, raw)));
    }
    Ok(())
}

fn function(mut function: Object<'_>, further: &mut Further) -> Result<Function, RequestError> {
    let own = function.json("parameters").map(|schema| schemas::standard(&schema));
    let parameters = function.json("parametersJsonSchema").or(own);
    let found = Function {
        name: function.required_text("name", "name the function")?,
        description: function.text("description")?,
        parameters,
        strict: None,
        cache: None,
    };
    // What comes of it, and how it is waited for, is the caller's alone.
    function.ignore(&["response", "responseJsonSchema", "behavior"]);
    unknown(function, further);
    Ok(found)
}

fn tool_choice(object: &mut Object<'_>, further: &mut Further) -> Result<Option<ToolChoice>, RequestError> {
    let Some(raw) = object.take("toolConfig") else { return Ok(None) };
    let mut config = read(raw, "toolConfig", "an object")?;
    let path = config.at("functionCallingConfig");
    let mut choice = None;
    if let Some(raw) = config.take("functionCallingConfig") {
        let mut calling = read(raw, path, "an object")?;
        let mode = calling.text("mode")?.unwrap_or_default().to_ascii_uppercase();
        let mut names = calling.texts("allowedFunctionNames")?;
        choice = match (mode.as_str(), names.len()) {
            ("" | "MODE_UNSPECIFIED", _) => None,
            ("AUTO" | "VALIDATED", 0) => Some(ToolChoice::Auto),
            ("AUTO" | "VALIDATED", _) => Some(ToolChoice::Among { required: false, names }),
            ("NONE", _) => Some(ToolChoice::None),
            ("ANY", 0) => Some(ToolChoice::Required),
            ("ANY", 1) => names.pop().map(ToolChoice::Named),
            ("ANY", _) => Some(ToolChoice::Among { required: true, names }),
            _ => return Err(RequestError::invalid(calling.at("mode"), "`AUTO`, `ANY`, `NONE` or `VALIDATED`")),
        };
        calling.ignore(&["streamFunctionCallArguments"]);
        unknown(calling, further);
    }
    unknown(config, further);
    Ok(choice)
}

fn generation_config(
    mut config: Object<'_>,
    request: &InferenceRequest,
    found: &mut Request,
    further: &mut Further,
) -> Result<(), RequestError> {
    found.sampling.top_k = config.count("topK")?;
    found.sampling.presence_penalty = config.number("presencePenalty")?;
    found.sampling.frequency_penalty = config.number("frequencyPenalty")?;
    found.sampling.seed = config.number("seed")?.map(|seed| seed as i64);
    found.output = output(&mut config)?;
    found.logprobs = match (config.switch("responseLogprobs")?, config.count("logprobs")?) {
        (Some(true), top) => Some(top.unwrap_or(0)),
        _ => None,
    };
    if request.answers > 1 {
        further.push((Feature::SeveralAnswers, config.at("candidateCount")));
    }
    let modalities = config.texts("responseModalities")?;
    if modalities.iter().any(|modality| !modality.eq_ignore_ascii_case("text")) {
        further.push((Feature::OutputModalities, config.at("responseModalities")));
    }
    for (name, feature) in [
        ("speechConfig", Feature::OutputModalities),
        ("imageConfig", Feature::OutputModalities),
        ("mediaResolution", Feature::ImageDetail),
    ] {
        if config.take(name).is_some() {
            further.push((feature, config.at(name)));
        }
    }
    if let Some(raw) = config.take("thinkingConfig") {
        let mut thinking = read(raw, config.at("thinkingConfig"), "an object")?;
        found.reasoning = reasoning(&mut thinking)?;
        unknown(thinking, further);
    }
    config.ignore(&["maxOutputTokens", "candidateCount", "temperature", "topP", "stopSequences"]);
    unknown(config, further);
    Ok(())
}

fn output(config: &mut Object<'_>) -> Result<Output, RequestError> {
    let media_type = config.text("responseMimeType")?;
    let own = config.json("responseSchema").map(|schema| schemas::standard(&schema));
    let schema = config.json("responseJsonSchema").or(own);
    let format = match (&schema, media_type.as_deref()) {
        (Some(_), _) => ResponseFormat::JsonSchema,
        (None, Some("application/json")) => ResponseFormat::JsonObject,
        (None, _) => ResponseFormat::Text,
    };
    Ok(Output { format, schema, ..Output::default() })
}

/// Reads {thinkingBudget, thinkingLevel, includeThoughts}.
fn reasoning(thinking: &mut Object<'_>) -> Result<Option<Reasoning>, RequestError> {
    let mut found = Reasoning { told: thinking.switch("includeThoughts")?, ..Reasoning::default() };
    let level = thinking.text("thinkingLevel")?.map(|level| level.to_ascii_lowercase());
    found.effort = level.and_then(|level| Effort::from_name(&level));
    match thinking.number("thinkingBudget")? {
        Some(budget) if budget < 0.0 => found.adaptive = true,
        Some(budget) if budget < 1.0 => found.off = true,
        Some(budget) => found.budget = Some(budget as u64),
        None => {}
    }
    // Whoever wants to see thoughts wants them thought.
    found.adaptive |= found.told == Some(true) && found.effort.is_none() && found.budget.is_none() && !found.off;
    Ok((found != Reasoning::default()).then_some(found))
}
