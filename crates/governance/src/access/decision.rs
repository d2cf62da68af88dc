//! What is decided about somebody and an entity, and in which words.

use std::fmt;

/// The dimension rules of departments are about.
pub const DEPARTMENT: &str = "department";
/// The dimension rules of groups are about.
pub const GROUP: &str = "group";
/// The dimensions every installation has, the strongest first.
pub const DIMENSIONS: [&str; 2] = [DEPARTMENT, GROUP];
/// The type of rules about single users.
pub const USER: &str = "user";
/// The type of rules about roles.
pub const ROLE: &str = "role";
/// The department of whoever has no other.
pub const DEFAULT_DEPARTMENT: &str = "Default";

/// Whether somebody may use an entity, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessDecision {
    /// They may.
    Allowed(Basis),
    /// They may not.
    Denied(DenyReason),
}

/// What allowed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// A rule about the user.
    User,
    /// A rule about a value of a dimension, such as the department.
    Attribute {
        /// The dimension.
        dimension: String,
        /// The user's value.
        value: String,
    },
    /// A rule about a role.
    Role(String),
    /// The entity has no rules and is open to everybody.
    DefaultIncluded,
    /// A policy somebody wrote in Cedar; its name.
    Authored(String),
}

/// What denied it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DenyReason {
    /// A rule about the user.
    UserDeny,
    /// A rule about a value of a dimension, such as the department.
    AttributeDeny {
        /// The dimension.
        dimension: String,
        /// The user's value.
        value: String,
    },
    /// A rule about a role.
    RoleDeny(String),
    /// A policy somebody wrote in Cedar; its name.
    Authored(String),
    /// A policy somebody wrote in Cedar could not be evaluated; what was said.
    Unjudged(String),
    /// No rule allows it.
    NotAssigned,
    /// There is no such entity.
    UnknownEntity,
}

impl AccessDecision {
    /// Whether they may.
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// What a rule of this type about this value decides.
    pub(super) fn by_rule(rule_type: &str, value: &str, allows: bool) -> Self {
        let attribute = || (rule_type.to_owned(), value.to_owned());
        match (rule_type, allows) {
            (USER, true) => Self::Allowed(Basis::User),
            (USER, false) => Self::Denied(DenyReason::UserDeny),
            (ROLE, true) => Self::Allowed(Basis::Role(value.to_owned())),
            (ROLE, false) => Self::Denied(DenyReason::RoleDeny(value.to_owned())),
            (_, true) => {
                let (dimension, value) = attribute();
                Self::Allowed(Basis::Attribute { dimension, value })
            }
            (_, false) => {
                let (dimension, value) = attribute();
                Self::Denied(DenyReason::AttributeDeny { dimension, value })
            }
        }
    }
}

impl DenyReason {
    /// The name used in records.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::UserDeny => "user_deny",
            Self::AttributeDeny { .. } => "attribute_deny",
            Self::RoleDeny(_) => "role_deny",
            Self::Authored(_) | Self::Unjudged(_) => "policy_violation",
            Self::NotAssigned => "not_assigned",
            Self::UnknownEntity => "unknown_entity",
        }
    }

    /// Whether a rule says so, rather than that none allows it.
    pub const fn is_by_rule(&self) -> bool {
        !matches!(self, Self::NotAssigned | Self::UnknownEntity)
    }
}

impl fmt::Display for AccessDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed(basis) => basis.fmt(f),
            Self::Denied(reason) => reason.fmt(f),
        }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("allowed to the user"),
            Self::Attribute { dimension, value } => write!(f, "allowed to the {dimension} `{value}`"),
            Self::Role(role) => write!(f, "allowed to the role `{role}`"),
            Self::DefaultIncluded => f.write_str("open to everybody"),
            Self::Authored(policy) => write!(f, "allowed by the policy {policy}"),
        }
    }
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserDeny => f.write_str("denied to the user"),
            Self::AttributeDeny { dimension, value } => write!(f, "denied to the {dimension} `{value}`"),
            Self::RoleDeny(role) => write!(f, "denied to the role `{role}`"),
            Self::Authored(policy) => write!(f, "denied by the policy {policy}"),
            Self::Unjudged(error) => write!(f, "a policy cannot be evaluated: {error}"),
            Self::NotAssigned => f.write_str("no rule allows it"),
            Self::UnknownEntity => f.write_str("no such entity"),
        }
    }
}
