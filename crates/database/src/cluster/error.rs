//! Why a managed cluster cannot be used, and what to do about it.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The oldest major version that is supported.
pub const MINIMUM_MAJOR: u32 = 15;

/// A place that was looked at in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The directory, or the pattern nothing matched.
    pub place: String,
    /// Why it does not do.
    pub reason: String,
}

/// Why the managed PostgreSQL cluster cannot be used. `Display` is one message for the operator, [`ClusterError::hint`]
/// what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No usable `postgres` and `initdb` anywhere.
    #[error("no PostgreSQL {MINIMUM_MAJOR} or newer was found; looked at{}", list(.searched))]
    NoBinaries {
        /// Every place that was looked at and what was wrong with it, in the order of the search.
        searched: Vec<Rejected>,
    },
    /// The directory named by `SYSTEMPROMPT_PG_BIN` does not hold a usable PostgreSQL.
    #[error("SYSTEMPROMPT_PG_BIN names {}, which cannot be used: {}", .0.place, .0.reason)]
    ExplicitBinaries(Rejected),
    /// The data was written by another major version than the ones found.
    #[error(
        "the database in {} was created by PostgreSQL {major}, which was not found; looked at{}",
        .data.display(), list(.searched)
    )]
    OtherMajor {
        /// The data directory.
        data: PathBuf,
        /// The major version that wrote it.
        major: u32,
        /// Every place that was looked at.
        searched: Vec<Rejected>,
    },
    /// PostgreSQL refuses to run as root and no account to run it as exists.
    #[error("PostgreSQL does not run as root, and neither a `postgres` nor a `nobody` account exists")]
    NoAccount,
    /// The data belongs to a user we cannot act for.
    #[error("{} belongs to another user (id {owner})", .path.display())]
    OtherOwner {
        /// The data directory.
        path: PathBuf,
        /// The user id that owns it.
        owner: u32,
    },
    /// The home looks like a copy: its pointer leads to the cluster of a home that still exists.
    #[error("the database of {} is used by {}, of which this home looks like a copy", .home.display(), .other.display())]
    Copied {
        /// The directory of this home.
        home: PathBuf,
        /// The directory of the home the cluster was made for.
        other: PathBuf,
        /// The file that leads there.
        pointer: PathBuf,
    },
    /// A file or directory cannot be read or written.
    #[error("cannot {action} {}", .path.display())]
    Files {
        /// What was tried: `create`, `read`, `lock` …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A program of PostgreSQL cannot be run at all.
    #[error("cannot run {}", .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The directory for the socket exists but others could reach into it.
    #[error("{} cannot hold the database socket: {reason}", .path.display())]
    SocketDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The data exists but the password of its role does not.
    #[error("the database password {} is missing or empty", .path.display())]
    NoPassword {
        /// The file that should hold it.
        path: PathBuf,
    },
    /// `initdb`, or the first statements after it, failed. Nothing is left behind.
    #[error("the database could not be created: {output}")]
    Create {
        /// The last lines the program printed.
        output: String,
    },
    /// `postgres` ended instead of becoming ready.
    #[error("PostgreSQL did not start: {output}")]
    Start {
        /// The reason out of the log.
        output: String,
        /// The whole log.
        log: PathBuf,
    },
    /// `postgres` did not become ready in time.
    #[error("PostgreSQL was not ready after {} s", .waited.as_secs())]
    StartTimedOut {
        /// How long it was waited for.
        waited: Duration,
        /// The log.
        log: PathBuf,
    },
    /// PostgreSQL runs but refuses us.
    #[error("PostgreSQL runs (process {pid}) but refuses the connection")]
    Refused {
        /// Its process id.
        pid: i32,
        /// What it answered.
        #[source]
        source: sqlx::Error,
    },
    /// PostgreSQL is still there although it was told to stop, and told again without mercy.
    #[error("PostgreSQL (process {pid}) did not stop within {} s", .waited.as_secs())]
    StopTimedOut {
        /// Its process id.
        pid: i32,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Another process starts or stops this cluster and does not finish.
    #[error("another process has been starting or stopping the database for {} s", .waited.as_secs())]
    Busy {
        /// The lock it holds.
        lock: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
}

impl ClusterError {
    /// What to try next, as one sentence or command; `None` when the message itself says everything.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoBinaries { .. } => {
                "run `cargo xtask up`, which installs PostgreSQL, or `apt-get install postgresql` (`brew install \
                 postgresql`), or set SYSTEMPROMPT_PG_BIN to the directory that holds `postgres` and `initdb`"
                    .to_owned()
            }
            Self::ExplicitBinaries(_) => {
                "set SYSTEMPROMPT_PG_BIN to a directory that holds `postgres` and `initdb`, or unset it to search the \
                 usual places"
                    .to_owned()
            }
            Self::OtherMajor { major, .. } => format!(
                "install PostgreSQL {major} (`apt-get install postgresql-{major}`), or set SYSTEMPROMPT_PG_BIN to it; \
                 to change to a newer version use `pg_upgrade`"
            ),
            Self::NoAccount => "create one with `useradd --system postgres`, or start as an ordinary user".to_owned(),
            Self::OtherOwner { .. } => "start as the user who created the database, or as root".to_owned(),
            Self::Copied { pointer, .. } => {
                format!("remove {} to start this home with an empty database", pointer.display())
            }
            Self::Files { source, path, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "choose another place with `--home`, or start as the user it belongs to".to_owned()
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    format!("free some space on the file system of {}", path.display())
                }
                _ => return None,
            },
            Self::Spawn { .. } => "set SYSTEMPROMPT_PG_BIN to a directory whose programs this user may run".to_owned(),
            Self::SocketDirectory { path, .. } => format!("remove {}", path.display()),
            Self::NoPassword { path } => {
                format!("restore {} from a backup; it belongs to the data beside it", path.display())
            }
            Self::Create { .. } => return None,
            Self::Start { log, .. } | Self::StartTimedOut { log, .. } => format!("read {}", log.display()),
            Self::Refused { .. } => {
                "stop that process, or put back the password file that belongs to the data".to_owned()
            }
            Self::StopTimedOut { pid, .. } => format!("look at what it is waiting for: `ps -fp {pid}`"),
            Self::Busy { lock, .. } => format!("see which process holds {} (`fuser`)", lock.display()),
        };
        Some(hint)
    }
}

/// Names the file operation that failed.
pub(super) fn files(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.to_owned();
    move |source| ClusterError::Files { action, path, source }
}

fn list(searched: &[Rejected]) -> String {
    let mut text = String::new();
    for Rejected { place, reason } in searched {
        let _ = write!(text, "\n  {place}: {reason}");
    }
    text
}
