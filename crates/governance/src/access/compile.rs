//! From rules to policies of Cedar, one entity at a time.
//!
//! In Cedar a `forbid` overrides every `permit`, whereas here the nearest rule decides: one about the user before one about
//! the department, that before one about a role. So each policy says itself when it counts, with an `unless` that names
//! everybody whom a stronger rule of the same entity is about:
//!
//! ```text
//! forbid (principal == User::"4f…", action == Action::"use", resource == GatewayRoute::"gpt");
//! permit (principal in Department::"Research", …) unless { principal in [User::"4f…"] };
//! forbid (principal in Role::"intern", …) unless { principal in [User::"4f…"] || principal in [Department::"Research"] };
//! ```
//!
//! The stronger rules are all of the stronger bands, whether they grant or refuse. Exactly the policies of the band that
//! decides are satisfied then, and within it `forbid` overrides `permit`, which is the order that is wanted. An entity
//! without rules has those of its parents, nearest first, each band of a nearer one stronger than any of one farther away.
//!
//! The alternatives were one set of policies for each band, asked in turn, which makes up to four evaluations of a decision
//! and is no longer a policy set that says everything; and numbers in attributes, which Cedar cannot compare across
//! policies. The price of this one is that a policy names those it yields to, so a change of one rule compiles the entity
//! anew. Each entity has a set of its own: a policy is about one entity, so leaving those of others out changes no
//! decision, and a decision does not cost more the more entities there are.
//!
//! What somebody wrote in Cedar takes part in every set as it stands: their `forbid` always refuses, and their `permit`
//! counts where no rule refuses.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use cedar_policy::{Entity, EntityUid, Policy, PolicyId, PolicySet, RestrictedExpression};
use systemprompt_model::EntityKind;

use super::authored::Authored;
use super::decision::{ROLE, USER};
use super::entity::EntityRules;
use super::vocabulary::VOCABULARY;
use crate::config::Access;

/// The policies about one entity.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) resource: Entity,
    pub(super) policies: PolicySet,
    pub(super) origins: HashMap<PolicyId, Origin>,
}

/// Where a policy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// A rule, by its band (the stronger the lower, over the entity and its parents), whose it is (0 is the entity, then its
    /// parents), and its place among the rules.
    Rule { band: usize, of: usize, rule: usize },
    /// The entity is open to everybody.
    Open,
    /// Somebody wrote it, by its place.
    Authored(usize),
}

/// The policies about the entity `kind` `id`. `rules` are its own, `parents` those of what it takes after, nearest first.
pub(super) fn compile(
    (kind, id): (EntityKind, &str),
    rules: &EntityRules,
    parents: &[((EntityKind, &str), &EntityRules)],
    dimensions: &[String],
    authored: &Authored,
) -> Compiled {
    let resource = VOCABULARY.entity(kind, id);
    let mut set = Set { resource: &resource, policies: PolicySet::new(), origins: HashMap::new() };
    let whose: Vec<&EntityRules> = if rules.rules.is_empty() {
        std::iter::once(rules).chain(parents.iter().map(|(_, rules)| *rules)).collect()
    } else {
        vec![rules]
    };
    let bands = || std::iter::once(USER).chain(dimensions.iter().map(String::as_str)).chain([ROLE]);
    let mut stronger: Vec<EntityUid> = Vec::new();
    let mut band = 0;
    for (of, rules) in whose.iter().enumerate() {
        for rule_type in bands() {
            let in_band = || rules.rules.iter().enumerate().filter(|(_, rule)| rule.rule_type == rule_type);
            for (index, rule) in in_band() {
                let people = VOCABULARY.people(rule_type, &rule.rule_value);
                let operator = if rule_type == USER { "==" } else { "in" };
                let scope = format!("principal {operator} {people}");
                set.add(rule.access, &scope, &stronger, Origin::Rule { band, of, rule: index });
            }
            stronger.extend(in_band().map(|(_, rule)| VOCABULARY.people(rule_type, &rule.rule_value)));
            band += 1;
        }
    }
    if rules.default_included && whose.iter().all(|rules| rules.rules.is_empty()) {
        set.add(Access::Allow, "principal", &[], Origin::Open);
    }
    for (index, policy) in authored.policies.iter().enumerate() {
        set.put(policy.policy.clone(), Origin::Authored(index));
    }
    let Set { policies, origins, .. } = set;
    let parents: HashSet<_> = parents.iter().map(|((kind, id), _)| VOCABULARY.entity(*kind, id)).collect();
    let attributes = HashMap::from([("id".to_owned(), RestrictedExpression::new_string(id.to_owned()))]);
    let resource = Entity::new(resource.clone(), attributes, parents.clone())
        .unwrap_or_else(|_| Entity::new_no_attrs(resource, parents));
    Compiled { resource, policies, origins }
}

struct Set<'a> {
    resource: &'a EntityUid,
    policies: PolicySet,
    origins: HashMap<PolicyId, Origin>,
}

impl Set<'_> {
    fn add(&mut self, access: Access, scope: &str, unless: &[EntityUid], origin: Origin) {
        let effect = match access {
            Access::Allow => "permit",
            Access::Deny => "forbid",
        };
        let mut text = format!("{effect} ({scope}, action == {}, resource == {})", VOCABULARY.using, self.resource);
        if !unless.is_empty() {
            // A set holds entities of one type.
            let of_one_type = unless.chunk_by(|a, b| a.type_name() == b.type_name());
            let list = |people: &[EntityUid]| people.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let tests: Vec<String> = of_one_type.map(|people| format!("principal in [{}]", list(people))).collect();
            let _ = write!(text, " unless {{ {} }}", tests.join(" || "));
        }
        text.push(';');
        // Every name in it was written by `EntityUid`, which escapes what it must.
        let policy = Policy::parse(None, &text).expect("a policy of a known form");
        self.put(policy, origin);
    }

    fn put(&mut self, policy: Policy, origin: Origin) {
        let id = PolicyId::new(self.origins.len().to_string());
        self.policies.add(policy.new_id(id.clone())).expect("ids are counted");
        self.origins.insert(id, origin);
    }
}
