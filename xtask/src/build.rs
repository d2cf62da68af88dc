//! The product's programs, built by cargo with `compiled/total` shown meanwhile.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use xshell::Shell;

use crate::step::step;
use crate::workspace::target_directory;

/// How the programs are compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Without optimisation: cargo's profile `dev`. `cargo xtask test` compiles the same, so whoever has run one of the two does
    /// not wait for the other.
    Quick,
    /// What is measured and what is shipped: cargo's profile `release`, with optimisation across crates.
    Release,
}

/// Builds these programs and says in which directory they are.
///
/// Out of the whole workspace: which packages are selected decides with which features their dependencies are compiled, and
/// those that differ from the ones `cargo xtask test` has are compiled again, as is everything above them.
pub(crate) fn build(sh: &Shell, profile: Profile, programs: &[&str]) -> Result<PathBuf> {
    let (directory, what) = match profile {
        Profile::Quick => ("debug", "Build"),
        Profile::Release => ("release", "Build the optimised"),
    };
    step(&format!("{what} {}", programs.join(", ")), |progress| {
        let mut compiled = 0_u32;
        let mut done = String::new();
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--workspace"]);
        if profile == Profile::Release {
            cargo.arg("--release");
        }
        cargo.args(programs.iter().flat_map(|program| ["--bin", program]));
        // Only cargo knows how much there is to do, and only its progress bar says so.
        cargo.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "80");
        progress.follow(&mut cargo, |line| {
            let (verb, what) = line.trim_start().split_once(' ')?;
            match verb {
                "Building" => {
                    done_of_total(what)?.clone_into(&mut done);
                    Some(done.clone())
                }
                "Compiling" => {
                    compiled += 1;
                    Some(done.clone())
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
    Ok(target_directory(sh)?.join(directory))
}

/// Becomes `command`, so that signals and the exit status are its own. Returns only when that fails.
pub(crate) fn replace_with(mut command: Command) -> Result<bool> {
    let program = PathBuf::from(command.get_program());
    Err(command.exec()).with_context(|| format!("running {}", program.display()))
}

/// `12/438` of the rest of cargo's progress line, `[==>      ] 12/438: serde, tokio(build)`.
fn done_of_total(bar: &str) -> Option<&str> {
    let numbers = bar.rsplit_once("] ").map_or(bar, |(_, rest)| rest).split(':').next()?;
    let (done, total) = numbers.split_once('/')?;
    (done.parse::<u32>().is_ok() && total.parse::<u32>().is_ok()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_of_cargo_is_read() {
        assert_eq!(done_of_total("[=>          ] 12/438: serde, tokio(build)"), Some("12/438"));
        assert_eq!(done_of_total("[===========>] 438/438: systemprompt(bin)"), Some("438/438"));
        assert_eq!(done_of_total("12/438: serde"), Some("12/438"));
        assert_eq!(done_of_total("[          ] waiting"), None);
    }
}
