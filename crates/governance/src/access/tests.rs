//! Precedence, as tables of cases that can be read.

use std::collections::{BTreeMap, HashMap};

use systemprompt_model::{Ambient, ApiKeyId, Credential, EntityKind, Principal, UserId, UserType};

use super::decision::{AccessDecision, DEFAULT_DEPARTMENT, DEPARTMENT, DenyReason, GROUP};
use super::entity::{EntityRule, EntityRules, Subject};
use super::groups::Groups;
use super::resolve::resolve;
use super::rule_set::RuleSet;
use crate::config::Access;

const ROUTE: EntityKind = EntityKind::GatewayRoute;

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
    vec![DEPARTMENT.to_owned(), GROUP.to_owned(), "clearance".to_owned()]
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

fn decide(rules: &EntityRules, parents: &[&EntityRules], subject: &Subject) -> AccessDecision {
    resolve(Some(rules), parents, subject)
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
