use super::RequestError;
use crate::Format;

macro_rules! fields {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// A top-level field of a request that we read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Field { $($variant),* }

        impl Field {
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

fields! {
    Model "model",
    Messages "messages",
    System "system",
    MaxTokens "max_tokens",
    MaxCompletionTokens "max_completion_tokens",
    Metadata "metadata",
    User "user",
    Stream "stream",
    StreamOptions "stream_options",
    Tools "tools",
    Functions "functions",
    ToolChoice "tool_choice",
    Thinking "thinking",
    ReasoningEffort "reasoning_effort",
    OutputConfig "output_config",
    OutputFormat "output_format",
    ResponseFormat "response_format",
    Temperature "temperature",
    TopP "top_p",
    Stop "stop",
    StopSequences "stop_sequences",
    N "n",
}

/// The fields we edit or decide by. A provider that ignores case would read `Model` in place of the `model` we wrote.
const GUARDED: [Field; 8] = [
    Field::Model,
    Field::Messages,
    Field::MaxTokens,
    Field::MaxCompletionTokens,
    Field::Metadata,
    Field::User,
    Field::Stream,
    Field::StreamOptions,
];

impl Field {
    /// The field of this format that has this key.
    pub(super) fn of(format: Format, key: &str) -> Result<Option<Self>, RequestError> {
        let Some(field) = Self::from_name(key) else {
            for guarded in GUARDED {
                if guarded.exists_in(format) {
                    refuse_misspelled(key, guarded.name())?;
                }
            }
            return Ok(None);
        };
        Ok(Some(field).filter(|field| field.exists_in(format)))
    }

    const fn exists_in(self, format: Format) -> bool {
        match self {
            Self::Model
            | Self::Messages
            | Self::MaxTokens
            | Self::Stream
            | Self::Tools
            | Self::ToolChoice
            | Self::Temperature
            | Self::TopP => true,
            Self::System
            | Self::Metadata
            | Self::Thinking
            | Self::OutputConfig
            | Self::OutputFormat
            | Self::StopSequences => matches!(format, Format::AnthropicMessages),
            Self::MaxCompletionTokens
            | Self::User
            | Self::StreamOptions
            | Self::Functions
            | Self::ReasoningEffort
            | Self::ResponseFormat
            | Self::Stop
            | Self::N => matches!(format, Format::OpenAiChat),
        }
    }
}

/// Refuses a key that is this field but for upper and lower case.
pub(super) fn refuse_misspelled(key: &str, field: &'static str) -> Result<(), RequestError> {
    if key != field && key.eq_ignore_ascii_case(field) {
        return Err(RequestError::MisspelledCase { found: key.to_owned(), field });
    }
    Ok(())
}

/// The fields met so far.
#[derive(Default)]
pub(super) struct Seen(u32);

impl Seen {
    pub(super) fn once(&mut self, field: Field) -> Result<(), RequestError> {
        let bit = 1 << field as u32;
        if self.0 & bit != 0 {
            return Err(RequestError::Duplicate { field: field.name() });
        }
        self.0 |= bit;
        Ok(())
    }
}
