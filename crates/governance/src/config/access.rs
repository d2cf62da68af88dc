//! `services/access-control/*.yaml`: who may use what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_model::EntityKind;

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
}
