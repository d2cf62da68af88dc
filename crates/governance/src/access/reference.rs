//! How a decision follows from rules, as plain code: what the policies are compared with, for thousands of made-up
//! installations.

use super::decision::{AccessDecision, Basis, DenyReason};
use super::entity::{EntityRules, Subject};
use crate::config::Access;

/// Whether `subject` may use an entity.
///
/// Bands are asked in their order; within each a refusal comes before a grant, and the first rule that is about the subject
/// decides. An entity that has rules of which none is about the subject is closed. One that has none takes after its
/// `parents`, nearest first, and is otherwise closed too, unless it is `default_included` and no parent has rules either.
pub(super) fn resolve(entity: Option<&EntityRules>, parents: &[&EntityRules], subject: &Subject) -> AccessDecision {
    let Some(entity) = entity else { return AccessDecision::Denied(DenyReason::UnknownEntity) };
    if !entity.rules.is_empty() {
        return by_rules(entity, subject).unwrap_or(AccessDecision::Denied(DenyReason::NotAssigned));
    }
    if let Some(decision) = parents.iter().find_map(|parent| by_rules(parent, subject)) {
        return decision;
    }
    if entity.default_included && parents.iter().all(|parent| parent.rules.is_empty()) {
        AccessDecision::Allowed(Basis::DefaultIncluded)
    } else {
        AccessDecision::Denied(DenyReason::NotAssigned)
    }
}

fn by_rules(entity: &EntityRules, subject: &Subject) -> Option<AccessDecision> {
    subject.bands.iter().find_map(|(rule_type, values)| {
        let with = |access| {
            values.iter().find(|value| {
                let about =
                    |rule: &&super::entity::EntityRule| rule.rule_type == *rule_type && rule.rule_value == **value;
                entity.rules.iter().find(about).is_some_and(|rule| rule.access == access)
            })
        };
        with(Access::Deny)
            .map(|value| AccessDecision::by_rule(rule_type, value, false))
            .or_else(|| with(Access::Allow).map(|value| AccessDecision::by_rule(rule_type, value, true)))
    })
}
