//! What a scan finds.

use std::ops::Range;

use systemprompt_model::Secret;

use crate::rule::Rule;

/// A credential that was found.
#[derive(Debug, Clone)]
pub struct Match<'s> {
    /// What it is.
    pub rule: &'s Rule,
    /// The bytes of the content that are the credential and nothing else. In a string of JSON these are whole escapes, so
    /// what is written in their place leaves JSON that is valid.
    pub at: Range<usize>,
    /// The string of JSON it stands in, without the quotation marks, or all of a text.
    pub string: Range<usize>,
    /// The credential as a reader of that string sees it: written in the place of [`at`](Self::at) with JSON's escapes, it
    /// gives the same string again. What is no UTF-8 in it is U+FFFD.
    pub value: Secret,
}
