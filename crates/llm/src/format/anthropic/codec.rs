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
        | Feature::ParallelToolCallsOff
        | Feature::StrictTools
        | Feature::WebSearch
        | Feature::WebSearchAmongTools
        | Feature::Images
        | Feature::ImageUrls
        | Feature::MediaInToolResults
        | Feature::Documents
        | Feature::DocumentUrls
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
        // A function with one text; a sentence in the prompt; a turn of the user's that says whose it is; text; marks.
        Feature::CustomTools
        | Feature::JsonObject
        | Feature::SystemTurns
        | Feature::Refusals
        | Feature::PromptCacheKey => Treatment::Approximated,
        Feature::VendorBlocks
        | Feature::ImageDetail
        | Feature::ThinkingReplay
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
        Feature::VendorTools
        | Feature::Audio
        | Feature::Video
        | Feature::Files
        | Feature::Logprobs
        | Feature::SeveralAnswers
        | Feature::OutputModalities
        | Feature::ServerState
        | Feature::Background
        | Feature::McpServers => Treatment::Refused,
    }
}
