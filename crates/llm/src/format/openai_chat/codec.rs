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
        | Feature::CustomTools
        | Feature::Images
        | Feature::ImageUrls
        | Feature::ImageDetail
        | Feature::Documents
        | Feature::Audio
        | Feature::Reasoning
        | Feature::PromptCacheKey
        | Feature::JsonObject
        | Feature::JsonSchema
        | Feature::Verbosity
        | Feature::SystemTurns
        | Feature::Refusals
        | Feature::StopSequences
        | Feature::Temperature
        | Feature::TopP
        | Feature::Penalties
        | Feature::Seed
        | Feature::Logprobs
        | Feature::ServiceTier => Treatment::Mapped,
        // A message of the user's that follows; a word before the result; an answer that begins anew.
        Feature::MediaInToolResults | Feature::ToolErrors | Feature::Prefill => Treatment::Approximated,
        Feature::WebSearchAmongTools
        | Feature::VendorBlocks
        | Feature::ThinkingReplay
        | Feature::CacheControl
        | Feature::Citations
        | Feature::TopK
        | Feature::LogitBias
        | Feature::Metadata
        | Feature::Store
        | Feature::ContextManagement
        | Feature::SafetySettings
        | Feature::Prediction
        | Feature::UnknownField => Treatment::Dropped,
        Feature::WebSearch
        | Feature::VendorTools
        | Feature::DocumentUrls
        | Feature::Video
        | Feature::Files
        | Feature::SeveralAnswers
        | Feature::OutputModalities
        | Feature::ServerState
        | Feature::Background
        | Feature::McpServers => Treatment::Refused,
    }
}
