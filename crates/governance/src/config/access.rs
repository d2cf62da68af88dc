//! `services/access-control/*.yaml`: who may use what.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_config::{Configuration, Place, SectionError};
use systemprompt_extension::{KnownNames, instead_of};
use systemprompt_model::pattern::Pattern;
use systemprompt_model::{EntityKind, UserId};

use super::flaw::Flaw;

/// One document of `services/access-control/`: who may use what. What no rule allows is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessControlConfig {
    /// The rules. Their order does not matter: see the documentation of how a decision is made.
    pub rules: Vec<AccessRuleConfig>,
    /// The departments of the organisation: each account is in one. `Default` always exists and holds whoever has no other.
    pub departments: Vec<GroupConfig>,
    /// Other groups of people: an account may be in any number of them.
    pub groups: Vec<GroupConfig>,
    /// Roles of your own, besides those that the product and its extensions have. A rule or an account may have no others.
    pub roles: Vec<RoleConfig>,
}

/// A rule about one entity, or about all entities of a kind whose id matches a glob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessRuleConfig {
    /// The kind of entity.
    pub entity_type: EntityKind,
    /// The id of the entity. Exactly one of this and `entity_match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<String>,
    /// A glob (`*`, `?`) over the ids of the entities that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_match: Option<String>,
    /// Whether the rule grants or refuses.
    #[serde(default)]
    pub access: Access,
    /// Whether the entity is open to everybody once it has no rules.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default_included: bool,
    /// The roles the rule is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The departments the rule is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub departments: Vec<String>,
    /// The groups the rule is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The accounts the rule is about, by their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// The values of other dimensions the rule is about, which extensions know: `clearance: [secret]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Why, for whoever reads the rule later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<String>,
}

/// Whether a rule grants or refuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// It grants.
    #[default]
    Allow,
    /// It refuses.
    Deny,
}

impl Access {
    /// The name used in configuration and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// A department, or another group of people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// Its name, which no other department or group has.
    pub name: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it is a part of: another department or group. Rules about that one are about this one's members too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// A role of the organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleConfig {
    /// Its unique name: 1 to 63 of `a-z 0-9 _ -`, beginning with a letter.
    pub name: String,
    /// Who has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl AccessControlConfig {
    /// Where the rules stand.
    pub const RULES: Place = Place::Service { path: "access-control/*.yaml", key: "rules" };
    /// Where the departments stand that rules speak of.
    pub const DEPARTMENTS: Place = Place::Service { path: "access-control/*.yaml", key: "departments" };
    /// Where other groups stand.
    pub const GROUPS: Place = Place::Service { path: "access-control/*.yaml", key: "groups" };
    /// Where roles stand.
    pub const ROLES: Place = Place::Service { path: "access-control/*.yaml", key: "roles" };

    /// What all documents together say.
    pub fn read(config: &Configuration) -> Result<Self, SectionError> {
        Ok(Self {
            rules: config.section_at(&Self::RULES)?,
            departments: config.section_at(&Self::DEPARTMENTS)?,
            groups: config.section_at(&Self::GROUPS)?,
            roles: config.section_at(&Self::ROLES)?,
        })
    }

    /// Every role there is: those of `known`, and those that are declared.
    pub fn role_names<'a>(&'a self, known: &'a KnownNames) -> BTreeSet<&'a str> {
        let declared = self.roles.iter().map(|role| role.name.as_str());
        known.roles.iter().map(String::as_str).chain(declared).collect()
    }

    /// Every department there is.
    pub fn department_names(&self) -> BTreeSet<&str> {
        self.departments.iter().map(|department| department.name.as_str()).chain(["Default"]).collect()
    }

    /// Every group that is declared.
    pub fn group_names(&self) -> BTreeSet<&str> {
        self.groups.iter().map(|group| group.name.as_str()).collect()
    }

    /// Everything that is wrong with it although it fits the schema.
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let at = format!("/rules/{index}");
            match (&rule.entity_id, &rule.entity_match) {
                (Some(id), None) if id.is_empty() || id.len() > 256 => {
                    flaws.push(Flaw::new(format!("{at}/entity_id"), "must have 1 to 256 bytes"));
                }
                (None, Some(glob)) if glob.is_empty() || glob.len() > 256 => {
                    flaws.push(Flaw::new(format!("{at}/entity_match"), "must have 1 to 256 bytes; `*` matches all"));
                }
                (Some(_), Some(_)) => {
                    flaws.push(Flaw::new(at.as_str(), "has both `entity_id` and `entity_match`; keep one of them"));
                }
                (None, None) => {
                    flaws.push(Flaw::new(
                        at.as_str(),
                        "names no entity; add `entity_id`, or `entity_match` with a glob",
                    ));
                }
                _ => {}
            }
            let lists = [("roles", &rule.roles), ("departments", &rule.departments), ("groups", &rule.groups)];
            let is_about_nobody = lists.iter().all(|(_, names)| names.is_empty())
                && rule.users.is_empty()
                && rule.attributes.values().all(Vec::is_empty);
            if is_about_nobody && !rule.default_included {
                let message = "is about nobody; add `roles`, `departments`, `groups`, `users` or `attributes`";
                flaws.push(Flaw::new(at.as_str(), message));
            }
            for (list, names) in lists {
                empty_names(names, &format!("{at}/{list}"), &mut flaws);
            }
            for (dimension, values) in &rule.attributes {
                empty_names(values, &format!("{at}/attributes/{dimension}"), &mut flaws);
            }
            for (position, user) in rule.users.iter().enumerate().filter(|(_, user)| user.parse::<UserId>().is_err()) {
                let message = format!("`{user}` is not the id of an account; `systemprompt admin users show` tells it");
                flaws.push(Flaw::new(format!("{at}/users/{position}"), message));
            }
        }
        self.flaws_of_groups(&mut flaws);
        for (index, role) in self.roles.iter().enumerate() {
            let at = format!("/roles/{index}/name");
            if !is_role_name(&role.name) {
                let message = "must be 1 to 63 of `a-z 0-9 _ -`, beginning with a letter";
                flaws.push(Flaw::new(at.as_str(), message));
            }
            if self.roles[..index].iter().any(|earlier| earlier.name == role.name) {
                flaws.push(Flaw::new(at, format!("`{}` is listed twice", role.name)));
            }
        }
        flaws
    }
}

impl AccessControlConfig {
    fn flaws_of_groups(&self, flaws: &mut Vec<Flaw>) {
        let mut earlier = BTreeSet::new();
        for (list, groups) in [("departments", &self.departments), ("groups", &self.groups)] {
            for (index, group) in groups.iter().enumerate() {
                let at = format!("/{list}/{index}");
                if group.name.trim().is_empty() || group.name.len() > 200 {
                    flaws.push(Flaw::new(format!("{at}/name"), "must have 1 to 200 bytes"));
                }
                if !earlier.insert(&group.name) {
                    let message = format!("`{}` is the name of another department or group", group.name);
                    flaws.push(Flaw::new(format!("{at}/name"), message));
                }
                let parent = |name: &str| groups.iter().find(|group| group.name == name);
                match group.parent.as_deref().map(|name| (name, parent(name))) {
                    Some((name, None)) => {
                        let instead = instead_of(name, groups.iter().map(|group| group.name.as_str()));
                        let message = format!("`{name}` is not among `{list}`; {instead}");
                        flaws.push(Flaw::new(format!("{at}/parent"), message));
                    }
                    Some((_, Some(above))) => {
                        // As many steps as there are groups lead out of every chain that ends.
                        let mut above = Some(above);
                        for _ in 0..groups.len() {
                            above = above.and_then(|group| parent(group.parent.as_deref()?));
                        }
                        if above.is_some() {
                            flaws.push(Flaw::new(format!("{at}/parent"), "leads in a circle"));
                        }
                    }
                    None => {}
                }
            }
        }
    }

    /// Every rule about something that is not there. Such a rule has no effect: what it was to forbid is allowed.
    pub fn unknown_names(&self, known: &KnownNames) -> Vec<Flaw> {
        let (roles, departments, groups) = (self.role_names(known), self.department_names(), self.group_names());
        let mut flaws = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let at = format!("/rules/{index}");
            let kind = rule.entity_type;
            if let Some(ids) = known.entities.get(&kind) {
                let instead = |name: &str| instead_of(name, ids.iter().map(String::as_str));
                if let Some(id) = rule.entity_id.as_deref().filter(|id| !ids.contains(*id)) {
                    let message = format!("there is no {kind} `{id}`; {}", instead(id));
                    flaws.push(Flaw::new(format!("{at}/entity_id"), message));
                }
                if let Some(glob) = rule.entity_match.as_deref().filter(|glob| fits_none(glob, ids)) {
                    let message = format!("`{glob}` fits no {kind}; {}", instead(glob));
                    flaws.push(Flaw::new(format!("{at}/entity_match"), message));
                }
            }
            for (position, role) in rule.roles.iter().enumerate() {
                if !role.trim().is_empty() && !roles.contains(role.as_str()) {
                    flaws.push(Flaw::new(format!("{at}/roles/{position}"), no_such_role(role, &roles)));
                }
            }
            for (dimension, values) in &rule.attributes {
                let at = format!("{at}/attributes/{dimension}");
                let unknown = values.iter().enumerate().filter_map(|(position, value)| {
                    Some(Flaw::new(format!("{at}/{position}"), known.no_such_value(dimension, value)?))
                });
                flaws.extend(unknown);
                flaws.extend(known.no_such_dimension(dimension).map(|message| Flaw::new(at, message)));
            }
            for (list, named, there) in
                [("departments", &rule.departments, &departments), ("groups", &rule.groups, &groups)]
            {
                let unknown = |(_, name): &(usize, &String)| !name.trim().is_empty() && !there.contains(name.as_str());
                for (position, name) in named.iter().enumerate().filter(unknown) {
                    let message =
                        format!("`{name}` is not among `{list}`; {}", instead_of(name, there.iter().copied()));
                    flaws.push(Flaw::new(format!("{at}/{list}/{position}"), message));
                }
            }
        }
        for (index, role) in self.roles.iter().enumerate().filter(|(_, role)| known.roles.contains(&role.name)) {
            let message = format!("`{}` exists already; leave it out, or choose another name", role.name);
            flaws.push(Flaw::new(format!("/roles/{index}/name"), message));
        }
        flaws
    }

    /// Every rule about a kind of entity that no feature of this installation has. It may be meant for another one, and
    /// nothing it was to forbid can be used here.
    pub fn without_effect(&self, known: &KnownNames) -> Vec<Flaw> {
        let is_later = |(_, rule): &(usize, &AccessRuleConfig)| !known.entities.contains_key(&rule.entity_type);
        let about = |(index, rule): (usize, &AccessRuleConfig)| {
            let kind = rule.entity_type;
            let message =
                format!("no feature of this installation has entities of kind {kind}, so the rule has no effect");
            Flaw::new(format!("/rules/{index}/entity_type"), message)
        };
        self.rules.iter().enumerate().filter(is_later).map(about).collect()
    }
}

/// What is told of a role that is none of `roles`.
pub fn no_such_role(role: &str, roles: &BTreeSet<&str>) -> String {
    let instead = instead_of(role, roles.iter().copied());
    let stop = if instead.ends_with('?') { "" } else { "." };
    format!(
        "there is no role `{role}`; {instead}{stop} Roles of your own are declared under `roles` in services/access-control"
    )
}

/// Whether accounts may have a role of this name.
fn is_role_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(allowed)
}

/// Whether a glob fits none of `ids`. One for everything needs none to be right.
fn fits_none(glob: &str, ids: &BTreeSet<String>) -> bool {
    glob != "*" && Pattern::new(glob).is_ok_and(|pattern| !ids.iter().any(|id| pattern.fits(id)))
}

fn empty_names(names: &[String], at: &str, flaws: &mut Vec<Flaw>) {
    for (index, _) in names.iter().enumerate().filter(|(_, name)| name.trim().is_empty()) {
        flaws.push(Flaw::new(format!("{at}/{index}"), "is empty"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_rule_names_one_entity_or_one_glob_and_somebody() {
        let config: AccessControlConfig = serde_json::from_value(serde_json::json!({
            "rules": [
                {"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"]},
                {"entity_type": "gateway_route", "entity_id": "a", "entity_match": "*", "roles": ["user"]},
                {"entity_type": "gateway_route", "roles": ["user"]},
                {"entity_type": "agent", "entity_id": "a"},
                {"entity_type": "agent", "entity_id": "a", "roles": [""]},
                {"entity_type": "agent", "entity_id": "a", "users": ["maya"]},
                {"entity_type": "agent", "entity_id": "a", "attributes": {"clearance": []}},
                {"entity_type": "agent", "entity_id": "a", "attributes": {"clearance": ["secret", ""]}},
            ],
            "departments": [{"name": "Research"}, {"name": "Research"}, {"name": "Lab", "parent": "Reserch"}],
            "groups": [{"name": "a", "parent": "b"}, {"name": "b", "parent": "a"}, {"name": "c", "parent": "a"}, {"name": "d"}],
            "roles": [{"name": "intern"}, {"name": "Intern"}, {"name": "intern"}],
        }))
        .unwrap();
        let places: Vec<_> = config.flaws().into_iter().map(|flaw| flaw.pointer).collect();
        assert_eq!(
            places,
            [
                "/rules/1",
                "/rules/2",
                "/rules/3",
                "/rules/4/roles/0",
                "/rules/5/users/0",
                "/rules/6",
                "/rules/7/attributes/clearance/1",
                "/departments/1/name",
                "/departments/2/parent",
                "/groups/0/parent",
                "/groups/1/parent",
                "/groups/2/parent",
                "/roles/1/name",
                "/roles/2/name"
            ]
        );
        assert!(serde_json::from_str::<AccessRuleConfig>(r#"{"entity_type": "model", "entity_id": "a"}"#).is_err());
    }

    #[test]
    fn a_rule_about_something_that_is_not_there_is_told_with_what_was_meant() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let known = KnownNames {
            entities: [(EntityKind::GatewayRoute, names(&["demo", "anthropic", "claude-star-12ab34"]))].into(),
            roles: names(&["admin", "user", "anonymous"]),
            dimensions: [("clearance".to_owned(), Some(names(&["public", "secret"]))), ("project".to_owned(), None)]
                .into(),
            ..KnownNames::default()
        };
        let config: AccessControlConfig = serde_json::from_value(serde_json::json!({
            "rules": [
                {"entity_type": "gateway_route", "entity_id": "demoo", "access": "deny", "roles": ["intern"]},
                {"entity_type": "gateway_route", "entity_id": "something-else", "roles": ["user"]},
                {"entity_type": "gateway_route", "entity_match": "demoo", "roles": ["user"]},
                {"entity_type": "gateway_route", "entity_match": "antropic*", "access": "deny", "roles": ["user"]},
                {"entity_type": "gateway_route", "entity_match": "claude-*", "access": "deny", "roles": ["usr"]},
                {"entity_type": "gateway_route", "entity_match": "*", "roles": ["admin", "amdin", "contractor", "intern"]},
                {"entity_type": "gateway_route", "entity_match": "*", "departments": ["Reserch", "Default", "Research"]},
                {"entity_type": "gateway_route", "entity_match": "later-*", "roles": ["user"]},
                {"entity_type": "agent", "entity_id": "a", "roles": ["user"]},
                {"entity_type": "gateway_route", "entity_match": "*", "attributes": {
                    "clearance": ["secret", "sekret"], "clearence": ["secret"], "project": ["whatever"],
                }},
            ],
            "departments": [{"name": "Research"}],
            "roles": [{"name": "intern"}, {"name": "user"}],
        }))
        .unwrap();
        let told = |flaws: Vec<Flaw>| -> Vec<String> {
            flaws.into_iter().map(|flaw| format!("{}: {}", flaw.pointer, flaw.message)).collect()
        };
        assert_eq!(
            told(config.unknown_names(&known)),
            [
                "/rules/0/entity_id: there is no gateway_route `demoo`; did you mean `demo`?",
                "/rules/1/entity_id: there is no gateway_route `something-else`; there are: `anthropic`, \
                 `claude-star-12ab34`, `demo`",
                "/rules/2/entity_match: `demoo` fits no gateway_route; did you mean `demo`?",
                "/rules/3/entity_match: `antropic*` fits no gateway_route; did you mean `anthropic`?",
                "/rules/4/roles/0: there is no role `usr`; did you mean `user`? Roles of your own are declared under \
                 `roles` in services/access-control",
                "/rules/5/roles/1: there is no role `amdin`; did you mean `admin`? Roles of your own are declared under \
                 `roles` in services/access-control",
                "/rules/5/roles/2: there is no role `contractor`; there are: `admin`, `anonymous`, `intern`, `user`. Roles \
                 of your own are declared under `roles` in services/access-control",
                "/rules/6/departments/0: `Reserch` is not among `departments`; did you mean `Research`?",
                "/rules/7/entity_match: `later-*` fits no gateway_route; there are: `anthropic`, `claude-star-12ab34`, `demo`",
                "/rules/9/attributes/clearance/1: nobody has the clearance `sekret`; did you mean `secret`?",
                "/rules/9/attributes/clearence: no extension knows the `clearence` of people; did you mean `clearance`?",
                "/roles/1/name: `user` exists already; leave it out, or choose another name",
            ]
        );
        assert_eq!(
            told(config.without_effect(&known)),
            [
                "/rules/8/entity_type: no feature of this installation has entities of kind agent, so the rule has no effect",
            ]
        );
    }
}
