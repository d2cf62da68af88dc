//! The facet of policies of the Gate.

use serde_json::json;

use super::kind::{Declared, Described, Facet, broken_name_rule, duplicates};
use crate::policy::PolicyDef;
use crate::{Extension, LoaderError};

/// What one is called in messages.
const KIND: &str = "policy";

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
        let mut problems = Vec::new();
        for Declared { extension, contributions } in declared {
            for policy in *contributions {
                let below = policy.id.strip_prefix(extension).and_then(|rest| rest.strip_prefix('.'));
                let message = match below {
                    None => Some(format!("it must start with '{extension}.'")),
                    Some(name) => broken_name_rule(name).map(|rule| format!("after '{extension}.' {rule}")),
                };
                problems.extend(message.map(|message| LoaderError::InvalidName {
                    extension: (*extension).to_owned(),
                    kind: KIND,
                    name: policy.id.to_owned(),
                    message,
                }));
            }
        }
        problems.extend(duplicates(KIND, declared, |policy| vec![policy.id.to_owned()], str::to_owned));
        problems
    }
}
