//! The facet of permissions.

use serde_json::json;

use super::kind::{Declared, Described, Facet, duplicates};
use crate::role::normal_key;
use crate::{Extension, LoaderError, PermissionDef};

/// What one is called in messages.
const KIND: &str = "permission";

/// Permissions.
#[derive(Debug)]
pub enum Permissions {}

impl Facet for Permissions {
    type Contribution = PermissionDef;

    const ABOUT: &'static str = "Permissions it defines, for its routes and for roles.";
    const METHOD: &'static str = "permissions";

    fn of(extension: &dyn Extension) -> Vec<PermissionDef> {
        extension.permissions()
    }

    fn describe(permission: &PermissionDef) -> Described {
        let details = json!({
            "description": permission.description,
            "default_roles": permission.default_roles,
        });
        Described::new(permission.key, permission.description, details)
    }

    fn check(declared: &[Declared<'_, PermissionDef>]) -> Vec<LoaderError> {
        duplicates(KIND, declared, |permission| vec![permission.key.to_owned()], normal_key)
    }
}
