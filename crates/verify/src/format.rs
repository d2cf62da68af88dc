//! What an export consists of. Times are microseconds since 1970, digests lower-case hexadecimal, keys and signatures base64.
//!
//! As lines of JSON each line is an object with one key: `header` first, then, chain by chain and in their order, `entry` for
//! each entry and `link` for each one that a filter left out, `checkpoint` for each checkpoint that was kept outside of the
//! database, and `end`. As CSV or Parquet the entries are a table with the columns `chain, seq, at, kind, action, hash, body`,
//! and everything else is in a file beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the header calls this form.
pub const FORMAT: &str = "systemprompt-ledger/1";

/// The columns of the entries as a table.
pub const COLUMNS: [&str; 7] = ["chain", "seq", "at", "kind", "action", "hash", "body"];

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// What the export has.
    Header(Header),
    /// An entry of the log.
    Entry(Entry),
    /// An entry that a filter left out.
    Link(Link),
    /// A checkpoint that was kept outside of the database.
    Checkpoint(Checkpoint),
    /// There is no more.
    End(End),
}

/// What the export has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// When it was made.
    pub exported_at: i64,
    /// Entries before this time were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// Entries of this time or later were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// Of the entries in between only those of actions that fit this are here, and checkpoints. Of every other one there is
    /// its link.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, String>,
    /// Every chain.
    pub chains: Vec<Span>,
    /// The keys of the installation that exported.
    pub keys: Vec<Key>,
}

/// What of a chain is in the export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The chain.
    pub chain: Uuid,
    /// The installation that writes it.
    pub name: String,
    /// The entry before the first one; place 0 is before the first of all.
    pub after: Place,
    /// The last one.
    pub end: Place,
}

/// An entry by its place and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its place.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The chain.
    pub chain: Uuid,
    /// Its place.
    pub seq: i64,
    /// When it was written.
    pub at: i64,
    /// SHA-256 of the hash before, its place, its time and the SHA-256 of its body.
    pub hash: String,
    /// Canonical JSON, exactly the bytes that were hashed.
    pub body: String,
}

/// What holds an entry in its chain, without what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The chain.
    pub chain: Uuid,
    /// Its place.
    pub seq: i64,
    /// When it was written.
    pub at: i64,
    /// The hash of the entry.
    pub hash: String,
    /// SHA-256 of its body.
    pub sha256: String,
}

/// Where chains stood, or what retention dropped of them, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When.
    pub at: i64,
    /// The last entry of each chain in a segment that was dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Head>,
    /// The end of every chain.
    pub heads: Vec<Head>,
    /// Which key signed.
    pub key: String,
    /// The signature over the canonical JSON of `at`, `dropped` if there is any, and `heads`.
    pub signature: String,
}

/// The end of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The chain.
    pub chain: Uuid,
    /// The hash of the entry.
    pub hash: String,
    /// Its place.
    pub seq: i64,
}

/// A public key. What a home writes of it besides is let pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// What it is called: the first 16 digits of its public half.
    #[serde(rename = "key_id")]
    pub key: String,
    /// Its public half, 32 bytes.
    pub public_key: String,
    /// The key before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// What that key says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement: Option<String>,
}

/// There is no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How many entries there were.
    pub entries: u64,
    /// How many checkpoints.
    pub checkpoints: u64,
    /// How many entries were left out.
    #[serde(default, skip_serializing_if = "is_none")]
    pub links: u64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}
