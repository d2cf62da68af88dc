//! A running `systemprompt` of a test's own: the real binary, a database or cluster of its own, a mock upstream.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use systemprompt_database::testing::{TestDatabase, empty_database};
use systemprompt_mock_upstream::MockUpstream;
use tempfile::TempDir;

/// Nothing in these tests takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// The binary under test, in a home of its own, with an environment that holds nothing of the developer's.
pub fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_systemprompt"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("NO_COLOR", "1")
        .current_dir(home)
        .arg("--home")
        .arg(home.join("home"))
        .stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub fn run(home: &Path, arguments: &[&str]) -> Output {
    command(home).args(arguments).output().expect("the binary runs")
}

/// The JSON document a command printed.
pub fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

/// How the instance of a test differs from the usual one.
#[derive(Default)]
pub struct Setup {
    /// Whether it runs its own cluster instead of a database in the shared one.
    pub managed: bool,
    /// YAML of the `providers` key; the mock under both wires unless given.
    pub providers: Option<String>,
    /// Lines added to the `gateway` key.
    pub gateway: String,
    /// Further top-level YAML of the profile.
    pub profile: String,
    /// Content of `services/governance/config.yaml` instead of the default.
    pub governance: Option<String>,
    /// Content of `services/gateway/policies.yaml`, which is not there by default.
    pub quotas: Option<String>,
    /// Further arguments of `up`.
    pub arguments: Vec<String>,
}

/// A running server.
pub struct Instance {
    pub url: String,
    pub key: String,
    pub mock: MockUpstream,
    pub home: TempDir,
    pub ready: Value,
    child: Child,
    stderr: Option<std::thread::JoinHandle<String>>,
    _database: Option<TestDatabase>,
}

/// The mock as two providers, `claude-test` and `gpt-test`.
///
/// One request is one attempt, and one failure is no reason to leave a provider alone: that is what `in_process/failover.rs`
/// is about.
pub fn mock_providers(endpoint: &str) -> String {
    let once = "resilience: { retry_attempts: 0, breaker_failure_threshold: 0 }";
    format!(
        "- name: mock-anthropic\n  wire: anthropic\n  surface: anthropic\n  endpoint: {endpoint}\n  api_key_secret: anthropic\n  {once}\n  models:\n  \
         - id: claude-test\n    aliases: [claude-alias]\n    upstream_model: claude-upstream\n    pricing: {{ input_per_million: 3, output_per_million: 15 }}\n    limits: {{ max_output_tokens: 1000 }}\n\
         - name: mock-openai\n  wire: openai-chat\n  surface: openai\n  endpoint: {endpoint}\n  api_key_secret: openai\n  {once}\n  models:\n  \
         - id: gpt-test\n    pricing: {{ input_per_million: 1, output_per_million: 2 }}\n\
         - name: demo\n  wire: demo\n  surface: anthropic\n"
    )
}

/// Writes a profile whose providers are the mock's.
pub fn prepare(home: &Path, mock: &MockUpstream, setup: &Setup, database_url: Option<&str>) {
    let written = command(home)
        .args([
            "admin",
            "setup",
            "-e",
            "local",
            "--anthropic-key",
            "sk-upstream-anthropic",
            "--openai-key",
            "sk-upstream-openai",
        ])
        .output()
        .expect("the binary runs");
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let profile = home.join("home/profiles/local/profile.yaml");
    let text = std::fs::read_to_string(&profile).expect("a profile");
    let providers = setup.providers.clone().unwrap_or_else(|| mock_providers(&mock.endpoint()));
    let indented = |text: &str| text.lines().map(|line| format!("  {line}\n")).collect::<String>();
    let text = replace_key(&text, "providers", &indented(&providers));
    let switch = if setup.gateway.contains("enabled:") { "" } else { "enabled: true\n" };
    let text = replace_key(&text, "gateway", &indented(&format!("{switch}{}", setup.gateway)));
    // A test says itself when its files are to be read again.
    let text = text.replacen("server:\n", "server:\n  watch_configuration: false\n", 1);
    std::fs::write(&profile, format!("{text}\n{}", setup.profile)).expect("the profile is writable");
    let roles = home.join("home/services/access-control/tests.yaml");
    std::fs::write(roles, "roles:\n  - name: analyst\n").expect("the services are writable");
    if let Some(governance) = &setup.governance {
        let services = home.join("home/services/governance/config.yaml");
        std::fs::write(services, governance).expect("the services are writable");
    }
    if let Some(quotas) = &setup.quotas {
        let services = home.join("home/services/gateway");
        std::fs::create_dir_all(&services).expect("the services are writable");
        std::fs::write(services.join("policies.yaml"), quotas).expect("the services are writable");
    }
    if let Some(url) = database_url {
        let file = home.join("home/profiles/local/secrets.json");
        let mut secrets: Value = serde_json::from_slice(&std::fs::read(&file).expect("secrets")).expect("JSON");
        secrets["database_url"] = json!(url);
        std::fs::write(&file, secrets.to_string()).expect("secrets are writable");
    }
}

/// A top-level key of a YAML text with another block below it.
fn replace_key(text: &str, key: &str, block: &str) -> String {
    let mut out = String::new();
    let mut skipping = false;
    for line in text.lines() {
        if line.starts_with(&format!("{key}:")) {
            skipping = true;
            out.push_str(&format!("{key}:\n{block}"));
        } else if !skipping || (!line.starts_with([' ', '-']) && !line.is_empty()) {
            skipping = false;
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

impl Instance {
    /// Starts one as usual.
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// Starts one that differs from the usual.
    pub async fn with(setup: Setup) -> Self {
        let mock = MockUpstream::start().await.expect("a free port");
        let home = TempDir::new().expect("a directory");
        let database = if setup.managed { None } else { Some(empty_database().await) };
        prepare(home.path(), &mock, &setup, database.as_ref().map(|database| database.url.expose()));
        let arguments: Vec<_> = setup.arguments.iter().map(String::as_str).collect();
        let (child, stderr, ready) = spawn(home.path(), &arguments);
        let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
        Self { url: text("url"), key: text("api_key"), mock, child, stderr, ready, _database: database, home }
    }

    /// Starts one from a home that was prepared.
    pub fn adopt(mock: MockUpstream, home: TempDir) -> Self {
        let (child, stderr, ready) = spawn(home.path(), &[]);
        let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
        Self { url: text("url"), key: text("api_key"), mock, child, stderr, ready, _database: None, home }
    }

    /// Starts the server of the same home again, after it ended.
    pub fn start_again(&mut self) {
        let (child, stderr, ready) = spawn(self.home.path(), &[]);
        ready["url"].as_str().unwrap_or_default().clone_into(&mut self.url);
        self.child = child;
        self.stderr = stderr;
        self.ready = ready;
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the server.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("our own child");
    }

    /// Waits until the server has ended and gives its status and what it logged.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                break status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        let log = self.stderr.take().map(|reader| reader.join().expect("the reader ends")).unwrap_or_default();
        (status, log)
    }

    /// Runs a command on the same home and gives its JSON document.
    pub fn cli(&self, arguments: &[&str]) -> Value {
        let output = command(self.home.path()).arg("--json").args(arguments).output().expect("the binary runs");
        assert!(
            output.status.success(),
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        document(&output)
    }

    /// The ledger's record of a request, once its outcome is written.
    pub async fn record(&self, request_id: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let record = self.cli(&["infra", "logs", "request", "show", request_id, "-m", "-t"]);
            if record["status"] != "pending" || Instant::now() > deadline {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a request with the administrator's key.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.open(method, path, headers, body).await.read().await
    }

    /// The same, without waiting for the body.
    pub async fn open(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Open {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/json");
        if !headers.iter().any(|(name, _)| ["x-api-key", "authorization"].contains(name)) {
            request = request.header("x-api-key", &self.key);
        }
        // An empty value stands for "not at all".
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let client: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        let response = tokio::time::timeout(PATIENCE, client.request(request))
            .await
            .expect("an answer in time")
            .expect("an answer");
        let (head, body) = response.into_parts();
        Open { status: head.status, headers: head.headers, body }
    }

    /// A request in the Anthropic dialect.
    pub async fn messages(&self, body: &Value) -> Answer {
        self.send(Method::POST, "/v1/messages", &[("anthropic-version", "2023-06-01")], body.to_string()).await
    }

    /// A request in the OpenAI dialect.
    pub async fn chat(&self, body: &Value) -> Answer {
        self.send(Method::POST, "/v1/chat/completions", &[], body.to_string()).await
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(rustix::process::Signal::TERM);
            let _ = self.wait();
        }
        remove_cluster(self.home.path());
    }
}

/// Stops a cluster that a killed server left running, and removes what lies outside the home.
pub fn remove_cluster(home: &Path) {
    let _ = run(home, &["infra", "services", "stop"]);
    if let Ok(place) = std::fs::read_to_string(home.join("home/postgres/location")) {
        let _ = std::fs::remove_dir_all(place.trim());
    }
}

/// Starts `up --json` and waits for its line.
fn spawn(home: &Path, arguments: &[&str]) -> (Child, Option<std::thread::JoinHandle<String>>, Value) {
    let mut child = command(home)
        .args(["up", "--json", "--port", "0"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stderr = child.stderr.take().expect("it is piped");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("standard output");
    match serde_json::from_str(&line) {
        Ok(ready) => (child, Some(reader), ready),
        Err(error) => {
            let _ = child.wait();
            panic!("{error}: {line}\n{}", reader.join().expect("the reader ends"));
        }
    }
}

/// An answer whose body is still to come.
pub struct Open {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Incoming,
}

impl Open {
    /// Waits for the rest.
    pub async fn read(self) -> Answer {
        let body = tokio::time::timeout(PATIENCE, self.body.collect()).await.expect("a whole answer in time");
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Answer { status: self.status, headers: self.headers, body }
    }

    /// The next piece.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("a piece in time")?.ok()?;
            if let Ok(data) = frame.into_data() {
                return Some(data);
            }
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Empty if the connection broke before the end.
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The id of the request in the ledger.
    pub fn request_id(&self) -> &str {
        self.header("x-systemprompt-request-id").expect("a recorded request")
    }
}

/// A minimal request in the Anthropic dialect.
pub fn hello(model: &str) -> Value {
    json!({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]})
}

/// Where an instance keeps something.
pub fn path(instance: &Instance, below_home: &str) -> PathBuf {
    instance.home.path().join("home").join(below_home)
}
