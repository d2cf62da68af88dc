//! Why an installation failed.

use std::fmt::Write as _;
use std::time::Duration;

use super::problem::Problem;

/// Why the database could not be brought in line. Each transaction that failed was rolled back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// Nothing was changed, for these reasons.
    #[error("{}", lines(.0))]
    Refused(Vec<Problem>),
    /// A statement of a declarative schema failed.
    #[error("the schema of `{extension}` could not be installed, at {location}")]
    Schema {
        /// The extension.
        extension: String,
        /// `file:line:column`.
        location: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// A migration failed. In a transaction nothing of it remains; otherwise the statements before it do, and the next
    /// run resumes at it.
    #[error("migration {version} `{name}` of `{extension}` failed in statement {statement}, at {location}")]
    Migration {
        /// The extension.
        extension: String,
        /// The migration.
        version: u32,
        /// Its name.
        name: String,
        /// The failing statement, counted from 1.
        statement: usize,
        /// `file:line:column`.
        location: String,
        /// What the database said.
        #[source]
        source: Box<sqlx::Error>,
    },
    /// Columns the modules rely on do not exist, as `(extension, schema.table.column)`.
    #[error("required columns are missing: {}", columns(.0))]
    MissingColumns(Vec<(String, String)>),
    /// A seed failed.
    #[error("seed `{seed}` of `{extension}` failed, at {location}")]
    Seed {
        /// The extension.
        extension: String,
        /// The seed.
        seed: String,
        /// `file:line:column`.
        location: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// Another process has been installing for too long.
    #[error("another process has been installing the schema for {} s", waited.as_secs())]
    Busy {
        /// How long we waited.
        waited: Duration,
    },
    /// The database failed outside any module's statement.
    #[error("the database failed while {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
}

impl InstallError {
    pub(crate) fn while_doing(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}

fn lines(problems: &[Problem]) -> String {
    let mut text = String::from("the database schema cannot be installed:");
    for problem in problems {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {problem}");
        if let Some(hint) = problem.hint() {
            let _ = write!(text, "\n    {hint}");
        }
    }
    text
}

fn columns(missing: &[(String, String)]) -> String {
    missing.iter().map(|(extension, column)| format!("{column} (`{extension}`)")).collect::<Vec<_>>().join(", ")
}
