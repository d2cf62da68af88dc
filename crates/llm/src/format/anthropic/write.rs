//! Writing answers for a caller.

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::stop_word;
use super::error;
use crate::answer::summary::{StopReason, Usage};
use crate::error::ErrorAnswer;
use crate::format::{Format, ids};
use crate::neutral::codec::{Asked, WriteStream};
use crate::neutral::{Answer, Citation, Delta, Event, Json, Part, PartStart, Signature};

#[derive(Serialize)]
struct Message<'a> {
    id: String,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Json>,
    stop_reason: Option<&'a str>,
    stop_sequence: Option<&'a str>,
    usage: Value,
}

/// Writes a whole answer.
pub(super) fn write_answer(answer: &Answer, asked: &Asked) -> Vec<u8> {
    let mut refused = false;
    let mut content = Vec::new();
    for part in &answer.parts {
        let block = match part {
            Part::Text(text) if text.text.is_empty() => continue,
            Part::Text(text) => {
                let mut block = json!({ "type": "text", "text": text.text });
                if !text.citations.is_empty() {
                    block["citations"] = text.citations.iter().map(citation).collect();
                }
                Json::of(&block)
            }
            Part::Refusal(words) => {
                refused = true;
                Json::of(&json!({ "type": "text", "text": words }))
            }
            Part::Thinking(thought) if thought.redacted => match &thought.signature {
                Some(signature) => Json::of(&json!({ "type": "redacted_thinking", "data": sealed(signature) })),
                None => continue,
            },
            Part::Thinking(thought) => {
                let signature = thought.signature.as_ref().map(sealed).unwrap_or_default();
                Json::of(&json!({ "type": "thinking", "thinking": thought.text, "signature": signature }))
            }
            Part::ToolCall(call) => {
                let id = ids::told(Format::AnthropicMessages, &call.id, call.signature.as_ref());
                Json::of(&ToolUse { r#type: "tool_use", id, name: &call.name, input: call.input_object() })
            }
            Part::Native(Format::AnthropicMessages, block) => block.clone(),
            // Others' blocks mean nothing to the caller, and models answer with neither of the rest.
            Part::Native(..) | Part::Media(_) | Part::ToolResult(_) => continue,
        };
        content.push(block);
    }
    let mut usage = usage(&answer.usage);
    if let Some(tier) = answer.service_tier.as_deref().and_then(tier) {
        usage["service_tier"] = tier.into();
    }
    let reason = answer.stop_reason.as_ref().map(|reason| stop(reason, refused));
    let message = Message {
        id: message_id(answer.id.as_deref(), asked),
        r#type: "message",
        role: "assistant",
        model: &asked.model,
        content,
        stop_reason: reason,
        stop_sequence: answer.stop_sequence.as_deref(),
        usage,
    };
    // Texts, numbers and checked JSON serialise.
    serde_json::to_vec(&message).unwrap_or_default()
}

#[derive(Serialize)]
struct ToolUse<'a> {
    r#type: &'static str,
    id: String,
    name: &'a str,
    input: Json,
}

/// The provider's id in this vendor's form.
fn message_id(id: Option<&str>, asked: &Asked) -> String {
    let id = id.filter(|id| !id.is_empty()).unwrap_or(&asked.id);
    if id.starts_with("msg_") {
        return id.to_owned();
    }
    let bare = ["chatcmpl-", "resp_"].into_iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id);
    format!("msg_{bare}")
}

/// A signature as callers of this format keep it: the vendor's own as it is, another's sealed.
fn sealed(signature: &Signature) -> String {
    if signature.by == Format::AnthropicMessages { signature.data.clone() } else { signature.seal() }
}

fn citation(citation: &Citation) -> Value {
    json!({
        "type": "web_search_result_location",
        "url": citation.uri.as_deref().unwrap_or_default(),
        "title": citation.title,
        "cited_text": citation.snippet.as_deref().unwrap_or_default(),
        "encrypted_index": "",
    })
}

fn stop(reason: &StopReason, refused: bool) -> &str {
    // A model that declined did not just come to its end.
    if refused && *reason == StopReason::EndTurn { "refusal" } else { stop_word(reason) }
}

/// The vendor's word for a class of service, if it has one.
fn tier(tier: &str) -> Option<&'static str> {
    match tier {
        "standard" | "default" => Some("standard"),
        "priority" => Some("priority"),
        "batch" => Some("batch"),
        _ => None,
    }
}

/// What was used. This format says zero where nothing is known.
fn usage(usage: &Usage) -> Value {
    let mut written = json!({
        "input_tokens": usage.input_tokens.unwrap_or(0),
        "cache_creation_input_tokens": usage.cache_creation_tokens.unwrap_or(0),
        "cache_read_input_tokens": usage.cache_read_tokens.unwrap_or(0),
        "output_tokens": usage.output_tokens.unwrap_or(0),
    });
    if let (Some(hour), created) = (usage.cache_creation_1h_tokens, usage.cache_creation_tokens.unwrap_or(0)) {
        written["cache_creation"] = json!({
            "ephemeral_5m_input_tokens": created.saturating_sub(hour),
            "ephemeral_1h_input_tokens": hour,
        });
    }
    if let Some(thinking) = usage.reasoning_tokens {
        written["output_tokens_details"] = json!({ "thinking_tokens": thinking });
    }
    if let Some(searches) = usage.web_searches {
        written["server_tool_use"] = json!({ "web_search_requests": searches });
    }
    written
}

/// An event of a stream.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Written<'a> {
    MessageStart { message: Message<'a> },
    ContentBlockStart { index: usize, content_block: &'a Json },
    ContentBlockDelta { index: usize, delta: Piece<'a> },
    ContentBlockStop { index: usize },
    MessageDelta { delta: End<'a>, usage: Value },
    MessageStop,
}

impl Written<'_> {
    fn to(&self, out: &mut Vec<u8>) {
        let kind: &[u8] = match self {
            Self::MessageStart { .. } => b"message_start",
            Self::ContentBlockStart { .. } => b"content_block_start",
            Self::ContentBlockDelta { .. } => b"content_block_delta",
            Self::ContentBlockStop { .. } => b"content_block_stop",
            Self::MessageDelta { .. } => b"message_delta",
            Self::MessageStop => b"message_stop",
        };
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind);
        out.extend_from_slice(b"\ndata: ");
        // Texts, numbers and checked JSON serialise, and a vector takes all that is written to it.
        let _ = serde_json::to_writer(&mut *out, self);
        out.extend_from_slice(b"\n\n");
    }
}

/// More of a block.
#[derive(Serialize)]
#[serde(tag = "type")]
enum Piece<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
    #[serde(rename = "citations_delta")]
    Citations { citation: Value },
}

#[derive(Serialize)]
struct End<'a> {
    stop_reason: &'a str,
    stop_sequence: Option<&'a str>,
}

/// Writes a stream.
pub(super) fn write_stream(asked: Asked) -> Box<dyn WriteStream> {
    Box::new(Stream {
        asked,
        begun: false,
        id: None,
        usage: Usage::default(),
        tier: None,
        index: 0,
        open: Open::Nothing,
        refused: false,
        stop: None,
    })
}

struct Stream {
    asked: Asked,
    /// The message has begun.
    begun: bool,
    /// The provider's id of it.
    id: Option<String>,
    usage: Usage,
    tier: Option<&'static str>,
    /// How many blocks there were.
    index: usize,
    open: Open,
    refused: bool,
    stop: Option<(StopReason, Option<String>)>,
}

/// The block that is open.
enum Open {
    /// None, or one that this format cannot show.
    Nothing,
    Text,
    Thinking,
    /// Thoughts nothing is told of: what stands for them is all there is.
    Redacted,
    /// A call that waits for what travels in its id.
    Call {
        id: String,
        name: String,
        signature: Option<Signature>,
        custom: bool,
    },
    /// The input of a call.
    Input,
    /// The input of a call that is text, which is written when it is complete.
    Custom(String),
    /// A block that began whole.
    Native,
}

impl Stream {
    /// Begins the message, if it has not begun.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let mut usage = usage(&Usage { output_tokens: None, reasoning_tokens: None, ..self.usage });
        if let Some(tier) = self.tier {
            usage["service_tier"] = tier.into();
        }
        let message = Message {
            id: message_id(self.id.as_deref(), &self.asked),
            r#type: "message",
            role: "assistant",
            model: &self.asked.model,
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage,
        };
        Written::MessageStart { message }.to(out);
    }

    fn block(&self, block: &Json, out: &mut Vec<u8>) {
        Written::ContentBlockStart { index: self.index, content_block: block }.to(out);
    }

    fn piece(&self, delta: Piece<'_>, out: &mut Vec<u8>) {
        Written::ContentBlockDelta { index: self.index, delta }.to(out);
    }

    fn part_start(&mut self, start: &PartStart, out: &mut Vec<u8>) {
        self.open = match start {
            PartStart::Text | PartStart::Refusal => {
                self.refused |= *start == PartStart::Refusal;
                self.block(&Json::of(&json!({ "type": "text", "text": "" })), out);
                Open::Text
            }
            PartStart::Thinking { redacted: false } => {
                self.block(&Json::of(&json!({ "type": "thinking", "thinking": "", "signature": "" })), out);
                Open::Thinking
            }
            PartStart::Thinking { redacted: true } => Open::Redacted,
            PartStart::ToolCall { id, name, custom } => {
                Open::Call { id: id.clone(), name: name.clone(), signature: None, custom: *custom }
            }
            PartStart::Native(Format::AnthropicMessages, block) => {
                self.block(block, out);
                Open::Native
            }
            PartStart::Native(..) => Open::Nothing,
        };
    }

    /// Begins a call, now that it is known what travels in its id.
    fn call(&mut self, out: &mut Vec<u8>) {
        let Open::Call { id, name, signature, custom } = &self.open else { return };
        let id = ids::told(Format::AnthropicMessages, id, signature.as_ref());
        let block = ToolUse { r#type: "tool_use", id, name, input: Json::empty_object() };
        self.block(&Json::of(&block), out);
        self.open = if *custom { Open::Custom(String::new()) } else { Open::Input };
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        if matches!((&self.open, delta), (Open::Call { .. }, Delta::Text(_))) {
            self.call(out);
        }
        match (&mut self.open, delta) {
            (Open::Text, Delta::Text(text)) => self.piece(Piece::Text { text }, out),
            (Open::Text, Delta::Citation(cited)) => {
                self.piece(Piece::Citations { citation: citation(cited) }, out);
            }
            (Open::Thinking, Delta::Text(thinking)) => self.piece(Piece::Thinking { thinking }, out),
            (Open::Thinking, Delta::Signature(signature)) => {
                self.piece(Piece::Signature { signature: sealed(signature) }, out);
            }
            (Open::Redacted, Delta::Signature(signature)) => {
                self.block(&Json::of(&json!({ "type": "redacted_thinking", "data": sealed(signature) })), out);
                self.open = Open::Native;
            }
            (Open::Call { signature, .. }, Delta::Signature(given)) => *signature = Some(given.clone()),
            (Open::Input, Delta::Text(partial_json)) => self.piece(Piece::InputJson { partial_json }, out),
            (Open::Custom(input), Delta::Text(more)) => input.push_str(more),
            // Probabilities have no place here.
            _ => {}
        }
    }

    fn part_stop(&mut self, out: &mut Vec<u8>) {
        self.call(out);
        match std::mem::replace(&mut self.open, Open::Nothing) {
            // Nothing was begun.
            Open::Nothing | Open::Redacted => return,
            Open::Custom(input) => {
                let input = json!({ "input": input }).to_string();
                self.piece(Piece::InputJson { partial_json: &input }, out);
            }
            Open::Text | Open::Thinking | Open::Call { .. } | Open::Input | Open::Native => {}
        }
        Written::ContentBlockStop { index: self.index }.to(out);
        self.index += 1;
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let (reason, sequence) = self.stop.take().unwrap_or((StopReason::EndTurn, None));
        let delta = End { stop_reason: stop(&reason, self.refused), stop_sequence: sequence.as_deref() };
        Written::MessageDelta { delta, usage: usage(&self.usage) }.to(out);
        Written::MessageStop.to(out);
    }
}

impl WriteStream for Stream {
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, .. } => {
                self.id.clone_from(id);
                return;
            }
            Event::Usage(usage) => return self.usage.update(usage),
            Event::ServiceTier(given) => {
                self.tier = tier(given);
                return;
            }
            _ => {}
        }
        // What is known of usage by now is told at the beginning already.
        self.begin(out);
        match event {
            Event::PartStart(start) => self.part_start(start, out),
            Event::Delta(delta) => self.delta(delta, out),
            Event::PartStop => self.part_stop(out),
            Event::Stop { reason, sequence } => self.stop = Some((reason.clone(), sequence.clone())),
            Event::End => self.end(out),
            Event::Start { .. } | Event::Usage(_) | Event::ServiceTier(_) | Event::Error(_) => {}
        }
    }

    fn fail(&mut self, error: &ErrorAnswer, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: error\ndata: ");
        out.extend_from_slice(&error::body(error, None));
        out.extend_from_slice(b"\n\n");
    }
}
