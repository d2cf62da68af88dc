//! A question to a model, as somebody asks it.

use std::time::Instant;

use http::HeaderMap;
use systemprompt_llm::InferenceRequest;
use systemprompt_model::Attribution;

/// A question to a model.
pub struct Ask {
    /// Who asks.
    pub by: Attribution,
    /// What is asked, in one of the dialects.
    pub request: InferenceRequest,
    /// What comes along with it.
    pub forwarded: Forwarded,
}

/// What comes along with a request besides its body. A caller inside the server usually has none of it.
#[derive(Debug, Clone, Default)]
pub struct Forwarded {
    /// The caller's headers. Only `anthropic-*` go on, and only to providers of that wire.
    pub headers: HeaderMap,
    /// The conversation, if the caller names one; otherwise it is derived from the request.
    pub conversation: Option<String>,
    /// Which of the caller's agents asks, by its own id.
    pub agent: Option<String>,
    /// Since when the caller waits; since now if absent.
    pub received: Option<Instant>,
}

/// Whether to ask a provider what a stream used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsageWish {
    /// If it takes that.
    AsTaken,
    /// No: it refused the same request, maybe because it was asked.
    Refused,
}
