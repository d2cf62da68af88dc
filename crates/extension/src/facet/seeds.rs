//! The facet of rows that must exist.

use systemprompt_database::Seed;

use super::kind::{Described, Facet};
use crate::{Extension, JsonValue};

/// Rows that must exist. Their SQL is checked with that of all extensions together.
#[derive(Debug)]
pub enum Seeds {}

impl Facet for Seeds {
    type Contribution = Seed;

    const ABOUT: &'static str = "Rows that must exist; written on every start.";
    const METHOD: &'static str = "seeds";

    fn of(extension: &dyn Extension) -> Vec<Seed> {
        extension.seeds()
    }

    fn describe(seed: &Seed) -> Described {
        Described::new(seed.id, "", JsonValue::Null)
    }
}
