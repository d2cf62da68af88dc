//! Each policy at each boundary: what is said of a prompt, a tool call, its result, a message, a reply, a job, a report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt::testing::TestContext;
use systemprompt_extension::ExtensionContext as _;
use systemprompt_extension::policy::Subject;
use systemprompt_governance::ledger::Ledger;
use systemprompt_governance::{Action, Effect, Facts, FactsWriter, Gate, Inspection, Outcome, Refusal, Target};
use systemprompt_model::{
    ActionId, ActorChain, Ambient, ApiKeyId, Attribution, Credential, EntityKind, Principal, Resource, SessionId,
    TraceId, UserId, UserType,
};

const CLEAN: &str = r#"{"text":"hello"}"#;
const LEAK: &str = concat!(r#"{"text":"AKIA"#, r#"IOSFODNN7EXAMPLQ is my key"}"#);

/// Something that is done at a boundary.
#[derive(Debug, Clone, Copy)]
struct At(Subject<'static>);

struct Nothing;

impl Effect for At {
    const KIND: &'static str = "boundary";
    type Result = Nothing;

    fn subject(&self) -> Subject<'_> {
        self.0
    }

    fn facts(&self, _: &mut FactsWriter<'_, '_>) {}
}

impl Facts for Nothing {
    fn facts(&self, _: &mut FactsWriter<'_, '_>) {}
}

fn action(subject: Subject<'static>, content: &'static str) -> Action<At> {
    let ambient = Ambient::system();
    let user = UserId::generate(&ambient);
    let principal = Principal {
        user_id: user,
        user_name: "maya".to_owned(),
        user_type: UserType::User,
        roles: vec!["user".to_owned()],
        attributes: BTreeMap::new(),
        credential: Credential::ApiKey(ApiKeyId::generate(&ambient)),
    };
    let by = Attribution {
        session: Some(SessionId::generate(&ambient)),
        actors: ActorChain::user(user),
        ..Attribution::user(Arc::new(principal), TraceId::generate(&ambient))
    };
    Action {
        id: ActionId::generate(&ambient),
        by,
        resource: Resource::entity(EntityKind::GatewayRoute, "demo"),
        targets: vec![Target::new("demo")],
        content: Bytes::from_static(content.as_bytes()),
        effect: At(subject),
        received_at: ambient.now(),
    }
}

#[tokio::test]
async fn every_policy_at_every_boundary() {
    let rules = json!({"rules": [{"entity_type": "gateway_route", "entity_id": "demo", "roles": ["user"]}]});
    let server = TestContext::builder().document("access-control/roles.yaml", rules).start().await;
    let gate = server.services().require::<Gate>().expect("governance provides the Gate");
    // The results of secret_scan, scope_check, tool_blocklist and rate_limit; of what holds a secret, only the first is asked.
    let rows = [
        (Subject::Prompt, ["pass", "skip", "skip", "pass"]),
        (Subject::ToolCall { name: "Read" }, ["pass", "pass", "pass", "pass"]),
        (Subject::ToolCall { name: "mcp__systemprompt__users" }, ["pass", "fail", "skip", "skip"]),
        (Subject::ToolCall { name: "mcp__db__dropTable" }, ["pass", "pass", "fail", "skip"]),
        (Subject::ToolResult { name: "mcp__db__dropTable" }, ["pass", "skip", "skip", "pass"]),
        (Subject::Message, ["pass", "skip", "skip", "pass"]),
        (Subject::Reply, ["pass", "skip", "skip", "pass"]),
        (Subject::Job { name: "nightly" }, ["pass", "skip", "skip", "pass"]),
        (Subject::Hook { event: "Stop" }, ["pass", "skip", "skip", "skip"]),
    ];
    let mut expected = Vec::new();
    for (subject, results) in rows {
        for (content, results) in [(CLEAN, results), (LEAK, ["fail", "skip", "skip", "skip"])] {
            let action = action(subject, content);
            let id = action.id;
            let admitted = gate.admit(action).await;
            let refused = matches!(admitted, Err(Refusal::Denied(_)));
            assert_eq!(refused, results.contains(&"fail"), "{subject:?} {content}");
            expected.push((id, subject, results));
        }
    }
    server.catch_up().await;
    for (id, subject, results) in expected {
        let evaluated: Value =
            sqlx::query_scalar("SELECT evaluated_rules FROM governance_decisions WHERE action_id = $1")
                .bind(id.as_uuid())
                .fetch_one(server.db().read())
                .await
                .expect("the decision is recorded");
        let said = |policy: &str| {
            let rules = evaluated.as_array().expect("a list");
            let rule = rules.iter().find(|rule| rule["policy_id"] == policy).expect("every policy is listed");
            rule["result"].as_str().expect("a result").to_owned()
        };
        let policies = ["secret_scan", "scope_check", "tool_blocklist", "rate_limit"];
        assert_eq!(policies.map(said), results.map(str::to_owned), "{subject:?}");
    }
}

/// What a policy objects to: the tool that is called where tools are, and what is said.
struct Offence {
    policy: &'static str,
    tool: &'static str,
    content: &'static str,
    /// So many things were done in the same session before.
    before: usize,
}

const OFFENCES: [Offence; 5] = [
    Offence { policy: "secret_scan", tool: "Read", content: LEAK, before: 0 },
    Offence { policy: "scope_check", tool: "mcp__systemprompt__users", content: CLEAN, before: 0 },
    Offence { policy: "tool_blocklist", tool: "mcp__db__dropTable", content: CLEAN, before: 0 },
    Offence { policy: "rate_limit", tool: "Read", content: CLEAN, before: 2 },
    Offence { policy: "require_approval", tool: "deploy", content: CLEAN, before: 0 },
];

impl Offence {
    /// The boundaries at which something is done.
    fn boundaries(&self) -> [Subject<'static>; 8] {
        let name = self.tool;
        [
            Subject::Prompt,
            Subject::ToolCall { name },
            Subject::ToolResult { name },
            Subject::Message,
            Subject::Reply,
            Subject::Job { name },
            Subject::Hook { event: "Stop" },
            Subject::Change { operation: "user.create" },
        ]
    }

    /// Whether the policy has a say there.
    fn is_one_at(&self, subject: Subject<'_>) -> bool {
        match self.policy {
            "secret_scan" => true,
            "rate_limit" => !matches!(subject, Subject::Hook { .. } | Subject::Change { .. }),
            _ => matches!(subject, Subject::ToolCall { .. }),
        }
    }
}

async fn server_with(policies: Value) -> TestContext {
    let rules = json!({"rules": [{"entity_type": "gateway_route", "entity_id": "demo", "roles": ["user"]}]});
    TestContext::builder()
        .document("access-control/roles.yaml", rules)
        .document("governance/config.yaml", json!({"governance": {"policies": policies}}))
        .start()
        .await
}

fn all_policies(setting: &Value) -> Value {
    let mut policies = json!([
        {"id": "secret_scan"}, {"id": "scope_check"}, {"id": "tool_blocklist"},
        {"id": "rate_limit", "requests_per_window": 2},
        {"id": "require_approval", "rules": [{"tools": ["deploy"]}]},
    ]);
    for policy in policies.as_array_mut().expect("a list") {
        policy.as_object_mut().expect("an object").extend(setting.as_object().expect("an object").clone());
    }
    policies
}

/// Does it if it may be done, and says whether it was.
async fn done(gate: &Gate, action: Action<At>) -> bool {
    match gate.admit(action).await {
        Ok(permit) => {
            let (_, running) = permit.begin(&Target::new("demo")).expect("it is the target");
            running.finish(Outcome::completed(Nothing));
            true
        }
        Err(Refusal::Denied(_)) => false,
        Err(Refusal::LedgerUnavailable) => panic!("there is a ledger"),
    }
}

#[tokio::test]
async fn what_is_enforced_is_not_done_what_is_warned_of_is_and_what_is_switched_off_says_nothing() {
    for (setting, results, word) in [
        (json!({"mode": "enforce"}), ["fail", "skip"], "deny"),
        (json!({"mode": "warn"}), ["fail", "skip"], "warn"),
        (json!({"enabled": false}), ["disabled", "disabled"], "allow"),
    ] {
        let server = server_with(all_policies(&setting)).await;
        let gate = server.services().require::<Gate>().expect("governance provides the Gate");
        let mut expected = Vec::new();
        for offence in &OFFENCES {
            for subject in offence.boundaries() {
                let first = action(subject, offence.content);
                for _ in 0..offence.before {
                    let clean = Action { by: first.by.clone(), ..action(Subject::Message, CLEAN) };
                    assert!(done(&gate, clean).await, "it is within the limit");
                }
                let objects = offence.is_one_at(subject);
                let id = first.id;
                let was_done = done(&gate, first).await;
                assert_eq!(was_done, !objects || word != "deny", "{} {subject:?} {setting}", offence.policy);
                expected.push((id, offence.policy, subject, objects));
            }
        }
        server.catch_up().await;
        for (id, policy, subject, objects) in expected {
            let what = format!("{policy} {subject:?} {setting}");
            let (decision, by, rules): (String, String, Value) = sqlx::query_as(
                "SELECT decision, policy, evaluated_rules FROM governance_decisions WHERE action_id = $1",
            )
            .bind(id.as_uuid())
            .fetch_one(server.db().read())
            .await
            .expect("the decision is recorded");
            let rules = rules.as_array().expect("a list");
            let rule = rules.iter().find(|rule| rule["policy_id"] == policy).expect("every policy is listed");
            assert_eq!(rule["result"], results[usize::from(!objects)], "{what}: {rules:?}");
            assert_eq!(decision, if objects { word } else { "allow" }, "{what}");
            assert_eq!(by == policy, objects && word != "allow", "{what}: {by}");
        }
    }
}

#[tokio::test]
async fn what_a_model_asks_for_is_judged_by_those_whose_tools_it_may_be() {
    for (setting, withheld, result) in [
        (json!({"mode": "enforce"}), true, Some("fail")),
        (json!({"mode": "warn"}), false, Some("fail")),
        (json!({"enabled": false}), false, None),
    ] {
        let server = server_with(all_policies(&setting)).await;
        let gate = server.services().require::<Gate>().expect("governance provides the Gate");
        let mut expected = Vec::new();
        for offence in &OFFENCES {
            let asked = action(Subject::Prompt, CLEAN);
            let id = asked.id;
            let permit = gate.admit(asked).await.unwrap_or_else(|refusal| panic!("{refusal:?}"));
            let (_, mut running) = permit.begin(&Target::new("demo")).expect("it is the target");
            let is_watched = running.is_inspected(Subject::ToolCall { name: offence.tool });
            let is_one = result.is_some() && !["secret_scan", "rate_limit"].contains(&offence.policy);
            assert_eq!(is_watched, is_one, "{} {setting}: nobody waits for nothing", offence.policy);
            assert!(
                !running.is_inspected(Subject::Answer) && !running.is_inspected(Subject::ToolCall { name: "Read" })
            );
            let input = Bytes::from_static(b"{}");
            let inspection = running.inspect_call(offence.tool, &input, true, Duration::from_secs(30)).await;
            let is_withheld = matches!(inspection, Inspection::Withhold(denial) if denial.policy == offence.policy);
            assert_eq!(is_withheld, is_one && withheld, "{} {setting}", offence.policy);
            running.finish(Outcome::completed(Nothing));
            if is_one {
                expected.push((id, offence.policy));
            }
        }
        let ledger = server.services().require::<Ledger>().expect("a ledger");
        assert!(ledger.drain(Duration::from_secs(5)).await);
        for (id, policy) in expected {
            let said: Value = sqlx::query_scalar(
                "SELECT body::jsonb -> 'inspections' FROM ledger WHERE action_id = $1 AND kind = 'ended'",
            )
            .bind(id.as_uuid())
            .fetch_one(server.db().read())
            .await
            .expect("the end is recorded");
            assert_eq!((&said[0]["policy_id"], &said[0]["result"]), (&json!(policy), &json!(result)), "{said}");
        }
    }
}
