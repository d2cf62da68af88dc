use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use xshell::Shell;

use crate::release;
use crate::step::step;

/// From a fresh clone to a running server. Becomes `systemprompt up` at the end; standard output is left to it.
pub(crate) fn run(sh: &Shell, arguments: &[OsString]) -> Result<bool> {
    step("PostgreSQL", |progress| Ok(((), crate::postgres::ensure(sh, progress)?)))?;
    let binaries = release::build(sh, &["systemprompt"])?;

    let mut server = Command::new(binaries.join("systemprompt"));
    server.arg("up").args(arguments);
    crate::replace_with(server)
}
