//! Access rules on a real PostgreSQL.

use std::collections::BTreeMap;

use systemprompt_database::testing::{self, TestDatabase};
use systemprompt_database::{Module, SchemaDefinition};
use systemprompt_model::{ApiKeyId, Credential, UserId, UserType};

use super::super::dimensions::Dimensions;
use super::*;
use crate::config::Access;

/// One replica of the product, as far as access rules go.
struct Replica {
    rules: Arc<AccessRules>,
    cancel: CancellationToken,
    tracker: TaskTracker,
}

async fn test_database() -> TestDatabase {
    let module = Module {
        id: "access".to_owned(),
        schemas: vec![SchemaDefinition::sql_only(include_str!("../../../schema/access.sql"))],
        ..Module::default()
    };
    testing::database(&[module]).await
}

fn replica(database: &TestDatabase) -> Replica {
    let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
    let hub = NotificationHub::start(&database.pool, &tracker, cancel.clone());
    let dimensions = Dimensions::default();
    let pool = Arc::clone(&database.pool);
    let rules = AccessRules::start(pool, Ambient::system(), &hub, dimensions, &tracker, cancel.clone());
    Replica { rules, cancel, tracker }
}

impl Replica {
    async fn allows(&self, principal: &Principal, id: &str) -> bool {
        let decision = self.rules.decide(principal, EntityKind::GatewayRoute, id).await.unwrap();
        decision.decision.is_allowed()
    }

    /// Until decisions are made from memory.
    async fn settled(&self) {
        while !(self.rules.hub.is_live() && self.rules.cache.current().is_some()) {
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn user(roles: &[&str]) -> Principal {
    let ambient = Ambient::system();
    Principal {
        user_id: UserId::generate(&ambient),
        user_name: "somebody".to_owned(),
        user_type: UserType::User,
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        attributes: BTreeMap::new(),
        credential: Credential::ApiKey(ApiKeyId::generate(&ambient)),
    }
}

fn documents(json: serde_json::Value) -> AccessControlConfig {
    let config: AccessControlConfig = serde_json::from_value(json).unwrap();
    assert_eq!(config.flaws(), []);
    config
}

fn all_routes_for_users() -> AccessControlConfig {
    documents(serde_json::json!({"rules": [
        {"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"]},
    ]}))
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

fn about_user(principal: &Principal, id: &str, access: Access) -> Rule {
    Rule {
        kind: EntityKind::GatewayRoute,
        entity_id: id.to_owned(),
        rule_type: "user".to_owned(),
        rule_value: principal.user_id.to_string(),
        access,
        justification: None,
    }
}

#[tokio::test]
async fn globs_reach_entities_registered_before_and_after() {
    let database = test_database().await;
    let replica = replica(&database);
    let somebody = user(&["user"]);
    let routes = |names: &[&str]| ids(names);
    replica.rules.register_entities(EntityKind::GatewayRoute, &routes(&["gpt"]), "gateway").await.unwrap();
    assert!(!replica.allows(&somebody, "gpt").await, "nothing is allowed by default");
    replica.rules.bootstrap(&all_routes_for_users(), Authored::default(), BootstrapOptions::default()).await.unwrap();
    replica.rules.register_entities(EntityKind::GatewayRoute, &routes(&["gpt", "claude"]), "gateway").await.unwrap();
    for settled in [false, true] {
        if settled {
            replica.settled().await;
        }
        assert!(replica.allows(&somebody, "gpt").await && replica.allows(&somebody, "claude").await);
        assert!(!replica.allows(&user(&["guest"]), "gpt").await);
        assert!(!replica.allows(&somebody, "gemini").await, "an unknown route");
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_rule_counts_at_the_next_request_on_every_replica() {
    let database = test_database().await;
    let (here, there) = (replica(&database), replica(&database));
    let (somebody, other) = (user(&["user"]), user(&["user"]));
    here.rules.bootstrap(&all_routes_for_users(), Authored::default(), BootstrapOptions::default()).await.unwrap();
    here.rules.register_entities(EntityKind::GatewayRoute, &ids(&["gpt"]), "gateway").await.unwrap();
    here.settled().await;
    while !there.allows(&somebody, "gpt").await {
        tokio::task::yield_now().await;
    }

    here.rules.upsert_rule(&about_user(&somebody, "gpt", Access::Deny)).await.unwrap();
    assert!(!here.allows(&somebody, "gpt").await);
    while there.allows(&somebody, "gpt").await {
        tokio::task::yield_now().await;
    }
    assert!(here.allows(&other, "gpt").await && there.allows(&other, "gpt").await, "others are not affected");

    // A start brings the documents' rules back, and leaves what was decided by hand.
    here.rules.bootstrap(&all_routes_for_users(), Authored::default(), BootstrapOptions::default()).await.unwrap();
    assert!(!here.allows(&somebody, "gpt").await);

    let me = somebody.user_id.to_string();
    assert!(here.rules.delete_rule(EntityKind::GatewayRoute, "gpt", "user", &me).await.unwrap());
    assert!(here.allows(&somebody, "gpt").await);
    assert!(!here.rules.delete_rule(EntityKind::GatewayRoute, "gpt", "user", &me).await.unwrap());

    // The same by plain SQL.
    here.settled().await;
    there.settled().await;
    sqlx::query!("DELETE FROM access_control_rules").execute(database.pool.write()).await.unwrap();
    while here.allows(&other, "gpt").await || there.allows(&other, "gpt").await {
        tokio::task::yield_now().await;
    }
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn documents_are_the_truth_about_their_own_rules() {
    let database = test_database().await;
    let replica = replica(&database);
    let (somebody, developer) = (user(&["user"]), user(&["developer"]));
    let first = documents(serde_json::json!({
        "rules": [
            {"entity_type": "gateway_route", "entity_id": "gpt", "roles": ["user", "developer"], "justification": "why not"},
            {"entity_type": "gateway_route", "entity_match": "g*", "access": "deny", "roles": ["developer"]},
            {"entity_type": "gateway_route", "entity_id": "demo", "default_included": true},
            {"entity_type": "agent", "entity_id": "gpt", "roles": ["developer"]},
        ],
        "departments": [{"name": "Research", "description": "finds out"}],
    }));
    replica.rules.bootstrap(&first, Authored::default(), BootstrapOptions::default()).await.unwrap();
    assert!(replica.allows(&somebody, "gpt").await);
    assert!(!replica.allows(&developer, "gpt").await, "of two rules about the same role the refusal counts");
    assert!(replica.allows(&developer, "demo").await);
    let names = sqlx::query_scalar!("SELECT name FROM access_groups ORDER BY name");
    assert_eq!(names.fetch_all(database.pool.write()).await.unwrap(), ["Default", "Research"]);

    let second = documents(serde_json::json!({"rules": [
        {"entity_type": "gateway_route", "entity_id": "gpt", "roles": ["developer"]},
    ]}));
    replica.rules.bootstrap(&second, Authored::default(), BootstrapOptions::default()).await.unwrap();
    assert!(!replica.allows(&somebody, "gpt").await, "the grant left the documents");
    assert!(replica.allows(&developer, "gpt").await);
    assert!(!replica.allows(&developer, "demo").await, "no longer open to everybody");

    // Twice the same changes nothing.
    let stamps = || async {
        sqlx::query_scalar!("SELECT updated_at FROM access_control_rules ORDER BY id")
            .fetch_all(database.pool.write())
            .await
            .unwrap()
    };
    let before = stamps().await;
    replica.rules.bootstrap(&second, Authored::default(), BootstrapOptions::default()).await.unwrap();
    assert_eq!(stamps().await, before);
    replica.stop().await;
}

#[tokio::test]
async fn a_rule_must_be_about_something_that_exists() {
    let database = test_database().await;
    let replica = replica(&database);
    let somebody = user(&["user"]);
    let error = replica.rules.upsert_rule(&about_user(&somebody, "nothing", Access::Allow)).await.unwrap_err();
    assert!(matches!(error, RuleError::UnknownEntity { .. }), "{error}");
    let rule = Rule { rule_type: "team".to_owned(), ..about_user(&somebody, "gpt", Access::Allow) };
    let error = replica.rules.upsert_rule(&rule).await.unwrap_err();
    assert_eq!(error.to_string(), "`team` is not a type of rule; use one of `user`, `role`, `department`, `group`");
    replica.stop().await;
}

#[tokio::test]
async fn without_announcements_and_without_the_database_there_is_no_decision() {
    let database = test_database().await;
    let replica = replica(&database);
    let somebody = user(&["user"]);
    replica.rules.bootstrap(&all_routes_for_users(), Authored::default(), BootstrapOptions::default()).await.unwrap();
    replica.rules.register_entities(EntityKind::GatewayRoute, &ids(&["gpt"]), "gateway").await.unwrap();
    replica.settled().await;

    let rules = Arc::clone(&replica.rules);
    replica.stop().await;
    let decide = || rules.decide(&somebody, EntityKind::GatewayRoute, "gpt");
    assert!(!rules.hub.is_live());
    assert!(decide().await.unwrap().decision.is_allowed(), "from the database");
    sqlx::query!("DELETE FROM access_control_rules").execute(database.pool.write()).await.unwrap();
    assert!(!decide().await.unwrap().decision.is_allowed(), "and what is there now");
    database.pool.close().await;
    assert!(decide().await.is_err());
}
