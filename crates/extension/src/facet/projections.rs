//! The facet of tables that are derived from the ledger.

use std::sync::Arc;

use serde_json::json;

use super::kind::{Declared, Described, Facet, broken_name_rule, duplicates};
use crate::ledger::Projection;
use crate::{Extension, LoaderError};

/// What one is called in messages.
const KIND: &str = "projection";

/// Tables that are derived from the ledger. That they are the extension's own is checked with the SQL of all extensions.
#[derive(Debug)]
pub enum Projections {}

impl Facet for Projections {
    type Contribution = Arc<dyn Projection>;

    const ABOUT: &'static str = "Tables it derives from the ledger.";
    const METHOD: &'static str = "projections";

    fn of(extension: &dyn Extension) -> Vec<Arc<dyn Projection>> {
        extension.projections()
    }

    fn describe(projection: &Arc<dyn Projection>) -> Described {
        let tables = projection.tables();
        Described::new(projection.name(), format!("fills {}", tables.join(", ")), json!({ "tables": tables }))
    }

    fn check(declared: &[Declared<'_, Arc<dyn Projection>>]) -> Vec<LoaderError> {
        let mut problems = Vec::new();
        for Declared { extension, contributions } in declared {
            let invalid = |kind, name: &str, message: &str| LoaderError::InvalidName {
                extension: (*extension).to_owned(),
                kind,
                name: name.to_owned(),
                message: message.to_owned(),
            };
            for projection in *contributions {
                let (name, tables) = (projection.name(), projection.tables());
                match broken_name_rule(name) {
                    Some(message) => problems.push(invalid(KIND, name, message)),
                    None if !tables.contains(&name) => {
                        problems.push(invalid(KIND, name, "none of its tables is called so"));
                    }
                    None => {}
                }
                let others = tables.iter().filter(|table| **table != name);
                problems.extend(
                    others.filter_map(|table| Some(invalid("projected table", table, broken_name_rule(table)?))),
                );
            }
        }
        // A projection is called as its main table is, so no two have a name.
        let tables = |projection: &Arc<dyn Projection>| {
            let others = projection.tables().iter().filter(|table| **table != projection.name());
            std::iter::once(projection.name()).chain(others.copied()).map(str::to_owned).collect()
        };
        problems.extend(duplicates("projected table", declared, tables, str::to_owned));
        problems
    }
}
