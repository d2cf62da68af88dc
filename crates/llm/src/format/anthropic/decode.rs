//! Reading a caller's request into neutral words.

use crate::format::raw::{self, Object};
use crate::format::{Format, ids};
use crate::neutral::{
    CacheMark, Citation, Feature, Function, Json, Media, MediaKind, Message, Output, Part, Reasoning, Request, Role,
    Sampling, Signature, Source, Text, Thinking, Tool, ToolCall, ToolChoice, ToolResult, WebSearch,
};
use crate::request::InferenceRequest;
use crate::request::error::RequestError;
use crate::request::facts::{Effort, ResponseFormat};

/// What stands for the version and session of Claude Code in a system prompt of its. It is meant for Anthropic's servers,
/// changes from request to request, and would keep every other cache from hitting.
const BILLING_HEADER: &str = "x-anthropic-billing-header:";

/// What the caller said and no neutral word exists for.
type Further = Vec<(Feature, String)>;

/// Reads a request.
pub(super) fn decode(request: &InferenceRequest) -> Result<Request, RequestError> {
    // It was read before, so it is UTF-8 and an object.
    let body = std::str::from_utf8(&request.body).unwrap_or_default().trim();
    let mut object = Object::read(body, "", "a JSON object")?;
    let mut further = Further::new();

    let system = system(&mut object, &mut further)?;
    let mut messages = Vec::new();
    for (path, raw) in object.list("messages")?.unwrap_or_default() {
        messages.push(message(Object::read(raw, path, "an object with `role` and `content`")?, &mut further)?);
    }
    name_results(&mut messages);
    let mut tools = Vec::new();
    for (path, raw) in object.list("tools")?.unwrap_or_default() {
        tools.push(tool(Object::read(raw, path, "a tool")?, raw, &mut further)?);
    }
    let (tool_choice, parallel_tool_calls) = tool_choice(&mut object, &mut further)?;
    let (output, effort) = output(&mut object, &mut further)?;
    let reasoning = reasoning(&mut object, effort, &mut further)?;
    let sampling = Sampling {
        temperature: request.temperature,
        top_p: request.top_p,
        top_k: object.count("top_k")?,
        ..Sampling::default()
    };
    let service_tier = object.text("service_tier")?;

    // `metadata` identifies a person, which is nobody's business in any format.
    object.ignore(&["model", "max_tokens", "metadata", "stream", "stop_sequences", "temperature", "top_p"]);
    for path in object.rest() {
        let feature = match path.as_str() {
            "cache_control" => Feature::CacheControl,
            "container" => Feature::ServerState,
            "context_management" => Feature::ContextManagement,
            "mcp_servers" => Feature::McpServers,
            _ => Feature::UnknownField,
        };
        further.push((feature, path));
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
        logprobs: None,
        service_tier,
        prompt_cache_key: None,
        stream: request.stream,
        stream_usage: true,
        further,
    })
}

fn system(object: &mut Object<'_>, further: &mut Further) -> Result<Vec<Text>, RequestError> {
    let Some(raw) = object.take("system") else { return Ok(Vec::new()) };
    if let Some(text) = raw::text(raw) {
        return Ok(vec![Text::plain(text)]);
    }
    let mut system = Vec::new();
    for (path, raw) in raw::elements(raw, "system").unwrap_or_default() {
        let mut block = Object::read(raw, path, "a text block")?;
        let text = block.required_text("text", "send text blocks only")?;
        let cache = cache(&mut block)?;
        block.ignore(&["type", "citations"]);
        if text.starts_with(BILLING_HEADER) {
            further.push((Feature::Metadata, block.path().to_owned()));
        } else {
            system.push(Text { text, cache, citations: Vec::new() });
        }
        unknown(block, further);
    }
    Ok(system)
}

fn message(mut message: Object<'_>, further: &mut Further) -> Result<Message, RequestError> {
    let role = match message.required_text("role", "say whose message it is, e.g. \"user\"")?.as_str() {
        "user" | "tool" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(RequestError::invalid(message.at("role"), "`user`, `assistant` or `system`")),
    };
    let path = message.at("content");
    let content = message.take("content");
    unknown(message, further);
    Ok(Message { role, parts: content.map_or(Ok(Vec::new()), |content| parts(content, &path, further))? })
}

/// Reads content: a text or an array of blocks.
fn parts(raw: &str, path: &str, further: &mut Further) -> Result<Vec<Part>, RequestError> {
    if let Some(text) = raw::text(raw) {
        return Ok(vec![Part::Text(Text::plain(text))]);
    }
    let blocks = raw::elements(raw, path)
        .ok_or_else(|| RequestError::invalid(path.to_owned(), "a string or an array of content blocks"))?;
    let mut parts = Vec::new();
    for (path, raw) in blocks {
        block(Object::read(raw, path, "a content block")?, &mut parts, further)?;
    }
    Ok(parts)
}

fn block(mut block: Object<'_>, parts: &mut Vec<Part>, further: &mut Further) -> Result<(), RequestError> {
    let kind = block.required_text("type", "say what kind of block it is, e.g. \"text\"")?;
    match kind.as_str() {
        "text" => {
            let text = block.required_text("text", "say what it says")?;
            let citations = citations(&mut block)?;
            parts.push(Part::Text(Text { text, citations, cache: cache(&mut block)? }));
        }
        "image" | "document" => media(&kind, &mut block, parts, further)?,
        "tool_use" => {
            let (id, signature) = ids::heard(&block.required_text("id", "give the call an id")?);
            let input = block.take("input").unwrap_or("{}").to_owned();
            let name = block.required_text("name", "name the tool")?;
            let cache = cache(&mut block)?;
            // Who called it matters to the vendor's own tools only.
            block.ignore(&["caller"]);
            parts.push(Part::ToolCall(ToolCall { id, name, input, custom: false, signature, cache }));
        }
        "tool_result" => {
            let (call_id, _) = ids::heard(&block.required_text("tool_use_id", "name the call it answers")?);
            let path = block.at("content");
            let mut inside = Vec::new();
            if let Some(content) = block.take("content") {
                inside = self::parts(content, &path, further)?;
            }
            if let Some(structured) = block.take("structuredContent").filter(|_| inside.is_empty()) {
                inside.push(Part::Text(Text::plain(structured)));
            }
            let is_error = block.switch("is_error")?.unwrap_or_default();
            let cache = cache(&mut block)?;
            block.ignore(&["_meta"]);
            let result = ToolResult { call_id, name: None, parts: inside, is_error, custom: false, cache };
            parts.push(Part::ToolResult(result));
        }
        "thinking" => {
            let text = block.text("thinking")?.unwrap_or_default();
            let signature = block.text("signature")?.filter(|signature| !signature.is_empty()).map(signature);
            parts.push(Part::Thinking(Thinking { text, signature, redacted: false }));
        }
        "redacted_thinking" => {
            let signature = block.text("data")?.filter(|data| !data.is_empty()).map(signature);
            parts.push(Part::Thinking(Thinking { text: String::new(), signature, redacted: true }));
        }
        "search_result" => {
            let text = search_result(&mut block, further)?;
            parts.push(Part::Text(Text { cache: cache(&mut block)?, ..Text::plain(text) }));
        }
        // Calls of the vendor's own tools and their results, containers, and what was added since.
        _ => {
            further.push((Feature::VendorBlocks, block.path().to_owned()));
            return Ok(());
        }
    }
    unknown(block, further);
    Ok(())
}

fn media(kind: &str, block: &mut Object<'_>, parts: &mut Vec<Part>, further: &mut Further) -> Result<(), RequestError> {
    let name = block.text("title")?;
    let cache = cache(block)?;
    let path = block.at("source");
    let mut source = block
        .object("source")?
        .ok_or(RequestError::Missing { field: path.clone().into(), fix: "say where its bytes are" })?;
    let media_type = source.text("media_type")?;
    let source_type = source.required_text("type", "say what kind of source it is, e.g. \"base64\"")?;
    let place = match source_type.as_str() {
        "base64" => Source::Base64(source.required_text("data", "send the bytes in Base64")?),
        "text" => Source::PlainText(source.required_text("data", "send the text")?),
        "url" => Source::Url(source.required_text("url", "send the address")?),
        "file" => Source::File(Format::AnthropicMessages, source.required_text("file_id", "name the file")?),
        // A document of blocks is what they say.
        "content" => {
            let path = source.at("content");
            let content = source.take("content").unwrap_or("[]");
            parts.extend(self::parts(content, &path, further)?);
            block.ignore(&["citations", "context"]);
            return Ok(());
        }
        _ => return Err(RequestError::invalid(source.at("type"), "`base64`, `text`, `url`, `content` or `file`")),
    };
    unknown(source, further);
    if let Some(context) = block.text("context")?.filter(|context| !context.is_empty()) {
        parts.push(Part::Text(Text::plain(context)));
    }
    if let Some(mut citations) = block.object("citations")?
        && citations.switch("enabled")? == Some(true)
    {
        further.push((Feature::Citations, citations.path().to_owned()));
    }
    let kind = if kind == "image" { MediaKind::Image } else { MediaKind::Document };
    let media_type = media_type.or_else(|| match (kind, &place) {
        (MediaKind::Document, Source::Url(_)) => Some("application/pdf".to_owned()),
        _ => None,
    });
    parts.push(Part::Media(Media { kind, media_type, source: place, name, detail: None, cache }));
    Ok(())
}

fn search_result(block: &mut Object<'_>, further: &mut Further) -> Result<String, RequestError> {
    let title = block.text("title")?.unwrap_or_default();
    let source = block.text("source")?.unwrap_or_default();
    let path = block.at("content");
    let content = block.take("content").map_or(Ok(Vec::new()), |content| parts(content, &path, further))?;
    block.ignore(&["citations"]);
    let mut text = format!("{title}\n{source}");
    for part in content {
        if let Part::Text(part) = part {
            text = format!("{text}\n{}", part.text);
        }
    }
    Ok(text)
}

fn signature(text: String) -> Signature {
    Signature::open(&text).unwrap_or(Signature { by: Format::AnthropicMessages, id: None, data: text })
}

fn cache(block: &mut Object<'_>) -> Result<Option<CacheMark>, RequestError> {
    let Some(mut control) = block.object("cache_control")? else { return Ok(None) };
    Ok(Some(if control.text("ttl")?.as_deref() == Some("1h") { CacheMark::Hour } else { CacheMark::Short }))
}

fn citations(block: &mut Object<'_>) -> Result<Vec<Citation>, RequestError> {
    let mut found = Vec::new();
    for (path, raw) in block.list("citations")?.unwrap_or_default() {
        let mut citation = Object::read(raw, path, "a citation")?;
        let title = citation.text("title")?;
        found.push(Citation {
            uri: citation.text("url")?.or(citation.text("source")?),
            title: title.or(citation.text("document_title")?),
            snippet: citation.text("cited_text")?,
            span: None,
        });
    }
    Ok(found)
}

/// Says with each result which tool it is of.
fn name_results(messages: &mut [Message]) {
    let mut names = std::collections::HashMap::new();
    for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
        match part {
            Part::ToolCall(call) => {
                names.insert(call.id.clone(), call.name.clone());
            }
            Part::ToolResult(result) => result.name = names.get(&result.call_id).cloned(),
            _ => {}
        }
    }
}

fn tool(mut tool: Object<'_>, raw: &str, further: &mut Further) -> Result<Tool, RequestError> {
    let kind = tool.text("type")?.unwrap_or_else(|| "custom".to_owned());
    if kind == "web_search" || kind.starts_with("web_search_") {
        let search = WebSearch {
            max_uses: tool.count("max_uses")?,
            allowed_domains: tool.texts("allowed_domains")?,
            blocked_domains: tool.texts("blocked_domains")?,
            user_location: tool.json("user_location"),
            context_size: None,
        };
        tool.ignore(&["name", "cache_control", "allowed_callers", "defer_loading", "strict", "response_inclusion"]);
        unknown(tool, further);
        return Ok(Tool::WebSearch(search));
    }
    if kind != "custom" {
        let raw = Json::parse(raw).unwrap_or_else(Json::empty_object);
        return Ok(Tool::Native(Format::AnthropicMessages, kind, raw));
    }
    let function = Function {
        name: tool.required_text("name", "name the tool")?,
        description: tool.text("description")?,
        parameters: tool.json("input_schema"),
        strict: tool.switch("strict")?,
        cache: cache(&mut tool)?,
    };
    // How its input is streamed, who may call it, and whether it is loaded later change nothing about what it does.
    tool.ignore(&["eager_input_streaming", "allowed_callers", "defer_loading"]);
    unknown(tool, further);
    Ok(Tool::Function(function))
}

fn tool_choice(
    object: &mut Object<'_>,
    further: &mut Further,
) -> Result<(Option<ToolChoice>, Option<bool>), RequestError> {
    let Some(mut choice) = object.object("tool_choice")? else { return Ok((None, None)) };
    let kind = choice.required_text("type", "say `auto`, `any`, `tool` or `none`")?;
    let chosen = match kind.as_str() {
        "auto" => ToolChoice::Auto,
        "any" | "required" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.required_text("name", "name the tool")?),
        _ => return Err(RequestError::invalid("tool_choice.type", "`auto`, `any`, `tool` or `none`")),
    };
    let parallel = choice.switch("disable_parallel_tool_use")?.map(|disabled| !disabled);
    unknown(choice, further);
    Ok((Some(chosen), parallel))
}

/// Reads `output_config` {effort, format} and its older form `output_format`.
fn output(object: &mut Object<'_>, further: &mut Further) -> Result<(Output, Option<Effort>), RequestError> {
    let mut effort = None;
    let mut format = object.object("output_format")?;
    if let Some(mut config) = object.object("output_config")? {
        effort = config.text("effort")?.and_then(|name| Effort::from_name(&name));
        format = config.object("format")?.or(format);
        unknown(config, further);
    }
    let Some(mut format) = format else { return Ok((Output::default(), effort)) };
    let output = match format.text("type")?.as_deref() {
        Some("json_schema") => Output {
            format: ResponseFormat::JsonSchema,
            schema: format.json("schema"),
            name: format.text("name")?,
            // This vendor's answers match their schema always.
            strict: Some(true),
            ..Output::default()
        },
        Some("json_object") => Output { format: ResponseFormat::JsonObject, ..Output::default() },
        _ => Output::default(),
    };
    unknown(format, further);
    Ok((output, effort))
}

fn reasoning(
    object: &mut Object<'_>,
    effort: Option<Effort>,
    further: &mut Further,
) -> Result<Option<Reasoning>, RequestError> {
    let Some(mut thinking) = object.object("thinking")? else {
        return Ok(effort.map(|effort| Reasoning { effort: Some(effort), ..Reasoning::default() }));
    };
    let kind = thinking.required_text("type", "say `enabled`, `adaptive` or `disabled`")?;
    let mut reasoning = Reasoning { effort, budget: thinking.count("budget_tokens")?, ..Reasoning::default() };
    match kind.as_str() {
        "enabled" => {}
        "disabled" => reasoning.off = true,
        // `adaptive`, `between_tools`, and what was added since.
        _ => reasoning.adaptive = true,
    }
    reasoning.told = thinking.text("display")?.map(|display| display != "omitted");
    unknown(thinking, further);
    Ok(Some(reasoning))
}

fn unknown(object: Object<'_>, further: &mut Further) {
    further.extend(object.rest().map(|path| (Feature::UnknownField, path)));
}
