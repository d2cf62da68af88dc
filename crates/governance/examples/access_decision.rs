//! What a decision of the access rules costs: for rule sets of several sizes, the time of one decision.
//!
//! `cargo run --release -p systemprompt-governance --example access_decision`

use std::collections::BTreeMap;
use std::time::Instant;

use systemprompt_governance::access::{DIMENSIONS, EntityRule, EntityRules, Groups, RuleSet};
use systemprompt_governance::config::Access;
use systemprompt_model::{Ambient, ApiKeyId, Credential, EntityKind, Principal, UserId, UserType};

const ROUTES: usize = 500;
const ASKED: u32 = 20_000;

#[expect(clippy::print_stdout, reason = "a measurement is for people")]
fn main() {
    let ambient = Ambient::system();
    let principal = Principal {
        user_id: UserId::generate(&ambient),
        user_name: "maya".to_owned(),
        user_type: UserType::User,
        roles: vec!["analyst".to_owned(), "user".to_owned()],
        attributes: BTreeMap::from([("department".to_owned(), "Research".to_owned())]),
        credential: Credential::ApiKey(ApiKeyId::generate(&ambient)),
    };
    for (roles, users) in [(2, 0), (5, 5), (10, 100), (10, 1_000)] {
        let rules = rules(&ambient, roles, users);
        let started = Instant::now();
        for _ in 0..ASKED {
            assert!(rules.decide(&principal, EntityKind::GatewayRoute, "route-7").is_allowed());
        }
        println!(
            "{ROUTES} routes with {roles} rules about roles and {users} about users: {:?} a decision",
            started.elapsed() / ASKED
        );
    }
}

fn rules(ambient: &Ambient, roles: usize, users: usize) -> RuleSet {
    let rule = |rule_type: &str, rule_value: String, access| EntityRule {
        rule_type: rule_type.to_owned(),
        rule_value,
        access,
        justification: None,
        source: "yaml".to_owned(),
    };
    let mut entity = EntityRules::default();
    entity.insert(rule("role", "user".to_owned(), Access::Allow));
    for number in 1..roles {
        entity.insert(rule("role", format!("role-{number}"), Access::Deny));
    }
    for _ in 0..users {
        entity.insert(rule("user", UserId::generate(ambient).to_string(), Access::Allow));
    }
    let routes = (0..ROUTES).map(|number| ((EntityKind::GatewayRoute, format!("route-{number}")), entity.clone()));
    let dimensions: Vec<String> = DIMENSIONS.map(str::to_owned).into();
    RuleSet::new(routes.collect(), Groups::default(), dimensions.into())
}
