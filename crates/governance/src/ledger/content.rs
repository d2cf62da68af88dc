//! What was said, kept beside the log for as long as the retention setting allows.

use std::borrow::Cow;

use bytes::Bytes;

/// The bytes that were judged and sent.
pub const REQUEST: &str = "request";

/// The beginning of the names of what stands around what scanners found; their numbers follow.
pub const FINDING: &str = "finding.";

/// What came back.
pub const ANSWER: &str = "answer";

/// A part of the content of an action, already cut to what is kept.
#[derive(Debug, Clone)]
pub(crate) struct KeptPart {
    /// [`REQUEST`], [`ANSWER`], or a name the feature gave it.
    pub(crate) name: Cow<'static, str>,
    pub(crate) kept: Kept,
}

impl KeptPart {
    pub(crate) fn new(name: impl Into<Cow<'static, str>>, kept: Kept) -> Self {
        Self { name: name.into(), kept }
    }

    /// Bytes held in memory until it is written.
    pub(crate) fn size(&self) -> usize {
        self.kept.size()
    }
}

/// A text that is kept in whole or by its ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) bytes: u64,
    pub(crate) body: Option<Bytes>,
    pub(crate) head: Option<Bytes>,
    pub(crate) tail: Option<Bytes>,
}

impl Kept {
    fn size(&self) -> usize {
        [&self.body, &self.head, &self.tail].into_iter().flatten().map(Bytes::len).sum()
    }
}
