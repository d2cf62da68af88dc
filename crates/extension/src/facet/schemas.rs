//! The facet of tables.

use serde_json::json;
use systemprompt_database::{SchemaDefinition, SchemaSource};

use super::kind::{Described, Facet};
use crate::Extension;

/// Tables, indexes, views and functions. Their SQL is checked with that of all extensions together.
#[derive(Debug)]
pub enum Schemas {}

impl Facet for Schemas {
    type Contribution = SchemaDefinition;

    const ABOUT: &'static str = "Tables, indexes, views and functions, as they are to be.";
    const METHOD: &'static str = "schemas";

    fn of(extension: &dyn Extension) -> Vec<SchemaDefinition> {
        extension.schemas()
    }

    fn describe(schema: &SchemaDefinition) -> Described {
        let source = match &schema.sql {
            SchemaSource::Inline(_) => "inline".to_owned(),
            SchemaSource::File(path) => path.display().to_string(),
        };
        let details = json!({
            "schema": schema.schema_name(),
            "source": source,
            "required_columns": schema.required_columns,
        });
        Described::new(&schema.table, format!("{}, {source}", schema.schema_name()), details)
    }
}
