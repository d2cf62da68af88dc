//! What `infra db` asks the database: each question is one function that answers with a serialisable struct.
//!
//! - [`catalog`] tells of tables, columns, indexes and sizes;
//! - [`query`] runs a statement that reads, [`execute`] one that changes something;
//! - [`doctor`] compares the live schema with the declared one.
//!
//! The history of migrations is the installer's, in `systemprompt_database::install::history`.

pub(crate) mod catalog;
pub(crate) mod doctor;
pub(crate) mod execute;
pub(crate) mod query;
#[cfg(test)]
mod tests;
mod value;

use systemprompt_database::InstallError;
use systemprompt_database::install::history::HistoryError;
use systemprompt_database::sql::SyntaxError;

/// Why a question could not be answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
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
    Statement(sqlx::Error),
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
    /// The history of migrations could not be read or mended.
    #[error(transparent)]
    History(HistoryError),
    /// Carrying it out failed.
    #[error(transparent)]
    Install(#[from] InstallError),
}

impl From<HistoryError> for InspectError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::UnknownExtension { extension, known } => {
                let similar = similar(&extension, known.iter().map(String::as_str));
                Self::UnknownExtension { extension, similar }
            }
            HistoryError::Install(error) => Self::Install(error),
            other => Self::History(other),
        }
    }
}

impl InspectError {
    pub(crate) fn while_doing(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}

/// A relation's name, with its schema outside `public`.
pub(crate) fn qualified(schema: &str, name: &str) -> String {
    if schema == "public" { name.to_owned() } else { format!("{schema}.{name}") }
}

fn did_you_mean(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        names => {
            format!("; did you mean {}?", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "))
        }
    }
}

/// What the server said.
fn explain(error: &sqlx::Error) -> String {
    let said = error.as_database_error().and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>());
    said.map_or_else(|| error.to_string(), crate::error::explain)
}

/// At most three of `names` that are a few typing mistakes away from `wanted`.
fn similar<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let limit = 1 + wanted.chars().count() / 3;
    let mut near: Vec<(usize, &str)> = names
        .map(|name| (strsim::levenshtein(wanted, name), name))
        .filter(|(distance, name)| *distance <= limit || name.contains(wanted))
        .collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod names {
    use super::*;

    #[test]
    fn near_misses_are_suggested_best_first() {
        let names = ["users", "user_roles", "ai_requests", "governance_decisions"];
        assert_eq!(similar("user", names.into_iter()), ["users", "user_roles"]);
        assert_eq!(similar("ai_request", names.into_iter()), ["ai_requests"]);
        assert!(similar("zebra", names.into_iter()).is_empty());
    }
}
