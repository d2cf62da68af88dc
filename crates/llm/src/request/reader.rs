//! What all formats read alike: fields that mean the same wherever they stand.

use systemprompt_model::json::{self, Cursor, Kind, Member, Span, Text};

use super::conversation::Opening;
use super::error::RequestError;
use super::facts::{Effort, LONGEST_MODEL, ResponseFormat};
use super::fields::{Field, Seen};
use super::layout::{Count, Layout};

/// Inline media is paid by size in pixels or seconds, not by the length of its Base64.
pub(crate) const TOKENS_OF_INLINE_MEDIA: u64 = 1_000;

/// Whether a string below `key` is an image, a sound or a file.
pub(crate) fn is_inline_media(key: &[u8], text: &Text<'_>) -> bool {
    let inline = matches!(key, b"data" | b"file_data") || text.raw.starts_with(b"data:");
    // A short `data` is somebody's tool argument, not an image.
    inline && text.raw.len() > 256
}

/// The facts of a request as far as it was read; a format's reader writes into it.
#[derive(Default)]
pub(crate) struct Reader {
    /// The field of the conversation.
    pub(crate) conversation: &'static str,
    pub(crate) model: Option<String>,
    pub(crate) stream: bool,
    pub(crate) max_tokens_required: bool,
    /// The tokens of the prompt are to be counted, and there will be no answer.
    pub(crate) counting: bool,
    /// There is an output limit, if only one that a provider will refuse.
    pub(crate) max_tokens_given: bool,
    pub(crate) tools: usize,
    pub(crate) thinking: bool,
    pub(crate) effort: Option<Effort>,
    pub(crate) response_format: ResponseFormat,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) stop_sequences: Vec<String>,
    /// The answer is to have images.
    pub(crate) makes_images: bool,
    pub(crate) message_count: Option<usize>,
    pub(crate) opening: Opening,
    pub(crate) layout: Layout,
    characters: usize,
    inline_media: u64,
    tokens: u64,
}

impl Reader {
    /// Reads a body, which must be one object, and calls `read` for every member that is a field of the format. It is
    /// called with the cursor at the value and must read that value.
    pub(crate) fn object<F: Field>(
        &mut self,
        body: &[u8],
        read: impl Fn(&mut Self, F, &Member<'_>, &mut Cursor<'_>) -> Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        let mut cursor = Cursor::new(body);
        if cursor.kind()? != Kind::Object {
            return Err(RequestError::NotAnObject { conversation: self.conversation });
        }
        let mut seen = Seen::default();
        cursor.members(|member, cursor| match F::of(&member.key)? {
            Some(field) => {
                seen.once(field)?;
                read(self, field, &member, cursor)
            }
            None => cursor.skip().map(drop).map_err(RequestError::from),
        })?;
        Ok(cursor.end()?)
    }

    /// Reads the name of the model.
    pub(crate) fn model(&mut self, name: &'static str, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if cursor.kind()? != Kind::String {
            return Err(RequestError::invalid(name, "a string, the name of a model"));
        }
        let start = cursor.offset();
        let model = cursor.string()?.decode().into_owned();
        if model.is_empty() || model.len() > LONGEST_MODEL {
            return Err(RequestError::invalid(name, "a model name of 1 to 256 bytes"));
        }
        self.layout.model = Some(start..cursor.offset());
        self.model = Some(model);
        Ok(())
    }

    /// Reads the messages of the conversation, each an object with a role.
    pub(crate) fn messages(&mut self, name: &'static str, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if cursor.kind()? != Kind::Array {
            return Err(RequestError::invalid(name, "an array of messages"));
        }
        let mut count = 0;
        self.layout.messages = cursor.elements(|index, cursor| {
            count = index + 1;
            if cursor.kind()? != Kind::Object {
                return Err(RequestError::invalid(format!("{name}[{index}]"), "an object with `role` and `content`"));
            }
            let mut role = None;
            let mut content = None;
            cursor.members(|member, cursor| {
                match &*member.key {
                    "role" => {
                        if cursor.kind()? != Kind::String {
                            return Err(RequestError::invalid(format!("{name}[{index}].role"), "a string"));
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
                    field: format!("{name}[{index}].role").into(),
                    fix: "say whose message it is, e.g. \"user\"",
                });
            };
            self.opening.message(&role, content);
            Ok(())
        })?;
        if count == 0 {
            return Err(RequestError::invalid(name, "an array with at least one message"));
        }
        self.message_count = Some(count);
        Ok(())
    }

    /// Reads a value whose strings the model will see, counting them.
    pub(crate) fn text(&mut self, cursor: &mut Cursor<'_>) -> Result<Span, RequestError> {
        let span = cursor.walk(|key, text| {
            if is_inline_media(key, &text) {
                self.inline_media += 1;
            } else {
                self.characters += text.characters();
            }
        })?;
        Ok(span)
    }

    /// Reads text that stays the same through a conversation: a string or an array of blocks.
    pub(crate) fn system(&mut self, name: &'static str, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if !matches!(cursor.kind()?, Kind::String | Kind::Array) {
            return Err(RequestError::invalid(name, "a string or an array of text blocks"));
        }
        let span = self.text(cursor)?;
        self.opening.system.push(span);
        Ok(())
    }

    /// Reads the offered tools, and says where they are.
    pub(crate) fn tools(&mut self, name: &'static str, cursor: &mut Cursor<'_>) -> Result<Span, RequestError> {
        if cursor.kind()? != Kind::Array {
            return Err(RequestError::invalid(name, "an array of tools"));
        }
        cursor.elements(|_, cursor| {
            self.tools += 1;
            self.text(cursor).map(drop)
        })
    }

    /// Reads an output limit. None at all, or fewer, mean something to some providers and are refused by others; what they
    /// mean is theirs to say.
    pub(crate) fn token_limit(&mut self, name: &'static str, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        let whole = || RequestError::invalid(name, "a whole number");
        if cursor.kind()? != Kind::Number {
            return Err(whole());
        }
        let start = cursor.offset();
        let text = cursor.number()?;
        self.max_tokens_given = true;
        match whole_number(text).ok_or_else(whole)? {
            Whole::Negative => {}
            Whole::Positive(tokens) => self.layout.token_limits.push(Count::of(tokens, text, start..cursor.offset())),
        }
        Ok(())
    }

    /// Reads how many answers are asked for.
    pub(crate) fn answers(&mut self, name: &'static str, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        let invalid = || RequestError::invalid(name, "a whole number, 1 or more");
        if cursor.kind()? != Kind::Number {
            return Err(invalid());
        }
        let start = cursor.offset();
        let text = cursor.number()?;
        match whole_number(text).ok_or_else(invalid)? {
            // A provider says what it thinks of none.
            Whole::Negative | Whole::Positive(0) => {}
            Whole::Positive(answers) => self.layout.answers = Some(Count::of(answers, text, start..cursor.offset())),
        }
        Ok(())
    }

    /// Reads `thinking` {type, budget_tokens}.
    pub(crate) fn thinking(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        let mut asked = false;
        let mut budgets = Vec::new();
        cursor.members(|member, cursor| match (&*member.key, cursor.kind()?) {
            ("type", Kind::String) => {
                asked = cursor.string()?.decode() != "disabled";
                Ok(())
            }
            ("budget_tokens", Kind::Number) => budget(&mut budgets, cursor),
            _ => cursor.skip().map(drop).map_err(RequestError::from),
        })?;
        if asked {
            self.thinks(budgets);
        }
        Ok(())
    }

    /// Notes that thinking was asked for, with these budgets.
    pub(crate) fn thinks(&mut self, budgets: Vec<Count>) {
        self.thinking = true;
        self.effort = self.effort.or(budgets.first().map(|budget| Effort::from_budget(budget.value)));
        self.layout.thinking_budgets.extend(budgets);
    }

    /// Reads whether the answer shall be a stream.
    pub(crate) fn stream(&mut self, name: &'static str, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if cursor.kind()? != Kind::Bool {
            return Err(RequestError::invalid(name, "true or false"));
        }
        self.stream = cursor.boolean()?;
        self.layout.stream_end = Some(cursor.offset());
        Ok(())
    }

    /// Reads texts that end the answer: an array of strings, or one string.
    pub(crate) fn stop(&mut self, name: &'static str, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        let mut one = |cursor: &mut Cursor<'_>| {
            if cursor.kind()? != Kind::String {
                return Err(RequestError::invalid(name, "an array of strings"));
            }
            self.stop_sequences.push(cursor.string()?.decode().into_owned());
            Ok(())
        };
        if cursor.kind()? == Kind::Array { cursor.elements(|_, cursor| one(cursor)).map(drop) } else { one(cursor) }
    }

    /// Reads `output_config` {effort, format}, its older form `output_format` {type}, or OpenAI's `response_format`
    /// {type}. Vendors add settings to these faster than we release; what we do not know is the provider's to judge.
    pub(crate) fn output_settings(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
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

    /// Counts what comes in tokens already.
    pub(crate) fn tokens(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
    }

    /// The length of the prompt: characters of all text divided by four, plus 1,000 for each inline medium, and what came in
    /// tokens.
    pub(crate) fn estimated_tokens(&self) -> u64 {
        let estimated = (self.characters as u64).div_ceil(4) + self.inline_media * TOKENS_OF_INLINE_MEDIA;
        estimated.saturating_add(self.tokens)
    }
}

/// A whole number.
enum Whole {
    Negative,
    Positive(u64),
}

/// The text of a JSON number as a whole number, however it is written. Beyond 64 bits it saturates.
fn whole_number(text: &str) -> Option<Whole> {
    if let Some(number) = json::whole_number(text) {
        return Some(Whole::Positive(number));
    }
    let number: f64 = text.parse().ok()?;
    if !number.is_finite() || number.fract() != 0.0 {
        return None;
    }
    Some(if number < 0.0 { Whole::Negative } else { Whole::Positive(number as u64) })
}

impl Count {
    fn of(value: u64, text: &str, at: Span) -> Self {
        Self { value, at, odd: json::whole_number(text).is_none() }
    }
}

/// Reads a number that is a budget of tokens, if it can be one.
pub(crate) fn budget(budgets: &mut Vec<Count>, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    let start = cursor.offset();
    let text = cursor.number()?;
    if let Some(Whole::Positive(tokens)) = whole_number(text) {
        budgets.push(Count::of(tokens, text, start..cursor.offset()));
    }
    Ok(())
}

/// Reads a number.
pub(crate) fn number(name: &'static str, cursor: &mut Cursor<'_>) -> Result<Option<f64>, RequestError> {
    if cursor.kind()? != Kind::Number {
        return Err(RequestError::invalid(name, "a number"));
    }
    Ok(cursor.number()?.parse().ok())
}
