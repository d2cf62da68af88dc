//! Precedence: a table of cases that can be read, and thousands of made-up ones against the reference.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use systemprompt_extension::KnownNames;
use systemprompt_model::{Ambient, ApiKeyId, Credential, EntityKind, Principal, UserId, UserType};

use super::authored::Authored;
use super::compile::compile;
use super::decision::{AccessDecision, DEFAULT_DEPARTMENT, DEPARTMENT, DenyReason, GROUP, ROLE, USER};
use super::dimensions::{Described, depends};
use super::entity::{EntityRule, EntityRules, Subject};
use super::groups::Groups;
use super::reference::resolve;
use super::rule_set::{RuleSet, evaluate};
use super::untold::{Silence, Untold};
use super::vocabulary::VOCABULARY;
use crate::config::{Access, AccessControlConfig};

const ROUTE: EntityKind = EntityKind::GatewayRoute;
/// What extensions know.
const BROUGHT: [&str; 2] = ["clearance", "project"];

fn somebody(roles: &[&str], department: Option<&str>, user_type: UserType) -> Principal {
    let ambient = Ambient::system();
    Principal {
        user_id: UserId::generate(&ambient),
        user_name: "somebody".to_owned(),
        user_type,
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        attributes: department
            .map(|name| BTreeMap::from([(DEPARTMENT.to_owned(), name.to_owned())]))
            .unwrap_or_default(),
        credential: Credential::ApiKey(ApiKeyId::generate(&ambient)),
    }
}

fn dimensions() -> Vec<String> {
    [DEPARTMENT, GROUP].into_iter().chain(BROUGHT).map(str::to_owned).collect()
}

type RuleRow<'a> = (&'a str, &'a str, Access);

fn entity(rules: &[RuleRow<'_>]) -> EntityRules {
    let mut entity = EntityRules::new(false);
    for (rule_type, value, access) in rules {
        entity.insert(rule(rule_type, value, *access));
    }
    entity
}

fn rule(rule_type: &str, value: &str, access: Access) -> EntityRule {
    EntityRule {
        rule_type: rule_type.to_owned(),
        rule_value: value.to_owned(),
        access,
        justification: None,
        source: "yaml".to_owned(),
    }
}

/// What the policies say of one, and that the reference says the same.
fn decide(rules: &EntityRules, parents: &[&EntityRules], subject: &Subject) -> AccessDecision {
    decide_each(rules, parents, std::slice::from_ref(subject)).remove(0)
}

fn decide_each(rules: &EntityRules, parents: &[&EntityRules], subjects: &[Subject]) -> Vec<AccessDecision> {
    let authored = Authored::default();
    let named: Vec<_> = parents.iter().map(|&rules| ((EntityKind::Marketplace, "m"), rules)).collect();
    let compiled = compile((ROUTE, "gpt"), rules, &named, &dimensions(), &authored);
    let decide = |subject: &Subject| {
        let decision = evaluate(&compiled, rules, parents, subject, &authored).decision;
        assert_eq!(
            decision,
            resolve(Some(rules), parents, subject),
            "rules {rules:#?}\nparents {parents:#?}\nsubject {subject:#?}\npolicies {}",
            compiled.policies
        );
        decision
    };
    subjects.iter().map(decide).collect()
}

#[test]
fn precedence_is_user_then_department_then_group_then_role_and_deny_comes_first() {
    use Access::{Allow, Deny};
    let user = somebody(&["developer", "user"], Some("Research"), UserType::User);
    let me = user.user_id.to_string();
    let groups = Groups {
        parents: [("Research", Some("Science")), ("Science", None), ("on-call", None)]
            .map(|(name, parent)| (name.to_owned(), parent.map(str::to_owned)))
            .into(),
        members: HashMap::from([(user.user_id, vec!["on-call".to_owned()])]),
    };
    let subject = Subject::of(&user, &dimensions(), &groups);
    let table: &[(&[RuleRow<'_>], &str)] = &[
        (&[("role", "user", Allow)], "allowed to the role `user`"),
        (&[("role", "admin", Allow)], "no rule allows it"),
        (&[("role", "user", Allow), ("role", "developer", Deny)], "denied to the role `developer`"),
        (&[("role", "developer", Deny), ("department", "Research", Allow)], "allowed to the department `Research`"),
        (&[("role", "developer", Deny), ("department", "Science", Allow)], "allowed to the department `Science`"),
        (&[("department", "Research", Allow), ("department", "Science", Deny)], "denied to the department `Science`"),
        (&[("role", "user", Allow), ("department", "Research", Deny)], "denied to the department `Research`"),
        (&[("group", "on-call", Allow), ("department", "Research", Deny)], "denied to the department `Research`"),
        (&[("group", "on-call", Allow), ("role", "user", Deny)], "allowed to the group `on-call`"),
        (&[("department", "Sales", Deny), ("role", "user", Allow)], "allowed to the role `user`"),
        (&[("user", &me, Allow), ("department", "Research", Deny), ("role", "user", Deny)], "allowed to the user"),
        (&[("user", &me, Deny), ("department", "Research", Allow), ("role", "user", Allow)], "denied to the user"),
        (&[("user", &me, Allow), ("user", &me, Deny)], "denied to the user"),
        (&[("user", "somebody-else", Deny), ("role", "user", Allow)], "allowed to the role `user`"),
        (&[("team", "Research", Allow)], "no rule allows it"),
    ];
    for (rules, expected) in table {
        assert_eq!(decide(&entity(rules), &[], &subject).to_string(), *expected, "{rules:?}");
    }
}

#[test]
fn without_rules_of_its_own_an_entity_takes_after_its_parents() {
    use Access::{Allow, Deny};
    let user = somebody(&["user"], None, UserType::User);
    let subject = Subject::of(&user, &dimensions(), &Groups::default());
    let bare = EntityRules::new(false);
    let open = EntityRules::new(true);
    let allowing = entity(&[("role", "user", Allow)]);
    let denying = entity(&[("role", "user", Deny)]);
    let other = entity(&[("role", "admin", Allow)]);
    let allowed = |entity: &EntityRules, parents: &[&EntityRules]| decide(entity, parents, &subject).is_allowed();
    assert!(!allowed(&bare, &[]), "nothing allows it");
    assert!(allowed(&open, &[]));
    assert!(allowed(&bare, &[&allowing]));
    assert!(!allowed(&open, &[&denying]));
    assert!(!allowed(&open, &[&other]), "a parent's rules close it");
    assert!(allowed(&bare, &[&bare, &other, &allowing, &denying]), "the nearest with a rule about the user");
    assert!(!allowed(&other, &[&allowing]), "own rules close it");
}

#[test]
fn whoever_has_no_department_is_in_the_default_one_and_administrators_have_no_privilege() {
    let rules = entity(&[("department", DEFAULT_DEPARTMENT, Access::Allow)]);
    let subject = |principal: &Principal| Subject::of(principal, &dimensions(), &Groups::default());
    let admin = somebody(&["admin"], Some("Research"), UserType::Admin);
    assert_eq!(decide(&rules, &[], &subject(&admin)), AccessDecision::Denied(DenyReason::NotAssigned));
    let nobody = somebody(&[], None, UserType::User);
    assert!(decide(&rules, &[], &subject(&nobody)).is_allowed());
    let nothing = RuleSet::default();
    assert_eq!(nothing.decide(&admin, ROUTE, "gpt"), AccessDecision::Denied(DenyReason::UnknownEntity));
}

/// Numbers that are as good as random, and the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn one_of<'a>(&mut self, names: &[&'a str]) -> &'a str {
        names[self.below(names.len())]
    }
}

/// Names that would mean something to Cedar if they were not written as names.
const NAMES: &[&str] = &["a", "b", "c\"; permit (principal, action, resource); \"", "d\\", "é\n", "Default"];
const USERS: &[&str] = &["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"];

fn made_up_rules(dice: &mut Dice) -> EntityRules {
    let mut rules = EntityRules::new(dice.below(2) == 0);
    for _ in 0..dice.below(7) {
        let rule_type = dice.one_of(&[USER, DEPARTMENT, GROUP, "clearance", "project", ROLE, ROLE, "unknown"]);
        let value = dice.one_of(if rule_type == USER { USERS } else { NAMES });
        let access = if dice.below(2) == 0 { Access::Allow } else { Access::Deny };
        rules.insert(rule(rule_type, value, access));
    }
    rules
}

fn made_up_subject(dice: &mut Dice) -> Subject {
    let mut values = |names: &[&str]| {
        let mut some: Vec<String> = (0..dice.below(4)).map(|_| dice.one_of(names).to_owned()).collect();
        some.sort_unstable();
        some.dedup();
        some
    };
    let mut bands: Vec<(String, Vec<String>)> = Vec::new();
    for dimension in dimensions() {
        bands.push((dimension, values(NAMES)));
    }
    bands.push((ROLE.to_owned(), values(NAMES)));
    bands.insert(0, (USER.to_owned(), vec![dice.one_of(USERS).to_owned()]));
    Subject { name: "somebody".to_owned(), kind: "user", bands }
}

#[test]
fn policies_decide_as_the_reference_does() {
    let mut dice = Dice(20_261_127);
    let (mut allowed, mut denied) = (0, 0);
    for _ in 0..1_000 {
        let rules = made_up_rules(&mut dice);
        let parents: Vec<EntityRules> = (0..dice.below(3)).map(|_| made_up_rules(&mut dice)).collect();
        let parents: Vec<&EntityRules> = parents.iter().collect();
        let subjects: Vec<Subject> = (0..5).map(|_| made_up_subject(&mut dice)).collect();
        for decision in decide_each(&rules, &parents, &subjects) {
            if decision.is_allowed() { allowed += 1 } else { denied += 1 }
        }
    }
    assert!(allowed > 500 && denied > 500, "{allowed} allowed, {denied} denied: the cases are lopsided");
}

/// Policies of which one takes part in every second set.
const WRITTEN: &[&str] = &[
    "forbid (principal in Attribute::\"clearance:a\", action, resource);",
    "forbid (principal, action, resource) unless { principal in Attribute::\"clearance:b\" };",
    "permit (principal, action, resource) when { principal.hasTag(\"project\") && principal.getTag(\"project\").contains(\"a\") };",
    "permit (principal, action, resource) unless { principal in Attribute::\"project:a\" };",
    "forbid (principal, action, resource) when { principal.hasTag(\"\\u{63}learance\") && \
     principal.getTag(\"\\u{63}learance\").contains(\"a\") };",
    "forbid (principal, action, resource) when { principal.hasTag(principal.name) && \
     principal.getTag(principal.name).contains(\"a\") };",
    "forbid (principal in Role::\"a\", action, resource);",
    "permit (principal in Department::\"a\", action, resource);",
];

fn written() -> Vec<Arc<Authored>> {
    WRITTEN.iter().map(|cedar| Arc::new(authored(cedar).expect(cedar))).collect()
}

fn made_up_set(written: &[Arc<Authored>], dice: &mut Dice) -> RuleSet {
    let authored = written.get(dice.below(2 * written.len())).cloned().unwrap_or_default();
    let entities = BTreeMap::from([((ROUTE, "gpt".to_owned()), made_up_rules(dice))]);
    RuleSet::new(entities, Groups::default(), dimensions().into(), authored)
}

/// The same account with values of these dimensions.
fn with(subject: &Subject, dimensions: &[&str], dice: &mut Dice) -> Subject {
    let mut subject = subject.clone();
    for dimension in dimensions {
        let other = made_up_subject(dice);
        let (_, values) = &other.bands[other.band(dimension).expect("a dimension")];
        subject.set(dimension, values);
    }
    subject
}

#[test]
fn what_is_not_known_of_somebody_leaves_only_what_is_decided_whatever_it_is() {
    let (mut dice, policies) = (Dice(1_911), written());
    let (mut decided, mut open) = (0, 0);
    for _ in 0..1_000 {
        let rules = made_up_set(&policies, &mut dice);
        let mut subject = made_up_subject(&mut dice);
        subject.name = dice.one_of(&["clearance", "somebody"]).to_owned();
        let unknown = [&BROUGHT[..1], &BROUGHT[1..], &BROUGHT[..]][dice.below(3)];
        for dimension in unknown {
            subject.set(dimension, &[]);
        }
        let untold = |dimension: &&'static str| Untold { dimension, extension: "e", why: Silence::Failed };
        let described = Described { subject, unknown: unknown.iter().map(untold).collect() };
        let Ok(decision) = described.decide(&rules, ROUTE, "gpt") else {
            open += 1;
            continue;
        };
        decided += 1;
        for _ in 0..8 {
            let filled = with(&described.subject, unknown, &mut dice);
            let then = rules.decide_for(&filled, ROUTE, "gpt");
            let (written, of) = (rules.authored(), rules.entity(ROUTE, "gpt"));
            assert_eq!(
                decision.is_allowed(),
                then.is_allowed(),
                "{decision}, but {then}: {filled:#?}\n{of:#?}\n{written:#?}"
            );
        }
    }
    assert!(decided > 300 && open > 300, "{decided} decided, {open} open: the cases are lopsided");
}

#[test]
fn an_extension_is_asked_for_all_that_a_decision_depends_on_and_for_no_more() {
    let (mut dice, policies) = (Dice(42), written());
    let (mut asked, mut spared) = (0, 0);
    for _ in 0..1_000 {
        let rules = made_up_set(&policies, &mut dice);
        let everything = made_up_subject(&mut dice);
        let mut known = everything.clone();
        for dimension in BROUGHT {
            known.set(dimension, &[]);
        }
        let mut open = BROUGHT.to_vec();
        let decision = loop {
            let decision = rules.decide_for(&known, ROUTE, "gpt");
            let is_wanted = |dimension: &&str| depends(&rules, (ROUTE, "gpt"), &known, &decision, dimension);
            let (wanted, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(is_wanted);
            if wanted.is_empty() {
                spared += rest.len();
                break decision;
            }
            asked += wanted.len();
            for dimension in wanted {
                let (_, values) = &everything.bands[everything.band(dimension).expect("a dimension")];
                known.set(dimension, values);
            }
            open = rest;
        };
        let then = rules.decide_for(&everything, ROUTE, "gpt");
        assert_eq!(decision.is_allowed(), then.is_allowed(), "{decision}, but {then}: {everything:#?}");
    }
    assert!(asked > 300 && spared > 300, "{asked} asked, {spared} spared: the cases are lopsided");
}

#[test]
fn a_policy_about_what_no_extension_knows_is_told_with_what_was_meant() {
    let values = |values: &[&str]| Some(values.iter().map(ToString::to_string).collect());
    let dimensions = [("clearance".to_owned(), values(&["public", "secret"])), ("project".to_owned(), None)];
    let known = KnownNames { dimensions: dimensions.into(), ..KnownNames::default() };
    let tag = |name: &str| format!("principal.hasTag(\"{name}\") && principal.getTag(\"{name}\").contains(\"a\")");
    for (condition, expected) in [
        ("principal in Attribute::\"clearance:secret\"".to_owned(), None),
        ("principal in Attribute::\"project:whatever\"".to_owned(), None),
        (tag("project"), None),
        (tag("department"), None),
        (tag("role"), None),
        (
            "principal in Attribute::\"clearence:secret\"".to_owned(),
            Some("2:21: no extension knows the `clearence` of people; did you mean `clearance`?"),
        ),
        (
            "principal in Attribute::\"clearance:sekret\"".to_owned(),
            Some("2:21: nobody has the clearance `sekret`; did you mean `secret`?"),
        ),
        (
            "principal in Attribute::\"department:Sales\"".to_owned(),
            Some("2:21: nobody has the attribute `department:Sales`; write Department::\"Sales\""),
        ),
        (
            "principal in Attribute::\"secret\"".to_owned(),
            Some("2:21: `secret` is no attribute of people; write Attribute::\"DIMENSION:VALUE\""),
        ),
        (tag("projct"), Some("2:25: accounts have no tag `projct`; did you mean `project`?")),
    ] {
        let cedar = format!("forbid (principal, action, resource)\nwhen {{ {condition} }};");
        let rules = with_policies(EntityRules::default(), &cedar).expect(&cedar);
        let problems = rules.authored().unknown_names(&AccessControlConfig::default(), &known);
        let place = |problem: &systemprompt_config::Problem| {
            format!("{}:{}: {}", problem.line.unwrap_or(0), problem.column.unwrap_or(0), problem.message)
        };
        let told: Vec<String> = problems.iter().map(place).collect();
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{cedar}");
    }
}

#[test]
fn what_is_compiled_fits_the_schema() {
    let mut dice = Dice(7);
    let validator = cedar_policy::Validator::new(VOCABULARY.schema.clone());
    for _ in 0..100 {
        let (rules, parent) = (made_up_rules(&mut dice), made_up_rules(&mut dice));
        let parents = [((EntityKind::Marketplace, "m"), &parent)];
        let compiled = compile((ROUTE, "gpt\"x"), &rules, &parents, &dimensions(), &Authored::default());
        let result = validator.validate(&compiled.policies, cedar_policy::ValidationMode::Strict);
        let errors: Vec<String> = result.validation_errors().map(ToString::to_string).collect();
        assert_eq!(errors, [""; 0], "{}", compiled.policies);
    }
}

fn authored(cedar: &str) -> Result<Authored, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("access-control");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("house.cedar"), cedar).expect("a file");
    Authored::read(directory.path()).map_err(|problems| {
        let place = |problem: &systemprompt_config::Problem| {
            format!("{}:{}: {}", problem.line.unwrap_or(0), problem.column.unwrap_or(0), problem.message)
        };
        problems.iter().map(place).collect::<Vec<_>>().join("\n")
    })
}

fn with_policies(rules: EntityRules, cedar: &str) -> Result<RuleSet, String> {
    let entities = BTreeMap::from([((ROUTE, "claude-opus".to_owned()), rules)]);
    Ok(RuleSet::new(entities, Groups::default(), dimensions().into(), Arc::new(authored(cedar)?)))
}

#[test]
fn a_written_forbid_refuses_whatever_rules_say_and_a_written_permit_only_where_they_are_silent() {
    let intern = somebody(&["intern", "user"], Some("Research"), UserType::User);
    let other = somebody(&["user"], None, UserType::User);
    let forbid = "// no opus for interns\n@id(\"no-opus\")\nforbid (principal in Role::\"intern\", action, resource is GatewayRoute)\n\
                  when { resource.id like \"claude-*\" };";
    let me = intern.user_id.to_string();
    let rules =
        with_policies(entity(&[("user", &me, Access::Allow), ("role", "user", Access::Allow)]), forbid).expect("fits");
    assert_eq!(
        rules.decide(&intern, ROUTE, "claude-opus").to_string(),
        "denied by the policy `no-opus` (house.cedar:2)",
        "although a rule allows it to the user"
    );
    assert_eq!(rules.decide(&other, ROUTE, "claude-opus").to_string(), "allowed to the role `user`");

    let permit = "permit (principal, action == Action::\"use\", resource) when { principal.hasTag(\"department\") && \
                  principal.getTag(\"department\").contains(\"Research\") };";
    let silent = with_policies(entity(&[("role", "admin", Access::Allow)]), permit).expect("fits");
    assert_eq!(silent.decide(&intern, ROUTE, "claude-opus").to_string(), "allowed by the policy house.cedar:1");
    assert_eq!(silent.decide(&other, ROUTE, "claude-opus").to_string(), "no rule allows it");
    assert!(!silent.decide(&intern, ROUTE, "unknown").is_allowed(), "an unknown entity stays closed");
    let refused = with_policies(entity(&[("role", "intern", Access::Deny)]), permit).expect("fits");
    assert_eq!(refused.decide(&intern, ROUTE, "claude-opus").to_string(), "denied to the role `intern`");
    assert_ne!(silent.version(), refused.version());
}

#[test]
fn a_policy_that_is_wrong_is_told_with_its_place() {
    for (cedar, expected) in [
        ("permit (principal, action, resource)\nwhere { true };", "2:1: invalid policy condition: where"),
        ("\n  forbid (principal in Rolle::\"x\", action, resource);", "unrecognized entity type `Rolle`"),
        ("forbid (principal, action == Action::\"usse\", resource);", "unrecognized action `Action::\"usse\"`"),
        ("forbid (principal, action, resource) when { principal.nickname == \"x\" };", "attribute `nickname`"),
        ("forbid (principal, action, resource) when { principal.name > 3 };", "unexpected type"),
        ("forbid (principal == ?principal, action, resource);", "slot"),
        ("forbid (principal in Role::\"a\", action, resource) when { false };", "impossible"),
    ] {
        let told = with_policies(EntityRules::default(), cedar).expect_err(cedar);
        assert!(told.contains(expected), "{cedar}: {told}");
    }
}

#[test]
fn a_policy_that_cannot_be_evaluated_refuses() {
    let cedar = "forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };";
    let Ok(rules) = with_policies(entity(&[("role", "user", Access::Allow)]), cedar) else {
        panic!("a policy that overflows only when it is evaluated is valid")
    };
    let user = somebody(&["user"], None, UserType::User);
    let decision = rules.decide(&user, ROUTE, "claude-opus");
    assert!(matches!(&decision, AccessDecision::Denied(DenyReason::Unjudged(_))), "{decision}");
}
