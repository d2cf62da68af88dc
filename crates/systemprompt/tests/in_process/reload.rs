//! Another configuration while the server runs: in force as a whole, or not at all, and no request is lost over it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext};
use systemprompt_database::notify::{self, Event};
use systemprompt_extension::prelude::*;
use systemprompt_extension::{ExtensionContext, ExtensionHealth, Timeouts};
use systemprompt_server::reload::{ANSWERED, ASKED, Reloaded, Reloader, Report};

const LEAK: &str = concat!("AKIA", "IOSFODNN7EXAMPLQ");

/// A running server and the files it reads.
struct Running {
    server: TestContext,
    client: TestClient,
}

impl Running {
    async fn start() -> Self {
        let server = TestContext::builder()
            .profile("gateway", json!({"enabled": true}))
            .document(
                "governance/config.yaml",
                json!({"governance": {"policies": [{"id": "secret_scan", "action": "deny"}]}}),
            )
            .start()
            .await;
        let client = server.user("ada", &["user"]).await;
        Self { server, client }
    }

    fn profile(&self) -> PathBuf {
        self.server.configuration().profile_file.clone()
    }

    fn policies(&self) -> PathBuf {
        self.server.configuration().services.root.join("governance/config.yaml")
    }

    /// Changes a file as an operator would.
    fn edit(path: &PathBuf, change: impl FnOnce(&mut Value)) {
        let mut document = serde_json::from_slice(&std::fs::read(path).expect("the file")).expect("JSON is YAML");
        change(&mut document);
        std::fs::write(path, document.to_string()).expect("written");
    }

    async fn reload(&self) -> Reloaded {
        self.server.service::<Reloader>().expect("the server has one").reload().await
    }

    async fn ask(&self, model: &str, prompt: &str) -> u16 {
        let body = json!({"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": prompt}]});
        self.client.post("/v1/messages", &body).await.status.as_u16()
    }

    /// What the first requests to a model cost, once so many have ended.
    async fn costs(&self, model: &str, count: usize) -> Vec<i64> {
        for _ in 0..500 {
            self.server.catch_up().await;
            let costs: Vec<i64> = sqlx::query_scalar(
                "SELECT cost_microdollars FROM ai_requests WHERE requested_model = $1 AND status = 'completed' ORDER BY id",
            )
            .bind(model)
            .fetch_all(self.server.db().read())
            .await
            .expect("the costs");
            if costs.len() == count {
                return costs;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{count} requests to {model} never ended");
    }

    async fn health(&self) -> ExtensionHealth {
        let all = self.server.registry().health(&*self.server, Timeouts::default()).await;
        all.into_iter().find(|(id, _)| *id == "server").expect("the server is an extension").1
    }

    fn metric(&self, line: &str) -> bool {
        self.server.metrics().encode().lines().any(|shown| shown == line)
    }
}

fn applied(changed: &[&str], needs_restart: &[&str]) -> Reloaded {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Reloaded::Applied { changed: names(changed), needs_restart: names(needs_restart) }
}

fn second_provider(price: f64) -> Value {
    json!({"name": "second", "wire": "demo", "surface": "backend", "models": [
        {"id": "second-1", "pricing": {"input_per_million": price, "output_per_million": price}}]})
}

#[tokio::test]
async fn providers_policies_and_switches_change_while_it_runs() {
    let running = Running::start().await;
    assert_eq!(running.reload().await, Reloaded::Unchanged);
    assert_eq!(running.ask("second-1", "hello").await, 404);

    Running::edit(&running.profile(), |profile| {
        profile["providers"].as_array_mut().expect("a list").push(second_provider(1.0));
        profile["gateway"]["routes"] = json!([{"id": "other", "model_pattern": "other", "provider": "second",
            "upstream_model": "second-1"}]);
    });
    assert_eq!(running.reload().await, applied(&["gateway", "providers"], &[]));
    assert_eq!(running.ask("second-1", "hello").await, 200);
    assert_eq!(running.ask("other", "hello").await, 200);
    assert!(running.metric(
        r#"gateway_requests_total{provider="second",model="second-1",status="failed",dialect="openai-chat"} 0"#
    ));

    // A price counts from the next request.
    Running::edit(&running.profile(), |profile| profile["providers"][1] = second_provider(1_000_000.0));
    assert_eq!(running.reload().await, applied(&["providers"], &[]));
    assert_eq!(running.ask("second-1", "hello").await, 200);
    let costs = running.costs("second-1", 2).await;
    assert!(costs[1] > costs[0] * 1000, "{costs:?}");

    assert_eq!(running.ask("second-1", LEAK).await, 451);
    Running::edit(&running.policies(), |document| document["governance"]["policies"] = json!([]));
    assert_eq!(running.reload().await, applied(&["governance/config.yaml governance"], &[]));
    assert_eq!(running.ask("second-1", LEAK).await, 200);

    Running::edit(&running.profile(), |profile| profile["gateway"]["enabled"] = json!(false));
    assert_eq!(running.reload().await, applied(&["gateway"], &[]));
    assert_eq!(running.ask("second-1", "hello").await, 404);
}

#[tokio::test]
async fn what_is_not_valid_changes_nothing_and_is_told_everywhere() {
    let running = Running::start().await;
    let good = std::fs::read(running.profile()).expect("the profile");
    Running::edit(&running.profile(), |profile| {
        profile["providers"].as_array_mut().expect("a list").push(second_provider(1.0));
        profile["gateway"]["default_provider"] = json!("nobody");
    });
    let Reloaded::Refused { problems } = running.reload().await else {
        panic!("it names a provider that is not there")
    };
    assert!(problems.iter().any(|problem| problem.contains("no provider is called `nobody`")), "{problems:?}");
    assert_eq!(running.ask("second-1", "hello").await, 404, "not half of it is in force");
    assert_eq!(running.ask("demo-1", "hello").await, 200);
    assert!(running.metric("config_rejected 1") && running.metric(r#"config_reloads_total{outcome="refused"} 1"#));
    assert!(
        matches!(running.health().await, ExtensionHealth::Degraded(why) if why.contains("nobody")),
        "the health page says so"
    );

    std::fs::write(running.profile(), good).expect("put back");
    assert_eq!(running.reload().await, Reloaded::Unchanged);
    assert!(running.metric("config_rejected 0"));
    assert!(running.health().await.is_healthy());
}

#[tokio::test]
async fn what_waits_for_a_restart_is_named_and_the_rest_is_in_force() {
    let running = Running::start().await;
    Running::edit(&running.profile(), |profile| {
        profile["server"]["shutdown_grace_secs"] = json!(7);
        profile["gateway"]["inference_path_prefix"] = json!("/other/v1");
        profile["providers"].as_array_mut().expect("a list").push(second_provider(1.0));
    });
    let secrets =
        running.server.configuration().profile_path(&running.server.configuration().profile.secrets.secrets_path);
    Running::edit(&secrets, |secrets| secrets["jwt_secret"] = json!("a secret that is long enough to be one"));
    assert_eq!(
        running.reload().await,
        applied(
            &["gateway", "providers", "server", "secrets.jwt_secret"],
            &["server", "secrets.jwt_secret", "gateway.inference_path_prefix"]
        )
    );
    assert_eq!(running.ask("second-1", "hello").await, 200, "at the path it was mounted at");
    assert!(matches!(running.health().await, ExtensionHealth::Degraded(why) if why.contains("restart")));

    // It still waits when something else changes, and does not when it is as it was.
    Running::edit(&running.profile(), |profile| profile["providers"][1] = second_provider(2.0));
    let Reloaded::Applied { changed, needs_restart } = running.reload().await else { panic!("it is valid") };
    assert_eq!((changed.as_slice(), needs_restart.len()), (&["providers".to_owned()][..], 3), "{needs_restart:?}");
    assert_eq!(running.reload().await, Reloaded::Unchanged);
    assert!(!running.health().await.is_healthy());
    Running::edit(&running.profile(), |profile| {
        profile["server"].as_object_mut().expect("a map").remove("shutdown_grace_secs");
        profile["gateway"]["inference_path_prefix"] = json!("/v1");
    });
    Running::edit(&secrets, |secrets| drop(secrets.as_object_mut().expect("a map").remove("jwt_secret")));
    assert!(matches!(running.reload().await, Reloaded::Applied { needs_restart, .. } if needs_restart.is_empty()));
    assert!(running.health().await.is_healthy());
}

#[tokio::test]
async fn whoever_asks_through_the_database_gets_an_answer_of_every_server() {
    let running = Running::start().await;
    let mut answers = running.server.notifications().subscribe(ANSWERED);
    assert_eq!(answers.next().await, Some(Event::Reconnected));
    Running::edit(&running.profile(), |profile| {
        profile["providers"].as_array_mut().expect("a list").push(second_provider(1.0));
    });
    notify::notify(running.server.db().write(), ASKED, "a word").await.expect("asked");
    let Some(Event::Notification(answer)) = answers.next().await else { panic!("no answer") };
    let report: Report = serde_json::from_str(&answer).expect("a report");
    assert_eq!((report.asked.as_str(), report.reloaded), ("a word", applied(&["providers"], &[])));
    assert_eq!(running.ask("second-1", "hello").await, 200);
}
