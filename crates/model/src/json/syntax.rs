//! What a JSON text is made of, and what is wrong with one that is none.

/// How many arrays and objects may be nested in each other. The same limit `serde_json` has.
pub const MAX_DEPTH: u32 = 128;

/// A range of byte offsets into the text that was read.
pub type Span = std::ops::Range<usize>;

/// A text that is not JSON, or nests too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyntaxError {
    /// Something else than the grammar asks for.
    Expected {
        /// What would have been valid there.
        what: &'static str,
        /// Where reading stopped.
        offset: usize,
    },
    /// Arrays and objects are nested more than [`MAX_DEPTH`] levels deep.
    TooDeep {
        /// Where the limit was reached.
        offset: usize,
    },
}

/// What a value is, known from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`.
    Object,
    /// `[…]`.
    Array,
    /// `"…"`.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
}
