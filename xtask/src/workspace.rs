//! Where the workspace and what is built of it lie, by cargo's own word.

use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

/// The shell, in the workspace's root. Tasks that take paths from the user stay where the user is.
pub(crate) fn in_workspace(sh: Shell) -> Result<Shell> {
    let manifest = cmd!(sh, "cargo locate-project --workspace --message-format plain").quiet().read()?;
    sh.change_dir(PathBuf::from(manifest).parent().context("the workspace has a directory")?);
    Ok(sh)
}

/// Where cargo puts what it builds, by its configuration and CARGO_TARGET_DIR.
pub(crate) fn target_directory(sh: &Shell) -> Result<PathBuf> {
    let metadata = cmd!(sh, "cargo metadata --no-deps --format-version 1").quiet().read()?;
    let rest = metadata.split_once("\"target_directory\":\"").context("cargo metadata names the target directory")?.1;
    let path = rest.split_once('"').context("cargo metadata is JSON")?.0;
    Ok(PathBuf::from(path.replace("\\\\", "\\")))
}
