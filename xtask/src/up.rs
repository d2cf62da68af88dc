//! `cargo xtask up`: from a fresh clone to a running server.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use xshell::Shell;

use crate::build::{Profile, build, replace_with};
use crate::step::step;

/// Becomes `systemprompt up` at the end; standard output is left to it.
pub(crate) fn run(sh: &Shell, arguments: &[OsString]) -> Result<bool> {
    let (own, arguments): (Vec<&OsString>, Vec<&OsString>) =
        arguments.iter().partition(|argument| *argument == "--release");
    let profile = if own.is_empty() { Profile::Quick } else { Profile::Release };

    step("PostgreSQL", |progress| Ok(((), crate::postgres::ensure(sh, progress)?)))?;
    let binaries = build(sh, profile, &["systemprompt"])?;
    let program = binaries.join("systemprompt");
    eprintln!("  the program is {}", program.display());
    if profile == Profile::Quick {
        eprintln!(
            "  built quickly, not to be fast: `cargo xtask up --release` takes some minutes more for the optimised build"
        );
    }

    let mut server = Command::new(program);
    server.arg("up").args(arguments);
    replace_with(server)
}
