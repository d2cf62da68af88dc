//! Accounts: what they are. Kept by [`store::Users`].

pub(crate) mod change;
mod department;
pub(crate) mod lookup;
pub(crate) mod queries;
pub(crate) mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use systemprompt_model::{Credential, Principal, UserId, UserType};

/// Role of those who administer the installation.
pub(crate) const ADMIN_ROLE: &str = "admin";
/// Role every account has when nothing else is said.
pub(crate) const USER_ROLE: &str = "user";

/// Whether an account may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserStatus {
    /// May act.
    Active,
    /// Not in use; may not act.
    Inactive,
    /// Barred by an administrator; may not act.
    Suspended,
    /// Registered but not confirmed; may not act.
    Pending,
    /// Gone; the row stays because the ledger refers to it. May not act and cannot be changed.
    Deleted,
    /// A visitor with a short-lived account; may act.
    Temporary,
}

impl UserStatus {
    const ALL: [Self; 6] =
        [Self::Active, Self::Inactive, Self::Suspended, Self::Pending, Self::Deleted, Self::Temporary];

    /// The name in the database, in JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Suspended => "suspended",
            Self::Pending => "pending",
            Self::Deleted => "deleted",
            Self::Temporary => "temporary",
        }
    }

    /// Whether credentials of an account in this state are accepted.
    pub const fn may_act(self) -> bool {
        match self {
            Self::Active | Self::Temporary => true,
            Self::Inactive | Self::Suspended | Self::Pending | Self::Deleted => false,
        }
    }
}

impl fmt::Display for UserStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for UserStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("`{text}` is not a status; use one of {known}")
        })
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Its unique name, whatever the case of the letters.
    pub name: String,
    /// Its unique address, in lower case.
    pub email: String,
    /// The person's full name.
    pub full_name: Option<String>,
    /// The name to show.
    pub display_name: Option<String>,
    /// Whether it may act.
    pub status: UserStatus,
    /// Whether the address was proved to belong to the person.
    pub email_verified: bool,
    /// Its roles, sorted, without repetition.
    pub roles: Vec<String>,
    /// Further facts access rules may refer to, such as `department`.
    pub attributes: BTreeMap<String, String>,
    /// Whether it belongs to a program.
    pub is_bot: bool,
    /// Whether it behaved like a vulnerability scanner.
    pub is_scanner: bool,
    /// A picture.
    pub avatar_url: Option<String>,
    /// Raised to invalidate all share links of the user.
    pub share_token_version: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// When the person last signed in.
    pub last_login_at: Option<DateTime<Utc>>,
}

impl User {
    /// Whether it administers the installation.
    pub fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == ADMIN_ROLE)
    }

    /// The account as access rules see it: they do not ask how somebody has shown who they are.
    pub fn to_principal(&self) -> Principal {
        Principal {
            user_id: self.id,
            user_name: self.name.clone(),
            user_type: if self.is_admin() { UserType::Admin } else { UserType::User },
            roles: self.roles.clone(),
            attributes: self.attributes.clone(),
            credential: Credential::Installation,
        }
    }
}
