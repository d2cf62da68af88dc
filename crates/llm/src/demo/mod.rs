//! The demo model: answers without a provider, a key or a network, the same one for the same prompt.
//!
//! It shows the product at work before anybody has a key, and it says so: every answer names itself a demo. It speaks
//! every dialect, buffered and streamed at the pace of a real model, reports usage, calls an offered tool when the
//! prompt names it or asks for one and stops after the result, and respects `max_tokens` and stop sequences.

pub(crate) mod answer;
mod reply;
pub(crate) mod stream;

pub use answer::{DemoAnswer, DemoToolCall};
pub use stream::DemoEvent;

use crate::embeddings::EmbeddingsRequest;
use crate::format::Format;
use crate::request::InferenceRequest;

/// Answers a request.
pub fn answer(request: &InferenceRequest) -> DemoAnswer {
    reply::compose(request)
}

/// Answers a request for embeddings; `None` if it is none.
pub fn embeddings(request: &InferenceRequest) -> Option<Vec<u8>> {
    let of_embeddings = request.format == Format::OpenAiEmbeddings;
    EmbeddingsRequest::parse(request.body().clone()).ok().filter(|_| of_embeddings).map(|request| request.demo())
}

impl DemoAnswer {
    /// The body of a buffered answer. `id` makes the ids in it unique; `created` is the time in seconds since 1970.
    pub fn buffered(&self, format: Format, id: &str, created: i64) -> Vec<u8> {
        (format.definition().demo_body)(self, id, created)
    }

    /// The events of a streamed answer in order. `id` makes the ids in it unique; `created` is the time in seconds
    /// since 1970.
    pub fn events(&self, format: Format, id: &str, created: i64) -> Vec<DemoEvent> {
        (format.definition().demo_events)(self, id, created)
    }
}
