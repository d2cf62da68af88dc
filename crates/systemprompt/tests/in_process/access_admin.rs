//! Access rules and departments over HTTP, as administrators change them.

use http::StatusCode;
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestResponse};
use systemprompt_extension::{ExtensionContext as _, ExtensionContextExt as _};
use systemprompt_governance::changes::{ChangeFilter, list_changes};
use systemprompt_identity::{UserReference, Users};

const ROOT: &str = "/api/public/admin/access-control";
const DEPARTMENTS: &str = "/api/public/admin/management/departments";
const DEMO: &str = "/api/public/admin/access-control/entity/gateway_route/demo";

async fn server() -> TestContext {
    let rules = json!({
        "rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"], "justification": "to begin with"}],
        "roles": [{"name": "intern"}],
        "departments": [{"name": "Research"}],
    });
    TestContext::builder().document("access-control/roles.yaml", rules).start().await
}

async fn ask(client: &TestClient) -> StatusCode {
    let body = json!({"model": "demo-1", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]});
    client.post("/v1/messages", &body).await.status
}

fn rule(rule_type: &str, value: &str, access: &str) -> Value {
    json!({"rule_type": rule_type, "rule_value": value, "access": access})
}

/// What the rules about an entity say.
fn rules(entity: &Value) -> Vec<String> {
    let text = |rule: &Value, key: &str| rule[key].as_str().expect("a text").to_owned();
    let line = |rule: &Value| {
        format!(
            "{} {} {} ({})",
            text(rule, "access"),
            text(rule, "rule_type"),
            text(rule, "rule_value"),
            text(rule, "source")
        )
    };
    entity["rules"].as_array().expect("a list").iter().map(line).collect()
}

#[track_caller]
fn refused(answer: &TestResponse, status: u16, code: &str, told: &str) {
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{}", answer.text());
    assert!(answer.text().contains(told), "{}", answer.text());
}

#[tokio::test]
async fn rules_are_read_made_changed_and_deleted_and_count_at_once() {
    let server = server().await;
    let (admin, ada) = (server.admin().await, server.user("ada", &["user"]).await);
    assert_eq!(ask(&ada).await, 200);

    let listed = admin.get(&format!("{ROOT}?entity_type=gateway_route&entity_id=demo")).await.json();
    let entities = listed["entities"].as_array().expect("a list");
    assert_eq!((entities.len(), rules(&entities[0])), (1, vec!["allow role user (yaml)".to_owned()]));
    assert_eq!(entities[0]["rules"][0]["justification"], "to begin with");
    let all = admin.get(&format!("{ROOT}/entity-access/all?entity_type=hook")).await.json();
    assert_eq!(all["entities"].as_array().map(Vec::len), Some(2), "{all}");

    // POST makes one, which counts from the next request.
    let set = admin.post(&format!("{DEMO}/rules"), &rule("role", "user", "deny")).await;
    assert_eq!(set.status, 200, "{}", set.text());
    assert_eq!(rules(&set.json()), ["deny role user (api)"]);
    assert_eq!(ask(&ada).await, 403);
    // DELETE takes it away.
    let id = set.json()["rules"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(admin.delete(&format!("{DEMO}/rules/{id}")).await.status, 204);
    refused(&admin.delete(&format!("{DEMO}/rules/{id}")).await, 404, "ACCESS_NOT_FOUND", "no such rule");
    assert_eq!(ask(&ada).await, 403, "no rule is left");
    // PATCH opens it for as long as it has none.
    let open = admin.patch(&format!("{DEMO}/default"), &json!({"default_included": true})).await;
    assert_eq!((open.status.as_u16(), &open.json()["default_included"]), (200, &json!(true)), "{}", open.text());
    assert_eq!(ask(&ada).await, 200);
    // PUT replaces them all.
    let wanted = json!({"rules": [rule("department", "Research", "allow"), rule("role", "intern", "deny")]});
    let put = admin.put(DEMO, &wanted).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(rules(&put.json()), ["allow department Research (api)", "deny role intern (api)"]);
    assert_eq!(ask(&ada).await, 403);
    let kept = put.json()["rules"][1]["id"].clone();
    let put = admin.put(DEMO, &json!({"rules": [rule("role", "intern", "deny"), rule("role", "user", "allow")]})).await;
    assert_eq!(rules(&put.json()), ["deny role intern (api)", "allow role user (api)"]);
    assert_eq!(put.json()["rules"][0]["id"], kept, "what stays as it is stays");
    assert_eq!(ask(&ada).await, 200);
    let shown = admin.get(&format!("{DEMO}/access")).await.json();
    assert_eq!(rules(&shown), rules(&put.json()));

    let bulk = json!({"entities": [{"entity_type": "gateway_route", "entity_id": "demo"}], "rules": []});
    assert_eq!(admin.put(&format!("{ROOT}/bulk"), &bulk).await.json(), json!({"applied": 1}));
    assert_eq!(ask(&ada).await, 200, "it is open again");
    let template = |action: &str| json!({"entity_type": "gateway_route", "subject_type": "role", "subject_value": "user", "action": action});
    for (action, status) in [("deny", 403), ("allow", 200), ("clear", 200)] {
        let applied = admin.post(&format!("{ROOT}/bulk-template"), &template(action)).await;
        assert!(applied.json()["applied"].as_u64().is_some_and(|applied| applied >= 1), "{}", applied.text());
        assert_eq!(ask(&ada).await, status, "{action}");
    }

    // Ids are compared as they are written, whoever wrote them in capitals.
    let users = server.service::<Users>().expect("identity provides it");
    let id = users.find(&UserReference::Name("ada".to_owned())).await.expect("reads").expect("the user").id;
    let shouted = id.to_string().to_uppercase();
    let put = admin.put(DEMO, &json!({"rules": [rule("user", &shouted, "deny"), rule("role", "user", "allow")]})).await;
    assert_eq!(rules(&put.json()), ["allow role user (api)".to_owned(), format!("deny user {id} (api)")]);
    assert_eq!(ask(&ada).await, 403);

    server.catch_up().await;
    let filter = ChangeFilter { limit: 50, ..ChangeFilter::default() };
    let changes = list_changes(server.db().read(), &filter).await.expect("changes").items;
    let by_hand =
        changes.iter().rev().filter(|change| change.user_id.is_some() && change.operation.starts_with("access_"));
    let made: Vec<_> = by_hand.map(|change| (&*change.operation, &*change.status)).collect();
    let expected = [
        "access_rule.set",
        "access_rule.delete",
        "access_entity.default",
        "access_rules.replace",
        "access_rules.replace",
        "access_rules.replace",
        "access_rules.template",
        "access_rules.template",
        "access_rules.template",
        "access_rules.replace",
    ];
    assert_eq!(made, expected.map(|operation| (operation, "completed")), "each names who made it");
}

#[tokio::test]
async fn what_is_not_there_cannot_be_named_and_nobody_else_changes_anything() {
    let server = server().await;
    let (admin, ada) = (server.admin().await, server.user("ada", &["user"]).await);
    let rules_of = format!("{DEMO}/rules");
    for (rule, told) in [
        (rule("role", "intren", "deny"), "there is no role `intren`; did you mean `intern`?"),
        (rule("department", "Reserch", "deny"), "there is no department `Reserch`; did you mean `Research`?"),
        (rule("rol", "intern", "deny"), "`rol` is not a type of rule; did you mean `role`?"),
        (rule("user", "ada", "deny"), "`ada` is not the id of an account"),
        (rule("user", "0195a000-0000-7000-8000-000000000001", "deny"), "there is no account with the id"),
    ] {
        refused(&admin.post(&rules_of, &rule).await, 422, "ACCESS_NAME_UNKNOWN", told);
        refused(&admin.put(DEMO, &json!({"rules": [rule]})).await, 422, "ACCESS_NAME_UNKNOWN", told);
    }
    let gone = "/api/public/admin/access-control/entity/gateway_route/dmo";
    refused(&admin.get(&format!("{gone}/access")).await, 404, "ACCESS_NOT_FOUND", "did you mean `demo`?");
    refused(&admin.put(gone, &json!({"rules": []})).await, 404, "ACCESS_NOT_FOUND", "there is no gateway_route `dmo`");
    let kind = format!("{ROOT}?entity_type=gateway_rout");
    refused(&admin.get(&kind).await, 400, "ACCESS_REQUEST_INVALID", "did you mean `gateway_route`?");
    let invalid = "ACCESS_REQUEST_INVALID";
    refused(&admin.put(DEMO, &json!({"rules": [], "sync_yaml": true})).await, 400, invalid, "yaml-snapshot");
    let twice = json!({"rules": [rule("role", "user", "allow"), rule("role", "user", "deny")]});
    refused(&admin.put(DEMO, &twice).await, 400, invalid, "keep one of them");
    refused(&admin.post(&rules_of, &json!({"rule_type": "role"})).await, 400, invalid, "");
    let entity = json!({"entity_type": "gateway_route", "entity_id": "demo"});
    let twice = json!({"entities": [entity, entity], "rules": [rule("role", "user", "deny")]});
    refused(&admin.put(&format!("{ROOT}/bulk"), &twice).await, 400, invalid, "gateway_route:demo is there twice");
    let nowhere =
        json!({"entity_type": "gateway_route", "subject_type": "role", "subject_value": "x", "action": "deny"});
    refused(&admin.post(&format!("{ROOT}/bulk-template"), &nowhere).await, 422, "ACCESS_NAME_UNKNOWN", "no role `x`");

    let body = json!({"rules": []});
    for answer in [
        ada.get(ROOT).await,
        ada.get(&format!("{ROOT}/yaml-snapshot")).await,
        ada.put(DEMO, &body).await,
        ada.put(&format!("{ROOT}/bulk"), &body).await,
        ada.post(&rules_of, &rule("role", "user", "allow")).await,
        ada.delete(&format!("{rules_of}/0195a000-0000-7000-8000-000000000001")).await,
        ada.patch(&format!("{DEMO}/default"), &json!({"default_included": true})).await,
        ada.post(&format!("{ROOT}/bulk-template"), &nowhere).await,
        ada.post(DEPARTMENTS, &json!({"name": "Mine"})).await,
    ] {
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    }
    assert_eq!(server.anonymous().get(ROOT).await.status, 401);
    assert_eq!(ask(&ada).await, 200, "nothing was changed");
}

#[tokio::test]
async fn departments_are_kept_and_people_put_into_them() {
    let server = server().await;
    let (admin, ada) = (server.admin().await, server.user("ada", &["user"]).await);
    let me = admin.get(DEPARTMENTS).await.json();
    let names = |listed: &Value| -> Vec<(String, i64)> {
        let departments = listed["departments"].as_array().expect("a list").iter();
        let line = |department: &Value| {
            (
                department["name"].as_str().expect("a name").to_owned(),
                department["member_count"].as_i64().expect("a number"),
            )
        };
        departments.map(line).collect()
    };
    assert_eq!(names(&me), [("Default".to_owned(), 2), ("Research".to_owned(), 0)]);
    let made = admin.post(DEPARTMENTS, &json!({"name": "Sales", "description": "sells"})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let one = format!("{DEPARTMENTS}/{}", made.json()["id"].as_str().expect("an id"));
    refused(&admin.post(DEPARTMENTS, &json!({"name": "Sales"})).await, 409, "ACCESS_CONFLICT", "already");
    let described = admin.put(&one, &json!({"name": "Sales", "description": "sells more"})).await;
    assert_eq!(described.json()["description"], "sells more", "{}", described.text());
    refused(&admin.put(&one, &json!({"name": "Trade"})).await, 409, "ACCESS_CONFLICT", "keeps its name");

    let users = server.service::<Users>().expect("identity provides it");
    let id = users.find(&UserReference::Name("ada".to_owned())).await.expect("reads").expect("the user").id;
    let assign = format!("/api/public/admin/management/users/{id}/department");
    let told = "there is no department `Slaes`; did you mean `Sales`?";
    refused(&admin.put(&assign, &json!({"department_name": "Slaes"})).await, 422, "ACCESS_NAME_UNKNOWN", told);
    let assigned = admin.put(&assign, &json!({"department_name": "Sales"})).await;
    assert_eq!(assigned.status, 200, "{}", assigned.text());
    assert_eq!(admin.post(&format!("{DEMO}/rules"), &rule("department", "Sales", "deny")).await.status, 200);
    assert_eq!(ask(&ada).await, 403, "the rule is about her from the next request");
    let listed = admin.get(&format!("{ROOT}/departments")).await.json();
    assert_eq!(names(&listed)[2], ("Sales".to_owned(), 1));
    assert_eq!(listed["departments"][2]["assignment_count"], 1);
    let matrix = admin.get(&format!("{ROOT}/users/{id}/matrix")).await.json();
    let demo = matrix["entities"].as_array().expect("a list").iter().find(|cell| cell["entity_id"] == "demo");
    let demo = demo.expect("the route");
    assert_eq!((&demo["may"], &demo["reason"]), (&json!(false), &json!("attribute_deny")), "{demo}");
    assert_eq!(demo["because"], "denied to the department `Sales`");
    let snapshot = admin.get(&format!("{ROOT}/yaml-snapshot")).await.json();
    assert!(
        snapshot["rules"].to_string().contains("Sales") && snapshot["departments"].to_string().contains("sells more")
    );

    refused(&admin.delete(&one).await, 409, "ACCESS_CONFLICT", "has a rule about the department `Sales`");
    admin.put(DEMO, &json!({"rules": [rule("role", "user", "allow")]})).await;
    assert_eq!(admin.delete(&one).await.status, 204);
    refused(&admin.delete(&one).await, 404, "ACCESS_NOT_FOUND", "no such department");
    assert_eq!(names(&admin.get(DEPARTMENTS).await.json())[0], ("Default".to_owned(), 2), "she is in it again");
    let default = admin.get(DEPARTMENTS).await.json()["departments"][0]["id"].as_str().expect("an id").to_owned();
    refused(&admin.delete(&format!("{DEPARTMENTS}/{default}")).await, 409, "ACCESS_CONFLICT", "stays");
}
