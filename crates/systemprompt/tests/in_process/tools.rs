//! Tools in traffic with models: those a model is offered, and those it asks for.

use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext};
use systemprompt_extension::policy::{
    DenialKind, Phase, Policy, PolicyDef, PolicyInput, Subject, Verdict, Violation, async_trait,
};
use systemprompt_extension::prelude::*;
use systemprompt_mock_upstream::{Behaviour, MockToolCall, MockUpstream};

use crate::ended::ended;
use crate::every_wire::{CALLERS, ask, every_wire};

/// Nobody is offered `nuke`, and `delete` is for tests.
struct Tools;

#[async_trait]
impl Policy for Tools {
    fn id(&self) -> &'static str {
        "probe.tools"
    }

    fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        match subject {
            Subject::Prompt => phase == Phase::Before,
            Subject::ToolCall { name } => phase == Phase::After && name == "delete",
            _ => false,
        }
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        let objection = |reason: &str| Verdict::Fail(Violation::new(DenialKind::NotEntitled, "tool_blocked", reason));
        match input.subject {
            Subject::Prompt if input.offered_tools.names().iter().any(|name| name == "nuke") => {
                objection("`nuke` is offered")
            }
            Subject::ToolCall { .. } => {
                let arguments: Value = serde_json::from_slice(input.content).expect("all of the input");
                if arguments["table"] == "test" { Verdict::Pass } else { objection("only tests are deleted") }
            }
            _ => Verdict::Pass,
        }
    }
}

struct Probe;

impl Extension for Probe {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "probe", name: "Probe", version: "1.0.0" }
    }

    fn governance_policies(&self) -> Vec<PolicyDef> {
        vec![PolicyDef::new("probe.tools", "Tools that destroy", |_| Ok(Arc::new(Tools)))]
    }
}

async fn server(mock: &MockUpstream) -> (TestContext, TestClient) {
    let policies = json!({"governance": {"policies": []}});
    let context = every_wire(mock).extension(Probe).document("governance/config.yaml", policies).start().await;
    let ada = context.user("ada", &["admin"]).await;
    (context, ada)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_a_model_asks_for_is_judged_with_its_whole_input_before_the_caller_has_it() {
    let mock = MockUpstream::start().await.expect("a free port");
    let (context, ada) = server(&mock).await;
    for (name, table, given) in [("delete", "prod", false), ("delete", "test", true), ("read", "prod", true)] {
        mock.behave(Behaviour {
            text: Some("On it.".to_owned()),
            tool_calls: vec![MockToolCall { name: name.to_owned(), input: json!({"table": table, "rows": [1, 2]}) }],
            ..Behaviour::default()
        });
        for (caller, wire) in
            [(0, "anthropic"), (1, "openai-chat"), (2, "openai-responses"), (3, "gemini"), (0, "gemini")]
        {
            let caller = &CALLERS[caller];
            for stream in [false, true] {
                let what = format!("{name} {table}: {} to {wire}, stream: {stream}", caller.model);
                let answer = ask(&ada, caller, wire, stream, &json!({})).await;
                let text = answer.text();
                assert_eq!(answer.status, if given || stream { 200 } else { 451 }, "{what}: {text}");
                assert_eq!(text.contains("rows"), given, "{what}: {text}");
                assert_eq!(text.contains("only tests are deleted"), !given, "{what}: {text}");
                let detail = ended(&context, &answer).await;
                assert_eq!(detail.summary.status, if given { "completed" } else { "failed" }, "{what}");
                let inspections: Value = sqlx::query_scalar(
                    "SELECT body::jsonb -> 'inspections' FROM ledger WHERE action_id = $1 AND kind = 'ended'",
                )
                .bind(detail.summary.request_id.as_uuid())
                .fetch_one(context.db().read())
                .await
                .unwrap_or_default();
                assert_eq!(inspections[0]["policy_id"] == "probe.tools", name == "delete", "{what}: {inspections}");
            }
        }
    }
    context.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_see_the_tools_a_model_is_offered() {
    let mock = MockUpstream::start().await.expect("a free port");
    let (context, ada) = server(&mock).await;
    for (name, status) in [("nuke", 451), ("read", 200)] {
        let schema = json!({"type": "object", "properties": {}});
        for (caller, wire, tools) in [
            (0, "anthropic", json!([{"name": name, "input_schema": schema}])),
            (1, "openai-chat", json!([{"type": "function", "function": {"name": name, "parameters": schema}}])),
            (2, "openai-responses", json!([{"type": "function", "name": name, "parameters": schema, "strict": false}])),
            (3, "gemini", json!([{"functionDeclarations": [{"name": name, "parameters": schema}]}])),
        ] {
            let answer = ask(&ada, &CALLERS[caller], wire, false, &json!({ "tools": tools })).await;
            let status = if status == 451 { 403 } else { status };
            assert_eq!(answer.status, status, "{wire} {name}: {}", answer.text());
        }
    }
    assert_eq!(mock.requests().len(), 4, "what was refused was not sent");
    context.stop().await;
}
