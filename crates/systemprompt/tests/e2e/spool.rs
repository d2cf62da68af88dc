//! Serving while the database is away, where the profile has it so.

use std::time::{Duration, Instant};

use http::Method;
use rustix::process::Signal;
use serde_json::json;
use systemprompt_database::testing::TestCluster;
use systemprompt_mock_upstream::MockUpstream;
use tempfile::TempDir;

use crate::harness::{Instance, Setup, hello, path, prepare};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_while_the_database_is_away_is_in_the_ledger_when_it_is_back() {
    let cluster = TestCluster::start().await;
    let mock = MockUpstream::start().await.expect("a free port");
    let home = TempDir::new().expect("a directory");
    let profile = "audit:\n  on_store_failure: spool\n".to_owned();
    prepare(home.path(), &mock, &Setup { profile, ..Setup::default() }, Some(cluster.url().expose()));
    let mut instance = Instance::adopt(mock, home);
    for killed in [true, false] {
        // Who asks is known, and what they may.
        let deadline = Instant::now() + Duration::from_secs(10);
        while instance.send(Method::GET, "/api/v1/health/detail", &[], "").await.json()["database"]["listening"] != true
        {
            assert!(Instant::now() < deadline, "it hears no announcements");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(instance.messages(&hello("claude-test")).await.status, 200);
        cluster.stop();
        let deadline = Instant::now() + Duration::from_secs(10);
        let ready = loop {
            let ready = instance.send(Method::GET, "/readyz", &[], "").await;
            if ready.status == 200 && ready.json()["status"] == "degraded" {
                break ready.json();
            }
            assert!(Instant::now() < deadline, "{}", ready.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(ready["features"].as_array().is_some_and(|some| some.contains(&json!("governance"))), "{ready}");
        let mut done = Vec::new();
        for _ in 0..20 {
            let answer = instance.messages(&hello("claude-test")).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            done.push(answer.request_id().to_owned());
        }
        // Who was not known before is not let in now.
        let stranger = instance.send(Method::POST, "/v1/messages", &[("x-api-key", "sp-live-nobody")], "{}").await;
        assert!([401, 503].contains(&stranger.status.as_u16()), "{}", stranger.text());
        if killed {
            instance.signal(Signal::KILL);
            instance.wait();
            assert!(std::fs::read_dir(path(&instance, "ledger/journal")).expect("a journal").count() > 1);
            cluster.restart();
            instance.start_again();
        } else {
            cluster.restart();
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while instance.send(Method::GET, "/readyz", &[], "").await.json()["status"] != "ready" {
            assert!(Instant::now() < deadline, "it does not recover");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for id in &done {
            let record = instance.record(id).await;
            assert_eq!(record["status"], "completed", "killed: {killed}: {record}");
        }
        let verified = instance.cli(&["infra", "logs", "audit", "verify"]);
        assert_eq!(verified["problems"], json!([]), "{verified}");
    }
    drop(instance);
    drop(cluster);
}
