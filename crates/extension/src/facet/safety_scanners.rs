//! The facet of safety scanners.

use serde_json::json;

use super::kind::{Declared, Described, Facet, broken_name_rule, duplicates};
use crate::safety::SafetyScannerDef;
use crate::{Extension, LoaderError};

/// What one is called in messages.
const KIND: &str = "safety scanner";

/// Scanners of the safety phase.
#[derive(Debug)]
pub enum SafetyScanners {}

impl Facet for SafetyScanners {
    type Contribution = SafetyScannerDef;

    const ABOUT: &'static str = "Scanners it adds to those that look at prompts and answers for safety.";
    const METHOD: &'static str = "safety_scanners";

    fn of(extension: &dyn Extension) -> Vec<SafetyScannerDef> {
        extension.safety_scanners()
    }

    fn describe(scanner: &SafetyScannerDef) -> Described {
        let details = json!({ "description": scanner.description, "categories": scanner.categories });
        Described::new(scanner.name, scanner.description, details)
    }

    fn check(declared: &[Declared<'_, SafetyScannerDef>]) -> Vec<LoaderError> {
        let mut problems = Vec::new();
        for Declared { extension, contributions } in declared {
            for scanner in *contributions {
                let invalid = |name: &str, message: String| LoaderError::InvalidName {
                    extension: (*extension).to_owned(),
                    kind: KIND,
                    name: name.to_owned(),
                    message,
                };
                // The names of the built-in ones have no dot, so that none can be taken.
                let below = scanner.name.strip_prefix(extension).and_then(|rest| rest.strip_prefix('.'));
                match below {
                    None => problems.push(invalid(scanner.name, format!("it must start with '{extension}.'"))),
                    Some(name) => problems.extend(
                        broken_name_rule(name)
                            .map(|rule| invalid(scanner.name, format!("after '{extension}.' {rule}"))),
                    ),
                }
                problems.extend(scanner.categories.iter().filter_map(|category| {
                    let rule = broken_name_rule(category)?;
                    Some(invalid(scanner.name, format!("of its category '{category}': {rule}")))
                }));
            }
        }
        problems.extend(duplicates(KIND, declared, |scanner| vec![scanner.name.to_owned()], str::to_owned));
        problems
    }
}
