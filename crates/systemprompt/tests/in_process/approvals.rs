//! Calls that wait for a second person, over HTTP.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder};
use systemprompt_extension::ExtensionContext as _;
use systemprompt_governance::changes::{ChangeFilter, list_changes};
use systemprompt_model::{Ambient, ManualClock, OsEntropy};

const GOVERN: &str = "/api/public/hooks/govern";
const APPROVALS: &str = "/api/public/admin/governance/approvals";

fn server(once: bool) -> TestContextBuilder {
    let policy = json!({
        "id": "require_approval", "ttl_secs": 600, "once": once,
        "rules": [{"tools": ["Bash"], "when": [{"path": "command", "contains": "deploy"}], "admins": true,
                   "reason": "deployments have four eyes"}],
    });
    TestContext::builder()
        .document("governance/config.yaml", json!({"governance": {"policies": [{"id": "secret_scan"}, policy]}}))
}

/// What comes of asking whether a command may be run.
async fn run(client: &TestClient, command: &str, call: &str) -> (String, String) {
    let body = json!({"hook_event_name": "PreToolUse", "session_id": "s", "tool_name": "Bash",
        "tool_input": {"command": command}, "tool_use_id": call});
    let answer = client.post(GOVERN, &body).await.json();
    let output = &answer["hookSpecificOutput"];
    let text = |key: &str| output[key].as_str().expect("a text").to_owned();
    (text("permissionDecision"), text("permissionDecisionReason"))
}

async fn pending(admin: &TestClient) -> Vec<Value> {
    let listed = admin.get(&format!("{APPROVALS}?state=pending")).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    listed.json()["approvals"].as_array().expect("a list").clone()
}

/// Waits until so many calls are said to wait.
async fn gauged(server: &TestContext, count: u32) {
    let line = format!("governance_approvals_pending {count}");
    for _ in 0..400 {
        if server.metrics().encode().lines().any(|shown| shown == line) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{line} is never shown");
}

#[tokio::test]
async fn a_call_waits_until_somebody_else_approves_it_and_passes_once() {
    let server = server(true).start().await;
    let (ada, admin) = (server.user("ada", &["user"]).await, server.admin().await);
    assert_eq!(run(&ada, "ls", "c0").await.0, "allow", "no rule is about it");
    for call in ["c1", "c2", "c1"] {
        let (permission, reason) = run(&ada, "make deploy", call).await;
        assert_eq!(permission, "deny");
        assert!(reason.contains("[require_approval]") && reason.contains("four eyes"), "{reason}");
    }
    let waiting = pending(&admin).await;
    let [approval] = &waiting[..] else { panic!("{waiting:?}") };
    let id = approval["id"].as_str().expect("an id");
    assert!(run(&ada, "make deploy", "c3").await.1.contains(id), "whoever asks is told the approval");
    assert_eq!((&approval["user_name"], &approval["tool_name"]), (&json!("ada"), &json!("Bash")));
    assert!(!approval.to_string().contains("make deploy"), "the input is in the ledger, not here");

    gauged(&server, 1).await;
    let path = format!("{APPROVALS}/{id}");
    assert_eq!(ada.post(&format!("{path}/approve"), &json!({})).await.status, 403, "not for users");
    let approved = admin.post(&format!("{path}/approve"), &json!({"note": "go"})).await;
    assert_eq!((approved.status.as_u16(), &approved.json()["state"]), (200, &json!("approved")), "{}", approved.text());
    let again = admin.post(&format!("{path}/deny"), &json!({})).await;
    assert_eq!((again.status.as_u16(), again.code()), (409, "APPROVAL_NOT_PENDING".to_owned()));

    assert_eq!(run(&ada, "make deploy --all", "c4").await.0, "deny", "another input is another call");
    assert_eq!(run(&server.user("bob", &["user"]).await, "make deploy", "c5").await.0, "deny", "so is another person");
    assert_eq!(run(&ada, "make deploy", "c1").await.0, "allow", "the same call again passes");
    assert_eq!(run(&ada, "make deploy", "c6").await.0, "deny", "once");
    assert_eq!(admin.get(&path).await.json()["state"], "used");

    server.catch_up().await;
    let filter = ChangeFilter { operation: Some("approval".to_owned()), limit: 10, ..ChangeFilter::default() };
    let changes = list_changes(server.db().read(), &filter).await.expect("changes").items;
    let shown: Vec<_> = changes.iter().map(|change| (&*change.operation, &*change.status)).collect();
    assert_eq!(shown, [("approval.deny", "failed"), ("approval.approve", "completed")]);
    let page = server.metrics().encode();
    for line in [r#"governance_approvals_total{state="approved"} 1"#, r#"governance_approvals_total{state="used"} 1"#] {
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }
}

#[tokio::test]
async fn nobody_approves_for_himself_and_a_denial_says_who_and_why() {
    let server = server(true).start().await;
    let (admin, other) = (server.admin().await, server.user("root2", &["admin", "user"]).await);
    assert_eq!(run(&admin, "deploy", "c1").await.0, "deny", "administrators are not exempt from this rule");
    let id = pending(&admin).await[0]["id"].as_str().expect("an id").to_owned();
    let own = admin.post(&format!("{APPROVALS}/{id}/approve"), &json!({})).await;
    assert_eq!((own.status.as_u16(), own.code()), (403, "APPROVAL_OWN".to_owned()));
    let denied = other.post(&format!("{APPROVALS}/{id}/deny"), &json!({"note": "not on a Friday"})).await;
    assert_eq!(denied.status, 200, "{}", denied.text());
    let (permission, reason) = run(&admin, "deploy", "c2").await;
    assert_eq!(permission, "deny");
    assert!(reason.contains("root2 denied the call") && reason.contains("not on a Friday"), "{reason}");
    for (path, status) in [("nonsense", 404), ("00000000-0000-0000-0000-000000000000", 404)] {
        assert_eq!(admin.get(&format!("{APPROVALS}/{path}")).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn what_nobody_decides_expires_and_what_was_decided_holds_as_long() {
    let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).expect("a time")));
    let ambient = Ambient { clock: clock.clone(), entropy: Arc::new(OsEntropy) };
    let server = server(false).ambient(ambient).start().await;
    let (ada, admin) = (server.user("ada", &["user"]).await, server.admin().await);
    assert_eq!(run(&ada, "deploy", "c1").await.0, "deny");
    let first = pending(&admin).await[0]["id"].clone();
    clock.advance(TimeDelta::seconds(601));
    assert_eq!(pending(&admin).await.len(), 0);
    let late = admin.post(&format!("{APPROVALS}/{}/approve", first.as_str().expect("an id")), &json!({})).await;
    assert_eq!(late.status, 409, "{}", late.text());
    assert_eq!(run(&ada, "deploy", "c2").await.0, "deny");
    let second = pending(&admin).await[0]["id"].clone();
    assert_ne!(first, second);
    let approved = admin.post(&format!("{APPROVALS}/{}/approve", second.as_str().expect("an id")), &json!({})).await;
    assert_eq!(approved.status, 200, "{}", approved.text());
    for call in ["c3", "c4"] {
        assert_eq!(run(&ada, "deploy", call).await.0, "allow", "good for all calls like it");
    }
    clock.advance(TimeDelta::seconds(601));
    assert_eq!(run(&ada, "deploy", "c5").await.0, "deny", "until it expires");
}

#[tokio::test]
async fn those_decide_whose_role_it_is_and_what_makes_no_difference_asks_nobody_again() {
    let policy = json!({
        "id": "require_approval", "approvers": {"roles": ["release"]}, "once": false, "ignore": ["at"],
        "rules": [{"tools": ["deploy"], "admins": true}],
    });
    let server = TestContext::builder()
        .document("access-control/release.yaml", json!({"roles": [{"name": "release", "description": "Releases"}]}))
        .document("governance/config.yaml", json!({"governance": {"policies": [policy]}}))
        .start()
        .await;
    let (ada, admin) = (server.user("ada", &["user"]).await, server.admin().await);
    let (rita, rob) = (server.user("rita", &["user", "release"]).await, server.user("rob", &["user", "release"]).await);
    let deploy = async |client: &TestClient, what: &str, at: u32| {
        let body = json!({"hook_event_name": "PreToolUse", "session_id": "s", "tool_name": "deploy",
            "tool_input": {"what": what, "at": at}, "tool_use_id": format!("{what}{at}")});
        let output = client.post(GOVERN, &body).await.json()["hookSpecificOutput"].clone();
        let text = |key: &str| output[key].as_str().unwrap_or_default().to_owned();
        (text("permissionDecision"), text("permissionDecisionReason"))
    };
    let (permission, reason) = deploy(&ada, "site", 1).await;
    assert!(permission == "deny" && reason.contains("the role `release`"), "{reason}");
    assert_eq!(deploy(&ada, "site", 2).await.0, "deny");
    assert_eq!(pending(&ada).await, [] as [Value; 0], "nothing is for her to see");
    let waiting = pending(&rita).await;
    let [approval] = &waiting[..] else { panic!("{waiting:?}") };
    assert_eq!(approval["approvers"], json!(["release"]));
    assert_eq!(pending(&admin).await.len(), 1, "administrators see all");
    let path = format!("{APPROVALS}/{}", approval["id"].as_str().expect("an id"));

    for (client, code) in [(&ada, "APPROVAL_NOT_YOURS"), (&admin, "APPROVAL_REFUSED")] {
        let refused = client.post(&format!("{path}/approve"), &json!({})).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (403, code.to_owned()), "{}", refused.text());
    }
    assert_eq!(ada.get(&path).await.status, 403);
    assert_eq!(deploy(&ada, "site", 3).await.0, "deny", "nobody has decided");
    let approved = rita.post(&format!("{path}/approve"), &json!({"note": "go"})).await;
    assert_eq!(
        (approved.status.as_u16(), &approved.json()["decided_by"]),
        (200, &json!("rita")),
        "{}",
        approved.text()
    );
    assert_eq!(deploy(&ada, "site", 4).await.0, "allow", "only the time is another one");
    assert_eq!(deploy(&ada, "shop", 4).await.0, "deny");

    assert_eq!(deploy(&rita, "site", 1).await.0, "deny", "whoever decides asks too");
    let own = pending(&rob).await.into_iter().find(|approval| approval["user_name"] == "rita").expect("it waits");
    let path = format!("{APPROVALS}/{}/approve", own["id"].as_str().expect("an id"));
    let refused = rita.post(&path, &json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "APPROVAL_OWN".to_owned()));
    assert_eq!(rob.post(&path, &json!({})).await.status, 200);
    assert_eq!(deploy(&rita, "site", 9).await.0, "allow");
}
