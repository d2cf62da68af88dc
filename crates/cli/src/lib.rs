//! The command line of the product.
//!
//! [`args`] is the whole command tree; `commands` has one file per group of commands. A command is a function of its
//! arguments and an [`Invocation`](project::Invocation): it finds its project or database there, gives its result to the
//! [`Printer`], and returns a [`CliError`] that says what failed and what to do.
//!
//! To add a command: a variant in [`args`], an arm in its group's file.

pub mod args;
mod commands;
mod database;
mod demonstration;
pub mod error;
mod given;
mod http;
mod instance;
mod logging;
mod pinned;
pub mod printer;
pub mod project;
mod stop;
mod upkeep;
mod yaml;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use systemprompt_config::profile::{LogLevel, OutputFormat, Runtime};
use systemprompt_config::{Environment, Home};
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
    let working_directory = std::env::current_dir();
    let runtime = runtime(&cli.globals, &environment, working_directory.as_deref().ok());
    let printer = Printer::new(Format::from(runtime.output_format), cli.globals.quiet, runtime.no_color);
    let outcome = match working_directory {
        Ok(working_directory) => dispatch(cli, environment, working_directory, runtime, printer).await,
        Err(error) => Err(CliError::from_error("failed", &error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, &printer, debug);
            ExitCode::from(error.exit as u8)
        }
    }
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
    match cli.command {
        Command::Up(args) => Box::pin(commands::up::run(invocation, args)).await,
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

/// How this process speaks and asks: flag, then environment, then the profile's `runtime`.
fn runtime(globals: &Globals, env: &Environment, working_directory: Option<&Path>) -> Runtime {
    let home = working_directory.and_then(|directory| Home::discover(globals.home.as_deref(), directory).ok());
    let mut runtime = Runtime::in_force(home.as_ref(), globals.profile.as_deref(), env);
    if globals.json {
        runtime.output_format = OutputFormat::Json;
    } else if globals.yaml {
        runtime.output_format = OutputFormat::Yaml;
    }
    if globals.debug {
        runtime.log_level = LogLevel::Debug;
    } else if globals.verbose {
        runtime.log_level = LogLevel::Verbose;
    } else if globals.quiet {
        runtime.log_level = LogLevel::Quiet;
    }
    runtime.no_color |= globals.no_color;
    runtime.non_interactive |= globals.non_interactive;
    runtime
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
