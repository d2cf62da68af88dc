//! Files that are made out of the code and committed.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use xshell::{Shell, TempDir, cmd};

use crate::step::step;
use crate::workspace::target_directory;

/// What happens to a committed file that differs from the generated one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is replaced.
    Write,
    /// It is reported, and the task fails.
    Check,
}

/// What the run of the compiler that checks the queries makes of lints.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lints {
    /// A warning fails it.
    Denied,
    /// Only what does not compile fails it.
    Ignored,
}

/// What sqlx needs to know of each query, to check it without a database; and the reference documentation.
pub(crate) fn run(sh: &Shell, mode: Mode) -> Result<bool> {
    step("PostgreSQL", |progress| Ok(((), crate::postgres::ensure(sh, progress)?)))?;
    Generated::new(sh)?.compare(mode)
}

/// The generated files, in a temporary directory until they are compared with the committed ones.
pub(crate) struct Generated<'a> {
    sh: &'a Shell,
    temporary: TempDir,
    /// Where sqlx writes what it knows of the queries. No other run had a directory of this name.
    queries: PathBuf,
    /// Whether the data of all queries is there.
    has_queries: bool,
}

impl<'a> Generated<'a> {
    pub(crate) fn new(sh: &'a Shell) -> Result<Self> {
        let temporary = sh.create_temp_dir()?;
        // PostgreSQL runs as a user of its own when we are root.
        fs::set_permissions(temporary.path(), Permissions::from_mode(0o755))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let queries = sh.create_dir(temporary.path().join(format!("sqlx-{}", now.as_nanos())))?;
        Ok(Self { sh, temporary, queries, has_queries: false })
    }

    /// Has every query of every target checked against a database with today's tables, and keeps what sqlx writes down of it.
    ///
    /// Clippy does it, because it looks at everything anyway and keeps its own results: neither the dependencies nor what the
    /// tests are built of is compiled for this. Cargo does not know that the macros read a database, so it would not run clippy
    /// again over sources that did not change; it does when the arguments changed, as they do with the name of the directory.
    /// As a library path it has no other effect.
    pub(crate) fn check_sql(&mut self, lints: Lints) -> Result<bool> {
        let (sh, queries) = (self.sh, &self.queries);
        let database = ThrowAwayDatabase::start(sh, &self.temporary.path().join("cluster"))?;
        let (quiet, arguments): (&[&str], &[&str]) = match lints {
            Lints::Denied => (&[], &["-D", "warnings"]),
            Lints::Ignored => (&["--quiet"], &["--cap-lints", "allow"]),
        };
        let passed = cmd!(sh, "cargo clippy {quiet...} --workspace --all-targets -- {arguments...} -L {queries}")
            .env("DATABASE_URL", &database.url)
            .env("SQLX_OFFLINE", "false")
            .env("SQLX_OFFLINE_DIR", queries)
            .quiet()
            .run()
            .is_ok();
        database.stop()?;
        self.has_queries = passed;
        Ok(passed)
    }

    /// Whether the committed files are the generated ones; in [`Mode::Write`] they are afterwards.
    pub(crate) fn compare(&mut self, mode: Mode) -> Result<bool> {
        let (sh, root) = (self.sh, self.sh.current_dir());
        if !self.has_queries {
            step("Check the SQL in the code", |_| {
                if !self.check_sql(Lints::Ignored)? {
                    bail!("the code does not compile against the tables");
                }
                Ok(((), format!("{} queries", read(&self.queries)?.len())))
            })?;
        }
        let sql_is_current = compare(&self.queries, &root.join(".sqlx"), mode)?;

        let reference = self.temporary.path().join("reference");
        step("Write the reference", |_| {
            let systemprompt = program(sh, "systemprompt", Some(&self.queries))?;
            cmd!(sh, "{systemprompt} reference {reference}").quiet().ignore_stdout().run()?;
            Ok(((), format!("{} pages", read(&reference)?.len())))
        })?;
        let reference_is_current = compare(&reference, &root.join("docs/reference"), mode)?;

        if mode == Mode::Check && !(sql_is_current && reference_is_current) {
            eprintln!("help: run `cargo xtask generate` and commit what it writes");
            return Ok(false);
        }
        Ok(true)
    }
}

/// One of the workspace's programs, as the tests are built too: selecting the whole workspace gives every dependency the same
/// features.
fn program(sh: &Shell, name: &str, queries: Option<&Path>) -> Result<PathBuf> {
    let mut build = cmd!(sh, "cargo build --quiet --workspace --bin {name}").env("SQLX_OFFLINE", "true").quiet();
    if let Some(queries) = queries {
        build = build.env("SQLX_OFFLINE_DIR", queries);
    }
    build.run()?;
    Ok(target_directory(sh)?.join("debug").join(name))
}

/// A PostgreSQL with the tables of all crates, as long as the program that runs it has its standard input open.
struct ThrowAwayDatabase {
    program: Child,
    url: String,
}

impl ThrowAwayDatabase {
    fn start(sh: &Shell, directory: &Path) -> Result<Self> {
        let prepare = program(sh, "prepare-schema", None)?;
        let mut program = Command::new(&prepare)
            .arg(directory)
            .arg(sh.current_dir())
            .current_dir(sh.current_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("running {}", prepare.display()))?;
        let mut url = String::new();
        BufReader::new(program.stdout.take().context("standard output is a pipe")?).read_line(&mut url)?;
        let url = url.trim().to_owned();
        if url.is_empty() {
            program.wait()?;
            bail!("the database with the tables of all crates could not be prepared");
        }
        Ok(Self { program, url })
    }

    fn stop(mut self) -> Result<()> {
        drop(self.program.stdin.take());
        let status = self.program.wait()?;
        if !status.success() {
            bail!("the database did not stop: {status}");
        }
        Ok(())
    }
}

/// Whether `committed` holds exactly what `generated` holds; in [`Mode::Write`] it does afterwards.
fn compare(generated: &Path, committed: &Path, mode: Mode) -> Result<bool> {
    let (new, old) = (read(generated)?, read(committed)?);
    let missing_or_changed = new.iter().filter(|(name, content)| old.get(*name) != Some(content)).map(|(name, _)| name);
    let stale = old.keys().filter(|name| !new.contains_key(*name));
    let different: Vec<&PathBuf> = missing_or_changed.chain(stale).collect();
    for name in &different {
        let path = committed.join(name);
        match (mode, new.get(*name)) {
            (Mode::Check, _) => eprintln!("differs: {}", path.display()),
            (Mode::Write, Some(content)) => {
                fs::create_dir_all(path.parent().context("a file has a directory")?)?;
                fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
            }
            (Mode::Write, None) => {
                fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
    }
    Ok(different.is_empty())
}

/// The files below a directory, by their path in it. A directory that does not exist holds none.
fn read(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files.insert(path.strip_prefix(directory)?.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(files)
}
