//! Finding PostgreSQL's programs on the machine.

use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::account::Runner;
use super::error::{ClusterError, MINIMUM_MAJOR, Rejected};
use super::options::ClusterOptions;

/// A directory with `postgres` and `initdb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    /// The server program.
    pub(super) postgres: PathBuf,
    /// The program that makes a new cluster.
    pub(super) initdb: PathBuf,
    /// The major version.
    pub(super) major: u32,
}

/// The first programs in search order that `runner` may execute, of exactly the version `major` when it is given.
pub(super) async fn find(
    options: &ClusterOptions,
    runner: Runner,
    data: &Path,
    major: Option<u32>,
) -> Result<Binaries, ClusterError> {
    if let Some(explicit) = &options.binaries.configured {
        let rejected = |reason| Rejected { place: explicit.display().to_string(), reason };
        let binaries =
            inspect(explicit, runner).await.map_err(|reason| ClusterError::ExplicitBinaries(rejected(reason)))?;
        return match major {
            Some(major) if major != binaries.major => {
                let searched = vec![rejected(format!("is PostgreSQL {}", binaries.major))];
                Err(ClusterError::OtherMajor { data: data.to_owned(), major, searched })
            }
            _ => Ok(binaries),
        };
    }

    let mut searched = Vec::new();
    for (place, directories) in places(options) {
        if directories.is_empty() {
            searched.push(Rejected { place, reason: "nothing there".to_owned() });
        }
        for directory in directories {
            let reason = match inspect(&directory, runner).await {
                Ok(binaries) if major.is_none_or(|major| major == binaries.major) => return Ok(binaries),
                Ok(binaries) => format!("is PostgreSQL {}", binaries.major),
                Err(reason) => reason,
            };
            searched.push(Rejected { place: directory.display().to_string(), reason });
        }
    }
    Err(match major {
        None => ClusterError::NoBinaries { searched },
        Some(major) => ClusterError::OtherMajor { data: data.to_owned(), major, searched },
    })
}

/// Each place by the name the operator knows it by, with the directories in it that hold a `postgres`.
fn places(options: &ClusterOptions) -> Vec<(String, Vec<PathBuf>)> {
    let search = &options.binaries;
    let holds_postgres = |directory: &PathBuf| directory.join("postgres").is_file();
    let on_path = search.path.iter().flat_map(std::env::split_paths).filter(|directory| directory.is_absolute());
    let mut places = vec![("PATH".to_owned(), on_path.filter(holds_postgres).collect::<Vec<_>>())];
    for pattern in search.patterns.iter().cloned().chain(search.installed(&options.system_directory)) {
        let directories = expand(&pattern).into_iter().filter(holds_postgres).collect();
        places.push((pattern.display().to_string(), directories));
    }
    places
}

/// The directories that match `pattern`, in which at most one component holds a `*`; newest version first.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut prefix = PathBuf::new();
    let mut components = pattern.components();
    for component in components.by_ref() {
        let Some((before, after)) = component.as_os_str().to_str().and_then(|text| text.split_once('*')) else {
            prefix.push(component);
            continue;
        };
        let matches = |name: &OsStr| {
            name.to_str().is_some_and(|name| {
                name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
            })
        };
        let mut names: Vec<OsString> = fs::read_dir(&prefix)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name())
            .filter(|name| matches(name))
            .collect();
        names.sort_by_key(|name| Reverse(version_in(&name.to_string_lossy())));
        let rest = components.as_path();
        return names.into_iter().map(|name| prefix.join(name).join(rest)).collect();
    }
    vec![prefix]
}

/// The numbers in a name, so that 16.10 sorts after 16.9 and 9.6.
fn version_in(name: &str) -> Vec<u32> {
    name.split(|character: char| !character.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Runs the programs of `directory` as the user who will need them, which answers whether they exist, may be executed,
/// find their libraries, and which version they are.
async fn inspect(directory: &Path, runner: Runner) -> Result<Binaries, String> {
    let postgres = directory.join("postgres");
    let initdb = directory.join("initdb");
    let major = major_of(&postgres, runner).await?;
    if major < MINIMUM_MAJOR {
        return Err(format!("PostgreSQL {major} is too old"));
    }
    major_of(&initdb, runner).await?;
    Ok(Binaries { postgres, initdb, major })
}

async fn major_of(program: &Path, runner: Runner) -> Result<u32, String> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    runner.apply(&mut command);
    let output = command.output().await.map_err(|error| match (error.kind(), runner) {
        (std::io::ErrorKind::PermissionDenied, Runner::Account { uid, .. }) => {
            format!("user {uid}, who has to run the database, may not run `{name}`")
        }
        _ => format!("`{name}` does not run: {error}"),
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_once("(PostgreSQL) ").map(|(_, version)| version_in(version));
    version.and_then(|version| version.first().copied()).ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!("`{name}` does not say its version: {}", complaint.lines().next().unwrap_or("no output"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["postgresql@9.6", "postgresql@16", "postgresql@15.2", "postgresql@15.10", "postgresql", "mysql"] {
            fs::create_dir_all(directory.path().join(name).join("bin")).unwrap();
        }
        let found = expand(&directory.path().join("postgresql*/bin"));
        let names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(directory.path()).unwrap().display().to_string()).collect();
        assert_eq!(
            names,
            [
                "postgresql@16/bin",
                "postgresql@15.10/bin",
                "postgresql@15.2/bin",
                "postgresql@9.6/bin",
                "postgresql/bin"
            ]
        );
        assert_eq!(expand(Path::new("/no/star")), [PathBuf::from("/no/star")]);
        assert!(expand(&directory.path().join("missing/*/bin")).is_empty());
    }
}
