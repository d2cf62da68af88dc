//! Release binaries.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use xshell::Shell;

use crate::step::step;

/// Builds the binaries of these packages and says where they are.
pub(crate) fn build(sh: &Shell, packages: &[&str]) -> Result<PathBuf> {
    step(&format!("Build {}", packages.join(", ")), |progress| {
        let mut compiled = 0_u32;
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release"]);
        cargo.args(packages.iter().flat_map(|package| ["--package", package]));
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
    Ok(crate::target_directory(sh)?.join("release"))
}
