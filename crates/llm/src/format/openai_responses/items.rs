//! Reading the items of a conversation into neutral words.

use std::collections::HashMap;

use super::tools::{self, Further, Local, Tools};
use crate::format::raw::{self, Object};
use crate::format::{Format, ids};
use crate::neutral::{
    CacheMark, Feature, Json, Media, MediaKind, Message, Part, Role, Signature, Source, Text, Thinking, ToolCall,
    ToolResult,
};
use crate::request::error::RequestError;

/// What stands before a sealed thought of which nothing is told in words.
pub(super) const REDACTED: &str = "redacted-";

/// The conversation as far as it was read.
pub(super) struct Conversation<'c> {
    system: Vec<Text>,
    messages: Vec<Message>,
    /// The calls so far, by id, with the names of their tools.
    calls: HashMap<String, String>,
    tools: &'c mut Tools,
    further: &'c mut Further,
}

impl<'c> Conversation<'c> {
    /// Nothing yet. Items may add tools.
    pub(super) fn new(tools: &'c mut Tools, further: &'c mut Further) -> Self {
        Self { system: Vec::new(), messages: Vec::new(), calls: HashMap::new(), tools, further }
    }

    /// What was read: the system prompt, and the messages.
    pub(super) fn end(self) -> (Vec<Text>, Vec<Message>) {
        (self.system, self.messages)
    }

    /// Reads `instructions`: a text, or content.
    pub(super) fn instructions(&mut self, object: &mut Object<'_>) -> Result<(), RequestError> {
        let Some(raw) = object.take("instructions") else { return Ok(()) };
        let parts = self.content(raw, "instructions")?;
        self.say(Role::System, parts);
        Ok(())
    }

    /// Reads `input`: a text, or items.
    pub(super) fn input(&mut self, object: &mut Object<'_>) -> Result<(), RequestError> {
        let Some(raw) = object.take("input") else { return Ok(()) };
        if let Some(text) = raw::text(raw) {
            self.say(Role::User, vec![Part::Text(Text::plain(text))]);
            return Ok(());
        }
        for (path, raw) in raw::elements(raw, "input").unwrap_or_default() {
            let item = Object::read(raw, path, "an item, an object with a `type`")?;
            self.item(item, raw)?;
        }
        Ok(())
    }

    /// What the operator says before anybody else is the system prompt.
    fn say(&mut self, role: Role, parts: Vec<Part>) {
        if role == Role::System && self.messages.is_empty() {
            self.system.extend(parts.into_iter().filter_map(|part| match part {
                Part::Text(text) => Some(text),
                _ => None,
            }));
        } else if !parts.is_empty() {
            self.messages.push(Message { role, parts });
        }
    }

    fn item(&mut self, mut item: Object<'_>, raw: &str) -> Result<(), RequestError> {
        let kind = item.text("type")?.unwrap_or_else(|| "message".to_owned());
        // The ids of items, and how far they are, mean nothing without what the vendor keeps.
        let id = item.text("id")?;
        let status = item.text("status")?;
        match kind.as_str() {
            "message" => {
                let role = item.required_text("role", "say whose message it is, e.g. \"user\"")?;
                let role = match role.as_str() {
                    "user" => Role::User,
                    "assistant" => Role::Assistant,
                    "system" | "developer" => Role::System,
                    _ => {
                        let roles = "`user`, `assistant`, `system` or `developer`";
                        return Err(RequestError::invalid(item.at("role"), roles));
                    }
                };
                let path = item.at("content");
                let parts = item.take("content").map_or(Ok(Vec::new()), |content| self.content(content, &path))?;
                self.say(role, parts);
                item.ignore(&["phase"]);
            }
            "function_call" => {
                let name = tools::named(&mut item)?;
                let input = tools::input(item.take("arguments"));
                self.call(&mut item, None, name, input, false)?;
            }
            "custom_tool_call" => {
                let name = tools::named(&mut item)?;
                let input = tools::input(item.take("input"));
                self.call(&mut item, None, name, input, true)?;
            }
            "function_call_output" | "custom_tool_call_output" => {
                let (parts, failed) = self.output(&mut item)?;
                self.result(&mut item, None, parts, failed, kind.starts_with("custom"))?;
                item.ignore(&["name", "namespace"]);
            }
            "reasoning" => {
                let thought = thought(&mut item, id)?;
                self.say(Role::Assistant, vec![Part::Thinking(thought)]);
            }
            "additional_tools" => {
                self.tools.read(&mut item, self.further)?;
                item.ignore(&["role"]);
            }
            // What was said before stands in it, and only the vendor can read it.
            "compaction" | "compaction_summary" => {
                self.further.push((Feature::ServerState, item.path().to_owned()));
                return Ok(());
            }
            kind => return self.other(kind, item, raw, id, status.as_deref()),
        }
        self.further.extend(item.rest().map(|path| (Feature::UnknownField, path)));
        Ok(())
    }

    /// An item of a tool that the caller's program runs, or one that means nothing to another provider.
    fn other(
        &mut self,
        kind: &str,
        mut item: Object<'_>,
        raw: &str,
        id: Option<String>,
        status: Option<&str>,
    ) -> Result<(), RequestError> {
        let by_vendor = item.text("execution")?.is_some_and(|by| by == "server");
        if let Some(local) = Local::of_call(kind).filter(|_| !by_vendor) {
            let input = tools::input(item.take(local.input));
            return self.call(&mut item, id, local.name.to_owned(), input, false);
        }
        if let Some(local) = Local::of_output(kind).filter(|_| !by_vendor) {
            let failed = status == Some("failed");
            let parts = if local.name == "tool_search" {
                let found = self.tools.read(&mut item, self.further)?;
                let words = if found.is_empty() { "No tool was found.".to_owned() } else { found_words(&found) };
                vec![Part::Text(Text::plain(words))]
            } else {
                vec![Part::Text(Text::plain(tools::input(item.take("output"))))]
            };
            return self.result(&mut item, id, parts, failed, false);
        }
        if kind == "tool_search_output" {
            // The tools the vendor found are offered from the start, like all that can be searched for.
            self.tools.read(&mut item, self.further)?;
        }
        let role = if kind.ends_with("_output") || kind.ends_with("_response") { Role::User } else { Role::Assistant };
        if let Some(json) = Json::parse(raw) {
            self.say(role, vec![Part::Native(Format::OpenAiResponses, json)]);
        }
        Ok(())
    }

    fn call(
        &mut self,
        item: &mut Object<'_>,
        id: Option<String>,
        name: String,
        input: String,
        custom: bool,
    ) -> Result<(), RequestError> {
        let call_id = item.text("call_id")?.or(id).ok_or_else(|| missing_call(item))?;
        let (id, signature) = ids::heard(&call_id);
        self.calls.insert(id.clone(), name.clone());
        let call = ToolCall { id, name, input, custom, signature, cache: None };
        self.say(Role::Assistant, vec![Part::ToolCall(call)]);
        Ok(())
    }

    fn result(
        &mut self,
        item: &mut Object<'_>,
        id: Option<String>,
        parts: Vec<Part>,
        is_error: bool,
        custom: bool,
    ) -> Result<(), RequestError> {
        let call_id = item.text("call_id")?.or(id).ok_or_else(|| missing_call(item))?;
        let (call_id, _) = ids::heard(&call_id);
        let name = self.calls.get(&call_id).cloned();
        let result = ToolResult { call_id, name, parts, is_error, custom, cache: None };
        self.say(Role::User, vec![Part::ToolResult(result)]);
        Ok(())
    }

    /// The output of a tool: a text, content, or an object with both and a word on whether it went well.
    fn output(&mut self, item: &mut Object<'_>) -> Result<(Vec<Part>, bool), RequestError> {
        let path = item.at("output");
        let Some(raw) = item.take("output") else { return Ok((Vec::new(), false)) };
        if raw.starts_with('{') {
            let mut object = Object::read(raw, path.clone(), "an object")?;
            if let Some(content) = object.take("content") {
                let failed = object.switch("success")? == Some(false);
                return Ok((self.content(content, &path)?, failed));
            }
            return Ok((vec![Part::Text(Text::plain(raw))], false));
        }
        Ok((self.content(raw, &path)?, false))
    }

    /// Reads content: a text or an array of parts.
    fn content(&mut self, raw: &str, path: &str) -> Result<Vec<Part>, RequestError> {
        if let Some(text) = raw::text(raw) {
            return Ok(vec![Part::Text(Text::plain(text))]);
        }
        let elements = raw::elements(raw, path)
            .ok_or_else(|| RequestError::invalid(path.to_owned(), "a string or an array of content parts"))?;
        let mut parts = Vec::new();
        for (path, raw) in elements {
            self.part(Object::read(raw, path, "a content part")?, raw, &mut parts)?;
        }
        Ok(parts)
    }

    fn part(&mut self, mut part: Object<'_>, raw: &str, parts: &mut Vec<Part>) -> Result<(), RequestError> {
        let kind = part.required_text("type", "say what kind of part it is, e.g. \"input_text\"")?;
        let cache = cache(&mut part)?;
        match kind.as_str() {
            "input_text" | "output_text" | "text" => {
                let text = part.required_text("text", "say what it says")?;
                part.ignore(&["annotations", "logprobs"]);
                parts.push(Part::Text(Text { text, cache, citations: Vec::new() }));
            }
            "refusal" => parts.push(Part::Refusal(part.required_text("refusal", "say what it says")?)),
            "input_image" => {
                let detail = part.text("detail")?;
                let (media_type, source) = match (part.text("image_url")?, part.text("file_id")?) {
                    (Some(url), _) => place(url, None),
                    (None, Some(id)) => (None, Source::File(Format::OpenAiResponses, id)),
                    (None, None) => {
                        return Err(RequestError::invalid(
                            part.path().to_owned(),
                            "an image with `image_url` or `file_id`",
                        ));
                    }
                };
                parts.push(Part::Media(Media {
                    kind: MediaKind::Image,
                    media_type,
                    source,
                    name: None,
                    detail,
                    cache,
                }));
            }
            "input_file" => {
                let name = part.text("filename")?;
                let (media_type, source) =
                    match (part.text("file_data")?, part.text("file_url")?, part.text("file_id")?) {
                        (Some(data), _, _) => place(data, name.as_deref()),
                        (None, Some(url), _) => (None, Source::Url(url)),
                        (None, None, Some(id)) => (None, Source::File(Format::OpenAiResponses, id)),
                        (None, None, None) => {
                            let expected = "a file with `file_data`, `file_url` or `file_id`";
                            return Err(RequestError::invalid(part.path().to_owned(), expected));
                        }
                    };
                let kind = match media_type.as_deref() {
                    Some(kind) if kind.starts_with("image/") => MediaKind::Image,
                    _ => MediaKind::Document,
                };
                part.ignore(&["detail"]);
                parts.push(Part::Media(Media { kind, media_type, source, name, detail: None, cache }));
            }
            "input_audio" => {
                let missing = RequestError::Missing { field: part.at("input_audio").into(), fix: "send the sound" };
                let mut audio = part.object("input_audio")?.ok_or(missing)?;
                let source = Source::Base64(audio.required_text("data", "send the bytes in Base64")?);
                let media_type = Some(format!("audio/{}", audio.text("format")?.as_deref().unwrap_or("wav")));
                parts.push(Part::Media(Media {
                    kind: MediaKind::Audio,
                    media_type,
                    source,
                    name: None,
                    detail: None,
                    cache,
                }));
            }
            _ => {
                parts.extend(Json::parse(raw).map(|json| Part::Native(Format::OpenAiResponses, json)));
                return Ok(());
            }
        }
        self.further.extend(part.rest().map(|path| (Feature::UnknownField, path)));
        Ok(())
    }
}

fn missing_call(item: &Object<'_>) -> RequestError {
    RequestError::Missing { field: item.at("call_id").into(), fix: "name the call" }
}

fn found_words(names: &[String]) -> String {
    format!("These tools were found and can be called now: {}.", names.join(", "))
}

/// What the model thought. Of the vendor's own the words are a summary, and what counts is encrypted.
fn thought(item: &mut Object<'_>, id: Option<String>) -> Result<Thinking, RequestError> {
    let mut texts = Vec::new();
    for list in ["summary", "content"] {
        let said = item.list(list)?.unwrap_or_default();
        // Where the thought itself is told, it is not told in summary too.
        if !said.is_empty() {
            texts.clear();
        }
        for (path, raw) in said {
            texts.extend(Object::read(raw, path, "an object with a `text`")?.text("text")?);
        }
    }
    let text = texts.join("\n\n");
    let Some(data) = item.text("encrypted_content")?.filter(|data| !data.is_empty()) else {
        return Ok(Thinking { text, signature: None, redacted: false });
    };
    let sealed = data.strip_prefix(REDACTED);
    if let Some(signature) = Signature::open(sealed.unwrap_or(&data)) {
        return Ok(Thinking { text, signature: Some(signature), redacted: sealed.is_some() });
    }
    let signature = Signature { by: Format::OpenAiResponses, id, data };
    Ok(Thinking { text, signature: Some(signature), redacted: false })
}

/// A mark for the cache.
fn cache(part: &mut Object<'_>) -> Result<Option<CacheMark>, RequestError> {
    let Some(mut mark) = part.object("prompt_cache_breakpoint")? else { return Ok(None) };
    let long = mark.text("ttl")?.is_some_and(|ttl| ttl != "30m");
    Ok(Some(if long { CacheMark::Hour } else { CacheMark::Short }))
}

/// What stands behind an address, or in a data URL, or is Base64 without anything around it.
fn place(url: String, name: Option<&str>) -> (Option<String>, Source) {
    if let Some((head, data)) = url.strip_prefix("data:").and_then(|rest| rest.split_once(',')) {
        let mut words = head.split(';');
        let media_type = words.next().filter(|media_type| !media_type.is_empty()).map(str::to_owned);
        return if words.any(|word| word.eq_ignore_ascii_case("base64")) {
            (media_type, Source::Base64(data.to_owned()))
        } else {
            (media_type, Source::PlainText(data.to_owned()))
        };
    }
    if url.contains("://") {
        return (None, Source::Url(url));
    }
    let ending = name.and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending.to_ascii_lowercase());
    let media_type = match ending.as_deref() {
        Some("pdf") => Some("application/pdf"),
        Some("txt" | "md") => Some("text/plain"),
        Some("png") => Some("image/png"),
        Some("jpg" | "jpeg") => Some("image/jpeg"),
        _ => None,
    };
    (media_type.map(str::to_owned), Source::Base64(url))
}
