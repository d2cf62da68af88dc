//! How a command fails: a code for programs, a sentence for people, what to do, and an exit status.

use serde_json::{Value, json};

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
}

/// A command that failed.
#[derive(Debug)]
pub(crate) struct CliError {
    /// Stable name, from the catalogue in the configuration specification §18.
    pub(crate) code: &'static str,
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
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
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

    /// The database failed.
    pub(crate) fn database(error: impl std::error::Error + 'static) -> Self {
        Self::from_error("db_failed", &error).help("systemprompt infra db status   tells how the database is")
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

    /// A failure with its causes; the message is the error's own sentence and its first cause.
    pub(crate) fn from_error(code: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut chain = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            chain.push(error.to_string());
            cause = error.source();
        }
        let message = match chain.first() {
            Some(first) => format!("{error}: {first}"),
            None => error.to_string(),
        };
        Self { chain, ..Self::new(code, message) }
    }

    /// The text form, on standard error.
    pub(crate) fn text(&self, debug: bool) -> String {
        let mut text = format!("error[{}]: {}", self.code, self.message.trim_end());
        if debug {
            for cause in &self.chain {
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

impl std::error::Error for CliError {}

/// An unexpected failure, described where it happened.
impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::from_error("failed", error.as_ref())
    }
}

/// What commands return.
pub(crate) type CliResult<T = ()> = Result<T, CliError>;
