//! Writing answers for a caller.

use serde_json::{Value, json};

use super::error;
use super::items::REDACTED;
use super::response::{self, Response, Settings};
use super::stream::{self, Events};
use super::tools::{Kind, Name, Tools};
use crate::answer::summary::{StopReason, Usage};
use crate::error::ErrorAnswer;
use crate::format::{Format, ids};
use crate::neutral::codec::{Asked, WriteStream};
use crate::neutral::{Answer, Citation, Delta, Event, Json, PartStart, Signature, TokenLogprob, ToolCall};

/// Writes a whole answer: what its stream ends with.
pub(super) fn write_answer(answer: &Answer, asked: &Asked) -> Vec<u8> {
    let mut stream = Stream::new(asked.clone());
    for event in answer.clone().into_events() {
        stream.event(&event);
        stream.events.take();
    }
    stream.close();
    let (status, incomplete) = response::status(stream.stop.as_ref());
    // Texts, numbers and checked JSON serialise.
    serde_json::to_vec(&stream.response(status, incomplete, None)).unwrap_or_default()
}

/// Writes a stream.
pub(super) fn write_stream(asked: Asked) -> Box<dyn WriteStream> {
    Box::new(Stream::new(asked))
}

struct Stream {
    asked: Asked,
    settings: Settings,
    tools: Tools,
    events: Events,
    id: String,
    begun: bool,
    output: Vec<Json>,
    open: Open,
    usage: Usage,
    tier: Option<String>,
    stop: Option<StopReason>,
}

/// The item that is open.
enum Open {
    /// None, or something this format cannot show.
    Nothing,
    /// A message, which goes on as long as there is text.
    Message { id: String, content: Vec<Value>, part: Option<OpenPart> },
    /// A thought.
    Thinking { id: String, text: String, signature: Option<Signature>, redacted: bool },
    /// A call that waits for what travels in its id.
    Waiting { call: ToolCall },
    /// A call, with its kind.
    Call { id: String, call: ToolCall, kind: Kind },
}

/// A part of a message.
#[derive(Default)]
struct OpenPart {
    refusal: bool,
    text: String,
    characters: u64,
    annotations: Vec<Value>,
    logprobs: Vec<Value>,
    /// Probabilities that go with the next text.
    waiting: Vec<Value>,
}

impl OpenPart {
    fn value(&self) -> Value {
        if self.refusal {
            return json!({ "type": "refusal", "refusal": self.text });
        }
        json!({
            "type": "output_text",
            "text": self.text,
            "annotations": self.annotations,
            "logprobs": self.logprobs,
        })
    }
}

impl Stream {
    fn new(asked: Asked) -> Self {
        Self {
            settings: Settings::of(&asked.body),
            tools: Tools::of(&asked.body),
            events: Events::default(),
            id: response_id(&asked.id),
            begun: false,
            output: Vec::new(),
            open: Open::Nothing,
            usage: Usage::default(),
            tier: None,
            stop: None,
            asked,
        }
    }

    fn response(&self, status: &'static str, incomplete: Option<Value>, error: Option<Value>) -> Response<'_> {
        let usage = (status != "in_progress").then(|| response::usage(&self.usage));
        Response {
            id: &self.id,
            object: "response",
            created_at: self.asked.created,
            status,
            error,
            incomplete_details: incomplete,
            model: &self.asked.model,
            output: &self.output,
            usage,
            service_tier: self.tier.as_deref().unwrap_or("default"),
            settings: &self.settings,
        }
    }

    /// Begins the response, if it has not begun.
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            let mut events = std::mem::take(&mut self.events);
            events.begin(&self.response("in_progress", None, None));
            self.events = events;
        }
    }

    /// The place of the item that is open.
    fn index(&self) -> u64 {
        self.output.len() as u64
    }

    /// An id for the item that is open.
    fn item_id(&self, prefix: &str) -> String {
        let bare = self.id.strip_prefix("resp_").unwrap_or(&self.id);
        format!("{prefix}_{bare}_{}", self.output.len())
    }

    fn done(&mut self, item: &Value) {
        self.events.item_done(self.index(), item);
        self.output.push(Json::of(item));
    }

    /// Ends the item that is open.
    fn close(&mut self) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => {}
            Open::Message { id, mut content, part } => {
                if let Some(part) = part {
                    content.push(self.close_part(&id, content.len(), &part));
                }
                self.done(&message(&id, response::status(self.stop.as_ref()).0, &content));
            }
            Open::Thinking { id, text, signature, redacted } => {
                let summary = json!({ "type": "summary_text", "text": text });
                if !text.is_empty() {
                    let item = stream::Item { index: self.index(), id: &id };
                    self.events.of_summary("response.reasoning_summary_text.done", item, 0, json!({ "text": text }));
                    self.events.of_summary("response.reasoning_summary_part.done", item, 0, json!({ "part": summary }));
                }
                let summary = if text.is_empty() { json!([]) } else { json!([summary]) };
                let sealed = signature.map(|signature| sealed(&signature, redacted));
                self.done(&reasoning(&id, "completed", &summary, sealed));
            }
            open @ Open::Waiting { .. } => {
                self.open = open;
                self.call();
                self.close();
            }
            Open::Call { id, call, kind } => self.close_call(&id, &call, &kind),
        }
    }

    fn close_part(&mut self, id: &str, at: usize, part: &OpenPart) -> Value {
        let (item, at) = (stream::Item { index: self.index(), id }, at as u64);
        let value = part.value();
        if part.refusal {
            self.events.of_part("response.refusal.done", item, at, json!({ "refusal": part.text }));
        } else {
            let said = json!({ "text": part.text, "logprobs": part.logprobs });
            self.events.of_part("response.output_text.done", item, at, said);
        }
        self.events.part_done(item, at, &value);
        value
    }

    fn close_call(&mut self, id: &str, call: &ToolCall, kind: &Kind) {
        let item = stream::Item { index: self.index(), id };
        match kind {
            Kind::Function(name) => {
                let arguments = if call.input.trim().is_empty() { "{}" } else { &call.input };
                if call.input.is_empty() {
                    let data = json!({ "delta": arguments });
                    self.events.of_item("response.function_call_arguments.delta", item, data);
                }
                let data = json!({ "arguments": arguments, "name": name.name });
                self.events.of_item("response.function_call_arguments.done", item, data);
                self.done(&function_call(id, &call.id, name, arguments, "completed"));
            }
            Kind::Custom(name) => {
                let input = call.input_text();
                if !call.custom && !input.is_empty() {
                    self.events.of_item("response.custom_tool_call_input.delta", item, json!({ "delta": input }));
                }
                self.events.of_item("response.custom_tool_call_input.done", item, json!({ "input": input }));
                self.done(&custom_tool_call(id, &call.id, name, &input, "completed"));
            }
            Kind::Local(local) => {
                let whole = local.item(id, &call.id, &call.input_object());
                self.events.item_added(self.index(), &whole);
                self.done(&whole);
            }
        }
    }

    fn part_start(&mut self, start: &PartStart) {
        if let PartStart::Text | PartStart::Refusal = start {
            return self.text_start(*start == PartStart::Refusal);
        }
        self.close();
        match start {
            PartStart::Thinking { redacted } => {
                let id = self.item_id("rs");
                self.events.item_added(self.index(), &reasoning(&id, "in_progress", &json!([]), None));
                self.open = Open::Thinking { id, text: String::new(), signature: None, redacted: *redacted };
            }
            PartStart::ToolCall { id, name, custom } => {
                self.open = Open::Waiting {
                    call: ToolCall {
                        id: id.clone(),
                        name: name.clone(),
                        input: String::new(),
                        custom: *custom,
                        signature: None,
                        cache: None,
                    },
                };
            }
            PartStart::Native(Format::OpenAiResponses, item) => {
                self.events.item_added(self.index(), item);
                self.events.item_done(self.index(), item);
                self.output.push(item.clone());
            }
            // Others' items mean nothing to the caller; texts were begun before.
            PartStart::Native(..) | PartStart::Text | PartStart::Refusal => {}
        }
    }

    fn text_start(&mut self, refusal: bool) {
        if !matches!(self.open, Open::Message { .. }) {
            self.close();
            let id = self.item_id("msg");
            self.events.item_added(self.index(), &message(&id, "in_progress", &[]));
            self.open = Open::Message { id, content: Vec::new(), part: None };
        }
        let index = self.index();
        if let Open::Message { id, content, part } = &mut self.open {
            let begun = OpenPart { refusal, ..OpenPart::default() };
            self.events.part_added(stream::Item { index, id }, content.len() as u64, &begun.value());
            *part = Some(begun);
        }
    }

    /// Begins a call, now that it is known what travels in its id.
    fn call(&mut self) {
        let Open::Waiting { call } = std::mem::replace(&mut self.open, Open::Nothing) else { return };
        let told = ids::told(Format::OpenAiResponses, &call.id, call.signature.as_ref());
        let call = ToolCall { id: told, ..call };
        let kind = match self.tools.kind(&call.name) {
            // A tool nobody offered, that takes text all the same.
            Kind::Function(name) if call.custom => Kind::Custom(name),
            kind => kind,
        };
        let id = match &kind {
            Kind::Function(name) => {
                let id = self.item_id("fc");
                self.events.item_added(self.index(), &function_call(&id, &call.id, name, "", "in_progress"));
                id
            }
            Kind::Custom(name) => {
                let id = self.item_id("ctc");
                self.events.item_added(self.index(), &custom_tool_call(&id, &call.id, name, "", "in_progress"));
                id
            }
            Kind::Local(local) => self.item_id(local.name),
        };
        self.open = Open::Call { id, call, kind };
    }

    fn delta(&mut self, delta: &Delta) {
        if matches!((&self.open, delta), (Open::Waiting { .. }, Delta::Text(_))) {
            self.call();
        }
        let index = self.index();
        match (&mut self.open, delta) {
            (Open::Message { id, content, part: Some(part) }, delta) => {
                let (item, at) = (stream::Item { index, id }, content.len() as u64);
                message_delta(&mut self.events, item, at, part, delta);
            }
            (Open::Thinking { id, text, .. }, Delta::Text(more)) => {
                let item = stream::Item { index, id };
                if text.is_empty() {
                    let part = json!({ "part": { "type": "summary_text", "text": "" } });
                    self.events.of_summary("response.reasoning_summary_part.added", item, 0, part);
                }
                text.push_str(more);
                self.events.of_summary("response.reasoning_summary_text.delta", item, 0, json!({ "delta": more }));
            }
            (Open::Thinking { signature, .. }, Delta::Signature(given)) => *signature = Some(given.clone()),
            (Open::Waiting { call }, Delta::Signature(given)) => call.signature = Some(given.clone()),
            (Open::Call { id, call, kind }, Delta::Text(more)) => {
                let item = stream::Item { index, id };
                call.input.push_str(more);
                match kind {
                    Kind::Function(_) => {
                        let data = json!({ "delta": more });
                        self.events.of_item("response.function_call_arguments.delta", item, data);
                    }
                    Kind::Custom(_) if call.custom => {
                        self.events.of_item("response.custom_tool_call_input.delta", item, json!({ "delta": more }));
                    }
                    // The text stands in JSON, or becomes an object: it is told when it is whole.
                    Kind::Custom(_) | Kind::Local(_) => {}
                }
            }
            _ => {}
        }
    }

    fn part_stop(&mut self) {
        let Open::Message { id, content, part } = &mut self.open else { return self.close() };
        let (id, at) = (id.clone(), content.len());
        if let Some(part) = part.take() {
            let value = self.close_part(&id, at, &part);
            if let Open::Message { content, .. } = &mut self.open {
                content.push(value);
            }
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Start { id, .. } => {
                if let Some(id) = id.as_deref().filter(|id| !id.is_empty() && !self.begun) {
                    self.id = response_id(id);
                }
                self.begin();
            }
            Event::PartStart(start) => {
                self.begin();
                self.part_start(start);
            }
            Event::Delta(delta) => self.delta(delta),
            Event::PartStop => self.part_stop(),
            Event::Usage(usage) => self.usage.update(usage),
            Event::ServiceTier(tier) => self.tier = Some(tier.clone()),
            Event::Stop { reason, .. } => {
                self.stop = Some(reason.clone());
                self.close();
            }
            Event::End => {
                self.begin();
                self.close();
                let (status, incomplete) = response::status(self.stop.as_ref());
                let mut events = std::mem::take(&mut self.events);
                events.end(status, &self.response(status, incomplete, None));
                self.events = events;
            }
            Event::Error(_) => {}
        }
    }
}

impl WriteStream for Stream {
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        self.event(event);
        out.append(&mut self.events.take());
    }

    fn fail(&mut self, error: &ErrorAnswer, out: &mut Vec<u8>) {
        let kind = Some(error::kind(error.kind));
        let mut events = std::mem::take(&mut self.events);
        error::announce(&mut events, kind, error.code, &error.message);
        let words = error::of_response(kind, error.code, &error.message);
        events.end("failed", &self.response("failed", None, Some(words)));
        out.append(&mut events.take());
        self.events = events;
    }
}

fn message_delta(events: &mut Events, item: stream::Item<'_>, at: u64, part: &mut OpenPart, delta: &Delta) {
    match delta {
        Delta::Text(more) if part.refusal => {
            part.text.push_str(more);
            events.of_part("response.refusal.delta", item, at, json!({ "delta": more }));
        }
        Delta::Text(more) => {
            part.text.push_str(more);
            part.characters += more.chars().count() as u64;
            let logprobs = std::mem::take(&mut part.waiting);
            let said = json!({ "delta": more, "logprobs": logprobs });
            events.of_part("response.output_text.delta", item, at, said);
        }
        Delta::Citation(citation) => {
            let annotation = self::annotation(citation, part.characters);
            let data = json!({ "annotation": annotation, "annotation_index": part.annotations.len() });
            events.of_part("response.output_text.annotation.added", item, at, data);
            part.annotations.push(annotation);
        }
        Delta::Logprobs(tokens) => {
            let tokens: Vec<Value> = tokens.iter().map(logprob).collect();
            part.waiting.extend(tokens.iter().cloned());
            part.logprobs.extend(tokens);
        }
        Delta::Signature(_) => {}
    }
}

/// The provider's id in this vendor's form.
fn response_id(id: &str) -> String {
    if id.starts_with("resp_") {
        return id.to_owned();
    }
    let bare = ["chatcmpl-", "msg_"].into_iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id);
    format!("resp_{bare}")
}

fn message(id: &str, status: &str, content: &[Value]) -> Value {
    json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": content })
}

fn reasoning(id: &str, status: &str, summary: &Value, encrypted: Option<String>) -> Value {
    let mut item = json!({ "id": id, "type": "reasoning", "status": status, "summary": summary });
    if let Some(encrypted) = encrypted {
        item["encrypted_content"] = encrypted.into();
    }
    item
}

fn function_call(id: &str, call_id: &str, name: &Name, arguments: &str, status: &str) -> Value {
    let item = json!({
        "id": id,
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name.name,
        "arguments": arguments,
    });
    in_namespace(item, name)
}

fn custom_tool_call(id: &str, call_id: &str, name: &Name, input: &str, status: &str) -> Value {
    let item = json!({
        "id": id,
        "type": "custom_tool_call",
        "status": status,
        "call_id": call_id,
        "name": name.name,
        "input": input,
    });
    in_namespace(item, name)
}

fn in_namespace(mut item: Value, name: &Name) -> Value {
    if let Some(namespace) = &name.namespace {
        item["namespace"] = namespace.as_str().into();
    }
    item
}

/// A signature as callers of this format keep it: the vendor's own as it is, another's sealed.
fn sealed(signature: &Signature, redacted: bool) -> String {
    if signature.by == Format::OpenAiResponses {
        return signature.data.clone();
    }
    let mark = if redacted { REDACTED } else { "" };
    format!("{mark}{}", signature.seal())
}

/// A citation, at the place it names, or at the end of what was said so far.
fn annotation(citation: &Citation, end: u64) -> Value {
    let (start, end) = citation.span.unwrap_or((end, end));
    json!({
        "type": "url_citation",
        "url": citation.uri.as_deref().unwrap_or_default(),
        "title": citation.title.as_deref().unwrap_or_default(),
        "start_index": start,
        "end_index": end,
    })
}

fn logprob(token: &TokenLogprob) -> Value {
    let one = |text: &str, logprob: f64| json!({ "token": text, "bytes": text.as_bytes(), "logprob": logprob });
    let mut value = one(&token.token, token.logprob);
    value["top_logprobs"] = token.top.iter().map(|(text, logprob)| one(text, *logprob)).collect();
    value
}
