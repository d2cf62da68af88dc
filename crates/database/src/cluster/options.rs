//! What a cluster is made of, and where PostgreSQL is looked for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use systemprompt_model::Ambient;

/// What a [`ManagedCluster`] is made of. The values of environment variables are given by whoever reads the environment.
#[derive(Clone)]
pub struct ClusterOptions {
    /// The directory of the cluster inside the project's home; made by the first start, mode 0700.
    pub directory: PathBuf,
    /// Where clusters of homes go that the database's user may not enter, and what set-up installs for root.
    /// `/var/lib/systemprompt`.
    pub system_directory: PathBuf,
    /// The value of `XDG_RUNTIME_DIR`, for a socket whose path would be too long otherwise.
    pub runtime_directory: Option<PathBuf>,
    /// Where PostgreSQL's programs may be.
    pub binaries: BinarySearch,
    /// Connections the server accepts; 120, which is two full pools and some operators.
    pub max_connections: u32,
    /// Settings of `postgresql.conf` that win over ours, as name and value.
    pub settings: Vec<(String, String)>,
    /// How long to wait until PostgreSQL is ready, recovery after a crash included, or until another process has finished
    /// starting or stopping it. 2 minutes.
    pub start_limit: Duration,
    /// How long PostgreSQL may take to stop properly before it is stopped at once. 30 s.
    pub stop_limit: Duration,
    /// Randomness of the password.
    pub ambient: Ambient,
}

impl ClusterOptions {
    /// The usual options for the cluster in `directory`.
    pub fn new(directory: impl Into<PathBuf>, binaries: BinarySearch, ambient: Ambient) -> Self {
        Self {
            directory: directory.into(),
            system_directory: PathBuf::from("/var/lib/systemprompt"),
            runtime_directory: None,
            binaries,
            max_connections: 120,
            settings: Vec::new(),
            start_limit: Duration::from_mins(2),
            stop_limit: Duration::from_secs(30),
            ambient,
        }
    }
}

/// Where package managers put PostgreSQL; `*` stands for a name that holds a version.
pub const WELL_KNOWN: [&str; 7] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// Where to look for the programs. The values come from the environment, which is read elsewhere.
#[derive(Debug, Clone)]
pub struct BinarySearch {
    /// The value of `SYSTEMPROMPT_PG_BIN`. When set, no other place is looked at.
    pub configured: Option<PathBuf>,
    /// The value of `PATH`, looked at first.
    pub path: Option<OsString>,
    /// Directories looked at next, newest version first where a `*` matches several. By default [`WELL_KNOWN`].
    pub patterns: Vec<PathBuf>,
    /// The value of `HOME`, for what set-up installed below `~/.local/share`.
    pub home: Option<PathBuf>,
    /// The value of `XDG_DATA_HOME`, in place of `~/.local/share`.
    pub data_home: Option<PathBuf>,
}

impl Default for BinarySearch {
    fn default() -> Self {
        Self {
            configured: None,
            path: None,
            patterns: WELL_KNOWN.iter().map(PathBuf::from).collect(),
            home: None,
            data_home: None,
        }
    }
}

impl BinarySearch {
    /// Where set-up puts PostgreSQL, as `<version>/bin`, when the machine has no packages for it: below `system_directory` for
    /// root, whose home the database's user may not enter, else in the user's own data.
    pub(super) fn installed(&self, system_directory: &Path) -> Vec<PathBuf> {
        let own = self.data_home.clone().or_else(|| Some(self.home.as_ref()?.join(".local/share")));
        let own = own.map(|directory| directory.join("systemprompt")).filter(|_| !rustix::process::geteuid().is_root());
        own.into_iter()
            .chain([system_directory.to_owned()])
            .map(|directory| directory.join("postgresql/*/bin"))
            .collect()
    }
}
