//! Secrets of the command line that are given on standard input, where `ps` and the shell's history do not see them.

use systemprompt_model::Secret;

use crate::error::{CliError, CliResult, Exit};

/// A secret as it stands on the command line.
pub(crate) fn parse(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// The secret, or the next line of standard input if it was given as `-`.
pub(crate) fn secret(given: Option<Secret>, option: &str) -> CliResult<Option<Secret>> {
    if given.as_ref().is_none_or(|secret| secret.expose() != "-") {
        return Ok(given);
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| CliError::from_error("failed", &error))?;
    match line.trim_end_matches(['\r', '\n']) {
        "" => Err(CliError::new("missing_value", format!("standard input has no line for {option}"))
            .help("`-` reads one line for each option given so, in the order of the reference")
            .exit(Exit::Usage)),
        line => Ok(Some(Secret::new(line))),
    }
}
