//! Signed tokens: what they say. Minted, verified and revoked by [`issuer::Tokens`].

pub(crate) mod issuer;
mod queries;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use systemprompt_model::{SessionId, TokenId, UserId, UserType};

/// Links of the `act` chain a token may have.
pub(crate) const LONGEST_ACT_CHAIN: usize = 16;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user it speaks for.
    pub sub: UserId,
    /// Who issued it: the installation's URL.
    pub iss: String,
    /// The surfaces it is for: `web`, `api`, `a2a`, `mcp`, `internal`, `bridge`, `hook`, or the name or URL of a
    /// resource.
    #[serde(deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// From when on it is refused, in seconds since 1970.
    pub exp: i64,
    /// Since when it is accepted, in seconds since 1970.
    pub nbf: i64,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// Its id, for revocation.
    pub jti: TokenId,
    /// What it allows, separated by spaces.
    pub scope: ScopeSet,
    /// The user's name.
    pub username: String,
    /// The user's address.
    pub email: String,
    /// The class of caller, which must be the one that follows from the scope.
    pub user_type: UserType,
    /// The user's roles that this token may use.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Further facts about the user, such as `department`.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// The OAuth client it was issued to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Always `Bearer`.
    pub token_type: String,
    /// When the user last proved who it is, in seconds since 1970.
    pub auth_time: i64,
    /// The session it belongs to and ends with.
    pub session_id: SessionId,
    /// The name of the rate limits that apply.
    pub rate_limit_tier: String,
    /// The plugin it was issued to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_id: Option<String>,
    /// Who acts for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Act>>,
}

/// A link of the chain of those who act for the user, the current one outermost (RFC 8693 §4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Who vouches for it.
    pub iss: String,
    /// Its id.
    pub sub: String,
    /// On whose behalf it acts in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Act>>,
}

impl Act {
    /// The number of links from here on.
    pub fn depth(&self) -> usize {
        std::iter::successors(Some(self), |act| act.act.as_deref()).count()
    }
}

/// A set of scopes, written as one text with spaces between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeSet(Vec<String>);

impl ScopeSet {
    /// The scopes of a text, sorted, without repetition.
    pub fn parse(text: &str) -> Self {
        let mut scopes: Vec<_> = text.split_ascii_whitespace().map(str::to_owned).collect();
        scopes.sort();
        scopes.dedup();
        Self(scopes)
    }

    /// All scopes, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether exactly this scope is in the set.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|each| each == scope)
    }

    /// Whether the set allows what `required` stands for. `admin` implies everything and `user` implies `anonymous`;
    /// scopes of programs imply nothing, and no person's scope but `admin` implies one of them.
    pub fn allows(&self, required: &str) -> bool {
        self.contains(required) || self.contains("admin") || required == "anonymous" && self.contains("user")
    }

    /// The class of caller a token with these scopes is: the most specific that follows from them.
    pub fn user_type(&self) -> UserType {
        let has = |scope| self.contains(scope);
        if has("admin") {
            UserType::Admin
        } else if has("user") {
            UserType::User
        } else if has("service") || self.iter().any(|scope| scope.starts_with("hook:")) {
            UserType::Service
        } else if has("a2a") {
            UserType::A2a
        } else if has("mcp") {
            UserType::Mcp
        } else {
            UserType::Anon
        }
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.join(" "))
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(deserializer)?))
    }
}

/// RFC 7519 §4.1.3 allows a single audience to be a plain string.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_imply_what_the_table_says() {
        #[track_caller]
        fn check(scopes: &str, user_type: UserType, allows: &[&str], forbids: &[&str]) {
            let set = ScopeSet::parse(scopes);
            assert_eq!(set.user_type(), user_type, "{scopes}");
            for scope in allows {
                assert!(set.allows(scope), "{scopes} allows {scope}");
            }
            for scope in forbids {
                assert!(!set.allows(scope), "{scopes} does not allow {scope}");
            }
        }
        check("admin", UserType::Admin, &["user", "service", "hook:govern", "inventory:write"], &[]);
        check("user", UserType::User, &["anonymous"], &["admin", "service", "mcp", "hook:track"]);
        check("hook:govern hook:track", UserType::Service, &["hook:govern"], &["user", "service", "anonymous"]);
        check("mcp", UserType::Mcp, &["mcp"], &["a2a", "user"]);
        check("a2a mcp", UserType::A2a, &["a2a", "mcp"], &["service"]);
        check("inventory:write", UserType::Anon, &["inventory:write"], &["user"]);
        check("", UserType::Anon, &[], &["anonymous"]);
    }
}
