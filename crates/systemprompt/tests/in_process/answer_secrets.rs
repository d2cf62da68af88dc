//! Credentials that a model writes into an answer by itself.

use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestResponse};
use systemprompt_extension::prelude::*;
use systemprompt_gateway::request::queries::RequestDetail;
use systemprompt_llm::StreamTexts;
use systemprompt_mock_upstream::{Behaviour, MockToolCall, MockUpstream};

use crate::ended::ended;
use crate::every_wire::{CALLERS, Caller, WIRES, ask, every_wire};

const SECRET: &str = concat!("AKIA", "Q3EGRZ7XK2VJ5N4P");
const PLACEHOLDER: &str = "SECRET_aws_access_key_";
const BEFORE: &str =
    "It is a long way to the answer that you asked for, and it is worth every step that we take of it. ";

struct Fixture {
    mock: MockUpstream,
    context: TestContext,
    ada: TestClient,
}

impl Fixture {
    async fn new(setting: &Value) -> Self {
        let mock = MockUpstream::start().await.expect("a free port");
        let mut policy = json!({"id": "secret_scan"});
        policy.as_object_mut().expect("an object").extend(setting.as_object().expect("an object").clone());
        let governance = json!({"governance": {"policies": [policy]}});
        let context = every_wire(&mock).document("governance/config.yaml", governance).start().await;
        let ada = context.user("ada", &["user"]).await;
        Self { mock, context, ada }
    }

    fn says(&self, text: &str, chunks: usize) {
        self.mock.behave(Behaviour { text: Some(text.to_owned()), chunks, ..Behaviour::default() });
    }

    async fn ask(&self, caller: &Caller, wire: &str, stream: bool) -> (TestResponse, RequestDetail) {
        let answer = ask(&self.ada, caller, wire, stream, &json!({})).await;
        let detail = ended(&self.context, &answer).await;
        (answer, detail)
    }

    /// Everything that is stored of a request.
    async fn stored(&self, detail: &RequestDetail) -> String {
        let query = "SELECT string_agg(t, ' ') FROM (SELECT body AS t FROM ledger WHERE action_id = $1 \
                     UNION ALL SELECT concat(body, head, tail) FROM ledger_content WHERE action_id = $1) AS all_of_it";
        let id = detail.summary.request_id.as_uuid();
        sqlx::query_scalar(query).bind(id).fetch_one(self.context.db().read()).await.expect("the ledger")
    }
}

/// What an answer says, put together.
fn said(answer: &TestResponse, stream: bool) -> String {
    if !stream {
        return answer.text();
    }
    let mut texts = StreamTexts::new(1 << 20);
    texts.feed(answer.text().as_bytes());
    texts.finish().join("\n")
}

fn found(detail: &RequestDetail) -> Vec<(&str, &str, &str, &str, bool)> {
    let rows = detail.findings.iter();
    rows.map(|row| {
        (row.phase.as_str(), row.category.as_str(), row.severity.as_str(), row.scanner.as_str(), row.blocked)
    })
    .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unseen,
    Recorded,
    Replaced,
    Withheld,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_model_writes_is_recorded_replaced_or_withheld_on_every_wire() {
    for (setting, outcome) in [
        (json!({}), Outcome::Recorded),
        (json!({"answers": "redact"}), Outcome::Replaced),
        (json!({"answers": "deny"}), Outcome::Withheld),
        (json!({"answers": "off"}), Outcome::Unseen),
        (json!({"answers": "deny", "mode": "warn"}), Outcome::Recorded),
        (json!({"answers": "redact", "mode": "warn"}), Outcome::Recorded),
        (json!({"answers": "deny", "warn_only": ["aws-access-key"]}), Outcome::Unseen),
        (json!({"answers": "deny", "enabled": false}), Outcome::Unseen),
    ] {
        let fixture = Fixture::new(&setting).await;
        let pairs = CALLERS.iter().zip(WIRES).chain([(&CALLERS[0], "gemini"), (&CALLERS[2], "anthropic")]);
        for ((caller, wire), is_call) in pairs.flat_map(|pair| [(pair, false), (pair, true)]) {
            for stream in [false, true] {
                let what = format!("{setting}: {} to {wire}, stream: {stream}, call: {is_call}", caller.model);
                let tool_calls = if is_call {
                    let input = json!({"command": format!("deploy --key '{SECRET}' now")});
                    vec![MockToolCall { name: "run".to_owned(), input }]
                } else {
                    Vec::new()
                };
                let text = if is_call { "On it.".to_owned() } else { format!("Use {SECRET}, and go on.") };
                fixture.mock.behave(Behaviour { text: Some(text), chunks: 9, tool_calls, ..Behaviour::default() });
                let (answer, detail) = fixture.ask(caller, wire, stream).await;
                let said = said(&answer, stream);
                let is_withheld = outcome == Outcome::Withheld;
                assert_eq!(answer.status, if is_withheld && !stream { 451 } else { 200 }, "{what}: {said}");
                let has_it = matches!(outcome, Outcome::Unseen | Outcome::Recorded);
                assert_eq!(said.contains(SECRET), has_it, "{what}: {said}");
                assert!(has_it || !said.contains("AKIA"), "{what}: no part of it: {said}");
                assert_eq!(said.contains(PLACEHOLDER), outcome == Outcome::Replaced, "{what}: {said}");
                let told = answer.text().contains("the answer holds a secret: aws-access-key");
                assert_eq!(told, is_withheld, "{what}: {}", answer.text());
                assert_eq!(detail.summary.status, if is_withheld { "failed" } else { "completed" }, "{what}");
                if outcome == Outcome::Unseen {
                    assert_eq!((found(&detail), &detail.inspections), (vec![], &None), "{what}");
                    continue;
                }
                assert_eq!(found(&detail), [("response", "secret", "high", "secret_scan", is_withheld)], "{what}");
                let excerpt = detail.findings[0].excerpt.clone().expect("an excerpt");
                assert!(excerpt.contains("[aws-access-key]") && !excerpt.contains("AKIA"), "{what}: {excerpt}");
                let afterwards = detail.inspections.clone().unwrap_or_default();
                let result = if outcome == Outcome::Replaced { "pass" } else { "fail" };
                assert_eq!(
                    (&afterwards[0]["policy_id"], &afterwards[0]["result"]),
                    (&json!("secret_scan"), &json!(result))
                );
                let is_named = afterwards[0]["replaced"].to_string().contains(PLACEHOLDER);
                assert_eq!(is_named, outcome == Outcome::Replaced, "{what}: {afterwards}");
                let stored = fixture.stored(&detail).await;
                assert!(!stored.contains(SECRET), "{what}: {stored}");
            }
        }
        if outcome == Outcome::Withheld {
            let page = fixture.context.metrics().encode();
            let line = r#"gateway_safety_findings_total{phase="response",category="secret",blocked="true"} 24"#;
            assert!(page.contains(line), "{page}");
        }
        fixture.context.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_before_is_given_and_what_a_request_carried_is_no_finding() {
    let fixture = Fixture::new(&json!({"answers": "deny"})).await;
    let before = BEFORE.repeat(6);
    for caller in &CALLERS {
        let wire = caller.model.trim_end_matches("-test");
        fixture.says(&format!("{before}Use {SECRET}. {before}"), 90);
        let (answer, _) = fixture.ask(caller, wire, true).await;
        let given = said(&answer, true);
        assert!(given.contains(BEFORE.trim()) && !given.contains("AKIA"), "{}: {given}", caller.model);

        // In an answer it is entrusted to no provider, whatever stands around it.
        fixture.says(&format!(r#"{{"mcp_servers": [{{"authorization_token": "{SECRET}"}}]}}"#), 30);
        let (answer, _) = fixture.ask(caller, wire, true).await;
        assert!(!said(&answer, true).contains("AKIA"), "{}: {}", caller.model, answer.text());

        // The model speaks of what the request said, which comes back as it was.
        for stream in [false, true] {
            let (path, body) = (caller.asks)(caller.model, &[&format!("The key is {SECRET}.")], stream);
            fixture.says("Hello.", 1);
            fixture.ada.post(&path, &body).await;
            let received = String::from_utf8_lossy(&fixture.mock.requests().last().expect("one").body).into_owned();
            let at = received.find(PLACEHOLDER).expect("a placeholder");
            let placeholder = &received[at..at + PLACEHOLDER.len() + 16];
            fixture.says(&format!("So it is {placeholder}, is it?"), 11);
            let answer = fixture.ada.post(&path, &body).await;
            let detail = ended(&fixture.context, &answer).await;
            let given = said(&answer, stream);
            assert!(given.contains(&format!("So it is {SECRET}, is it?")), "{}: {given}", caller.model);
            let in_answer = found(&detail).into_iter().filter(|(phase, ..)| *phase == "response").count();
            assert_eq!((detail.summary.status.as_str(), in_answer), ("completed", 0), "{}", caller.model);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_many_lines_and_what_is_long_is_replaced_as_a_whole_and_the_rest_stays_as_it_is() {
    let fixture = Fixture::new(&json!({"answers": "redact"})).await;
    let letters: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
    let line = |seed: usize| {
        (0..64).map(|at| letters[(at * 31 + seed * 17 + at * at * seed) % letters.len()]).collect::<String>()
    };
    let kind = "RSA PRIVATE";
    // The longer is one of 8,192 bits.
    for (caller, count) in CALLERS.iter().flat_map(|caller| [(caller, 20), (caller, 100)]) {
        let lines: Vec<String> = (1..count).map(line).collect();
        let key = format!("-----BEGIN {kind} KEY-----\n{}\n-----END {kind} KEY-----", lines.join("\n"));
        let wire = caller.model.trim_end_matches("-test");
        for (stream, chunks) in [(false, 1), (true, 1), (true, 60), (true, 400)] {
            fixture.says(&format!("{BEFORE}Put this into a file:\n\n{key}\n\nThen go on. {BEFORE}"), chunks);
            let (answer, detail) = fixture.ask(caller, wire, stream).await;
            let given = said(&answer, stream);
            let what = format!("{} {stream} {chunks}: {given}", caller.model);
            assert_eq!(detail.summary.status, "completed", "{what}");
            assert!(!lines.iter().any(|line| given.contains(&line[..20])), "{what}");
            assert!(given.contains("Put this into a file:") && given.contains("Then go on. It is"), "{what}");
            assert!(given.contains("SECRET_"), "{what}");
        }
    }
}
