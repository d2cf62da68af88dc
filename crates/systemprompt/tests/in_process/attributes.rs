//! Dimensions of people that an extension knows, and rules about them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder, TestResponse};
use systemprompt_extension::authorizer::{Authorization, AuthorizationRequest, Authorizer, AuthorizerDef, Fault};
use systemprompt_extension::prelude::*;
use systemprompt_extension::subject_attributes::{SubjectAttributes, SubjectAttributesDef};
use systemprompt_identity::{UserChange, UserReference, Users};
use systemprompt_model::UserId;

use crate::ended::ended;

/// Who is cleared for what, as somebody else keeps it.
#[derive(Clone, Default)]
struct Clearances(Arc<Kept>);

#[derive(Default)]
struct Kept {
    of: Mutex<HashMap<UserId, Vec<String>>>,
    asked: AtomicUsize,
    /// What it does instead of answering.
    mood: Mutex<&'static str>,
}

impl Clearances {
    async fn give(&self, context: &TestContext, name: &str, values: &[&str]) {
        let users = context.service::<Users>().expect("identity provides it");
        let user = users.find(&UserReference::Name(name.to_owned())).await.expect("reads").expect("the user");
        let values = values.iter().map(ToString::to_string).collect();
        self.0.of.lock().expect("nobody panicked").insert(user.id, values);
    }

    fn does(&self, mood: &'static str) {
        *self.0.mood.lock().expect("nobody panicked") = mood;
    }
}

#[async_trait]
impl SubjectAttributes for Clearances {
    async fn values_for(&self, pool: &sqlx::PgPool, user: UserId) -> Result<Vec<String>, Fault> {
        self.0.asked.fetch_add(1, Relaxed);
        let mood = *self.0.mood.lock().expect("nobody panicked");
        match mood {
            "fails" => {
                sqlx::query("SELECT nothing FROM nowhere").execute(pool).await.map(|_| Vec::new()).map_err(Into::into)
            }
            "panics" => panic!("out of luck"),
            "hangs" => std::future::pending().await,
            _ => Ok(self.0.of.lock().expect("nobody panicked").get(&user).cloned().unwrap_or_default()),
        }
    }
}

/// Lets everybody through of whom it is told a clearance.
struct Cleared;

#[async_trait]
impl Authorizer for Cleared {
    async fn authorize(&self, request: &AuthorizationRequest) -> Result<Authorization, Fault> {
        match request.attributes.get("clearance").map(Vec::as_slice) {
            Some([_, ..]) => Ok(Authorization::Allow),
            _ => Ok(Authorization::deny("it has no clearance")),
        }
    }
}

/// Nobody has one.
struct Badges;

#[async_trait]
impl SubjectAttributes for Badges {
    async fn values_for(&self, _: &sqlx::PgPool, _: UserId) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
}

struct Security(Clearances);

impl Extension for Security {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "security", name: "Security", version: "1.0.0" }
    }

    fn subject_attributes(&self) -> Vec<SubjectAttributesDef> {
        const LEVELS: &[&str] = &["public", "secret", "revoked", "other"];
        vec![
            SubjectAttributesDef::new("clearance", "What somebody is cleared for.", self.0.clone()).one_of(LEVELS),
            SubjectAttributesDef::new("badge", "Asked for every decision.", Badges).fresh_for(Duration::ZERO),
        ]
    }

    fn governance_authorizers(&self) -> Vec<AuthorizerDef> {
        vec![AuthorizerDef::new("security.cleared", "Who has a clearance may.", |_| Ok(Arc::new(Cleared)))]
    }
}

fn server(clearances: &Clearances, rules: Value) -> TestContextBuilder {
    TestContext::builder()
        .extension(Security(clearances.clone()))
        .document("access-control/roles.yaml", json!({"rules": rules, "departments": [{"name": "Sales"}]}))
}

async fn ask(client: &TestClient) -> TestResponse {
    let body = json!({"model": "demo-1", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]});
    client.post("/v1/messages", &body).await
}

#[tokio::test]
async fn rules_can_be_about_what_an_extension_knows_between_user_and_role() {
    let clearances = Clearances::default();
    let context = server(
        &clearances,
        json!([
            {"entity_type": "gateway_route", "entity_match": "*", "attributes": {"clearance": ["secret", "public"]}},
            {"entity_type": "gateway_route", "entity_match": "*", "access": "deny", "attributes": {"clearance": ["revoked"]}},
            {"entity_type": "gateway_route", "entity_match": "*", "access": "deny", "roles": ["mcp"]},
            {"entity_type": "gateway_route", "entity_match": "*", "roles": ["a2a"]},
        ]),
    )
    .start()
    .await;
    for (name, role, values, status, why) in [
        ("ada", "mcp", &["secret"][..], 200, "allowed to the clearance `secret`"),
        ("bob", "user", &["secret", "revoked"], 403, "denied to the clearance `revoked`"),
        ("cy", "user", &[], 403, "no rule allows it"),
        ("dan", "a2a", &[], 200, "allowed to the role `a2a`"),
        ("eve", "mcp", &["other"], 403, "denied to the role `mcp`"),
    ] {
        let client = context.user(name, &[role]).await;
        clearances.give(&context, name, values).await;
        let before = clearances.0.asked.load(Relaxed);
        let answer = ask(&client).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.text());
        let rules = ended(&context, &answer).await.decision.evaluated_rules;
        assert!(rules[0]["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{name}: {rules}");
        ask(&client).await;
        assert_eq!(clearances.0.asked.load(Relaxed) - before, 1, "what was told counts for a while");
    }
}

#[tokio::test]
async fn what_a_rule_needs_and_nobody_can_say_is_refused() {
    let clearances = Clearances::default();
    let rules = json!([
        {"entity_type": "gateway_route", "entity_match": "*", "access": "deny", "attributes": {"clearance": ["revoked"]}},
        {"entity_type": "gateway_route", "entity_match": "*", "departments": ["Sales"], "access": "deny"},
        {"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"]},
    ]);
    let context = server(&clearances, rules).start().await;
    let ada = context.user("ada", &["user"]).await;
    for (mood, did) in [("fails", "failed"), ("panics", "panicked"), ("hangs", "did not answer within 2 s")] {
        clearances.does(mood);
        let refused = ask(&ada).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{mood}: {}", refused.text());
        let decision = ended(&context, &refused).await.decision;
        assert_eq!(decision.policy, "authz_default_deny");
        let told = format!(
            "gateway_route `demo`: the clearance of the account is not known: the extension `security` {did}, and what \
             the rules say depends on it"
        );
        assert_eq!(decision.reason, Some(told));
    }
    let metrics = context.anonymous().get("/metrics").await.text();
    let counted = r#"governance_attribute_calls_total{dimension="clearance",result="fault"} 3"#;
    assert!(metrics.contains(counted), "{metrics}");
    // A stronger rule decides without it.
    let users = context.service::<Users>().expect("identity provides it");
    let user = users.find(&UserReference::Name("ada".to_owned())).await.expect("reads").expect("the user");
    let attributes = Some([("department".to_owned(), "Sales".to_owned())].into());
    users.update(user.id, UserChange { attributes, ..UserChange::default() }).await.expect("changes");
    let refused = ask(&ada).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    assert!(refused.text().contains("denied to the department `Sales`"), "{}", refused.text());
    let attributes = Some([].into());
    users.update(user.id, UserChange { attributes, ..UserChange::default() }).await.expect("changes");
    clearances.does("answers");
    assert_eq!(ask(&ada).await.status, 200, "it is known again");

    // What is written down with an account is not what the extension says.
    let attributes = Some([("clearance".to_owned(), "revoked".to_owned())].into());
    users.update(user.id, UserChange { attributes, ..UserChange::default() }).await.expect("changes");
    assert_eq!(ask(&ada).await.status, 200);

    // Where no rule is about it, nobody asks for it.
    let other = Clearances::default();
    other.does("panics");
    let rules = json!([{"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"]}]);
    let context = server(&other, rules).start().await;
    assert_eq!(ask(&context.user("ada", &["user"]).await).await.status, 200);
    assert_eq!(other.0.asked.load(Relaxed), 0);
}

#[tokio::test]
async fn authorizers_are_told_what_extensions_know() {
    let clearances = Clearances::default();
    let rules = json!([{"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"]}]);
    let context = server(&clearances, rules)
        .profile("governance", json!({"authz": {"hook": {"mode": "extension"}}}))
        .start()
        .await;
    let (ada, eve) = (context.user("ada", &["user"]).await, context.user("eve", &["user"]).await);
    clearances.give(&context, "ada", &["secret"]).await;
    assert_eq!(ask(&ada).await.status, 200);
    let refused = ask(&eve).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("it has no clearance"), "{}", refused.text());
    clearances.does("fails");
    let refused = ask(&context.user("bob", &["user"]).await).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "an authorizer is not asked about half of somebody");
}

#[test]
fn a_dimension_that_nobody_knows_is_an_error_with_the_one_that_was_meant() {
    let rules = |dimension: &str| json!([{"entity_type": "gateway_route", "entity_match": "*", "access": "deny", "attributes": {dimension: ["x"]}}]);
    let told = |dimension: &str| server(&Clearances::default(), rules(dimension)).problems().join("\n");
    let value = told("clearance");
    assert!(value.contains("nobody has the clearance `x`; there are: `other`, `public`"), "{value}");
    assert_eq!(told("badge"), "");
    let misspelt = told("clearence");
    assert!(misspelt.contains("no extension knows the `clearence` of people; did you mean `clearance`?"), "{misspelt}");
}

#[tokio::test]
async fn many_requests_of_one_account_ask_once() {
    let clearances = Clearances::default();
    let rules = json!([{"entity_type": "gateway_route", "entity_match": "*", "attributes": {"clearance": ["secret"]}}]);
    let context = server(&clearances, rules).start().await;
    let ada = context.user("ada", &["user"]).await;
    clearances.give(&context, "ada", &["secret"]).await;
    let answers = futures_util::future::join_all((0..8).map(|_| ask(&ada))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(clearances.0.asked.load(Relaxed), 1);
}

#[tokio::test]
async fn who_asks_by_the_rules_may_tell_what_is_known_or_leave_it_to_the_extension() {
    let clearances = Clearances::default();
    let rules = json!([{"entity_type": "gateway_route", "entity_match": "*", "attributes": {"clearance": ["secret"]}}]);
    let context = server(&clearances, rules).start().await;
    let service = context.user("pep", &["service"]).await;
    context.user("ada", &["user"]).await;
    clearances.give(&context, "ada", &["secret"]).await;
    let users = context.service::<Users>().expect("identity provides it");
    let ada = users.find(&UserReference::Name("ada".to_owned())).await.expect("reads").expect("the user").id;
    let asked = |attributes: Value| {
        let entity = json!({"kind": "gateway_route", "id": "demo"});
        json!({"entity": entity, "user_id": ada, "roles": ["user"], "attributes": attributes, "context": {"kind": "none"}})
    };
    for (attributes, decision) in
        [(json!({}), "allow"), (json!({"clearance": ["public"]}), "deny"), (json!({"clearance": ["secret"]}), "allow")]
    {
        let answer = service.post("/api/public/govern/authz", &asked(attributes.clone())).await;
        assert_eq!(answer.json()["decision"], decision, "{attributes}: {}", answer.text());
    }
    let mut about_nobody = asked(json!({}));
    about_nobody.as_object_mut().expect("an object").remove("user_id");
    let answer = service.post("/api/public/govern/authz", &about_nobody).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "ACCESS_RULES_UNAVAILABLE"));
    clearances.does("fails");
    clearances.give(&context, "pep", &["secret"]).await;
    let pep = users.find(&UserReference::Name("pep".to_owned())).await.expect("reads").expect("the user").id;
    let mut about_pep = asked(json!({}));
    about_pep["user_id"] = json!(pep);
    let answer = service.post("/api/public/govern/authz", &about_pep).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "ACCESS_RULES_UNAVAILABLE"));
}
