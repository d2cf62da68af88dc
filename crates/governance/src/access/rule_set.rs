//! Every rule of an installation at one moment, and what is decided by them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use systemprompt_model::{EntityKind, Principal};

use super::decision::AccessDecision;
use super::entity::{EntityRules, Subject};
use super::groups::Groups;
use super::resolve::resolve;

/// Every entity there is with its rules, and the groups.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    entities: HashMap<EntityKind, HashMap<String, Arc<EntityRules>>>,
    groups: Arc<Groups>,
    dimensions: Arc<[String]>,
    version: Arc<str>,
}

impl RuleSet {
    /// The rules about `entities`, which may be about these `dimensions`, the strongest first.
    pub fn new(
        entities: BTreeMap<(EntityKind, String), EntityRules>,
        groups: Groups,
        dimensions: Arc<[String]>,
    ) -> Self {
        let mut of_kind: HashMap<EntityKind, HashMap<String, Arc<EntityRules>>> = HashMap::new();
        for ((kind, id), rules) in entities {
            of_kind.entry(kind).or_default().insert(id, Arc::new(rules));
        }
        Self { entities: of_kind, groups: Arc::new(groups), dimensions, version: Arc::default() }.versioned()
    }

    /// The same, where these entities have other rules, or none of them are known any more.
    #[must_use]
    pub(super) fn with(&self, changed: impl IntoIterator<Item = ((EntityKind, String), Option<EntityRules>)>) -> Self {
        let mut next = self.clone();
        for ((kind, id), rules) in changed {
            let of_kind = next.entities.entry(kind).or_default();
            match rules {
                Some(rules) => drop(of_kind.insert(id, Arc::new(rules))),
                None => drop(of_kind.remove(&id)),
            }
        }
        next.versioned()
    }

    /// The rules about an entity, if it is known.
    pub fn entity(&self, kind: EntityKind, id: &str) -> Option<&EntityRules> {
        self.entities.get(&kind)?.get(id).map(Arc::as_ref)
    }

    /// Every entity with its rules, by kind and id.
    pub fn entities(&self) -> BTreeMap<(EntityKind, &str), &EntityRules> {
        let all = self.entities.iter();
        all.flat_map(|(kind, entities)| entities.iter().map(|(id, known)| ((*kind, id.as_str()), known.as_ref())))
            .collect()
    }

    /// Who is in which group.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The dimensions rules may be about, strongest first.
    pub fn dimensions(&self) -> &[String] {
        &self.dimensions
    }

    /// A digest of everything decisions follow from.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// What rules can say about this account.
    pub fn subject(&self, principal: &Principal) -> Subject {
        Subject::of(principal, &self.dimensions, &self.groups)
    }

    /// Whether `principal` may use the entity.
    pub fn decide(&self, principal: &Principal, kind: EntityKind, id: &str) -> AccessDecision {
        self.judge(&self.subject(principal), kind, id)
    }

    pub(super) fn judge(&self, subject: &Subject, kind: EntityKind, id: &str) -> AccessDecision {
        // No feature has marketplaces yet, so nothing has a parent.
        resolve(self.entity(kind, id), &[], subject)
    }

    fn versioned(mut self) -> Self {
        let mut digest = Sha256::new();
        let mut put = |parts: &[&str]| {
            for part in parts {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        };
        for ((kind, id), rules) in self.entities() {
            put(&["entity", kind.as_str(), id, if rules.default_included { "open" } else { "closed" }]);
            for rule in &rules.rules {
                put(&["rule", &rule.rule_type, &rule.rule_value, rule.access.as_str()]);
            }
        }
        for (group, parent) in &self.groups.parents {
            put(&["group", group, parent.as_deref().unwrap_or_default()]);
        }
        let digest = digest.finalize();
        self.version = hex::encode(&digest[..8]).into();
        self
    }
}
