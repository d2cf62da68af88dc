//! What must hold before a change lands.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::generate::{Generated, Lints, Mode};
use crate::step::{elapsed, step};
use crate::workspace::target_directory;

/// Everything. Goes on after a failure, so that one run shows all there is to mend.
pub(crate) fn run(sh: &Shell) -> Result<bool> {
    step("PostgreSQL", |progress| Ok(((), crate::postgres::ensure(sh, progress)?)))?;
    let has_nextest = step("cargo-nextest", |progress| {
        if cmd!(sh, "cargo nextest --version").quiet().ignore_stdout().ignore_stderr().run().is_ok() {
            return Ok((true, "already there".to_owned()));
        }
        let mut install = Command::new("cargo");
        install.args(["install", "--locked", "cargo-nextest"]);
        let installed = progress.follow(&mut install, |line| {
            line.trim_start().strip_prefix("Compiling ").map(|what| format!("compiling {what}"))
        });
        Ok(match installed {
            Ok(()) => (true, "installed".to_owned()),
            Err(_) => (false, "cannot be installed, using `cargo test`".to_owned()),
        })
    })?;
    let python = step("Python SDKs", |progress| {
        progress.note("installing");
        let directory = target_directory(sh)?.join("sdk");
        Ok((Python::with(sh, &directory, "tests/sdk/requirements.txt")?, "ready".to_owned()))
    })?;
    let clients = install_clients(sh)?;

    let mut report = Report::default();
    format(sh, &mut report);
    // All of it in one go and first: whatever follows runs programs, and finds them built.
    report.check("build", || {
        let tests = cargo(sh, &["test", "--workspace", "--no-run"]).status()?;
        let programs =
            cargo(sh, &["build", "--workspace", "--bin", "systemprompt", "--bin", "systemprompt-mock-upstream"])
                .status()?;
        Ok(tests.success() && programs.success())
    });
    let mut generated = Generated::new(sh)?;
    report.check("clippy, with the SQL in the code", || generated.check_sql(Lints::Denied));
    report.check("generated files", || generated.compare(Mode::Check));

    let tests: &[&str] = if has_nextest {
        &["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        &["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]
    };
    report.tests("tests", &mut cargo(sh, tests))?;
    let doc_tests = ["test", "--workspace", "--no-fail-fast", "--doc"];
    report.tests("documentation examples", &mut cargo(sh, &doc_tests))?;

    report.tests("official SDKs", &mut pytest(sh, &python, "tests/sdk")?)?;
    report.tests("programs people use", &mut clients.pytest(sh, &python)?)?;

    Ok(report.print())
}

/// Only the programs people use, against the debug build there is.
pub(crate) fn clients(sh: &Shell) -> Result<bool> {
    let python = Python::with(sh, &target_directory(sh)?.join("sdk"), "tests/sdk/requirements.txt")?;
    let clients = install_clients(sh)?;
    let mut report = Report::default();
    report.tests("programs people use", &mut clients.pytest(sh, &python)?)?;
    Ok(report.print())
}

/// Pytest on a folder, with the programs of the debug build.
fn pytest(sh: &Shell, python: &Python, folder: &str) -> Result<Command> {
    let programs = target_directory(sh)?.join("debug");
    let mut command = python.command();
    command
        .current_dir(sh.current_dir())
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", folder])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SYSTEMPROMPT_BIN", programs.join("systemprompt"))
        .env("MOCK_UPSTREAM_BIN", programs.join("systemprompt-mock-upstream"));
    Ok(command)
}

/// Where the programs of `tests/clients` are installed.
struct Clients {
    node: PathBuf,
    aider: PathBuf,
}

impl Clients {
    fn pytest(&self, sh: &Shell, python: &Python) -> Result<Command> {
        let mut command = pytest(sh, python, "tests/clients")?;
        command.env("CLIENTS_NODE", &self.node).env("CLIENTS_AIDER", &self.aider);
        Ok(command)
    }
}

/// Installs what `tests/clients` drives, unless exactly that has been done before.
fn install_clients(sh: &Shell) -> Result<Clients> {
    step("programs people use", |progress| {
        progress.note("installing");
        let directory = target_directory(sh)?.join("clients");
        let node = directory.join("node");
        let package = sh.read_file("tests/clients/package.json")?;
        let stamp = node.join("installed.json");
        if fs::read_to_string(&stamp).ok().as_ref() != Some(&package) {
            let _ = fs::remove_dir_all(&node);
            sh.create_dir(&node)?;
            sh.write_file(node.join("package.json"), &package)?;
            let programs = directory.join("npm");
            let programs = Python::with(sh, &programs, "tests/clients/node.txt")?.directory(&programs).join("bin");
            let path = sh.var_os("PATH").unwrap_or_default();
            let path = env::join_paths(std::iter::once(programs).chain(env::split_paths(&path)))?;
            let _path = sh.push_env("PATH", path);
            // Of all that is installed only these two have to run something: they put their own program where it is looked for.
            let natives = ["@anthropic-ai/claude-code", "opencode-ai"];
            let quiet = ["--no-audit", "--no-fund", "--silent"];
            cmd!(sh, "npm install --prefix {node} {quiet...} --ignore-scripts").quiet().run()?;
            cmd!(sh, "npm rebuild --prefix {node} {quiet...} --ignore-scripts=false {natives...}").quiet().run()?;
            sh.write_file(&stamp, &package)?;
        }
        let aider = directory.join("aider");
        let aider = Python::with(sh, &aider, "tests/clients/aider.txt")?.directory(&aider);
        Ok((Clients { node, aider }, "ready".to_owned()))
    })
}

/// The quick part: what an editor's save should not break.
pub(crate) fn check(sh: &Shell) -> Result<bool> {
    let mut report = Report::default();
    format(sh, &mut report);
    report.check("clippy", || {
        let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        Ok(cargo(sh, &clippy).status()?.success())
    });
    let architecture = ["test", "--quiet", "--package", "systemprompt", "--test", "architecture"];
    report.tests("architecture", &mut cargo(sh, &architecture))?;
    Ok(report.print())
}

fn format(sh: &Shell, report: &mut Report) {
    report.check("format", || Ok(cmd!(sh, "cargo fmt --all --check").quiet().run().is_ok()));
}

/// Cargo, checking queries against the committed data, not a database.
fn cargo(sh: &Shell, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(sh.current_dir()).env("SQLX_OFFLINE", "true").env_remove("DATABASE_URL");
    command
}

/// How the parts went.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    passed: u64,
    failed: u64,
}

impl Report {
    /// A part that either holds or does not.
    fn check(&mut self, name: &str, part: impl FnOnce() -> Result<bool>) {
        let begun = Instant::now();
        let holds = part().unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            false
        });
        self.add(name, begun, u64::from(holds), u64::from(!holds));
    }

    /// A part that counts its tests.
    fn tests(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let begun = Instant::now();
        let (succeeded, output) = tee(command)?;
        let (mut passed, mut failed) = (0, 0);
        for line in output.iter().filter(|line| is_summary(line)) {
            passed += number_before("passed", line);
            failed += number_before("failed", line) + number_before("timed out", line) + number_before("error", line);
        }
        // It did not come as far as its tests.
        failed += u64::from(!succeeded && failed == 0);
        self.add(name, begun, passed, failed);
        Ok(())
    }

    fn add(&mut self, name: &str, begun: Instant, passed: u64, failed: u64) {
        let mark = if failed == 0 { '✓' } else { '✗' };
        let line = format!("{mark} {name}: {passed} passed, {failed} failed ({})", elapsed(begun));
        eprintln!("{line}");
        self.lines.push(line);
        self.passed += passed;
        self.failed += failed;
    }

    fn print(self) -> bool {
        eprintln!();
        for line in &self.lines {
            eprintln!("{line}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0
    }
}

/// The closing line of nextest, of Rust's test harness, or of pytest. Not one that nextest quotes, indented, from the output
/// of a failed test: it counts that test itself.
fn is_summary(line: &str) -> bool {
    if line.starts_with("test result:") {
        return true;
    }
    let line = line.trim().trim_matches(['=', ' ']);
    // After a minute, pytest adds the time in other words: `in 72.16s (0:01:12)`.
    let timed = line.split_once(" (0:").map_or(line, |(timed, _)| timed);
    let is_timed = || timed.strip_suffix('s').is_some_and(|rest| rest.ends_with(|last: char| last.is_ascii_digit()));
    line.starts_with("Summary [")
        || line.starts_with(|first: char| first.is_ascii_digit()) && line.contains(" in ") && is_timed()
}

/// The number in front of `word`, in something like `3 passed, 1 failed`.
fn number_before(word: &str, line: &str) -> u64 {
    let before = line.split_once(&format!(" {word}")).map(|(before, _)| before);
    before.and_then(|before| before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).unwrap_or(0)
}

/// Runs a command, shows its output and keeps its lines.
fn tee(command: &mut Command) -> Result<(bool, Vec<String>)> {
    let colors = if std::io::stderr().is_terminal() { "always" } else { "never" };
    command.env("CARGO_TERM_COLOR", colors);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("running {program}"))?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let lines = std::thread::scope(|scope| {
        let errors = scope.spawn(|| errors.map(echo).unwrap_or_default());
        let mut lines = output.map(echo).unwrap_or_default();
        lines.extend(errors.join().unwrap_or_default());
        lines
    });
    Ok((child.wait()?.success(), lines))
}

/// Copies to standard error, and returns the lines without colours.
fn echo(stream: impl Read) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        eprintln!("{line}");
        let mut parts = line.split('\u{1b}');
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            plain.push_str(part.split_once('m').map_or("", |(_, text)| text));
        }
        lines.push(plain);
    }
    lines
}

/// A Python that can import the SDKs the tests use.
struct Python {
    program: PathBuf,
    packages: Option<PathBuf>,
}

impl Python {
    /// Installs a file of requirements below `directory`, unless exactly that has been done before: as a virtual
    /// environment, or, as Debian keeps `venv` in a package of its own, as a directory of packages.
    fn with(sh: &Shell, directory: &Path, requirements: &str) -> Result<Self> {
        let requirements = sh.current_dir().join(requirements);
        let wanted = sh.read_file(&requirements)?;
        let (venv, packages, stamp) =
            (directory.join("venv"), directory.join("packages"), directory.join("installed.txt"));
        let of_venv = Self { program: venv.join("bin/python"), packages: None };
        let of_packages = Self { program: "python3".into(), packages: Some(packages.clone()) };

        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(if of_venv.program.exists() { of_venv } else { of_packages });
        }
        let _ = fs::remove_dir_all(directory);
        let quietly = |command: xshell::Cmd<'_>| {
            let output = command.quiet().ignore_status().output()?;
            if !output.status.success() {
                bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
            }
            Ok(())
        };
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        let python = if quietly(cmd!(sh, "python3 -m venv {venv}")).is_ok() {
            let python = &of_venv.program;
            quietly(cmd!(sh, "{python} {pip...} {requirements}"))?;
            of_venv
        } else {
            let _ = fs::remove_dir_all(&venv);
            quietly(cmd!(sh, "python3 {pip...} {requirements} --target {packages}"))
                .context("Python with venv or pip is needed (`apt-get install python3-venv`)")?;
            of_packages
        };
        sh.write_file(&stamp, wanted)?;
        Ok(python)
    }

    /// Where its programs are, in `bin`.
    fn directory(&self, installed: &Path) -> PathBuf {
        self.packages.clone().unwrap_or_else(|| installed.join("venv"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(packages) = &self.packages {
            command.env("PYTHONPATH", packages);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_all_runners_are_counted() {
        let check = |line: &str, expected: Option<(u64, u64)>| {
            let counted = is_summary(line).then(|| (number_before("passed", line), number_before("failed", line)));
            assert_eq!(counted, expected, "{line}");
        };
        check("     Summary [   9.335s] 21 tests run: 20 passed (2 slow), 1 failed, 15 skipped", Some((20, 1)));
        check(
            "test result: ok. 13 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.96s",
            Some((13, 0)),
        );
        check("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; finished in 2.63s", None);
        check("2 failed, 10 passed in 3.21s", Some((10, 2)));
        check("========= 10 passed, 1 warning in 3.21s =========", Some((10, 0)));
        check("1 failed, 164 passed in 72.16s (0:01:12)", Some((164, 1)));
        check("        PASS [   0.004s] ( 1/20) systemprompt-database one_passed_in_vain", None);
        check("3 tests in files", None);
    }
}
