//! What the gateway needs to know of a request, read in one pass over the caller's bytes.

mod conversation;
mod fields;

use std::borrow::Cow;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Format;
use fields::{Field, Seen};
use systemprompt_model::json::{self, Cursor, Kind, MAX_DEPTH, Member, Span, SyntaxError};

/// An inference request: the facts routing, limits and the ledger ask for, and the caller's untouched bytes.
#[derive(Debug, Clone)]
pub struct InferenceRequest {
    /// The format of the body.
    pub format: Format,
    /// The model the caller asked for, 1 to 256 bytes.
    pub model: String,
    /// Whether the caller wants the answer as a stream of events.
    pub stream: bool,
    /// The output limit the caller set, in tokens; always present in `anthropic-messages`.
    pub max_tokens: Option<u64>,
    /// The number of tools offered.
    pub tools: usize,
    /// Whether extended thinking (`anthropic-messages`) or reasoning (`openai-chat`) was asked for.
    pub thinking: bool,
    /// How hard the model is asked to think, named by the caller or derived from a thinking budget.
    pub reasoning_effort: Option<Effort>,
    /// The form the answer must have.
    pub response_format: ResponseFormat,
    /// The sampling temperature.
    pub temperature: Option<f64>,
    /// The nucleus sampling threshold.
    pub top_p: Option<f64>,
    /// Texts that end the answer.
    pub stop_sequences: Vec<String>,
    /// The number of messages, at least one.
    pub message_count: usize,
    /// Characters of all text divided by four, plus 1,000 for each inline image, sound or file.
    pub estimated_input_tokens: u64,
    /// What stays the same through a conversation: FNV-1a 64 over system text, role and content of the first message.
    pub conversation_key: u64,
    pub(crate) body: Bytes,
    pub(crate) layout: Layout,
}

/// How hard a model is asked to think. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Not at all.
    None,
    /// As little as the model can.
    Minimal,
    /// Little.
    Low,
    /// The usual amount.
    Medium,
    /// Much.
    High,
    /// More than `high`.
    Xhigh,
    /// As much as the model can.
    Max,
}

impl Effort {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "minimal" => Some(Self::Minimal),
            "low" => Some(Self::Low),
            "medium" => Some(Self::Medium),
            "high" => Some(Self::High),
            "xhigh" => Some(Self::Xhigh),
            "max" => Some(Self::Max),
            _ => None,
        }
    }

    /// The steps at which a thinking budget, in tokens, stands for an effort.
    fn from_budget(tokens: u64) -> Self {
        match tokens {
            16_384.. => Self::High,
            4_096.. => Self::Medium,
            _ => Self::Low,
        }
    }
}

/// The form an answer must have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormat {
    /// Free text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that matches a schema.
    JsonSchema,
}

/// Why a body is not a request. The text names the field and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no body.
    #[error("the request body is empty; send a JSON object with `model` and `messages`")]
    Empty,
    /// The body is not UTF-8.
    #[error("the request body is not UTF-8 (first bad byte at offset {offset}); encode the JSON as UTF-8")]
    NotUtf8 {
        /// Where the first invalid byte is.
        offset: usize,
    },
    /// The body is not JSON.
    #[error("the request body is not valid JSON: expected {expected} at byte {offset}")]
    Malformed {
        /// What would have been valid there.
        expected: &'static str,
        /// Where reading stopped.
        offset: usize,
    },
    /// The body is JSON, but not an object.
    #[error("the request body must be a JSON object with `model` and `messages`")]
    NotAnObject,
    /// Arrays and objects are nested too deeply.
    #[error("the request body nests more than {MAX_DEPTH} levels deep at byte {offset}; flatten it or send it as text")]
    TooDeep {
        /// Where the limit was reached.
        offset: usize,
    },
    /// A field every request needs is not there.
    #[error("`{field}` is missing: {fix}")]
    Missing {
        /// The path of the field.
        field: Cow<'static, str>,
        /// What to send.
        fix: &'static str,
    },
    /// A field has a value it cannot have.
    #[error("`{field}` must be {expected}")]
    Invalid {
        /// The path of the field.
        field: Cow<'static, str>,
        /// What the value must be.
        expected: &'static str,
    },
    /// A field appears twice, so two readers could see two different requests.
    #[error("`{field}` appears more than once; send it once")]
    Duplicate {
        /// The path of the field.
        field: &'static str,
    },
    /// A field differs from one we edit only in case; some providers would read it in place of ours.
    #[error("`{found}` differs from `{field}` only in upper and lower case; send `{field}`")]
    MisspelledCase {
        /// The field as it was sent.
        found: String,
        /// The field it could be taken for.
        field: &'static str,
    },
}

impl RequestError {
    /// The path of the field at fault, if one is.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Missing { field, .. } | Self::Invalid { field, .. } => Some(field),
            Self::Duplicate { field } => Some(field),
            Self::MisspelledCase { found, .. } => Some(found),
            Self::Empty | Self::NotUtf8 { .. } | Self::Malformed { .. } | Self::NotAnObject | Self::TooDeep { .. } => {
                None
            }
        }
    }

    fn invalid(field: impl Into<Cow<'static, str>>, expected: &'static str) -> Self {
        Self::Invalid { field: field.into(), expected }
    }
}

impl From<SyntaxError> for RequestError {
    fn from(error: SyntaxError) -> Self {
        match error {
            SyntaxError::Expected { what, offset } => Self::Malformed { expected: what, offset },
            SyntaxError::TooDeep { offset } => Self::TooDeep { offset },
        }
    }
}

/// Where the fields are that the relay lane may edit, or that the demo model reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    pub(crate) model: Span,
    /// Value and place of each output limit. `openai-chat` has two names for it.
    pub(crate) token_limits: Vec<(u64, Span)>,
    /// The member that identifies the caller's user: `metadata.user_id` or `user`.
    pub(crate) user: Option<MemberPlace>,
    pub(crate) stream_end: Option<usize>,
    pub(crate) stream_options: StreamOptions,
    pub(crate) last_message: Span,
    pub(crate) tools: Option<Span>,
    pub(crate) tool_choice: Option<Span>,
}

/// A member of an object and its neighbours, which decide which comma leaves with it.
#[derive(Debug, Clone)]
pub(crate) struct MemberPlace {
    start: usize,
    end: usize,
    previous_end: Option<usize>,
    next_start: Option<usize>,
}

impl MemberPlace {
    fn new(member: &Member<'_>) -> Self {
        Self { start: member.start, end: member.start, previous_end: member.previous_end, next_start: None }
    }

    /// The bytes to cut so that what is left is an object without this member.
    pub(crate) fn cut(&self) -> Span {
        match (self.next_start, self.previous_end) {
            (Some(next), _) => self.start..next,
            (None, Some(previous)) => previous..self.end,
            (None, None) => self.start..self.end,
        }
    }
}

/// What the caller said in `stream_options`.
#[derive(Debug, Clone, Default)]
pub(crate) enum StreamOptions {
    #[default]
    Absent,
    Null(Span),
    Object {
        /// Just after the opening brace.
        inside: usize,
        empty: bool,
        include_usage: Option<(bool, Span)>,
    },
}

/// Inline media is paid by size in pixels or seconds, not by the length of its Base64.
const TOKENS_OF_INLINE_MEDIA: u64 = 1_000;

impl InferenceRequest {
    /// Reads a request body.
    ///
    /// The whole body must be JSON in UTF-8. Fields we read must have their documented type; fields we do not know are
    /// nobody's business. The fields we decide by may appear once only, however their key is spelled, because a provider
    /// might read the other one.
    pub fn parse(format: Format, body: Bytes) -> Result<Self, RequestError> {
        if body.trim_ascii().is_empty() {
            return Err(RequestError::Empty);
        }
        if let Err(error) = std::str::from_utf8(&body) {
            return Err(RequestError::NotUtf8 { offset: error.valid_up_to() });
        }
        let mut reader = Reader::default();
        reader.read(format, &body)?;
        reader.finish(format, body)
    }

    /// The bytes the caller sent.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The conversation's identifier where the caller did not name one: `ctx_` and the conversation key in hexadecimal.
    pub fn conversation_id(&self) -> String {
        format!("ctx_{:016x}", self.conversation_key)
    }

    /// Whether the caller wants the usage chunk at the end of an `openai-chat` stream.
    pub fn stream_usage_requested(&self) -> bool {
        matches!(self.layout.stream_options, StreamOptions::Object { include_usage: Some((true, _)), .. })
    }
}

#[derive(Default)]
struct Reader {
    seen: Seen,
    model: Option<String>,
    stream: bool,
    tools: usize,
    thinking: bool,
    effort: Option<Effort>,
    response_format: ResponseFormat,
    temperature: Option<f64>,
    top_p: Option<f64>,
    stop_sequences: Vec<String>,
    message_count: Option<usize>,
    opening: conversation::Opening,
    characters: usize,
    inline_media: u64,
    layout: Layout,
}

impl Reader {
    fn read(&mut self, format: Format, body: &[u8]) -> Result<(), RequestError> {
        let mut cursor = Cursor::new(body);
        if cursor.kind()? != Kind::Object {
            return Err(RequestError::NotAnObject);
        }
        cursor.members(|member, cursor| {
            if format == Format::OpenAiChat
                && let Some(user) = &mut self.layout.user
                && user.next_start.is_none()
            {
                user.next_start = Some(member.start);
            }
            match Field::of(format, &member.key)? {
                Some(field) => {
                    self.seen.once(field)?;
                    self.field(field, &member, cursor)
                }
                None => cursor.skip().map(drop).map_err(RequestError::from),
            }
        })?;
        Ok(cursor.end()?)
    }

    fn field(&mut self, field: Field, member: &Member<'_>, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        let kind = cursor.kind()?;
        let start = cursor.offset();
        let name = field.name();
        match (field, kind) {
            (Field::Model, Kind::String) => {
                let model = cursor.string()?.decode().into_owned();
                if model.is_empty() || model.len() > 256 {
                    return Err(RequestError::invalid(name, "a model name of 1 to 256 bytes"));
                }
                self.layout.model = start..cursor.offset();
                self.model = Some(model);
            }
            (Field::Model, _) => return Err(RequestError::invalid(name, "a string, the name of a model")),

            (Field::Messages, Kind::Array) => self.messages(cursor)?,
            (Field::Messages, _) => return Err(RequestError::invalid(name, "an array of messages")),

            (Field::MaxTokens | Field::MaxCompletionTokens, Kind::Number) => {
                match json::whole_number(cursor.number()?) {
                    Some(limit @ 1..) => self.layout.token_limits.push((limit, start..cursor.offset())),
                    _ => return Err(RequestError::invalid(name, "a whole number, 1 or more")),
                }
            }
            (Field::N, Kind::Number) => {
                if json::whole_number(cursor.number()?) != Some(1) {
                    return Err(RequestError::invalid(name, "1; send one request for each answer"));
                }
            }

            (Field::User, _) => {
                cursor.skip()?;
                self.layout.user = Some(MemberPlace { end: cursor.offset(), ..MemberPlace::new(member) });
            }
            (Field::StreamOptions, Kind::Null) => self.layout.stream_options = StreamOptions::Null(cursor.skip()?),

            // `null` means the same as leaving an optional field out.
            (_, Kind::Null) => {
                cursor.skip()?;
            }

            (Field::Stream, Kind::Bool) => {
                self.stream = cursor.boolean()?;
                self.layout.stream_end = Some(cursor.offset());
            }
            (Field::Stream, _) => return Err(RequestError::invalid(name, "true or false")),

            (Field::StreamOptions, Kind::Object) => self.stream_options(cursor)?,
            (Field::Metadata, Kind::Object) => self.metadata(cursor)?,
            (Field::StreamOptions | Field::Metadata, _) => return Err(RequestError::invalid(name, "an object")),

            (Field::System, Kind::String | Kind::Array) => {
                let span = self.text(cursor)?;
                self.opening.system.push(span);
            }
            (Field::System, _) => return Err(RequestError::invalid(name, "a string or an array of text blocks")),

            (Field::Tools | Field::Functions, Kind::Array) => {
                let span = cursor.elements(|_, cursor| {
                    self.tools += 1;
                    self.text(cursor).map(drop)
                })?;
                if field == Field::Tools {
                    self.layout.tools = Some(span);
                }
            }
            (Field::Tools | Field::Functions, _) => return Err(RequestError::invalid(name, "an array of tools")),

            (Field::ToolChoice, _) => self.layout.tool_choice = Some(cursor.skip()?),

            (Field::Temperature, Kind::Number) => self.temperature = cursor.number()?.parse().ok(),
            (Field::TopP, Kind::Number) => self.top_p = cursor.number()?.parse().ok(),
            (Field::Temperature | Field::TopP, _) => return Err(RequestError::invalid(name, "a number")),
            (Field::MaxTokens | Field::MaxCompletionTokens | Field::N, _) => {
                return Err(RequestError::invalid(name, "a whole number, 1 or more"));
            }

            (Field::Stop | Field::StopSequences, Kind::String) => {
                self.stop_sequences.push(cursor.string()?.decode().into_owned());
            }
            (Field::Stop | Field::StopSequences, Kind::Array) => {
                cursor.elements(|_, cursor| {
                    if cursor.kind()? != Kind::String {
                        return Err(RequestError::invalid(name, "an array of strings"));
                    }
                    self.stop_sequences.push(cursor.string()?.decode().into_owned());
                    Ok(())
                })?;
            }
            (Field::Stop | Field::StopSequences, _) => return Err(RequestError::invalid(name, "an array of strings")),

            // Vendors add settings to these faster than we release. A value we do not know is the provider's to judge.
            (Field::Thinking, Kind::Object) => {
                let mut budget = None;
                cursor.members(|member, cursor| match (&*member.key, cursor.kind()?) {
                    ("type", Kind::String) => {
                        self.thinking = cursor.string()?.decode() != "disabled";
                        Ok(())
                    }
                    ("budget_tokens", Kind::Number) => {
                        budget = json::whole_number(cursor.number()?);
                        Ok(())
                    }
                    _ => cursor.skip().map(drop).map_err(RequestError::from),
                })?;
                self.effort = self.effort.or(budget.filter(|_| self.thinking).map(Effort::from_budget));
            }
            (Field::ReasoningEffort, Kind::String) => {
                self.effort = Effort::from_name(&cursor.string()?.decode());
                self.thinking = self.effort.is_some_and(|effort| effort > Effort::None);
            }
            (Field::OutputConfig | Field::OutputFormat | Field::ResponseFormat, Kind::Object) => {
                self.output_settings(cursor)?;
            }
            (
                Field::Thinking
                | Field::ReasoningEffort
                | Field::OutputConfig
                | Field::OutputFormat
                | Field::ResponseFormat,
                _,
            ) => {
                cursor.skip()?;
            }
        }
        Ok(())
    }

    fn messages(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        let mut count = 0;
        cursor.elements(|index, cursor| {
            count = index + 1;
            if cursor.kind()? != Kind::Object {
                return Err(RequestError::invalid(format!("messages[{index}]"), "an object with `role` and `content`"));
            }
            let mut role = None;
            let mut content = None;
            let span = cursor.members(|member, cursor| {
                match &*member.key {
                    "role" => {
                        if cursor.kind()? != Kind::String {
                            return Err(RequestError::invalid(format!("messages[{index}].role"), "a string"));
                        }
                        role = Some(cursor.string()?.decode());
                    }
                    "content" => content = Some(self.text(cursor)?),
                    _ => {
                        self.text(cursor)?;
                    }
                }
                Ok(())
            })?;
            let Some(role) = role else {
                return Err(RequestError::Missing {
                    field: format!("messages[{index}].role").into(),
                    fix: "say whose message it is, e.g. \"user\"",
                });
            };
            self.opening.message(&role, content);
            self.layout.last_message = span;
            Ok(())
        })?;
        if count == 0 {
            return Err(RequestError::invalid("messages", "an array with at least one message"));
        }
        self.message_count = Some(count);
        Ok(())
    }

    /// Reads a value whose strings the model will see, counting them.
    fn text(&mut self, cursor: &mut Cursor<'_>) -> Result<Span, RequestError> {
        let span = cursor.walk(|key, text| {
            let inline = matches!(key, b"data" | b"file_data") || text.raw.starts_with(b"data:");
            // A short `data` is somebody's tool argument, not an image.
            if inline && text.raw.len() > 256 {
                self.inline_media += 1;
            } else {
                self.characters += text.characters();
            }
        })?;
        Ok(span)
    }

    fn metadata(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        cursor.members(|member, cursor| {
            if let Some(user) = &mut self.layout.user
                && user.next_start.is_none()
            {
                user.next_start = Some(member.start);
            }
            fields::refuse_misspelled(&member.key, "user_id")?;
            cursor.skip()?;
            if member.key == "user_id" {
                if self.layout.user.is_some() {
                    return Err(RequestError::Duplicate { field: "metadata.user_id" });
                }
                self.layout.user = Some(MemberPlace { end: cursor.offset(), ..MemberPlace::new(&member) });
            }
            Ok(())
        })?;
        Ok(())
    }

    fn stream_options(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        let mut include_usage = None;
        let mut empty = true;
        let span = cursor.members(|member, cursor| {
            empty = false;
            fields::refuse_misspelled(&member.key, "include_usage")?;
            if member.key != "include_usage" {
                return cursor.skip().map(drop).map_err(RequestError::from);
            }
            if include_usage.is_some() {
                return Err(RequestError::Duplicate { field: "stream_options.include_usage" });
            }
            let kind = cursor.kind()?;
            let start = cursor.offset();
            let asked = match kind {
                Kind::Bool => cursor.boolean()?,
                Kind::Null => {
                    cursor.skip()?;
                    false
                }
                _ => return Err(RequestError::invalid("stream_options.include_usage", "true or false")),
            };
            include_usage = Some((asked, start..cursor.offset()));
            Ok(())
        })?;
        self.layout.stream_options = StreamOptions::Object { inside: span.start + 1, empty, include_usage };
        Ok(())
    }

    /// `output_config` {effort, format}, its older form `output_format` {type}, and OpenAI's `response_format` {type}.
    fn output_settings(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        cursor.members(|member, cursor| {
            match (&*member.key, cursor.kind()?) {
                ("effort", Kind::String) => {
                    self.effort = Effort::from_name(&cursor.string()?.decode()).or(self.effort);
                }
                ("type", Kind::String) => {
                    self.response_format = match &*cursor.string()?.decode() {
                        "json_schema" => ResponseFormat::JsonSchema,
                        "json_object" => ResponseFormat::JsonObject,
                        _ => ResponseFormat::Text,
                    };
                }
                ("format", Kind::Object) => self.output_settings(cursor)?,
                _ => {
                    cursor.skip()?;
                }
            }
            Ok::<_, RequestError>(())
        })?;
        Ok(())
    }

    fn finish(self, format: Format, body: Bytes) -> Result<InferenceRequest, RequestError> {
        let missing = |field: &'static str, fix| RequestError::Missing { field: field.into(), fix };
        let model = self.model.ok_or_else(|| missing("model", "name the model that shall answer"))?;
        let message_count =
            self.message_count.ok_or_else(|| missing("messages", "send an array with at least one message"))?;
        let max_tokens = self.layout.token_limits.iter().map(|(limit, _)| *limit).min();
        if format == Format::AnthropicMessages && max_tokens.is_none() {
            return Err(missing("max_tokens", "say how many tokens the answer may have, e.g. 1024"));
        }
        let media_tokens = self.inline_media * TOKENS_OF_INLINE_MEDIA;
        Ok(InferenceRequest {
            format,
            model,
            stream: self.stream,
            max_tokens,
            tools: self.tools,
            thinking: self.thinking,
            reasoning_effort: self.effort,
            response_format: self.response_format,
            temperature: self.temperature,
            top_p: self.top_p,
            stop_sequences: self.stop_sequences,
            message_count,
            estimated_input_tokens: (self.characters as u64).div_ceil(4) + media_tokens,
            conversation_key: self.opening.key(&body),
            body,
            layout: self.layout,
        })
    }
}
