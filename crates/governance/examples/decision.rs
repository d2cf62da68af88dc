//! What a decision costs in the process, before anything is written: of the access rules for rule sets of several sizes,
//! and the first one about an entity, which compiles its policies; then of rules and the secret scan together, by the
//! length of what is scanned.
//!
//! `cargo run --release -p systemprompt-governance --example decision`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use systemprompt_governance::access::{Authored, DIMENSIONS, EntityRule, EntityRules, Groups, RuleSet};
use systemprompt_governance::config::{Access, SecretScanConfig};
use systemprompt_governance::secret_scan::SecretScanner;
use systemprompt_model::{Ambient, ApiKeyId, Credential, EntityKind, Principal, UserId, UserType};

const ROUTES: usize = 500;
const ASKED: u32 = 20_000;
const STRANGERS: usize = 2_000;

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
        assert!(rules.decide(&principal, EntityKind::GatewayRoute, "route-7").is_allowed());
        let first = started.elapsed();
        let started = Instant::now();
        for _ in 0..ASKED {
            assert!(rules.decide(&principal, EntityKind::GatewayRoute, "route-7").is_allowed());
        }
        let again = started.elapsed() / ASKED;
        let mut strangers = vec![principal.clone(); STRANGERS];
        for stranger in &mut strangers {
            stranger.user_id = UserId::generate(&ambient);
        }
        let started = Instant::now();
        for stranger in &strangers {
            assert!(rules.decide(stranger, EntityKind::GatewayRoute, "route-7").is_allowed());
        }
        let anew = started.elapsed() / strangers.len() as u32;
        println!(
            "{ROUTES} routes with {roles} rules about roles and {users} about users: {again:?} for who asked before, {anew:?} for \
             others, {first:?} the first"
        );
    }
    let rules = rules(&ambient, 5, 5);
    let scanner = SecretScanner::new(&SecretScanConfig::default()).expect("the built-in rules are patterns");
    for kibibytes in [1, 4, 64] {
        let body = body(kibibytes * 1024);
        let asked = ASKED / kibibytes as u32;
        let started = Instant::now();
        for _ in 0..asked {
            assert!(rules.decide(&principal, EntityKind::GatewayRoute, "route-7").is_allowed());
            assert!(scanner.scan(&body).is_clean());
        }
        println!("rules and the secret scan of {kibibytes} KiB: {:?} a decision", started.elapsed() / asked);
    }
}

/// A conversation of about this length, of words and a little code.
fn body(length: usize) -> Vec<u8> {
    let words = "Please compare both proposals and say which of them costs less to run over three years.\n\
                 let total: u64 = orders.iter().filter(|order| order.is_open()).map(|order| order.cents).sum();\n";
    let text: String = words.chars().cycle().take(length).collect();
    serde_json::json!({"model": "demo", "max_tokens": 256, "messages": [{"role": "user", "content": text}]})
        .to_string()
        .into_bytes()
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
    RuleSet::new(routes.collect(), Groups::default(), dimensions.into(), Arc::new(Authored::default()))
}
