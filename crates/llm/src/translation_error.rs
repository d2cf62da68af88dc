//! Why a request cannot be written in a format.

use crate::format::Format;
use crate::neutral::Unsupported;
use crate::request::error::RequestError;

/// Why a request cannot be written for a provider of another format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranslationError {
    /// Something in it is not as its own format has it. In the relay lane the provider would have said so.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It says something the provider's format has no words for.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// Nothing like it can be asked of the provider.
    #[error("{from} cannot be asked of a provider of the {to} format; choose another model")]
    NotOffered {
        /// What is asked.
        from: Format,
        /// The provider's format.
        to: Format,
    },
}
