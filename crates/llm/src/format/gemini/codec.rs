//! How the format translates, and what it does with what it has no words for.

use super::{decode, encode, read, write};
use crate::neutral::codec::{Caller, Codec};
use crate::neutral::{Feature, Treatment};

pub(in crate::format) static CODEC: Codec = Codec {
    treatment,
    encode: encode::encode,
    read_answer: read::read_answer,
    read_stream: read::read_stream,
    grounding: super::grounding::grounding,
    caller: Some(Caller {
        decode: decode::decode,
        write_answer: write::write_answer,
        write_stream: write::write_stream,
    }),
};

fn treatment(feature: Feature) -> Treatment {
    match feature {
        Feature::ToolChoice
        | Feature::StrictTools
        | Feature::WebSearch
        | Feature::Images
        | Feature::ImageUrls
        | Feature::MediaInToolResults
        | Feature::Documents
        | Feature::DocumentUrls
        | Feature::Audio
        | Feature::Video
        | Feature::Reasoning
        | Feature::JsonObject
        | Feature::JsonSchema
        | Feature::ToolErrors
        | Feature::StopSequences
        | Feature::Temperature
        | Feature::TopP
        | Feature::TopK
        | Feature::Penalties
        | Feature::Seed
        | Feature::Logprobs
        | Feature::ServiceTier => Treatment::Mapped,
        // A function with one text; a turn of the user's that says whose it is; a question to go on; text.
        Feature::CustomTools | Feature::SystemTurns | Feature::Prefill | Feature::Refusals => Treatment::Approximated,
        // Its own search does not go together with functions.
        Feature::WebSearchAmongTools
        | Feature::ParallelToolCallsOff
        | Feature::VendorBlocks
        | Feature::ImageDetail
        | Feature::ThinkingReplay
        // Prompts are cached without being asked for it.
        | Feature::CacheControl
        | Feature::PromptCacheKey
        | Feature::Verbosity
        | Feature::Citations
        | Feature::LogitBias
        | Feature::Metadata
        | Feature::Store
        | Feature::ContextManagement
        | Feature::SafetySettings
        | Feature::Prediction
        | Feature::UnknownField => Treatment::Dropped,
        Feature::VendorTools
        | Feature::Files
        | Feature::SeveralAnswers
        | Feature::OutputModalities
        | Feature::ServerState
        | Feature::Background
        | Feature::McpServers => Treatment::Refused,
    }
}
