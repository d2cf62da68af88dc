//! Whom a route lets in.

use systemprompt_model::{Principal, UserType};

/// Whom a group of routes lets in. Every group has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoutePolicy {
    /// Anyone, with or without a credential.
    Public,
    /// Anyone with a credential that is not anonymous, people and programs alike.
    Authenticated,
    /// People: users and administrators.
    User,
    /// Administrators.
    Admin,
    /// These classes of callers.
    Restricted(&'static [UserType]),
}

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PolicyDenial {
    /// It is not known who is asking.
    #[error("sign in first")]
    Unauthenticated,
    /// It is known, and not among those let in.
    #[error("the caller may not use this route")]
    Forbidden,
}

impl RoutePolicy {
    /// Whether the caller is let in.
    pub fn lets_in(self, caller: Option<&Principal>) -> Result<(), PolicyDenial> {
        if self == Self::Public {
            return Ok(());
        }
        let user_type = caller.ok_or(PolicyDenial::Unauthenticated)?.user_type;
        let welcome = match self {
            Self::Public => true,
            Self::Authenticated => user_type != UserType::Anon,
            Self::User => matches!(user_type, UserType::User | UserType::Admin),
            Self::Admin => user_type == UserType::Admin,
            Self::Restricted(user_types) => user_types.contains(&user_type),
        };
        match (welcome, user_type) {
            (true, _) => Ok(()),
            // An anonymous token is as good as none: signing in would help.
            (false, UserType::Anon) => Err(PolicyDenial::Unauthenticated),
            (false, _) => Err(PolicyDenial::Forbidden),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use systemprompt_model::{Ambient, ApiKeyId, Credential, UserId};

    use super::*;

    #[test]
    fn policies_let_in_whom_the_table_says() {
        use UserType::{A2a, Admin, Anon, Mcp, Service, User};
        let principal = |user_type| Principal {
            user_id: UserId::generate(&Ambient::system()),
            user_name: "ada".into(),
            user_type,
            roles: Vec::new(),
            attributes: BTreeMap::new(),
            credential: Credential::ApiKey(ApiKeyId::generate(&Ambient::system())),
        };
        for (policy, nobody, welcome) in [
            (RoutePolicy::Public, true, &[Admin, User, Service, A2a, Mcp, Anon][..]),
            (RoutePolicy::Authenticated, false, &[Admin, User, Service, A2a, Mcp]),
            (RoutePolicy::User, false, &[Admin, User]),
            (RoutePolicy::Admin, false, &[Admin]),
            (RoutePolicy::Restricted(&[Service]), false, &[Service]),
        ] {
            assert_eq!(policy.lets_in(None).is_ok(), nobody, "{policy:?}, nobody");
            for user_type in [Admin, User, Service, A2a, Mcp, Anon] {
                let caller = principal(user_type);
                assert_eq!(
                    policy.lets_in(Some(&caller)).is_ok(),
                    welcome.contains(&user_type),
                    "{policy:?} {user_type}"
                );
            }
        }
        assert_eq!(RoutePolicy::User.lets_in(Some(&principal(Anon))), Err(PolicyDenial::Unauthenticated));
        assert_eq!(RoutePolicy::User.lets_in(Some(&principal(Mcp))), Err(PolicyDenial::Forbidden));
    }
}
