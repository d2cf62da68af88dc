//! The facet of single endpoints.

use super::kind::{Described, Facet};
use crate::{Endpoint, Extension};

/// What can be asked of the routes.
#[derive(Debug)]
pub enum Endpoints {}

impl Facet for Endpoints {
    type Contribution = Endpoint;

    const ABOUT: &'static str = "What can be asked of its routes, and by whom.";
    const METHOD: &'static str = "endpoints";

    fn of(extension: &dyn Extension) -> Vec<Endpoint> {
        extension.endpoints()
    }

    fn describe(endpoint: &Endpoint) -> Described {
        let details = serde_json::to_value(endpoint).unwrap_or_default();
        Described::new(format!("{} {}", endpoint.method, endpoint.path), endpoint.access.describe(), details)
    }
}
