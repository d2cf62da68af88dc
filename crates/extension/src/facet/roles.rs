//! The facet of roles.

use std::collections::BTreeMap;

use serde_json::json;

use super::kind::{Declared, Described, Facet};
use crate::{BUILT_IN, Extension, ExtensionRole, LoaderError};

/// What one is called in messages.
const KIND: &str = "role";

/// Roles that exist without any extension.
const OF_THE_CORE: &[&str] = &["a2a", "admin", "anonymous", "mcp", "service", "user"];

/// Roles. What they may grant is checked with the permissions of all extensions.
#[derive(Debug)]
pub enum Roles {}

impl Facet for Roles {
    type Contribution = ExtensionRole;

    const ABOUT: &'static str = "Roles it adds to the catalogue, with the permissions they grant.";
    const METHOD: &'static str = "roles";

    fn of(extension: &dyn Extension) -> Vec<ExtensionRole> {
        extension.roles()
    }

    fn describe(role: &ExtensionRole) -> Described {
        let details = json!({ "display_name": role.display_name, "permissions": role.permissions });
        Described::new(&role.name, &role.display_name, details)
    }

    fn check(declared: &[Declared<'_, ExtensionRole>]) -> Vec<LoaderError> {
        let mut problems = Vec::new();
        let mut owners: BTreeMap<&str, &str> = OF_THE_CORE.iter().map(|role| (*role, "core")).collect();
        for Declared { extension, contributions } in declared {
            for role in *contributions {
                match owners.insert(&role.name, extension) {
                    // The built-in features define the roles of the core.
                    Some("core") if BUILT_IN.contains(extension) => {}
                    Some(other) => problems.push(LoaderError::DuplicateName {
                        kind: KIND,
                        name: role.name.clone(),
                        a: other.to_owned(),
                        b: (*extension).to_owned(),
                    }),
                    None => {}
                }
            }
        }
        problems
    }
}
