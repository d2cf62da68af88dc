//! Writing a conversation for a provider.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use super::models::Model;
use crate::format::{Format, ids};
use crate::neutral::turns::{Answered, Turn, turns};
use crate::neutral::{
    CacheMark, Feature, Json, Losses, Media, MediaKind, Part, Request, Role, Source, Thinking, ToolResult, Unsupported,
};

/// The longest id of a call that is taken.
const LONGEST_ID: usize = 64;
/// The longest name of a document.
const LONGEST_NAME: usize = 200;

/// What one side says.
#[derive(Debug, Serialize)]
pub(super) struct Message {
    pub(super) role: &'static str,
    pub(super) content: Vec<Block>,
}

/// A block of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Block {
    Text(String),
    Image(Value),
    Document(Value),
    Video(Value),
    Audio(Value),
    ToolUse(ToolUse),
    ToolResult(Answer),
    ReasoningContent(Value),
    CachePoint(Value),
}

#[derive(Debug, Serialize)]
pub(super) struct ToolUse {
    #[serde(rename = "toolUseId")]
    id: String,
    pub(super) name: String,
    input: Json,
}

#[derive(Debug, Serialize)]
pub(super) struct Answer {
    #[serde(rename = "toolUseId")]
    id: String,
    content: Vec<Block>,
    status: &'static str,
}

/// The mark up to which a prompt is cached.
pub(super) fn cache_point(mark: CacheMark) -> Value {
    match mark {
        CacheMark::Short => json!({ "type": "default" }),
        CacheMark::Hour => json!({ "type": "default", "ttl": "1h" }),
    }
}

/// Writes the conversation.
pub(super) fn messages(request: &Request, model: Model, losses: &mut Losses) -> Result<Vec<Message>, Unsupported> {
    let mut conversation = Conversation { losses, model, ids: Vec::new(), documents: 0, messages: Vec::new() };
    conversation.write(request)?;
    Ok(conversation.messages)
}

struct Conversation<'l> {
    losses: &'l mut Losses,
    model: Model,
    /// The ids of the last turn's calls.
    ids: Vec<String>,
    /// How many documents there were. The vendor wants their names to differ.
    documents: usize,
    messages: Vec<Message>,
}

impl Conversation<'_> {
    fn write(&mut self, request: &Request) -> Result<(), Unsupported> {
        for turn in turns(request) {
            let blocks = match turn.role {
                Role::Assistant => self.assistant(&turn)?,
                Role::User => self.user(&turn)?,
                Role::System => self.system(&turn)?,
            };
            self.add(if turn.role == Role::Assistant { "assistant" } else { "user" }, blocks);
        }
        if self.messages.first().is_none_or(|first| first.role == "assistant") {
            // A conversation begins with the user.
            self.messages.insert(0, Message { role: "user", content: vec![Block::Text("Continue.".to_owned())] });
        }
        if self.messages.last().is_some_and(|last| last.role == "assistant") {
            self.prefill()?;
        }
        for message in &mut self.messages {
            // A document does not stand alone.
            let is_text = |block: &Block| matches!(block, Block::Text(_));
            let has_document = message.content.iter().any(|block| matches!(block, Block::Document(_)));
            if has_document && !message.content.iter().any(is_text) {
                message.content.push(Block::Text("See the document.".to_owned()));
            }
        }
        Ok(())
    }

    fn prefill(&mut self) -> Result<(), Unsupported> {
        if self.model.takes_prefill() {
            // It may not end in blanks.
            if let Some(Block::Text(text)) = self.messages.last_mut().and_then(|last| last.content.last_mut()) {
                text.truncate(text.trim_end().len());
            }
            return Ok(());
        }
        let ask = "Go on exactly where your last message ends, and do not repeat any of it.";
        self.add("user", vec![Block::Text(ask.to_owned())]);
        self.losses.lose(Feature::Prefill, "messages")
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

    fn assistant(&mut self, turn: &Turn<'_>) -> Result<Vec<Block>, Unsupported> {
        let mut blocks = Vec::new();
        self.ids.clear();
        for part in &turn.parts {
            match part {
                Part::Text(text) => self.text(&text.text, text.cache, &mut blocks)?,
                Part::Refusal(words) => {
                    self.losses.lose(Feature::Refusals, "messages")?;
                    self.text(words, None, &mut blocks)?;
                }
                Part::Thinking(thought) => match self.own_thinking(thought) {
                    Some(block) => blocks.push(Block::ReasoningContent(block)),
                    None => self.losses.lose(Feature::ThinkingReplay, "messages")?,
                },
                Part::ToolCall(call) => {
                    let given = if call.id.is_empty() { format!("call_{}", self.ids.len()) } else { call.id.clone() };
                    let id = ids::fitting(&given, LONGEST_ID);
                    self.ids.push(id.clone());
                    let (name, input) = (call.name.clone(), call.input_object());
                    blocks.push(Block::ToolUse(ToolUse { id, name, input }));
                    self.mark(call.cache, &mut blocks)?;
                }
                Part::Native(..) => self.losses.lose(Feature::VendorBlocks, "messages")?,
                Part::Media(media) => self.media(media, &mut blocks)?,
                Part::ToolResult(result) => self.stray(result, &mut blocks)?,
            }
        }
        Ok(blocks)
    }

    /// A thought that this provider's model had, or that a Claude had elsewhere. Others' mean nothing to it.
    fn own_thinking(&self, thought: &Thinking) -> Option<Value> {
        let signature = thought.signature.as_ref()?;
        let data = match signature.by {
            Format::AnthropicMessages if !matches!(self.model, Model::Claude(_)) => return None,
            // There it is a text, and here the bytes of it.
            Format::AnthropicMessages if thought.redacted => BASE64_STANDARD.encode(&signature.data),
            Format::BedrockConverse | Format::AnthropicMessages => signature.data.clone(),
            _ => return None,
        };
        Some(if thought.redacted {
            json!({ "redactedContent": data })
        } else {
            json!({ "reasoningText": { "text": thought.text, "signature": data } })
        })
    }

    fn user(&mut self, turn: &Turn<'_>) -> Result<Vec<Block>, Unsupported> {
        let ids = std::mem::take(&mut self.ids);
        let mut blocks = Vec::new();
        for (answer, id) in turn.answers.iter().zip(ids) {
            self.answer(answer, id, &mut blocks)?;
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
                    self.text(&format!("<system>\n{}\n</system>", text.text), text.cache, &mut blocks)?;
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
            Part::Text(text) => self.text(&text.text, text.cache, blocks),
            Part::Media(media) => self.media(media, blocks),
            Part::ToolResult(result) => self.stray(result, blocks),
            Part::Native(..) => self.losses.lose(Feature::VendorBlocks, "messages"),
            // Only models do this.
            Part::Refusal(_) | Part::Thinking(_) | Part::ToolCall(_) => Ok(()),
        }
    }

    /// Adds a text. One of blanks alone is refused by the vendor, and says nothing.
    fn text(&mut self, text: &str, cache: Option<CacheMark>, blocks: &mut Vec<Block>) -> Result<(), Unsupported> {
        if !text.trim().is_empty() {
            blocks.push(Block::Text(text.to_owned()));
        }
        self.mark(cache, blocks)
    }

    fn mark(&mut self, cache: Option<CacheMark>, blocks: &mut Vec<Block>) -> Result<(), Unsupported> {
        match cache {
            None => Ok(()),
            Some(mark) if self.model.takes_cache_points() => {
                // There has to be something before it.
                blocks.extend((!blocks.is_empty()).then(|| Block::CachePoint(cache_point(mark))));
                Ok(())
            }
            Some(_) => self.losses.lose(Feature::CacheControl, "cache_control"),
        }
    }

    fn answer(&mut self, answer: &Answered<'_>, id: String, blocks: &mut Vec<Block>) -> Result<(), Unsupported> {
        let Some(result) = answer.result else {
            let words = "The call was interrupted: there is no result.".to_owned();
            let content = vec![Block::Text(words)];
            blocks.push(Block::ToolResult(Answer { id, content, status: "error" }));
            return Ok(());
        };
        let mut content = Vec::new();
        for part in &result.parts {
            match part {
                // Marks stand behind the result alone.
                Part::Text(text) => self.text(&text.text, None, &mut content)?,
                part => self.said(part, &mut content)?,
            }
        }
        content.retain(|block| !matches!(block, Block::CachePoint(_)));
        let (mut inside, outside): (Vec<_>, Vec<_>) =
            content.into_iter().partition(|block| !matches!(block, Block::Audio(_)));
        if inside.is_empty() {
            inside.push(Block::Text("(nothing)".to_owned()));
        }
        let status = if result.is_error { "error" } else { "success" };
        blocks.push(Block::ToolResult(Answer { id, content: inside, status }));
        if !outside.is_empty() {
            self.losses.lose(Feature::MediaInToolResults, "messages")?;
            blocks.extend(outside);
        }
        self.mark(result.cache, blocks)
    }

    /// A result that no call asked for.
    fn stray(&mut self, result: &ToolResult, blocks: &mut Vec<Block>) -> Result<(), Unsupported> {
        let tool = result.name.as_deref().unwrap_or("a tool");
        blocks.push(Block::Text(format!("Result of {tool}:")));
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
            Source::Base64(data) => json!({ "bytes": data }),
            Source::PlainText(text) => json!({ "text": text }),
            Source::Url(address) if address.starts_with("s3://") => json!({ "s3Location": { "uri": address } }),
            // The provider fetches from nowhere else.
            Source::Url(_) => {
                let is_document = media.kind == MediaKind::Document;
                let feature = if is_document { Feature::DocumentUrls } else { Feature::ImageUrls };
                return self.losses.lose(feature, "messages");
            }
            Source::File(..) => return self.losses.lose(Feature::Files, "messages"),
        };
        let word = media.media_type.as_deref().and_then(|kind| kind.split(';').next()?.rsplit('/').next());
        let (feature, format) = match media.kind {
            MediaKind::Image => {
                let format = match word.unwrap_or("png") {
                    "jpg" | "jpeg" => Some("jpeg"),
                    "png" => Some("png"),
                    "gif" => Some("gif"),
                    "webp" => Some("webp"),
                    _ => None,
                };
                (Feature::Images, format)
            }
            MediaKind::Document => (Feature::Documents, document_format(media)),
            MediaKind::Video => {
                let known = ["mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv"];
                (Feature::Video, known.into_iter().find(|known| *known == word.unwrap_or("mp4")))
            }
            MediaKind::Audio => {
                let known = ["mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "m4a", "mpeg", "webm"];
                (
                    Feature::Audio,
                    known.into_iter().find(|known| *known == word.unwrap_or("wav").trim_start_matches("x-")),
                )
            }
        };
        let Some(format) = format else { return self.losses.lose(feature, "messages") };
        let block = json!({ "format": format, "source": source });
        blocks.push(match media.kind {
            MediaKind::Image => Block::Image(block),
            MediaKind::Video => Block::Video(block),
            MediaKind::Audio => Block::Audio(block),
            MediaKind::Document => {
                self.documents += 1;
                let mut document = block;
                document["name"] = document_name(media.name.as_deref(), self.documents).into();
                Block::Document(document)
            }
        });
        self.mark(media.cache, blocks)
    }
}

fn document_format(media: &Media) -> Option<&'static str> {
    let usual = if matches!(media.source, Source::PlainText(_)) { "text/plain" } else { "application/pdf" };
    Some(match media.media_type.as_deref().unwrap_or(usual).split(';').next()? {
        "application/pdf" => "pdf",
        "text/csv" => "csv",
        "text/html" => "html",
        "text/markdown" => "md",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "application/json" => "txt",
        kind if kind.starts_with("text/") => "txt",
        _ => return None,
    })
}

/// A name that the vendor takes: letters, digits, single blanks, hyphens, brackets; and unlike the others.
fn document_name(name: Option<&str>, number: usize) -> String {
    let taken = |letter: char| letter.is_ascii_alphanumeric() || "-()[]".contains(letter);
    let words: Vec<String> = name
        .unwrap_or("document")
        .split(|letter| !taken(letter))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let mut name = words.join(" ");
    name.truncate(LONGEST_NAME - 24);
    if number > 1 || name.trim().is_empty() { format!("{} {number}", name.trim()).trim().to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_names_that_are_taken() {
        for (name, number, expected) in [
            (Some("Q3_report (final).pdf"), 1, "Q3 report (final) pdf"),
            (None, 1, "document"),
            (None, 2, "document 2"),
            (Some("世界"), 3, "3"),
        ] {
            assert_eq!(document_name(name, number), expected);
        }
        assert!(document_name(Some(&"x".repeat(500)), 9).len() <= LONGEST_NAME);
    }
}
