//! Writing a request for a provider.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::blocks::{Block, CacheControl, Message, Source};
use crate::format::claude::Model;
use crate::format::{Format, ids, schema};
use crate::neutral::codec::Encoding;
use crate::neutral::turns::{Answered, Turn, turns};
use crate::neutral::{
    CacheMark, Feature, Json, Losses, Media, MediaKind, Part, Reasoning, Request, Role, Source as Place, Thinking,
    Tool, ToolChoice, ToolResult, Unsupported,
};
use crate::request::facts::{Effort, ResponseFormat};

/// The longest answer if neither the caller nor the catalog says.
const DEFAULT_MAX_TOKENS: u64 = 8192;
/// The least thinking budget that is taken.
const LEAST_THINKING: u64 = 1024;
/// The most places of a prompt that can be marked for the cache.
const CACHE_MARKS: usize = 4;
/// The most that is left for thinking where answer and thinking share a limit, of five parts.
const THINKING_SHARE: u64 = 4;

#[derive(Debug, Default, Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block>,
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ToolBody {
    Function {
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        input_schema: Json,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Other(Json),
}

#[derive(Debug, Serialize)]
struct OutputConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<OutputFormat>,
}

#[derive(Debug, Serialize)]
struct OutputFormat {
    r#type: &'static str,
    schema: Json,
}

/// Writes a request.
pub(super) fn encode(request: &Request, encoding: &Encoding, losses: &mut Losses) -> Result<Vec<u8>, Unsupported> {
    let model = Model::of(&encoding.model);
    let mut body = Body { model: &encoding.model, stream: request.stream, ..Body::default() };
    body.max_tokens = max_tokens(request, encoding);
    let mut conversation =
        Conversation { losses, seen: HashSet::new(), given: HashMap::new(), ids: Vec::new(), messages: Vec::new() };
    conversation.write(request, model)?;
    body.messages = conversation.messages;
    body.system = request
        .system
        .iter()
        .filter(|text| !text.text.is_empty())
        .map(|text| Block::text(&text.text).cached(text.cache))
        .collect();

    tools(request, model, &mut body, losses)?;
    let format = output_format(request, model, &mut body, losses)?;
    let effort = thinking(request, encoding, model, &mut body, losses)?;
    if effort.is_some() || format.is_some() {
        body.output_config = Some(OutputConfig { effort, format });
    }
    sampling(request, model, &mut body, losses)?;

    // A stop sequence of blanks alone is refused.
    body.stop_sequences = request.stop.iter().map(String::as_str).filter(|stop| !stop.trim().is_empty()).collect();
    if body.stop_sequences.len() < request.stop.len() {
        losses.lose(Feature::StopSequences, "stop")?;
    }
    match request.service_tier.as_deref() {
        None | Some("auto") => {}
        Some("default" | "standard" | "standard_only") => body.service_tier = Some("standard_only"),
        Some(_) => losses.lose(Feature::ServiceTier, "service_tier")?,
    }
    if request.logprobs.is_some() {
        losses.lose(Feature::Logprobs, "logprobs")?;
    }
    if request.prompt_cache_key.is_some() {
        cache_all(&mut body);
        losses.lose(Feature::PromptCacheKey, "prompt_cache_key")?;
    }
    if request.output.images.is_some() {
        losses.lose(Feature::OutputModalities, "modalities")?;
    }
    if request.output.verbosity.is_some() {
        losses.lose(Feature::Verbosity, "verbosity")?;
    }
    cache_marks(&mut body, losses)?;
    // Texts, numbers and checked JSON serialise.
    Ok(serde_json::to_vec(&body).unwrap_or_default())
}

fn max_tokens(request: &Request, encoding: &Encoding) -> u64 {
    match (request.max_output_tokens, encoding.max_output_tokens) {
        (Some(asked), Some(most)) => asked.min(most),
        (Some(tokens), None) | (None, Some(tokens)) => tokens,
        (None, None) => {
            let budget = request.reasoning.and_then(|reasoning| reasoning.budget()).unwrap_or(0);
            DEFAULT_MAX_TOKENS.saturating_add(budget)
        }
    }
}

/// The conversation as it is written.
struct Conversation<'l> {
    losses: &'l mut Losses,
    /// The ids of calls so far, which the vendor wants to differ.
    seen: HashSet<String>,
    /// How often each was given.
    given: HashMap<String, usize>,
    /// Those of the last turn's calls.
    ids: Vec<String>,
    messages: Vec<Message>,
}

impl Conversation<'_> {
    fn write(&mut self, request: &Request, model: Model) -> Result<(), Unsupported> {
        for turn in turns(request) {
            let blocks = match turn.role {
                Role::Assistant => self.assistant(&turn)?,
                Role::User => self.user(&turn)?,
                Role::System => self.system(&turn)?,
            };
            let role = if turn.role == Role::Assistant { "assistant" } else { "user" };
            self.add(role, blocks);
        }
        if self.messages.first().is_none_or(|first| first.role == "assistant") {
            // A conversation begins with the user.
            self.messages.insert(0, Message { role: "user", content: vec![Block::text("Continue.")] });
        }
        self.prefill(model)
    }

    fn add(&mut self, role: &'static str, mut blocks: Vec<Block>) {
        if blocks.is_empty() {
            return;
        }
        match self.messages.last_mut() {
            Some(last) if last.role == role => last.content.append(&mut blocks),
            _ => self.messages.push(Message { role, content: blocks }),
        }
    }

    /// An answer that the model shall continue.
    fn prefill(&mut self, model: Model) -> Result<(), Unsupported> {
        let Some(last) = self.messages.last_mut().filter(|last| last.role == "assistant") else { return Ok(()) };
        if model.takes_prefill() {
            // It may not end in blanks.
            let emptied = last.content.last_mut().and_then(Block::text_mut).is_some_and(|text| {
                text.truncate(text.trim_end().len());
                text.is_empty()
            });
            if emptied {
                last.content.pop();
            }
            self.messages.retain(|message| !message.content.is_empty());
            return Ok(());
        }
        let ask = "Go on exactly where your last message ends, and do not repeat any of it.";
        self.messages.push(Message { role: "user", content: vec![Block::text(ask)] });
        self.losses.lose(Feature::Prefill, "messages")
    }

    fn assistant(&mut self, turn: &Turn<'_>) -> Result<Vec<Block>, Unsupported> {
        let mut blocks = Vec::new();
        self.ids.clear();
        for part in &turn.parts {
            match part {
                Part::Text(text) if text.text.is_empty() => {}
                Part::Text(text) => blocks.push(Block::text(&text.text).cached(text.cache)),
                Part::Refusal(words) => {
                    self.losses.lose(Feature::Refusals, "messages")?;
                    blocks.extend((!words.is_empty()).then(|| Block::text(words)));
                }
                Part::Thinking(thought) => match own_thinking(thought) {
                    Some(block) => blocks.push(block),
                    None => self.losses.lose(Feature::ThinkingReplay, "messages")?,
                },
                Part::ToolCall(call) => {
                    let id = self.id(&call.id);
                    self.ids.push(id.clone());
                    blocks.push(Block::tool_use(id, call.name.clone(), call.input_object()).cached(call.cache));
                }
                Part::Native(Format::AnthropicMessages, block) => blocks.push(Block::Native(block.clone())),
                Part::Native(..) => self.losses.lose(Feature::VendorBlocks, "messages")?,
                Part::Media(media) => self.media(media, &mut blocks)?,
                Part::ToolResult(result) => self.stray(result, &mut blocks)?,
            }
        }
        Ok(blocks)
    }

    fn user(&mut self, turn: &Turn<'_>) -> Result<Vec<Block>, Unsupported> {
        let mut blocks = Vec::new();
        let ids = std::mem::take(&mut self.ids);
        for (answer, id) in turn.answers.iter().zip(ids) {
            blocks.push(self.answer(answer, id)?);
        }
        for part in &turn.parts {
            self.said(part, &mut blocks)?;
        }
        Ok(blocks)
    }

    /// What the operator says in the middle of a conversation.
    fn system(&mut self, turn: &Turn<'_>) -> Result<Vec<Block>, Unsupported> {
        let mut blocks = Vec::new();
        for part in &turn.parts {
            match part {
                Part::Text(text) if text.text.is_empty() => {}
                Part::Text(text) => {
                    blocks.push(Block::text(&format!("<system>\n{}\n</system>", text.text)).cached(text.cache));
                }
                part => self.said(part, &mut blocks)?,
            }
        }
        if !blocks.is_empty() {
            self.losses.lose(Feature::SystemTurns, "messages")?;
        }
        Ok(blocks)
    }

    fn said(&mut self, part: &Part, blocks: &mut Vec<Block>) -> Result<(), Unsupported> {
        match part {
            Part::Text(text) if text.text.is_empty() => Ok(()),
            Part::Text(text) => {
                blocks.push(Block::text(&text.text).cached(text.cache));
                Ok(())
            }
            Part::Media(media) => self.media(media, blocks),
            Part::ToolResult(result) => self.stray(result, blocks),
            Part::Native(Format::AnthropicMessages, block) => {
                blocks.push(Block::Native(block.clone()));
                Ok(())
            }
            Part::Native(..) => self.losses.lose(Feature::VendorBlocks, "messages"),
            // Only models do this.
            Part::Refusal(_) | Part::Thinking(_) | Part::ToolCall(_) => Ok(()),
        }
    }

    fn answer(&mut self, answer: &Answered<'_>, id: String) -> Result<Block, Unsupported> {
        let Some(result) = answer.result else {
            let words = "The call was interrupted: there is no result.";
            return Ok(Block::tool_result(id, vec![Block::text(words)], true));
        };
        let mut inside = Vec::new();
        for part in &result.parts {
            self.said(part, &mut inside)?;
        }
        Ok(Block::tool_result(id, inside, result.is_error).cached(result.cache))
    }

    /// A result that no call asked for.
    fn stray(&mut self, result: &ToolResult, blocks: &mut Vec<Block>) -> Result<(), Unsupported> {
        let tool = result.name.as_deref().unwrap_or("a tool");
        blocks.push(Block::text(&format!("Result of {tool}:")));
        for part in &result.parts {
            self.said(part, blocks)?;
        }
        Ok(())
    }

    fn media(&mut self, media: &Media, blocks: &mut Vec<Block>) -> Result<(), Unsupported> {
        if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
            self.losses.lose(Feature::ImageDetail, "messages")?;
        }
        let source = match &media.source {
            Place::Base64(data) => Source::base64(media.media_type.as_deref(), media.kind, data),
            Place::PlainText(text) => Source::plain_text(text),
            Place::Url(url) => Source::url(url),
            Place::File(Format::AnthropicMessages, id) => Source::file(id),
            Place::File(..) => return self.losses.lose(Feature::Files, "messages"),
        };
        let block = match media.kind {
            MediaKind::Image => Block::image(source),
            // Of documents the vendor takes PDF and text.
            MediaKind::Document => match (&media.source, media.media_type.as_deref()) {
                (Place::Base64(data), Some(kind)) if kind.starts_with("text/") || kind == "application/json" => {
                    match plain_text(data) {
                        Some(text) => Block::document(Source::plain_text(&text), media.name.clone()),
                        None => return self.losses.lose(Feature::Documents, "messages"),
                    }
                }
                (Place::Base64(_), Some(kind)) if kind != "application/pdf" => {
                    return self.losses.lose(Feature::Files, "messages");
                }
                _ => Block::document(source, media.name.clone()),
            },
            MediaKind::Audio => return self.losses.lose(Feature::Audio, "messages"),
            MediaKind::Video => return self.losses.lose(Feature::Video, "messages"),
        };
        blocks.push(block.cached(media.cache));
        Ok(())
    }

    /// An id that fits, and that no call had before.
    fn id(&mut self, id: &str) -> String {
        let fitting = ids::fitting(id, usize::MAX);
        let mut id = fitting.clone();
        let times = self.given.entry(fitting.clone()).or_insert(1);
        while !self.seen.insert(id.clone()) {
            *times += 1;
            id = format!("{fitting}_{times}");
        }
        id
    }
}

fn plain_text(data: &str) -> Option<String> {
    use base64::Engine as _;
    String::from_utf8(base64::prelude::BASE64_STANDARD.decode(data).ok()?).ok()
}

/// A thought that this vendor's model had. Others' mean nothing to it, and without its signature it takes none.
fn own_thinking(thought: &Thinking) -> Option<Block> {
    let signature = thought.signature.as_ref().filter(|signature| signature.by == Format::AnthropicMessages)?;
    let data = signature.data.clone();
    Some(if thought.redacted { Block::redacted(data) } else { Block::thinking(thought.text.clone(), data) })
}

fn tools<'a>(request: &'a Request, model: Model, body: &mut Body<'a>, losses: &mut Losses) -> Result<(), Unsupported> {
    let among = match &request.tool_choice {
        Some(ToolChoice::Among { names, .. }) => Some(names.iter().collect::<HashSet<_>>()),
        _ => None,
    };
    for (index, tool) in request.tools.iter().enumerate() {
        let written = match tool {
            Tool::Function(function) => {
                let strict = function.strict == Some(true);
                let held = strict && model.takes_schemas();
                if strict && !held {
                    losses.lose(Feature::StrictTools, format!("tools[{index}]"))?;
                }
                let schema = schema::of_input(function.parameters.as_ref());
                ToolBody::Function {
                    name: function.name.clone(),
                    description: function.description.clone(),
                    input_schema: if held { schema::closed(&schema) } else { schema },
                    strict: held.then_some(true),
                    cache_control: function.cache.map(CacheControl::of),
                }
            }
            Tool::Custom(tool) => {
                losses.lose(Feature::CustomTools, format!("tools[{index}]"))?;
                let function = tool.as_function();
                ToolBody::Function {
                    name: function.name,
                    description: function.description,
                    input_schema: schema::of_input(function.parameters.as_ref()),
                    strict: None,
                    cache_control: None,
                }
            }
            Tool::WebSearch(search) => {
                let mut tool = json!({ "type": "web_search_20250305", "name": "web_search" });
                for (name, domains) in
                    [("allowed_domains", &search.allowed_domains), ("blocked_domains", &search.blocked_domains)]
                {
                    if !domains.is_empty() {
                        tool[name] = json!(domains);
                    }
                }
                if let Some(most) = search.max_uses {
                    tool["max_uses"] = most.into();
                }
                if let Some(location) = &search.user_location {
                    tool["user_location"] = location.to_value();
                }
                ToolBody::Other(Json::of(&tool))
            }
            Tool::Native(Format::AnthropicMessages, _, tool) => ToolBody::Other(tool.clone()),
            Tool::Native(..) => {
                losses.lose(Feature::VendorTools, format!("tools[{index}]"))?;
                continue;
            }
        };
        let offered = match (&written, &among) {
            (ToolBody::Function { name, .. }, Some(names)) => names.contains(name),
            _ => true,
        };
        if offered {
            body.tools.push(written);
        }
    }
    let choice = match &request.tool_choice {
        None if request.parallel_tool_calls == Some(false) => Some(json!({ "type": "auto" })),
        None => None,
        Some(ToolChoice::Auto | ToolChoice::Among { required: false, .. }) => Some(json!({ "type": "auto" })),
        Some(ToolChoice::None) => Some(json!({ "type": "none" })),
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Among { .. }) if !model.takes_forced_tools() => {
            losses.lose(Feature::ToolChoice, "tool_choice")?;
            Some(json!({ "type": "auto" }))
        }
        Some(ToolChoice::Required | ToolChoice::Among { .. }) => Some(json!({ "type": "any" })),
        Some(ToolChoice::Named(name)) => Some(json!({ "type": "tool", "name": name })),
    };
    body.tool_choice = choice.filter(|_| !body.tools.is_empty());
    if let Some(choice) = &mut body.tool_choice
        && request.parallel_tool_calls == Some(false)
        && choice["type"] != "none"
    {
        choice["disable_parallel_tool_use"] = true.into();
    }
    if body.tools.is_empty() {
        called_tools(request, body);
    }
    Ok(())
}

/// A conversation with calls of tools has to say which tools there are, also if none may be called any more.
fn called_tools<'a>(request: &'a Request, body: &mut Body<'a>) {
    let mut names: Vec<&str> = request.call_names().into_values().collect();
    names.sort_unstable();
    names.dedup();
    body.tools.extend(names.into_iter().map(|name| ToolBody::Function {
        name: name.to_owned(),
        description: None,
        input_schema: schema::of_input(None),
        strict: None,
        cache_control: None,
    }));
    if !body.tools.is_empty() {
        body.tool_choice = Some(json!({ "type": "none" }));
    }
}

fn output_format(
    request: &Request,
    model: Model,
    body: &mut Body<'_>,
    losses: &mut Losses,
) -> Result<Option<OutputFormat>, Unsupported> {
    let (words, feature) = match (request.output.format, &request.output.schema) {
        (ResponseFormat::Text, _) => return Ok(None),
        (ResponseFormat::JsonSchema, Some(schema)) if model.takes_schemas() => {
            return Ok(Some(OutputFormat { r#type: "json_schema", schema: schema::closed(schema) }));
        }
        (ResponseFormat::JsonSchema, Some(schema)) => {
            let words = format!(
                "Answer with one JSON value that matches this JSON Schema, and nothing around it:\n{}",
                schema.as_str()
            );
            (words, Feature::JsonSchema)
        }
        (ResponseFormat::JsonSchema | ResponseFormat::JsonObject, _) => {
            ("Answer with one JSON object, and nothing around it.".to_owned(), Feature::JsonObject)
        }
    };
    body.system.push(Block::text(&words));
    losses.lose(feature, "response_format")?;
    Ok(None)
}

/// Says how much the model thinks, and gives the word for how hard it tries.
fn thinking(
    request: &Request,
    encoding: &Encoding,
    model: Model,
    body: &mut Body<'_>,
    losses: &mut Losses,
) -> Result<Option<&'static str>, Unsupported> {
    let forced = body.tool_choice.as_ref().is_some_and(|choice| choice["type"] == "any" || choice["type"] == "tool");
    if forced {
        // A model cannot be made to call a tool and think before.
        if model.thinks_by_default() {
            body.thinking = Some(json!({ "type": "disabled" }));
        }
        if request.reasoning.is_some_and(|reasoning| !reasoning.off) {
            losses.lose(Feature::Reasoning, "reasoning")?;
        }
        return Ok(None);
    }
    let Some(reasoning) = request.reasoning else { return Ok(None) };
    if reasoning.off || reasoning.effort == Some(Effort::None) {
        if model.always_thinks() {
            losses.lose(Feature::Reasoning, "reasoning")?;
            return Ok(Some("low"));
        }
        if model.thinks_by_default() {
            body.thinking = Some(json!({ "type": "disabled" }));
        }
        return Ok(None);
    }
    let effort = if model.takes_effort() { effort_word(&reasoning, model) } else { None };
    if model.only_adaptively() || model.thinks_adaptively() && (reasoning.adaptive || reasoning.budget.is_none()) {
        body.thinking = Some(json!({ "type": "adaptive" }));
    } else if let Some(budget) = budget(request, encoding, &reasoning, body.max_tokens) {
        body.thinking = Some(json!({ "type": "enabled", "budget_tokens": budget }));
    } else {
        losses.lose(Feature::Reasoning, "reasoning")?;
    }
    if let (Some(thinking), Some(told)) = (&mut body.thinking, reasoning.told)
        && model.thinks_adaptively()
    {
        thinking["display"] = if told { "summarized" } else { "omitted" }.into();
    }
    Ok(effort)
}

fn effort_word(reasoning: &Reasoning, model: Model) -> Option<&'static str> {
    Some(match reasoning.effort()? {
        Effort::None => return None,
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::Xhigh if model.takes_xhigh() => "xhigh",
        Effort::Max if model.thinks_adaptively() => "max",
        Effort::High | Effort::Xhigh | Effort::Max => "high",
    })
}

/// The thinking budget, if there can be one: it is at least what is taken and leaves something for the answer. In the
/// middle of a tool's use a model that is given one wants to see its thoughts before the call again.
fn budget(request: &Request, encoding: &Encoding, reasoning: &Reasoning, max_tokens: u64) -> Option<u64> {
    let budget = reasoning.budget().or_else(|| reasoning.adaptive.then(|| Effort::Medium.budget()).flatten())?;
    let budget = budget.min(encoding.max_thinking_budget.unwrap_or(u64::MAX)).max(LEAST_THINKING);
    let room = (max_tokens / (THINKING_SHARE + 1)).saturating_mul(THINKING_SHARE).max(LEAST_THINKING);
    let budget = if budget < max_tokens { budget } else { room };
    let fits = encoding.max_thinking_budget != Some(0) && budget < max_tokens;
    (fits && !lacks_thoughts(request)).then_some(budget)
}

/// Whether the conversation stands in the middle of a tool's use, and the thoughts before the call are not there.
fn lacks_thoughts(request: &Request) -> bool {
    let turns = turns(request);
    let [.., before, last] = turns.as_slice() else { return false };
    let thinks_first = before.parts.first().is_some_and(|part| match part {
        Part::Thinking(thought) => own_thinking(thought).is_some(),
        _ => false,
    });
    !last.answers.is_empty() && before.role == Role::Assistant && !thinks_first
}

fn sampling(request: &Request, model: Model, body: &mut Body<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    let asked = &request.sampling;
    let thinks = body.thinking.as_ref().is_some_and(|thinking| thinking["type"] != "disabled");
    // What is the default anyway is not lost.
    let temperature = asked.temperature.filter(|temperature| (*temperature - 1.0).abs() > f64::EPSILON);
    let top_p = asked.top_p.filter(|top_p| *top_p < 1.0);
    if let Some(temperature) = temperature {
        if thinks || !model.takes_sampling() {
            losses.lose(Feature::Temperature, "temperature")?;
        } else {
            // Others go up to two.
            body.temperature = Some(temperature.clamp(0.0, 1.0));
            if temperature > 1.0 {
                losses.lose(Feature::Temperature, "temperature")?;
            }
        }
    }
    if let Some(top_p) = top_p {
        let taken = if thinks { top_p >= 0.95 } else { !model.takes_one_of_sampling() || body.temperature.is_none() };
        if taken && model.takes_sampling() {
            body.top_p = Some(top_p);
        } else {
            losses.lose(Feature::TopP, "top_p")?;
        }
    }
    if let Some(top_k) = asked.top_k {
        if thinks || !model.takes_sampling() {
            losses.lose(Feature::TopK, "top_k")?;
        } else {
            body.top_k = Some(top_k);
        }
    }
    if asked.presence_penalty.is_some_and(|penalty| penalty != 0.0) {
        losses.lose(Feature::Penalties, "presence_penalty")?;
    }
    if asked.frequency_penalty.is_some_and(|penalty| penalty != 0.0) {
        losses.lose(Feature::Penalties, "frequency_penalty")?;
    }
    if asked.seed.is_some() {
        losses.lose(Feature::Seed, "seed")?;
    }
    Ok(())
}

/// Who names a key counts on prompts being cached without a word. Where nothing is marked, the operator's words are, and
/// the conversation so far.
fn cache_all(body: &mut Body<'_>) {
    if marks(body).iter().any(|mark| mark.is_some()) {
        return;
    }
    let said = body.messages.last_mut().and_then(|message| message.content.last_mut());
    for block in body.system.last_mut().into_iter().chain(said) {
        if let Some(mark) = block.cache_marks().pop() {
            *mark = Some(CacheControl::of(CacheMark::Short));
        }
    }
}

/// The places for marks, in the order of the prompt.
fn marks<'b>(body: &'b mut Body<'_>) -> Vec<&'b mut Option<CacheControl>> {
    let tools = body.tools.iter_mut().filter_map(|tool| match tool {
        ToolBody::Function { cache_control, .. } => Some(cache_control),
        ToolBody::Other(_) => None,
    });
    let blocks = body.system.iter_mut().chain(body.messages.iter_mut().flat_map(|message| &mut message.content));
    tools.chain(blocks.flat_map(Block::cache_marks)).collect()
}

/// Leaves the last marks that may be there. Those for an hour have to come before the others.
fn cache_marks(body: &mut Body<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    let mut marks: Vec<&mut Option<CacheControl>> = marks(body).into_iter().filter(|mark| mark.is_some()).collect();
    let surplus = marks.len().saturating_sub(CACHE_MARKS);
    for mark in marks.drain(..surplus) {
        *mark = None;
    }
    let mut short = false;
    for mark in marks {
        if short && *mark == Some(CacheControl::of(CacheMark::Hour)) {
            *mark = Some(CacheControl::of(CacheMark::Short));
        }
        short |= *mark == Some(CacheControl::of(CacheMark::Short));
    }
    if surplus > 0 { losses.lose(Feature::CacheControl, "cache_control") } else { Ok(()) }
}
