use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use xshell::Shell;

use crate::step::step;

/// From a fresh clone to a running server. Becomes `systemprompt up` at the end; standard output is left to it.
pub(crate) fn run(sh: &Shell, arguments: &[OsString]) -> Result<bool> {
    step("PostgreSQL", |progress| Ok(((), crate::postgres::ensure(sh, progress)?)))?;

    step("Build systemprompt", |progress| {
        let mut compiled = 0_u32;
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--package", "systemprompt"]);
        progress.follow(&mut cargo, |line| {
            let (verb, what) = line.trim_start().split_once(' ')?;
            match verb {
                "Compiling" => {
                    compiled += 1;
                    Some(format!("{compiled} crates, now {}", what.split(' ').next().unwrap_or_default()))
                }
                "Downloading" | "Downloaded" | "Updating" | "Locking" => {
                    Some(format!("{} {what}", verb.to_lowercase()))
                }
                "Blocking" => Some("waiting for another build".to_owned()),
                "Finished" => Some(String::new()),
                _ => None,
            }
        })?;
        Ok(((), if compiled == 0 { "up to date".to_owned() } else { format!("{compiled} crates") }))
    })?;

    let mut server = Command::new(crate::target_directory(sh)?.join("release/systemprompt"));
    server.arg("up").args(arguments);
    crate::replace_with(server)
}
