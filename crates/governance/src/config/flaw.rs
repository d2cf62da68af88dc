//! What is wrong with a document although it fits its schema.

/// Something in a document that its schema cannot rule out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// JSON pointer of the value at fault, relative to the section.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Flaw {
    pub(crate) fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}
