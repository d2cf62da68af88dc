//! What a feature says about the database it needs: target state, transitions, and rows that must exist.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// Everything one extension declares about the database. Lists of modules are given in load order: a module comes after
/// the modules it depends on.
#[derive(Debug, Clone, Default)]
pub struct Module {
    /// The extension's id, e.g. `governance`; the first part of every row id in `extension_migrations`.
    pub id: String,
    /// Whether the product refuses to run without it. Reported by `infra db`, not interpreted here.
    pub required: bool,
    /// Ids of the modules it may refer to in cross-extension migrations.
    pub dependencies: Vec<String>,
    /// The target state, applied on every start; every statement is idempotent.
    pub schemas: Vec<SchemaDefinition>,
    /// The transitions, each run once.
    pub migrations: Vec<Migration>,
    /// Rows that must exist, written on every start.
    pub seeds: Vec<Seed>,
    /// Tables of other modules that this module's migrations change.
    pub cross_tables: Vec<String>,
}

/// Where the text of a [`SchemaDefinition`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaSource {
    /// In the binary.
    Inline(String),
    /// In a file, relative to the profile's `paths.system`, read when the schema is installed.
    File(PathBuf),
}

/// One piece of declarative schema: any number of idempotent `CREATE` statements under a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaDefinition {
    /// The table it defines, or any label when it defines none or several. Error messages name it as the file.
    pub table: String,
    /// The SQL.
    pub sql: SchemaSource,
    /// Columns `table` must have in the live database after installation.
    pub required_columns: Vec<String>,
    /// The PostgreSQL schema, when it is not `public`.
    schema: Option<String>,
}

impl SchemaDefinition {
    /// SQL that is part of the binary, usually through `include_str!`.
    pub fn inline(table: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { table: table.into(), sql: SchemaSource::Inline(sql.into()), required_columns: Vec::new(), schema: None }
    }

    /// SQL in a file below `paths.system`.
    pub fn file(table: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { table: table.into(), sql: SchemaSource::File(path.into()), required_columns: Vec::new(), schema: None }
    }

    /// The same as [`SchemaDefinition::inline`].
    pub fn new(table: impl Into<String>, sql: impl Into<String>) -> Self {
        Self::inline(table, sql)
    }

    /// SQL that belongs to no single table.
    pub fn sql_only(sql: impl Into<String>) -> Self {
        Self::inline("schema", sql)
    }

    /// Demands that the table has these columns once everything is installed.
    #[must_use]
    pub fn with_required_columns(mut self, columns: Vec<String>) -> Self {
        self.required_columns = columns;
        self
    }

    /// Places unqualified names in the PostgreSQL schema `name`, which is created when it does not exist.
    #[must_use]
    pub fn with_schema(mut self, name: impl Into<String>) -> Self {
        self.schema = Some(name.into());
        self
    }

    /// The PostgreSQL schema of unqualified names; `public` unless changed.
    pub fn schema_name(&self) -> &str {
        self.schema.as_deref().unwrap_or("public")
    }
}

/// One numbered step that changes an existing database.
///
/// Leading comment lines of the SQL may carry directives:
///
/// | Line | Meaning |
/// |---|---|
/// | `-- @no-transaction` | statements run one by one outside a transaction; progress is kept after each |
/// | `-- @data` | also runs on a fresh database, where other migrations are only recorded |
/// | `-- @compatible` | an older binary may keep running against a database that has this migration |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Its number, unique and ascending within the extension.
    pub version: u32,
    /// What it does, in `snake_case`.
    pub name: &'static str,
    /// The SQL to go forward.
    pub sql: &'static str,
    /// The SQL to go back, when there is a way.
    pub down: Option<&'static str>,
    /// Runs outside a transaction. Set from the text by every constructor.
    pub no_transaction: bool,
}

impl Migration {
    /// A step that runs in one transaction unless its text says `-- @no-transaction`.
    pub fn new(version: u32, name: &'static str, sql: &'static str) -> Self {
        Self { version, name, sql, down: None, no_transaction: directives(sql).any(|found| found == "no-transaction") }
    }

    /// A step that can be taken back.
    pub fn with_down(version: u32, name: &'static str, up: &'static str, down: &'static str) -> Self {
        Self { down: Some(down), ..Self::new(version, name, up) }
    }

    /// A step whose statements refuse to run in a transaction, such as `CREATE INDEX CONCURRENTLY`.
    pub fn new_no_transaction(version: u32, name: &'static str, sql: &'static str) -> Self {
        Self { no_transaction: true, ..Self::new(version, name, sql) }
    }

    /// Whether it carries data and therefore also runs on a fresh database.
    pub fn is_data(&self) -> bool {
        directives(self.sql).any(|found| found == "data")
    }

    /// Whether binaries that do not know it may run against a database that has it.
    pub fn is_compatible(&self) -> bool {
        directives(self.sql).any(|found| found == "compatible")
    }

    /// `sha256:` and the digest of the text in lower-case hex, with line endings normalised and the end trimmed, so that
    /// neither a checkout's line endings nor a compiler release looks like a change.
    pub fn checksum(&self) -> String {
        let text = self.sql.replace("\r\n", "\n");
        format!("sha256:{}", hex::encode(Sha256::digest(text.trim_end())))
    }

    /// Its key in `extension_migrations`: `<extension>_<NNN>`.
    pub fn row_id(&self, extension: &str) -> String {
        format!("{extension}_{:03}", self.version)
    }
}

/// Rows that must exist. Runs on every start and is not tracked, so it must be idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    /// Its name in messages.
    pub id: &'static str,
    /// `INSERT … ON CONFLICT`, `UPDATE` or `MERGE` statements.
    pub sql: &'static str,
}

impl Seed {
    /// A seed.
    pub const fn new(id: &'static str, sql: &'static str) -> Self {
        Self { id, sql }
    }
}

/// The words after `-- @` in the comment lines before the first statement.
fn directives(sql: &str) -> impl Iterator<Item = &str> {
    sql.lines()
        .map(str::trim)
        .take_while(|line| line.is_empty() || line.starts_with("--"))
        .filter_map(|line| line.trim_start_matches('-').trim().strip_prefix('@'))
        .filter_map(|rest| rest.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_from_the_leading_comments_only() {
        let migration = Migration::new(3, "indexes", "\n-- Why this exists.\n-- @no-transaction\n-- @data\nSELECT 1;");
        assert!(migration.no_transaction && migration.is_data() && !migration.is_compatible());
        assert!(!Migration::new(1, "late", "SELECT 1;\n-- @data").is_data());
    }

    #[test]
    fn a_checksum_ignores_line_endings_and_the_end_of_the_text() {
        let unix = Migration::new(1, "a", "SELECT 1;\nSELECT 2;\n");
        let dos = Migration::new(1, "a", "SELECT 1;\r\nSELECT 2;\r\n\r\n");
        assert_eq!(unix.checksum(), dos.checksum());
        assert_eq!(unix.checksum().len(), "sha256:".len() + 64);
        assert_ne!(unix.checksum(), Migration::new(1, "a", "SELECT 1;\nSELECT 3;").checksum());
    }
}
