//! Keys of the profile that change how the server runs and speaks.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use systemprompt_database::testing::{TestDatabase, empty_database};
use systemprompt_mock_upstream::MockUpstream;
use tempfile::TempDir;

use crate::harness::{Instance, Setup, command, document, hello, path, prepare};

/// A home whose profile was edited, and what its server needs.
async fn home(edit: impl FnOnce(&std::path::Path, String) -> String) -> (MockUpstream, TempDir, TestDatabase) {
    let mock = MockUpstream::start().await.expect("a free port");
    let home = TempDir::new().expect("a directory");
    let database = empty_database().await;
    prepare(home.path(), &mock, &Setup::default(), Some(database.url.expose()));
    let file = home.path().join("home/profiles/local/profile.yaml");
    let text = std::fs::read_to_string(&file).expect("a profile");
    std::fs::write(&file, edit(home.path(), text)).expect("writable");
    (mock, home, database)
}

#[tokio::test]
async fn rate_limits_know_the_client_behind_a_trusted_proxy() {
    let (mock, home, _database) = home(|_, text| {
        text.replace("server:\n", "server:\n  trusted_proxies: [127.0.0.1]\n")
            .replace("  disabled: true\n", "  gateway_per_second: 2\n  burst_multiplier: 1\n")
            .replace("log_level: normal", "log_level: verbose")
    })
    .await;
    let mut instance = Instance::adopt(mock, home);
    let from = async |client: &str| {
        let headers = [("x-forwarded-for", client), ("x-api-key", "")];
        instance.send(Method::POST, "/v1/messages", &headers, hello("claude-test").to_string()).await
    };
    // Callers without a credential have half the rate: one request per second.
    let mut refused = from("203.0.113.5").await;
    let begun = Instant::now();
    while refused.status != 429 {
        assert_eq!(refused.status, 401, "{}", refused.text());
        assert!(begun.elapsed() < Duration::from_mins(1), "it is never refused");
        refused = from("203.0.113.5").await;
    }
    assert_eq!((refused.header("retry-after"), refused.header("x-rate-limit-tier")), (Some("1"), Some("anon")));
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
    assert_eq!(from("203.0.113.6").await.status, 401, "another client has its own bucket");
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200, "and so has a caller with a key");

    instance.signal(Signal::TERM);
    let (status, log) = instance.wait();
    assert!(status.success(), "{log}");
    assert!(log.contains(r#""client_ip":"203.0.113.5""#), "{log}");
    assert!(log.contains("request served"), "the profile asks for a verbose log: {log}");
}

#[tokio::test]
async fn buckets_may_be_shared_through_the_database() {
    let (mock, home, _database) =
        home(|_, text| text.replace("  disabled: true\n", "  backend: postgres\n  tier_multipliers: { anon: 0 }\n"))
            .await;
    let instance = Instance::adopt(mock, home);
    for _ in 0..5 {
        assert_eq!(instance.messages(&hello("claude-test")).await.status, 200);
    }
    let buckets = instance.cli(&["infra", "db", "query", "SELECT name, unit FROM leases WHERE name LIKE 'http.%'"]);
    assert_eq!(buckets["rows"], serde_json::json!([["http.gateway", "requests"]]));
    let blocked = instance.send(Method::POST, "/v1/messages", &[("x-api-key", "")], "{}").await;
    assert_eq!((blocked.status.as_u16(), blocked.header("x-ratelimit-limit")), (429, Some("0")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_speaks_tls_when_it_has_a_certificate() {
    let (mock, home, _database) = home(|directory, text| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let write = |name: &str, text: String| {
            std::fs::write(directory.join("home/profiles/local").join(name), text).expect("writable");
        };
        write("cert.pem", made.cert.pem());
        write("key.pem", made.signing_key.serialize_pem());
        text.replace("server:\n", "server:\n  tls: { cert_path: cert.pem, key_path: key.pem }\n")
            .replace("api_external_url: http://", "api_external_url: https://")
    })
    .await;
    let mut instance = Instance::adopt(mock, home);
    assert!(instance.url.starts_with("https://127.0.0.1:"), "{}", instance.url);
    assert_eq!(instance.cli(&["infra", "services", "status"])["health"], "ready", "its own commands trust it");

    let address = instance.url.trim_start_matches("https://");
    let mut plain = std::net::TcpStream::connect(address).expect("a connection");
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").expect("writes");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "nothing is said in the clear");

    instance.signal(Signal::TERM);
    assert!(instance.wait().0.success());
    let key = path(&instance, "profiles/local/key.pem");
    std::fs::write(&key, "no key").expect("writable");
    let output = command(instance.home.path()).args(["--json", "up", "--port", "0"]).output().expect("the binary runs");
    let said = document(&output)["error"].clone();
    assert_eq!((said["code"].as_str(), output.status.code()), (Some("tls_unusable"), Some(3)), "{said}");
    assert!(said["message"].as_str().is_some_and(|message| message.contains("key.pem")), "{said}");
}

#[tokio::test]
async fn the_profile_decides_how_commands_speak_unless_told_otherwise() {
    let (_mock, home, _database) = home(|_, text| text.replace("output_format: text", "output_format: yaml")).await;
    let show = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = command(home.path());
        let command = command.envs(variables.iter().copied()).args(["plugins", "list"]).args(flags);
        String::from_utf8(command.output().expect("the binary runs").stdout).expect("text")
    };
    let (profile, environment, flag) = (
        show(&[], &[]),
        show(&[("SYSTEMPROMPT_OUTPUT_FORMAT", "text")], &[]),
        show(&[("SYSTEMPROMPT_OUTPUT_FORMAT", "text")], &["--json"]),
    );
    assert!(profile.trim_start().starts_with('-') || profile.contains(":\n"), "YAML: {profile}");
    assert_ne!(profile, environment);
    assert!(serde_json::from_str::<serde_json::Value>(&flag).is_ok(), "{flag}");
    assert!(serde_json::from_str::<serde_json::Value>(&environment).is_err(), "{environment}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_managed_database_that_dies_is_started_again() {
    let instance = Instance::with(Setup { managed: true, ..Setup::default() }).await;
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200);
    let before = instance.cli(&["infra", "services", "status"])["cluster"]["pid"].as_i64().expect("a process");
    let pid = Pid::from_raw(i32::try_from(before).expect("a process id")).expect("a process id");
    kill_process(pid, Signal::KILL).expect("our own");
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let now = instance.cli(&["infra", "services", "status"])["cluster"]["pid"].as_i64();
        if now.is_some_and(|pid| pid != before) && instance.messages(&hello("claude-test")).await.status == 200 {
            break;
        }
        assert!(Instant::now() < deadline, "it stays dead");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
