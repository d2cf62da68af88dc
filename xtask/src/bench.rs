//! `cargo xtask bench`: measures the optimised build.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use xshell::Shell;

use crate::build::{Profile, build, replace_with};
use crate::step::step;

/// Builds what is measured and what measures it, and becomes the latter. It finds the other programs beside itself.
pub(crate) fn run(sh: &Shell, arguments: &[OsString]) -> Result<bool> {
    let asks_for_help =
        arguments.is_empty() || arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    let binaries = if asks_for_help {
        build(sh, Profile::Release, &["systemprompt-bench"])?
    } else {
        step("PostgreSQL", |progress| Ok(((), crate::postgres::ensure(sh, progress)?)))?;
        build(sh, Profile::Release, &["systemprompt-bench", "systemprompt-mock-upstream", "systemprompt"])?
    };

    let mut bench = Command::new(binaries.join("systemprompt-bench"));
    bench.args(arguments);
    replace_with(bench)
}
