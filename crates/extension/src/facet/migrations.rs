//! The facet of migrations.

use serde_json::json;
use systemprompt_database::Migration;

use super::kind::{Described, Facet};
use crate::Extension;

/// Steps that bring older databases to the present schema. Their SQL is checked with that of all extensions together.
#[derive(Debug)]
pub enum Migrations {}

impl Facet for Migrations {
    type Contribution = Migration;

    const ABOUT: &'static str =
        "Steps that bring a database of an earlier version to the present schemas; each runs once.";
    const METHOD: &'static str = "migrations";

    fn of(extension: &dyn Extension) -> Vec<Migration> {
        let mut migrations = extension.migrations();
        migrations.sort_by_key(|migration| migration.version);
        migrations
    }

    fn describe(migration: &Migration) -> Described {
        let details = json!({
            "version": migration.version,
            "checksum": migration.checksum(),
            "reversible": migration.down.is_some(),
            "no_transaction": migration.no_transaction,
        });
        Described::new(migration.name, format!("version {}", migration.version), details)
    }
}
