//! How the format translates, and what it does with what it has no words for.

use super::{encode, read};
use crate::neutral::codec::Codec;
use crate::neutral::{Feature, Treatment};

pub(in crate::format) static CODEC: Codec = Codec {
    treatment,
    encode: encode::encode,
    read_answer: read::read_answer,
    read_stream: read::read_stream,
    grounding: crate::format::grounding::none,
    caller: None,
};

fn treatment(feature: Feature) -> Treatment {
    match feature {
        Feature::ToolChoice
        | Feature::StrictTools
        | Feature::Images
        | Feature::MediaInToolResults
        | Feature::Documents
        | Feature::Audio
        | Feature::Video
        | Feature::Reasoning
        | Feature::CacheControl
        | Feature::JsonSchema
        | Feature::Prefill
        | Feature::ToolErrors
        | Feature::StopSequences
        | Feature::Temperature
        | Feature::TopP
        | Feature::TopK
        | Feature::ServiceTier => Treatment::Mapped,
        // A function with one text; a sentence in the prompt; a turn of the user's that says whose it is; text.
        Feature::CustomTools | Feature::JsonObject | Feature::SystemTurns | Feature::Refusals => {
            Treatment::Approximated
        }
        Feature::ParallelToolCallsOff
        | Feature::WebSearchAmongTools
        | Feature::VendorBlocks
        | Feature::ImageDetail
        | Feature::ThinkingReplay
        | Feature::PromptCacheKey
        | Feature::Verbosity
        | Feature::Citations
        | Feature::Penalties
        | Feature::Seed
        | Feature::LogitBias
        | Feature::Metadata
        | Feature::Store
        | Feature::ContextManagement
        | Feature::SafetySettings
        | Feature::Prediction
        | Feature::UnknownField => Treatment::Dropped,
        // It fetches from nowhere but S3.
        Feature::ImageUrls
        | Feature::DocumentUrls
        | Feature::WebSearch
        | Feature::VendorTools
        | Feature::Files
        | Feature::Logprobs
        | Feature::SeveralAnswers
        | Feature::OutputModalities
        | Feature::ServerState
        | Feature::Background
        | Feature::McpServers => Treatment::Refused,
    }
}
