//! What is said in a conversation with a model.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use systemprompt_llm::neutral::{Media, MediaKind, Message, Part, Role, Source, Text, ToolResult};

/// Whose a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageRole {
    /// The program's that asks: how the model is to behave.
    System,
    /// The person's, or the program's that asks. Results of tools are theirs too.
    User,
    /// The model's.
    Assistant,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct AiMessage {
    /// Whose it is.
    pub role: MessageRole,
    /// What it says in words.
    pub content: String,
    /// What it says besides, behind the words: images, documents, calls of tools and their results.
    pub parts: Vec<Part>,
}

impl AiMessage {
    /// What the model is told before a conversation, or in the middle of it.
    pub fn system(content: impl Into<String>) -> Self {
        Self::of(MessageRole::System, content)
    }

    /// What the user says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::of(MessageRole::User, content)
    }

    /// What the model said in an earlier turn, in words. What it really said is
    /// [`AiResponse::message`](super::AiResponse::message).
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::of(MessageRole::Assistant, content)
    }

    /// The results of the tools that the model called.
    pub fn tool_results(results: impl IntoIterator<Item = ToolResult>) -> Self {
        let parts = results.into_iter().map(Part::ToolResult).collect();
        Self { role: MessageRole::User, content: String::new(), parts }
    }

    fn of(role: MessageRole, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), parts: Vec::new() }
    }

    /// The same with this behind it.
    #[must_use]
    pub fn with_part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// The same with an image behind it, of a media type such as `image/png`.
    #[must_use]
    pub fn with_image(self, media_type: impl Into<String>, bytes: &[u8]) -> Self {
        self.with_part(Part::Media(Media {
            kind: MediaKind::Image,
            media_type: Some(media_type.into()),
            source: Source::Base64(BASE64_STANDARD.encode(bytes)),
            name: None,
            detail: None,
            cache: None,
        }))
    }

    /// Whether it has an image.
    pub(super) fn has_image(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Media(media) if media.kind == MediaKind::Image))
    }

    /// The message in neutral words.
    pub(super) fn spoken(&self) -> Message {
        let text = (!self.content.is_empty()).then(|| Part::Text(Text::plain(self.content.clone())));
        let role = match self.role {
            MessageRole::System => Role::System,
            MessageRole::User => Role::User,
            MessageRole::Assistant => Role::Assistant,
        };
        Message { role, parts: text.into_iter().chain(self.parts.iter().cloned()).collect() }
    }
}
