//! Every rule of an installation at one moment, and what is decided by them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use cedar_policy::{Authorizer, Context, Decision, Entities, Entity, PolicyId, Request, RestrictedExpression};
use sha2::{Digest as _, Sha256};
use systemprompt_model::{EntityKind, Principal};

use super::authored::Authored;
use super::compile::{Compiled, Origin, compile};
use super::decision::{AccessDecision, Basis, DIMENSIONS, DenyReason, USER};
use super::entity::{EntityRules, Subject, Told};
use super::groups::Groups;
use super::remembered::Remembered;
use super::vocabulary::VOCABULARY;

/// Every entity there is with its rules, the groups, and what was written in Cedar.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    entities: HashMap<EntityKind, HashMap<String, Arc<Known>>>,
    groups: Arc<Groups>,
    dimensions: Arc<[String]>,
    authored: Arc<Authored>,
    version: Arc<str>,
}

/// An entity, compiled when it is first asked about.
#[derive(Debug)]
struct Known {
    rules: EntityRules,
    compiled: OnceLock<Compiled>,
    decided: Remembered,
}

impl Known {
    fn new(rules: EntityRules) -> Arc<Self> {
        Arc::new(Self { rules, compiled: OnceLock::new(), decided: Remembered::default() })
    }
}

/// What was decided, and by what.
pub(super) struct Verdict {
    pub(super) decision: AccessDecision,
    /// Of each policy that was satisfied, the strongest first.
    pub(super) origins: Vec<Origin>,
}

impl RuleSet {
    /// The rules about `entities`, which may be about these `dimensions`, the strongest first.
    pub fn new(
        entities: BTreeMap<(EntityKind, String), EntityRules>,
        groups: Groups,
        dimensions: Arc<[String]>,
        authored: Arc<Authored>,
    ) -> Self {
        let mut of_kind: HashMap<EntityKind, HashMap<String, Arc<Known>>> = HashMap::new();
        for ((kind, id), rules) in entities {
            of_kind.entry(kind).or_default().insert(id, Known::new(rules));
        }
        Self { entities: of_kind, groups: Arc::new(groups), dimensions, authored, version: Arc::default() }.versioned()
    }

    /// The same, where these entities have other rules, or none of them are known any more.
    #[must_use]
    pub(super) fn with(&self, changed: impl IntoIterator<Item = ((EntityKind, String), Option<EntityRules>)>) -> Self {
        let mut next = self.clone();
        for ((kind, id), rules) in changed {
            let of_kind = next.entities.entry(kind).or_default();
            match rules {
                Some(rules) => drop(of_kind.insert(id, Known::new(rules))),
                None => drop(of_kind.remove(&id)),
            }
        }
        next.versioned()
    }

    /// The rules about an entity, if it is known.
    pub fn entity(&self, kind: EntityKind, id: &str) -> Option<&EntityRules> {
        self.known(kind, id).map(|known| &known.rules)
    }

    /// Every entity with its rules, by kind and id.
    pub fn entities(&self) -> BTreeMap<(EntityKind, &str), &EntityRules> {
        let all = self.entities.iter();
        all.flat_map(|(kind, entities)| entities.iter().map(|(id, known)| ((*kind, id.as_str()), &known.rules)))
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

    /// What was written in Cedar.
    pub fn authored(&self) -> &Authored {
        &self.authored
    }

    /// A digest of everything decisions follow from.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// What rules can say about this account.
    pub fn subject(&self, principal: &Principal) -> Subject {
        Subject::of(principal, &self.dimensions, &self.groups)
    }

    /// The same for an account that somebody else tells of.
    pub(super) fn told(&self, told: &Told<'_>) -> Subject {
        Subject::told(told, &self.dimensions, &self.groups)
    }

    /// Whether `principal` may use the entity, by what is written down with the account.
    pub fn decide(&self, principal: &Principal, kind: EntityKind, id: &str) -> AccessDecision {
        self.decide_for(&self.subject(principal), kind, id)
    }

    /// Whether somebody of whom this is known may use the entity.
    pub fn decide_for(&self, subject: &Subject, kind: EntityKind, id: &str) -> AccessDecision {
        let decide = |subject: &Subject| self.judge(subject, kind, id).decision;
        match self.known(kind, id) {
            Some(known) => known.decided.decide(subject, decide),
            None => decide(subject),
        }
    }

    pub(super) fn judge(&self, subject: &Subject, kind: EntityKind, id: &str) -> Verdict {
        let denied = |reason| Verdict { decision: AccessDecision::Denied(reason), origins: Vec::new() };
        let Some(known) = self.known(kind, id) else { return denied(DenyReason::UnknownEntity) };
        let compiled = known
            .compiled
            // No feature has marketplaces yet, so nothing has a parent.
            .get_or_init(|| compile((kind, id), &known.rules, &[], &self.dimensions, &self.authored));
        evaluate(compiled, &known.rules, &[], subject, &self.authored)
    }

    fn known(&self, kind: EntityKind, id: &str) -> Option<&Known> {
        self.entities.get(&kind)?.get(id).map(Arc::as_ref)
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
        for dimension in self.dimensions.iter().filter(|dimension| !DIMENSIONS.contains(&dimension.as_str())) {
            put(&["dimension", dimension]);
        }
        for (group, parent) in &self.groups.parents {
            put(&["group", group, parent.as_deref().unwrap_or_default()]);
        }
        for policy in &self.authored.policies {
            put(&["policy", &policy.text]);
        }
        let digest = digest.finalize();
        self.version = hex::encode(&digest[..8]).into();
        self
    }
}

/// What the policies of an entity say about somebody. Rules of parents are at the places they were compiled from.
pub(super) fn evaluate(
    compiled: &Compiled,
    rules: &EntityRules,
    parents: &[&EntityRules],
    subject: &Subject,
    authored: &Authored,
) -> Verdict {
    let unjudged =
        |error: String| Verdict { decision: AccessDecision::Denied(DenyReason::Unjudged(error)), origins: Vec::new() };
    let (request, entities) = match asked(compiled, subject, !authored.policies.is_empty()) {
        Ok(asked) => asked,
        Err(error) => return unjudged(error),
    };
    let response = Authorizer::new().is_authorized(&request, &compiled.policies, &entities);
    // Cedar leaves a policy out that cannot be evaluated. If it is one that forbids, that would allow.
    if let Some(error) = response.diagnostics().errors().next() {
        return unjudged(error.to_string());
    }
    let mut origins: Vec<Origin> =
        response.diagnostics().reason().filter_map(|id: &PolicyId| compiled.origins.get(id).copied()).collect();
    origins.sort_unstable();
    let allows = response.decision() == Decision::Allow;
    let decision = match (origins.first(), allows) {
        (Some(Origin::Rule { of, rule, .. }), _) => {
            let rules = if *of == 0 { rules } else { parents[of - 1] };
            let rule = &rules.rules[*rule];
            AccessDecision::by_rule(&rule.rule_type, &rule.rule_value, allows)
        }
        (Some(Origin::Open), true) => AccessDecision::Allowed(Basis::DefaultIncluded),
        (Some(Origin::Authored(at)), true) => {
            AccessDecision::Allowed(Basis::Authored(authored.policies[*at].to_string()))
        }
        (Some(Origin::Authored(at)), false) => {
            AccessDecision::Denied(DenyReason::Authored(authored.policies[*at].to_string()))
        }
        (Some(Origin::Open) | None, _) => AccessDecision::Denied(DenyReason::NotAssigned),
    };
    Verdict { decision, origins }
}

/// The question in Cedar's words. Attributes are told where somebody may ask for them.
fn asked(compiled: &Compiled, subject: &Subject, with_attributes: bool) -> Result<(Request, Entities), String> {
    let mut people =
        subject.bands.iter().flat_map(|(of, values)| values.iter().map(|value| VOCABULARY.people(of, value)));
    let user = people.next().ok_or("there is nobody")?;
    let parents: std::collections::HashSet<_> = people.collect();
    let entity = if with_attributes {
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let attributes = [("name".to_owned(), text(&subject.name)), ("kind".to_owned(), text(subject.kind))];
        let dimensions = subject.bands.iter().filter(|(of, _)| of != USER);
        let tags = dimensions
            .map(|(of, values)| (of.clone(), RestrictedExpression::new_set(values.iter().map(|value| text(value)))));
        Entity::new_with_tags(user.clone(), attributes, parents, tags).map_err(|error| error.to_string())?
    } else {
        Entity::new_no_attrs(user.clone(), parents)
    };
    let resource = compiled.resource.clone();
    let request = Request::new(user, VOCABULARY.using.clone(), resource.uid(), Context::empty(), None);
    let entities = Entities::from_entities([entity, resource], None).map_err(|error| error.to_string())?;
    Ok((request.map_err(|error| error.to_string())?, entities))
}
