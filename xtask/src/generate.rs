//! Files that are made out of the code and committed.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::step::step;

/// What happens to a committed file that differs from the generated one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is replaced.
    Write,
    /// It is reported, and the task fails.
    Check,
}

/// What sqlx needs to know of each query, to check it without a database; and the reference documentation.
pub(crate) fn run(sh: &Shell, mode: Mode) -> Result<bool> {
    step("PostgreSQL", |progress| Ok(((), crate::postgres::ensure(sh, progress)?)))?;
    let temporary = sh.create_temp_dir()?;
    fs::set_permissions(temporary.path(), Permissions::from_mode(0o755))?;
    let root = sh.current_dir();

    let queries = sh.create_dir(temporary.path().join("sqlx"))?;
    step("Check the SQL in the code", |_| {
        let database = ThrowAwayDatabase::start(sh, &temporary.path().join("cluster"))?;
        forget_checked_queries(&root)?;
        cmd!(sh, "cargo check --quiet --workspace --all-targets")
            .env("DATABASE_URL", &database.url)
            .env("SQLX_OFFLINE", "false")
            .env("SQLX_OFFLINE_DIR", &queries)
            .quiet()
            .run()?;
        database.stop()?;
        Ok(((), format!("{} queries", read(&queries)?.len())))
    })?;
    let sql_is_current = compare(&queries, &root.join(".sqlx"), mode)?;

    let reference = temporary.path().join("reference");
    step("Write the reference", |_| {
        cmd!(sh, "cargo run --quiet --package systemprompt -- reference {reference}")
            .env("SQLX_OFFLINE", "true")
            .env("SQLX_OFFLINE_DIR", &queries)
            .quiet()
            .run()?;
        Ok(((), format!("{} pages", read(&reference)?.len())))
    })?;
    let reference_is_current = compare(&reference, &root.join("docs/reference"), mode)?;

    if mode == Mode::Check && !(sql_is_current && reference_is_current) {
        eprintln!("help: run `cargo xtask generate` and commit what it writes");
        return Ok(false);
    }
    Ok(true)
}

/// A PostgreSQL with the tables of all crates, as long as the program that runs it has its standard input open.
struct ThrowAwayDatabase {
    program: Child,
    url: String,
}

impl ThrowAwayDatabase {
    fn start(sh: &Shell, directory: &Path) -> Result<Self> {
        let mut program = Command::new("cargo")
            .args(["run", "--quiet", "--package", "systemprompt-database", "--bin", "prepare-schema", "--"])
            .arg(directory)
            .arg(sh.current_dir())
            .current_dir(sh.current_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("running cargo")?;
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

/// Makes cargo compile every crate with SQL in it anew: it does not know that the macros read a database.
fn forget_checked_queries(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root.join("crates"))? {
        let directory = entry?.path();
        let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
        let library = directory.join("src/lib.rs");
        if manifest.contains("\nsqlx") && library.is_file() {
            File::options().append(true).open(&library)?.set_modified(SystemTime::now())?;
        }
    }
    Ok(())
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
