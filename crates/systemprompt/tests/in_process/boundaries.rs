//! Each policy at each boundary: what is said of a prompt, a tool call, its result, a message, a reply, a job, a report.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt::testing::TestContext;
use systemprompt_extension::ExtensionContext as _;
use systemprompt_extension::policy::Subject;
use systemprompt_governance::{Action, Effect, Facts, FactsWriter, Gate, Refusal, Target};
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
