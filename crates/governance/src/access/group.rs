//! A group of people, as it is listed.

use serde::Serialize;
use systemprompt_model::{AccessGroupId, UserId};

/// What kind of group it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupKind {
    /// One that is written down with each account, which is in exactly one.
    Department,
    /// Any other; an account may be in many.
    Group,
}

impl GroupKind {
    /// The name used in tables and rules.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Department => "department",
            Self::Group => "group",
        }
    }
}

/// A group of people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its id.
    pub id: AccessGroupId,
    /// What kind it is.
    pub kind: GroupKind,
    /// Its unique name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// What it is a part of.
    pub parent: Option<String>,
    /// Who made it: `yaml` for a document, `api` for an edit by hand.
    pub source: String,
    /// The accounts that were put into it. Those of a department are known by the accounts.
    pub members: Vec<UserId>,
}
