//! What rules may name. One that names something else does nothing, and what it was to forbid is allowed.

use std::collections::BTreeSet;

use systemprompt_extension::{KnownNames, instead_of};
use systemprompt_model::{EntityKind, UserId};

use super::decision::{DEPARTMENT, GROUP, ROLE, USER};
use super::group::{Group, GroupKind};
use super::rule_set::RuleSet;
use crate::config::no_such_role;

/// What rules may name at one moment.
#[derive(Debug)]
pub struct RuleNames<'a> {
    /// The entities there are.
    pub rules: &'a RuleSet,
    /// The groups and departments.
    pub groups: &'a [Group],
    /// The roles, those that documents declare included.
    pub roles: &'a BTreeSet<String>,
    /// What extensions know.
    pub known: &'a KnownNames,
}

/// A rule names something that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownName {
    /// The entity.
    #[error("{0}")]
    Entity(String),
    /// Whom it is about.
    #[error("{0}")]
    Subject(String),
}

impl RuleNames<'_> {
    /// Fails unless there is such an entity.
    pub fn check_entity(&self, kind: EntityKind, id: &str) -> Result<(), UnknownName> {
        if self.rules.entity(kind, id).is_some() {
            return Ok(());
        }
        let ids: Vec<&str> =
            self.rules.entities().into_keys().filter(|(of, _)| *of == kind).map(|(_, id)| id).collect();
        Err(UnknownName::Entity(format!("there is no {kind} `{id}`; {}", instead_of(id, ids))))
    }

    /// The value as it is compared, if a rule of this type can be about it. Who has an account is known elsewhere.
    pub fn subject(&self, rule_type: &str, value: &str) -> Result<String, UnknownName> {
        let of_kind = |kind| -> Vec<&str> {
            self.groups.iter().filter(|group| group.kind == kind).map(|group| group.name.as_str()).collect()
        };
        let groups = match rule_type {
            USER => {
                let id = value.parse::<UserId>();
                let told = |_| UnknownName::Subject(format!("`{value}` is not the id of an account"));
                return id.map(|id| id.to_string()).map_err(told);
            }
            ROLE if self.roles.contains(value) => return Ok(value.to_owned()),
            ROLE => {
                let roles = self.roles.iter().map(String::as_str).collect();
                return Err(UnknownName::Subject(no_such_role(value, &roles)));
            }
            DEPARTMENT => of_kind(GroupKind::Department),
            GROUP => of_kind(GroupKind::Group),
            brought if self.known.dimensions.contains_key(brought) => {
                return match self.known.no_such_value(brought, value) {
                    None if value.trim().is_empty() => {
                        Err(UnknownName::Subject(format!("a value of `{brought}` is not empty")))
                    }
                    None => Ok(value.to_owned()),
                    Some(message) => Err(UnknownName::Subject(message)),
                };
            }
            unknown => {
                let brought = self.known.dimensions.keys().map(String::as_str);
                let known: Vec<&str> = [USER, DEPARTMENT, GROUP].into_iter().chain(brought).chain([ROLE]).collect();
                let instead = instead_of(unknown, known);
                return Err(UnknownName::Subject(format!("`{unknown}` is not a type of rule; {instead}")));
            }
        };
        if groups.contains(&value) {
            return Ok(value.to_owned());
        }
        Err(UnknownName::Subject(format!("there is no {rule_type} `{value}`; {}", instead_of(value, groups))))
    }
}
