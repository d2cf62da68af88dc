//! Writing answers for a caller.

use serde_json::{Map, Value, json};

use super::answer::stop_word;
use super::places::Places;
use super::{error, signature};
use crate::answer::summary::{StopReason, Usage};
use crate::error::ErrorAnswer;
use crate::format::{Format, ids};
use crate::neutral::codec::{Asked, WriteStream};
use crate::neutral::{Answer, Citation, Delta, Event, PartStart, Signature, Thinking, TokenLogprob, ToolCall};

/// Writes a whole answer: all that a stream says, in one chunk.
pub(super) fn write_answer(answer: &Answer, asked: &Asked) -> Vec<u8> {
    let mut writer = Stream::new(asked.clone());
    let mut chunk = Chunk::default();
    for event in answer.clone().into_events() {
        writer.event(&event, &mut |piece| chunk.add(piece));
    }
    // An answer that did not come to its end is told as far as it came.
    if !answer.complete {
        writer.end(&mut |piece| chunk.add(piece));
    }
    writer.body(chunk).to_string().into_bytes()
}

/// Writes a stream.
pub(super) fn write_stream(asked: Asked) -> Box<dyn WriteStream> {
    Box::new(Stream::new(asked))
}

/// What is told at once.
#[derive(Default)]
struct Chunk {
    parts: Vec<Value>,
    finish_reason: Option<String>,
    usage: Option<Value>,
    logprobs: Option<Value>,
    grounding: Option<Value>,
}

impl Chunk {
    fn part(part: Value) -> Self {
        Self { parts: vec![part], ..Self::default() }
    }

    /// Puts a later chunk behind this one, as a reader of a stream does.
    fn add(&mut self, later: Self) {
        for part in later.parts {
            match self.parts.last_mut() {
                Some(last) if continues(last, &part) => {
                    let (Some(text), Some(more)) = (last["text"].as_str(), part["text"].as_str()) else { continue };
                    last["text"] = format!("{text}{more}").into();
                    if let Some(signature) = part.get("thoughtSignature") {
                        last["thoughtSignature"] = signature.clone();
                    }
                }
                _ if part == json!({ "text": "" }) => {}
                _ => self.parts.push(part),
            }
        }
        self.finish_reason = later.finish_reason.or(self.finish_reason.take());
        self.usage = later.usage.or(self.usage.take());
        self.logprobs = later.logprobs.or(self.logprobs.take());
        self.grounding = later.grounding.or(self.grounding.take());
    }
}

/// Whether a part of text goes on with the one before.
fn continues(last: &Value, part: &Value) -> bool {
    let is_text = |part: &Value| part["text"].is_string();
    is_text(last) && is_text(part) && last["thought"] == part["thought"] && last["thoughtSignature"].is_null()
}

struct Stream {
    asked: Asked,
    id: Option<String>,
    usage: Usage,
    tier: Option<String>,
    open: Open,
    /// What the text that is open says, and where that comes from.
    text: String,
    citations: Vec<Citation>,
    refused: bool,
    /// Where the texts come from.
    chunks: Vec<Value>,
    supports: Vec<Value>,
    logprobs: Vec<TokenLogprob>,
    stop: Option<StopReason>,
}

/// The part that is open.
enum Open {
    /// None, or one that this format cannot show.
    Nothing,
    Text,
    Thinking(Option<Signature>),
    Call(ToolCall),
}

impl Stream {
    fn new(asked: Asked) -> Self {
        Self {
            asked,
            id: None,
            usage: Usage::default(),
            tier: None,
            open: Open::Nothing,
            text: String::new(),
            citations: Vec::new(),
            refused: false,
            chunks: Vec::new(),
            supports: Vec::new(),
            logprobs: Vec::new(),
            stop: None,
        }
    }

    fn event(&mut self, event: &Event, tell: &mut impl FnMut(Chunk)) {
        match event {
            Event::Start { id, .. } => self.id.clone_from(id),
            Event::Usage(usage) => self.usage.update(usage),
            Event::ServiceTier(tier) => self.tier = Some(tier.clone()),
            Event::PartStart(start) => self.part_start(start, tell),
            Event::Delta(delta) => self.delta(delta, tell),
            Event::PartStop => self.part_stop(tell),
            Event::Stop { reason, .. } => self.stop = Some(reason.clone()),
            Event::End => self.end(tell),
            Event::Error(_) => {}
        }
    }

    fn part_start(&mut self, start: &PartStart, tell: &mut impl FnMut(Chunk)) {
        self.open = match start {
            PartStart::Text | PartStart::Refusal => {
                self.refused |= *start == PartStart::Refusal;
                self.text.clear();
                Open::Text
            }
            PartStart::Thinking { .. } => Open::Thinking(None),
            PartStart::ToolCall { id, name, custom } => Open::Call(ToolCall {
                id: id.clone(),
                name: name.clone(),
                input: String::new(),
                custom: *custom,
                signature: None,
                cache: None,
            }),
            PartStart::Native(Format::Gemini, part) => {
                tell(Chunk::part(part.to_value()));
                Open::Nothing
            }
            PartStart::Native(..) => Open::Nothing,
        };
    }

    fn delta(&mut self, delta: &Delta, tell: &mut impl FnMut(Chunk)) {
        match (&mut self.open, delta) {
            (Open::Text, Delta::Text(text)) => {
                self.text.push_str(text);
                tell(Chunk::part(json!({ "text": text })));
            }
            (Open::Text, Delta::Citation(citation)) => self.citations.push(citation.clone()),
            (Open::Thinking(_), Delta::Text(text)) => tell(Chunk::part(json!({ "text": text, "thought": true }))),
            (Open::Thinking(signature) | Open::Call(ToolCall { signature, .. }), Delta::Signature(given)) => {
                *signature = Some(given.clone());
            }
            (Open::Call(call), Delta::Text(text)) => call.input.push_str(text),
            (_, Delta::Logprobs(tokens)) => self.logprobs.extend(tokens.iter().cloned()),
            _ => {}
        }
    }

    fn part_stop(&mut self, tell: &mut impl FnMut(Chunk)) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Thinking(Some(signature)) => {
                let thought = Thinking { signature: Some(signature.clone()), ..Thinking::default() };
                let field = signature::told(&signature);
                if signature::of_text(&thought).is_some() {
                    tell(Chunk::part(json!({ "text": "", "thoughtSignature": field })));
                } else if !field.is_empty() {
                    tell(Chunk::part(json!({ "text": "", "thought": true, "thoughtSignature": field })));
                }
            }
            Open::Call(call) => tell(Chunk::part(function_call(&call))),
            Open::Text => self.cite(),
            Open::Nothing | Open::Thinking(None) => {}
        }
    }

    /// Notes where the text that ends comes from.
    fn cite(&mut self) {
        if self.citations.is_empty() {
            return;
        }
        let places = Places::of(&self.text);
        for citation in self.citations.drain(..) {
            let Some(uri) = &citation.uri else { continue };
            let whole = (0, self.text.len());
            let (start, end) = citation.span.map_or(whole, |(start, end)| (places.bytes(start), places.bytes(end)));
            let segment = json!({ "startIndex": start, "endIndex": end });
            self.supports.push(json!({ "segment": segment, "groundingChunkIndices": [self.chunks.len()] }));
            self.chunks.push(json!({ "web": { "uri": uri, "title": citation.title.as_deref().unwrap_or(uri) } }));
        }
    }

    fn end(&mut self, tell: &mut impl FnMut(Chunk)) {
        let reason = self.stop.take().unwrap_or(StopReason::EndTurn);
        // A model that declined did not just come to its end.
        let declined = self.refused && reason == StopReason::EndTurn;
        let word = if declined { "SAFETY" } else { stop_word(&reason) };
        let grounding = (!self.chunks.is_empty()).then(|| {
            json!({
                "groundingChunks": std::mem::take(&mut self.chunks),
                "groundingSupports": std::mem::take(&mut self.supports),
            })
        });
        tell(Chunk {
            parts: vec![json!({ "text": "" })],
            finish_reason: Some(word.to_owned()),
            usage: Some(self.used()),
            logprobs: (!self.logprobs.is_empty()).then(|| logprobs(&self.logprobs)),
            grounding,
        });
    }

    /// What was used. Here the prompt contains what was cached, and the answer does not contain what was thought.
    fn used(&self) -> Value {
        let Usage { output_tokens, cache_read_tokens, reasoning_tokens, .. } = self.usage;
        let output = output_tokens.unwrap_or(0);
        let thoughts = reasoning_tokens.unwrap_or(0).min(output);
        let mut used = json!({
            "promptTokenCount": self.usage.prompt_tokens(),
            "candidatesTokenCount": output - thoughts,
            "totalTokenCount": self.usage.prompt_tokens().saturating_add(output),
        });
        if let Some(cached) = cache_read_tokens {
            used["cachedContentTokenCount"] = cached.into();
        }
        if reasoning_tokens.is_some() {
            used["thoughtsTokenCount"] = thoughts.into();
        }
        if let Some(tier) = &self.tier {
            used["serviceTier"] = tier.as_str().into();
        }
        used
    }

    /// The body of a chunk.
    fn body(&self, chunk: Chunk) -> Value {
        let mut candidate = Map::new();
        candidate.insert("content".to_owned(), json!({ "parts": chunk.parts, "role": "model" }));
        for (name, value) in [
            ("finishReason", chunk.finish_reason.map(Value::from)),
            ("groundingMetadata", chunk.grounding),
            ("logprobsResult", chunk.logprobs),
        ] {
            candidate.extend(value.map(|value| (name.to_owned(), value)));
        }
        candidate.insert("index".to_owned(), 0.into());
        let id = self.id.as_deref().filter(|id| !id.is_empty()).unwrap_or(&self.asked.id);
        let mut body = json!({ "candidates": [candidate], "modelVersion": self.asked.model, "responseId": id });
        if let Some(usage) = chunk.usage {
            body["usageMetadata"] = usage;
        }
        body
    }
}

fn function_call(call: &ToolCall) -> Value {
    let id = ids::told(Format::Gemini, &call.id, None);
    let mut part = json!({ "functionCall": { "id": id, "name": call.name, "args": call.input_object() } });
    if let Some(signature) = &call.signature {
        part["thoughtSignature"] = signature::told(signature).into();
    }
    part
}

fn logprobs(tokens: &[TokenLogprob]) -> Value {
    let token = |token: &str, logprob: f64| json!({ "token": token, "logProbability": logprob });
    let chosen: Vec<Value> = tokens.iter().map(|said| token(&said.token, said.logprob)).collect();
    let mut result = json!({ "chosenCandidates": chosen });
    if tokens.iter().any(|said| !said.top.is_empty()) {
        let top = tokens.iter().map(|said| {
            let candidates: Vec<Value> = said.top.iter().map(|(word, logprob)| token(word, *logprob)).collect();
            json!({ "candidates": candidates })
        });
        result["topCandidates"] = top.collect();
    }
    result
}

impl WriteStream for Stream {
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        let mut told = Vec::new();
        self.event(event, &mut |chunk| told.push(chunk));
        for chunk in told {
            out.extend_from_slice(&super::events::event(&self.body(chunk)));
        }
    }

    fn fail(&mut self, error: &ErrorAnswer, out: &mut Vec<u8>) {
        out.extend_from_slice(&error::events(&error::body(error, None), None, None));
    }
}
