//! The facet of dimensions of people.

use serde_json::json;

use super::kind::{Declared, Described, Facet, broken_name_rule, duplicates};
use crate::subject_attributes::SubjectAttributesDef;
use crate::{Extension, LoaderError};

/// What one is called in messages.
const KIND: &str = "dimension";

/// The types of rules there are without extensions.
const OF_THE_CORE: [&str; 4] = ["user", "department", "group", "role"];

/// Dimensions of people that access rules may be about.
#[derive(Debug)]
pub enum SubjectAttributes {}

impl Facet for SubjectAttributes {
    type Contribution = SubjectAttributesDef;

    const ABOUT: &'static str = "Dimensions of people, such as a clearance, that access rules may be about.";
    const METHOD: &'static str = "subject_attributes";

    fn of(extension: &dyn Extension) -> Vec<SubjectAttributesDef> {
        extension.subject_attributes()
    }

    fn describe(def: &SubjectAttributesDef) -> Described {
        let details = json!({ "description": def.description, "values": def.values });
        Described::new(def.dimension, def.description, details)
    }

    fn check(declared: &[Declared<'_, SubjectAttributesDef>]) -> Vec<LoaderError> {
        let mut problems = duplicates(KIND, declared, |def| vec![def.dimension.to_owned()], str::to_owned);
        for Declared { extension, contributions } in declared {
            for SubjectAttributesDef { dimension, .. } in *contributions {
                let message = if OF_THE_CORE.contains(dimension) {
                    Some("it is a type of rule already")
                } else {
                    broken_name_rule(dimension)
                };
                problems.extend(message.map(|message| LoaderError::InvalidName {
                    extension: (*extension).to_owned(),
                    kind: KIND,
                    name: (*dimension).to_owned(),
                    message: message.to_owned(),
                }));
            }
        }
        problems
    }
}
