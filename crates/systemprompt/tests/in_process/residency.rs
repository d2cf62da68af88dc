//! Requests go to providers of the regions they may go to, and to no other, whatever happens to those.

use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder, TestResponse};
use systemprompt_mock_upstream::{Behaviour, Fault, MockUpstream};

use crate::ended::ended;

struct Places {
    /// In the United States, and where routes lead first.
    us: MockUpstream,
    /// In Europe.
    eu: MockUpstream,
    /// Which does not say where it is.
    nowhere: MockUpstream,
}

impl Places {
    async fn start() -> Self {
        let start = async || MockUpstream::start().await.expect("a free port");
        Self { us: start().await, eu: start().await, nowhere: start().await }
    }

    fn asked(&self) -> [usize; 3] {
        [&self.us, &self.eu, &self.nowhere].map(|mock| mock.requests().len())
    }
}

fn builder(places: &Places, policy: &Value) -> TestContextBuilder {
    let provider = |name: &str, mock: &MockUpstream, place: Value| {
        let mut provider = json!({
            "name": name, "wire": "anthropic", "surface": "anthropic", "endpoint": mock.endpoint(),
            "api_key_secret": "upstream", "resilience": {"retry_attempts": 0},
            "models": [{"id": format!("{name}-model"), "pricing": {"input_per_million": 3.0, "output_per_million": 15.0}}],
        });
        provider.as_object_mut().expect("an object").extend(place.as_object().expect("an object").clone());
        provider
    };
    let providers = json!([
        provider("us", &places.us, json!({"data_region": "us"})),
        provider("eu", &places.eu, json!({"data_region": "eu-north"})),
        provider("nowhere", &places.nowhere, json!({})),
    ]);
    let leads = |name: &str, to: &[&str]| {
        let fallbacks = to[1..].iter().map(|to| json!({"provider": to, "upstream_model": format!("{to}-model")}));
        json!({"id": name, "model_pattern": name, "provider": to[0], "upstream_model": format!("{}-model", to[0]),
            "fallbacks": fallbacks.collect::<Vec<_>>()})
    };
    let routes = json!([leads("all", &["us", "nowhere", "eu"]), leads("away", &["us", "nowhere"])]);
    TestContext::builder()
        .profile("providers", providers)
        .profile("gateway", json!({"enabled": true, "routes": routes}))
        .document(
            "access-control/all.yaml",
            json!({"rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"]}]}),
        )
        .document("governance/config.yaml", json!({"governance": {"policies": [policy]}}))
        .secret("upstream", "sk-upstream-key")
}

async fn ask(client: &TestClient, path: &str, model: &str) -> TestResponse {
    let body = json!({"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]});
    client.post(path, &body).await
}

const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_where_it_may_be_processed_and_nowhere_else() {
    let places = Places::start().await;
    let server = builder(&places, &json!({"id": "residency", "regions": ["EU-*"]})).start().await;
    let ada = server.user("ada", &["user"]).await;

    let answer = ask(&ada, MESSAGES, "all").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(places.asked(), [0, 1, 0]);
    let detail = ended(&server, &answer).await;
    let rules = detail.decision.evaluated_rules.as_array().expect("a list").clone();
    let rule = rules.iter().find(|rule| rule["policy_id"] == "residency").expect("it is listed");
    assert_eq!(rule["result"], "pass");
    let said = rule["detail"].as_str().expect("a text");
    assert!(
        said.contains("`us/us-model` is in `us`") && said.contains("`nowhere/nowhere-model` does not say"),
        "{said}"
    );
    assert_eq!(detail.summary.provider.as_deref(), Some("eu"));

    // Nor when the only place that may be asked fails.
    places.eu.behave(Behaviour {
        fault: Some(Fault::Status { status: 503, body: None, retry_after: None }),
        ..Behaviour::default()
    });
    assert_ne!(ask(&ada, MESSAGES, "all").await.status, 200);
    places.eu.behave(Behaviour::default());
    assert_eq!(places.asked(), [0, 2, 0]);

    let refused = ask(&ada, MESSAGES, "away").await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(
        refused.text().contains("may go to `EU-*` only") && refused.text().contains("data_region"),
        "{}",
        refused.text()
    );
    let decision = ended(&server, &refused).await.decision;
    assert_eq!((decision.decision.as_str(), decision.policy.as_str()), ("deny", "residency"));
    // What is only counted leaves all the same.
    assert_eq!(ask(&ada, COUNT, "away").await.status, 400);
    assert_eq!(ask(&ada, COUNT, "all").await.status, 200);
    assert_eq!(places.asked(), [0, 3, 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_residency_only_warns_of_or_is_not_about_goes_where_it_went() {
    let places = Places::start().await;
    for (setting, result, word) in [
        (json!({"mode": "warn"}), "fail", "warn"),
        (json!({"routes": ["away"]}), "skip", "allow"),
        (json!({"enabled": false}), "disabled", "allow"),
    ] {
        let mut policy = json!({"id": "residency", "regions": ["eu-north"]});
        policy.as_object_mut().expect("an object").extend(setting.as_object().expect("an object").clone());
        let server = builder(&places, &policy).start().await;
        let ada = server.user("ada", &["user"]).await;
        let before = places.asked();
        let answer = ask(&ada, MESSAGES, "all").await;
        assert_eq!(answer.status, 200, "{setting}: {}", answer.text());
        assert_eq!(places.asked(), [before[0] + 1, before[1], before[2]], "{setting}");
        let decision = ended(&server, &answer).await.decision;
        let rules = decision.evaluated_rules.as_array().expect("a list").clone();
        let rule = rules.iter().find(|rule| rule["policy_id"] == "residency").expect("it is listed");
        assert_eq!((&rule["result"], decision.decision.as_str()), (&json!(result), word), "{setting}: {rule}");
        server.stop().await;
    }
}

#[tokio::test]
async fn models_that_may_be_asked_nowhere_are_not_listed() {
    let places = Places::start().await;
    for (setting, listed) in [
        (json!({}), vec!["eu-model"]),
        (json!({"mode": "warn"}), vec!["eu-model", "nowhere-model", "us-model"]),
        (json!({"enabled": false}), vec!["eu-model", "nowhere-model", "us-model"]),
        (json!({"routes": ["us"]}), vec!["eu-model", "nowhere-model"]),
    ] {
        let mut policy = json!({"id": "residency", "regions": ["eu-*"]});
        policy.as_object_mut().expect("an object").extend(setting.as_object().expect("an object").clone());
        let server = builder(&places, &policy).start().await;
        let ada = server.user("ada", &["user"]).await;
        for (list, key, field) in [("/v1/models", "data", "id"), ("/v1beta/models", "models", "name")] {
            let answer = ada.get(list).await.json();
            let models = answer[key].as_array().unwrap_or_else(|| panic!("{list}: {answer}"));
            let name = |model: &Value| model[field].as_str().expect("a name").trim_start_matches("models/").to_owned();
            let mut names: Vec<String> = models.iter().map(name).collect();
            names.sort_unstable();
            assert_eq!(names, listed, "{list} {setting}");
            for model in ["eu-model", "nowhere-model", "us-model"] {
                let status = ada.get(&format!("{list}/{model}")).await.status;
                assert_eq!(status, if listed.contains(&model) { 200 } else { 404 }, "{list}/{model} {setting}");
                let is_answered = ask(&ada, MESSAGES, model).await.status == 200;
                assert_eq!(is_answered, listed.contains(&model), "{model} {setting}: as for a request");
            }
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_region_that_no_provider_is_in_is_refused_with_what_was_meant() {
    let places = Places::start().await;
    let policy = json!({"id": "residency", "regions": ["eu-nroth", "us"], "routes": ["awy"]});
    let problems = builder(&places, &policy).problems();
    let told = |words: &str| assert!(problems.iter().any(|problem| problem.contains(words)), "{words}: {problems:?}");
    told("no provider is in the region `eu-nroth`; did you mean `eu-north`?");
    told("there is no route `awy`; did you mean `away`?");
    assert_eq!(problems.len(), 2, "{problems:?}");
}
