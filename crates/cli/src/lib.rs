//! The command line of the product.
//!
//! [`args`] is the whole command tree; `commands` has one file per group of commands. A command is a function of its
//! arguments and an [`Invocation`](project::Invocation): it finds its project or database there, gives its result to the
//! [`Printer`], and returns a [`CliError`] that says what failed and what to do.
//!
//! To add a command: a variant in [`args`], an arm in its group's file.

pub mod args;
mod commands;
mod demonstration;
pub mod error;
mod http;
mod instance;
mod logging;
pub mod printer;
pub mod project;
mod yaml;

use std::process::ExitCode;

use clap::Parser as _;
use systemprompt_config::{Environment, environment};
use systemprompt_model::Ambient;

use crate::args::{Admin, Cli, Command, Globals, Infra};
use crate::error::{CliError, CliResult};
use crate::printer::{Format, Printer};
use crate::project::Invocation;

/// Runs the command line of this process.
pub async fn run() -> ExitCode {
    let environment = Environment::from_process();
    let cli = Cli::parse();
    let debug = cli.globals.debug;
    let printer = printer(&cli.globals, &environment);
    match dispatch(cli, environment, printer).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, &printer, debug);
            ExitCode::from(error.exit as u8)
        }
    }
}

async fn dispatch(cli: Cli, environment: Environment, printer: Printer) -> CliResult {
    let ambient = Ambient::system();
    let is_server = matches!(cli.command, Command::Up(_));
    let logs = logging::install(&cli.globals, &environment, is_server, &ambient);
    let working_directory = std::env::current_dir().map_err(|error| CliError::from_error("failed", &error))?;
    let invocation = Invocation { globals: cli.globals, environment, working_directory, printer, ambient, logs };
    match cli.command {
        Command::Up(args) => commands::up::run(invocation, args).await,
        Command::Admin(Admin::Setup(args)) => commands::setup::run(&invocation, args).await,
        Command::Admin(Admin::Config(command)) => commands::config::run(&invocation, &command),
        Command::Admin(Admin::Users(command)) => commands::users::run(&invocation, command).await,
        Command::Infra(Infra::Services(command)) => commands::services::run(&invocation, command).await,
        Command::Infra(Infra::Db(command)) => commands::db::run(&invocation, command).await,
        Command::Infra(Infra::Logs(command)) => commands::logs::run(&invocation, command).await,
        Command::Plugins(command) => commands::plugins::run(&invocation, &command),
        Command::Reference { directory } => commands::reference::run(&invocation, &directory),
    }
}

/// Flag, then environment, then text.
fn printer(globals: &Globals, env: &Environment) -> Printer {
    let format = match env.get(environment::SYSTEMPROMPT_OUTPUT_FORMAT) {
        _ if globals.json => Format::Json,
        _ if globals.yaml => Format::Yaml,
        Some("json") => Format::Json,
        Some("yaml") => Format::Yaml,
        _ => Format::Text,
    };
    Printer::new(format, globals.quiet, globals.no_color || env.no_color())
}

fn report(error: &CliError, printer: &Printer, debug: bool) {
    if error.said {
        return;
    }
    match printer.format {
        Format::Text => printer.alert(error.text(debug)),
        // Programs read one document from standard output, whichever way it went.
        Format::Json => printer.document(&serde_json::to_string(&error.value()).unwrap_or_default()),
        Format::Yaml => printer.document(&yaml::to_string(&error.value())),
    }
}
