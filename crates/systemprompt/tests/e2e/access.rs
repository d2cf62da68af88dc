//! Access rules as an operator works with them: grants, groups, policies in Cedar, and what the commands say of them.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Instance, command, hello};

const ROUTE: &str = "gateway_route:mock-anthropic";
const RULES: [&str; 2] = ["admin", "access-control"];

fn rules(instance: &Instance, arguments: &[&str]) -> Value {
    instance.cli(&[&RULES, arguments].concat())
}

/// The exit status and both outputs of a command that may fail.
fn said(instance: &Instance, arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(instance.home.path()).args(RULES).args(arguments).output().expect("the binary runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

/// An account and its key.
fn account(instance: &Instance, name: &str) -> String {
    instance.cli(&["admin", "users", "create", "--name", name, "--email", &format!("{name}@example.com")]);
    let key = instance.cli(&["admin", "users", "api-key", "issue", name, "--name", "test"]);
    key["api_key"].as_str().expect("a key").to_owned()
}

/// The status of a request, once it is this one: a rule counts with the notification, a moment after the commit.
async fn becomes(instance: &Instance, key: &str, status: u16) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let headers = [("x-api-key", key)];
        let answer = instance.send(Method::POST, "/v1/messages", &headers, hello("claude-test").to_string()).await;
        if answer.status == status {
            return answer.text().to_owned();
        }
        assert!(Instant::now() < deadline, "{}: {}", answer.status, answer.text());
    }
}

#[tokio::test]
async fn rules_are_granted_explained_tried_and_taken_back() {
    let instance = Instance::start().await;
    let eve = account(&instance, "eve");
    becomes(&instance, &eve, 200).await;

    rules(&instance, &["grant", ROUTE, "--user", "eve", "--deny", "--justification", "an audit"]);
    assert!(becomes(&instance, &eve, 403).await.contains("denied to the user"));
    let why = rules(&instance, &["explain", "--user", "eve", "--entity", ROUTE]);
    assert_eq!((why["may"].as_bool(), why["reason"].as_str()), (Some(false), Some("user_deny")));
    let sentence = why["explanation"].as_str().expect("a sentence");
    assert!(sentence.contains("“deny user eve (an audit)” decides"), "{sentence}");
    let because: Vec<&str> =
        why["rules"].as_array().expect("rules").iter().filter_map(|rule| rule["because"].as_str()).collect();
    assert!(because.contains(&"a rule about the user comes before one about the role"), "{because:?}");
    assert!(why["rules"].to_string().contains("services/access-control/roles.yaml:"), "{why}");
    let changes = instance.cli(&["infra", "logs", "changes", "list", "--operation", "access_rule.set"]);
    assert_eq!(changes["items"][0]["about_id"].as_str().map(|id| id.starts_with(ROUTE)), Some(true), "{changes}");

    // What would be if the refusal were a grant, and what is: the record has the version of the rules.
    let exported = rules(&instance, &["export"]);
    let file = instance.home.path().join("rules.yaml");
    std::fs::write(&file, exported.to_string().replace("\"deny\"", "\"allow\"")).expect("written");
    let file = file.to_str().expect("a path");
    let tried = rules(&instance, &["simulate", file]);
    assert_eq!(
        (&tried["gains"][0]["user"], tried["losses"].as_array().map(Vec::len)),
        (&json!("eve"), Some(0)),
        "{tried}"
    );
    let version = &rules(&instance, &["show", ROUTE])["version"];
    assert_eq!(&tried["version_now"], version);
    let decision = instance.cli(&[
        "infra",
        "db",
        "query",
        "SELECT evaluated_rules FROM governance_decisions \
        WHERE policy = 'authz_rule_based' ORDER BY id DESC LIMIT 1",
    ]);
    assert!(decision.to_string().contains(version.as_str().expect("a version")), "{decision}");

    assert_eq!(rules(&instance, &["import", file, "--yes"]), json!({"changed_rules": 1, "deleted_rules": 0}));
    becomes(&instance, &eve, 200).await;
    assert_eq!(
        rules(&instance, &["import", file, "--yes"]),
        json!({"changed_rules": 0, "deleted_rules": 0}),
        "it says the same"
    );
    rules(&instance, &["revoke", ROUTE, "--user", "eve"]);
    let (status, text) = said(&instance, &["revoke", ROUTE, "--user", "eve"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.starts_with("error[unknown_rule]"), "{text}");
}

#[tokio::test]
async fn groups_have_members_and_rules_about_nobody_are_found() {
    let instance = Instance::start().await;
    let eve = account(&instance, "eve");
    rules(&instance, &["groups", "create", "Science", "--department"]);
    rules(&instance, &["groups", "create", "Physics", "--department", "--parent", "Science"]);
    rules(&instance, &["groups", "create", "on-call"]);
    rules(&instance, &["grant", ROUTE, "--department", "Science", "--deny"]);
    let (status, text) = said(&instance, &["lint"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("no account has the department `Science`"), "{text}");

    rules(&instance, &["groups", "add", "Physics", "eve"]);
    assert!(becomes(&instance, &eve, 403).await.contains("denied to the department `Science`"), "the larger one");
    assert_eq!(said(&instance, &["lint"]).0, Some(0));
    let (status, text) = said(&instance, &["groups", "delete", "Physics", "--yes"]);
    let expected = format!("{ROUTE} has a rule about `Science`, which `Physics` is a part of");
    assert!(status != Some(0) && text.contains(&expected), "{text}");
    rules(&instance, &["groups", "remove", "Physics", "eve"]);
    becomes(&instance, &eve, 200).await;
    let verified = instance.cli(&["infra", "logs", "audit", "verify"]);
    assert_eq!(verified["problems"], json!([]), "who is in which department is on record: {verified}");

    rules(&instance, &["groups", "add", "on-call", "eve"]);
    rules(&instance, &["grant", ROUTE, "--group", "on-call", "--deny"]);
    becomes(&instance, &eve, 403).await;
    // A rule about the user decides for the one account the refusal is about.
    rules(&instance, &["grant", ROUTE, "--user", "eve"]);
    becomes(&instance, &eve, 200).await;
    let (status, text) = said(&instance, &["lint"]);
    assert!(status == Some(1) && text.contains("shadowed_deny"), "{text}");

    for (mistaken, expected) in [
        (&["grant", "gateway_route:mock-antropic", "--role", "user"][..], "did you mean `mock-anthropic`?"),
        (&["grant", "gatway_route:mock-anthropic", "--role", "user"], "did you mean `gateway_route`?"),
        (&["grant", ROUTE, "--role", "usr"], "did you mean `user`?"),
        (&["grant", ROUTE, "--group", "oncall"], "did you mean `on-call`?"),
        (&["grant", ROUTE, "--department", "on-call"], "there is no department `on-call`"),
        (&["groups", "create", "Physics"], "there is a group or department `Physics` already"),
        (&["groups", "delete", "on-call", "--yes"], "has a rule about the group `on-call`"),
        (&["groups", "delete", "Default", "--yes"], "stays"),
        (&["groups", "delete", "Science", "--yes"], "has a rule about the department `Science`"),
    ] {
        let (status, text) = said(&instance, mistaken);
        assert!(status != Some(0) && text.contains(expected), "{mistaken:?}: {text}");
    }
    rules(&instance, &["revoke", ROUTE, "--department", "Science"]);
    let (_, text) = said(&instance, &["groups", "delete", "Science", "--yes"]);
    assert!(text.contains("`Physics` is a part of `Science`; delete that first"), "{text}");
    rules(&instance, &["groups", "delete", "Physics", "--yes"]);
    rules(&instance, &["groups", "delete", "Science", "--yes"]);
}

#[tokio::test]
async fn policies_in_cedar_count_with_a_reload_and_are_checked_with_their_place() {
    let instance = Instance::start().await;
    let eve = account(&instance, "eve");
    becomes(&instance, &eve, 200).await;
    let file = instance.home.path().join("home/services/access-control/house.cedar");
    let policy = "// Eve is on leave.\n@id(\"on-leave\")\nforbid (principal, action, resource is GatewayRoute)\n\
                  when { principal.name == \"eve\" };\n";
    std::fs::write(&file, policy).expect("written");
    instance.cli(&["admin", "config", "reload"]);
    assert!(becomes(&instance, &eve, 403).await.contains("denied by the policy `on-leave` (house.cedar:2)"));
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200, "others are not affected");
    std::fs::write(file.with_file_name("groups.yaml"), "groups: [{name: on-call}]\n").expect("written");
    instance.cli(&["admin", "config", "reload"]);
    std::fs::write(&file, format!("{policy}forbid (principal in Group::\"on-call\", action, resource);"))
        .expect("written");
    let (_, text) = said(&instance, &["groups", "delete", "on-call", "--yes"]);
    assert!(text.contains("house.cedar names Group::\"on-call\"; change it first"), "{text}");
    rules(&instance, &["grant", ROUTE, "--user", "eve"]);
    let why = rules(&instance, &["explain", "--user", "eve", "--entity", ROUTE]);
    assert_eq!(why["reason"], "policy_violation", "a forbid refuses whatever rules say: {why}");

    for (wrong, expected) in [
        ("forbid (principal, action, resource)\nwhen { principal.nickname == \"eve\" };", "house.cedar:2:"),
        ("forbid (\n  principal in Role::\"usr\", action, resource);", "there is no role `usr`; did you mean `user`?"),
    ] {
        std::fs::write(&file, wrong).expect("written");
        let (status, text) = said(&instance, &["validate"]);
        assert!(status == Some(78) && text.contains(expected), "{status:?} {text}");
    }
    std::fs::remove_file(&file).expect("removed");
    instance.cli(&["admin", "config", "reload"]);
    becomes(&instance, &eve, 200).await;
}
