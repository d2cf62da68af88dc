//! The facet of authorizers.

use serde_json::json;

use super::kind::{Declared, Described, Facet};
use super::own_names;
use crate::authorizer::AuthorizerDef;
use crate::{Extension, LoaderError};

/// Authorizers that are asked after the access rules.
#[derive(Debug)]
pub enum Authorizers {}

impl Facet for Authorizers {
    type Contribution = AuthorizerDef;

    const ABOUT: &'static str = "Authorizers that are asked after the access rules, and must allow what those do.";
    const METHOD: &'static str = "governance_authorizers";

    fn of(extension: &dyn Extension) -> Vec<AuthorizerDef> {
        extension.governance_authorizers()
    }

    fn describe(def: &AuthorizerDef) -> Described {
        Described::new(def.name, def.description, json!({ "description": def.description }))
    }

    fn check(declared: &[Declared<'_, AuthorizerDef>]) -> Vec<LoaderError> {
        own_names::broken("authorizer", declared, |def| def.name)
    }
}
