//! What messages are made of.

use super::json::Json;
use super::sealed::Signature;
use crate::format::Format;

/// A part of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text.
    Text(Text),
    /// The model declined, in its words.
    Refusal(String),
    /// An image, sound, film or document.
    Media(Media),
    /// The model wants a tool called.
    ToolCall(ToolCall),
    /// What came of a call.
    ToolResult(ToolResult),
    /// What the model thought.
    Thinking(Thinking),
    /// Something only this format knows, as it stands there: a call of a vendor's own tool, its result, a container.
    Native(Format, Json),
}

/// A text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Text {
    /// The words.
    pub text: String,
    /// Where they come from.
    pub citations: Vec<Citation>,
    /// The prompt up to here shall be cached.
    pub cache: Option<CacheMark>,
}

impl Text {
    /// A text and nothing else.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// Where a text comes from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Citation {
    /// The address of the source.
    pub uri: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// The words it says.
    pub snippet: Option<String>,
    /// Which characters of the text it is about, from and up to.
    pub span: Option<(u64, u64)>,
}

/// A wish that the prompt up to a place be kept in the provider's cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheMark {
    /// For the usual five minutes.
    #[default]
    Short,
    /// For an hour.
    Hour,
}

/// An image, sound, film or document.
#[derive(Debug, Clone, PartialEq)]
pub struct Media {
    /// What it is.
    pub kind: MediaKind,
    /// Its media type, such as `image/png`, if it is known.
    pub media_type: Option<String>,
    /// Where its bytes are.
    pub source: Source,
    /// A file name or title.
    pub name: Option<String>,
    /// How closely an image is to be looked at: `low`, `high`, `auto` or a vendor's further word.
    pub detail: Option<String>,
    /// The prompt up to here shall be cached.
    pub cache: Option<CacheMark>,
}

/// What a [`Media`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// An image.
    Image,
    /// Sound.
    Audio,
    /// A film.
    Video,
    /// A document: PDF, plain text.
    Document,
}

/// Where the bytes of a [`Media`] are.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Here, in Base64.
    Base64(String),
    /// Here, a document of plain text.
    PlainText(String),
    /// At an address the provider fetches from.
    Url(String),
    /// In the vendor's own store of files, under this id.
    File(Format, String),
}

/// The model wants a tool called.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// Which call it is; a result names it.
    pub id: String,
    /// The name of the tool.
    pub name: String,
    /// The input as JSON text, as the model wrote it; of a [`custom`](Self::custom) tool the plain text.
    pub input: String,
    /// The tool takes text and not JSON.
    pub custom: bool,
    /// What the provider wants to see again with the call.
    pub signature: Option<Signature>,
    /// The prompt up to here shall be cached.
    pub cache: Option<CacheMark>,
}

impl ToolCall {
    /// The input as a JSON object. What a model wrote is not always one: nothing becomes an empty object, and anything else
    /// the value of `input`.
    pub fn input_object(&self) -> Json {
        let text = self.input.trim();
        if text.is_empty() {
            return Json::empty_object();
        }
        match Json::parse(text) {
            Some(json) if json.is_object() && !self.custom => json,
            Some(json) if !self.custom => Json::of(&serde_json::json!({ "input": json })),
            _ => Json::of(&serde_json::json!({ "input": self.input })),
        }
    }
}

impl ToolCall {
    /// The input of a call of a tool that takes text, as the text: where the tool was offered as a function, what its
    /// `input` says.
    pub fn input_text(&self) -> String {
        let said = || serde_json::from_str::<serde_json::Value>(&self.input).ok()?["input"].as_str().map(str::to_owned);
        if self.custom { self.input.clone() } else { said().unwrap_or_else(|| self.input.clone()) }
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// The call.
    pub call_id: String,
    /// The name of the tool, where the format says it, or where it is known from the call.
    pub name: Option<String>,
    /// What the tool answered: texts and media.
    pub parts: Vec<Part>,
    /// The call failed.
    pub is_error: bool,
    /// The tool takes text and not JSON.
    pub custom: bool,
    /// The prompt up to here shall be cached.
    pub cache: Option<CacheMark>,
}

/// What the model thought.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Thinking {
    /// In words, as far as it is told.
    pub text: String,
    /// The proof, or the encrypted thought, that its provider wants to see again. Without one it can be shown and not
    /// replayed.
    pub signature: Option<Signature>,
    /// Nothing of it is told in words.
    pub redacted: bool,
}
