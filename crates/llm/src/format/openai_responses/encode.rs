//! Writing a request for a provider.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};

use crate::format::gpt::Model;
use crate::format::{Format, ids, schema};
use crate::neutral::codec::Encoding;
use crate::neutral::turns::{Answered, Turn, turns};
use crate::neutral::{
    CustomTool, Feature, Function, Json, Losses, Media, MediaKind, Part, Request, Role, Source, Text, Thinking, Tool,
    ToolCall, ToolChoice, ToolResult, Unsupported, WebSearch,
};
use crate::request::facts::{Effort, ResponseFormat};

/// The least output limit that is taken.
const LEAST_OUTPUT: u64 = 16;
/// The longest id of a call that is taken.
const LONGEST_ID: usize = 64;
/// The most tokens whose probabilities are told for each place.
const MOST_LOGPROBS: u64 = 20;

#[derive(Debug, Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    input: Vec<Written<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tool_calls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<TextSettings<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<&'static str>,
    store: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

#[derive(Debug, Serialize)]
struct TextSettings<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<OutputFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum OutputFormat<'a> {
    JsonObject,
    JsonSchema {
        name: Cow<'a, str>,
        schema: Json,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ToolBody<'a> {
    Own(OwnTool<'a>),
    Native(&'a Json),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum OwnTool<'a> {
    Function {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        parameters: Json,
        /// It would be strict if nothing were said.
        strict: bool,
    },
    Custom {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        format: Option<Json>,
    },
    WebSearch {
        #[serde(skip_serializing_if = "Option::is_none")]
        filters: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_location: Option<&'a Json>,
        #[serde(skip_serializing_if = "Option::is_none")]
        search_context_size: Option<&'a str>,
    },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Own(Item<'a>),
    Native(&'a Json),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item<'a> {
    Message {
        role: &'static str,
        content: Vec<Content<'a>>,
    },
    Reasoning {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        summary: Vec<Content<'a>>,
        encrypted_content: &'a str,
    },
    FunctionCall {
        call_id: String,
        name: &'a str,
        arguments: &'a str,
    },
    FunctionCallOutput {
        call_id: String,
        output: Output<'a>,
    },
    CustomToolCall {
        call_id: String,
        name: &'a str,
        input: &'a str,
    },
    CustomToolCallOutput {
        call_id: String,
        output: Output<'a>,
    },
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content<'a> {
    InputText {
        text: Cow<'a, str>,
    },
    OutputText {
        text: &'a str,
    },
    SummaryText {
        text: &'a str,
    },
    Refusal {
        refusal: &'a str,
    },
    InputImage {
        #[serde(skip_serializing_if = "Option::is_none")]
        image_url: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_id: Option<&'a str>,
        detail: &'a str,
    },
    InputFile {
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_data: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_url: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_id: Option<&'a str>,
    },
}

/// What a tool answered.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Output<'a> {
    Text(Cow<'a, str>),
    Content(Vec<Content<'a>>),
}

/// Writes a request.
pub(super) fn encode(request: &Request, encoding: &Encoding, losses: &mut Losses) -> Result<Vec<u8>, Unsupported> {
    let model = Model::of(&encoding.model);
    if request.output.images.is_some() {
        losses.lose(Feature::OutputModalities, "modalities")?;
    }
    let mut conversation = Conversation { losses, input: Vec::new() };
    conversation.write(request)?;
    if conversation.input.is_empty() {
        // Nothing of what was said could be.
        conversation.message("user", vec![Content::InputText { text: "Continue.".into() }]);
    }
    let input = conversation.input;
    let system: Vec<&str> = request.system.iter().map(|text| &*text.text).filter(|text| !text.is_empty()).collect();
    let most = encoding.max_output_tokens.unwrap_or(u64::MAX);
    let mut body = Body {
        model: &encoding.model,
        instructions: (!system.is_empty()).then(|| system.join("\n\n")),
        input,
        tools: Vec::new(),
        tool_choice: None,
        parallel_tool_calls: None,
        max_tool_calls: None,
        max_output_tokens: request.max_output_tokens.map(|tokens| tokens.min(most).max(LEAST_OUTPUT)),
        temperature: None,
        top_p: None,
        top_logprobs: None,
        reasoning: None,
        text: None,
        include: Vec::new(),
        store: false,
        service_tier: None,
        prompt_cache_key: request.prompt_cache_key.as_deref(),
        stream: request.stream,
    };
    tools(request, &mut body, losses)?;
    reasoning(request, model, &mut body, losses)?;
    sampling(request, model, &mut body, losses)?;
    body.text = text(request);
    body.service_tier = match request.service_tier.as_deref() {
        Some("standard" | "standard_only") => Some("default"),
        tier => tier,
    };
    if !request.stop.is_empty() {
        losses.lose(Feature::StopSequences, "stop")?;
    }
    if cache_marks(request) {
        losses.lose(Feature::CacheControl, "cache_control")?;
    }
    // Texts, numbers and checked JSON serialise.
    Ok(serde_json::to_vec(&body).unwrap_or_default())
}

/// The conversation as it is written.
struct Conversation<'l, 'a> {
    losses: &'l mut Losses,
    input: Vec<Written<'a>>,
}

impl<'a> Conversation<'_, 'a> {
    fn write(&mut self, request: &'a Request) -> Result<(), Unsupported> {
        let turns = turns(request);
        let prefilled = turns.last().is_some_and(|last| last.role == Role::Assistant);
        for turn in turns {
            match turn.role {
                Role::Assistant => self.assistant(&turn)?,
                Role::User => self.user(turn)?,
                Role::System => self.said("developer", &turn.parts)?,
            }
        }
        if prefilled {
            // The last message is taken for one that is complete.
            let ask = "Go on exactly where your last message ends, and do not repeat any of it.";
            self.message("user", vec![Content::InputText { text: ask.into() }]);
            self.losses.lose(Feature::Prefill, "messages")?;
        }
        Ok(())
    }

    fn push(&mut self, item: Item<'a>) {
        self.input.push(Written::Own(item));
    }

    fn message(&mut self, role: &'static str, content: Vec<Content<'a>>) {
        if !content.is_empty() {
            self.push(Item::Message { role, content });
        }
    }

    fn assistant(&mut self, turn: &Turn<'a>) -> Result<(), Unsupported> {
        let mut content = Vec::new();
        for part in &turn.parts {
            match part {
                Part::Text(text) if text.text.is_empty() => continue,
                Part::Text(text) => {
                    content.push(Content::OutputText { text: &text.text });
                    continue;
                }
                Part::Refusal(refusal) => {
                    content.push(Content::Refusal { refusal });
                    continue;
                }
                _ => self.message("assistant", std::mem::take(&mut content)),
            }
            match part {
                Part::Thinking(thought) => match own_thinking(thought) {
                    Some(item) => self.push(item),
                    None => self.losses.lose(Feature::ThinkingReplay, "messages")?,
                },
                Part::ToolCall(call) => self.push(self::call(call)),
                Part::Native(Format::OpenAiResponses, item) => self.input.push(Written::Native(item)),
                Part::Native(..) => self.losses.lose(Feature::VendorBlocks, "messages")?,
                // Only users do this.
                Part::Text(_) | Part::Refusal(_) | Part::Media(_) | Part::ToolResult(_) => {}
            }
        }
        self.message("assistant", content);
        Ok(())
    }

    fn user(&mut self, turn: Turn<'a>) -> Result<(), Unsupported> {
        for answer in &turn.answers {
            self.answer(answer)?;
        }
        self.said("user", &turn.parts)
    }

    fn said(&mut self, role: &'static str, parts: &[&'a Part]) -> Result<(), Unsupported> {
        let mut content = Vec::new();
        for part in parts {
            match part {
                Part::ToolResult(result) => {
                    let tool = result.name.as_deref().unwrap_or("a tool");
                    content.push(Content::InputText { text: format!("Result of {tool}:").into() });
                    self.contents(&result.parts, &mut content)?;
                }
                Part::Native(Format::OpenAiResponses, item) => {
                    self.message(role, std::mem::take(&mut content));
                    self.input.push(Written::Native(item));
                }
                part => self.content(part, &mut content)?,
            }
        }
        self.message(role, content);
        Ok(())
    }

    /// The result of a call. Each call has to have one.
    fn answer(&mut self, answer: &Answered<'a>) -> Result<(), Unsupported> {
        let call_id = ids::fitting(&answer.call.id, LONGEST_ID);
        let output = match answer.result {
            Some(result) => self.output(result)?,
            None => Output::Text("The call was interrupted: there is no result.".into()),
        };
        self.push(if answer.call.custom {
            Item::CustomToolCallOutput { call_id, output }
        } else {
            Item::FunctionCallOutput { call_id, output }
        });
        Ok(())
    }

    fn output(&mut self, result: &'a ToolResult) -> Result<Output<'a>, Unsupported> {
        let mut content = Vec::new();
        if result.is_error {
            self.losses.lose(Feature::ToolErrors, "messages")?;
            content.push(Content::InputText { text: "The call failed.".into() });
        }
        self.contents(&result.parts, &mut content)?;
        let only_text = content.iter().all(|part| matches!(part, Content::InputText { .. }));
        if !only_text {
            return Ok(Output::Content(content));
        }
        let mut texts: Vec<Cow<'a, str>> = Vec::new();
        for part in content {
            if let Content::InputText { text } = part {
                texts.push(text);
            }
        }
        Ok(Output::Text(if texts.len() == 1 { texts.swap_remove(0) } else { texts.join("\n").into() }))
    }

    fn contents(&mut self, parts: &'a [Part], content: &mut Vec<Content<'a>>) -> Result<(), Unsupported> {
        parts.iter().try_for_each(|part| self.content(part, content))
    }

    fn content(&mut self, part: &'a Part, content: &mut Vec<Content<'a>>) -> Result<(), Unsupported> {
        match part {
            Part::Text(text) if text.text.is_empty() => {}
            Part::Text(text) => content.push(Content::InputText { text: Cow::Borrowed(&text.text) }),
            Part::Media(media) => return self.media(media, content),
            Part::Native(..) => return self.losses.lose(Feature::VendorBlocks, "messages"),
            // Only models do the others.
            Part::Refusal(_) | Part::Thinking(_) | Part::ToolCall(_) | Part::ToolResult(_) => {}
        }
        Ok(())
    }

    fn media(&mut self, media: &'a Media, content: &mut Vec<Content<'a>>) -> Result<(), Unsupported> {
        let written = match (media.kind, &media.source) {
            (MediaKind::Audio, _) => return self.losses.lose(Feature::Audio, "messages"),
            (MediaKind::Video, _) => return self.losses.lose(Feature::Video, "messages"),
            (_, Source::PlainText(text)) => Content::InputText { text: titled(media, text) },
            (MediaKind::Image, source) => {
                let detail = media.detail.as_deref().unwrap_or("auto");
                let mut image = (None, None);
                match source {
                    Source::Base64(data) => image.0 = Some(data_url(media, "image/png", data).into()),
                    Source::Url(url) => image.0 = Some(Cow::Borrowed(url.as_str())),
                    Source::File(Format::OpenAiResponses | Format::OpenAiChat, id) => image.1 = Some(id.as_str()),
                    Source::File(..) | Source::PlainText(_) => return self.losses.lose(Feature::Files, "messages"),
                }
                Content::InputImage { image_url: image.0, file_id: image.1, detail }
            }
            (MediaKind::Document, source) => {
                let mut file = (None, None, None, None);
                match source {
                    // Files are read for the model where they are pages; text it can read itself.
                    Source::Base64(data) => {
                        if let Some(text) = plain_text(media, data) {
                            content.push(Content::InputText { text: titled(media, &text).into_owned().into() });
                            return Ok(());
                        }
                        file.0 = Some(media.name.as_deref().unwrap_or("document.pdf"));
                        file.1 = Some(data_url(media, "application/pdf", data));
                    }
                    Source::Url(url) => file.2 = Some(url.as_str()),
                    Source::File(Format::OpenAiResponses | Format::OpenAiChat, id) => file.3 = Some(id.as_str()),
                    Source::File(..) | Source::PlainText(_) => return self.losses.lose(Feature::Files, "messages"),
                }
                Content::InputFile { filename: file.0, file_data: file.1, file_url: file.2, file_id: file.3 }
            }
        };
        content.push(written);
        Ok(())
    }
}

fn data_url(media: &Media, usual: &str, data: &str) -> String {
    format!("data:{};base64,{data}", media.media_type.as_deref().unwrap_or(usual))
}

/// A document of plain text, with its name before it.
fn titled<'a>(media: &Media, text: &'a str) -> Cow<'a, str> {
    match &media.name {
        Some(name) => format!("{name}:\n{text}").into(),
        None => Cow::Borrowed(text),
    }
}

fn plain_text(media: &Media, data: &str) -> Option<String> {
    use base64::Engine as _;
    let kind = media.media_type.as_deref()?;
    if !kind.starts_with("text/") && kind != "application/json" {
        return None;
    }
    String::from_utf8(base64::prelude::BASE64_STANDARD.decode(data).ok()?).ok()
}

fn call(call: &ToolCall) -> Item<'_> {
    let call_id = ids::fitting(&call.id, LONGEST_ID);
    if call.custom {
        return Item::CustomToolCall { call_id, name: &call.name, input: &call.input };
    }
    let arguments = if call.input.trim().is_empty() { "{}" } else { &call.input };
    Item::FunctionCall { call_id, name: &call.name, arguments }
}

/// A thought that this vendor's model had. Others' mean nothing to it, and without the encrypted form it takes none.
fn own_thinking(thought: &Thinking) -> Option<Item<'_>> {
    let signature = thought.signature.as_ref().filter(|signature| signature.by == Format::OpenAiResponses)?;
    let summary = (!thought.text.is_empty()).then(|| Content::SummaryText { text: &thought.text });
    Some(Item::Reasoning {
        id: signature.id.as_deref(),
        summary: summary.into_iter().collect(),
        encrypted_content: &signature.data,
    })
}

fn tools<'a>(request: &'a Request, body: &mut Body<'a>, losses: &mut Losses) -> Result<(), Unsupported> {
    let mut custom = Vec::new();
    for (index, tool) in request.tools.iter().enumerate() {
        body.tools.push(match tool {
            Tool::Function(tool) => ToolBody::Own(function(tool)),
            Tool::Custom(tool) => {
                custom.push(tool.name.as_str());
                let format = tool.format.as_ref().map(|_| grammar(tool));
                ToolBody::Own(OwnTool::Custom { name: &tool.name, description: tool.description.as_deref(), format })
            }
            Tool::WebSearch(search) => {
                if !search.blocked_domains.is_empty() {
                    losses.lose(Feature::WebSearch, format!("tools[{index}].blocked_domains"))?;
                }
                // Searches are the only tool of the vendor's there can be.
                body.max_tool_calls = body.max_tool_calls.or(search.max_uses);
                ToolBody::Own(web_search(search))
            }
            Tool::Native(Format::OpenAiResponses, _, tool) => ToolBody::Native(tool),
            Tool::Native(..) => {
                losses.lose(Feature::VendorTools, format!("tools[{index}]"))?;
                continue;
            }
        });
    }
    if body.tools.is_empty() {
        return Ok(());
    }
    let one = |name: &str| {
        let kind = if custom.contains(&name) { "custom" } else { "function" };
        json!({ "type": kind, "name": name })
    };
    body.tool_choice = request.tool_choice.as_ref().map(|choice| match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => one(name),
        ToolChoice::Among { required, names } => {
            let mode = if *required { "required" } else { "auto" };
            let tools: Vec<Value> = names.iter().map(|name| one(name)).collect();
            json!({ "type": "allowed_tools", "mode": mode, "tools": tools })
        }
    });
    body.parallel_tool_calls = request.parallel_tool_calls;
    Ok(())
}

fn function(function: &Function) -> OwnTool<'_> {
    let strict = function.strict == Some(true);
    let parameters = schema::of_input(function.parameters.as_ref());
    OwnTool::Function {
        name: &function.name,
        description: function.description.as_deref(),
        parameters: if strict { schema::strict(&parameters) } else { parameters },
        strict,
    }
}

/// The form of a tool's text, without the object that Chat Completions has around a grammar.
fn grammar(tool: &CustomTool) -> Json {
    let mut format = tool.format.as_ref().map(Json::to_value).unwrap_or_default();
    if let Some(Value::Object(grammar)) = format.get_mut("grammar").map(Value::take) {
        let mut flat = json!({ "type": "grammar" });
        for (name, value) in grammar {
            flat[name] = value;
        }
        format = flat;
    }
    Json::of(&format)
}

fn web_search(search: &WebSearch) -> OwnTool<'_> {
    let filters = (!search.allowed_domains.is_empty()).then(|| json!({ "allowed_domains": search.allowed_domains }));
    OwnTool::WebSearch {
        filters,
        user_location: search.user_location.as_ref(),
        search_context_size: search.context_size.as_deref(),
    }
}

/// Says how hard the model thinks, and has it give what it thought in a form that it can be shown again.
fn reasoning(request: &Request, model: Model, body: &mut Body<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    let asked = request.reasoning;
    let mut settings = json!({});
    if let Some(asked) = asked {
        let effort = asked.effort().or_else(|| asked.adaptive.then_some(Effort::Medium));
        let word = effort.and_then(|effort| model.effort(effort));
        match word {
            Some(word) => settings["effort"] = word.into(),
            None if !asked.off => losses.lose(Feature::Reasoning, "reasoning")?,
            None => {}
        }
        if asked.off && word.is_some_and(|word| word != "none") {
            losses.lose(Feature::Reasoning, "reasoning")?;
        }
        if word.is_some() && asked.told == Some(true) {
            settings["summary"] = "auto".into();
        }
    }
    let says = settings.as_object().is_some_and(|settings| !settings.is_empty());
    if model.thinks() || says && settings["effort"] != "none" {
        body.include.push("reasoning.encrypted_content");
    }
    body.reasoning = says.then_some(settings);
    Ok(())
}

fn sampling(request: &Request, model: Model, body: &mut Body<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    let asked = &request.sampling;
    let taken = model.takes_sampling(body.reasoning.as_ref().and_then(|settings| settings["effort"].as_str()));
    // What is the default anyway is not lost.
    let temperature = asked.temperature.filter(|temperature| taken || (*temperature - 1.0).abs() > f64::EPSILON);
    let top_p = asked.top_p.filter(|top_p| taken || *top_p < 1.0);
    if taken {
        body.temperature = temperature;
        body.top_p = top_p;
    } else {
        for (asked, feature, field) in
            [(temperature, Feature::Temperature, "temperature"), (top_p, Feature::TopP, "top_p")]
        {
            if asked.is_some() {
                losses.lose(feature, field)?;
            }
        }
    }
    if asked.top_k.is_some() {
        losses.lose(Feature::TopK, "top_k")?;
    }
    for (penalty, field) in
        [(asked.presence_penalty, "presence_penalty"), (asked.frequency_penalty, "frequency_penalty")]
    {
        if penalty.is_some_and(|penalty| penalty != 0.0) {
            losses.lose(Feature::Penalties, field)?;
        }
    }
    if asked.seed.is_some() {
        losses.lose(Feature::Seed, "seed")?;
    }
    if let Some(top) = request.logprobs {
        if taken {
            body.top_logprobs = Some(top.min(MOST_LOGPROBS));
            body.include.push("message.output_text.logprobs");
        } else {
            losses.lose(Feature::Logprobs, "logprobs")?;
        }
    }
    Ok(())
}

fn text(request: &Request) -> Option<TextSettings<'_>> {
    let output = &request.output;
    let format = match (output.format, &output.schema) {
        (ResponseFormat::Text, _) => None,
        (ResponseFormat::JsonSchema, Some(schema)) => Some(OutputFormat::JsonSchema {
            name: output.name.as_deref().map_or(Cow::Borrowed("answer"), Cow::Borrowed),
            schema: if output.strict == Some(true) { schema::strict(schema) } else { schema.clone() },
            description: output.description.as_deref(),
            strict: output.strict,
        }),
        (ResponseFormat::JsonSchema | ResponseFormat::JsonObject, _) => Some(OutputFormat::JsonObject),
    };
    let verbosity = output.verbosity.as_deref();
    (format.is_some() || verbosity.is_some()).then_some(TextSettings { format, verbosity })
}

/// Whether the caller says what is to be cached. The vendor caches by itself.
fn cache_marks(request: &Request) -> bool {
    let part = |part: &Part| match part {
        Part::Text(Text { cache, .. }) => cache.is_some(),
        Part::Media(media) => media.cache.is_some(),
        Part::ToolCall(call) => call.cache.is_some(),
        Part::ToolResult(result) => result.cache.is_some(),
        Part::Refusal(_) | Part::Thinking(_) | Part::Native(..) => false,
    };
    request.system.iter().any(|text| text.cache.is_some())
        || request.messages.iter().flat_map(|message| &message.parts).any(part)
        || request.tools.iter().any(|tool| matches!(tool, Tool::Function(Function { cache: Some(_), .. })))
}
