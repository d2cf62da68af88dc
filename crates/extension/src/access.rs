//! Who may ask for what: one rule for a router or one of its endpoints, which the server enforces, the reference prints and
//! the walk over all routes tests.

use std::borrow::Cow;

use serde::Serialize;

/// Who may reach an endpoint, or everything behind a mount.
///
/// Administrators may reach everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Anyone. A credential that is presented is still read.
    Public,
    /// Anyone with a valid credential: 401 without one.
    Authenticated,
    /// A person: 403 for the credentials of services, agents and MCP servers.
    User,
    /// A credential with any one of these scopes, which are user types or permissions: 403 without.
    Scopes(&'static [&'static str]),
    /// A credential whose roles grant this permission: 403 otherwise.
    Permission(&'static str),
    /// An administrator: 403 otherwise.
    Admin,
    /// An administrator, or a program on the server's own machine.
    AdminOrLocal,
}

impl Access {
    /// A phrase for the reference.
    pub fn describe(self) -> Cow<'static, str> {
        match self {
            Self::Public => "anyone".into(),
            Self::Authenticated => "any valid credential".into(),
            Self::User => "people".into(),
            Self::Scopes(scopes) => format!("any of the scopes {}", scopes.join(", ")).into(),
            Self::Permission(key) => format!("the permission {key}").into(),
            Self::Admin => "administrators".into(),
            Self::AdminOrLocal => "administrators; anyone on the same machine".into(),
        }
    }

    /// Whether someone without a credential is turned away.
    pub const fn needs_credential(self) -> bool {
        !matches!(self, Self::Public)
    }
}
