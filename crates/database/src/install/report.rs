//! What an installation did.

/// What an installation did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct InstallReport {
    /// Each module, in load order.
    pub modules: Vec<ModuleReport>,
    /// What should be looked at, in words.
    pub warnings: Vec<String>,
}

/// What an installation did for one module.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ModuleReport {
    /// The extension's id.
    pub extension: String,
    /// Nothing of it existed before.
    pub fresh: bool,
    /// Structural and dependent statements that ran.
    pub schema_statements: usize,
    /// Migrations that were recorded without running.
    pub stamped: Vec<u32>,
    /// Migrations that ran, in order.
    pub applied: Vec<AppliedMigration>,
    /// Seeds that ran.
    pub seeds: usize,
}

/// A migration that ran.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AppliedMigration {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

impl InstallReport {
    /// Migrations that ran or were recorded.
    pub fn migrations(&self) -> usize {
        self.modules.iter().map(|module| module.stamped.len() + module.applied.len()).sum()
    }
}
