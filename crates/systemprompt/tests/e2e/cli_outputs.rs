//! What every command prints: for people, as JSON and as YAML, next to each other in one snapshot per command.
//!
//! One server for all of them. What differs from run to run is replaced by its name in brackets. A command that is not
//! here fails the test, so that no form of any command changes unseen. To accept what a change does on purpose, run it
//! with `INSTA_UPDATE=always` and look at the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use systemprompt::extension::facet::FACETS;

use crate::harness::{Instance, command, hello, path};
use crate::mail::smtp::{Manners, SmtpServer};

/// The forms, with the option that asks for each.
const FORMS: [(&str, &str); 3] = [("text", ""), ("json", "--json"), ("yaml", "--yaml")];

/// How many commands run at a time.
const AT_ONCE: usize = 4;

/// The commands there are, from their generated reference.
const REFERENCE: &str = include_str!("../../../../docs/reference/cli.md");

/// What differs from run to run, most specific first.
const FILTERS: &[(&str, &str)] = &[
    // Where a line of the log is broken depends on how long it took, and where.
    (r"\n {3}([a-z_]+=)", " $1"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[id]"),
    (r"\bsess_[0-9a-f]{8}\b", "sess_[begin]"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}(-[0-9a-f]{1,4})?\b", "[begin]"),
    (r"[0-9a-f]{64}", "[sha256]"),
    (r"sha256:[0-9a-f]{12}\b", "sha256:[begin]"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?(\+00)?", "[time]"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
    (r"sp-live-[0-9a-zA-Z]+(\.[0-9a-zA-Z_-]+)?", "[key]"),
    (r"\d+(\.\d+)? (B|kB|MB|GB)\b", "[size]"),
    (r"(_bytes:|_bytes.:) \d+", "$1 [size]"),
    (r"\d+(\.\d+)? ms\b", "[n] ms"),
    (r"(_ms=|_ms.?:) ?\d+(\.\d+)?", "$1 [n]"),
    (r"(pid:|pid.:) ?\d+", "$1 [pid]"),
    (r"process +\d+", "process [pid]"),
    (r"\btest_\d+_[0-9a-f]+", "[database]"),
    (r"(server.?:? +.?)[^ ]+:\d+", "$1[server]"),
    (r"[\w.-]+ \(uid \d+\)", "[operator]"),
    (r"\b1\d\.\d+( \([^)]*\))?", "[version]"),
    (r"(connections.?:?) +\d+\b", "$1 [n]"),
    (r"\bid(.?:) ?\d+", "id$1 [n]"),
    (r"\binstance(=|.?: .?)[\w.-]+", "instance$1[host]"),
    // Columns are as wide as what was replaced.
    (r"(\S) {2,}", "$1  "),
];

/// The snapshots of one server, and which commands have one.
struct Outputs {
    instance: Instance,
    settings: insta::Settings,
    commands: BTreeSet<String>,
    seen: BTreeSet<String>,
    shapes: Shapes,
}

/// What the documents of all commands have in common: one envelope for lists, one name for a thing, and one kind of value
/// under a name.
#[derive(Default)]
struct Shapes {
    /// What kind of value a name has, and the command that has it.
    kinds: BTreeMap<String, (&'static str, String)>,
    flaws: BTreeSet<String>,
}

/// Names that would be second ones: what they mean is called as on the right.
const SECOND_NAMES: &[(&str, &str)] = &[
    ("secret", "api_key"),
    ("token", "api_key"),
    ("cost", "cost_microdollars"),
    ("price", "cost_microdollars"),
    ("request", "request_id"),
    ("ready_ms", "startup_ms"),
    ("success", "valid"),
    ("ok", "valid"),
    ("results", "items"),
    ("data", "items"),
];

/// Places where a name means something else: what a change was asked to do, and what the configuration calls things.
const OTHER_WORDS: &[&str] =
    &["infra logs changes show", "admin config show", "infra db query", "infra services status"];

/// Words that mean several things: the id of a thing and a position in the log, what a message says, the decision and its
/// outcome, which of something and how many, the version of a product and the number of a migration.
const SEVERAL: [&str; 11] =
    ["id", "content", "decision", "applied", "stamped", "pending", "seeds", "tables", "columns", "source", "version"];

impl Shapes {
    /// Looks at the JSON document in what was printed for a command.
    fn see(&mut self, words: &[&str], said: &str) {
        let lines: Vec<_> = said
            .lines()
            .skip(1)
            .take_while(|line| !line.starts_with("stderr: ") && !line.starts_with("exit status: "))
            .collect();
        let Ok(document) = serde_json::from_str::<Value>(&lines.join("\n")) else { return };
        let line = words.join(" ");
        if OTHER_WORDS.iter().any(|other| line.starts_with(other)) {
            return;
        }
        let fields =
            document.as_object().unwrap_or_else(|| panic!("`{line}` prints a list without envelope: {document}"));
        let is_list =
            ["list", "search", "view", "tables", "indexes", "capabilities"].iter().any(|list| words.contains(list));
        assert!(!is_list || fields.contains_key("items"), "`{line}` is a list: {document}");
        assert_eq!(fields.contains_key("items"), fields.contains_key("next"), "`{line}`: {document}");
        assert!(fields.get("items").is_none_or(Value::is_array), "`{line}`: {document}");
        self.walk(&line, &document);
    }

    fn walk(&mut self, line: &str, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.walk(line, item)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.name(line, name, value);
                    // What is said in messages, and what log lines are about, is not ours to name.
                    if !["content", "fields", "attributes", "capabilities", "evaluated_rules"].contains(&name.as_str())
                    {
                        self.walk(line, value);
                    }
                }
            }
            _ => {}
        }
    }

    fn name(&mut self, line: &str, name: &str, value: &Value) {
        let second = SECOND_NAMES.iter().find(|(second, _)| *second == name);
        if let Some((_, first)) = second {
            self.flaws.insert(format!("`{line}` says {name} where others say {first}"));
        }
        let kind = match value {
            Value::Null => return,
            Value::Bool(_) => "switch",
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Array(_) => "list",
            Value::Object(_) => "map",
        };
        if SEVERAL.contains(&name) {
            return;
        }
        let (known, of) = self.kinds.entry(name.to_owned()).or_insert_with(|| (kind, line.to_owned()));
        if *known != kind {
            self.flaws.insert(format!("{name} is a {known} in `{of}` and a {kind} in `{line}`"));
        }
    }
}

/// What differs from run to run, and what is written instead.
type Filter<'a> = (&'a str, &'a str);

impl Outputs {
    fn of(instance: Instance) -> Self {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("cli_outputs");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        for (pattern, name) in FILTERS {
            settings.add_filter(pattern, *name);
        }
        let headings = REFERENCE.lines().filter_map(|line| line.strip_prefix("## `systemprompt "));
        let commands =
            headings.map(|heading| heading.split(['`', '<', '[']).next().unwrap().trim().to_owned()).collect();
        Self { instance, settings, commands, seen: BTreeSet::new(), shapes: Shapes::default() }
    }

    /// Runs a command that reads, in its three forms at once.
    fn check(&mut self, arguments: &[&str]) {
        self.check_all(&[(arguments, &[])]);
    }

    /// Runs commands that read, each in its three forms, a few at a time; with each what more differs from run to run.
    fn check_all(&mut self, commands: &[(&[&str], &[Filter<'_>])]) {
        let lines: Vec<_> = commands
            .iter()
            .flat_map(|(words, _)| {
                FORMS.map(|(_, option)| with_option(words.iter().map(|word| (*word).to_owned()), option))
            })
            .collect();
        let outputs = self.run_all(&lines);
        for ((words, more), said) in commands.iter().zip(outputs.chunks(FORMS.len())) {
            self.shapes.see(words, &said[1]);
            self.compare(&words.join(" "), &said.concat(), more);
        }
    }

    /// What these command lines print, a few run at a time.
    fn run_all(&self, lines: &[Vec<String>]) -> Vec<String> {
        let (next, outputs) = (AtomicUsize::new(0), lines.iter().map(|_| OnceLock::new()).collect::<Vec<_>>());
        let work = || {
            while let Some((arguments, said)) = {
                let number = next.fetch_add(1, Ordering::Relaxed);
                lines.get(number).zip(outputs.get(number))
            } {
                let output = command(self.instance.home.path()).args(arguments).output().expect("the binary runs");
                let mut text = String::new();
                write_output(&mut text, arguments, &output);
                said.set(text).expect("each runs once");
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(work);
            }
        });
        outputs.into_iter().map(|said| said.into_inner().expect("each ran")).collect()
    }

    /// Runs a command that changes another thing in each of its three forms, all at once; words as in `change`.
    fn change_each(&mut self, arguments: &[&str], words: [&str; 3]) {
        let lines = filled(arguments, words);
        let said = self.run_all(&lines);
        self.shapes.see(arguments, &said[1]);
        self.compare(&arguments.join(" "), &said.concat(), &[]);
    }

    /// Runs a command that changes something, in its three forms one after the other; `$F` in an argument is another word
    /// for each, `$N` is that of `words`.
    fn change(&mut self, arguments: &[&str], words: [&str; 3]) {
        self.change_masked(arguments, words, &[]);
    }

    /// The same, with more that differs from run to run.
    fn change_masked(&mut self, arguments: &[&str], words: [&str; 3], more: &[(&str, &str)]) {
        let mut said = String::new();
        for line in filled(arguments, words) {
            let output = command(self.instance.home.path()).args(&line).output().expect("the binary runs");
            let mut one = String::new();
            write_output(&mut one, &line, &output);
            self.shapes.see(arguments, &one);
            said.push_str(&one);
        }
        self.compare(&arguments.join(" "), &said, more);
    }

    /// The same of a command that runs until it is told to stop, which it is once it has printed something.
    fn check_until(&mut self, arguments: &[&str], signal: Signal) {
        let mut said = String::new();
        for (word, option) in FORMS {
            let arguments = arguments.iter().map(|argument| argument.replace("$F", word));
            let arguments = with_option(arguments, option);
            let mut child = command(self.instance.home.path())
                .args(&arguments)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("the binary runs");
            let mut stdout = child.stdout.take().expect("it is piped");
            let mut first = vec![0; 1];
            stdout.read_exact(&mut first).expect("it prints something");
            kill_process(Pid::from_raw(child.id().cast_signed()).expect("a process id"), signal)
                .expect("our own child");
            stdout.read_to_end(&mut first).expect("it ends");
            let output = Output { stdout: first, ..child.wait_with_output().expect("it ends") };
            write_output(&mut said, &arguments, &output);
        }
        self.compare(&arguments.join(" "), &said, &[]);
    }

    /// The server in the background, started and stopped in each form.
    fn check_started_and_stopped(&mut self) {
        let (mut started, mut stopped) = (String::new(), String::new());
        for (_, option) in FORMS {
            for (said, words) in [(&mut started, &["start", "--port", "0"][..]), (&mut stopped, &["stop"])] {
                let words = ["infra", "services"].iter().chain(words).map(|word| (*word).to_owned());
                let arguments = with_option(words, option);
                let output = command(self.instance.home.path()).args(&arguments).output().expect("the binary runs");
                write_output(said, &arguments, &output);
            }
        }
        self.compare("infra services start", &started, &[]);
        self.compare("infra services stop", &stopped, &[]);
    }

    fn compare(&mut self, line: &str, said: &str, more: &[(&str, &str)]) {
        let named =
            self.commands.iter().filter(|command| line.starts_with(*command)).max_by_key(|command| command.len());
        let named = named.unwrap_or_else(|| panic!("`{line}` is no command of the reference")).clone();
        let said = said.replace(&self.instance.home.path().display().to_string(), "[home]");
        let mut settings = self.settings.clone();
        for (pattern, name) in more {
            settings.add_filter(pattern, *name);
        }
        settings.bind(|| insta::assert_snapshot!(named.replace(' ', "_"), said));
        self.seen.insert(named);
    }
}

/// Waits until a command's document has this value at this place.
fn until(instance: &Instance, arguments: &[&str], place: &str, expected: impl Into<Value>) {
    let expected = expected.into();
    let deadline = Instant::now() + Duration::from_secs(20);
    while instance.cli(arguments).pointer(place) != Some(&expected) {
        assert!(Instant::now() < deadline, "{arguments:?}: {place} is not {expected}");
    }
}

/// A command line in its three forms: `$F` is another word for each, `$N` is that of `words`.
fn filled(arguments: &[&str], words: [&str; 3]) -> [Vec<String>; 3] {
    let mut own = words.into_iter();
    FORMS.map(|(word, option)| {
        let own = own.next().unwrap_or_default();
        with_option(arguments.iter().map(|argument| argument.replace("$F", word).replace("$N", own)), option)
    })
}

/// Words of a command line, with the option that asks for a form.
fn with_option(words: impl Iterator<Item = String>, option: &str) -> Vec<String> {
    words.chain((!option.is_empty()).then(|| option.to_owned())).collect()
}

fn write_output(said: &mut String, arguments: &[String], output: &Output) {
    let _ = writeln!(said, "$ systemprompt {}", arguments.join(" "));
    said.push_str(&String::from_utf8_lossy(&output.stdout));
    // A busy machine is slow, which sqlx says.
    for line in String::from_utf8_lossy(&output.stderr).lines().filter(|line| !line.contains("slow statement")) {
        let _ = writeln!(said, "stderr: {line}");
    }
    if !output.status.success() {
        let _ = writeln!(said, "exit status: {}", output.status.code().expect("it ended by itself"));
    }
    said.push('\n');
}

/// What changes the configuration, and points clients at it.
fn configuration(outputs: &mut Outputs) {
    let gateway = ["admin", "config", "gateway"];
    outputs.change(&[&gateway[..], &["disable"]].concat(), [""; 3]);
    outputs.change(&[&gateway[..], &["enable"]].concat(), [""; 3]);
    outputs.change(
        &[
            &gateway[..],
            &["route", "add", "route-$F", "mock-openai", "--id", "to-$F", "--upstream-model", "gpt-test"],
            &["--fallback", "mock-anthropic"],
        ]
        .concat(),
        [""; 3],
    );
    outputs.check(&[&gateway[..], &["route", "list"]].concat());
    outputs.change(&[&gateway[..], &["route", "remove", "to-$F"]].concat(), [""; 3]);
    outputs.change(&[&gateway[..], &["default-provider", "set", "mock-openai"]].concat(), [""; 3]);
    outputs.change(&[&gateway[..], &["default-provider", "clear"]].concat(), [""; 3]);
    let catalog = ["admin", "config", "catalog"];
    let price = ["--input-per-million", "1", "--output-per-million", "2.5"];
    outputs.change(
        &[
            &catalog[..],
            &["provider", "add", "own-$F", "--wire", "demo", "--surface", "backend", "--model", "one-$F"],
            &price,
        ]
        .concat(),
        [""; 3],
    );
    outputs
        .change(&[&catalog[..], &["model", "add", "own-$F", "two-$F", "--alias", "zwei-$F"], &price].concat(), [""; 3]);
    outputs.check(&[&catalog[..], &["provider", "list"]].concat());
    outputs.change(&[&catalog[..], &["model", "remove", "two-$F"]].concat(), [""; 3]);
    outputs.change(&["admin", "config", "secret", "set", "own_$F", "a-value"], [""; 3]);
    let host = [(r"\n [\w.-]+  (applied|unchanged)", "\n [host]  $1"), (r"instance: .?\[host\]", "instance: [host]")];
    outputs.change_masked(&["admin", "config", "reload"], [""; 3], &host);
    outputs.change(&[&catalog[..], &["provider", "remove", "own-$F"]].concat(), [""; 3]);
    outputs.change(&["admin", "config", "provider", "test", "mock-anthropic"], [""; 3]);
    outputs.check(&["admin", "config", "reconcile"]);
    let limits = ["admin", "config", "rate-limits"];
    outputs.change(&[&limits[..], &["set", "--endpoint", "gateway", "--rate", "$N"]].concat(), ["201", "202", "203"]);
    outputs.check(&[&limits[..], &["show"]].concat());
    outputs.check(&[&limits[..], &["tier", "user"]].concat());
    outputs.check(&[&limits[..], &["compare"]].concat());
    outputs.change(&[&limits[..], &["export", "limits-$F.yaml"]].concat(), [""; 3]);
    outputs.change(&[&limits[..], &["reset", "--endpoint", "gateway", "--yes"]].concat(), [""; 3]);
    outputs.change(&[&limits[..], &["diff", "--file", "limits-$F.yaml"]].concat(), [""; 3]);
    outputs.change(&[&limits[..], &["import", "limits-$F.yaml", "--yes"]].concat(), [""; 3]);
    outputs.check(&[&limits[..], &["preset", "list"]].concat());
    outputs.check(&[&limits[..], &["preset", "show", "disabled"]].concat());
    outputs.change(&[&limits[..], &["preset", "apply", "$N", "--yes"]].concat(), ["testing", "production", "disabled"]);
    outputs.change(&[&limits[..], &["enable"]].concat(), [""; 3]);
    outputs.change(&[&limits[..], &["disable"]].concat(), [""; 3]);
    let file = outputs.instance.home.path().join("litellm.yaml");
    let litellm = "model_list:\n- model_name: llama\n  litellm_params: {model: ollama/llama3.3, rpm: 5, \
                   input_cost_per_token: 0.000001, output_cost_per_token: 0}\nlitellm_settings: {max_budget: 5, \
                   budget_duration: 30d}\n";
    std::fs::write(&file, litellm).expect("a file");
    outputs.check(&["admin", "config", "import", "litellm", "litellm.yaml"]);
    let names = [(r"(aider|sdk) of \S+ on [\w.-]+", "$1 of [user] on [host]")];
    outputs.change_masked(&["connect", "aider", "--write", "--yes", "--model", "gpt-test"], [""; 3], &names);
}

// The mock is asked while a command is waited for.
/// The commands about access rules, each changing something of its own.
fn access_rules(outputs: &mut Outputs) {
    const RULES: [&str; 2] = ["admin", "access-control"];
    let of = |arguments: &[&'static str]| [&RULES, arguments].concat();
    let version = [(r"(version(_now|_then)?.?:? +.?)[0-9a-f]{16}", "$1[version]")];
    outputs.change_each(&of(&["groups", "create", "team-$F", "--description", "Who answers."]), [""; 3]);
    outputs.change_each(&of(&["groups", "add", "team-$F", "eve-$F"]), [""; 3]);
    let route = "gateway_route:mock-anthropic";
    outputs.change_each(&of(&["grant", route, "--group", "team-$F", "--deny", "--justification", "an audit"]), [""; 3]);
    let file = outputs.instance.home.path().join("rules.yaml");
    let exported = outputs.instance.cli(&of(&["export"]));
    std::fs::write(&file, exported.to_string().replace("\"deny\"", "\"allow\"")).expect("written");
    let file = file.to_str().expect("a path").to_owned();
    outputs.check_all(&[
        (&of(&["list"]), &[]),
        (&of(&["show", route]), &version),
        (&of(&["groups", "list"]), &[]),
        (&of(&["export"]), &[]),
        (&of(&["validate"]), &[]),
        (&of(&["lint"]), &[]),
        (&of(&["explain", "--user", "eve-text", "--entity", route]), &version),
        (&[&RULES[..], &["simulate", &file]].concat(), &version),
    ]);
    outputs.change_each(&of(&["revoke", route, "--group", "team-$F"]), [""; 3]);
    outputs.change_each(&of(&["groups", "remove", "team-$F", "eve-$F"]), [""; 3]);
    outputs.change_each(&of(&["groups", "delete", "team-$F", "--yes"]), [""; 3]);
    std::fs::write(&file, exported.to_string()).expect("written");
    let without = serde_json::json!({"rules": exported["rules"].as_array().expect("rules").iter().filter(|rule| rule["access"] == "allow").collect::<Vec<_>>()});
    std::fs::write(&file, without.to_string()).expect("written");
    outputs.change(&[&RULES[..], &["import", &file, "--yes"]].concat(), [""; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_in_its_three_forms() {
    let instance = Instance::start().await;
    let answer = instance.messages(&hello("claude-test")).await;
    let request = answer.request_id().to_owned();
    instance.record(&request).await;
    let refused = instance.send(http::Method::GET, "/nothing/here", &[], "").await;
    let trace = refused.header("x-trace-id").expect("a trace").to_owned();
    let mut outputs = Outputs::of(instance);

    outputs.change(
        &[
            "admin",
            "users",
            "create",
            "--name",
            "eve-$F",
            "--email",
            "eve-$F@example.com",
            "--full-name",
            "Eve Adams",
            "--roles",
            "analyst",
        ],
        [""; 3],
    );
    outputs.change_each(&["admin", "users", "api-key", "issue", "eve-$F", "--name", "ci"], [""; 3]);
    outputs.check(&["admin", "users", "api-key", "list", "eve-text"]);
    let ids = ["text", "json", "yaml"].map(|user| {
        let keys = outputs.instance.cli(&["admin", "users", "api-key", "list", &format!("eve-{user}")]);
        keys["items"][0]["id"].as_str().expect("an id").to_owned()
    });
    outputs.change_each(&["admin", "users", "api-key", "revoke", "$N", "--yes"], [&ids[0], &ids[1], &ids[2]]);
    until(&outputs.instance, &["admin", "users", "show", "admin", "--sessions"], "/sessions/0/request_count", 1);
    outputs.check_all(&[
        (&["admin", "users", "list"], &[]),
        (&["admin", "users", "show", "admin", "--sessions", "--activity"], &[]),
        (&["admin", "users", "search", "eve-t"], &[]),
    ]);
    access_rules(&mut outputs);
    outputs.change_each(&["admin", "users", "update", "eve-$F", "--status", "suspended"], [""; 3]);
    outputs.check(&["admin", "users", "count"]);
    outputs.change_each(&["admin", "users", "delete", "eve-$F", "--yes"], [""; 3]);
    let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::/32"];
    outputs.change(&["admin", "users", "ban", "add", "$N", "--reason", "guesses keys"], addresses);
    outputs.check_all(&[
        (&["admin", "users", "ban", "list"], &[]),
        (&["admin", "users", "ban", "check", "2001:db8::7"], &[]),
    ]);
    outputs.change(&["admin", "users", "ban", "remove", "$N", "--yes"], addresses);
    outputs.change(&["admin", "users", "ban", "cleanup", "--yes"], [""; 3]);

    configuration(&mut outputs);
    let mail = SmtpServer::start(Manners::default()).await;
    let profile = path(&outputs.instance, "profiles/local/profile.yaml");
    let text = std::fs::read_to_string(&profile).expect("a profile");
    let smtp = format!("host: 127.0.0.1, port: {}, security: none", mail.address.port());
    std::fs::write(&profile, format!("{text}\nmail: {{ from: alerts@example.com, smtp: {{ {smtp} }} }}\n"))
        .expect("written");
    let queued = [(r"queued as \d", "queued as [n]")];
    outputs.change_masked(&["admin", "config", "mail", "test", "ops@example.com"], [""; 3], &queued);
    std::fs::write(&profile, text).expect("written");

    outputs.change(
        &["infra", "db", "execute", "UPDATE departments SET description = 'A' WHERE name = 'Default'", "--yes"],
        [""; 3],
    );
    outputs.change(&["admin", "gateway", "cache", "purge"], [""; 3]);
    outputs.change(&["infra", "db", "migrate"], [""; 3]);
    outputs.change(
        &["infra", "db", "migrate-mark-applied", "--extension", "identity", "--version", "99", "--yes"],
        [""; 3],
    );
    let changes = outputs.instance.cli(&["infra", "logs", "changes", "list", "--operation", "user.create", "-n", "1"]);
    until(&outputs.instance, &["infra", "logs", "search", "/nothing/here"], "/items/0/level", "info");
    for (signal, body) in [
        (
            "traces",
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"work","kind":1,"startTimeUnixNano":"1790000000000000000","endTimeUnixNano":"1790000000002500000"}]}]}]}"#,
        ),
        (
            "logs",
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1790000000000000000","severityText":"INFO","eventName":"tool_result","attributes":[{"key":"tool_name","value":{"stringValue":"Bash"}}]}]}]}]}"#,
        ),
        (
            "metrics",
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"commits","unit":"1","sum":{"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"1790000000000000000","asInt":"3"}]}}]}]}]}"#,
        ),
    ] {
        let answer = outputs.instance.send(http::Method::POST, &format!("/v1/otel/v1/{signal}"), &[], body).await;
        assert_eq!(answer.status, 200, "{signal}");
    }
    let waiting = "INSERT INTO governance_approvals (id, digest, state, tool_name, rule, user_name, action_id, requested_at, expires_at)
        SELECT ('0198ab00-0000-7000-8000-00000000000' || n)::uuid, decode('0' || n, 'hex'), 'pending', 'Bash', 'four eyes', 'ada',
               '0198ab00-0000-7000-8000-000000000000', now(), now() + interval '1 hour'
        FROM generate_series(1, 6) AS n";
    outputs.instance.cli(&["infra", "db", "execute", waiting, "--yes"]);
    let ids: Vec<String> = (1..=6).map(|n| format!("0198ab00-0000-7000-8000-00000000000{n}")).collect();
    outputs.change_each(&["governance", "approvals", "approve", "$N", "--note", "go"], [&ids[0], &ids[1], &ids[2]]);
    outputs.change_each(&["governance", "approvals", "deny", "$N"], [&ids[3], &ids[4], &ids[5]]);
    outputs.check_all(&[
        (&["governance", "approvals", "list", "--state", "used"], &[]),
        (&["governance", "approvals", "show", &ids[0]], &[]),
        (&["hook", "track", "--client", "codex", "--url", "http://127.0.0.1:1"], &[]),
    ]);
    let facets: Vec<_> = FACETS.iter().map(|facet| facet.name).collect();
    let of_facets = format!(r"({})(.?:) \d+", facets.join("|"));
    // The last column is a time in milliseconds.
    let latency = [(r"  \d+\n", "  [n]\n")];
    let entries = [
        (r"(entries.?:) \d+", "$1 [n]"),
        (r"\d+ entries", "[n] entries"),
        (r"((decisions|allowed|denied|warned|users).?:) \d+", "$1 [n]"),
        (r"(?m)^( (allow|deny|warn) +)\d+ +\d+ +\d+ +\d+ +\d+", "$1[n]"),
        (r#"((key_id|follows).?: "?)[0-9a-f]{16}"#, "$1[key]"),
        (r"key [0-9a-f]{16}", "key [key]"),
        (r"(?m)^ [0-9a-f]{16} ", " [key] "),
        (r"[A-Za-z0-9+/]{86}==", "[endorsement]"),
        (r"[A-Za-z0-9+/]{43}=", "[public key]"),
    ];
    outputs.check_all(&[
        (&["admin", "config", "show", "server"], &[]),
        (&["admin", "config", "validate"], &[]),
        (&["admin", "gateway", "cache", "list"], &[]),
        (&["admin", "gateway", "quotas", "list"], &[]),
        (&["admin", "gateway", "quotas", "show", "ada"], &[]),
        (&["infra", "services", "status"], &[]),
        // How many there are grows with the product.
        (&["infra", "db", "status"], &[(r"(tables.?:?) +\d+", "$1 [n]")]),
        (&["infra", "db", "info"], &[(r"\d+ idle", "[n] idle"), (r"(idle.?:) \d+", "$1 [n]")]),
        (
            &["infra", "db", "tables", "--filter", "user"],
            &[(r"row_count(.?:) (\d+|null)", "row_count$1 [n]"), (r"  (\?|\d+)  \[size\]\n", "  [n]  [size]\n")],
        ),
        (&["infra", "db", "describe", "user_api_keys"], &[]),
        (&["infra", "db", "count", "users"], &[]),
        // By size, and sizes differ.
        (
            &["infra", "db", "size"],
            &[(r#"(name(": "|: ))\w+"#, "$1[table]"), (r"\n \w+  \[size\]", "\n [table]  [size]")],
        ),
        (&["infra", "db", "indexes", "--table", "users"], &[]),
        (&["infra", "db", "query", "SELECT 1 AS one, 'two words' AS text, NULL AS nothing, ARRAY[1, 2] AS list"], &[]),
        (&["infra", "db", "migrate-plan"], &[]),
        (&["infra", "db", "migrate-status"], &[]),
        (&["infra", "db", "migrate-repair"], &[]),
        (&["infra", "db", "doctor"], &[]),
        (&["infra", "db", "migrate-down", "identity"], &[]),
        (&["infra", "db", "projections", "list"], &[]),
        (&["infra", "db", "projections", "status"], &[]),
        (&["infra", "logs", "request", "list"], &latency),
        (&["infra", "logs", "request", "show", &request, "--messages", "--tools"], &[]),
        (&["infra", "logs", "request", "stats"], &latency),
        (&["infra", "logs", "request", "top", "--by", "model"], &[]),
        (&["infra", "logs", "trace", "list", "--action", "infer"], &[]),
        (&["infra", "logs", "trace", "show", &request], &[]),
        (&["infra", "logs", "audit", &request], &[]),
        (
            &["infra", "logs", "audit", "verify"],
            &[
                (r"((seq|verified|content|accounts).?:) \d+", "$1 [n]"),
                (r"\d+ to \d+", "[n] to [n]"),
                (r"content( +)\d+ parts", "content$1[n] parts"),
                (r"verified  \d+", "verified  [n]"),
            ],
        ),
        (&["infra", "logs", "audit", "export", "--output", "ledger.jsonl"], &entries),
        (&["infra", "logs", "audit", "keys", "list"], &entries),
        (&["infra", "logs", "governance", "report", "--group-by", "decision"], &entries),
        (&["infra", "logs", "hooks", "list"], &[]),
        (&["infra", "logs", "changes", "list", "--operation", "user.create"], &[]),
        (&["infra", "logs", "changes", "show", changes["items"][0]["id"].as_str().expect("an id")], &[]),
        (&["infra", "logs", "view", "--trace", &trace], &[]),
        (&["infra", "logs", "telemetry", "spans"], &[]),
        (&["infra", "logs", "telemetry", "logs"], &[]),
        (&["infra", "logs", "telemetry", "metrics"], &[]),
        (&["infra", "logs", "search", "/nothing/here"], &[]),
        (&["plugins", "list"], &[(of_facets.as_str(), "$1$2 [n]"), (r"  (yes|no)  [a-z_]+ \d+.*\n", "  $1  [n]\n")]),
        (&["plugins", "show", "identity"], &[(r"(line.?:) \d+", "$1 [n]")]),
        (&["plugins", "validate"], &[]),
        (&["governance", "secrets", "rules", "list", "--filter", "github-token"], &[]),
        (&["governance", "secrets", "rules", "show", "github-token-classic"], &[]),
        (&["governance", "secrets", "scan-history", "--rule", "github-token-classic"], &[(r"\d+ texts", "[n] texts")]),
        (
            &[
                "governance",
                "secrets",
                "test",
                concat!("push with ghp_", "k3xV9mQ2sLw8RbT5yNcJ7uHd4pZf1gA6eW0i and go on"),
            ],
            &[(r"ghp_[0-9A-Za-z]+", "[token]")],
        ),
        (&["plugins", "capabilities", "roles"], &[]),
    ]);
    outputs.change(&["infra", "logs", "content", "redact", &request, "--part", "answer", "--yes"], [""; 3]);
    let erased = [(r"\d+ (parts|records)", "[n] $1"), (r"(actions|parts)(.?:) \d+", "$1$2 [n]")];
    outputs.change_masked(&["infra", "logs", "content", "erase", "--user", "admin", "--yes"], [""; 3], &erased);
    let recorded =
        "INSERT INTO extension_migrations (id, extension_id, version, name, checksum, duration_ms, applied_by)
                    VALUES ('earlier_001', 'earlier', 1, 'first', 'sha256:00', 5, '0.0.9')";
    outputs.instance.cli(&["infra", "db", "execute", recorded, "--yes"]);
    outputs.check(&["infra", "db", "migrate-history", "earlier"]);
    let rebuild = ["infra", "db", "projections", "rebuild", "governance_changes"];
    outputs.change_masked(&rebuild, [""; 3], &entries);
    outputs.change_masked(&["infra", "logs", "audit", "keys", "rotate", "--yes"], [""; 3], &entries);

    for (form, _) in FORMS {
        outputs.instance.send(http::Method::GET, &format!("/nothing/{form}"), &[], "").await;
    }
    outputs.check_until(&["infra", "logs", "stream", "--text", "/nothing/$F"], Signal::INT);

    outputs.instance.signal(Signal::TERM);
    outputs.instance.wait();
    outputs.check_until(&["up", "--port", "0", "--no-demo"], Signal::TERM);
    outputs.check_started_and_stopped();
    outputs.change(&["admin", "setup", "-e", "$F"], [""; 3]);

    assert!(outputs.shapes.flaws.is_empty(), "{:#?}", outputs.shapes.flaws);
    let unseen: Vec<_> = outputs.commands.difference(&outputs.seen).collect();
    assert!(unseen.is_empty(), "without a snapshot: {unseen:?}");
}
