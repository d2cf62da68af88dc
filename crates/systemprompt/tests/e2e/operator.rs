//! What an operator meets at the keyboard: strangers' words on the terminal, numbers and times at their limits, honest exit
//! statuses, lists that say when they are cut, and commands that clean up behind themselves.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use systemprompt_mock_upstream::MockUpstream;
use tempfile::TempDir;

use crate::harness::{Instance, Setup, command, document, hello, prepare, remove_cluster, run};

/// Clears the screen, sets the window's title, begins a line of its own, and turns the direction around.
const STRANGER: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\n fake row\u{202e}\u{9b}31m";

/// Governance that refuses what it could replace.
const DENYING: &str = "governance:\n  policies:\n  - { id: secret_scan, action: deny }\n";

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// Whether a terminal would act on something in it.
fn commands_the_terminal(text: &str) -> bool {
    text.contains(|c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c))
}

#[tokio::test]
async fn strangers_write_on_no_terminal() {
    let mut instance = Instance::start().await;
    let answer = instance.messages(&hello(STRANGER)).await;
    let id = answer.request_id().to_owned();
    let said = json!({"model": "claude-test", "max_tokens": 10, "messages": [{"role": "user", "content": STRANGER}]});
    let spoken = instance.messages(&said).await.request_id().to_owned();
    instance.record(&spoken).await;
    let quoted: String = STRANGER.chars().map(|character| format!("\\{:04x}", u32::from(character))).collect();
    for statement in [
        format!("UPDATE users SET full_name = U&'{quoted}', display_name = U&'{quoted}'"),
        format!(
            "INSERT INTO logs (at, level, target, message, instance_id) VALUES (now(), 'warn', 'test', U&'{quoted}', gen_random_uuid())"
        ),
    ] {
        instance.cli(&["infra", "db", "execute", "--yes", &statement]);
    }
    let commands: &[&[&str]] = &[
        &["infra", "logs", "request", "list"],
        &["infra", "logs", "request", "show", &id, "-m", "-t"],
        &["infra", "logs", "request", "show", &spoken, "-m", "-t"],
        &["infra", "logs", "request", "stats"],
        &["infra", "logs", "audit", &id],
        &["infra", "logs", "audit", &spoken],
        &["infra", "logs", "view", "--level", "warn"],
        &["infra", "logs", "search", "fake row"],
        &["admin", "users", "show", "admin", "--sessions", "--activity"],
        &["admin", "users", "search", "admin"],
        &["infra", "db", "query", "SELECT full_name, full_name AS again FROM users"],
    ];
    let home = instance.home.path();
    for words in commands {
        let text = run(home, words);
        assert!(text.status.success(), "{words:?}: {}", stderr(&text));
        for said in [stdout(&text), stderr(&text)] {
            assert!(!commands_the_terminal(&said), "{words:?}: {said:?}");
            assert!(
                !said.lines().any(|line| line.trim_start() == "fake row" && !line.starts_with("   ")),
                "{words:?}: {said}"
            );
        }
        let whole = run(home, &[&["--json"], *words].concat());
        assert!(!commands_the_terminal(&stdout(&whole)), "{words:?}");
        document(&whole);
        let whole = stdout(&run(home, &[&["--yaml"], *words].concat()));
        assert!(!commands_the_terminal(&whole) && !whole.starts_with("error"), "{words:?}: {whole:?}");
    }
    let listed = stdout(&run(home, &["infra", "logs", "request", "list"]));
    let rows: Vec<&str> = listed.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(rows.len(), 4, "a head, two rows, and why one was refused: {listed}");
    assert!(listed.contains(r"\x1b[2J"), "{listed}");
    assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
    let models = instance.cli(&["infra", "logs", "request", "list"]);
    assert_eq!(models["items"][1]["requested_model"], STRANGER, "a document keeps what was said");

    instance.signal(Signal::TERM);
    let (_, log) = instance.wait();
    assert!(!commands_the_terminal(&log), "{log:?}");
}

#[tokio::test]
async fn lists_levels_times_and_numbers() {
    let instance = Instance::start().await;
    let home = instance.home.path();
    instance.messages(&hello("claude-test")).await;
    for (name, email) in [("eve", "eve@example.com"), ("eva", "eva@example.com")] {
        instance.cli(&["admin", "users", "create", "--name", name, "--email", email]);
    }
    for level in ["error", "warn", "info"] {
        let line = format!(
            "INSERT INTO logs (at, level, target, message, instance_id) VALUES (now(), '{level}', 'test', 'canary {level}', gen_random_uuid())"
        );
        instance.cli(&["infra", "db", "execute", "--yes", &line]);
    }

    // A level means it and what is worse.
    for (level, expected) in [("error", 1), ("warn", 2), ("info", 3)] {
        let found = instance.cli(&["infra", "logs", "search", "canary", "--level", level]);
        assert_eq!(found["items"].as_array().map(Vec::len), Some(expected), "{level}: {found}");
    }

    // What is cut says so, and how to go on.
    for (words, more) in [
        (&["admin", "users", "list", "-n", "2"][..], "2 of 3 shown; more: --offset 2"),
        (&["admin", "users", "search", "example.com", "-n", "1"], "1 shown; more: --offset 1"),
        (&["infra", "logs", "search", "canary", "-n", "2"], "2 shown; more: --before "),
        (&["infra", "logs", "changes", "list", "-n", "1"], "1 shown; more: --before "),
    ] {
        let output = run(home, words);
        assert!(stderr(&output).contains(more), "{words:?}: {}", stderr(&output));
        let page = instance.cli(words);
        let next = page["next"].as_str().expect("a cut list goes on");
        let option = more.split_whitespace().find(|word| word.starts_with("--")).expect("an option");
        let rest = instance.cli(&[words, &[option, next]].concat());
        assert_ne!(rest["items"][0], page["items"][0], "{words:?}");
    }
    for words in [&["admin", "users", "list"][..], &["infra", "logs", "search", "canary"]] {
        let output = run(home, words);
        assert!(instance.cli(words)["next"].is_null() && !stderr(&output).contains("more:"), "{words:?}");
    }

    // Every time that is printed can be given back.
    let request = instance.cli(&["infra", "logs", "request", "list"])["items"][0].clone();
    let text = stdout(&run(home, &["infra", "logs", "request", "list"]));
    let for_people = text.lines().nth(1).expect("a row").trim().chars().take(19).collect::<String>();
    let sql = instance.cli(&["infra", "db", "query", "SELECT created_at FROM ai_requests"])["rows"][0][0].clone();
    for printed in [request["created_at"].as_str().expect("a time"), &for_people, sql.as_str().expect("a time")] {
        let found = instance.cli(&["infra", "logs", "request", "list", "--since", printed]);
        assert_eq!(found["items"][0]["request_id"], request["request_id"], "{printed}");
        instance.cli(&["infra", "logs", "view", "--until", printed]);
    }
    let empty = run(home, &["infra", "logs", "request", "list", "--since", "1h", "--until", "2h"]);
    assert_eq!(empty.status.code(), Some(2), "{}", stderr(&empty));

    // Numbers are carried out up to their bounds, and beyond them refused with a word about them.
    for words in [
        &["admin", "users", "api-key", "issue", "eve", "--expires-in-days", "36500"][..],
        &["admin", "users", "list", "--limit", "1000", "--offset", "1000000000"],
        &["infra", "db", "query", "SELECT 1", "--limit", "1000000", "--offset", "1000000000"],
        &["infra", "db", "migrate-down", "identity", "1000", "--dry-run"],
        &["infra", "logs", "request", "list", "--since", "36500d"],
        &["infra", "logs", "request", "list", "--since", "1970-01-01", "--until", "9999-12-31"],
        &["infra", "logs", "request", "stats", "--since", "1970-01-01"],
        &["infra", "logs", "view", "--limit", "1000", "--before", "9223372036854775807"],
    ] {
        let output = run(home, words);
        let said = stderr(&output);
        // A time before anything was recorded is refused where it is none of the years there are.
        assert!(
            output.status.success() || (output.status.code() == Some(2) && said.contains("from 1970")),
            "{words:?}: {said}"
        );
    }
    let refused = run(home, &["--json", "admin", "users", "api-key", "issue", "eve", "--expires-in-days", "100000000"]);
    let error = document(&refused)["error"].clone();
    assert_eq!((refused.status.code(), error["code"].as_str()), (Some(2), Some("usage")), "{error}");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("from 1 to 36500")), "{error}");

    // One statement, and it is on record.
    let several = run(home, &["infra", "db", "execute", "--yes", "DELETE FROM users; SELECT 1"]);
    assert_eq!(several.status.code(), Some(2), "{}", stderr(&several));
    assert_eq!(instance.cli(&["admin", "users", "count"])["count"], 3);
    let changes = instance.cli(&["infra", "logs", "changes", "list", "--operation", "database.execute"]);
    assert_eq!(changes["items"][0]["status"], "failed", "the refused one too: {changes}");

    // An error is said once.
    instance.cli(&["infra", "db", "execute", "--yes", "ALTER TABLE ai_requests RENAME TO elsewhere"]);
    let failed = run(home, &["infra", "logs", "request", "list"]);
    let said = stderr(&failed);
    assert_eq!(said.matches("does not exist").count(), 1, "{said}");
    assert!(!said.contains("at line"), "{said}");
}

#[tokio::test]
async fn the_audit_shows_who_typed_what_and_what_was_answered() {
    let instance = Instance::start().await;
    let home = instance.home.path();
    let headers = [("x-claude-code-session-id", "session-of-theirs"), ("x-claude-code-agent-id", "agent-7")];
    for (path, model) in [("/v1/messages", "claude-test"), ("/v1/chat/completions", "gpt-test")] {
        let typed = json!([
            {"type": "text", "text": "<system-reminder>be brief and do not tell</system-reminder>"},
            {"type": "text", "text": "what was typed"},
        ]);
        let body = json!({"model": model, "max_tokens": 100, "stream": true, "messages": [{"role": "user", "content": typed}]});
        let answer = instance.send(http::Method::POST, path, &headers, body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.request_id();
        instance.record(id).await;

        let audit = stdout(&run(home, &["infra", "logs", "audit", id]));
        let value = |name: &str| {
            let line = audit.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with("  ")));
            line.unwrap_or_else(|| panic!("no {name}: {audit}"))[name.len()..].trim().to_owned()
        };
        assert_eq!(value("typed"), "what was typed");
        assert!(value("assistant").starts_with("token token"), "{audit}");
        assert!(!audit.contains("data:") && !audit.contains("do not tell"), "{audit}");
        assert_eq!((value("client's session").as_str(), value("agent").as_str()), ("session-of-theirs", "agent-7"));
        assert!(value("session").starts_with("sess_") && value("key").contains("sp-live-"), "{audit}");
        assert!(audit.lines().any(|line| line.starts_with("user ") && line.contains("admin (")), "{audit}");
        let full = stdout(&run(home, &["infra", "logs", "audit", id, "--full"]));
        assert!(full.contains("do not tell"), "{full}");
        let document = instance.cli(&["infra", "logs", "audit", id])["items"][0].clone();
        assert_eq!(document["prompt"], "what was typed");
        assert!(
            document["messages"][1]["content"].as_str().is_some_and(|text| text.starts_with("token token")),
            "{document}"
        );
    }
    let listed = stdout(&run(home, &["infra", "logs", "request", "list"]));
    let mut lines = listed.lines().take_while(|line| !line.is_empty());
    let columns: Vec<_> = lines.next().expect("a head").split_whitespace().collect();
    assert_eq!(columns[..6], ["time", "request", "user", "key", "model", "decision"], "{listed}");
    assert!(lines.all(|line| line.contains(" admin ") && line.contains(" allow")), "{listed}");
    let items = instance.cli(&["infra", "logs", "request", "list"]);
    assert_eq!(
        (&items["items"][0]["user_name"], &items["items"][0]["client_session_id"]),
        (&json!("admin"), &json!("session-of-theirs"))
    );
}

#[tokio::test]
async fn a_stream_of_the_log_ends_when_nobody_reads_it() {
    let instance = Instance::start().await;
    instance.send(http::Method::GET, "/nothing/here", &[], "").await;
    let mut child = command(instance.home.path())
        .args(["infra", "logs", "stream"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut first = [0; 1];
    std::io::Read::read_exact(child.stdout.as_mut().expect("it is piped"), &mut first).expect("it prints something");
    drop(child.stdout.take());
    let deadline = Instant::now() + Duration::from_mins(1);
    let status = loop {
        instance.send(http::Method::GET, "/nothing/more", &[], "").await;
        if let Some(status) = child.try_wait().expect("our own child") {
            break status;
        }
        assert!(Instant::now() < deadline, "it goes on");
    };
    assert_eq!(status.code(), Some(141), "whoever reads a pipe's status knows that not all was read");
}

#[tokio::test]
async fn a_result_that_nobody_can_have_is_no_success() {
    let instance = Instance::start().await;
    let home = instance.home.path();
    let words = ["infra", "logs", "request", "list"];
    for form in ["--json", "--yaml", "--quiet"] {
        let mut child = command(home)
            .arg(form)
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(141), ""), "{form}");
    }
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = command(home).args(words).stdout(full).stderr(Stdio::piped()).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("output_failed"), "{}", stderr(&output));
}

#[tokio::test]
async fn requests_are_found_by_what_is_printed_of_them() {
    let governance = Some(DENYING.to_owned());
    let instance = Instance::with(Setup { governance, ..Setup::default() }).await;
    let home = instance.home.path();
    instance.messages(&hello("claude-test")).await;
    instance.messages(&hello("claude-test")).await;
    let leak = json!({"model": "claude-test", "max_tokens": 10,
        "messages": [{"role": "user", "content": concat!("AKIA", "IOSFODNN7", "EXAMPLQ")}]});
    instance.messages(&leak).await;
    let all = instance.cli(&["infra", "logs", "request", "list", "--totals"]);
    assert_eq!((all["items"].as_array().map(Vec::len), &all["totals"]["requests"]), (Some(3), &json!(3)), "{all}");
    let (refused, answered) = (&all["items"][0], &all["items"][1]);
    assert_eq!((&refused["decision"], &refused["policy"]), (&json!("deny"), &json!("secret_scan")), "{all}");
    let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
    let cost = format!("${:.6}", answered["cost_microdollars"].as_f64().expect("a cost") / 1e6);
    let latency = format!("{}ms", answered["latency_ms"]);
    let (session, prefix) = (text(answered, "session_id"), text(answered, "api_key_prefix"));
    for (expected, options) in [
        (3, vec!["--user", "admin"]),
        (3, vec!["--key", &text(answered, "api_key_name")]),
        (3, vec!["--key", &prefix[..12]]),
        (2, vec!["--session", &session[..9]]),
        (3, vec!["--model", "claude-*"]),
        (0, vec!["--model", "gpt-*"]),
        (3, vec!["--provider", &text(answered, "provider")]),
        (2, vec!["--status", "completed"]),
        (1, vec!["--policy", "secret_scan"]),
        (1, vec!["--decision", "deny", "--user", "admin"]),
        (2, vec!["--min-cost", &cost, "--max-cost", &cost]),
        (0, vec!["--min-cost", "$1000"]),
        (2, vec!["--max-latency", "2m"]),
        (0, vec!["--min-latency", "1000s"]),
        (1, vec!["--trace", &text(refused, "trace_id")]),
        (0, vec!["--conversation", "of nobody"]),
    ] {
        let words = [&["infra", "logs", "request", "list"], options.as_slice()].concat();
        let found = instance.cli(&words);
        assert_eq!(found["items"].as_array().map(Vec::len), Some(expected), "{options:?}: {found}");
        let stats = instance.cli(&[&["infra", "logs", "request", "stats"], options.as_slice()].concat());
        assert_eq!(stats["requests"], json!(expected), "{options:?}: {stats}");
    }
    let slow = instance.cli(&["infra", "logs", "request", "list", "--min-latency", &latency]);
    assert!(slow["items"].as_array().is_some_and(|items| !items.is_empty()), "{slow}");

    // What is printed for people fits its line, and its short ids are taken.
    let listed = stdout(&run(home, &["infra", "logs", "request", "list"]));
    assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
    assert!(
        listed.contains("deny by secret_scan: ") && listed.contains("3 shown: 2 completed, 1 rejected"),
        "{listed}"
    );
    let short = listed.lines().nth(1).and_then(|row| row.split_whitespace().nth(2)).expect("an id").to_owned();
    let shown = instance.cli(&["infra", "logs", "request", "show", &short]);
    assert_eq!(shown["request_id"], refused["request_id"], "{short}");

    let model = text(answered, "model");
    for (by, what) in [("user", "admin"), ("model", &model), ("policy", "secret_scan"), ("status", "rejected")] {
        let top = instance.cli(&["infra", "logs", "request", "top", "--by", by, "--most", "requests"]);
        let named = |item: &Value| item["name"] == what || item["what"] == what;
        assert!(top["items"].as_array().is_some_and(|items| items.iter().any(named)), "{by}: {top}");
    }

    // Who follows sees a request when it has ended.
    let mut child = command(home)
        .args(["--json", "infra", "logs", "request", "list", "--follow", "-n", "1", "--status", "completed"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("it is piped")));
    let known: Value = serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
    let new = instance.messages(&hello("claude-test")).await.request_id().to_owned();
    let followed: Vec<String> = lines
        .by_ref()
        .map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("JSON"))
        .map(|line| line["request_id"].as_str().unwrap_or_default().to_owned())
        .take_while(|id| *id != new)
        .collect();
    assert!(known["request_id"] != new.as_str() && followed.is_empty(), "{known} {followed:?}");
    child.kill().expect("our own child");
    child.wait().expect("it ends");
    let never = run(home, &["infra", "logs", "request", "list", "--follow", "--status", "pending"]);
    assert_eq!(never.status.code(), Some(2), "it would show nothing, ever");
}

#[tokio::test]
async fn who_reads_and_who_gives_roles_is_on_record() {
    let governance = Some(DENYING.to_owned());
    let instance = Instance::with(Setup { governance, ..Setup::default() }).await;
    let home = instance.home.path();
    let request = instance.messages(&hello("claude-test")).await.request_id().to_owned();
    instance.record(&request).await;
    let reads = || instance.cli(&["infra", "logs", "changes", "list", "--operation", "content.read"])["items"].clone();
    let before = reads().as_array().map_or(0, Vec::len);
    instance.cli(&["infra", "logs", "request", "show", &request]);
    assert_eq!(reads().as_array().map(Vec::len), Some(before), "nothing that was said was shown");
    instance.cli(&["infra", "logs", "request", "show", &request[..18], "--messages"]);
    let read = reads();
    assert_eq!(read.as_array().map(Vec::len), Some(before + 1), "{read}");
    assert_eq!((&read[0]["about_id"], &read[0]["actor_kind"]), (&json!(request), &json!("operator")), "{read}");

    instance.cli(&["admin", "users", "create", "--name", "eve", "--email", "eve@example.com"]);
    instance.cli(&["admin", "users", "update", "eve", "--roles", "admin"]);
    let changed = instance.cli(&["infra", "logs", "changes", "list", "--operation", "user.update"])["items"][0].clone();
    assert_eq!((&changed["about_name"], &changed["actor_kind"]), (&json!("eve"), &json!("operator")), "{changed}");
    assert!(changed["roles"].as_array().is_some_and(|roles| roles.contains(&json!("admin"))), "{changed}");
    let listed = stdout(&run(home, &["infra", "logs", "changes", "list", "--operation", "user.update"]));
    assert!(listed.contains("user eve") && listed.contains("roles: admin"), "{listed}");
    assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");

    // A trace has it all, and a request leads there.
    let leak = json!({"model": "claude-test", "max_tokens": 10,
        "messages": [{"role": "user", "content": concat!("AKIA", "IOSFODNN7", "EXAMPLQ")}]});
    let refused = instance.messages(&leak).await.request_id().to_owned();
    let trace = instance.cli(&["infra", "logs", "trace", "show", &refused]);
    assert_eq!((&trace["user_name"], &trace["steps"][0]["decision"]), (&json!("admin"), &json!("deny")), "{trace}");
    assert_eq!(trace["inferences"][0]["request_id"], refused.as_str(), "{trace}");
    let id = trace["trace_id"].as_str().expect("an id").to_owned();
    for (expected, options) in [
        (true, vec!["--decision", "deny", "--user", "admin"]),
        (true, vec!["--status", "rejected"]),
        (true, vec!["--action", "infer", "--policy", "secret_scan"]),
        (false, vec!["--status", "completed"]),
        (false, vec!["--action", "user.update"]),
    ] {
        let found = instance.cli(&[&["infra", "logs", "trace", "list"], options.as_slice()].concat());
        let items = found["items"].as_array().expect("a list");
        assert_eq!(items.iter().any(|trace| trace["trace_id"] == id.as_str()), expected, "{options:?}: {found}");
    }
    let shown = stdout(&run(home, &["infra", "logs", "trace", "show", &id]));
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    // Lines of the log say whose request they are about.
    let named = instance.cli(&["infra", "logs", "trace", "show", &id])["logs"].clone();
    let of_user = |line: &Value| line["fields"]["user_id"].is_string() && line["fields"]["key_id"].is_string();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut named = named;
    while !named.as_array().is_some_and(|lines| lines.iter().any(of_user)) {
        assert!(Instant::now() < deadline, "{named}");
        named = instance.cli(&["infra", "logs", "trace", "show", &id])["logs"].clone();
    }
}

#[tokio::test]
async fn exit_statuses_and_what_was_meant() {
    let mock = MockUpstream::start().await.expect("a free port");
    let home = TempDir::new().expect("a directory");
    prepare(home.path(), &mock, &Setup::default(), Some("postgres://nobody@127.0.0.1:1/none"));

    // A port in use is a conflict, whoever starts the server.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for words in [&["--json", "up", "--port", &port][..], &["--json", "infra", "services", "start", "--port", &port]] {
        let output = run(home.path(), words);
        let said = document(&output);
        assert_eq!((output.status.code(), said["error"]["code"].as_str()), (Some(5), Some("port_in_use")), "{said}");
    }

    // One directory too high, or too low.
    let project = TempDir::new().expect("a directory");
    std::fs::rename(home.path().join("home"), project.path().join(".systemprompt")).expect("moves");
    let at = |directory: &std::path::Path, words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_systemprompt"));
        command.env_clear().env("NO_COLOR", "1").current_dir(project.path()).arg("--home").arg(directory);
        command.args(words).stdin(Stdio::null()).output().expect("the binary runs")
    };
    for beside in [project.path().to_owned(), project.path().join(".systemprompt/profiles")] {
        for words in [&["--json", "admin", "config", "show"][..], &["--json", "up", "--port", "0"]] {
            let output = at(&beside, words);
            let said = document(&output)["error"].clone();
            assert_eq!((output.status.code(), said["code"].as_str()), (Some(3), Some("no_project")), "{said}");
            let right = project.path().join(".systemprompt").display().to_string();
            assert!(said["help"].as_str().is_some_and(|help| help.ends_with(&right)), "{said}");
        }
    }
    let home = project.path().join(".systemprompt");

    // What is in force, of every section.
    let shown = document(&at(&home, &["--json", "admin", "config", "show"]));
    for (pointer, expected) in [
        ("/profile/gateway/max_body_bytes", None),
        ("/profile/gateway/resilience/connect_timeout_ms", Some(json!(10_000))),
        ("/profile/retention/days", Some(json!(30))),
        ("/profile/governance/ledger/queue_limit", Some(json!(4096))),
        ("/documents/governance~1config.yaml/governance/policies/3/window_secs", Some(json!(60))),
        ("/profile/server/shutdown_grace_secs", Some(json!(30))),
    ] {
        let found = shown.pointer(pointer);
        assert!(found.is_some_and(|found| expected.is_none_or(|expected| *found == expected)), "{pointer}: {shown}");
    }

    // What is wrong with the configuration is a verdict for programs.
    let file = home.join("profiles/local/profile.yaml");
    let text = std::fs::read_to_string(&file).expect("a profile");
    std::fs::write(&file, text.replace("port: ", "prot: ")).expect("writable");
    let output = at(&home, &["--json", "admin", "config", "validate"]);
    assert_eq!((output.status.code(), &document(&output)["valid"]), (Some(78), &json!(false)));

    // A profile without its file is not a first run.
    std::fs::remove_file(&file).expect("it is there");
    for words in [&["up", "--port", "0"][..], &["--profile", "local", "admin", "config", "show"]] {
        let output = at(&home, words);
        assert!(stderr(&output).contains("has lost its profile.yaml"), "{}", stderr(&output));
        assert!(stderr(&output).contains("admin setup --environment local --force"), "{}", stderr(&output));
    }
    assert!(!file.exists() && home.join("profiles/local/secrets.json").exists(), "nothing was made");
}

#[tokio::test]
async fn a_signing_key_that_is_none_is_named_with_what_to_do() {
    let mut instance = Instance::start().await;
    instance.signal(Signal::TERM);
    instance.wait();
    let key = instance.home.path().join("home/profiles/local/signing_key.pem");
    let good = std::fs::read(&key).expect("a key");
    for broken in [&b"junk"[..], b"\xff\xfe", b"", &good[..good.len() / 2]] {
        std::fs::write(&key, broken).expect("writable");
        let output = run(instance.home.path(), &["--json", "up", "--port", "0"]);
        let said = document(&output)["error"].clone();
        assert_eq!((output.status.code(), said["code"].as_str()), (Some(3), Some("signing_key")), "{said}");
        assert!(said["message"].as_str().is_some_and(|text| text.contains("signing_key.pem")), "{said}");
        assert!(said["help"].as_str().is_some_and(|text| text.contains("openssl genpkey")), "{said}");
    }
    std::fs::write(&key, good).expect("writable");
}

#[test]
fn a_first_run_makes_the_profile_it_was_asked_for_or_nothing() {
    let directory = TempDir::new().expect("a directory");
    let starts: [&[&str]; 2] = [&["up"], &["infra", "services", "start"]];
    for ((profile, code), start) in [("production", "no_provider"), ("./elsewhere", "unknown_profile")]
        .into_iter()
        .flat_map(|asked| starts.map(|start| (asked, start)))
    {
        let output = run(directory.path(), &[&["--json", "--profile", profile], start, &["--port", "0"]].concat());
        let said = document(&output);
        assert_eq!(said["error"]["code"].as_str(), Some(code), "{said}");
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 0, "{profile}: nothing was made");
    }
    // The database does not answer; what was asked for is there all the same.
    let output = command(directory.path())
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .env("ANTHROPIC_API_KEY", "sk-test")
        .args(["--profile", "production", "up", "--port", "0"])
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("created "), "a production profile speaks to people: {}", stderr(&output));
    let profiles: Vec<_> = std::fs::read_dir(directory.path().join("home/profiles"))
        .expect("profiles")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(profiles, ["production"]);
    let listed = run(directory.path(), &["plugins", "list"]);
    assert!(serde_json::from_slice::<Value>(&listed.stdout).is_err(), "text unless asked: {}", stdout(&listed));
}

#[tokio::test]
async fn a_command_that_is_told_to_stop_stops_the_database_it_started() {
    let mock = MockUpstream::start().await.expect("a free port");
    let home = TempDir::new().expect("a directory");
    prepare(home.path(), &mock, &Setup::default(), None);
    let place = |home: &std::path::Path| {
        let elsewhere = std::fs::read_to_string(home.join("home/postgres/location")).ok();
        elsewhere.map_or_else(|| home.join("home/postgres"), |place| std::path::PathBuf::from(place.trim()))
    };
    let postmaster = || place(home.path()).join("data/postmaster.pid");
    let asleep = ["infra", "db", "query", "SELECT pg_sleep(25)"];
    for (signal, words, status) in [
        (Signal::TERM, &asleep[..], Some(130)),
        (Signal::INT, &asleep[..], Some(130)),
        // While it starts.
        (Signal::TERM, &["admin", "users", "count"], Some(130)),
    ] {
        let child = command(home.path())
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let deadline = Instant::now() + Duration::from_mins(1);
        while !postmaster().exists() {
            assert!(Instant::now() < deadline, "{words:?}: PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(2));
        }
        let pid = Pid::from_raw(child.id().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("our own child");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), status, "{words:?}: {}", stderr(&output));
        assert!(!postmaster().exists(), "{words:?}: PostgreSQL goes on");
    }
    remove_cluster(home.path());
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure_and_errors_nobody_hears_are_none() {
    let directory = TempDir::new().expect("a directory");
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("a device that is always full");
    for arguments in [&["plugins", "list"][..], &["--json", "plugins", "list"], &["--version"], &["--help"]] {
        let output = command(directory.path()).args(arguments).stdout(full()).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("error[output_failed]"), "{arguments:?}: {said}");
    }
    let output =
        command(directory.path()).args(["plugins", "nothing"]).stderr(full()).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(2));
    let output = command(directory.path()).args(["admin", "users", "count"]).stderr(full()).output();
    assert_eq!(output.expect("the binary runs").status.code(), Some(3));
}

#[test]
fn exit_statuses_say_what_the_table_says() {
    let directory = TempDir::new().expect("a directory");
    for (arguments, status, code) in [
        (&["admin", "config", "validate"][..], 3, "no_profile"),
        (&["admin", "users", "count", "--profile", "nowhere"], 3, "unknown_profile"),
        (&["infra", "db", "tables", "--database-url", "nonsense"], 2, "db_url_invalid"),
        (&["infra", "db", "tables", "--database-url", "mysql://localhost/x"], 2, "db_url_invalid"),
        (&["infra", "db", "tables", "--database-url", "postgres://x@127.0.0.1:1/x"], 6, "db_unreachable"),
        (&["up", "--host", "192.0.2.1", "--port", "0"], 3, "bind_failed"),
        (&["admin", "setup", "--dry-run", "-e", "../x"], 3, "profile_not_written"),
        (&["admin", "setup", "--dry-run", "-e", "x", "--admin-email", "x"], 2, "user_refused"),
        (&["admin", "setup", "--dry-run", "-e", "x", "--port", "60000", "--port-offset", "6000"], 2, "invalid_value"),
        (&["admin", "users", "create", "--name", "", "--email", "x@example.com"], 2, "usage"),
    ] {
        let output = run(directory.path(), &[&["--json"], arguments].concat());
        let said = document(&output);
        assert_eq!(
            (output.status.code(), said["error"]["code"].as_str()),
            (Some(status), Some(code)),
            "{arguments:?}: {said}"
        );
    }
    let output =
        run(directory.path(), &["--json", "infra", "db", "status", "--database-url", "postgres://x@127.0.0.1:1/x"]);
    assert_eq!((output.status.code(), &document(&output)["connected"]), (Some(6), &json!(false)));
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 0, "nothing was made");
}
