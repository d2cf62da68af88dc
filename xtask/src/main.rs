//! What developers do with this repository: `cargo xtask help`.
//!
//! Depends on next to nothing, so that the first `cargo xtask up` on a fresh machine begins within seconds. Whatever needs
//! the product's own code is a program of another package that is run through cargo.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod bench;
mod build;
mod generate;
mod postgres;
mod step;
mod test;
mod up;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};
use workspace::in_workspace;
use xshell::Shell;

const HELP: &str = "\
Usage: cargo xtask <TASK>

Tasks:
  up [--release] [ARGS]
                      Install PostgreSQL if the machine has none, build, run `systemprompt up ARGS`;
                      with --release the optimised build, which takes longer to make
  test                Everything CI checks: format, lints, generated files, all tests, the official SDKs,
                      the programs people use
  clients             Only the programs people use, against the debug build there is
  check               The quick part of it: format, lints, the rules between crates
  generate [--check]  Write the offline SQL data and the reference documentation; with --check fail if they are stale
  bench [ARGS]        Measure the optimised build; `cargo xtask bench --help` for what
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
        ("clients", []) => test::clients(&in_workspace(sh)?),
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
