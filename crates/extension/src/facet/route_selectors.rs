//! The facet of selectors of routes.

use serde_json::json;

use super::kind::{Declared, Described, Facet};
use super::own_names;
use crate::gateway::RouteSelectorDef;
use crate::{Extension, LoaderError};

/// Selectors that may send requests to models another way.
#[derive(Debug)]
pub enum RouteSelectors {}

impl Facet for RouteSelectors {
    type Contribution = RouteSelectorDef;

    const ABOUT: &'static str = "Selectors that may send requests to models another way.";
    const METHOD: &'static str = "route_selectors";

    fn of(extension: &dyn Extension) -> Vec<RouteSelectorDef> {
        extension.route_selectors()
    }

    fn describe(def: &RouteSelectorDef) -> Described {
        Described::new(def.name, def.description, json!({ "description": def.description }))
    }

    fn check(declared: &[Declared<'_, RouteSelectorDef>]) -> Vec<LoaderError> {
        own_names::broken("route selector", declared, |def| def.name)
    }
}
