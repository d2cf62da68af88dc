//! The facet of foreign tables.

use super::kind::{Described, Facet};
use crate::{Extension, JsonValue};

/// Tables of other extensions that migrations change. Checked with the SQL of all extensions together.
#[derive(Debug)]
pub enum CrossExtensionTables {}

impl Facet for CrossExtensionTables {
    type Contribution = &'static str;

    const ABOUT: &'static str = "Tables of other extensions that its migrations change.";
    const METHOD: &'static str = "cross_extension_tables";

    fn of(extension: &dyn Extension) -> Vec<&'static str> {
        extension.cross_extension_tables()
    }

    fn describe(table: &&'static str) -> Described {
        Described::new(*table, "", JsonValue::Null)
    }
}
