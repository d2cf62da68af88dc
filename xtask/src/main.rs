//! What developers do with this repository: `cargo xtask help`.
//!
//! Depends on next to nothing, so that the first `cargo xtask up` on a fresh machine begins within seconds. Whatever needs
//! the product's own code is a program of another package that is run through cargo.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod bench;
mod generate;
mod postgres;
mod release;
mod step;
mod test;
mod up;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

const HELP: &str = "\
Usage: cargo xtask <TASK>

Tasks:
  up [ARGS]           Install PostgreSQL if the machine has none, build the release binary, run `systemprompt up ARGS`
  test                Everything CI checks: format, lints, generated files, all tests, the official SDKs
  check               The quick part of it: format, lints, the rules between crates
  generate [--check]  Write the offline SQL data and the reference documentation; with --check fail if they are stale
  bench [ARGS]        Measure; `cargo xtask bench --help` for what
  help                This text
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let task = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    match run(&task.to_string_lossy(), &arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the task succeeded; when it did not, it has said why.
fn run(task: &str, arguments: &[OsString]) -> Result<bool> {
    let sh = Shell::new()?;
    match (task, arguments) {
        ("up", arguments) => up::run(&sh, arguments),
        ("bench", arguments) => bench::run(&sh, arguments),
        ("test", []) => test::run(&in_workspace(sh)?),
        ("check", []) => test::check(&in_workspace(sh)?),
        ("generate", []) => generate::run(&in_workspace(sh)?, generate::Mode::Write),
        ("generate", [flag]) if flag == "--check" => generate::run(&in_workspace(sh)?, generate::Mode::Check),
        ("help" | "--help" | "-h" | "", []) => {
            print!("{HELP}");
            Ok(true)
        }
        _ => bail!("unknown task or arguments\n\n{HELP}"),
    }
}

/// Becomes `command`, so that signals and the exit status are its own. Returns only when that fails.
fn replace_with(mut command: Command) -> Result<bool> {
    let program = PathBuf::from(command.get_program());
    Err(command.exec()).with_context(|| format!("running {}", program.display()))
}

/// The shell, in the workspace's root. Tasks that take paths from the user stay where the user is.
fn in_workspace(sh: Shell) -> Result<Shell> {
    let manifest = cmd!(sh, "cargo locate-project --workspace --message-format plain").quiet().read()?;
    sh.change_dir(PathBuf::from(manifest).parent().context("the workspace has a directory")?);
    Ok(sh)
}

/// Where cargo puts what it builds, by its configuration and CARGO_TARGET_DIR.
fn target_directory(sh: &Shell) -> Result<PathBuf> {
    let metadata = cmd!(sh, "cargo metadata --no-deps --format-version 1").quiet().read()?;
    let rest = metadata.split_once("\"target_directory\":\"").context("cargo metadata names the target directory")?.1;
    let path = rest.split_once('"').context("cargo metadata is JSON")?.0;
    Ok(PathBuf::from(path.replace("\\\\", "\\")))
}
