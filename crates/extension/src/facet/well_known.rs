//! The facet of documents below `/.well-known/`.

use std::collections::BTreeMap;

use super::kind::{Declared, Described, Facet};
use crate::route::broken_prefix_rule;
use crate::{Extension, JsonValue, LoaderError, WellKnownRoute};

/// Documents below `/.well-known/`.
#[derive(Debug)]
pub enum WellKnown {}

impl Facet for WellKnown {
    type Contribution = WellKnownRoute;

    const ABOUT: &'static str = "Documents below `/.well-known/`, for everyone.";
    const METHOD: &'static str = "well_known";

    fn of(extension: &dyn Extension) -> Vec<WellKnownRoute> {
        extension.well_known()
    }

    fn describe(route: &WellKnownRoute) -> Described {
        Described::new(route.full_path(), "anyone", JsonValue::Null)
    }

    fn check(declared: &[Declared<'_, WellKnownRoute>]) -> Vec<LoaderError> {
        let mut problems = Vec::new();
        let mut claimed = BTreeMap::new();
        for Declared { extension, contributions } in declared {
            for path in contributions.iter().map(WellKnownRoute::full_path) {
                if let Some(message) = broken_prefix_rule(&path) {
                    problems.push(LoaderError::InvalidBasePath {
                        extension: (*extension).to_owned(),
                        path,
                        message: message.to_owned(),
                    });
                } else if let Some(other) = claimed.insert(path.clone(), *extension) {
                    problems.push(LoaderError::RoutePathConflict {
                        a: other.to_owned(),
                        b: (*extension).to_owned(),
                        path,
                    });
                }
            }
        }
        problems
    }
}
