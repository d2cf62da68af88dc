//! Starting, stopping, dying and coming back.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;
use rustix::process::Signal;
use serde_json::{Value, json};
use systemprompt_database::testing::TestCluster;
use systemprompt_mock_upstream::{Behaviour, MockUpstream};
use tempfile::TempDir;

use crate::harness::{self, Instance, Setup, command, hello, path, prepare};

/// The one error of a command that failed.
fn error(output: &std::process::Output) -> Value {
    assert!(!output.status.success());
    harness::document(output)["error"].clone()
}

#[tokio::test]
async fn the_first_run_sets_everything_up_and_the_next_reuses_it() {
    let mut instance = Instance::with(Setup { managed: true, ..Setup::default() }).await;
    for key in ["url", "api_key", "admin_email", "home", "pid", "version"] {
        assert!(!instance.ready[key].is_null(), "{key}: {}", instance.ready);
    }
    assert!(instance.key.starts_with("sp-live-"));
    let mode = |below: &str| std::fs::metadata(path(&instance, below)).expect(below).permissions().mode() & 0o777;
    assert_eq!(mode("profiles/local/secrets.json"), 0o600);
    assert_eq!(mode("profiles/local/signing_key.pem"), 0o600);
    assert_eq!(mode("profiles/local/profile.yaml"), 0o644);
    assert_eq!(mode(""), 0o700);
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200);

    instance.signal(Signal::TERM);
    let (status, _) = instance.wait();
    assert!(status.success());
    let stopped = harness::document(
        &command(instance.home.path())
            .args(["--json", "infra", "services", "status"])
            .output()
            .expect("the binary runs"),
    );
    assert!(
        stopped.to_string().contains("\"running\":false") || stopped["error"]["code"] == "not_running",
        "{stopped}"
    );

    instance.start_again();
    assert!(instance.ready.get("api_key").is_none(), "the key is shown once: {}", instance.ready);
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200, "the key is still good");
}

#[tokio::test]
async fn commands_find_the_database_of_a_stopped_home() {
    let mut instance = Instance::with(Setup { managed: true, ..Setup::default() }).await;
    instance.signal(Signal::TERM);
    assert!(instance.wait().0.success());
    assert_eq!(instance.cli(&["admin", "users", "count"])["count"], 1);
    assert_eq!(instance.cli(&["infra", "db", "status"])["connected"], true);
    assert!(!path(&instance, "postgres/data/postmaster.pid").exists(), "a command stops the cluster it started");
}

#[tokio::test]
async fn what_can_be_wrong_at_the_start_is_said_in_one_message() {
    let mock = MockUpstream::start().await.expect("a free port");
    let fresh = || TempDir::new().expect("a directory");
    let up = |home: &TempDir, arguments: &[&str]| {
        let output =
            command(home.path()).args(["--json", "up", "--no-demo"]).args(arguments).output().expect("the binary runs");
        error(&output)
    };

    // The port is taken: nothing is written.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let home = fresh();
    let said = up(&home, &["--port", &port]);
    assert_eq!(said["code"], "port_in_use", "{said}");
    assert!(
        said["message"].as_str().unwrap_or_default().contains(&port)
            && said["help"].as_str().unwrap_or_default().contains("--port"),
        "{said}"
    );
    assert!(!home.path().join("home/profiles").exists(), "half a home was written");

    // The home is a file.
    let home = TempDir::new().expect("a directory");
    std::fs::write(home.path().join("home"), "").expect("a file");
    let said = up(&home, &["--port", "0"]);
    assert_eq!(said["code"], "home_not_writable", "{said}");

    // No PostgreSQL to be found.
    let home = fresh();
    let output = command(home.path())
        .env("SYSTEMPROMPT_PG_BIN", home.path())
        .env("PATH", home.path())
        .args(["--json", "up", "--port", "0"])
        .output()
        .expect("the binary runs");
    let said = error(&output);
    assert!(
        said["message"].as_str().unwrap_or_default().contains("SYSTEMPROMPT_PG_BIN") && !said["help"].is_null(),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 0, "nothing was made");

    // A broken profile: every problem with its file and key.
    let home = fresh();
    prepare(home.path(), &mock, &Setup::default(), None);
    let file = home.path().join("home/profiles/local/profile.yaml");
    let text = std::fs::read_to_string(&file).expect("a profile");
    std::fs::write(&file, text.replace("port: ", "prot: ").replace("enabled: true", "enabled: perhaps"))
        .expect("writable");
    let said = up(&home, &["--port", "0"]);
    let message = said["message"].as_str().unwrap_or_default();
    assert_eq!(said["code"], "profile_invalid", "{said}");
    assert!(
        message.contains("profile.yaml:") && message.contains("prot") && message.contains("gateway.enabled"),
        "{message}"
    );

    // A database that is not there.
    let home = fresh();
    prepare(home.path(), &mock, &Setup::default(), Some("postgres://nobody@127.0.0.1:1/none"));
    let said = up(&home, &["--port", "0"]);
    assert_eq!(said["code"], "db_unreachable", "{said}");
    assert!(said["message"].as_str().unwrap_or_default().contains("127.0.0.1"), "{said}");
}

/// Starts a first server with this command, waits until `begun` says that it has come so far, and sends it a signal.
fn interrupted_start(start: &[&str], signal: Signal, begun: impl Fn(&std::path::Path) -> bool) {
    let home = TempDir::new().expect("a directory");
    let child = command(home.path())
        .arg("--json")
        .args(start)
        .args(["--port", "0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let deadline = Instant::now() + Duration::from_mins(1);
    while !begun(&home.path().join("home")) {
        assert!(Instant::now() < deadline, "it does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    let told = Instant::now();
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("our own child");
    let output = child.wait_with_output().expect("it ends");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(told.elapsed() < Duration::from_secs(20), "{log}");
    assert_eq!(output.status.code(), Some(130), "{log}");
    assert_eq!(error(&output)["code"], "interrupted", "{log}");
    let status = harness::document(&harness::run(home.path(), &["--json", "infra", "services", "status"]));
    assert!(status["running"] == false && status["cluster"]["pid"].is_null(), "{status}\n{log}");

    // What was left behind does not hinder the next start.
    let ended = harness::run(home.path(), &["--json", "admin", "users", "count"]);
    assert!(ended.status.success() || error(&ended)["code"] != "db_cluster", "{ended:?}");
    harness::remove_cluster(home.path());
}

#[test]
fn a_start_that_is_told_to_stop_leaves_nothing_running() {
    // While the database is being created.
    interrupted_start(&["up"], Signal::TERM, |home| home.join("run/instance.json").exists());
    // While PostgreSQL starts, or the server after it; the terminal was closed.
    let postmaster = |home: &std::path::Path| {
        let elsewhere = std::fs::read_to_string(home.join("postgres/location")).ok();
        let place = elsewhere.map_or_else(|| home.join("postgres"), |place| place.trim().into());
        place.join("data/postmaster.pid").exists()
    };
    interrupted_start(&["up"], Signal::HUP, postmaster);
    // The one that waits for a server in the background passes the word on.
    interrupted_start(&["infra", "services", "start"], Signal::TERM, postmaster);
}

#[test]
fn looking_makes_nothing() {
    let home = TempDir::new().expect("a directory");
    let output = harness::run(home.path(), &["--json", "infra", "services", "status"]);
    assert_eq!((output.status.code(), harness::document(&output)["running"].clone()), (Some(1), json!(false)));
    assert!(harness::run(home.path(), &["infra", "services", "stop"]).status.success());
    assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 0);
}

#[tokio::test]
async fn one_home_has_one_server() {
    let instance = Instance::start().await;
    let second = command(instance.home.path()).args(["--json", "up", "--port", "0"]).output().expect("the binary runs");
    let said = error(&second);
    assert_eq!((said["code"].as_str(), second.status.code()), (Some("already_running"), Some(5)), "{said}");
    assert!(said["message"].as_str().unwrap_or_default().contains(&instance.url), "{said}");
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200, "the first goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_a_killed_server_gave_is_in_the_ledger() {
    let mut instance = Instance::with(Setup { managed: true, ..Setup::default() }).await;
    let stream = json!({"model": "claude-test", "max_tokens": 10, "stream": true, "messages": [{"role": "user", "content": "a long one"}]});
    instance.mock.behave(Behaviour { chunks: 1000, chunk_delay_ms: 50, ..Behaviour::default() });
    let mut open = instance.open(Method::POST, "/v1/messages", &[], stream.to_string()).await;
    let interrupted = open.headers["x-systemprompt-request-id"].to_str().expect("an id").to_owned();
    assert!(open.chunk().await.is_some());
    instance.mock.behave(Behaviour::default());

    // Answers until the server dies; the killer strikes while they come.
    let answered = std::sync::Mutex::new(Vec::new());
    let load = async |worker: usize| {
        for turn in 0.. {
            let body = json!({"model": "claude-test", "max_tokens": 10, "messages": [{"role": "user", "content": format!("{worker}.{turn}")}]});
            let request =
                http::Request::post(format!("{}/v1/messages", instance.url)).header("x-api-key", &instance.key);
            let request =
                request.body(http_body_util::Full::new(bytes::Bytes::from(body.to_string()))).expect("a request");
            let client: hyper_util::client::legacy::Client<_, http_body_util::Full<bytes::Bytes>> =
                hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
            let Ok(response) = client.request(request).await else { return };
            // What could not be recorded in time has no id, and was not done.
            let Some(id) = response.headers().get("x-systemprompt-request-id") else { continue };
            let id = id.to_str().expect("an id").to_owned();
            if response.status() == 200 && response.into_body().collect().await.is_ok() {
                answered.lock().expect("no panic").push(id);
            }
        }
    };
    let killer = async {
        while answered.lock().expect("no panic").len() < 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        instance.signal(Signal::KILL);
    };
    futures_util::future::join(futures_util::future::join_all((0..8).map(load)), killer).await;
    drop(open);
    instance.wait();

    instance.start_again();
    let answered = answered.into_inner().expect("no panic");
    let list = answered.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    let found =
        instance.cli(&["infra", "db", "query", &format!("SELECT COUNT(*) FROM ai_requests WHERE id IN ({list})")]);
    assert_eq!(found["rows"][0][0], json!(answered.len()), "an answer was given that is not in the ledger");
    let record = instance.record(&interrupted).await;
    assert_eq!(record["status"], "failed", "what had been seen of it counts: {record}");
    let open = instance.cli(&["infra", "db", "query", "SELECT COUNT(*) FROM ai_requests WHERE status = 'pending'"]);
    assert_eq!(open["rows"][0][0], json!(0));
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_nothing_is_sent_and_all_is_well_when_it_is_back() {
    let cluster = TestCluster::start().await;
    let mock = MockUpstream::start().await.expect("a free port");
    let home = TempDir::new().expect("a directory");
    prepare(home.path(), &mock, &Setup::default(), Some(cluster.url().expose()));
    let instance = Instance::adopt(mock, home);
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200);
    let before = instance.mock.statistics().requests;

    cluster.stop();
    for _ in 0..5 {
        let answer = instance.messages(&hello("claude-test")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"]["type"].as_str()),
            (503, Some("api_error")),
            "{}",
            answer.text()
        );
        assert!(answer.header("retry-after").is_some(), "it will be back: {}", answer.text());
    }
    assert_eq!(instance.mock.statistics().requests, before, "nothing may be sent that cannot be recorded");
    assert_eq!(instance.send(Method::GET, "/health", &[], "").await.status, 503);
    assert_eq!(instance.send(Method::GET, "/livez", &[], "").await.status, 200);

    cluster.restart();
    let deadline = Instant::now() + Duration::from_secs(30);
    while instance.messages(&hello("claude-test")).await.status != 200 {
        assert!(Instant::now() < deadline, "it does not recover");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What the database answered to the last question is believed for a second.
    while instance.send(Method::GET, "/health", &[], "").await.status != 200 {
        assert!(Instant::now() < deadline, "it stays unhealthy");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(instance);
    drop(cluster);
}

/// Whether the server says it is well, everywhere where it says so.
async fn says_it_is_well(instance: &Instance) -> [bool; 3] {
    let (ready, health, metrics) = futures_util::future::join3(
        instance.send(Method::GET, "/readyz", &[], ""),
        instance.send(Method::GET, "/health", &[], ""),
        instance.send(Method::GET, "/metrics", &[], ""),
    )
    .await;
    [ready.status == 200, health.status == 200, metrics.text().contains("\nledger_available 1\n")]
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_told_of_an_outage_within_two_seconds_and_once() {
    let cluster = TestCluster::start().await;
    let mock = MockUpstream::start().await.expect("a free port");
    let home = TempDir::new().expect("a directory");
    prepare(home.path(), &mock, &Setup::default(), Some(cluster.url().expose()));
    let mut instance = Instance::adopt(mock, home);
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200);
    let database = sqlx::PgPool::connect(cluster.url().expose()).await.expect("the database");
    let disk_full = "
        CREATE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER refused BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION refuse_row();";

    for fault in ["disk full", "frozen"] {
        let sent = instance.mock.statistics().requests;
        match fault {
            "frozen" => cluster.freeze(),
            _ => drop(sqlx::raw_sql(disk_full).execute(&database).await.expect("a trigger")),
        }
        let begun = Instant::now();
        let refused = instance.messages(&hello("claude-test")).await;
        assert_eq!(refused.status, 503, "{fault}: {}", refused.text());
        while says_it_is_well(&instance).await != [false; 3] {
            assert!(begun.elapsed() < Duration::from_secs(10), "{fault}: {:?}", says_it_is_well(&instance).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let told = begun.elapsed();
        if fault == "disk full" {
            assert!(told < Duration::from_secs(2), "{fault}: {told:?}");
            let ready = instance.send(Method::GET, "/readyz", &[], "").await.json();
            assert_eq!(ready, json!({"status": "unhealthy", "features": ["governance"]}));
            let detail = instance.send(Method::GET, "/api/v1/health/detail", &[], "").await;
            assert!(detail.text().contains("no disk space left"), "{}", detail.text());
        }
        // The server goes on trying meanwhile, and does not say so each time.
        tokio::time::sleep(Duration::from_secs(3)).await;
        match fault {
            "frozen" => cluster.thaw(),
            _ => drop(sqlx::raw_sql("DROP TRIGGER refused ON ledger").execute(&database).await.expect("dropped")),
        }
        assert!(told < Duration::from_secs(4), "{fault}: {told:?}, requests that wait included");
        let deadline = Instant::now() + Duration::from_secs(20);
        while says_it_is_well(&instance).await != [true; 3] {
            assert!(Instant::now() < deadline, "{fault}: {:?}", says_it_is_well(&instance).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(instance.mock.statistics().requests, sent, "{fault}: nothing may be sent that cannot be recorded");
        let answer = instance.messages(&hello("claude-test")).await;
        assert_eq!(answer.status, 200, "{fault}: {}", answer.text());
    }

    instance.signal(Signal::TERM);
    let (status, log) = instance.wait();
    assert!(status.success(), "{log}");
    for said in ["the ledger cannot be written; requests are refused", "the ledger can be written again"] {
        assert_eq!(log.lines().filter(|line| line.contains(said)).count(), 2, "`{said}` once for each outage: {log}");
    }
    for reason in ["PostgreSQL has no disk space left", "PostgreSQL does not answer"] {
        assert!(log.contains(reason), "{log}");
    }
    // One for each request that failed, and a few of those who need the database themselves.
    let complains = |line: &&str| {
        ["ERROR", "WARN"].iter().any(|level| line.contains(level))
            && !["access_log", "a model request failed"].iter().any(|about| line.contains(about))
    };
    let complaints: Vec<_> = log.lines().filter(complains).collect();
    assert!(complaints.len() < 12, "{} complaints about two outages: {complaints:#?}", complaints.len());
    drop(instance);
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_told_to_stop_lets_open_streams_finish() {
    let mut instance = Instance::start().await;
    instance.mock.behave(Behaviour { chunks: 20, chunk_delay_ms: 100, ..Behaviour::default() });
    let streams = open_streams(&instance, 50).await;
    instance.signal(Signal::TERM);
    let mut finished = 0;
    for mut stream in streams {
        let mut text = Vec::new();
        while let Some(chunk) = stream.chunk().await {
            text.extend_from_slice(&chunk);
        }
        finished += usize::from(String::from_utf8_lossy(&text).contains("message_stop"));
    }
    assert_eq!(finished, 50);
    let (status, log) = instance.wait();
    assert!(status.success(), "{log}");
    assert!(std::net::TcpStream::connect(instance.url.trim_start_matches("http://")).is_err());
    let open = instance.cli(&["infra", "db", "query", "SELECT status, COUNT(*) FROM ai_requests GROUP BY status"]);
    assert_eq!(open["rows"], json!([["completed", 50]]), "every outcome was written before the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_outlast_the_grace_are_told_why_they_end() {
    let mut instance = Instance::start().await;
    instance.signal(Signal::TERM);
    instance.wait();
    let file = path(&instance, "profiles/local/profile.yaml");
    let text =
        std::fs::read_to_string(&file).expect("a profile").replace("server:\n", "server:\n  shutdown_grace_secs: 1\n");
    std::fs::write(&file, text).expect("writable");
    instance.start_again();
    instance.mock.behave(Behaviour { chunks: 10_000, chunk_delay_ms: 50, ..Behaviour::default() });
    let streams = open_streams(&instance, 5).await;
    instance.signal(Signal::TERM);
    for mut stream in streams {
        let mut text = Vec::new();
        while let Some(chunk) = stream.chunk().await {
            text.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(
            text.contains("event: error") && text.contains("shutting down"),
            "{}",
            &text[text.len().saturating_sub(300)..]
        );
    }
    let (status, log) = instance.wait();
    assert!(status.success(), "{log}");
    let open = instance.cli(&["infra", "db", "query", "SELECT status, COUNT(*) FROM ai_requests GROUP BY status"]);
    assert_eq!(open["rows"], json!([["failed", 5]]));
}

/// Streams of which the first piece has arrived.
async fn open_streams(instance: &Instance, count: usize) -> Vec<harness::Open> {
    let body = json!({"model": "claude-test", "max_tokens": 10, "stream": true, "messages": [{"role": "user", "content": "Hello"}]}).to_string();
    futures_util::future::join_all((0..count).map(async |_| {
        let mut open = instance.open(Method::POST, "/v1/messages", &[], body.clone()).await;
        assert_eq!(open.status, 200);
        assert!(open.chunk().await.is_some());
        open
    }))
    .await
}

#[test]
fn a_service_runs_in_the_background_until_it_is_stopped() {
    let home = TempDir::new().expect("a directory");
    let json = |arguments: &[&str]| {
        let output = command(home.path()).arg("--json").args(arguments).output().expect("the binary runs");
        (output.status.success(), harness::document(&output))
    };
    let (started, ready) = json(&["infra", "services", "start", "--port", "0"]);
    assert!(started && ready["api_key"].as_str().is_some_and(|key| key.starts_with("sp-live-")), "{ready}");
    let profile = std::fs::read_to_string(home.path().join("home/profiles/local/profile.yaml")).expect("a profile");
    assert!(profile.contains("  port: 8080\n"), "a port taken for one run is not written down: {profile}");
    let (running, status) = json(&["infra", "services", "status"]);
    assert!(running && status["running"] == true && status["health"] == "ready", "{status}");
    assert!(!json(&["infra", "services", "start", "--port", "0"]).0, "it runs already");
    assert!(json(&["infra", "services", "stop"]).0);
    assert!(!json(&["infra", "services", "status"]).0);
    harness::remove_cluster(home.path());
}
