//! Secrets in what a session carries: they stay with the caller, and the session goes on.

use http::Request;
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder, TestResponse};
use systemprompt_extension::prelude::*;
use systemprompt_gateway::request::queries::RequestDetail;
use systemprompt_governance::decisions::{DecisionDetail, DecisionFilter, list_decisions};
use systemprompt_llm::StreamTexts;
use systemprompt_mock_upstream::{Behaviour, MockToolCall, MockUpstream};
use systemprompt_model::ActionId;

use crate::ended::ended;
use crate::every_wire::{CALLERS, Caller, WIRES, every_wire};

const SECRET: &str = concat!("AKIA", "Q3EGRZ7XK2VJ5N4P");

struct Fixture {
    mock: MockUpstream,
    context: TestContext,
    ada: TestClient,
}

fn server(mock: &MockUpstream, governance: Value) -> TestContextBuilder {
    every_wire(mock).document("governance/config.yaml", json!({"governance": governance}))
}

impl Fixture {
    async fn new(governance: Value) -> Self {
        let mock = MockUpstream::start().await.expect("a free port");
        let context = server(&mock, governance).start().await;
        let ada = context.user("ada", &["admin"]).await;
        Self { mock, context, ada }
    }

    async fn send(&self, path: String, body: &Value, headers: &[(&str, &str)]) -> (TestResponse, RequestDetail) {
        let request = headers.iter().fold(Request::post(path), |request, (name, value)| request.header(*name, *value));
        let response = self.ada.request(request.body(body.to_string()).expect("a request")).await;
        let detail = ended(&self.context, &response).await;
        (response, detail)
    }

    async fn ask(&self, caller: &Caller, model: &str, turns: &[&str], stream: bool) -> (TestResponse, RequestDetail) {
        let (path, body) = (caller.asks)(model, turns, stream);
        self.send(path, &body, &[]).await
    }

    /// What the provider got last.
    fn received(&self) -> String {
        let requests = self.mock.requests();
        String::from_utf8_lossy(&requests.last().expect("a request").body).into_owned()
    }

    /// The placeholders the provider got last, in order, each once.
    fn placeholders(&self) -> Vec<String> {
        let received = self.received();
        let words = received.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let mut found: Vec<String> = Vec::new();
        for word in words.filter(|word| word.starts_with("SECRET_")) {
            if !found.iter().any(|known| known == word) {
                found.push(word.to_owned());
            }
        }
        found
    }

    async fn decision(&self, id: ActionId) -> DecisionDetail {
        self.context.catch_up().await;
        let filter = DecisionFilter { limit: 1000, ..DecisionFilter::default() };
        let page = list_decisions(self.context.db().read(), &filter).await.expect("decisions");
        page.items.into_iter().find(|decision| decision.action_id == id).expect("it is recorded")
    }

    /// Everything that is stored of a request.
    async fn stored(&self, id: ActionId) -> String {
        let query = "SELECT string_agg(t, ' ') FROM (SELECT body AS t FROM ledger WHERE action_id = $1 \
                     UNION ALL SELECT concat(body, head, tail) FROM ledger_content WHERE action_id = $1) AS all_of_it";
        sqlx::query_scalar(query).bind(id.as_uuid()).fetch_one(self.context.db().read()).await.expect("the ledger")
    }
}

/// What an answer says, put together.
fn said(response: &TestResponse, stream: bool) -> String {
    if !stream {
        return response.text();
    }
    let mut texts = StreamTexts::new(1 << 20);
    texts.feed(response.text().as_bytes());
    texts.finish().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_with_a_secret_goes_on_and_the_secret_never_leaves() {
    let fixture = Fixture::new(json!({"policies": [{"id": "secret_scan"}]})).await;
    let question = format!("My key is {SECRET}. Deploy with it.");
    let mut known: Option<String> = None;
    for (caller, wire) in CALLERS.iter().flat_map(|caller| WIRES.iter().map(move |wire| (caller, wire))) {
        for stream in [false, true] {
            let what = format!("{} to {wire}, stream: {stream}", caller.model);
            let model = format!("{wire}-test");
            fixture.mock.behave(Behaviour::default());
            fixture.ask(caller, &model, &[&question], stream).await;
            let placeholders = fixture.placeholders();
            let [placeholder] = placeholders.as_slice() else { panic!("{what}: {placeholders:?}") };
            assert!(placeholder.starts_with("SECRET_aws_access_key_"), "{placeholder}");
            assert_eq!(known.get_or_insert_with(|| placeholder.clone()), placeholder, "{what}: the same for the same");

            // The model speaks of it, and calls a tool with it, in pieces of a few letters.
            fixture.mock.behave(Behaviour {
                text: Some(format!("Deploying with {placeholder} now.")),
                chunks: 23,
                tool_calls: vec![MockToolCall {
                    name: "run".to_owned(),
                    input: json!({"command": format!("deploy --key '{placeholder}'")}),
                }],
                ..Behaviour::default()
            });
            let (response, detail) =
                fixture.ask(caller, &model, &[&question, "Which one?", &format!("{SECRET}!")], stream).await;
            assert_eq!(response.status, 200, "{what}: {}", response.text());
            assert!(!fixture.received().contains(SECRET), "{what}: {}", fixture.received());
            let said = said(&response, stream);
            assert!(said.contains(&format!("Deploying with {SECRET} now.")), "{what}: {said}");
            assert!(said.contains(&format!("deploy --key '{SECRET}'")), "{what}: {said}");
            assert!(!said.contains("SECRET_"), "{what}: {said}");

            let stored = fixture.stored(detail.summary.request_id).await;
            assert!(!stored.contains(SECRET) && stored.contains(placeholder), "{what}: {stored}");
            assert_eq!(detail.summary.status, "completed", "{what}");
        }
    }
    let (_, detail) = fixture.ask(&CALLERS[0], CALLERS[0].model, &[&question], false).await;
    let decision = fixture.decision(detail.summary.request_id).await;
    assert_eq!((decision.decision.as_str(), decision.policy.as_str()), ("allow", "secret_scan"));
    let placeholder = known.expect("there was one");
    assert_eq!(decision.reason, Some(format!("replaced before it left: {placeholder}")));
    let rules = decision.evaluated_rules.as_array().expect("a list");
    let scan = rules.iter().find(|rule| rule["policy_id"] == "secret_scan").expect("it was asked");
    assert_eq!(
        scan["replaced"],
        json!([{"path": "$.messages[0].content", "placeholder": placeholder, "rule": "aws-access-key"}])
    );
    let metrics = fixture.context.metrics().encode();
    assert!(metrics.contains("gateway_replacements_total{rule=\"aws-access-key\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_may_have_secrets_refused_or_only_recorded() {
    let question = format!("My key is {SECRET}.");
    for (governance, status, decision) in [
        (json!({"policies": [{"id": "secret_scan", "action": "deny"}]}), 451, "deny"),
        (json!({"policies": [{"id": "secret_scan", "deny": ["aws-access-key"]}]}), 451, "deny"),
        (json!({"policies": [{"id": "secret_scan", "deny": ["github-token-classic"]}]}), 200, "allow"),
        (json!({"policies": [{"id": "secret_scan", "mode": "warn"}]}), 200, "warn"),
        (json!({"policies": [{"id": "secret_scan", "warn_only": ["aws-access-key"]}]}), 200, "warn"),
    ] {
        let fixture = Fixture::new(governance.clone()).await;
        let (response, detail) = fixture.ask(&CALLERS[0], CALLERS[0].model, &[&question], false).await;
        assert_eq!(response.status, status, "{governance}");
        let id = detail.summary.request_id;
        assert_eq!(fixture.decision(id).await.decision, decision, "{governance}");
        assert!(!fixture.stored(id).await.contains(SECRET), "{governance}");
        if status == 451 {
            assert!(fixture.mock.requests().is_empty(), "nothing was sent");
        } else {
            assert_eq!(fixture.received().contains(SECRET), decision == "warn", "{governance}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_has_signed_goes_back_as_it_came() {
    let fixture = Fixture::new(json!({"policies": [{"id": "secret_scan"}]})).await;
    let body = |signature: &str| {
        json!({"model": "anthropic-test", "max_tokens": 2000, "messages": [
            {"role": "user", "content": "Deploy."},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": format!("They gave me {SECRET}."), "signature": signature},
                {"type": "text", "text": format!("With {SECRET}?")},
            ]},
            {"role": "user", "content": "Yes."},
        ]})
    };
    for (signature, kept) in [("EqQBCgIYAhIM", true), ("", false)] {
        let (response, detail) = fixture.send("/v1/messages".to_owned(), &body(signature), &[]).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let received: Value = serde_json::from_str(&fixture.received()).expect("JSON");
        let blocks = &received["messages"][1]["content"];
        assert_eq!(blocks[0]["thinking"] == format!("They gave me {SECRET}."), kept, "{blocks}");
        assert!(!blocks[1]["text"].as_str().expect("a text").contains(SECRET), "{blocks}");
        assert!(!fixture.stored(detail.summary.request_id).await.contains(SECRET));
    }
    // Nor is one put into a thought: the caller sends it back as it came.
    fixture.ask(&CALLERS[0], CALLERS[0].model, &[SECRET], false).await;
    let placeholder = fixture.placeholders().remove(0);
    let thinking = Some(format!("They gave me {placeholder}."));
    fixture.mock.behave(Behaviour { thinking, text: Some(placeholder.clone()), ..Behaviour::default() });
    for stream in [false, true] {
        let (response, _) = fixture.ask(&CALLERS[0], CALLERS[0].model, &[SECRET], stream).await;
        let said = said(&response, stream);
        assert!(said.contains(&format!("They gave me {placeholder}.")) && said.contains(SECRET), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_found_is_known_wherever_else_it_stands() {
    let fixture = Fixture::new(json!({"policies": [{"id": "secret_scan"}]})).await;
    // Nothing but its name tells that it is one.
    let password = concat!("kV7!pQ2x", "Zr9#mT4w");
    let (first, last) = (format!("DB_PASSWORD='{password}'"), format!("and now {password} fails"));
    let (response, _) = fixture.ask(&CALLERS[0], CALLERS[0].model, &[&first, "Done.", &last], false).await;
    assert_eq!(response.status, 200);
    let placeholders = fixture.placeholders();
    assert_eq!(placeholders.len(), 1, "{}", fixture.received());
    assert!(!fixture.received().contains(password), "{}", fixture.received());
    assert_eq!(fixture.received().matches(&placeholders[0]).count(), 2, "{}", fixture.received());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_go_on_are_judged_and_recorded() {
    let fixture = Fixture::new(json!({"policies": [{"id": "secret_scan"}]})).await;
    let (path, body) = (CALLERS[0].asks)(CALLERS[0].model, &["Hello"], false);
    let beta = [("anthropic-beta", "context-1m-2025-08-07")];
    let (response, detail) = fixture.send(path.clone(), &body, &beta).await;
    assert_eq!(response.status, 200);
    assert!(fixture.stored(detail.summary.request_id).await.contains("context-1m-2025-08-07"));
    let (response, detail) = fixture.send(path, &body, &[("anthropic-note", SECRET)]).await;
    assert_eq!(response.status, 451, "{}", response.text());
    assert_eq!(fixture.mock.requests().len(), 1, "nothing was sent");
    assert!(!fixture.stored(detail.summary.request_id).await.contains(SECRET));
}
