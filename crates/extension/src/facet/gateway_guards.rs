//! The facet of guards of requests to models.

use serde_json::json;

use super::kind::{Declared, Described, Facet};
use super::own_names;
use crate::gateway::GatewayGuardDef;
use crate::{Extension, LoaderError};

/// Guards that may refuse requests to models.
#[derive(Debug)]
pub enum GatewayGuards {}

impl Facet for GatewayGuards {
    type Contribution = GatewayGuardDef;

    const ABOUT: &'static str = "Guards that may refuse requests to models.";
    const METHOD: &'static str = "gateway_guards";

    fn of(extension: &dyn Extension) -> Vec<GatewayGuardDef> {
        extension.gateway_guards()
    }

    fn describe(def: &GatewayGuardDef) -> Described {
        Described::new(def.name, def.description, json!({ "description": def.description }))
    }

    fn check(declared: &[Declared<'_, GatewayGuardDef>]) -> Vec<LoaderError> {
        own_names::broken("gateway guard", declared, |def| def.name)
    }
}
