//! Embeddings, as OpenAI's clients ask for them: `POST /v1/embeddings`.
//!
//! No conversation, no stream and no model that says anything, so this is no format among the others. A request is relayed to
//! providers compatible with OpenAI, byte for byte but for the name of the model and what names a person
//! ([`EmbeddingsRequest::relay`]), or written for Gemini ([`EmbeddingsRequest::for_gemini`]), whose answer
//! [`EmbeddingsBack`] brings into the caller's form. Errors are those of [`Format::OpenAiChat`](crate::Format::OpenAiChat),
//! which has the same.

mod answer;
mod gemini;
mod request;

pub use answer::embeddings_usage;
pub use gemini::{EmbeddingsBack, EmbeddingsForGemini};
pub use request::EmbeddingsRequest;

/// Where requests are posted, below our prefix as below a provider's endpoint.
pub const EMBEDDINGS_PATH: &str = "/embeddings";
