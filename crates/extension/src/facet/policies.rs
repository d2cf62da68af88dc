//! The facet of policies of the Gate.

use serde_json::json;

use super::kind::{Declared, Described, Facet};
use super::own_names;
use crate::policy::PolicyDef;
use crate::{Extension, LoaderError};

/// Policies of the Gate.
#[derive(Debug)]
pub enum Policies {}

impl Facet for Policies {
    type Contribution = PolicyDef;

    const ABOUT: &'static str = "Policies it adds to those the Gate asks about every action.";
    const METHOD: &'static str = "governance_policies";

    fn of(extension: &dyn Extension) -> Vec<PolicyDef> {
        extension.governance_policies()
    }

    fn describe(policy: &PolicyDef) -> Described {
        Described::new(policy.id, policy.description, json!({ "description": policy.description }))
    }

    fn check(declared: &[Declared<'_, PolicyDef>]) -> Vec<LoaderError> {
        own_names::broken("policy", declared, |policy| policy.id)
    }
}
