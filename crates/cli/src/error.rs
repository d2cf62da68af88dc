//! How a command fails: a code for programs, a sentence for people, what to do, and an exit status.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;

use serde_json::{Value, json};
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

/// Exit status of a command, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 1: it did not work.
    Failure = 1,
    /// 2: the command line is wrong.
    Usage = 2,
    /// 3: the configuration is wrong.
    Configuration = 3,
    /// 4: not allowed.
    Denied = 4,
    /// 5: it conflicts with what is there.
    Conflict = 5,
    /// 6: another system cannot be reached.
    Unavailable = 6,
    /// 78: validation found errors (`EX_CONFIG`).
    Invalid = 78,
    /// 130: interrupted.
    Interrupted = 130,
    /// 141: nobody reads the result any more (128 + `SIGPIPE`).
    BrokenPipe = 141,
}

impl Exit {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 9] = [
        Self::Failure,
        Self::Usage,
        Self::Configuration,
        Self::Denied,
        Self::Conflict,
        Self::Unavailable,
        Self::Invalid,
        Self::Interrupted,
        Self::BrokenPipe,
    ];

    /// The one with this number.
    pub(crate) fn of(status: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| *exit as i32 == status)
    }

    /// What it means.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Failure => "failed, or the answer is no",
            Self::Usage => "wrong command line",
            Self::Configuration => "wrong configuration, or no project",
            Self::Denied => "not allowed",
            Self::Conflict => {
                "conflicts with what is there: a name that is taken, a port in use, a server that runs already"
            }
            Self::Unavailable => "another system cannot be reached",
            Self::Invalid => "validation found errors",
            Self::Interrupted => "interrupted",
            Self::BrokenPipe => "whoever read the result went away before its end",
        }
    }
}

/// A command that failed.
#[derive(Debug)]
pub(crate) struct CliError {
    /// Stable name, from the catalogue in the configuration specification §18.
    pub(crate) code: Cow<'static, str>,
    /// What failed and why.
    pub(crate) message: String,
    /// The command or edit that helps.
    pub(crate) help: Option<String>,
    /// More for programs, such as a validation report.
    pub(crate) details: Option<Value>,
    /// The causes, outermost first, shown with `--debug`.
    pub(crate) chain: Vec<String>,
    /// How the process ends.
    pub(crate) exit: Exit,
    /// The result was printed already and says it all; only the exit status is left to give.
    pub(crate) said: bool,
}

impl CliError {
    /// A failure of this kind.
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            help: None,
            details: None,
            chain: Vec::new(),
            exit: Exit::Failure,
            said: false,
        }
    }

    /// An exit status after a result that says it all, such as `not running`.
    pub(crate) fn status(exit: Exit) -> Self {
        Self { said: true, exit, ..Self::new("failed", "") }
    }

    /// It was told to stop before it was done.
    pub(crate) fn interrupted() -> Self {
        Self::new("interrupted", "told to stop before it was done").exit(Exit::Interrupted)
    }

    /// The database failed.
    pub(crate) fn database(error: impl Error + 'static) -> Self {
        // A server that went away is another system that cannot be reached; what it says no to is a failure of ours.
        let exit = if causes(&error).any(is_out_of_reach) { Exit::Unavailable } else { Exit::Failure };
        Self::from_error("db_failed", &error)
            .help("systemprompt infra db status   tells how the database is")
            .exit(exit)
    }

    /// A value of the command line that is none.
    pub(crate) fn invalid_value(message: impl Into<String>) -> Self {
        Self::new("invalid_value", message).exit(Exit::Usage)
    }

    /// Says what to do.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Chooses the exit status.
    #[must_use]
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Adds material for programs.
    #[must_use]
    pub(crate) fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// A failure with its causes, each said once; the message is the error's own sentence and its first cause.
    pub(crate) fn from_error(code: &'static str, error: &(dyn Error + 'static)) -> Self {
        let mut said = said(error).into_iter();
        let mut message = said.next().unwrap_or_default();
        let chain: Vec<_> = said.collect();
        if let Some(first) = chain.first() {
            // Writing to a string cannot fail.
            let _ = write!(message, ": {first}");
        }
        Self { chain, ..Self::new(code, message) }
    }

    /// The text form, on standard error. What causes there are beside those in the message follows with `debug`.
    pub(crate) fn text(&self, debug: bool) -> String {
        let mut text = format!("error[{}]: {}", self.code, self.message.trim_end());
        if debug {
            for cause in self.chain.iter().skip(1) {
                text.push_str("\n  caused by: ");
                text.push_str(cause);
            }
        }
        if let Some(help) = &self.help {
            text.push_str("\nhelp: ");
            text.push_str(&help.replace('\n', "\n      "));
        }
        text
    }

    /// The form for programs.
    pub(crate) fn value(&self) -> Value {
        json!({"error": {"code": self.code, "message": self.message, "help": self.help, "details": self.details}})
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CliError {}

/// An unexpected failure, described where it happened.
impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::from_error("failed", error.as_ref())
    }
}

/// An error and what caused it, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// What an error and its causes say: what one has said already is left out, and what PostgreSQL says is in its own words,
/// without the place in its source.
fn said(error: &(dyn Error + 'static)) -> Vec<String> {
    let server = causes(error).find_map(server);
    let mut said: Vec<String> = Vec::new();
    for error in causes(error) {
        let mut text = error.to_string();
        if let Some(server) = server {
            text = text.replace("error returned from database: ", "").replace(&server.to_string(), &explain(server));
        }
        match said.last_mut() {
            Some(before) if before.contains(text.trim_end()) => {}
            _ => said.push(text),
        }
    }
    said
}

/// Whether this error says that the database cannot be reached.
fn is_out_of_reach(error: &(dyn Error + 'static)) -> bool {
    matches!(
        error.downcast_ref(),
        Some(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed)
    )
}

/// What PostgreSQL said, if this error is that.
fn server<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a PgDatabaseError> {
    let of = |said: &'a (dyn DatabaseError + 'static)| said.try_downcast_ref::<PgDatabaseError>();
    error
        .downcast_ref::<PgDatabaseError>()
        .or_else(|| error.downcast_ref::<sqlx::Error>()?.as_database_error().and_then(of))
        .or_else(|| of(&**error.downcast_ref::<Box<dyn DatabaseError>>()?))
}

/// What PostgreSQL said, with its detail and hint.
pub(crate) fn explain(error: &PgDatabaseError) -> String {
    let mut text = format!("{} (SQLSTATE {})", error.message(), error.code());
    for (label, more) in [("detail", error.detail()), ("hint", error.hint())] {
        if let Some(more) = more {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{label}: {more}");
        }
    }
    text
}

/// What commands return.
pub(crate) type CliResult<T = ()> = Result<T, CliError>;

#[cfg(test)]
mod tests {
    use systemprompt_database::testing::empty_database;

    use super::*;

    /// As features wrap what the database says.
    #[derive(Debug, thiserror::Error)]
    enum Wrapped {
        #[error(transparent)]
        Transparent(sqlx::Error),
        #[error("while counting")]
        Named(#[source] sqlx::Error),
        #[error("while counting: {0}")]
        Both(#[source] sqlx::Error),
    }

    #[tokio::test]
    async fn a_cause_is_said_once_and_without_the_place_in_a_foreign_source() {
        let database = empty_database().await;
        let refused = async || {
            sqlx::query("SELECT * FROM nowhere").execute(database.pool.write()).await.expect_err("no such table")
        };
        let server = "relation \"nowhere\" does not exist (SQLSTATE 42P01)";
        for (error, expected) in [
            (Wrapped::Transparent(refused().await), server.to_owned()),
            (Wrapped::Named(refused().await), format!("while counting: {server}")),
            (Wrapped::Both(refused().await), format!("while counting: {server}")),
        ] {
            let failure = CliError::from_error("db_failed", &error);
            assert_eq!(failure.message, expected);
            assert_eq!(failure.text(true), format!("error[db_failed]: {expected}"));
        }
    }

    #[test]
    fn a_database_that_is_away_is_another_system_that_cannot_be_reached() {
        let away = || sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert_eq!(CliError::database(Wrapped::Named(away())).exit, Exit::Unavailable);
        assert_eq!(CliError::database(away()).exit, Exit::Unavailable);
        assert_eq!(CliError::database(sqlx::Error::RowNotFound).exit, Exit::Failure);
    }

    #[test]
    fn every_status_is_told_apart_and_explained() {
        for exit in Exit::ALL {
            assert_eq!(Exit::of(exit as i32), Some(exit));
            assert!(!exit.meaning().is_empty());
        }
        assert_eq!((Exit::of(0), Exit::of(101)), (None, None));
    }
}
