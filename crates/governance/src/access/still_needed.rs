//! Why a group of people cannot go: something would say something else without it, and what that was to forbid would be
//! allowed.

use std::path::PathBuf;

use super::entity::EntityRule;
use super::group::Group;
use super::rule_set::RuleSet;

/// How far up departments are looked at; none is nested as deeply.
const DEEPEST: usize = 64;

/// What would say something else if a group were gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StillNeeded {
    /// A rule is about it.
    #[error("{entity} has a rule about the {kind} `{name}`")]
    ByRule {
        /// The entity, as `kind:id`.
        entity: String,
        /// The kind of the group.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A policy in Cedar names it.
    #[error("a policy in {} names {written}; change it first", file.display())]
    ByPolicy {
        /// The file it is in.
        file: PathBuf,
        /// The group as policies write it.
        written: String,
    },
    /// Another one is a part of it.
    #[error("`{part}` is a part of `{name}`; delete that first")]
    ByPart {
        /// The other one.
        part: String,
        /// Its name.
        name: String,
    },
    /// A rule is about what it is a part of, and somebody is in it, who would leave that.
    #[error(
        "{entity} has a rule about `{whole}`, which `{name}` is a part of; whoever is in `{name}` would leave that: move them first"
    )]
    ByRuleAbove {
        /// The entity, as `kind:id`.
        entity: String,
        /// What it is a part of.
        whole: String,
        /// Its name.
        name: String,
    },
}

impl Group {
    /// What would say something else if it were gone; `has_members`: whether anybody is in it.
    pub fn still_needed(&self, groups: &[Self], rules: &RuleSet, has_members: bool) -> Option<StillNeeded> {
        let (kind, name) = (self.kind.as_str(), self.name.clone());
        if let Some(entity) = self.ruled(rules).next() {
            return Some(StillNeeded::ByRule { entity, kind, name });
        }
        if let Some(part) = groups.iter().find(|other| other.kind == self.kind && other.parent.as_ref() == Some(&name))
        {
            return Some(StillNeeded::ByPart { part: part.name.clone(), name });
        }
        if let Some((file, written)) = rules.authored().about(self) {
            return Some(StillNeeded::ByPolicy { file, written });
        }
        let mut above = self.parent.as_ref();
        for _ in 0..DEEPEST {
            let find = |name: &String| groups.iter().find(|group| group.kind == self.kind && group.name == *name);
            let Some(whole) = above.filter(|_| has_members).and_then(find) else { break };
            if let Some(entity) = whole.ruled(rules).next() {
                return Some(StillNeeded::ByRuleAbove { entity, whole: whole.name.clone(), name });
            }
            above = whole.parent.as_ref();
        }
        None
    }

    /// The entities with a rule about it, as `kind:id`.
    pub fn ruled<'a>(&'a self, rules: &'a RuleSet) -> impl Iterator<Item = String> + 'a {
        let is_about = |rule: &EntityRule| rule.rule_type == self.kind.as_str() && rule.rule_value == self.name;
        let entities = rules.entities().into_iter();
        let concerned = entities.filter(move |(_, entity)| entity.rules.iter().any(is_about));
        concerned.map(|((kind, id), _)| format!("{kind}:{id}"))
    }
}
