//! Messages and blocks of a request, as they are written.

use serde::{Serialize, Serializer};

use crate::neutral::{CacheMark, Json, MediaKind};

/// A message.
#[derive(Debug, Serialize)]
pub(super) struct Message {
    pub(super) role: &'static str,
    pub(super) content: Vec<Block>,
}

/// A block of content.
#[derive(Debug)]
pub(super) enum Block {
    /// One that is made here.
    Made(Box<Made>),
    /// One that passes through.
    Native(Json),
}

/// A block that is made here: what its kind has of these.
#[derive(Debug, Default, Serialize)]
pub(super) struct Made {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_use_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Vec<Block>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

impl Serialize for Block {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Made(made) => made.serialize(serializer),
            Self::Native(json) => json.serialize(serializer),
        }
    }
}

impl Block {
    pub(super) fn text(text: &str) -> Self {
        Self::made(Made { r#type: "text", text: Some(text.to_owned()), ..Made::default() })
    }

    pub(super) fn image(source: Source) -> Self {
        Self::made(Made { r#type: "image", source: Some(source), ..Made::default() })
    }

    pub(super) fn document(source: Source, title: Option<String>) -> Self {
        Self::made(Made { r#type: "document", source: Some(source), title, ..Made::default() })
    }

    pub(super) fn thinking(thinking: String, signature: String) -> Self {
        let (thinking, signature) = (Some(thinking), Some(signature));
        Self::made(Made { r#type: "thinking", thinking, signature, ..Made::default() })
    }

    pub(super) fn redacted(data: String) -> Self {
        Self::made(Made { r#type: "redacted_thinking", data: Some(data), ..Made::default() })
    }

    pub(super) fn tool_use(id: String, name: String, input: Json) -> Self {
        let (id, name, input) = (Some(id), Some(name), Some(input));
        Self::made(Made { r#type: "tool_use", id, name, input, ..Made::default() })
    }

    pub(super) fn tool_result(tool_use_id: String, content: Vec<Self>, is_error: bool) -> Self {
        let content = Some(content).filter(|content| !content.is_empty());
        let tool_use_id = Some(tool_use_id);
        Self::made(Made { r#type: "tool_result", tool_use_id, content, is_error, ..Made::default() })
    }

    fn made(made: Made) -> Self {
        Self::Made(Box::new(made))
    }

    /// With a mark for the cache.
    pub(super) fn cached(mut self, mark: Option<CacheMark>) -> Self {
        if let Self::Made(made) = &mut self {
            made.cache_control = mark.map(CacheControl::of);
        }
        self
    }

    /// The places for marks, of the block and of those in it, in the order of the prompt.
    pub(super) fn cache_marks(&mut self) -> Vec<&mut Option<CacheControl>> {
        let Self::Made(made) = self else { return Vec::new() };
        let inside = made.content.iter_mut().flatten().flat_map(Self::cache_marks);
        inside.chain(std::iter::once(&mut made.cache_control)).collect()
    }

    /// What a block of text says.
    pub(super) fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Made(made) => made.text.as_mut(),
            Self::Native(_) => None,
        }
    }
}

/// Where the bytes of an image or document are.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source {
    Base64 { media_type: String, data: String },
    Text { media_type: &'static str, data: String },
    Url { url: String },
    File { file_id: String },
}

impl Source {
    pub(super) fn base64(media_type: Option<&str>, kind: MediaKind, data: &str) -> Self {
        let usual = if kind == MediaKind::Image { "image/png" } else { "application/pdf" };
        Self::Base64 { media_type: media_type.unwrap_or(usual).to_owned(), data: data.to_owned() }
    }

    pub(super) fn plain_text(text: &str) -> Self {
        Self::Text { media_type: "text/plain", data: text.to_owned() }
    }

    pub(super) fn url(url: &str) -> Self {
        Self::Url { url: url.to_owned() }
    }

    pub(super) fn file(id: &str) -> Self {
        Self::File { file_id: id.to_owned() }
    }
}

/// A mark that the prompt up to here shall be cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct CacheControl {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

impl CacheControl {
    pub(super) fn of(mark: CacheMark) -> Self {
        Self { r#type: "ephemeral", ttl: (mark == CacheMark::Hour).then_some("1h") }
    }
}
