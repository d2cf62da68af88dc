//! What `infra db` shows and does: each question is one function that answers with a serialisable struct.
//!
//! Nothing here is on a request's path. Functions that look at declared schema take the modules in load order; those that
//! change anything take the installation lock first.

mod catalog;
mod doctor;
mod execute;
mod migrations;
mod query;
mod value;

pub use catalog::{
    Column, DatabaseSize, ForeignKey, Index, Info, PoolInfo, RowCount, Status, TableDescription, TableInfo, TableSize,
    count, describe, indexes, info, size, status, tables,
};
pub use doctor::{Comparison, Difference, Doctor, NamedColumn, NamedIndex, NamedTable, doctor};
pub use execute::{ExecuteOptions, ExecuteResult, execute};
pub use migrations::{
    Drift, ExtensionPlan, ExtensionStatus, MigrationPlan, MigrationRow, MigrationStatus, PlannedAction,
    PlannedMigration, Repair, RepairAction, RepairMode, Reverted, Run, down, history, mark_applied, plan, repair,
    status as migration_status,
};
pub use query::{QueryOptions, QueryResult, ResultColumn, query};

use std::fmt::Write as _;

use crate::install::{InstallError, Problem};
use crate::sql::SyntaxError;

/// Why a question could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A name that no table can have in the form we accept.
    #[error("`{name}` is not a table name: letters, digits and `_`, at most 63, optionally after a schema and a dot")]
    InvalidIdentifier {
        /// What was given.
        name: String,
    },
    /// No such table or view.
    #[error("there is no table `{name}`{}", did_you_mean(.similar))]
    UnknownTable {
        /// What was asked for.
        name: String,
        /// Names close to it, best first.
        similar: Vec<String>,
    },
    /// The text is not SQL.
    #[error("this is not SQL")]
    Syntax(#[from] SyntaxError),
    /// The text holds no statement, or more than one.
    #[error("exactly one statement is needed, not {count}")]
    NotOneStatement {
        /// How many there are.
        count: usize,
    },
    /// A statement that does more than read.
    #[error("`{word}` does not only read: SELECT, WITH, EXPLAIN, SHOW, TABLE and VALUES do")]
    NotReading {
        /// Its first word.
        word: String,
    },
    /// `BEGIN`, `COMMIT` and the like, where transactions are managed.
    #[error("transactions are managed for you; leave out `{word}`")]
    TransactionControl {
        /// Its first word.
        word: String,
    },
    /// The server refused the statement.
    #[error("{}", explain(.0))]
    Statement(#[source] sqlx::Error),
    /// The server could not be asked.
    #[error("the database failed while {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What went wrong.
        #[source]
        source: sqlx::Error,
    },
    /// No loaded extension has this id.
    #[error("there is no extension `{extension}`{}", did_you_mean(.similar))]
    UnknownExtension {
        /// What was asked for.
        extension: String,
        /// Ids close to it, best first.
        similar: Vec<String>,
    },
    /// The extension defines no such migration.
    #[error("`{extension}` has no migration {version}")]
    UnknownMigration {
        /// The extension.
        extension: String,
        /// The version.
        version: u32,
    },
    /// The migration is in the history already.
    #[error("migration {version} of `{extension}` is recorded already")]
    AlreadyApplied {
        /// The extension.
        extension: String,
        /// The version.
        version: u32,
    },
    /// There is no way back.
    #[error("migration {version} of `{extension}` cannot be taken back: it has no down SQL in this binary")]
    NotReversible {
        /// The extension.
        extension: String,
        /// The version.
        version: u32,
    },
    /// The modules themselves are broken.
    #[error("the declared schema has problems")]
    Declaration(#[source] InstallError),
    /// Carrying it out failed.
    #[error(transparent)]
    Install(#[from] InstallError),
}

impl InspectError {
    pub(crate) fn while_doing(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }

    pub(crate) fn declaration(problems: Vec<Problem>) -> Self {
        Self::Declaration(InstallError::Refused(problems))
    }
}

fn did_you_mean(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        names => {
            format!("; did you mean {}?", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "))
        }
    }
}

/// What the server said, with its detail and hint.
fn explain(error: &sqlx::Error) -> String {
    let Some(error) =
        error.as_database_error().and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>())
    else {
        return error.to_string();
    };
    let mut text = format!("{} (SQLSTATE {})", error.message(), error.code());
    for (label, more) in [("detail", error.detail()), ("hint", error.hint())] {
        if let Some(more) = more {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{label}: {more}");
        }
    }
    text
}

/// At most three of `names` that are a few typing mistakes away from `wanted`.
fn similar<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let limit = 1 + wanted.chars().count() / 3;
    let mut near: Vec<(usize, &str)> = names
        .map(|name| (edit_distance(wanted, name), name))
        .filter(|(distance, name)| *distance <= limit || name.contains(wanted))
        .collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_suggested_best_first() {
        let names = ["users", "user_roles", "ai_requests", "governance_decisions"];
        assert_eq!(similar("user", names.into_iter()), ["users", "user_roles"]);
        assert_eq!(similar("ai_request", names.into_iter()), ["ai_requests"]);
        assert!(similar("zebra", names.into_iter()).is_empty());
    }
}
