//! How a decision follows from rules. Pure.

use std::collections::HashMap;
use std::fmt;

use systemprompt_model::Principal;

use crate::config::Access;

/// The dimension rules of departments are about.
pub const DEPARTMENT: &str = "department";
/// The department of whoever has no other.
pub const DEFAULT_DEPARTMENT: &str = "Default";

/// What is known of one entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityRules {
    /// Whether everybody may use it as long as it has no rules.
    pub default_included: bool,
    bands: Vec<(String, HashMap<String, Access>)>,
}

impl EntityRules {
    /// An entity without rules.
    pub fn new(default_included: bool) -> Self {
        Self { default_included, bands: Vec::new() }
    }

    /// Adds a rule. Of two about the same type and value the refusal stays.
    pub fn insert(&mut self, rule_type: &str, rule_value: &str, access: Access) {
        let at = self.bands.iter().position(|(known, _)| known == rule_type).unwrap_or_else(|| {
            self.bands.push((rule_type.to_owned(), HashMap::new()));
            self.bands.len() - 1
        });
        let rule = self.bands[at].1.entry(rule_value.to_owned()).or_insert(access);
        if access == Access::Deny {
            *rule = Access::Deny;
        }
    }

    fn has_rules(&self) -> bool {
        !self.bands.is_empty()
    }

    fn rule(&self, rule_type: &str, rule_value: &str) -> Option<Access> {
        self.bands.iter().find(|(known, _)| known == rule_type)?.1.get(rule_value).copied()
    }
}

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
    /// No rule allows it.
    NotAssigned,
    /// There is no such entity.
    UnknownEntity,
}

impl DenyReason {
    /// The name used in records.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::UserDeny => "user_deny",
            Self::AttributeDeny { .. } => "attribute_deny",
            Self::RoleDeny(_) => "role_deny",
            Self::NotAssigned => "not_assigned",
            Self::UnknownEntity => "unknown_entity",
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
        }
    }
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserDeny => f.write_str("denied to the user"),
            Self::AttributeDeny { dimension, value } => write!(f, "denied to the {dimension} `{value}`"),
            Self::RoleDeny(role) => write!(f, "denied to the role `{role}`"),
            Self::NotAssigned => f.write_str("no rule allows it"),
            Self::UnknownEntity => f.write_str("no such entity"),
        }
    }
}

/// Whether `principal` may use an entity.
///
/// Rules about the user come first, then those about each of `dimensions` in their order, then those about roles; within
/// each of these bands a refusal comes before a grant, and the first rule that is about the principal decides. An entity
/// that has rules of which none is about the principal is closed. One that has none takes after its `parents`, nearest
/// first, and is otherwise closed too, unless it is `default_included` and no parent has rules either. Administrators are
/// treated as everybody.
pub fn resolve(
    entity: Option<&EntityRules>,
    parents: &[&EntityRules],
    dimensions: &[String],
    principal: &Principal,
) -> AccessDecision {
    let Some(entity) = entity else { return AccessDecision::Denied(DenyReason::UnknownEntity) };
    if entity.has_rules() {
        return by_rules(entity, dimensions, principal).unwrap_or(AccessDecision::Denied(DenyReason::NotAssigned));
    }
    if let Some(decision) = parents.iter().find_map(|parent| by_rules(parent, dimensions, principal)) {
        return decision;
    }
    if entity.default_included && !parents.iter().any(|parent| parent.has_rules()) {
        AccessDecision::Allowed(Basis::DefaultIncluded)
    } else {
        AccessDecision::Denied(DenyReason::NotAssigned)
    }
}

fn by_rules(entity: &EntityRules, dimensions: &[String], principal: &Principal) -> Option<AccessDecision> {
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    let user_id = principal.user_id.as_uuid().hyphenated().encode_lower(&mut buffer);
    match entity.rule("user", user_id) {
        Some(Access::Deny) => return Some(AccessDecision::Denied(DenyReason::UserDeny)),
        Some(Access::Allow) => return Some(AccessDecision::Allowed(Basis::User)),
        None => {}
    }
    for dimension in dimensions {
        let value = match principal.attributes.get(dimension) {
            Some(value) => value.as_str(),
            None if dimension == DEPARTMENT => DEFAULT_DEPARTMENT,
            None => continue,
        };
        let (dimension, owned) = (dimension.clone(), value.to_owned());
        match entity.rule(&dimension, value) {
            Some(Access::Deny) => {
                return Some(AccessDecision::Denied(DenyReason::AttributeDeny { dimension, value: owned }));
            }
            Some(Access::Allow) => return Some(AccessDecision::Allowed(Basis::Attribute { dimension, value: owned })),
            None => {}
        }
    }
    let role_with = |access| principal.roles.iter().find(|role| entity.rule("role", role) == Some(access)).cloned();
    role_with(Access::Deny)
        .map(|role| AccessDecision::Denied(DenyReason::RoleDeny(role)))
        .or_else(|| role_with(Access::Allow).map(|role| AccessDecision::Allowed(Basis::Role(role))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use systemprompt_model::{Ambient, ApiKeyId, Credential, UserId, UserType};

    use super::*;

    fn somebody(roles: &[&str], department: Option<&str>, user_type: UserType) -> Principal {
        let ambient = Ambient::system();
        Principal {
            user_id: UserId::generate(&ambient),
            user_name: "somebody".to_owned(),
            user_type,
            roles: roles.iter().map(|&role| role.to_owned()).collect(),
            attributes: department
                .map(|name| BTreeMap::from([(DEPARTMENT.to_owned(), name.to_owned())]))
                .unwrap_or_default(),
            credential: Credential::ApiKey(ApiKeyId::generate(&ambient)),
        }
    }

    type RuleRow<'a> = (&'a str, &'a str, Access);

    fn entity(rules: &[RuleRow<'_>]) -> EntityRules {
        let mut entity = EntityRules::new(false);
        for (rule_type, value, access) in rules {
            entity.insert(rule_type, value, *access);
        }
        entity
    }

    #[test]
    fn precedence_is_user_then_department_then_role_and_deny_comes_first() {
        use Access::{Allow, Deny};
        let user = somebody(&["developer", "user"], Some("Research"), UserType::User);
        let me = user.user_id.to_string();
        let dimensions = [DEPARTMENT.to_owned()];
        let table: &[(&[RuleRow<'_>], &str)] = &[
            (&[("role", "user", Allow)], "allowed to the role `user`"),
            (&[("role", "admin", Allow)], "no rule allows it"),
            (&[("role", "user", Allow), ("role", "developer", Deny)], "denied to the role `developer`"),
            (&[("role", "developer", Deny), ("department", "Research", Allow)], "allowed to the department `Research`"),
            (&[("role", "user", Allow), ("department", "Research", Deny)], "denied to the department `Research`"),
            (&[("department", "Sales", Deny), ("role", "user", Allow)], "allowed to the role `user`"),
            (&[("user", &me, Allow), ("department", "Research", Deny), ("role", "user", Deny)], "allowed to the user"),
            (&[("user", &me, Deny), ("department", "Research", Allow), ("role", "user", Allow)], "denied to the user"),
            (&[("user", &me, Allow), ("user", &me, Deny)], "denied to the user"),
            (&[("user", "somebody-else", Deny), ("role", "user", Allow)], "allowed to the role `user`"),
            (&[("group", "Research", Allow)], "no rule allows it"),
        ];
        for (rules, expected) in table {
            let decision = match resolve(Some(&entity(rules)), &[], &dimensions, &user) {
                AccessDecision::Allowed(basis) => basis.to_string(),
                AccessDecision::Denied(reason) => reason.to_string(),
            };
            assert_eq!(decision, *expected, "{rules:?}");
        }
    }

    #[test]
    fn without_rules_of_its_own_an_entity_takes_after_its_parents() {
        use Access::{Allow, Deny};
        let user = somebody(&["user"], None, UserType::User);
        let bare = EntityRules::new(false);
        let open = EntityRules::new(true);
        let allowing = entity(&[("role", "user", Allow)]);
        let denying = entity(&[("role", "user", Deny)]);
        let other = entity(&[("role", "admin", Allow)]);
        let allowed = |entity: Option<&EntityRules>, parents: &[&EntityRules]| {
            matches!(resolve(entity, parents, &[], &user), AccessDecision::Allowed(_))
        };
        assert!(!allowed(None, &[&allowing]), "unknown");
        assert!(!allowed(Some(&bare), &[]), "nothing allows it");
        assert!(allowed(Some(&open), &[]));
        assert!(allowed(Some(&bare), &[&allowing]));
        assert!(!allowed(Some(&open), &[&denying]));
        assert!(!allowed(Some(&open), &[&other]), "a parent's rules close it");
        assert!(allowed(Some(&bare), &[&bare, &other, &allowing, &denying]), "the nearest with a rule about the user");
        assert!(!allowed(Some(&other), &[&allowing]), "own rules close it");
    }

    #[test]
    fn whoever_has_no_department_is_in_the_default_one_and_administrators_have_no_privilege() {
        let rules = entity(&[("department", DEFAULT_DEPARTMENT, Access::Allow)]);
        let dimensions = [DEPARTMENT.to_owned()];
        let admin = somebody(&["admin"], Some("Research"), UserType::Admin);
        assert_eq!(resolve(Some(&rules), &[], &dimensions, &admin), AccessDecision::Denied(DenyReason::NotAssigned));
        let nobody = somebody(&[], None, UserType::User);
        assert!(matches!(resolve(Some(&rules), &[], &dimensions, &nobody), AccessDecision::Allowed(_)));
    }
}
