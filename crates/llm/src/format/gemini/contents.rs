//! Writing a conversation for a provider.

use serde::Serialize;

use super::models::Model;
use super::{media, signature};
use crate::format::{Format, ids};
use crate::neutral::turns::{Answered, Turn, turns};
use crate::neutral::{
    Feature, Json, Losses, Media, Part as Said, Request, Role, Source, Text, Thinking, ToolCall, ToolResult,
    Unsupported,
};

/// The longest id of a call that is taken.
const LONGEST_ID: usize = usize::MAX;

/// What one side says.
#[derive(Debug, Serialize)]
pub(super) struct Content {
    pub(super) role: &'static str,
    pub(super) parts: Vec<Part>,
}

/// A part of it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<Blob>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<FunctionResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<String>,
    /// A part as Google wrote it.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    native: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    mime_type: String,
    data: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    mime_type: String,
    file_uri: String,
}

#[derive(Debug, Serialize)]
struct FunctionCall {
    id: String,
    name: String,
    args: Json,
}

#[derive(Debug, Serialize)]
struct FunctionResponse {
    id: String,
    name: String,
    response: Response,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
}

/// What a tool said.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Response {
    Result(String),
    Error(String),
}

impl Part {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }
}

/// Writes the conversation.
pub(super) fn contents(request: &Request, model: Model, losses: &mut Losses) -> Result<Vec<Content>, Unsupported> {
    let mut conversation = Conversation { losses, model, ids: Vec::new(), contents: Vec::new() };
    conversation.write(request)?;
    Ok(conversation.contents)
}

struct Conversation<'l> {
    losses: &'l mut Losses,
    model: Model,
    /// The ids of the last turn's calls.
    ids: Vec<String>,
    contents: Vec<Content>,
}

impl Conversation<'_> {
    fn write(&mut self, request: &Request) -> Result<(), Unsupported> {
        for turn in turns(request) {
            let parts = match turn.role {
                Role::Assistant => self.assistant(&turn)?,
                Role::User => self.user(&turn)?,
                Role::System => self.system(&turn)?,
            };
            self.add(if turn.role == Role::Assistant { "model" } else { "user" }, parts);
        }
        if self.contents.first().is_none_or(|first| first.role == "model") {
            // A conversation begins with the user.
            self.contents.insert(0, Content { role: "user", parts: vec![Part::text("Continue.")] });
        }
        if self.contents.last().is_some_and(|last| last.role == "model") {
            // Models of this format begin a new answer.
            self.losses.lose(Feature::Prefill, "messages")?;
            let ask = "Go on exactly where your last message ends, and do not repeat any of it.";
            self.add("user", vec![Part::text(ask)]);
        }
        Ok(())
    }

    fn add(&mut self, role: &'static str, mut parts: Vec<Part>) {
        if parts.is_empty() {
            return;
        }
        match self.contents.last_mut() {
            Some(last) if last.role == role => last.parts.append(&mut parts),
            _ => self.contents.push(Content { role, parts }),
        }
    }

    fn assistant(&mut self, turn: &Turn<'_>) -> Result<Vec<Part>, Unsupported> {
        let mut parts: Vec<Part> = Vec::new();
        self.ids.clear();
        for part in &turn.parts {
            match part {
                Said::Text(text) if text.text.is_empty() => {}
                Said::Text(text) => parts.push(Part::text(&text.text)),
                Said::Refusal(words) => {
                    self.losses.lose(Feature::Refusals, "messages")?;
                    parts.extend((!words.is_empty()).then(|| Part::text(words)));
                }
                Said::Thinking(thought) => self.thought(thought, &mut parts)?,
                Said::ToolCall(call) => {
                    let call = self.call(call);
                    parts.push(call);
                }
                Said::Native(Format::Gemini, part) => {
                    let native = part.to_value().as_object().cloned();
                    parts.push(Part { native, ..Part::default() });
                }
                Said::Native(..) => self.losses.lose(Feature::VendorBlocks, "messages")?,
                Said::Media(media) => self.media(media, &mut parts)?,
                Said::ToolResult(result) => self.stray(result, &mut parts)?,
            }
        }
        // Of calls made at once the first is signed. One that another model made, or that lost its signature, says so.
        if self.model.wants_signatures()
            && let Some(first) = parts.iter_mut().find(|part| part.function_call.is_some())
        {
            first.thought_signature.get_or_insert_with(|| signature::MISSING.to_owned());
        }
        Ok(parts)
    }

    /// A thought of this vendor's. Others' mean nothing to it.
    fn thought(&mut self, thought: &Thinking, parts: &mut Vec<Part>) -> Result<(), Unsupported> {
        if let Some(data) = signature::of_text(thought) {
            let signature = Some(data.to_owned());
            match parts
                .last_mut()
                .filter(|part| part.text.is_some() && !part.thought && part.thought_signature.is_none())
            {
                Some(text) => text.thought_signature = signature,
                None => parts.push(Part { thought_signature: signature, ..Part::text("") }),
            }
            return Ok(());
        }
        let Some(signature) = thought.signature.as_ref().filter(|signature| signature.by == Format::Gemini) else {
            return self.losses.lose(Feature::ThinkingReplay, "messages");
        };
        let thought_signature = Some(signature.data.clone()).filter(|data| !data.is_empty());
        if !thought.text.is_empty() || thought_signature.is_some() {
            parts.push(Part { thought: true, thought_signature, ..Part::text(&thought.text) });
        }
        Ok(())
    }

    fn call(&mut self, call: &ToolCall) -> Part {
        let given = if call.id.is_empty() { format!("call_{}", self.ids.len()) } else { call.id.clone() };
        let id = ids::fitting(&given, LONGEST_ID);
        self.ids.push(id.clone());
        let signature = call.signature.as_ref().filter(|signature| signature.by == Format::Gemini);
        Part {
            function_call: Some(FunctionCall { id, name: call.name.clone(), args: call.input_object() }),
            thought_signature: signature.map(|signature| signature.data.clone()),
            ..Part::default()
        }
    }

    fn user(&mut self, turn: &Turn<'_>) -> Result<Vec<Part>, Unsupported> {
        let ids = std::mem::take(&mut self.ids);
        let mut parts = Vec::new();
        let mut attached = Vec::new();
        for (answer, id) in turn.answers.iter().zip(ids) {
            let answer = self.answer(answer, id, &mut attached)?;
            parts.push(answer);
        }
        parts.append(&mut attached);
        for part in &turn.parts {
            self.said(part, &mut parts)?;
        }
        Ok(parts)
    }

    /// What the operator says in the middle of a conversation.
    fn system(&mut self, turn: &Turn<'_>) -> Result<Vec<Part>, Unsupported> {
        let mut parts = Vec::new();
        for part in &turn.parts {
            match part {
                Said::Text(text) if text.text.is_empty() => {}
                Said::Text(text) => parts.push(Part::text(format!("<system>\n{}\n</system>", text.text))),
                part => self.said(part, &mut parts)?,
            }
        }
        if !parts.is_empty() {
            self.losses.lose(Feature::SystemTurns, "messages")?;
        }
        Ok(parts)
    }

    fn said(&mut self, part: &Said, parts: &mut Vec<Part>) -> Result<(), Unsupported> {
        match part {
            Said::Text(text) => {
                parts.extend((!text.text.is_empty()).then(|| Part::text(&text.text)));
                Ok(())
            }
            Said::Media(media) => self.media(media, parts),
            Said::ToolResult(result) => self.stray(result, parts),
            Said::Native(Format::Gemini, part) => {
                parts.push(Part { native: part.to_value().as_object().cloned(), ..Part::default() });
                Ok(())
            }
            Said::Native(..) => self.losses.lose(Feature::VendorBlocks, "messages"),
            // Only models do this.
            Said::Refusal(_) | Said::Thinking(_) | Said::ToolCall(_) => Ok(()),
        }
    }

    /// What came of a call. Media that the model does not take there follow behind all answers.
    fn answer(&mut self, answer: &Answered<'_>, id: String, attached: &mut Vec<Part>) -> Result<Part, Unsupported> {
        let name = answer.call.name.clone();
        let Some(result) = answer.result else {
            let response = Response::Error("The call was interrupted: there is no result.".to_owned());
            let function_response = Some(FunctionResponse { id, name, response, parts: Vec::new() });
            return Ok(Part { function_response, ..Part::default() });
        };
        let mut text = String::new();
        let mut inside = Vec::new();
        for part in &result.parts {
            match part {
                Said::Text(Text { text: said, .. }) => {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(said);
                }
                part => self.said(part, &mut inside)?,
            }
        }
        if !inside.is_empty() && !self.model.takes_media_in_results() {
            self.losses.lose(Feature::MediaInToolResults, "messages")?;
            attached.push(Part::text(format!("Attached to the result of {name}:")));
            attached.append(&mut inside);
            if text.is_empty() {
                "The result is attached.".clone_into(&mut text);
            }
        }
        let response = if result.is_error { Response::Error(text) } else { Response::Result(text) };
        let function_response = Some(FunctionResponse { id, name, response, parts: inside });
        Ok(Part { function_response, ..Part::default() })
    }

    /// A result that no call asked for.
    fn stray(&mut self, result: &ToolResult, parts: &mut Vec<Part>) -> Result<(), Unsupported> {
        let tool = result.name.as_deref().unwrap_or("a tool");
        parts.push(Part::text(format!("Result of {tool}:")));
        for part in &result.parts {
            self.said(part, parts)?;
        }
        Ok(())
    }

    fn media(&mut self, media: &Media, parts: &mut Vec<Part>) -> Result<(), Unsupported> {
        if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
            self.losses.lose(Feature::ImageDetail, "messages")?;
        }
        let usual = || media::usual(media.kind).to_owned();
        let part = match &media.source {
            Source::Base64(data) => {
                let mime_type = media.media_type.clone().unwrap_or_else(usual);
                Part { inline_data: Some(Blob { mime_type, data: data.clone() }), ..Part::default() }
            }
            Source::PlainText(text) => {
                let name = media.name.as_deref().map(|name| format!(" title=\"{name}\"")).unwrap_or_default();
                Part::text(format!("<document{name}>\n{text}\n</document>"))
            }
            // The provider fetches it, and wants to know beforehand what it is.
            Source::Url(address) => {
                let known = media.media_type.clone().or_else(|| media::of_address(address).map(str::to_owned));
                if known.is_none() {
                    let is_image = media.kind == crate::neutral::MediaKind::Image;
                    let feature = if is_image { Feature::ImageUrls } else { Feature::DocumentUrls };
                    self.losses.lose(feature, "messages")?;
                }
                let mime_type = known.unwrap_or_else(usual);
                Part { file_data: Some(File { mime_type, file_uri: address.clone() }), ..Part::default() }
            }
            Source::File(Format::Gemini, address) => {
                let mime_type = media.media_type.clone().unwrap_or_else(usual);
                Part { file_data: Some(File { mime_type, file_uri: address.clone() }), ..Part::default() }
            }
            Source::File(..) => return self.losses.lose(Feature::Files, "messages"),
        };
        parts.push(part);
        Ok(())
    }
}
