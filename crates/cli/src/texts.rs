//! Texts of the command line: none is empty, unless nothing is a value of its own.
//!
//! A name that a script left empty is told before anything is done, for every argument in one place.

use std::any::TypeId;

use clap::{Arg, Command};

/// Arguments that may be empty: an empty one removes what is there.
const MAY_BE_EMPTY: [&str; 2] = ["full_name", "display_name"];

/// The same commands, with every text refused that is empty.
pub(crate) fn filled(command: Command) -> Command {
    command
        .mut_args(|argument| if must_be_filled(&argument) { argument.value_parser(text) } else { argument })
        .mut_subcommands(filled)
}

fn must_be_filled(argument: &Arg) -> bool {
    // A variable of the environment that is set to nothing counts as one that is not set.
    argument.get_value_parser().type_id() == TypeId::of::<String>()
        && argument.get_env().is_none()
        && !MAY_BE_EMPTY.contains(&argument.get_id().as_str())
}

fn text(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("it must not be empty") } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;
    use clap::{ArgAction, CommandFactory as _};

    use super::*;
    use crate::commands::Cli;

    /// What the parser says to an empty value, with nothing else given.
    fn refusal(path: &[String], argument: &Arg) -> Option<String> {
        let mut line = path.to_vec();
        if let Some(long) = argument.get_long() {
            line.push(format!("--{long}="));
        } else {
            let before = argument.get_index().expect("a positional argument has a place") - 1;
            line.extend(std::iter::repeat_n("1".to_owned(), before));
            line.extend(["--".to_owned(), String::new()]);
        }
        let refused = Cli::tree().try_get_matches_from(line).err()?;
        (refused.kind() != ErrorKind::MissingRequiredArgument).then(|| refused.to_string())
    }

    fn walk(command: &Command, path: &[String], check: &mut impl FnMut(&[String], &Arg)) {
        let path = [path, &[command.get_name().to_owned()]].concat();
        command.get_arguments().for_each(|argument| check(&path, argument));
        command.get_subcommands().for_each(|below| walk(below, &path, check));
    }

    #[test]
    fn every_text_of_the_command_line_is_refused_when_it_is_empty() {
        let mut root = Cli::command();
        root.build();
        let mut seen = Vec::new();
        walk(&root, &[], &mut |path, argument| {
            let is_text = argument.get_value_parser().type_id() == TypeId::of::<String>();
            let is_told = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
            if !is_text || !is_told || argument.get_env().is_some() || path.iter().any(|word| word == "help") {
                return;
            }
            let name = format!("{} {}", path[1..].join(" "), argument.get_id());
            let said = refusal(path, argument);
            if MAY_BE_EMPTY.contains(&argument.get_id().as_str()) {
                assert_eq!(said, None, "{name}");
            } else {
                assert!(said.as_ref().is_some_and(|said| said.contains("it must not be empty")), "{name}: {said:?}");
            }
            seen.push(name);
        });
        for known in ["admin users create name", "infra db projections rebuild name", "infra db migrate-down extension"]
        {
            assert!(seen.iter().any(|name| name == known), "{known} is not among {seen:?}");
        }
    }
}
