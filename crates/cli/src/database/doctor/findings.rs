//! What the doctor finds.

use crate::database::qualified;

/// A table with the schema it is in.
pub(super) type Table = (String, String);

/// What the doctor found. Empty lists are good news.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Doctor {
    /// Live tables no extension declares.
    pub(crate) undeclared_tables: Vec<String>,
    /// Declared tables that do not exist.
    pub(crate) missing_tables: Vec<NamedTable>,
    /// Declared columns that do not exist.
    pub(crate) missing_columns: Vec<NamedColumn>,
    /// Live columns of declared tables that are not declared.
    pub(crate) undeclared_columns: Vec<NamedColumn>,
    /// Columns whose type is not the declared one.
    pub(crate) type_differences: Vec<Difference>,
    /// Columns that may be null although declared otherwise, or the other way round.
    pub(crate) nullability_differences: Vec<Difference>,
    /// Declared indexes that do not exist.
    pub(crate) missing_indexes: Vec<NamedIndex>,
    /// Indexes that are not what is declared under their name.
    pub(crate) index_differences: Vec<Difference>,
    /// Indexes whose building was interrupted: they cost and do not help.
    pub(crate) invalid_indexes: Vec<String>,
    /// Declared triggers that do not exist.
    pub(crate) missing_triggers: Vec<NamedTrigger>,
    /// Triggers of declared tables that are switched off, on a partition too.
    pub(crate) disabled_triggers: Vec<NamedTrigger>,
    /// Triggers that are not what is declared under their name.
    pub(crate) trigger_differences: Vec<Difference>,
    /// Triggers and rules of declared tables that nobody declares: they may change or swallow what is written.
    pub(crate) undeclared_triggers: Vec<NamedTrigger>,
    /// Declared functions that do not exist, or do something else.
    pub(crate) function_differences: Vec<FunctionDifference>,
    /// Settings of the database or a role under which no trigger fires.
    pub(crate) silenced_triggers: Vec<String>,
    /// Migrations waiting to run.
    pub(crate) pending_migrations: usize,
    /// Applied migrations whose text has changed.
    pub(crate) drifted_migrations: usize,
    /// How thorough this was.
    pub(crate) comparison: Comparison,
}

/// How thorough an examination was.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Comparison {
    /// Catalog against catalog.
    #[default]
    Full,
    /// Names of tables and columns only.
    NamesOnly {
        /// Why no more.
        reason: String,
    },
}

/// A declared table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct NamedTable {
    /// Who declares it.
    pub(crate) extension: String,
    /// The table.
    pub(crate) table: String,
}

/// A column of a declared table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct NamedColumn {
    /// Who declares the table.
    pub(crate) extension: String,
    /// The table.
    pub(crate) table: String,
    /// The column.
    pub(crate) column: String,
}

/// A declared index.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct NamedIndex {
    /// Who declares its table.
    pub(crate) extension: String,
    /// The table it belongs on.
    pub(crate) table: String,
    /// The index.
    pub(crate) index: String,
}

/// A trigger of a declared table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct NamedTrigger {
    /// Who declares the table.
    pub(crate) extension: String,
    /// The table it is on.
    pub(crate) table: String,
    /// The trigger.
    pub(crate) trigger: String,
}

/// A declared function that is missing or other than it should be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct FunctionDifference {
    /// The function with its arguments.
    pub(crate) function: String,
    /// As declared.
    pub(crate) declared: String,
    /// As it is; absent if there is none.
    pub(crate) live: Option<String>,
}

/// Something that exists but differs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Difference {
    /// Who declares the table.
    pub(crate) extension: String,
    /// The table.
    pub(crate) table: String,
    /// The column or index.
    pub(crate) name: String,
    /// As declared.
    pub(crate) declared: String,
    /// As it is.
    pub(crate) live: String,
}

impl Doctor {
    /// Whether nothing was found.
    pub(crate) fn is_healthy(&self) -> bool {
        *self == Self { comparison: self.comparison.clone(), ..Self::default() }
    }
}

pub(super) fn display((schema, name): &Table) -> String {
    qualified(schema, name)
}
