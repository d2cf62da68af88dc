//! What is kept of prompts and answers.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::content::Kept;

/// The longest content that is kept in whole, in bytes.
pub const WHOLE_LIMIT: usize = 1024 * 1024;

/// What is kept of each end of a longer one, in bytes.
pub const EXCERPT: usize = 8 * 1024;

/// The longest input of a tool call that is kept, in bytes.
pub const TOOL_INPUT_LIMIT: usize = 64 * 1024;

/// What is kept of prompts and answers besides their digests. The key `retention` of the profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionProfile {
    /// `none`: nothing; `excerpt`: the first and last 8 KiB; `full`: up to 1 MiB, of longer ones the excerpts.
    /// Without it `excerpt` in production and `full` elsewhere. Whatever is set here, what a scanner flagged is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentRetention>,
    /// After how many days it is deleted; 30 unless changed. Digests, tokens and decisions stay.
    #[schemars(range(min = 1, max = 36500))]
    pub days: u32,
    /// Other rules for single classes of content.
    #[serde(skip_serializing_if = "is_default")]
    pub classes: ContentClasses,
    /// After how many days the log itself is dropped, in whole months and behind a signed checkpoint, with the rows that
    /// were derived from it. Never unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 31, max = 36500))]
    pub ledger_days: Option<u32>,
}

impl Default for RetentionProfile {
    fn default() -> Self {
        Self { content: None, days: 30, classes: ContentClasses::default(), ledger_days: None }
    }
}

impl RetentionProfile {
    /// What applies.
    pub fn resolve(&self, production: bool) -> Retention {
        let default = if production { ContentRetention::Excerpt } else { ContentRetention::Full };
        let rest = Retention::of(self.content.unwrap_or(default), self.days, self.ledger_days);
        let classes = Class::ALL.map(|class| {
            let rule = self.classes.rule(class);
            let content = rule.and_then(|rule| rule.content).unwrap_or(rest.content);
            (content, rule.and_then(|rule| rule.days).unwrap_or(rest.days))
        });
        Retention { classes, ..rest }
    }
}

/// Rules for single classes of content. What is not set here is as the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContentClasses {
    /// What callers send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<ClassRetention>,
    /// What comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<ClassRetention>,
    /// What models call tools with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_inputs: Option<ClassRetention>,
    /// What stands around what scanners found, masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings: Option<ClassRetention>,
}

/// The rule for a class of content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassRetention {
    /// How much is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentRetention>,
    /// After how many days it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub days: Option<u32>,
}

/// A class of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Prompts,
    Answers,
    ToolInputs,
    Findings,
}

impl Class {
    pub(super) const ALL: [Self; 4] = [Self::Prompts, Self::Answers, Self::ToolInputs, Self::Findings];
}

impl ContentClasses {
    pub(super) const fn rule(&self, class: Class) -> Option<&ClassRetention> {
        match class {
            Class::Prompts => self.prompts.as_ref(),
            Class::Answers => self.answers.as_ref(),
            Class::ToolInputs => self.tool_inputs.as_ref(),
            Class::Findings => self.findings.as_ref(),
        }
    }
}

/// What is kept of prompts and answers besides their digests, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How much is kept unless its class has another rule.
    content: ContentRetention,
    /// After how many days it is deleted, the same.
    pub days: u32,
    /// The same for each class.
    classes: [(ContentRetention, u32); Class::ALL.len()],
    /// After how many days months of the log are dropped.
    pub ledger_days: Option<u32>,
}

impl Retention {
    /// The same for all content.
    pub fn of(content: ContentRetention, days: u32, ledger_days: Option<u32>) -> Self {
        Self { content, days, classes: [(content, days); Class::ALL.len()], ledger_days }
    }

    /// How much is kept of a class.
    pub(crate) fn content(&self, class: Class) -> ContentRetention {
        self.classes[class as usize].0
    }

    /// After how many days what is kept of a class is deleted.
    pub(super) fn days_of(&self, class: Class) -> u32 {
        self.classes[class as usize].1
    }
}

fn is_default(classes: &ContentClasses) -> bool {
    *classes == ContentClasses::default()
}

/// How much of prompts and answers is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContentRetention {
    /// Nothing.
    None,
    /// The first and last 8 KiB.
    Excerpt,
    /// Everything up to 1 MiB; of longer content the excerpts.
    Full,
}

/// The bytes of an answer, or its ends when they were not held in whole.
#[derive(Debug, Clone)]
pub struct Payload {
    pub(crate) head: Bytes,
    pub(crate) tail: Bytes,
    pub(crate) bytes: u64,
    pub(crate) sha256: Option<[u8; 32]>,
}

impl Payload {
    /// An answer that was held in whole; its digest is computed when it is recorded.
    pub fn complete(content: impl Into<Bytes>) -> Self {
        let head = content.into();
        Self { bytes: head.len() as u64, head, tail: Bytes::new(), sha256: None }
    }

    /// The ends of an answer of `bytes` bytes. An answer that fits into `head` has an empty `tail`.
    /// `sha256` is the digest of the whole of it, if it was computed as it passed.
    pub fn excerpt(head: impl Into<Bytes>, tail: impl Into<Bytes>, bytes: u64, sha256: Option<[u8; 32]>) -> Self {
        Self { head: head.into(), tail: tail.into(), bytes, sha256 }
    }

    /// Whether nothing of the answer is missing.
    pub fn is_complete(&self) -> bool {
        self.head.len() as u64 == self.bytes
    }
}

impl ContentRetention {
    /// How much of an answer is worth holding in memory to be kept, in bytes.
    pub const fn limit(self) -> usize {
        match self {
            Self::None => 0,
            Self::Excerpt => 2 * EXCERPT,
            Self::Full => WHOLE_LIMIT,
        }
    }

    /// What is kept of content that is there in whole.
    pub(crate) fn keep(self, content: &Bytes) -> Option<Kept> {
        self.keep_payload(&Payload::complete(content.clone()))
    }

    /// What is kept of an answer.
    pub(crate) fn keep_payload(self, payload: &Payload) -> Option<Kept> {
        if self == Self::None {
            return None;
        }
        if payload.is_complete() && payload.head.len() <= self.limit() {
            return Some(Kept { bytes: payload.bytes, body: Some(payload.head.clone()), head: None, tail: None });
        }
        // Copies, so that sixteen kilobytes in the queue do not hold the megabytes they were cut from.
        let head = &payload.head[..payload.head.len().min(EXCERPT)];
        let rest = if payload.tail.is_empty() { &payload.head[head.len()..] } else { &payload.tail[..] };
        let tail = &rest[rest.len() - rest.len().min(EXCERPT)..];
        Some(Kept {
            bytes: payload.bytes,
            body: None,
            head: Some(Bytes::copy_from_slice(head)),
            tail: Some(Bytes::copy_from_slice(tail)),
        })
    }
}
