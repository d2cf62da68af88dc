//! Why a decision is what it is: the rule that decides, and why each other one does not.

use systemprompt_model::{EntityKind, Principal};

use super::compile::Origin;
use super::decision::AccessDecision;
use super::entity::{EntityRule, Subject};
use super::rule_set::RuleSet;
use crate::config::Access;

/// Why somebody may use an entity, or may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What is decided.
    pub decision: AccessDecision,
    /// Whether the entity is open to everybody as long as it has no rules.
    pub default_included: bool,
    /// Every rule about the entity, the strongest band first.
    pub rules: Vec<Considered>,
    /// Every policy of the `.cedar` files, by its place, and whether it applies.
    pub authored: Vec<bool>,
    /// Who asked, in the words of rules.
    pub subject: Subject,
}

/// A rule, and what it had to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// The rule.
    pub rule: EntityRule,
    /// What became of it.
    pub part: Part,
}

/// What became of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// It decides.
    Decides,
    /// A refusal of the same band comes before it.
    RefusedBeside,
    /// A rule of a stronger band decides, of this type.
    Weaker(String),
    /// A policy of a `.cedar` file refuses whatever it says.
    Overruled,
    /// It is not about the account.
    NotAbout,
    /// Nobody has what it is about: there is no such type.
    UnknownType,
}

impl RuleSet {
    /// Why `principal` may use the entity, or may not.
    pub fn explain(&self, principal: &Principal, kind: EntityKind, id: &str) -> Explanation {
        self.explain_for(self.subject(principal), kind, id)
    }

    /// Why somebody of whom this is known may use the entity, or may not.
    pub fn explain_for(&self, subject: Subject, kind: EntityKind, id: &str) -> Explanation {
        let verdict = self.judge(&subject, kind, id);
        let entity = self.entity(kind, id).cloned().unwrap_or_default();
        let of_rules = verdict.origins.iter().find_map(|origin| match origin {
            Origin::Rule { rule, .. } => entity.rules.get(*rule),
            Origin::Open | Origin::Authored(_) => None,
        });
        let applies = |at| verdict.origins.contains(&Origin::Authored(at));
        let authored: Vec<bool> = (0..self.authored().policies.len()).map(applies).collect();
        let overruled = !verdict.decision.is_allowed()
            && of_rules.is_none()
            && self.authored().policies.iter().zip(&authored).any(|(policy, applies)| *applies && policy.forbids());
        let deciding = if overruled { None } else { of_rules };
        let mut rules: Vec<(usize, Considered)> = entity
            .rules
            .iter()
            .enumerate()
            .map(|(index, rule)| {
                let band = subject.band(&rule.rule_type);
                let decides =
                    verdict.origins.iter().any(|origin| matches!(origin, Origin::Rule { rule, .. } if *rule == index));
                let part = match (band, deciding) {
                    (None, _) => Part::UnknownType,
                    _ if !subject.is_about(&rule.rule_type, &rule.rule_value) => Part::NotAbout,
                    _ if decides => Part::Decides,
                    (_, Some(other)) if other.rule_type != rule.rule_type => Part::Weaker(other.rule_type.clone()),
                    (_, Some(other)) if other.access == Access::Deny => Part::RefusedBeside,
                    _ => Part::Overruled,
                };
                (band.unwrap_or(usize::MAX), Considered { rule: rule.clone(), part })
            })
            .collect();
        rules.sort_by_key(|(band, considered)| (*band, considered.rule.access == Access::Allow));
        Explanation {
            decision: verdict.decision,
            default_included: entity.default_included,
            rules: rules.into_iter().map(|(_, considered)| considered).collect(),
            authored,
            subject,
        }
    }
}
