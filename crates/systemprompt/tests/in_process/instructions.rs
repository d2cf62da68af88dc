//! What models are told in the place of their callers' system prompts: what leaves is what was judged, whoever asks in which
//! dialect and wherever it goes.

use std::sync::Arc;

use http::{Request, StatusCode};
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder, TestResponse};
use systemprompt_extension::gateway::{
    Fault, PromptRequest, SystemPrompt, SystemPromptOverride, SystemPromptOverrideDef,
};
use systemprompt_extension::prelude::*;
use systemprompt_mock_upstream::{Behaviour, Fault as UpstreamFault, MockUpstream};
use systemprompt_server::reload::{Reloaded, Reloader};

use crate::ended::ended;

const THEIRS: &str = "the words of the caller";
const OURS: &str = "The words of the \"house\".";

/// A request in each dialect, to this model: the path, the body, and where it has what its operator says.
fn asks(model: &str) -> [(String, Value); 4] {
    let messages = |role: &str| {
        json!([
            {"role": role, "content": THEIRS},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "yes?"},
            {"role": "system", "content": THEIRS},
            {"role": "user", "content": "well"},
        ])
    };
    let mut anthropic = json!({"model": model, "max_tokens": 50, "system": [{"type": "text", "text": THEIRS}],
        "messages": messages("system")});
    anthropic["messages"].as_array_mut().expect("messages").remove(0);
    [
        ("/v1/messages".to_owned(), anthropic),
        ("/v1/chat/completions".to_owned(), json!({"model": model, "messages": messages("developer")})),
        (
            "/v1/responses".to_owned(),
            json!({"model": model, "instructions": THEIRS, "input": messages("developer"), "store": false}),
        ),
        (
            format!("/v1beta/models/{model}:generateContent"),
            json!({"systemInstruction": {"parts": [{"text": THEIRS}]},
                "contents": [{"role": "user", "parts": [{"text": "hello"}]}]}),
        ),
    ]
}

struct Fixture {
    mock: MockUpstream,
    context: TestContext,
    ada: TestClient,
}

impl Fixture {
    /// Providers of every wire behind one mock, and this block of the gateway.
    async fn of(builder: TestContextBuilder, gateway: Value) -> Self {
        let mock = MockUpstream::start().await.expect("a port");
        let provider = |name: &str, wire: &str, model: &str| {
            json!({"name": name, "wire": wire, "surface": "backend", "endpoint": mock.endpoint(),
                "models": [{"id": model, "pricing": {"input_per_million": 1.0, "output_per_million": 1.0}}]})
        };
        let mut whole = json!({"enabled": true, "resilience": {"retry_attempts": 0}});
        whole.as_object_mut().expect("an object").extend(gateway.as_object().expect("an object").clone());
        let context = builder
            .profile(
                "providers",
                json!([
                    provider("ant", "anthropic", "claude-test"),
                    provider("chat", "openai-chat", "gpt-test"),
                    provider("resp", "openai-responses", "o-test"),
                    provider("gem", "gemini", "gemini-test"),
                ]),
            )
            .profile("gateway", whole)
            .start()
            .await;
        let ada = context.user("ada", &["user"]).await;
        Self { mock, context, ada }
    }

    async fn ask(&self, (path, body): &(String, Value)) -> TestResponse {
        self.ada.request(Request::post(path.as_str()).body(body.to_string()).expect("a request")).await
    }

    /// What reached the provider last.
    fn received(&self) -> String {
        let last = self.mock.requests().pop().expect("something reached it");
        String::from_utf8(last.body.to_vec()).expect("text")
    }
}

#[tokio::test]
async fn the_house_speaks_in_every_dialect_and_to_every_wire() {
    let overrides = json!({"system_prompt_overrides": [
        {"name": "house", "action": "replace", "prompt": OURS},
    ]});
    let fixture = Fixture::of(TestContext::builder(), overrides).await;
    let quoted = Value::from(OURS).to_string();
    for model in ["claude-test", "gpt-test", "o-test", "gemini-test"] {
        for asked in asks(model) {
            let response = fixture.ask(&asked).await;
            assert_eq!(response.status, 200, "{model} {}: {}", asked.0, response.text());
            let sent = fixture.received();
            assert!(sent.contains(&quoted) && !sent.contains(THEIRS), "{model} {}: {sent}", asked.0);
            assert_eq!(sent.matches(&quoted).count(), 1, "{sent}");
            let detail = ended(&fixture.context, &response).await;
            assert_eq!(detail.system_prompt_override.as_deref(), Some("house"));
            assert_eq!(detail.content_bytes, sent.len() as i64, "what is recorded is what left");
        }
    }
    // Between the same formats nothing else changes.
    let chat = r#"{ "model":"gpt-test", "unknown":  [1, 2], "messages":[{"role":"system","content":"x"}, {"role":"user","content":"hi"}] }"#;
    let request = Request::post("/v1/chat/completions").body(chat.to_owned()).expect("a request");
    assert_eq!(fixture.ada.request(request).await.status, 200);
    assert_eq!(
        fixture.received(),
        format!(
            r#"{{ "model":"gpt-test", "unknown":  [1, 2], "messages":[{{"role":"system","content":{quoted}}},{{"role":"user","content":"hi"}}] }}"#
        )
    );
    // What is asked in the operator's name alone is asked by nobody.
    let sent = fixture.mock.statistics().requests;
    let chat = json!({"model": "gpt-test", "messages": [{"role": "system", "content": "x"}]});
    let refused = fixture.ask(&("/v1/chat/completions".to_owned(), chat)).await;
    assert_eq!(
        (refused.status, refused.json()["error"]["type"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_request_error"))
    );
    assert!(refused.text().contains("nothing but system messages"), "{}", refused.text());
    assert_eq!(fixture.mock.statistics().requests, sent);
    let detail = ended(&fixture.context, &refused).await;
    assert_eq!(
        (detail.summary.status.as_str(), detail.decision.policy.as_str()),
        ("rejected", "system_prompt_override")
    );
}

#[tokio::test]
async fn each_place_has_its_own_and_what_the_house_says_is_judged() {
    let leak = concat!("AKIA", "IOSFODNN7EXAMPLQ");
    let gateway = json!({
        "routes": [
            {"id": "both", "model_pattern": "gpt-test", "provider": "chat",
                "fallbacks": [{"provider": "ant", "upstream_model": "claude-test"}]},
            {"id": "back", "model_pattern": "o-test", "provider": "resp",
                "fallbacks": [{"provider": "gem", "upstream_model": "gemini-test"}]},
        ],
        "system_prompt_overrides": [
            {"provider": "ant", "action": "strip"},
            {"provider": "chat", "model_pattern": "gpt-*", "action": "replace", "prompt": OURS},
            {"provider": "resp", "action": "replace", "prompt": OURS},
            {"provider": "gem", "model_pattern": "gemini-leak", "action": "replace", "prompt": leak},
        ],
    });
    let denying = json!({"governance": {"policies": [{"id": "secret_scan", "action": "deny"}]}});
    let builder = TestContext::builder().document("governance/config.yaml", denying);
    let fixture = Fixture::of(builder, gateway).await;
    let once = Behaviour {
        fault: Some(UpstreamFault::Status { status: 503, body: None, retry_after: None }),
        fault_times: Some(1),
        ..Behaviour::default()
    };
    for (model, first, second, record) in [("gpt-test", true, false, Some("strip-1")), ("o-test", true, true, None)] {
        fixture.mock.behave(once.clone());
        let response = fixture.ask(&asks(model)[1]).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let mut sent = fixture.mock.requests();
        let [after, before] =
            [sent.pop(), sent.pop()].map(|sent| String::from_utf8(sent.expect("sent").body.to_vec()).expect("text"));
        assert_eq!(before.contains(OURS.trim_end_matches("\"house\".")), first, "{before}");
        assert_eq!(after.contains(THEIRS), second, "{after}");
        assert_eq!(ended(&fixture.context, &response).await.system_prompt_override.as_deref(), record);
    }
    assert!(
        ended(&fixture.context, &fixture.ask(&asks("gemini-test")[3]).await).await.system_prompt_override.is_none()
    );

    // A file is read, and again when the configuration is.
    let profile = fixture.context.configuration().profile_file.clone();
    let file = profile.parent().expect("a directory").join("house.md");
    std::fs::write(&file, leak).expect("written");
    let mut document: Value = serde_json::from_slice(&std::fs::read(&profile).expect("the file")).expect("JSON");
    document["gateway"]["system_prompt_overrides"] = json!([{"action": "replace", "prompt": {"path": "house.md"}}]);
    std::fs::write(&profile, document.to_string()).expect("written");
    let reloader = fixture.context.service::<Reloader>().expect("the server has one");
    assert!(matches!(reloader.reload().await, Reloaded::Applied { .. }));
    let refused = fixture.ask(&asks("claude-test")[0]).await;
    assert_eq!(refused.status, 451, "{}", refused.text());
    std::fs::write(&file, OURS).expect("written");
    let applied = Reloaded::Applied { changed: vec!["gateway".to_owned()], needs_restart: Vec::new() };
    assert_eq!(reloader.reload().await, applied, "only what stands in the file has changed");
    assert_eq!(fixture.ask(&asks("claude-test")[0]).await.status, 200);
    assert!(fixture.received().contains("The words of the"));
    assert_eq!(reloader.reload().await, Reloaded::Unchanged);
    document["gateway"]["system_prompt_overrides"] = json!([{"action": "replace", "prompt": {"path": "gone.md"}}]);
    std::fs::write(&profile, document.to_string()).expect("written");
    let Reloaded::Refused { problems } = reloader.reload().await else { panic!("the file is not there") };
    assert!(problems[0].contains("gone.md` cannot be read"), "{problems:?}");
}

/// Says what the model says it should.
struct Said;

#[async_trait]
impl SystemPromptOverride for Said {
    async fn instruct(&self, request: &PromptRequest<'_>) -> Result<Option<SystemPrompt>, Fault> {
        match request.provider {
            "ant" => Ok(Some(SystemPrompt::Replace(format!("You talk to {}.", request.principal.user_name).into()))),
            "chat" => Ok(Some(SystemPrompt::Strip)),
            "resp" => Err("no idea".into()),
            _ => Ok(None),
        }
    }
}

struct Speaks;

impl Extension for Speaks {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "speaks", name: "Speaks", version: "1.0.0" }
    }

    fn system_prompt_overrides(&self) -> Vec<SystemPromptOverrideDef> {
        vec![SystemPromptOverrideDef::new("speaks.name", "Names the caller.", |_| Ok(Arc::new(Said)))]
    }
}

#[tokio::test]
async fn an_extension_may_speak_where_the_configuration_does_not() {
    let overrides = json!({"system_prompt_overrides": [
        {"provider": "gem", "action": "replace", "prompt": OURS},
    ]});
    let fixture = Fixture::of(TestContext::builder().extension(Speaks), overrides).await;
    for (model, told, record) in [
        ("claude-test", "You talk to ada.", "speaks.name"),
        ("gpt-test", "well", "speaks.name"),
        ("gemini-test", "The words of the", "replace-1"),
    ] {
        let response = fixture.ask(&asks(model)[1]).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let sent = fixture.received();
        assert!(sent.contains(told) && !sent.contains(THEIRS), "{sent}");
        assert_eq!(ended(&fixture.context, &response).await.system_prompt_override.as_deref(), Some(record));
    }
    let sent = fixture.mock.statistics().requests;
    let refused = fixture.ask(&asks("o-test")[2]).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(fixture.mock.statistics().requests, sent, "nothing leaves that is not as it shall be");
    assert_eq!(ended(&fixture.context, &refused).await.decision.policy, "speaks.name");
}
