//! Why a decision is what it is: the rule that decides, and why each other one does not.

use systemprompt_model::{EntityKind, Principal};

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
    /// It is not about the account.
    NotAbout,
    /// Nobody has what it is about: there is no such type.
    UnknownType,
}

impl RuleSet {
    /// Why `principal` may use the entity, or may not.
    pub fn explain(&self, principal: &Principal, kind: EntityKind, id: &str) -> Explanation {
        let subject = self.subject(principal);
        let decision = self.judge(&subject, kind, id);
        let entity = self.entity(kind, id).cloned().unwrap_or_default();
        let about = |rule: &&EntityRule| subject.is_about(&rule.rule_type, &rule.rule_value);
        let order = |rule: &EntityRule| (subject.band(&rule.rule_type), rule.access == Access::Allow);
        // Of several that say the same, each decides.
        let deciding = entity.rules.iter().filter(about).min_by_key(|rule| order(rule)).map(order);
        let mut rules: Vec<(usize, Considered)> = entity
            .rules
            .iter()
            .map(|rule| {
                let band = subject.band(&rule.rule_type);
                let part = match deciding {
                    _ if band.is_none() => Part::UnknownType,
                    _ if !about(&rule) => Part::NotAbout,
                    Some(deciding) if deciding == order(rule) => Part::Decides,
                    Some((stronger, _)) if stronger != band => {
                        Part::Weaker(stronger.map(|band| subject.bands[band].0.clone()).unwrap_or_default())
                    }
                    _ => Part::RefusedBeside,
                };
                (band.unwrap_or(usize::MAX), Considered { rule: rule.clone(), part })
            })
            .collect();
        rules.sort_by_key(|(band, considered)| (*band, considered.rule.access == Access::Allow));
        Explanation {
            decision,
            default_included: entity.default_included,
            rules: rules.into_iter().map(|(_, considered)| considered).collect(),
            subject,
        }
    }
}
