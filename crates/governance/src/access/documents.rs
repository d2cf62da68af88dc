//! What documents say: the rules they make about the entities there are, and the document that says what a rule set does.

use std::collections::BTreeMap;

use systemprompt_model::EntityKind;
use systemprompt_model::pattern::Pattern;

use super::decision::{DEFAULT_DEPARTMENT, DEPARTMENT, GROUP, ROLE, USER};
use super::entity::{EntityRule, EntityRules};
use super::groups::Groups;
use super::rule::Rule;
use super::rule_set::RuleSet;
use super::source::SOURCE_API;
use crate::config::{Access, AccessControlConfig, AccessRuleConfig, GroupConfig};

impl RuleSet {
    /// The rules there would be if `config` said all of them: about the entities there are and those it names, with the
    /// members that groups have now.
    #[must_use]
    pub fn replaced_by(&self, config: &AccessControlConfig) -> Self {
        let mut known: Vec<(EntityKind, String)> =
            self.entities().into_keys().map(|(kind, id)| (kind, id.to_owned())).collect();
        known.extend(config.rules.iter().filter_map(|rule| Some((rule.entity_type, rule.entity_id.clone()?))));
        let mut entities: BTreeMap<(EntityKind, String), EntityRules> =
            known.iter().cloned().map(|entity| (entity, EntityRules::default())).collect();
        for entity in open_entities(&config.rules, &known) {
            entities.entry(entity).or_default().default_included = true;
        }
        for rule in rules_about(&config.rules, &known) {
            let Rule { kind, entity_id, rule_type, rule_value, access, justification } = rule;
            let source = SOURCE_API.to_owned();
            let rule = EntityRule { rule_type, rule_value, access, justification, source };
            entities.entry((kind, entity_id)).or_default().insert(rule);
        }
        let mut parents = self.groups().parents.clone();
        let written = config.departments.iter().chain(&config.groups);
        parents.extend(written.map(|group| (group.name.clone(), group.parent.clone())));
        let groups = Groups { parents, members: self.groups().members.clone() };
        Self::new(entities, groups, self.dimensions().into(), self.authored().clone().into())
    }

    /// The document that says the same about entities.
    pub fn as_documents(&self) -> Vec<AccessRuleConfig> {
        let mut documents = Vec::new();
        for ((kind, id), entity) in self.entities() {
            let mut of_entity: Vec<AccessRuleConfig> = Vec::new();
            for rule in &entity.rules {
                let alike = |document: &AccessRuleConfig| {
                    document.access == rule.access && document.justification == rule.justification
                };
                let at = of_entity.iter().position(alike).unwrap_or_else(|| {
                    of_entity.push(empty(kind, id, rule.access, rule.justification.clone()));
                    of_entity.len() - 1
                });
                let document = &mut of_entity[at];
                match rule.rule_type.as_str() {
                    USER => document.users.push(rule.rule_value.clone()),
                    ROLE => document.roles.push(rule.rule_value.clone()),
                    DEPARTMENT => document.departments.push(rule.rule_value.clone()),
                    GROUP => document.groups.push(rule.rule_value.clone()),
                    dimension => {
                        let values = document.attributes.entry(dimension.to_owned()).or_default();
                        values.push(rule.rule_value.clone());
                    }
                }
            }
            if entity.default_included {
                match of_entity.first_mut() {
                    Some(document) => document.default_included = true,
                    None => of_entity
                        .push(AccessRuleConfig { default_included: true, ..empty(kind, id, Access::Allow, None) }),
                }
            }
            documents.extend(of_entity);
        }
        documents
    }
}

fn empty(kind: EntityKind, id: &str, access: Access, justification: Option<String>) -> AccessRuleConfig {
    AccessRuleConfig {
        entity_type: kind,
        entity_id: Some(id.to_owned()),
        entity_match: None,
        access,
        default_included: false,
        roles: Vec::new(),
        departments: Vec::new(),
        groups: Vec::new(),
        users: Vec::new(),
        attributes: BTreeMap::new(),
        justification,
    }
}

/// The departments of documents, with the one there always is.
pub(super) fn departments(config: &AccessControlConfig) -> Vec<GroupConfig> {
    let mut departments = config.departments.clone();
    if departments.iter().all(|department| department.name != DEFAULT_DEPARTMENT) {
        departments.push(GroupConfig {
            name: DEFAULT_DEPARTMENT.to_owned(),
            description: "Whoever has no other department.".to_owned(),
            parent: None,
        });
    }
    departments
}

/// The rules the documents make about `entities`, one for each entity, type and value.
pub(super) fn rules_about(documents: &[AccessRuleConfig], entities: &[(EntityKind, String)]) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for document in documents {
        let about = About::of(document);
        let lists = [
            (USER, &document.users),
            (DEPARTMENT, &document.departments),
            (GROUP, &document.groups),
            (ROLE, &document.roles),
        ];
        let attributes = document.attributes.iter().map(|(dimension, values)| (dimension.as_str(), values));
        let values =
            lists.into_iter().chain(attributes).flat_map(|(of, values)| values.iter().map(move |value| (of, value)));
        for (rule_type, rule_value) in values {
            rules.extend(entities.iter().filter(|(kind, id)| about.covers(*kind, id)).map(|(kind, id)| Rule {
                kind: *kind,
                entity_id: id.clone(),
                rule_type: rule_type.to_owned(),
                // Ids are compared as they are written, which is in small letters.
                rule_value: if rule_type == USER { rule_value.to_lowercase() } else { rule_value.clone() },
                access: document.access,
                justification: document.justification.clone(),
            }));
        }
    }
    // `Deny` sorts after `Allow`; of equals the last is kept.
    let key = |rule: &Rule| (rule.kind, rule.entity_id.clone(), rule.rule_type.clone(), rule.rule_value.clone());
    rules.sort_by_cached_key(|rule| (key(rule), rule.access == Access::Deny));
    rules.reverse();
    rules.dedup_by_key(|rule| key(rule));
    rules
}

/// Which of `entities` the documents open to everybody.
pub(super) fn open_entities(
    documents: &[AccessRuleConfig],
    entities: &[(EntityKind, String)],
) -> Vec<(EntityKind, String)> {
    let opening: Vec<About<'_>> =
        documents.iter().filter(|document| document.default_included).map(About::of).collect();
    entities.iter().filter(|(kind, id)| opening.iter().any(|about| about.covers(*kind, id))).cloned().collect()
}

/// Which entities a document is about.
struct About<'a> {
    kind: EntityKind,
    id: Option<&'a str>,
    /// Of a document without an id.
    pattern: Option<Pattern>,
}

impl<'a> About<'a> {
    fn of(document: &'a AccessRuleConfig) -> Self {
        let id = document.entity_id.as_deref();
        let pattern = document.entity_match.as_deref().filter(|_| id.is_none());
        // What is no pattern was reported when the configuration was checked.
        Self { kind: document.entity_type, id, pattern: pattern.and_then(|pattern| Pattern::new(pattern).ok()) }
    }

    fn covers(&self, kind: EntityKind, id: &str) -> bool {
        self.kind == kind && (self.id == Some(id) || self.pattern.as_ref().is_some_and(|pattern| pattern.fits(id)))
    }
}

pub(super) fn kinds_of(entities: &[(EntityKind, String)]) -> Vec<&str> {
    entities.iter().map(|(kind, _)| kind.as_str()).collect()
}

pub(super) fn ids_of(entities: &[(EntityKind, String)]) -> Vec<&str> {
    entities.iter().map(|(_, id)| id.as_str()).collect()
}
