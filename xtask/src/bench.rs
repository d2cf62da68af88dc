use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use xshell::Shell;

use crate::release;
use crate::step::step;

/// Builds what is measured and what measures it, and becomes the latter. It finds the other programs beside itself.
pub(crate) fn run(sh: &Shell, arguments: &[OsString]) -> Result<bool> {
    let asks_for_help =
        arguments.is_empty() || arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    let binaries = if asks_for_help {
        release::build(sh, &["systemprompt-bench"])?
    } else {
        step("PostgreSQL", |progress| Ok(((), crate::postgres::ensure(sh, progress)?)))?;
        release::build(sh, &["systemprompt-bench", "systemprompt-mock-upstream", "systemprompt"])?
    };

    let mut bench = Command::new(binaries.join("systemprompt-bench"));
    bench.args(arguments);
    crate::replace_with(bench)
}
