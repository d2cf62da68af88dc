//! How to install.

use std::path::PathBuf;

/// Whether installing may change the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstallMode {
    /// Apply whatever is missing.
    #[default]
    Apply,
    /// Change nothing; whatever is missing is an error. For operators who run `infra db migrate` themselves.
    Verify,
}

/// How to install.
#[derive(Debug, Clone, Default)]
pub struct InstallOptions {
    /// Whether the database may be changed.
    pub mode: InstallMode,
    /// Accept applied migrations whose text has changed since; logged as a warning on every start.
    pub allow_checksum_drift: bool,
    /// Accept a pending migration below the highest applied one.
    pub allow_out_of_order: bool,
    /// The profile's `paths.system`, below which [`crate::SchemaSource::File`] is read.
    pub system_dir: Option<PathBuf>,
    /// The binary's version, kept with each migration it applies.
    pub applied_by: String,
}
