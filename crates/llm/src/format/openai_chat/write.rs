//! Writing answers for a caller.

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::stop_word;
use super::error;
use crate::answer::summary::{StopReason, Usage};
use crate::error::ErrorAnswer;
use crate::format::{Format, ids};
use crate::neutral::codec::{Asked, WriteStream};
use crate::neutral::{Answer, Citation, Delta, Event, Part, PartStart, Signature, TokenLogprob, ToolCall};

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u8,
    message: Message,
    logprobs: Option<Value>,
    finish_reason: Option<&'a str>,
}

#[derive(Default, Serialize)]
struct Message {
    role: &'static str,
    content: Option<String>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call>,
}

/// A call, or a piece of one.
#[derive(Default, Serialize)]
struct Call {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<Function>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom: Option<Custom>,
}

#[derive(Serialize)]
struct Function {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    arguments: String,
}

#[derive(Serialize)]
struct Custom {
    name: String,
    input: String,
}

/// Writes a whole answer.
pub(super) fn write_answer(answer: &Answer, asked: &Asked) -> Vec<u8> {
    let mut message = Message { role: "assistant", ..Message::default() };
    let mut length = 0;
    for part in &answer.parts {
        match part {
            Part::Text(text) => {
                let start = length;
                length += text.text.chars().count();
                message.content.get_or_insert_default().push_str(&text.text);
                message.annotations.extend(text.citations.iter().filter_map(|one| annotation(one, start, length)));
            }
            Part::Refusal(words) => message.refusal.get_or_insert_default().push_str(words),
            Part::Thinking(thought) if thought.text.is_empty() => {}
            Part::Thinking(thought) => message.reasoning_content.get_or_insert_default().push_str(&thought.text),
            Part::ToolCall(call) => message.tool_calls.push(whole_call(call, asked)),
            // Others' blocks mean nothing to the caller, and models answer with neither of the rest.
            Part::Native(..) | Part::Media(_) | Part::ToolResult(_) => {}
        }
    }
    let id = completion_id(answer.id.as_deref(), asked);
    let choice = Choice {
        index: 0,
        message,
        logprobs: (!answer.logprobs.is_empty()).then(|| logprobs(&answer.logprobs)),
        finish_reason: answer.stop_reason.as_ref().map(stop_word),
    };
    let completion = Completion {
        id: &id,
        object: "chat.completion",
        created: asked.created,
        model: &asked.model,
        choices: [choice],
        usage: usage(&answer.usage),
        service_tier: answer.service_tier.as_deref().and_then(tier),
    };
    // Texts and numbers serialise.
    serde_json::to_vec(&completion).unwrap_or_default()
}

fn whole_call(call: &ToolCall, asked: &Asked) -> Call {
    let id = Some(ids::told(Format::OpenAiChat, &call.id, call.signature.as_ref()));
    if call.custom || asked.custom_tools.contains(&call.name) {
        let custom = Custom { name: call.name.clone(), input: call.input_text() };
        return Call { id, r#type: Some("custom"), custom: Some(custom), ..Call::default() };
    }
    // Clients read the arguments as JSON, also of a tool that takes nothing.
    let arguments = if call.input.trim().is_empty() { "{}".to_owned() } else { call.input.clone() };
    let function = Function { name: Some(call.name.clone()), arguments };
    Call { id, r#type: Some("function"), function: Some(function), ..Call::default() }
}

/// The provider's id in this vendor's form.
fn completion_id(id: Option<&str>, asked: &Asked) -> String {
    let id = id.filter(|id| !id.is_empty()).unwrap_or(&asked.id);
    if id.starts_with("chatcmpl") {
        return id.to_owned();
    }
    let bare = ["msg_", "resp_"].into_iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id);
    format!("chatcmpl-{bare}")
}

/// A citation that has an address. One that does not say which characters it is about is about the text it stands with.
fn annotation(citation: &Citation, start: usize, end: usize) -> Option<Value> {
    let url = citation.uri.as_deref()?;
    let (from, to) = citation.span.map_or((start as u64, end as u64), |(from, to)| {
        (from.saturating_add(start as u64), to.saturating_add(start as u64))
    });
    let title = citation.title.as_deref().unwrap_or(url);
    Some(json!({
        "type": "url_citation",
        "url_citation": { "start_index": from, "end_index": to, "title": title, "url": url },
    }))
}

fn logprobs(tokens: &[TokenLogprob]) -> Value {
    let token = |token: &str, logprob: f64| json!({ "token": token, "logprob": logprob, "bytes": token.as_bytes() });
    let tokens = tokens.iter().map(|said| {
        let top: Vec<Value> = said.top.iter().map(|(word, logprob)| token(word, *logprob)).collect();
        let mut written = token(&said.token, said.logprob);
        written["top_logprobs"] = top.into();
        written
    });
    json!({ "content": tokens.collect::<Vec<_>>(), "refusal": null })
}

/// The vendor's word for a class of service, if it has one.
fn tier(tier: &str) -> Option<&'static str> {
    match tier {
        "standard" | "default" => Some("default"),
        "priority" => Some("priority"),
        "flex" => Some("flex"),
        "scale" => Some("scale"),
        _ => None,
    }
}

/// What was used. Here the prompt contains what was cached, and the answer what was thought.
fn usage(usage: &Usage) -> Value {
    let completion = usage.output_tokens.unwrap_or(0);
    let mut prompt_details = json!({ "cached_tokens": usage.cache_read_tokens.unwrap_or(0) });
    if let Some(written) = usage.cache_creation_tokens {
        prompt_details["cache_write_tokens"] = written.into();
    }
    let mut written = json!({
        "prompt_tokens": usage.prompt_tokens(),
        "completion_tokens": completion,
        "total_tokens": usage.prompt_tokens().saturating_add(completion),
        "prompt_tokens_details": prompt_details,
    });
    if let Some(reasoning) = usage.reasoning_tokens {
        written["completion_tokens_details"] = json!({ "reasoning_tokens": reasoning });
    }
    written
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    choices: &'a [ChunkChoice<'a>],
    /// In a stream that will say it at its end, `null` until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'a Value>,
}

#[derive(Default, Serialize)]
struct ChunkChoice<'a> {
    index: u8,
    delta: Piece<'a>,
    logprobs: Option<Value>,
    finish_reason: Option<&'a str>,
}

#[derive(Default, Serialize)]
struct Piece<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<[Value; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call; 1]>,
}

/// Writes a stream.
pub(super) fn write_stream(asked: Asked) -> Box<dyn WriteStream> {
    let id = completion_id(None, &asked);
    Box::new(Stream {
        asked,
        id,
        begun: false,
        usage: Usage::default(),
        tier: None,
        open: Open::Nothing,
        calls: 0,
        start: 0,
        length: 0,
        stop: None,
    })
}

struct Stream {
    asked: Asked,
    id: String,
    begun: bool,
    usage: Usage,
    tier: Option<&'static str>,
    open: Open,
    /// How many calls there were.
    calls: usize,
    /// Where the open text begins, and where the text ends so far, in characters.
    start: usize,
    length: usize,
    stop: Option<StopReason>,
}

/// The part that is open.
enum Open {
    /// None, or one that this format cannot show.
    Nothing,
    Text,
    Refusal,
    Thinking,
    /// A call that waits for what travels in its id.
    Call {
        id: String,
        name: String,
        signature: Option<Signature>,
    },
    /// The input of a call, and whether there is any.
    Input(bool),
    /// A call of a tool that takes text, which is written when it is complete.
    Custom(ToolCall),
}

impl Stream {
    fn chunk(&self, choices: &[ChunkChoice<'_>], usage: Option<&Value>, out: &mut Vec<u8>) {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.asked.created,
            model: &self.asked.model,
            service_tier: self.tier,
            choices,
            usage: usage.or(self.asked.stream_usage.then_some(&Value::Null)),
        };
        out.extend_from_slice(b"data: ");
        // Texts and numbers serialise, and a vector takes all that is written to it.
        let _ = serde_json::to_writer(&mut *out, &chunk);
        out.extend_from_slice(b"\n\n");
    }

    fn piece(&self, delta: Piece<'_>, out: &mut Vec<u8>) {
        self.chunk(&[ChunkChoice { delta, ..ChunkChoice::default() }], None, out);
    }

    fn call_piece(&self, call: Call, out: &mut Vec<u8>) {
        let call = Call { index: Some(self.calls), ..call };
        self.piece(Piece { tool_calls: Some([call]), ..Piece::default() }, out);
    }

    fn input(&self, arguments: &str, out: &mut Vec<u8>) {
        let function = Function { name: None, arguments: arguments.to_owned() };
        self.call_piece(Call { function: Some(function), ..Call::default() }, out);
    }

    /// Begins the answer, if it has not begun: with whose it is.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            self.piece(Piece { role: Some("assistant"), content: Some(""), ..Piece::default() }, out);
        }
    }

    fn part_start(&mut self, start: &PartStart) {
        self.open = match start {
            PartStart::Text => {
                self.start = self.length;
                Open::Text
            }
            PartStart::Refusal => Open::Refusal,
            PartStart::Thinking { .. } => Open::Thinking,
            PartStart::ToolCall { id, name, custom } => {
                let (id, name, custom) = (id.clone(), name.clone(), *custom);
                // A provider that has no such tools was offered a function.
                if custom || self.asked.custom_tools.contains(&name) {
                    let input = String::new();
                    Open::Custom(ToolCall { id, name, input, custom, signature: None, cache: None })
                } else {
                    Open::Call { id, name, signature: None }
                }
            }
            PartStart::Native(..) => Open::Nothing,
        };
    }

    /// Begins a call, now that it is known what travels in its id.
    fn call(&mut self, out: &mut Vec<u8>) {
        let Open::Call { id, name, signature } = &mut self.open else { return };
        let id = Some(ids::told(Format::OpenAiChat, id, signature.as_ref()));
        let function = Some(Function { name: Some(std::mem::take(name)), arguments: String::new() });
        self.call_piece(Call { id, r#type: Some("function"), function, ..Call::default() }, out);
        self.open = Open::Input(false);
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        if matches!((&self.open, delta), (Open::Call { .. }, Delta::Text(_))) {
            self.call(out);
        }
        match (&mut self.open, delta) {
            (Open::Text, Delta::Text(text)) => {
                self.length += text.chars().count();
                self.piece(Piece { content: Some(text), ..Piece::default() }, out);
            }
            (Open::Text, Delta::Citation(citation)) => {
                if let Some(annotation) = annotation(citation, self.start, self.length) {
                    self.piece(Piece { annotations: Some([annotation]), ..Piece::default() }, out);
                }
            }
            (Open::Refusal, Delta::Text(text)) => {
                self.piece(Piece { refusal: Some(text), ..Piece::default() }, out);
            }
            (Open::Thinking, Delta::Text(text)) => {
                self.piece(Piece { reasoning_content: Some(text), ..Piece::default() }, out);
            }
            (Open::Call { signature, .. } | Open::Custom(ToolCall { signature, .. }), Delta::Signature(given)) => {
                *signature = Some(given.clone());
            }
            (Open::Input(some), Delta::Text(text)) => {
                *some = true;
                self.input(text, out);
            }
            (Open::Custom(call), Delta::Text(text)) => call.input.push_str(text),
            (_, Delta::Logprobs(tokens)) => {
                let delta = Piece { content: Some(""), ..Piece::default() };
                let logprobs = Some(logprobs(tokens));
                self.chunk(&[ChunkChoice { delta, logprobs, ..ChunkChoice::default() }], None, out);
            }
            _ => {}
        }
    }

    fn part_stop(&mut self, out: &mut Vec<u8>) {
        self.call(out);
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Input(some) => {
                // Clients read the arguments as JSON, also of a tool that takes nothing.
                if !some {
                    self.input("{}", out);
                }
                self.calls += 1;
            }
            Open::Custom(call) => {
                let call = whole_call(&call, &self.asked);
                self.call_piece(call, out);
                self.calls += 1;
            }
            Open::Nothing | Open::Text | Open::Refusal | Open::Thinking | Open::Call { .. } => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let reason = self.stop.take().unwrap_or(StopReason::EndTurn);
        let end = ChunkChoice { finish_reason: Some(stop_word(&reason)), ..ChunkChoice::default() };
        self.chunk(&[end], None, out);
        if self.asked.stream_usage {
            self.chunk(&[], Some(&usage(&self.usage)), out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl WriteStream for Stream {
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, .. } => self.id = completion_id(id.as_deref(), &self.asked),
            Event::Usage(usage) => self.usage.update(usage),
            Event::ServiceTier(given) => self.tier = tier(given),
            Event::PartStart(start) => {
                self.begin(out);
                self.part_start(start);
            }
            Event::Delta(delta) => self.delta(delta, out),
            Event::PartStop => self.part_stop(out),
            Event::Stop { reason, .. } => self.stop = Some(reason.clone()),
            Event::End => {
                self.begin(out);
                self.end(out);
            }
            Event::Error(_) => {}
        }
    }

    fn fail(&mut self, error: &ErrorAnswer, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&error::body(error, None));
        out.extend_from_slice(b"\n\n");
    }
}
