//! What is known of one entity, and who asks: the two sides a decision is about.

use std::collections::BTreeMap;

use systemprompt_model::{Principal, UserId, UserType};
use uuid::Uuid;

use super::decision::{DEFAULT_DEPARTMENT, DEPARTMENT, GROUP, ROLE, USER};
use super::groups::Groups;
use crate::config::Access;

/// What is known of one entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityRules {
    /// Whether everybody may use it as long as it has no rules.
    pub default_included: bool,
    /// Its rules, by type and value.
    pub rules: Vec<EntityRule>,
}

/// One rule about an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityRule {
    /// `user`, `role`, or a dimension such as `department`.
    pub rule_type: String,
    /// The user's id, the role's name, the value of the dimension.
    pub rule_value: String,
    /// Whether it grants or refuses.
    pub access: Access,
    /// Why.
    pub justification: Option<String>,
    /// Who made it: `yaml` for a document, `api` for an edit by hand.
    pub source: String,
}

impl EntityRules {
    /// An entity without rules.
    pub fn new(default_included: bool) -> Self {
        Self { default_included, rules: Vec::new() }
    }

    /// Adds a rule. Of two about the same type and value the refusal stays.
    pub fn insert(&mut self, rule: EntityRule) {
        let key = |rule: &EntityRule| (rule.rule_type.clone(), rule.rule_value.clone());
        match self.rules.binary_search_by_key(&key(&rule), key) {
            Err(at) => self.rules.insert(at, rule),
            Ok(at) if rule.access == Access::Deny => self.rules[at] = rule,
            Ok(_) => {}
        }
    }
}

/// What somebody else tells of an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    /// Its id, if it is told.
    pub(crate) user_id: Option<UserId>,
    /// Its roles.
    pub(crate) roles: &'a [String],
    /// Its attributes, each with all its values.
    pub(crate) attributes: &'a BTreeMap<String, Vec<String>>,
}

/// Who asks: what rules can be about, strongest band first. The bands are the user, the dimensions in their order, the roles.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The account's name.
    pub name: String,
    /// Its class.
    pub kind: &'static str,
    /// Each type of rule, and the values of it that are about this account, sorted.
    pub bands: Vec<(String, Vec<String>)>,
}

impl Subject {
    /// `principal`, who is in what `groups` says. Administrators are treated as everybody.
    pub fn of(principal: &Principal, dimensions: &[String], groups: &Groups) -> Self {
        let own = |dimension: &str| principal.attributes.get(dimension).map(std::slice::from_ref).unwrap_or_default();
        let bands = bands(principal.user_id, own, &principal.roles, dimensions, groups);
        Self { name: principal.user_name.clone(), kind: principal.user_type.as_str(), bands }
    }

    /// An account as somebody else tells of it, who knows neither its name nor its class.
    pub(super) fn told(told: &Told<'_>, dimensions: &[String], groups: &Groups) -> Self {
        let own = |dimension: &str| told.attributes.get(dimension).map(Vec::as_slice).unwrap_or_default();
        let mut roles = told.roles.to_vec();
        roles.sort_unstable();
        // No rule is about an account that has no id.
        let user = told.user_id.unwrap_or(UserId::from_uuid(Uuid::nil()));
        let bands = bands(user, own, &roles, dimensions, groups);
        Self { name: String::new(), kind: UserType::User.as_str(), bands }
    }

    /// Has it have these values of a dimension, and no others.
    pub(super) fn set(&mut self, dimension: &str, known: &[String]) {
        if let Some((_, values)) = self.bands.iter_mut().find(|(of, _)| of == dimension) {
            known.clone_into(values);
        }
    }

    /// The band of rules of this type, if there is such a type.
    pub(super) fn band(&self, rule_type: &str) -> Option<usize> {
        self.bands.iter().position(|(of, _)| of == rule_type)
    }

    /// The values of this type of rule that are about this account.
    pub(crate) fn values(&self, rule_type: &str) -> &[String] {
        self.bands.iter().find(|(of, _)| of == rule_type).map(|(_, values)| values.as_slice()).unwrap_or_default()
    }

    /// Whether a rule of this type and value is about this account.
    pub(super) fn is_about(&self, rule_type: &str, value: &str) -> bool {
        self.bands.iter().any(|(of, values)| of == rule_type && values.iter().any(|own| own == value))
    }
}

/// The bands of an account, where `own` has the values of a dimension it is said to have.
fn bands<'a>(
    user: UserId,
    own: impl Fn(&str) -> &'a [String],
    roles: &[String],
    dimensions: &[String],
    groups: &Groups,
) -> Vec<(String, Vec<String>)> {
    let mut bands = Vec::with_capacity(dimensions.len() + 2);
    bands.push((USER.to_owned(), vec![user.to_string()]));
    for dimension in dimensions {
        let own = own(dimension).iter().map(String::as_str);
        let mut values: Vec<String> = match dimension.as_str() {
            DEPARTMENT if own.len() == 0 => groups.with_parents([DEFAULT_DEPARTMENT]),
            DEPARTMENT => groups.with_parents(own),
            GROUP => groups.with_parents(groups.of(user).chain(own)),
            _ => own.map(str::to_owned).collect(),
        };
        values.sort_unstable();
        values.dedup();
        bands.push((dimension.clone(), values));
    }
    bands.push((ROLE.to_owned(), roles.to_vec()));
    bands
}
