//! Every command that the guides show is run. A `console` block is run line by line as somebody would who follows the guide
//! from top to bottom; what it shows as the answer must be what is answered, in its first words.
//!
//! One server for all of them; a block that starts a server gets an empty project of its own. What a reader replaces — an
//! address, a key, an id — is replaced. A block that needs the outside world has a comment above it that readers do not see:
//! `<!-- not run: why -->`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use systemprompt_database::testing::empty_database;
use tempfile::TempDir;

use crate::harness::{Instance, Setup, hello};

/// Where the root of the repository is.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// How many blocks may be left out. A new one needs a better reason than those there are.
const NOT_RUN: usize = 7;

/// Commands that go on until they are told to stop.
const GO_ON: [&str; 2] = ["systemprompt up", "systemprompt infra logs stream"];

/// A block of commands.
struct Block {
    /// The document and the line.
    place: String,
    /// Why it is not run, if it is not.
    not_run: Option<String>,
    steps: Vec<Step>,
}

/// A command, and what the guide says it answers.
struct Step {
    line: String,
    answer: Vec<String>,
}

/// The documents, in the order they are followed: accounts are made before they are used.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("docs/concepts/identity-and-sessions.md")];
    for folder in ["docs/concepts", "docs/guides"] {
        let entries = std::fs::read_dir(Path::new(ROOT).join(folder)).expect("documents");
        let mut pages: Vec<_> =
            entries.map(|entry| Path::new(folder).join(entry.expect("an entry").file_name())).collect();
        pages.sort();
        found.extend(pages.into_iter().filter(|page| !found.contains(page)).collect::<Vec<_>>());
    }
    found.push(PathBuf::from("README.md"));
    found
}

fn blocks(document: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(Path::new(ROOT).join(document)).expect("a document");
    let (mut found, mut open, mut above) = (Vec::new(), None::<Block>, "");
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None if line.trim() == "```console" => {
                let reason = above.trim().strip_prefix("<!-- not run: ").and_then(|rest| rest.strip_suffix(" -->"));
                let place = format!("{}:{}", document.display(), number + 1);
                open = Some(Block { place, not_run: reason.map(str::to_owned), steps: Vec::new() });
            }
            None => {}
            Some(_) if line.trim() == "```" => found.extend(open.take()),
            Some(block) => match (line.strip_prefix("$ "), block.steps.last_mut()) {
                (Some(command), _) => block.steps.push(Step { line: command.to_owned(), answer: Vec::new() }),
                // The command goes on.
                (None, Some(step)) if step.line.ends_with('\\') => {
                    step.line.push('\n');
                    step.line.push_str(line);
                }
                (None, Some(step)) => step.answer.push(line.to_owned()),
                (None, None) => panic!("{}: an answer without a question: {line}", block.place),
            },
        }
        above = line;
    }
    assert!(open.is_none(), "{}: a block without an end", document.display());
    found
}

#[test]
fn few_blocks_are_not_run_and_each_says_why() {
    let all: Vec<_> = documents().iter().flat_map(|document| blocks(document)).collect();
    let left_out: Vec<_> = all.iter().filter_map(|block| Some((&block.place, block.not_run.as_ref()?))).collect();
    assert!(left_out.len() <= NOT_RUN, "{left_out:?}");
    assert!(left_out.iter().all(|(_, reason)| reason.split(' ').count() > 2), "{left_out:?}");
    assert!(all.len() - left_out.len() > 20, "{} blocks were found", all.len());
}

/// What follows the guide.
struct Reader {
    directory: PathBuf,
    environment: BTreeMap<String, String>,
    /// What a reader replaces, and by what.
    replaced: Vec<(Regex, String)>,
    /// What runs until the block ends.
    running: Vec<Child>,
}

impl Reader {
    /// Runs a block.
    fn follow(&mut self, block: &Block) {
        for step in &block.steps {
            let mut line = step.line.clone();
            for (pattern, by) in &self.replaced {
                line = pattern.replace_all(&line, by.as_str()).into_owned();
            }
            self.run(&block.place, &line, &step.answer);
        }
        for child in self.running.drain(..) {
            end(child);
        }
    }

    fn run(&mut self, place: &str, line: &str, answer: &[String]) {
        let line = line.split("  # ").next().unwrap_or_default().trim();
        if let Some(assignments) = line.strip_prefix("export ") {
            for (name, value) in assignments.split(' ').filter_map(|one| one.split_once('=')) {
                self.environment.insert(name.to_owned(), value.to_owned());
            }
            return;
        }
        let mut command = Command::new("sh");
        command.env_clear().envs(&self.environment).current_dir(&self.directory).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // Without its assignments before it.
        let words: Vec<_> = line.split(' ').skip_while(|word| word.contains('=')).collect();
        let goes_on = GO_ON.iter().any(|go_on| words.join(" ").starts_with(go_on));
        if goes_on {
            let port = if words.contains(&"up") { " --port 0" } else { "" };
            let mut child = command.arg("-c").arg(format!("exec env {line}{port}")).spawn().expect("a shell");
            let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
            let mut first = String::new();
            // `up` begins with an empty line.
            while first.trim().is_empty() && said.read_line(&mut first).expect("standard output") > 0 {}
            if first.trim().is_empty() {
                let mut errors = String::new();
                let _ = child.stderr.take().expect("it is piped").read_to_string(&mut errors);
                panic!("{place}: `{line}` ends without a word: {errors}");
            }
            child.stdout = Some(said.into_inner());
            self.running.push(child);
            return;
        }
        let mut child = command.arg("-c").arg(line).spawn().expect("a shell");
        // What is asked for with `-`; whoever does not read it is gone already.
        let _ = child.stdin.take().expect("it is piped").write_all(b"a-password\n");
        let output = child.wait_with_output().expect("it ends");
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let all = format!("{place}: `{line}`: {:?}\n{said}\n{errors}", output.status.code());
        let refusal = answer.iter().find(|expected| expected.starts_with("error["));
        assert_eq!(output.status.success(), refusal.is_none(), "{all}");
        for expected in answer {
            let begins = first_word(expected);
            let found = said.lines().chain(errors.lines()).any(|line| first_word(line) == begins);
            assert!(begins.is_empty() || found, "the guide shows `{expected}`; {all}");
        }
    }
}

/// What a line begins with, unless that is a number, an id or a time.
fn first_word(line: &str) -> &str {
    let line = line.trim();
    let end =
        if line.starts_with('{') { line.char_indices().nth(12).map_or(line.len(), |(at, _)| at) } else { line.len() };
    let word = line[..end].split([' ', '\u{2026}']).next().unwrap_or_default();
    if word.starts_with(|c: char| c.is_ascii_digit()) { "" } else { word }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for mut child in self.running.drain(..) {
            let _ = child.kill();
        }
        if std::thread::panicking() && !self.environment.contains_key("SYSTEMPROMPT_HOME") {
            // What a block began in the background ends with it.
            let mut command = Command::new("sh");
            command.env_clear().envs(&self.environment).current_dir(&self.directory);
            let _ = command.arg("-c").arg("systemprompt infra services stop").output();
        }
    }
}

fn end(child: Child) {
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process id");
    kill_process(pid, Signal::TERM).expect("our own child");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_guides_works() {
    let instance = Instance::with(Setup { governance: None, ..Setup::default() }).await;
    let allowed = instance.messages(&hello("demo-1")).await.request_id().to_owned();
    let leak = format!("Why is AKIA{} refused by S3?", "IOSFODNN7EXAMPLF");
    let body = json!({"model": "demo-1", "max_tokens": 100, "messages": [{"role": "user", "content": leak}]});
    let refused = instance.messages(&body).await.request_id().to_owned();
    instance.record(&allowed).await;

    let programs = TempDir::new().expect("a directory");
    let binary = Path::new(env!("CARGO_BIN_EXE_systemprompt"));
    std::os::unix::fs::symlink(binary, programs.path().join("systemprompt")).expect("a link");
    let path = std::env::var("PATH").unwrap_or_default();
    let environment = |home: &Path| {
        BTreeMap::from(
            [
                ("PATH", format!("{}:{path}", programs.path().display())),
                ("HOME", home.display().to_string()),
                ("NO_COLOR", "1".to_owned()),
                ("SYSTEMPROMPT_NON_INTERACTIVE", "1".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        )
    };
    let pattern = |text: &str| Regex::new(text).expect("a pattern");
    let replaced = |database: Option<&str>| {
        let mut replaced = vec![
            (pattern(r"http://127\.0\.0\.1:8080"), instance.url.clone()),
            (pattern(r"sp-live-…"), instance.key.clone()),
            // The one that the README shows refused; ids of today begin like those in the guides.
            (pattern(r"01a20374-da7b"), "REFUSED".to_owned()),
            (pattern(r"01a2[0-9a-f]{4}-[0-9a-f-]+"), allowed.clone()),
            (pattern(r"REFUSED"), refused.clone()),
        ];
        replaced.extend(database.map(|url| (pattern(r"postgres://[^ ]*…[^ ]*"), format!("'{url}'"))));
        replaced
    };
    let home = instance.home.path();
    std::os::unix::fs::symlink(home.join("home"), home.join(".systemprompt")).expect("a link");
    let mut usual = environment(home);
    usual.insert("SYSTEMPROMPT_HOME".to_owned(), home.join("home").display().to_string());
    let mut reader =
        Reader { directory: home.to_owned(), environment: usual, replaced: replaced(None), running: Vec::new() };
    for document in documents() {
        for block in blocks(&document).iter().filter(|block| block.not_run.is_none()) {
            let starts =
                |step: &Step| ["systemprompt up", "infra services start"].iter().any(|start| step.line.contains(start));
            if !block.steps.iter().any(starts) {
                // A stream of the log begins with what was said just now.
                if block.steps.iter().any(|step| step.line.contains("logs stream")) {
                    instance.send(http::Method::GET, "/nothing/here", &[], "").await;
                }
                reader.follow(block);
                continue;
            }
            let (project, database) = (TempDir::new().expect("a directory"), empty_database().await);
            let url = database.url.expose();
            let mut environment = environment(project.path());
            // One that shows the managed PostgreSQL has one.
            let managed = block.steps.iter().flat_map(|step| &step.answer).any(|line| line.starts_with("PostgreSQL"));
            if !managed {
                environment.insert("DATABASE_URL".to_owned(), url.to_owned());
            }
            let directory = project.path().to_owned();
            let mut apart = Reader { directory, environment, replaced: replaced(Some(url)), running: Vec::new() };
            apart.replaced.push((pattern("infra services start"), "infra services start --port 0".to_owned()));
            // A block that begins with something else is for a project that exists.
            let makes_one =
                |step: &Step| starts(step) || step.line.contains("admin setup") || step.line.starts_with("export ");
            if !block.steps.first().is_some_and(makes_one) {
                apart.run(&block.place, "systemprompt admin setup -e local", &[]);
            }
            apart.follow(block);
            if let Ok(place) = std::fs::read_to_string(project.path().join(".systemprompt/postgres/location")) {
                let _ = std::fs::remove_dir_all(place.trim());
            }
        }
    }
}
