//! What a verification found.

use serde::Serialize;
use uuid::Uuid;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// How many entries are sound.
    pub verified: i64,
    /// Each chain.
    pub chains: Vec<ChainReport>,
    /// How many checkpoints were compared.
    pub checkpoints: usize,
    /// How many parts of content were compared with their digests.
    pub content: u64,
    /// How many parts of content are gone because somebody erased them, as the log says.
    #[serde(skip_serializing_if = "is_none")]
    pub erased: u64,
    /// How many accounts and keys are what recorded changes made them, if somebody looked.
    pub accounts: u64,
    /// The projections that were compared; empty when only a part of the log was looked at.
    pub projections: Vec<String>,
    /// Everything that is not as it should be. Empty means that the ledger is sound.
    pub problems: Vec<LedgerProblem>,
    /// What deserves to be known and is no problem.
    pub notes: Vec<String>,
}

/// One chain, as far as it is sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// The chain.
    pub chain: Uuid,
    /// The installation that writes it.
    pub name: String,
    /// The first entry that was looked at.
    pub from_seq: i64,
    /// The last entry that is sound; less than `from_seq` when there is none.
    pub to_seq: i64,
    /// The hash of the last sound entry, in hexadecimal: what to compare with a copy kept elsewhere.
    pub head: String,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LedgerProblem {
    /// The chain it is in.
    pub chain: Option<Uuid>,
    /// The entry.
    pub seq: Option<i64>,
    /// The action it is about.
    pub action: Option<Uuid>,
    /// The projection that disagrees with the log.
    pub projection: Option<String>,
    /// The table it is in, if it is not the log.
    pub table: Option<String>,
    /// The row of that table, by its key.
    pub row: Option<String>,
    /// What is wrong.
    pub problem: String,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

impl LedgerProblem {
    /// Something about one place of a chain.
    pub(super) fn at(chain: Uuid, seq: i64, problem: String) -> Self {
        Self { chain: Some(chain), seq: Some(seq), problem, ..Self::default() }
    }

    /// Something about the whole.
    pub(super) fn of(problem: String) -> Self {
        Self { problem, ..Self::default() }
    }

    /// Something about a row of a table, which is named by its key.
    pub fn row(table: &str, row: String, problem: String) -> Self {
        Self { table: Some(table.to_owned()), row: Some(row), problem, ..Self::default() }
    }
}
