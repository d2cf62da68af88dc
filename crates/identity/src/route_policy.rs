use systemprompt_model::{Principal, UserType};

/// Whom a group of routes admits. Every group has exactly one.
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

/// Why a caller is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PolicyDenial {
    /// It is not known who is asking.
    #[error("sign in first")]
    Unauthenticated,
    /// It is known, and not among those admitted.
    #[error("the caller may not use this route")]
    Forbidden,
}

impl RoutePolicy {
    /// Whether the caller is admitted.
    pub fn admit(self, caller: Option<&Principal>) -> Result<(), PolicyDenial> {
        if self == Self::Public {
            return Ok(());
        }
        let user_type = caller.ok_or(PolicyDenial::Unauthenticated)?.user_type;
        let admitted = match self {
            Self::Public => true,
            Self::Authenticated => user_type != UserType::Anon,
            Self::User => matches!(user_type, UserType::User | UserType::Admin),
            Self::Admin => user_type == UserType::Admin,
            Self::Restricted(user_types) => user_types.contains(&user_type),
        };
        match (admitted, user_type) {
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
    fn policies_admit_whom_the_table_says() {
        use UserType::{A2a, Admin, Anon, Mcp, Service, User};
        let principal = |user_type| Principal {
            user_id: UserId::generate(&Ambient::system()),
            user_name: "ada".into(),
            user_type,
            roles: Vec::new(),
            attributes: BTreeMap::new(),
            credential: Credential::ApiKey(ApiKeyId::generate(&Ambient::system())),
        };
        for (policy, nobody, admitted) in [
            (RoutePolicy::Public, true, &[Admin, User, Service, A2a, Mcp, Anon][..]),
            (RoutePolicy::Authenticated, false, &[Admin, User, Service, A2a, Mcp]),
            (RoutePolicy::User, false, &[Admin, User]),
            (RoutePolicy::Admin, false, &[Admin]),
            (RoutePolicy::Restricted(&[Service]), false, &[Service]),
        ] {
            assert_eq!(policy.admit(None).is_ok(), nobody, "{policy:?}, nobody");
            for user_type in [Admin, User, Service, A2a, Mcp, Anon] {
                let caller = principal(user_type);
                assert_eq!(
                    policy.admit(Some(&caller)).is_ok(),
                    admitted.contains(&user_type),
                    "{policy:?} {user_type}"
                );
            }
        }
        assert_eq!(RoutePolicy::User.admit(Some(&principal(Anon))), Err(PolicyDenial::Unauthenticated));
        assert_eq!(RoutePolicy::User.admit(Some(&principal(Mcp))), Err(PolicyDenial::Forbidden));
    }
}
