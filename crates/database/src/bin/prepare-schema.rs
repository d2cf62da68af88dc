//! Runs a throw-away PostgreSQL for as long as its standard input is open, with the workspace's tables in it.
//!
//! `prepare-schema DIRECTORY [WORKSPACE]` starts a cluster in DIRECTORY, applies `crates/*/schema/*.sql` of WORKSPACE, prints
//! the URL on one line and waits for the end of its input. `cargo xtask generate` checks the SQL in the code against it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the URL on standard output is what it is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::{fs, io};

use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use systemprompt_database::cluster::{BinarySearch, ClusterError, ClusterOptions, ManagedCluster};
use systemprompt_model::Ambient;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let directory = arguments.next().ok_or("usage: prepare-schema DIRECTORY [WORKSPACE]")?;
    let workspace = arguments.next();

    let options = ClusterOptions::new(std::path::absolute(directory)?, binary_search(), Ambient::system());
    let hint = |error: ClusterError| {
        let hint = error.hint().map(|hint| format!("\nhelp: {hint}")).unwrap_or_default();
        format!("{error}{hint}")
    };
    let cluster = ManagedCluster::open(options).map_err(hint)?.ensure_running().await.map_err(hint)?;
    let prepared = match &workspace {
        Some(workspace) => apply_schemas(workspace, cluster.url().expose()).await,
        None => Ok(()),
    };
    if prepared.is_ok() {
        println!("{}", cluster.url().expose());
        io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    }
    cluster.release().await.map_err(hint)?;
    prepared
}

#[expect(clippy::disallowed_methods, reason = "a developers' program, which has no configuration to take them from")]
fn binary_search() -> BinarySearch {
    let directory = |name| std::env::var_os(name).map(PathBuf::from);
    BinarySearch {
        configured: directory("SYSTEMPROMPT_PG_BIN"),
        path: std::env::var_os("PATH"),
        home: directory("HOME"),
        data_home: directory("XDG_DATA_HOME"),
        ..BinarySearch::default()
    }
}

async fn apply_schemas(workspace: &Path, url: &str) -> Result<(), Box<dyn Error>> {
    let mut connection = PgConnection::connect_with(&PgConnectOptions::from_str(url)?).await?;
    for directory in schema_directories(workspace)? {
        let mut waiting: BTreeSet<PathBuf> =
            fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        waiting.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));

        // Files of one crate may refer to each other in any order: what cannot be applied yet is tried again after the rest.
        while !waiting.is_empty() {
            let mut failed = BTreeMap::new();
            let before = waiting.len();
            for path in waiting {
                let sql = fs::read_to_string(&path)?;
                let mut transaction = connection.begin().await?;
                match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await {
                    Ok(_) => transaction.commit().await?,
                    Err(error) => {
                        transaction.rollback().await?;
                        failed.insert(path, error);
                    }
                }
            }
            if failed.len() == before {
                let problems: Vec<_> =
                    failed.iter().map(|(path, error)| format!("{}: {error}", path.display())).collect();
                return Err(problems.join("\n").into());
            }
            waiting = failed.into_keys().collect();
        }
    }
    connection.close().await?;
    Ok(())
}

/// The schema directories of the workspace's crates, a crate after the crates it depends on.
fn schema_directories(workspace: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        manifest_path: PathBuf,
        dependencies: Vec<Dependency>,
    }
    #[derive(Deserialize)]
    struct Dependency {
        name: String,
        kind: Option<String>,
    }

    let output =
        Command::new("cargo").args(["metadata", "--no-deps", "--format-version=1"]).current_dir(workspace).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let mut waiting = serde_json::from_slice::<Metadata>(&output.stdout)?.packages;
    let mut directories = Vec::new();
    while !waiting.is_empty() {
        let names: BTreeSet<_> = waiting.iter().map(|package| package.name.clone()).collect();
        let is_ready = |package: &Package| {
            !package.dependencies.iter().any(|dependency| dependency.kind.is_none() && names.contains(&dependency.name))
        };
        let (ready, blocked): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_ready);
        if ready.is_empty() {
            return Err("the crates of the workspace depend on each other in a circle".into());
        }
        directories.extend(ready.iter().filter_map(|package| Some(package.manifest_path.parent()?.join("schema"))));
        waiting = blocked;
    }
    directories.retain(|directory| directory.is_dir());
    Ok(directories)
}
