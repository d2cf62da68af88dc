//! What the ledger says, read back: its entries, and projections of them.
//!
//! The ledger is a log of everything that was decided and done. Nobody queries it; they query *projections*, tables that a
//! feature derives from the entries it understands. A projection is applied entry by entry, in order, each exactly once, and
//! can be emptied and filled again at any time.
//!
//! A newer version of the product may write more than this one knows: fields that are not known are left out when an entry
//! is read, and entries of a kind that is not known are given to no projection. A projection that learns something new is
//! rebuilt.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sqlx::PgConnection;
use systemprompt_model::{
    ActionId, ActorKind, ApiKeyId, ContextId, DecisionId, InstanceId, SessionId, TaskId, TraceId, UserId,
};
use uuid::Uuid;

/// Turns entries of the ledger into rows for people to query.
///
/// Rows may depend on nothing but the entries: no clock, no other table, no randomness. `infra logs audit verify` applies
/// the whole ledger to empty copies of the tables and compares.
#[async_trait]
pub trait Projection: Send + Sync {
    /// Its name; that of its main table. The same for ever: its cursor is kept under it.
    fn name(&self) -> &'static str;

    /// The tables it fills, and nobody else. They are emptied when it is rebuilt. Statements name them without a schema.
    fn tables(&self) -> &'static [&'static str];

    /// Applies entries, oldest first. Entries of one action come in the order in which things happened; an outcome may
    /// come after the action was given up as abandoned, and then counts. An outcome whose beginning is not in the tables
    /// belongs to a part of the log that retention has dropped, and is left out.
    ///
    /// An entry that was applied may come again, and then changes nothing.
    ///
    /// Runs in a transaction that also moves the cursor, so it must not begin or end one, nor wait for anything else.
    /// One statement for all entries of a kind is the aim.
    async fn apply(&self, connection: &mut PgConnection, entries: &[LedgerEntry]) -> Result<(), ProjectionError>;

    /// Deletes the rows of these actions: retention is about to drop their part of the log.
    async fn forget(&self, connection: &mut PgConnection, actions: &[ActionId]) -> Result<(), ProjectionError>;
}

/// A projection that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// A statement failed.
    #[error("writing its tables")]
    Database(#[from] sqlx::Error),
    /// An entry does not say what it must.
    #[error("entry {seq} of chain {chain}")]
    Entry {
        /// The chain.
        chain: Uuid,
        /// Its place in it.
        seq: i64,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// One entry of the ledger.
#[derive(Debug, Clone)]
pub struct LedgerEntry {
    /// The chain it is in: one for each installation that writes.
    pub chain: Uuid,
    /// Its place in the chain, from 1.
    pub seq: i64,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// The action it is about; nil for a checkpoint.
    pub action: ActionId,
    /// What it says.
    pub record: Record,
}

/// What an entry says.
#[derive(Debug, Clone)]
pub enum Record {
    /// An action was decided upon.
    Decided(Box<Decided>),
    /// An effect was tried again.
    Attempted(Attempted),
    /// An action ended.
    Ended(Box<Ended>),
    /// An action was found open after its server died.
    Abandoned(Abandoned),
    /// Where all chains stood.
    Checkpoint(Checkpoint),
}

/// The kinds of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// An action was decided upon.
    Decided,
    /// An effect was tried again.
    Attempted,
    /// An action ended.
    Ended,
    /// An action was found open after its server died.
    Abandoned,
    /// Where all chains stood.
    Checkpoint,
}

impl EntryKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Decided, Self::Attempted, Self::Ended, Self::Abandoned, Self::Checkpoint];

    /// The name used in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Attempted => "attempted",
            Self::Ended => "ended",
            Self::Abandoned => "abandoned",
            Self::Checkpoint => "checkpoint",
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EntryKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a kind of entry"))
    }
}

impl Record {
    /// Reads the body of an entry of this kind.
    pub fn read(kind: EntryKind, body: &str) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            EntryKind::Decided => Self::Decided(serde_json::from_str(body)?),
            EntryKind::Attempted => Self::Attempted(serde_json::from_str(body)?),
            EntryKind::Ended => Self::Ended(serde_json::from_str(body)?),
            EntryKind::Abandoned => Self::Abandoned(serde_json::from_str(body)?),
            EntryKind::Checkpoint => Self::Checkpoint(serde_json::from_str(body)?),
        })
    }
}

impl LedgerEntry {
    /// The decision, if the entry is one about an effect of this kind.
    pub fn decided(&self, effect: &str) -> Option<&Decided> {
        match &self.record {
            Record::Decided(decided) if decided.effect.kind == effect => Some(decided),
            _ => None,
        }
    }

    /// The error of an entry that does not say what it must.
    pub fn unreadable(&self, source: serde_json::Error) -> ProjectionError {
        ProjectionError::Entry { chain: self.chain, seq: self.seq, source }
    }
}

/// An action was decided upon.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Decided {
    /// The action.
    pub action: ActionId,
    /// When it was decided.
    #[serde(deserialize_with = "micros")]
    pub at: DateTime<Utc>,
    /// Who is behind it.
    pub by: RecordedAttribution,
    /// The bytes that were judged.
    pub content: ContentDigest,
    /// What was decided, and by which rules.
    pub decision: RecordedDecision,
    /// What was to be done.
    pub effect: RecordedEffect,
    /// The run of the server that decided.
    pub instance: InstanceId,
    /// What is kept beside the log of something that was refused; absent otherwise.
    #[serde(default)]
    pub kept: Option<Vec<KeptContent>>,
    /// Always `decided`.
    pub kind: EntryKind,
    /// When the request reached us.
    #[serde(deserialize_with = "micros")]
    pub received_at: DateTime<Utc>,
    /// What it was to be done to.
    pub resource: RecordedResource,
    /// Where it may go.
    #[serde(default)]
    pub targets: Vec<String>,
}

impl Decided {
    /// Whether it was refused, so nothing was done.
    pub fn is_refused(&self) -> bool {
        self.decision.verdict == "deny"
    }
}

/// Who is behind an action, as recorded.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RecordedAttribution {
    /// Who acts for whom, the present actor first.
    pub actors: Vec<RecordedActor>,
    /// The client program.
    #[serde(default)]
    pub client: Option<String>,
    /// The trace the client sent.
    #[serde(default)]
    pub client_trace: Option<String>,
    /// The conversation.
    #[serde(default)]
    pub context: Option<ContextId>,
    /// What the caller proved itself with: `api_key`, `token`, `operating_system`, `installation`.
    pub credential: String,
    /// Its department at that time.
    #[serde(default)]
    pub department: Option<String>,
    /// The API key, if it was one.
    #[serde(default)]
    pub key: Option<ApiKeyId>,
    /// Its roles at that time.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The session.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// The task.
    #[serde(default)]
    pub task: Option<TaskId>,
    /// The trace.
    pub trace: TraceId,
    /// The account; absent for somebody without one.
    #[serde(default)]
    pub user: Option<UserId>,
}

/// One of those who act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedActor {
    /// Its id within its kind.
    pub id: String,
    /// What it is.
    pub kind: ActorKind,
}

/// Bytes, by their digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ContentDigest {
    /// How many.
    pub bytes: i64,
    /// Their SHA-256, in hexadecimal; absent when not all of them were seen.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// A part of the content that is kept beside the log, for as long as the retention setting allows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KeptContent {
    /// How long the whole of it was.
    pub bytes: i64,
    /// Which part: `request`, `answer`, or a name of the feature's.
    pub part: String,
    /// The digest of what is kept, in hexadecimal; absent when it is the one of what was judged, or came back.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RecordedDecision {
    /// Every rule that was looked at: a list of `{detail, duration_ms, policy_id, result}`.
    pub evaluations: Box<Json>,
    /// The id of the decision.
    pub id: DecisionId,
    /// The policy that decided.
    pub policy: String,
    /// Digest of the policy documents in force.
    pub policy_version: String,
    /// Its reason.
    #[serde(default)]
    pub reason: Option<String>,
    /// What was judged: `user_prompt`, a tool's name, an operation.
    pub subject: String,
    /// `allow`, `deny` or `warn`.
    pub verdict: String,
}

/// What was to be done.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RecordedEffect {
    /// What the feature that has the effect says about it.
    pub facts: Box<Json>,
    /// The kind of effect, e.g. `infer`.
    pub kind: Cow<'static, str>,
}

/// What something was to be done to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RecordedResource {
    /// Its id within its kind.
    pub id: String,
    /// Its kind.
    pub kind: String,
}

/// An effect was tried again under the same decision.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Attempted {
    /// The action.
    pub action: ActionId,
    /// When.
    #[serde(deserialize_with = "micros")]
    pub at: DateTime<Utc>,
    /// The bytes of this attempt, if others were decided upon.
    #[serde(default)]
    pub content: Option<ContentDigest>,
    /// The kind of effect.
    pub effect: String,
    /// What policies said about those bytes, as in a decision.
    #[serde(default)]
    pub evaluations: Option<Box<Json>>,
    /// Always `attempted`.
    pub kind: EntryKind,
    /// Which attempt begins, from 2.
    pub number: i64,
    /// Where it goes.
    pub target: String,
    /// What the one before it used up, if it did; it is part of what the end says.
    #[serde(default)]
    pub usage: Option<RecordedUsage>,
    /// Why the one before it failed.
    pub why: String,
}

/// An action ended.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Ended {
    /// The action.
    pub action: ActionId,
    /// What came back.
    #[serde(default)]
    pub answer: Option<ContentDigest>,
    /// When.
    #[serde(deserialize_with = "micros")]
    pub at: DateTime<Utc>,
    /// The kind of effect.
    pub effect: String,
    /// What the feature that has the effect says about its result.
    #[serde(default)]
    pub facts: Option<Box<Json>>,
    /// What policies said about what came back, as in a decision.
    #[serde(default)]
    pub inspections: Option<Box<Json>>,
    /// What is kept of the action beside the log; absent in entries of versions that did not say so.
    #[serde(default)]
    pub kept: Option<Vec<KeptContent>>,
    /// Always `ended`.
    pub kind: EntryKind,
    /// From the beginning of the effect to its end.
    #[serde(default)]
    pub latency_ms: Option<i64>,
    /// Why it failed.
    #[serde(default)]
    pub reason: Option<String>,
    /// `completed` or `failed`.
    pub status: String,
    /// What it used up.
    pub usage: RecordedUsage,
}

/// What an action used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct RecordedUsage {
    /// Calls.
    pub calls: i64,
    /// Money, in millionths of a dollar.
    pub cost_microdollars: i64,
    /// Tokens of the prompt, cached ones included.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
}

/// An action was found open after its server died.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Abandoned {
    /// The action.
    pub action: ActionId,
    /// When it was found.
    #[serde(deserialize_with = "micros")]
    pub at: DateTime<Utc>,
    /// The kind of effect.
    pub effect: String,
    /// Always `abandoned`.
    pub kind: EntryKind,
    /// In words.
    pub reason: String,
}

/// Where all chains stood at some moment, written into one of them: it shows in the others when a chain loses its end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Checkpoint {
    /// When.
    #[serde(deserialize_with = "micros")]
    pub at: DateTime<Utc>,
    /// The end of every chain.
    pub heads: Vec<ChainHead>,
    /// Which key signs the same in the home of who wrote it.
    #[serde(default)]
    pub key: Option<String>,
    /// Always `checkpoint`.
    pub kind: EntryKind,
    /// The public half of that key, base64.
    #[serde(default)]
    pub public_key: Option<String>,
    /// `regular`, `shutdown`, `retention`; `dropped` if the heads are the last entries that retention drops.
    pub reason: String,
    /// The signature of the key over `{"at", "heads"}`, or `{"at", "dropped", "heads": []}`; base64.
    #[serde(default)]
    pub signature: Option<String>,
}

/// Where a chain stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// The chain.
    pub chain: Uuid,
    /// The hash of its last entry, in hexadecimal.
    pub hash: String,
    /// The place of its last entry.
    pub seq: i64,
}

/// JSON as it stands in an entry. Compared by its text, which is canonical.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Its text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// What it says.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0.get())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

/// Times are written as microseconds since 1970.
fn micros<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let micros = i64::deserialize(deserializer)?;
    DateTime::from_timestamp_micros(micros).ok_or_else(|| serde::de::Error::custom("not a time"))
}
