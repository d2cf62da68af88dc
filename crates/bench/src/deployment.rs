//! What is measured: a mock provider, the server in a home of its own, and the PostgreSQL cluster it manages.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::process::{Processes, is_running};
use crate::request::{Destination, MODEL, Wire};

/// How long a process may take to start: a new cluster and its schema, on a slow disk.
const START_LIMIT: Duration = Duration::from_mins(2);
/// How long a process may take to stop, before it is ended. The server itself gives open requests 30 s.
const STOP_LIMIT: Duration = Duration::from_secs(45);
/// What a home needs of the path is short: the database's socket lies below it.
const HOME: &str = "home";

/// When a request is carried out: after its record is on disk, or before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Durability {
    /// After.
    Durable,
    /// Before; the record follows within milliseconds.
    Asynchronous,
}

impl Durability {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Asynchronous => "asynchronous",
        }
    }
}

/// What is kept of prompts and answers beside their record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    /// Nothing.
    None,
    /// Their first and last 8 KiB, as in production unless the profile says otherwise.
    Excerpt,
    /// Everything up to 1 MiB, as elsewhere.
    Full,
}

impl Content {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Excerpt => "excerpt",
            Self::Full => "full",
        }
    }
}

/// The programs to run.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) systemprompt: PathBuf,
    pub(crate) mock_upstream: PathBuf,
}

/// What is set up.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Setting {
    /// How the mock provider answers.
    pub(crate) upstream: Upstream,
    /// The port of the mock provider; 0 is any free one.
    pub(crate) mock_port: u16,
    /// What the gateway speaks with it.
    pub(crate) wire: Wire,
    /// Every request is first sent to a provider that answers 503, and then to the mock.
    pub(crate) failover: bool,
    /// What is kept of prompts and answers.
    pub(crate) content: Content,
}

/// How the mock provider answers.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Upstream {
    /// Events of a stream that carry text.
    pub(crate) chunks: usize,
    /// Time between two of them.
    pub(crate) chunk_delay_ms: u64,
    /// Time before the answer.
    pub(crate) delay_ms: u64,
}

/// Running processes. They are stopped when this is dropped, the server first and the provider after it.
pub(crate) struct Deployment {
    server: Process,
    _upstreams: Vec<Process>,
    home: Home,
    pub(crate) direct: Destination,
    pub(crate) gateway: Destination,
    pub(crate) processes: Processes,
    pub(crate) cluster: Cluster,
    pub(crate) version: String,
}

/// The cluster, as `infra services status` describes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Cluster {
    pid: u32,
    /// Everything of it lies here.
    pub(crate) directory: PathBuf,
    pub(crate) log: PathBuf,
    socket_directory: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Ready {
    url: String,
    api_key: Option<String>,
    version: String,
}

impl Deployment {
    /// Starts everything below `directory` and waits until it is ready.
    pub(crate) async fn start(
        programs: &Programs,
        directory: &Path,
        durability: Durability,
        setting: Setting,
    ) -> Result<Self> {
        let mut home = Home::create(programs, directory)?;

        let Setting { upstream: Upstream { chunks, chunk_delay_ms, delay_ms }, mock_port, wire, failover, content } =
            setting;
        let numbers = [chunks as u64, chunk_delay_ms, delay_ms, mock_port.into()].map(|number| number.to_string());
        let names = ["--chunks", "--chunk-delay-ms", "--delay-ms", "--port"];
        let options: Vec<&str> = names.into_iter().zip(&numbers).flat_map(|(name, number)| [name, number]).collect();
        let (upstream, upstream_address) = mock(programs, &home.path("upstream.log"), &options).await?;
        let mut upstreams = vec![upstream];
        let mut broken_address = None;
        if failover {
            let behaviour = r#"{"fault":{"kind":"status","status":503}}"#;
            let (broken, address) = mock(programs, &home.path("broken.log"), &["--behaviour", behaviour]).await?;
            upstreams.push(broken);
            broken_address = Some(address);
        }

        home.configure(durability, content, wire, upstream_address, broken_address)?;
        let mut command = home.product();
        command.args(["up", "--json", "--no-demo", "--port", "0"]);
        let (server, line) = Process::start("the server", command, &home.path("server.log")).await?;
        let ready: Ready = serde_json::from_str(&line).with_context(|| format!("`up --json` printed {line:?}"))?;
        let address = ready.url.strip_prefix("http://").and_then(|address| address.parse().ok());
        let address = address.with_context(|| format!("the server's URL is {}", ready.url))?;

        let status = home.document(&["infra", "services", "status"])?;
        let cluster =
            Cluster::deserialize(&status["cluster"]).context("`infra services status` describes no cluster")?;
        home.cluster = Some(cluster.clone());
        let processes = Processes { server: server.id(), postmaster: cluster.pid, upstream: upstreams[0].id() };
        let key = ready.api_key.context("the first start issues an API key")?;
        Ok(Self {
            server,
            _upstreams: upstreams,
            home,
            direct: Destination::new(upstream_address, "sk-bench"),
            gateway: Destination::new(address, &key),
            processes,
            cluster,
            version: ready.version,
        })
    }

    /// What a command of the product prints, run on the same home.
    pub(crate) fn document(&self, arguments: &[&str]) -> Result<Value> {
        self.home.document(arguments)
    }

    /// The only value of a query's only row.
    pub(crate) fn query(&self, sql: &str) -> Result<Value> {
        let result = self.document(&["infra", "db", "query", sql])?;
        Ok(result["rows"][0][0].clone())
    }

    /// Why the server is gone, if it is.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.server.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended ({status}):\n{}", tail(&self.home.path("server.log"))),
        }
    }
}

/// Starts a mock provider, and says where it is.
async fn mock(programs: &Programs, log: &Path, options: &[&str]) -> Result<(Process, SocketAddr)> {
    let mut command = Command::new(&programs.mock_upstream);
    command.args(["--capture", "0"]).args(options);
    let (process, line) = Process::start("the mock upstream", command, log).await?;
    let port: u16 = line.trim().parse().context("the mock upstream prints its port")?;
    Ok((process, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

/// A process that is stopped when this is dropped.
struct Process {
    child: Child,
}

impl Process {
    /// Starts a process and waits for its first line of output.
    async fn start(name: &str, mut command: Command, log: &Path) -> Result<(Self, String)> {
        let errors = File::create(log).with_context(|| format!("writing {}", log.display()))?;
        // In a process group of its own: Ctrl-C is for us, and we stop it when we have measured.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).process_group(0);
        let program = command.get_program().display().to_string();
        let child = command.spawn().with_context(|| format!("running {program}"))?;
        let mut this = Self { child };
        let output = this.child.stdout.take().context("standard output is a pipe")?;
        let mut output = BufReader::new(tokio::process::ChildStdout::from_std(output)?);
        let mut line = String::new();
        timeout(START_LIMIT, output.read_line(&mut line)).await.with_context(|| format!("{name} does not start"))??;
        if line.is_empty() {
            bail!("{name} did not start:\n{}", tail(log));
        }
        Ok((this, line))
    }

    fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let has_ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        if has_ended(&mut self.child) {
            return;
        }
        send(self.child.id(), Signal::TERM);
        if !becomes_true(STOP_LIMIT, || has_ended(&mut self.child)) {
            eprintln!("process {} does not stop and is killed", self.child.id());
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The project home, and below the same directory everything else that is written. Removed when this is dropped.
struct Home {
    program: PathBuf,
    directory: TempDir,
    cluster: Option<Cluster>,
}

impl Home {
    fn create(programs: &Programs, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        let directory = tempfile::Builder::new().prefix("sp-bench-").tempdir_in(directory)?;
        // When root runs this, PostgreSQL is another user who has to get to the cluster in it.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o711))?;
        let this = Self { program: programs.systemprompt.clone(), directory, cluster: None };
        fs::create_dir(this.path(HOME))?;
        fs::set_permissions(this.path(HOME), Permissions::from_mode(0o711))?;
        Ok(this)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a profile whose provider is the mock, behind one that is broken if there is such a one, with everything on that
    /// is on by default. Only the limit of requests per session is out of reach, and the breaker of what is broken.
    fn configure(
        &self,
        durability: Durability,
        content: Content,
        wire: Wire,
        mock: SocketAddr,
        broken: Option<SocketAddr>,
    ) -> Result<()> {
        self.run(&["admin", "setup", "-e", "local", "--anthropic-key", "sk-bench"])?;
        let home = self.path(HOME);
        let provider = |name: &str, address: SocketAddr, model: &str| {
            format!(
                "  - name: {name}\n    wire: {}\n    surface: backend\n    endpoint: http://{address}{}\n    \
                 api_key_secret: anthropic\n    models:\n      - id: {model}\n        \
                 pricing: {{ input_per_million: 3, output_per_million: 15 }}\n",
                wire.as_str(),
                wire.base()
            )
        };
        edit(&home.join("profiles/local/profile.yaml"), |profile| {
            let mut providers = provider("mock", mock, MODEL);
            let mut profile = profile.to_owned();
            if let Some(broken) = broken {
                providers += &provider("broken", broken, "broken-model");
                providers += "    resilience: { retry_attempts: 0, breaker_failure_threshold: 0 }\n";
                let route = format!(
                    "  enabled: true\n  routes:\n    - model_pattern: {MODEL}\n      provider: broken\n      upstream_model: \
                     broken-model\n      fallbacks: [{{ provider: mock, upstream_model: {MODEL} }}]\n"
                );
                profile = replace_key(&profile, "gateway", &route);
            }
            let profile = replace_key(&profile, "providers", &providers);
            let (durability, content) = (durability.as_str(), content.as_str());
            Some(format!(
                "{profile}\ngovernance:\n  ledger:\n    durability: {durability}\nretention:\n  content: {content}\n"
            ))
        })?;
        edit(&home.join("services/governance/config.yaml"), |policies| {
            let (before, after) = policies.split_once("requests_per_window:")?;
            let (_, after) = after.split_once('\n')?;
            Some(format!("{before}requests_per_window: 4000000000\n{after}"))
        })?;
        // Read by PostgreSQL again whenever it is told to, if it is there at the start.
        let cluster = home.join("postgres");
        fs::create_dir(&cluster)?;
        fs::write(cluster.join("local.conf"), "")?;
        Ok(())
    }

    /// The product on this home, in the environment of the benchmark without what would lead it elsewhere.
    fn product(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let is_ours = text.starts_with("SYSTEMPROMPT_") && text != "SYSTEMPROMPT_PG_BIN";
            if is_ours || text.ends_with("_API_KEY") || text == "DATABASE_URL" || text == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", "1").current_dir(self.directory.path());
        command.arg("--home").arg(self.path(HOME)).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Result<Vec<u8>> {
        let output = self.product().args(arguments).output();
        let output = output.with_context(|| format!("running {}", self.program.display()))?;
        if !output.status.success() {
            let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            bail!("`systemprompt {}` failed: {}", arguments.join(" "), said.trim());
        }
        Ok(output.stdout)
    }

    fn document(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.run(&[&["--json"], arguments].concat())?;
        Ok(serde_json::from_slice(&output)?)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The server stopped its cluster, unless it was killed.
        let _ = self.run(&["infra", "services", "stop"]);
        let Some(cluster) = &self.cluster else { return };
        let directory = cluster.directory.display().to_string();
        if is_running(cluster.pid, &directory) {
            send(cluster.pid, Signal::INT);
            if !becomes_true(STOP_LIMIT, || !is_running(cluster.pid, &directory)) {
                eprintln!("PostgreSQL (process {}) does not stop", cluster.pid);
                return;
            }
        }
        // A home that the database's user cannot reach has its cluster elsewhere, as has a path too long for a socket.
        for directory in [Some(&cluster.directory), cluster.socket_directory.as_ref()].into_iter().flatten() {
            if !directory.starts_with(self.directory.path()) {
                let _ = fs::remove_dir_all(directory);
            }
        }
    }
}

/// Sends a signal to a process of ours.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

/// Waits in the way of destructors, which nothing else can go on beside.
fn becomes_true(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if begun.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn edit(path: &Path, change: impl FnOnce(&str) -> Option<String>) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let text = change(&text).with_context(|| format!("{} is not as expected:\n{text}", path.display()))?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// A YAML text with another block below one of its top-level keys.
fn replace_key(text: &str, key: &str, block: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in text.lines() {
        if line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')) {
            inside = true;
            out.push_str(key);
            out.push_str(":\n");
            out.push_str(block);
        } else if !inside || !(line.is_empty() || line.starts_with([' ', '-'])) {
            inside = false;
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_replaced_with_all_that_is_below_it() {
        let text = "a: 1\nproviders:\n  - name: x\n\n    y: 2\nproviders_of: 3\n";
        assert_eq!(replace_key(text, "providers", "  []\n"), "a: 1\nproviders:\n  []\nproviders_of: 3\n");
    }
}
