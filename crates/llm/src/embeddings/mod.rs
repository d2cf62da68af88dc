//! Embeddings, as OpenAI's clients ask for them: `POST /v1/embeddings`.
//!
//! No conversation, no stream and no model that says anything. A request is relayed to providers compatible with OpenAI like
//! any other, and written for Gemini by itself ([`EmbeddingsRequest::for_gemini`]), whose answer [`EmbeddingsBack`] brings
//! into the caller's form. Clients that ask as Gemini is asked are read as if they asked so ([`GeminiEmbedding`]).

mod asked_as_gemini;
mod gemini;
pub(crate) mod request;

pub use asked_as_gemini::GeminiEmbedding;
pub(crate) use gemini::{EmbeddingsBack, EmbeddingsForGemini};
pub(crate) use request::EmbeddingsRequest;
