//! The ledger: an append-only, hash-chained log of everything that was decided and done.
//!
//! ```text
//!  admit ──► decided ──┐                      ┌─► ledger           (INSERT)
//!  refuse ─► decided ──┼─► queue ─► writer ───┼─► ledger_content   (INSERT)
//!  retry ──► attempted ┤   one task, one      └─► ledger_chains    (compare-and-swap)
//!  finish ─► ended ────┘   statement a batch               │
//!                                                 projector ─► governance_decisions, ai_requests …
//! ```
//!
//! In the durable mode the writer answers `admit` after the commit, so nothing is done that is not on disk. What follows a
//! decision never blocks anybody; it waits in memory, and in a [`journal`] in the home, until it is written.
//!
//! Each installation writes a chain of its own, so replicas do not wait for each other. An entry's hash covers the one
//! before it, its place, its time and its body (`chain.rs`). [`verify`](mod@verify) recomputes all of it.
//!
//! The log is the only table with a promise. What people query are [projections](systemprompt_extension::ledger::Projection)
//! of it, which the [`Projector`] keeps up.

pub(crate) mod canonical;
pub(crate) mod chain;
mod chains;
pub mod checkpoint;
mod checkpointing;
mod compare;
pub mod content;
mod contents;
pub(crate) mod entry;
mod erased;
pub mod erasure;
mod error;
mod expected;
mod expiry;
pub mod export;
mod followed;
mod following;
pub mod history;
mod housekeeping;
pub mod journal;
pub(crate) mod kept;
pub mod keys;
mod lines;
mod log;
mod metrics;
mod open;
mod outage;
mod projector;
pub(crate) mod queue;
pub(crate) mod read;
mod recent;
mod recovery;
mod rehearsal;
mod report;
pub(crate) mod retention;
mod retention_clock;
mod segments;
mod settings;
mod shared;
mod signature;
mod silences;
mod sweep;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub mod verify;
mod write;
mod writer;

use systemprompt_extension::SchemaDefinition;

pub(crate) use self::error::Unavailable;
pub(crate) use self::open::OpenAction;

pub use self::error::LedgerError;
pub use self::expiry::SegmentError;
pub use self::log::{ADMISSION_WAIT, Ledger, LedgerOptions};
pub use self::projector::{CatchUpError, ProjectionStatus, Projector};
pub use self::retention::{
    ClassRetention, ContentClasses, ContentRetention, EXCERPT, Payload, Retention, RetentionProfile, TOOL_INPUT_LIMIT,
    WHOLE_LIMIT,
};
pub use self::settings::{AuditProfile, Durability, GovernanceProfile, LedgerSettings, OnStoreFailure};

/// The ledger's tables and triggers.
pub(crate) fn schema() -> SchemaDefinition {
    SchemaDefinition::inline("ledger", include_str!("../../schema/ledger.sql"))
}
