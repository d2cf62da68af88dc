//! Which roles grant which permissions.

use std::collections::{BTreeMap, BTreeSet};

use systemprompt_model::{Principal, UserType};

use crate::role::normal_key;
use crate::{Access, AuthError, ExtensionRole, PermissionDef, Rejection};

/// Which role has which permission, as the enabled extensions declare it; decides [`Access`].
///
/// Administrators may do everything. Everyone else may do what one of their roles grants, either because the role
/// declares the permission or because the permission names the role as a default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(BTreeMap<String, BTreeSet<String>>);

impl Grants {
    /// What these roles and permissions say together.
    pub(crate) fn new<'a>(
        roles: impl Iterator<Item = &'a ExtensionRole>,
        permissions: impl Iterator<Item = &'a PermissionDef>,
    ) -> Self {
        let mut grants: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for role in roles {
            grants.entry(role.name.clone()).or_default().extend(role.permissions.iter().map(|key| normal_key(key)));
        }
        for permission in permissions {
            for role in &permission.default_roles {
                grants.entry((*role).to_owned()).or_default().insert(normal_key(permission.key));
            }
        }
        Self(grants)
    }

    /// Whether one of these roles grants this permission.
    pub fn allow(&self, roles: &[String], permission: &str) -> bool {
        let key = normal_key(permission);
        roles.iter().filter_map(|role| self.0.get(role)).any(|keys| keys.contains("*") || keys.contains(&key))
    }

    /// Whether `caller`, who may be nobody, may reach routes with this rule.
    ///
    /// Who is local is for the server to say, before it asks here.
    pub fn check(&self, access: Access, caller: Option<&Principal>) -> Result<(), Rejection> {
        if matches!(access, Access::Public | Access::Own) {
            return Ok(());
        }
        let caller = match caller {
            None => return Err(Rejection::Auth(AuthError::Missing)),
            Some(caller) if caller.user_type == UserType::Anon => return Err(Rejection::Anonymous),
            Some(caller) => caller,
        };
        let forbidden = |needed: &str| Rejection::NotAllowed(needed.to_owned());
        if caller.is_admin() {
            return Ok(());
        }
        match access {
            Access::Public | Access::Own | Access::Authenticated => Ok(()),
            Access::User if caller.user_type == UserType::User => Ok(()),
            Access::User => Err(forbidden("the credential of a person")),
            Access::Admin | Access::AdminOrLocal => Err(forbidden("an administrator")),
            Access::Permission(key) if self.allow(&caller.roles, key) => Ok(()),
            Access::Permission(key) => Err(forbidden(&format!("the permission {key}"))),
            Access::Scopes(scopes) => {
                let has = |scope: &str| scope == caller.user_type.as_str() || self.allow(&caller.roles, scope);
                if scopes.iter().any(|scope| has(scope)) {
                    Ok(())
                } else {
                    Err(forbidden(&format!("one of the scopes {}", scopes.join(", "))))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use systemprompt_model::{Ambient, ApiKeyId, Credential, UserId};

    use super::*;

    #[test]
    fn every_rule_for_every_type_of_user() {
        let ambient = Ambient::system();
        let caller = |user_type, roles: &[&str]| Principal {
            user_id: UserId::generate(&ambient),
            user_name: "x".to_owned(),
            user_type,
            roles: roles.iter().map(ToString::to_string).collect(),
            attributes: BTreeMap::new(),
            credential: Credential::ApiKey(ApiKeyId::generate(&ambient)),
        };
        let grants = Grants(BTreeMap::from([
            ("reader".to_owned(), BTreeSet::from(["things.read".to_owned()])),
            ("root".to_owned(), BTreeSet::from(["*".to_owned()])),
        ]));
        let rules = [
            Access::Public,
            Access::Own,
            Access::Authenticated,
            Access::User,
            Access::Scopes(&["service", "things:read"]),
            Access::Permission("things:read"),
            Access::Admin,
            Access::AdminOrLocal,
        ];
        let rows = [
            (None, [200, 200, 401, 401, 401, 401, 401, 401]),
            (Some(caller(UserType::Anon, &["root"])), [200, 200, 401, 401, 401, 401, 401, 401]),
            (Some(caller(UserType::User, &[])), [200, 200, 200, 200, 403, 403, 403, 403]),
            (Some(caller(UserType::User, &["reader"])), [200, 200, 200, 200, 200, 200, 403, 403]),
            (Some(caller(UserType::User, &["root"])), [200, 200, 200, 200, 200, 200, 403, 403]),
            (Some(caller(UserType::Service, &[])), [200, 200, 200, 403, 200, 403, 403, 403]),
            (Some(caller(UserType::Mcp, &[])), [200, 200, 200, 403, 403, 403, 403, 403]),
            (Some(caller(UserType::Admin, &[])), [200, 200, 200, 200, 200, 200, 200, 200]),
        ];
        for (caller, expected) in rows {
            let statuses = rules.map(|rule| match grants.check(rule, caller.as_ref()) {
                Ok(()) => 200,
                Err(Rejection::NotAllowed(_)) => 403,
                Err(_) => 401,
            });
            assert_eq!(statuses, expected, "{caller:?}");
        }
    }
}
