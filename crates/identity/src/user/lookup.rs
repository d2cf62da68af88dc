//! How accounts are asked for: one by what people call it, many by a filter, page by page.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use systemprompt_model::UserId;

use crate::user::UserStatus;

/// Which accounts to list or count. Deleted ones are left out unless asked for by status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Only those with this role.
    pub role: Option<String>,
    /// Only those in this state.
    pub status: Option<UserStatus>,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// At most so many.
    pub limit: u32,
    /// After so many.
    pub offset: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { limit: 20, offset: 0 }
    }
}

impl Page {
    pub(crate) fn limit(self) -> i64 {
        i64::from(self.limit)
    }
}

/// How people name an account: by id, by address, or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserReference {
    /// By its id.
    Id(UserId),
    /// By its address, in lower case.
    Email(String),
    /// By its name.
    Name(String),
}

impl FromStr for UserReference {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let text = text.trim();
        Ok(match text.parse() {
            Ok(id) => Self::Id(id),
            Err(_) if text.contains('@') => Self::Email(text.to_lowercase()),
            Err(_) => Self::Name(text.to_owned()),
        })
    }
}

impl fmt::Display for UserReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Email(text) | Self::Name(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_by_id_address_or_name() {
        let id: UserId = "0198c0de-0000-7000-8000-000000000000".parse().expect("an id");
        let reference = |text: &str| text.parse::<UserReference>().expect("never fails");
        assert_eq!(reference(&id.to_string()), UserReference::Id(id));
        assert_eq!(reference("Ada@Example.com"), UserReference::Email("ada@example.com".into()));
        assert_eq!(reference("ada"), UserReference::Name("ada".into()));
    }
}
