//! Roles and permissions that extensions add.

use serde::Serialize;

/// A role an extension brings along; entered into the role catalogue at start-up, with the extension as its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtensionRole {
    /// The unique name, as used in rules and user records.
    pub name: String,
    /// The name shown to people.
    pub display_name: String,
    /// What someone with this role may do, in a sentence.
    pub description: String,
    /// The permissions it grants. Only permissions that the extension or one of its dependencies declares, or `*`, which
    /// the operator has to approve in `extensions.approved_wildcard_roles`.
    pub permissions: Vec<String>,
}

impl ExtensionRole {
    /// A role without permissions.
    pub fn new(name: impl Into<String>, display_name: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            display_name: display_name.into(),
            description: description.into(),
            permissions: Vec::new(),
        }
    }

    /// The role with exactly these permissions.
    #[must_use]
    pub fn with_permissions(mut self, permissions: Vec<String>) -> Self {
        self.permissions = permissions;
        self
    }
}

/// A permission an extension defines, for [`Access::Permission`](crate::Access::Permission) and for roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PermissionDef {
    /// The key, `<area>.<action>`; `.` and `:` are equal.
    pub key: &'static str,
    /// What it allows, in a sentence.
    pub description: &'static str,
    /// The roles that have it until an operator changes that.
    pub default_roles: Vec<&'static str>,
}

impl PermissionDef {
    /// A permission nobody has by default.
    pub fn new(key: &'static str, description: &'static str) -> Self {
        Self { key, description, default_roles: Vec::new() }
    }

    /// The permission, given to these roles from the start.
    #[must_use]
    pub fn default_roles(mut self, roles: &[&'static str]) -> Self {
        self.default_roles = roles.to_vec();
        self
    }
}

/// The form in which permission keys are compared: `.` for `:`.
pub(crate) fn normal_key(key: &str) -> String {
    key.replace(':', ".")
}
