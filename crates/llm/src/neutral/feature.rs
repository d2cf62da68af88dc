//! What one format can say and another cannot.

/// Something a request can say that not every format has a word for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// A tool must be called, or one of some, or none may.
    ToolChoice,
    /// One tool at a time.
    ParallelToolCallsOff,
    /// A tool's input matches its schema exactly.
    StrictTools,
    /// A tool that takes text of a grammar.
    CustomTools,
    /// The provider searches the web.
    WebSearch,
    /// The same as one tool among others: programs offer it by themselves, and go on with the others.
    WebSearchAmongTools,
    /// Another tool that the provider has itself.
    VendorTools,
    /// A block of a vendor's own: a call of its own tool, the result of one.
    VendorBlocks,
    /// An image in a message.
    Images,
    /// An image the provider fetches from an address.
    ImageUrls,
    /// An image or document in the result of a tool.
    MediaInToolResults,
    /// A document in a message.
    Documents,
    /// A document the provider fetches from an address.
    DocumentUrls,
    /// Sound in a message.
    Audio,
    /// A film in a message.
    Video,
    /// A file in the vendor's store.
    Files,
    /// How closely an image is looked at.
    ImageDetail,
    /// How much the model thinks.
    Reasoning,
    /// What the model thought in earlier turns.
    ThinkingReplay,
    /// Marks where a prompt is to be cached.
    CacheControl,
    /// The name cached prompts are kept under.
    PromptCacheKey,
    /// The answer is a JSON object.
    JsonObject,
    /// The answer is JSON of a schema.
    JsonSchema,
    /// How long-winded the answer is.
    Verbosity,
    /// The operator speaks in the middle of a conversation.
    SystemTurns,
    /// The answer continues the beginning the caller wrote.
    Prefill,
    /// The model declined in an earlier turn.
    Refusals,
    /// A result of a tool says that the call failed.
    ToolErrors,
    /// Texts that end the answer.
    StopSequences,
    /// The sampling temperature.
    Temperature,
    /// The nucleus threshold.
    TopP,
    /// Looking at so many of the likeliest tokens.
    TopK,
    /// Penalties for tokens that were there before.
    Penalties,
    /// Answers that repeat.
    Seed,
    /// Probabilities of tokens.
    Logprobs,
    /// Some tokens made more or less likely.
    LogitBias,
    /// Several answers at once.
    SeveralAnswers,
    /// Answers in sound or images.
    OutputModalities,
    /// The class of service.
    ServiceTier,
    /// Sources of what a text says.
    Citations,
    /// Notes of the caller's on the request.
    Metadata,
    /// The conversation is kept by the provider and goes on from there.
    ServerState,
    /// The provider keeps the answer.
    Store,
    /// The provider answers later.
    Background,
    /// The provider shortens the conversation by itself.
    ContextManagement,
    /// MCP servers the provider calls by itself.
    McpServers,
    /// What the provider lets pass.
    SafetySettings,
    /// A text the answer is likely to repeat.
    Prediction,
    /// A field nobody here knows.
    UnknownField,
}

impl Feature {
    /// All of them, in the order of the reference.
    pub const ALL: &[Self] = &[
        Self::ToolChoice,
        Self::ParallelToolCallsOff,
        Self::StrictTools,
        Self::CustomTools,
        Self::WebSearch,
        Self::WebSearchAmongTools,
        Self::VendorTools,
        Self::VendorBlocks,
        Self::Images,
        Self::ImageUrls,
        Self::ImageDetail,
        Self::MediaInToolResults,
        Self::Documents,
        Self::DocumentUrls,
        Self::Audio,
        Self::Video,
        Self::Files,
        Self::Reasoning,
        Self::ThinkingReplay,
        Self::CacheControl,
        Self::PromptCacheKey,
        Self::JsonObject,
        Self::JsonSchema,
        Self::Verbosity,
        Self::SystemTurns,
        Self::Prefill,
        Self::Refusals,
        Self::ToolErrors,
        Self::Citations,
        Self::StopSequences,
        Self::Temperature,
        Self::TopP,
        Self::TopK,
        Self::Penalties,
        Self::Seed,
        Self::Logprobs,
        Self::LogitBias,
        Self::SeveralAnswers,
        Self::OutputModalities,
        Self::ServiceTier,
        Self::Metadata,
        Self::ServerState,
        Self::Store,
        Self::Background,
        Self::ContextManagement,
        Self::McpServers,
        Self::SafetySettings,
        Self::Prediction,
        Self::UnknownField,
    ];

    /// What it is called in warnings, the ledger and the reference.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ToolChoice => "tool choice",
            Self::ParallelToolCallsOff => "one tool call at a time",
            Self::StrictTools => "strict tools",
            Self::CustomTools => "custom tools",
            Self::WebSearch => "web search",
            Self::WebSearchAmongTools => "web search among other tools",
            Self::VendorTools => "tools of the vendor",
            Self::VendorBlocks => "blocks of the vendor",
            Self::Images => "images",
            Self::ImageUrls => "images by address",
            Self::MediaInToolResults => "images and documents in tool results",
            Self::Documents => "documents",
            Self::DocumentUrls => "documents by address",
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Files => "files in the vendor's store",
            Self::ImageDetail => "image detail",
            Self::Reasoning => "thinking",
            Self::ThinkingReplay => "thinking of earlier turns",
            Self::CacheControl => "cache control",
            Self::PromptCacheKey => "prompt cache key",
            Self::JsonObject => "answers as a JSON object",
            Self::JsonSchema => "answers by a JSON schema",
            Self::Verbosity => "verbosity",
            Self::SystemTurns => "system turns in the conversation",
            Self::Prefill => "prefilled answers",
            Self::Refusals => "refusals of earlier turns",
            Self::ToolErrors => "failed tool calls",
            Self::StopSequences => "stop sequences",
            Self::Temperature => "temperature",
            Self::TopP => "top_p",
            Self::TopK => "top_k",
            Self::Penalties => "presence and frequency penalties",
            Self::Seed => "seed",
            Self::Logprobs => "logprobs",
            Self::LogitBias => "logit bias",
            Self::SeveralAnswers => "several answers",
            Self::OutputModalities => "answers in other modalities",
            Self::ServiceTier => "service tier",
            Self::Citations => "citations",
            Self::Metadata => "metadata",
            Self::ServerState => "conversations kept by the provider",
            Self::Store => "storing the answer",
            Self::Background => "answers in the background",
            Self::ContextManagement => "context management",
            Self::McpServers => "MCP servers of the provider",
            Self::SafetySettings => "safety settings",
            Self::Prediction => "predicted output",
            Self::UnknownField => "fields nobody here knows",
        }
    }
}

/// What a format does with a [`Feature`] when it writes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It has words for it.
    Mapped,
    /// It says something close to it, and the ledger gets a warning.
    Approximated,
    /// It leaves it out, and the ledger gets a warning: the answer is as good without it.
    Dropped,
    /// The request is refused, with the name of the field: without it the answer would be another one.
    Refused,
}

impl Treatment {
    /// The word for it in the reference.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Approximated => "approximated",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
        }
    }
}
