//! The command line of the product.
//!
//! `commands` is the tree: a folder a group, a file a command, with its arguments, what it does, and the
//! [`View`](view::View) of its result, which is table, JSON and YAML in one. A command gets an
//! [`Invocation`](project::Invocation), finds its project or database there, shows its result with the
//! [`Printer`](printer::Printer), and returns a [`CliError`] that says what failed and what to do. What changes
//! something does so through [`Invocation::change`](project::Invocation::change).
//!
//! To add a command: its file, and a variant in its group's `mod.rs`. Its numbers are read by [`bounds::within`], its times are
//! [`moment::Moment`]s, and what it says to people is a [`Text`](view::Text), in which what strangers wrote is escaped.
#![allow(
    clippy::unused_self,
    reason = "commands of one family share a signature, and whoever prints needs the printer"
)]

mod access;
mod accounts;
mod bounds;
mod change;
mod commands;
mod connect;
mod database;
mod demonstration;
mod error;
mod first_profile;
mod fitted;
mod given;
mod globals;
mod http;
mod instance;
mod ledger;
mod litellm;
mod log_secrets;
mod logging;
mod moment;
mod paging;
mod pinned;
mod printer;
mod profile_file;
mod project;
mod prompt;
mod ready;
mod request_filter;
mod requests;
mod roles;
mod stop;
mod texts;
mod upkeep;
mod view;
mod visible;

use std::path::PathBuf;
use std::process::ExitCode;

use systemprompt_config::Environment;
use systemprompt_config::profile::Runtime;
use systemprompt_model::Ambient;

use crate::commands::{Cli, Command};
use crate::error::{CliError, CliResult, Exit};
use crate::printer::{Format, Printer};
use crate::project::Invocation;

/// Runs the command line of this process.
pub async fn run() -> ExitCode {
    let environment = Environment::from_process();
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let debug = cli.globals.debug;
    let working_directory = std::env::current_dir();
    let runtime = cli.globals.runtime(&environment, working_directory.as_deref().ok());
    let printer = Printer::new(Format::from(runtime.output_format), cli.globals.quiet, runtime.no_color);
    let outcome = match working_directory {
        Ok(working_directory) => dispatch(cli, environment, working_directory, runtime, printer).await,
        Err(error) => Err(CliError::from_error("failed", &error)),
    };
    match outcome.and_then(|()| printer::nothing_lost()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.failure(&error, debug);
            ExitCode::from(error.exit as u8)
        }
    }
}

/// A command line that cannot be carried out: for people as clap says it, for programs as every other failure. Help and version
/// are asked for in the same way.
fn refuse(error: &clap::Error) -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).take_while(|word| word != "--").collect();
    let asked_for = |option: &str| words.iter().any(|word| word == option);
    let format = match (asked_for("--json"), asked_for("--yaml")) {
        (true, _) => Format::Json,
        (_, true) => Format::Yaml,
        _ => Format::Text,
    };
    if !error.use_stderr() || format == Format::Text {
        let said = error.render().to_string();
        if error.use_stderr() && said.contains(visible::is_bare) {
            // What was given may be a stranger's word.
            Printer::new(Format::Text, false, true).alert(said);
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Failure as u8));
        }
        // Help and version are results; what is wrong with the command line may go unheard.
        if let Err(lost) = error.print()
            && !error.use_stderr()
        {
            printer::note_loss(&lost);
        }
        if let Err(lost) = printer::nothing_lost() {
            Printer::new(Format::Text, false, true).failure(&lost, false);
            return ExitCode::from(lost.exit as u8);
        }
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Failure as u8));
    }
    let said = error.to_string();
    let said = said.split("\n\nUsage:").next().and_then(|said| said.split("\n\nFor more information").next());
    let said = said.unwrap_or_default().trim_start_matches("error: ").trim_end();
    let failure = CliError::new("usage", said).help("`--help` lists what a command takes").exit(Exit::Usage);
    Printer::new(format, false, true).failure(&failure, false);
    ExitCode::from(failure.exit as u8)
}

async fn dispatch(
    mut cli: Cli,
    environment: Environment,
    working_directory: PathBuf,
    runtime: Runtime,
    printer: Printer,
) -> CliResult {
    cli.globals.database_url = given::secret(cli.globals.database_url, "--database-url")?;
    let ambient = Ambient::system();
    let is_server = matches!(cli.command, Command::Up(_));
    let logs = logging::install(&cli.globals, &environment, &runtime, is_server, &ambient);
    let invocation =
        Invocation { globals: cli.globals, environment, working_directory, runtime, printer, ambient, logs };
    cli.command.run(invocation).await
}
