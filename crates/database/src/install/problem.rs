//! What an installation refuses before it touches anything.

/// One reason not to install. All of them are found before the first write and reported together.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// A schema definition cannot be read or says something that does not belong there.
    #[error("{location}: {message}")]
    Schema {
        /// The extension.
        extension: String,
        /// `file:line:column`.
        location: String,
        /// What is wrong and what to do instead.
        message: String,
    },
    /// A migration is malformed.
    #[error("{location}: {message}")]
    Migration {
        /// The extension.
        extension: String,
        /// `file:line:column`.
        location: String,
        /// What is wrong and what to do instead.
        message: String,
    },
    /// Two extensions define the same table.
    #[error("table `{table}` is defined by both `{extension_a}` and `{extension_b}`")]
    DuplicateTableOwner {
        /// The table.
        table: String,
        /// Who defined it first.
        extension_a: String,
        /// Who defined it again.
        extension_b: String,
    },
    /// A migration changes another extension's table without saying so.
    #[error(
        "{location}: `{extension}` changes table `{table}` of `{owner}` without listing it in cross_extension_tables()"
    )]
    CrossExtensionAlterUndeclared {
        /// Who changes it.
        extension: String,
        /// The table.
        table: String,
        /// Whose table it is.
        owner: String,
        /// `file:line:column`.
        location: String,
    },
    /// A table listed as another extension's belongs to nobody.
    #[error("`{extension}` lists table `{table}` in cross_extension_tables(), but no loaded extension owns it")]
    CrossExtensionTableNotOwned {
        /// Who lists it.
        extension: String,
        /// The table.
        table: String,
    },
    /// A table's owner is not among the dependencies of the extension that changes it.
    #[error("`{extension}` changes table `{table}` but does not depend on its owner `{owner}`")]
    CrossExtensionOwnerNotDependency {
        /// Who changes it.
        extension: String,
        /// The table.
        table: String,
        /// Whose table it is.
        owner: String,
    },
    /// A seed contains something other than `INSERT … ON CONFLICT`, `UPDATE` or `MERGE`.
    #[error(
        "{location}: seed `{seed}` of `{extension}` may only INSERT … ON CONFLICT, UPDATE or MERGE, not `{statement}`"
    )]
    InvalidSeedStatement {
        /// The extension.
        extension: String,
        /// The seed.
        seed: String,
        /// The beginning of the statement.
        statement: String,
        /// `file:line:column`.
        location: String,
    },
    /// A seed inserts rows and would fail, or insert them again, on the next start.
    #[error("{location}: seed `{seed}` of `{extension}` inserts without ON CONFLICT")]
    SeedInsertNotIdempotent {
        /// The extension.
        extension: String,
        /// The seed.
        seed: String,
        /// `file:line:column`.
        location: String,
    },
    /// An applied migration's text has changed.
    #[error(
        "migration {version} `{name}` of `{extension}` has changed since it was applied (stored {stored}, now {current})"
    )]
    ChecksumDrift {
        /// The extension.
        extension: String,
        /// The migration.
        version: u32,
        /// Its name.
        name: String,
        /// The checksum when it was applied.
        stored: String,
        /// The checksum of the text in this binary.
        current: String,
    },
    /// A pending migration is older than one already applied.
    #[error("migration {version} of `{extension}` was added below the applied migration {highest}")]
    OutOfOrderMigration {
        /// The extension.
        extension: String,
        /// The pending migration.
        version: u32,
        /// The highest applied one.
        highest: u32,
    },
    /// The database has migrations from a newer binary.
    #[error("the database has migration {version} `{name}` of `{extension}`, which is newer than this binary knows")]
    NewerDatabase {
        /// The extension.
        extension: String,
        /// The unknown migration.
        version: u32,
        /// Its name.
        name: String,
    },
    /// Something is missing and this start may not change the database.
    #[error("`{extension}` is not up to date: {missing}")]
    Outdated {
        /// The extension.
        extension: String,
        /// What is missing.
        missing: String,
    },
}

impl Problem {
    /// The extension to look at.
    pub fn extension(&self) -> &str {
        match self {
            Self::Schema { extension, .. }
            | Self::Migration { extension, .. }
            | Self::CrossExtensionAlterUndeclared { extension, .. }
            | Self::CrossExtensionTableNotOwned { extension, .. }
            | Self::CrossExtensionOwnerNotDependency { extension, .. }
            | Self::InvalidSeedStatement { extension, .. }
            | Self::SeedInsertNotIdempotent { extension, .. }
            | Self::ChecksumDrift { extension, .. }
            | Self::OutOfOrderMigration { extension, .. }
            | Self::NewerDatabase { extension, .. }
            | Self::Outdated { extension, .. } => extension,
            Self::DuplicateTableOwner { extension_b, .. } => extension_b,
        }
    }

    /// What to do, when there is more to say than the message does.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::ChecksumDrift { .. } => Some(
                "restore the migration's text; or run it again with `infra db migrate-repair --apply`; or accept the new \
                 text with `infra db migrate-repair --reconcile-only --apply`; or ignore it with `--allow-checksum-drift`",
            ),
            Self::OutOfOrderMigration { .. } => {
                Some("give it the next free number, or apply it anyway with `--allow-out-of-order`")
            }
            Self::NewerDatabase { .. } => {
                Some("start the newer binary, or restore the backup taken before the upgrade")
            }
            Self::Outdated { .. } => Some("run `systemprompt infra db migrate`"),
            _ => None,
        }
    }
}
