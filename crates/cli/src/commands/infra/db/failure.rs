//! How failures of the database commands are told.

use systemprompt_database::InstallError;
use systemprompt_database::install::history::HistoryError;

use crate::database::InspectError;
use crate::error::{CliError, Exit};

/// What a command that looked at the database, or changed it, could not do.
pub(super) fn failure(error: InspectError) -> CliError {
    let exit = match &error {
        InspectError::InvalidIdentifier { .. }
        | InspectError::NotOneStatement { .. }
        | InspectError::NotReading { .. }
        | InspectError::Syntax(_)
        | InspectError::TransactionControl { .. } => Exit::Usage,
        InspectError::Install(InstallError::Refused(_)) => Exit::Conflict,
        _ => Exit::Failure,
    };
    let help = match &error {
        InspectError::NotReading { .. } => Some("systemprompt infra db execute   changes things"),
        InspectError::Install(_) => Some(
            "systemprompt infra db migrate-status   shows what is applied; migrate-repair deals with changed migrations",
        ),
        _ => None,
    };
    let code = if exit == Exit::Usage { "invalid_value" } else { "db_failed" };
    let failure = CliError::from_error(code, &error).exit(exit);
    match help {
        Some(help) => failure.help(help),
        None => failure,
    }
}

/// What a command about migrations could not do.
pub(super) fn history_failure(error: HistoryError) -> CliError {
    failure(error.into())
}
