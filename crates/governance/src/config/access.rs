//! `services/access-control/*.yaml`: who may use what.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_config::is_slip;
use systemprompt_extension::{KnownNames, instead_of};
use systemprompt_model::EntityKind;
use systemprompt_model::pattern::Pattern;

use super::flaw::Flaw;

/// One document of `services/access-control/`: who may use what. What no rule allows is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessControlConfig {
    /// The rules. Their order does not matter: see the documentation of how a decision is made.
    pub rules: Vec<AccessRuleConfig>,
    /// The departments of the organisation. `Default` always exists and holds whoever has no other.
    pub departments: Vec<DepartmentConfig>,
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
    #[serde(default)]
    pub default_included: bool,
    /// The roles the rule is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The departments the rule is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub departments: Vec<String>,
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

/// A department.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DepartmentConfig {
    /// Its unique name.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
}

impl AccessControlConfig {
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
            if rule.roles.is_empty() && rule.departments.is_empty() && !rule.default_included {
                flaws.push(Flaw::new(at.as_str(), "is about nobody; add `roles` or `departments`"));
            }
            empty_names(&rule.roles, &format!("{at}/roles"), &mut flaws);
            empty_names(&rule.departments, &format!("{at}/departments"), &mut flaws);
        }
        for (index, department) in self.departments.iter().enumerate() {
            let at = format!("/departments/{index}/name");
            if department.name.trim().is_empty() {
                flaws.push(Flaw::new(at.as_str(), "is empty"));
            }
            if self.departments[..index].iter().any(|earlier| earlier.name == department.name) {
                flaws.push(Flaw::new(at, format!("`{}` is listed twice", department.name)));
            }
        }
        flaws
    }
}

impl AccessControlConfig {
    /// Every rule about something that is not there. Such a rule has no effect: what it was to forbid is allowed.
    pub fn unknown_names(&self, known: &KnownNames) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let at = format!("/rules/{index}");
            let kind = rule.entity_type;
            if let Some(ids) = known.entities.get(&kind) {
                let instead = |name: &str| instead_of(name, ids.iter().map(String::as_str));
                if let Some(id) = rule.entity_id.as_deref().filter(|id| !ids.contains(*id)) {
                    flaws.push(Flaw::new(
                        format!("{at}/entity_id"),
                        format!("there is no {kind} `{id}`; {}", instead(id)),
                    ));
                }
                if let Some(glob) = rule.entity_match.as_deref()
                    && (rule.access == Access::Deny || !Pattern::is_wild(glob))
                    && fits_none(glob, ids)
                {
                    flaws.push(Flaw::new(
                        format!("{at}/entity_match"),
                        format!("`{glob}` fits no {kind}; {}", instead(glob)),
                    ));
                }
            }
            for (position, role) in rule.roles.iter().enumerate().filter(|(_, role)| !known.roles.contains(*role)) {
                // Operators give users roles of their own, so only a slip of the keyboard is certain.
                if let Some(meant) = known.roles.iter().find(|known| is_slip(role, known)) {
                    flaws.push(Flaw::new(
                        format!("{at}/roles/{position}"),
                        format!("there is no role `{role}`; did you mean `{meant}`?"),
                    ));
                }
            }
            for (position, name) in rule.departments.iter().enumerate() {
                let departments =
                    || self.departments.iter().map(|department| department.name.as_str()).chain(["Default"]);
                if !name.trim().is_empty() && departments().all(|known| known != name) {
                    flaws.push(Flaw::new(
                        format!("{at}/departments/{position}"),
                        format!("`{name}` is not among `departments`; {}", instead_of(name, departments())),
                    ));
                }
            }
        }
        flaws
    }

    /// Every rule that may be meant for later: about a kind no feature has, or a grant whose glob fits nothing yet.
    pub fn without_effect(&self, known: &KnownNames) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let kind = rule.entity_type;
            let Some(ids) = known.entities.get(&kind) else {
                let message =
                    format!("no feature of this installation has entities of kind {kind}, so the rule has no effect");
                flaws.push(Flaw::new(format!("/rules/{index}/entity_type"), message));
                continue;
            };
            if let Some(glob) = rule.entity_match.as_deref()
                && rule.access == Access::Allow
                && Pattern::is_wild(glob)
                && glob != "*"
                && fits_none(glob, ids)
            {
                let message = format!("`{glob}` fits no {kind} at present, so the rule has no effect");
                flaws.push(Flaw::new(format!("/rules/{index}/entity_match"), message));
            }
        }
        flaws
    }
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
            ],
            "departments": [{"name": "Research"}, {"name": "Research"}],
        }))
        .unwrap();
        let places: Vec<_> = config.flaws().into_iter().map(|flaw| flaw.pointer).collect();
        assert_eq!(places, ["/rules/1", "/rules/2", "/rules/3", "/rules/4/roles/0", "/departments/1/name"]);
        assert!(serde_json::from_str::<AccessRuleConfig>(r#"{"entity_type": "model", "entity_id": "a"}"#).is_err());
    }

    #[test]
    fn a_rule_about_something_that_is_not_there_is_told_with_what_was_meant() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let known = KnownNames {
            entities: [(EntityKind::GatewayRoute, names(&["demo", "anthropic", "claude-star-12ab34"]))].into(),
            roles: names(&["admin", "user", "anonymous"]),
            ..KnownNames::default()
        };
        let config: AccessControlConfig = serde_json::from_value(serde_json::json!({
            "rules": [
                {"entity_type": "gateway_route", "entity_id": "demoo", "access": "deny", "roles": ["intern"]},
                {"entity_type": "gateway_route", "entity_id": "something-else", "roles": ["user"]},
                {"entity_type": "gateway_route", "entity_match": "demoo", "roles": ["user"]},
                {"entity_type": "gateway_route", "entity_match": "antropic*", "access": "deny", "roles": ["user"]},
                {"entity_type": "gateway_route", "entity_match": "claude-*", "access": "deny", "roles": ["usr"]},
                {"entity_type": "gateway_route", "entity_match": "*", "roles": ["admin", "amdin", "tester", "intern"]},
                {"entity_type": "gateway_route", "entity_match": "*", "departments": ["Reserch", "Default", "Research"]},
                {"entity_type": "gateway_route", "entity_match": "later-*", "roles": ["user"]},
                {"entity_type": "agent", "entity_id": "a", "roles": ["user"]},
            ],
            "departments": [{"name": "Research"}],
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
                "/rules/4/roles/0: there is no role `usr`; did you mean `user`?",
                "/rules/5/roles/1: there is no role `amdin`; did you mean `admin`?",
                "/rules/6/departments/0: `Reserch` is not among `departments`; did you mean `Research`?",
            ]
        );
        assert_eq!(
            told(config.without_effect(&known)),
            [
                "/rules/7/entity_match: `later-*` fits no gateway_route at present, so the rule has no effect",
                "/rules/8/entity_type: no feature of this installation has entities of kind agent, so the rule has no effect",
            ]
        );
    }
}
