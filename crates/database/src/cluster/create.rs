//! Making a new cluster.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use systemprompt_model::{Ambient, Secret};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::account::Runner;
use super::binaries::Binaries;
use super::error::{ClusterError, files};
use super::place::{Place, write_private};
use super::program::{reason_in, restrict_environment};

/// The role the product works as, and its database. Not a superuser: a superuser can run programs on the machine.
pub(super) const ROLE: &str = "systemprompt";

/// What the directory is called until it is complete.
const UNFINISHED: &str = ".data-";

/// Makes the cluster of `place`: into a temporary directory beside its final one, then renamed, so that a cluster that is
/// there is complete. What an interrupted attempt left is removed first.
pub(super) async fn create(place: &Place, binaries: &Binaries, ambient: &Ambient) -> Result<(), ClusterError> {
    for entry in fs::read_dir(&place.root).map_err(files("read", &place.root))?.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            fs::remove_dir_all(entry.path()).map_err(files("remove", &entry.path()))?;
        }
    }

    let password = Secret::new(hex::encode(ambient.bytes::<32>()));
    write_private(&place.password(), password.expose().as_bytes())?;

    let unfinished = place.root.join(format!("{UNFINISHED}{}", hex::encode(ambient.bytes::<4>())));
    DirBuilder::new().mode(0o700).create(&unfinished).map_err(files("create", &unfinished))?;
    let unfinished = Unfinished(unfinished);
    place.runner.give(&unfinished.0)?;
    run_initdb(&unfinished.0, binaries, place.runner).await?;
    create_role(&unfinished.0, binaries, place.runner, &password).await?;
    fs::rename(&unfinished.0, place.data()).map_err(files("create", &place.data()))?;
    File::open(&place.root).and_then(|root| root.sync_all()).map_err(files("write", &place.root))
}

/// A directory that is removed when its creation fails or is given up. After the rename it is not there any more.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // The first error is the one to tell; what cannot be removed now is removed by the next attempt.
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn run_initdb(directory: &Path, binaries: &Binaries, runner: Runner) -> Result<(), ClusterError> {
    let mut command = program(&binaries.initdb, runner);
    command.arg("--pgdata").arg(directory);
    command.args(["--username=postgres", "--encoding=UTF8", "--no-locale", "--data-checksums"]);
    // Replaced by our own rules, and until then nobody gets in. The superuser has no password and never gets one.
    command.args(["--auth=reject", "--no-instructions"]);
    let output = command.output().await;
    check(&output.map_err(|source| ClusterError::Spawn { program: binaries.initdb.clone(), source })?)
}

/// Single-user mode needs no running server and no password; the statements travel on standard input, where `ps` does not
/// see them.
async fn create_role(
    directory: &Path,
    binaries: &Binaries,
    runner: Runner,
    password: &Secret,
) -> Result<(), ClusterError> {
    let spawn_error = |source| ClusterError::Spawn { program: binaries.postgres.clone(), source };
    let statements = format!(
        "CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{}'\nGRANT pg_monitor TO {ROLE}\nCREATE DATABASE {ROLE} OWNER {ROLE}\n",
        password.expose()
    );
    let mut command = program(&binaries.postgres, runner);
    command.arg("--single").arg("-D").arg(directory);
    command.args([
        "-c",
        "exit_on_error=on",
        "-c",
        "log_min_error_statement=panic",
        "-c",
        "listen_addresses=",
        "postgres",
    ]);
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(spawn_error)?;
    let mut input = child.stdin.take().expect("standard input is a pipe");
    // When the program ended early, its output says why.
    let _ = input.write_all(statements.as_bytes()).await;
    drop(input);
    check(&child.wait_with_output().await.map_err(spawn_error)?)
}

fn program(path: &Path, runner: Runner) -> Command {
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    restrict_environment(&mut command);
    runner.apply(&mut command);
    command
}

fn check(output: &Output) -> Result<(), ClusterError> {
    if output.status.success() {
        return Ok(());
    }
    Err(ClusterError::Create { output: reason_in(&String::from_utf8_lossy(&output.stderr)) })
}
