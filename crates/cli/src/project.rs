//! What commands start from: the home, its configuration, its database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use systemprompt_config::profile::{EnvironmentKind, Runtime};
use systemprompt_config::{Configuration, Environment, Home, HomeNotFound, LoadRequest, Report, environment};
use systemprompt_database::cluster::{BinarySearch, ClusterError, ClusterOptions, ManagedCluster, RunningCluster};
use systemprompt_database::{ConnectError, ConnectOptions, Database, DbPool, PoolSettings};
use systemprompt_extension::{ExtensionConfigs, ExtensionRegistry};
use systemprompt_identity::{KeySet, KeySetError};
use systemprompt_model::{Ambient, Secret};
use systemprompt_server::Assembly;
use systemprompt_server::logs::LogSink;

use crate::error::{CliError, CliResult, Exit};
use crate::globals::Globals;
use crate::printer::Printer;
use crate::stop::Stop;

/// What every command is given.
pub(crate) struct Invocation {
    /// Options every command takes.
    pub(crate) globals: Globals,
    /// The process environment as it was at the start.
    pub(crate) environment: Environment,
    /// Where the command was called.
    pub(crate) working_directory: PathBuf,
    /// How results look, how much is logged and whether anything is asked: flags, environment and profile together.
    pub(crate) runtime: Runtime,
    /// Where results go.
    pub(crate) printer: Printer,
    /// Time and randomness.
    pub(crate) ambient: Ambient,
    /// The receiving end of the process's log, until a server takes it.
    pub(crate) logs: Option<LogSink>,
}

/// A home with its validated configuration.
pub(crate) struct Project {
    /// Where everything is.
    pub(crate) home: Home,
    /// The configuration.
    pub(crate) configuration: Arc<Configuration>,
    /// The extensions' own settings.
    pub(crate) extension_configs: ExtensionConfigs,
    /// The linked extensions, those the profile disables left out.
    pub(crate) registry: Arc<ExtensionRegistry>,
}

/// A connected database, and the managed cluster it is in, if it is.
pub(crate) struct OpenDatabase {
    /// The pools.
    pub(crate) db: DbPool,
    /// Kept so that nobody stops the cluster meanwhile.
    pub(crate) cluster: Option<RunningCluster>,
}

impl Invocation {
    /// The home the command is about, which may not exist yet.
    pub(crate) fn home_or_new(&self) -> CliResult<Home> {
        match Home::discover(self.globals.home.as_deref(), &self.working_directory) {
            Err(HomeNotFound::Nowhere { .. }) => Ok(Home::of_project(&self.working_directory)),
            found => found.map_err(no_home),
        }
    }

    /// The home the command is about.
    pub(crate) fn home(&self) -> CliResult<Home> {
        Home::discover(self.globals.home.as_deref(), &self.working_directory).map_err(no_home)
    }

    /// The home with its configuration, checked as start-up checks it.
    pub(crate) fn project(&self) -> CliResult<Project> {
        Project::load(self.home()?, self.globals.profile.clone(), &self.environment, &self.printer)
    }

    /// The database the command is about: `--database-url`, else the one of the project.
    pub(crate) async fn database(&self) -> CliResult<OpenDatabase> {
        if let Some(url) = &self.globals.database_url {
            let settings = PoolSettings { max_connections: 4, ..PoolSettings::default() };
            let db = connect(url.clone(), None, settings, "cli").await.map_err(|error| {
                // It was given on the command line.
                if error.code == "db_url_invalid" { error.exit(Exit::Usage) } else { error }
            })?;
            return Ok(OpenDatabase { db, cluster: None });
        }
        let project = self.project()?;
        project.open_database(&self.environment, &self.ambient, "cli").await
    }

    /// Does something with the database the command is about, and closes it whatever that comes to.
    pub(crate) async fn with_database<T>(&self, work: impl AsyncFnOnce(&OpenDatabase) -> CliResult<T>) -> CliResult<T> {
        self.with_database_until_told(work).await?.ok_or_else(CliError::interrupted)
    }

    /// The same of work that goes on until it is told to stop, which is how it ends well: then there is nothing.
    pub(crate) async fn with_database_until_told<T>(
        &self,
        work: impl AsyncFnOnce(&OpenDatabase) -> CliResult<T>,
    ) -> CliResult<Option<T>> {
        // Before PostgreSQL is started, so that whatever comes it is stopped again.
        let stop = Stop::listen()?;
        let Some(database) = stop.or(Box::pin(self.database())).await else {
            self.stop_unused_cluster().await?;
            return Ok(None);
        };
        let database = database?;
        let outcome = stop.or(Box::pin(work(&database))).await;
        database.close().await;
        outcome.transpose()
    }

    /// Stops the managed cluster of the home if a start that was given up left it running and nobody else uses it.
    pub(crate) async fn stop_unused_cluster(&self) -> CliResult {
        if let Ok(home) = self.home()
            && home.cluster_dir().exists()
        {
            let cluster = managed_cluster(&home, &self.environment, &self.ambient)?;
            cluster.stop_if_unused().await.map_err(|error| cluster_error(&error))?;
        }
        Ok(())
    }

    /// Asks before something that cannot be undone. Without a terminal only `--yes` is consent.
    pub(crate) async fn confirm(&self, yes: bool, question: &str) -> CliResult {
        use std::io::IsTerminal as _;
        if yes {
            return Ok(());
        }
        if self.runtime.non_interactive || !std::io::stdin().is_terminal() {
            return Err(CliError::new("confirmation_required", question.to_owned())
                .help("add --yes to confirm")
                .exit(Exit::Usage));
        }
        self.printer.alert(format!("{question} [y/N]"));
        // On a thread of its own, which the end of the process does not wait for: Ctrl-C is an answer too.
        let (sender, answer) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().read_line(&mut line).map(|_| line);
            // Nobody waits any more if the command was interrupted.
            let _ = sender.send(read);
        });
        let answer = answer.await.map_err(|error| CliError::from_error("failed", &error))?;
        let answer = answer.map_err(|error| CliError::from_error("failed", &error))?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            Ok(())
        } else {
            Err(CliError::new("cancelled", "nothing was changed"))
        }
    }
}

impl Project {
    /// Loads and checks everything, and reports every problem at once.
    pub(crate) fn load(
        home: Home,
        profile: Option<String>,
        environment: &Environment,
        printer: &Printer,
    ) -> CliResult<Self> {
        let (project, report) = Self::inspect(home, profile, environment)?;
        if report.has_errors() {
            return Err(invalid(&report, printer));
        }
        if !report.problems.is_empty() {
            printer.note(report.text(printer.layout.symbols()));
        }
        project.ok_or_else(|| invalid(&report, printer))
    }

    /// Loads and checks everything. Without errors in the report there is a project.
    pub(crate) fn inspect(
        home: Home,
        profile: Option<String>,
        environment: &Environment,
    ) -> CliResult<(Option<Self>, Report)> {
        let linked = ExtensionRegistry::discover();
        let problems = linked.validate_all();
        if !problems.is_empty() {
            let list: Vec<_> = problems.iter().map(ToString::to_string).collect();
            return Err(CliError::new("extensions_invalid", list.join("\n"))
                .help("systemprompt plugins validate   says more")
                .exit(Exit::Invalid));
        }
        let request = LoadRequest { home: home.clone(), profile, environment: environment.clone() };
        let (assembly, report) = Assembly::load(linked, &request);
        let project = assembly.map(|Assembly { configuration, extension_configs, registry }| Self {
            home,
            configuration,
            extension_configs,
            registry,
        });
        Ok((project, report))
    }

    /// Connects to the database: the one of the secrets, else the managed cluster, which is started if it does not run.
    pub(crate) async fn open_database(
        &self,
        environment: &Environment,
        ambient: &Ambient,
        role: &str,
    ) -> CliResult<OpenDatabase> {
        let pool = &self.configuration.profile.database.pool;
        let settings = PoolSettings {
            max_connections: if role == "api" { pool.max_connections } else { pool.max_connections.min(4) },
            acquire_timeout: Duration::from_secs(pool.acquire_timeout_secs),
            idle_timeout: Duration::from_secs(pool.idle_timeout_secs),
            max_lifetime: Duration::from_secs(pool.max_lifetime_secs),
            ..PoolSettings::default()
        };
        if let Some(url) = self.configuration.secrets.get("database_url") {
            let write_url = self.configuration.secrets.get("database_write_url").cloned();
            let db = connect(url.clone(), write_url, settings, role).await?;
            return Ok(OpenDatabase { db, cluster: None });
        }
        let cluster = self
            .managed_cluster(environment, ambient)?
            .ensure_running()
            .await
            .map_err(|error| cluster_error(&error))?;
        let db = connect(cluster.url(), None, settings, role).await?;
        Ok(OpenDatabase { db, cluster: Some(cluster) })
    }

    /// Looks at the key that signs tokens, as the start does. One that is not there is made by it, except in production.
    pub(crate) fn check_signing_key(&self) -> Result<(), KeySetError> {
        let profile = &self.configuration.profile;
        let path = &profile.security.signing_key_path;
        let is_made = profile.runtime.environment != EnvironmentKind::Production;
        if is_made && path.try_exists().is_ok_and(|exists| !exists) {
            return Ok(());
        }
        KeySet::load(path).map(|_| ())
    }

    /// Whether the project's database is a managed cluster.
    pub(crate) fn is_managed(&self) -> bool {
        self.configuration.secrets.get("database_url").is_none()
    }

    /// The cluster of the home.
    pub(crate) fn managed_cluster(&self, environment: &Environment, ambient: &Ambient) -> CliResult<ManagedCluster> {
        managed_cluster(&self.home, environment, ambient)
    }
}

fn no_home(missing: HomeNotFound) -> CliError {
    let code = if let HomeNotFound::File { .. } = missing { "home_not_writable" } else { "no_project" };
    let failure = CliError::new(code, missing.to_string()).exit(Exit::Configuration);
    match missing {
        HomeNotFound::Nowhere { .. } => failure.help("systemprompt up   sets up a project in this directory"),
        HomeNotFound::File { .. } => failure.help("name the directory of a project's home with --home DIR"),
        HomeNotFound::Beside { home, .. } => failure.help(format!("use --home {}", home.display())),
    }
}

/// How long closing waits for connections that are in use.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

impl OpenDatabase {
    /// Closes the pools, and stops the cluster if nobody else uses it.
    pub(crate) async fn close(self) {
        // A connection somebody keeps, such as what is left of a start that was given up, must not keep the cluster running.
        if tokio::time::timeout(CLOSE_LIMIT, self.db.close()).await.is_err() {
            tracing::warn!("connections to the database were still in use and are cut");
        }
        if let Some(cluster) = self.cluster
            && let Err(error) = cluster.release().await
        {
            tracing::warn!(%error, "the database cluster could not be stopped");
        }
    }
}

/// The cluster of a home.
pub(crate) fn managed_cluster(home: &Home, env: &Environment, ambient: &Ambient) -> CliResult<ManagedCluster> {
    let search = BinarySearch {
        configured: env.get(environment::SYSTEMPROMPT_PG_BIN).map(PathBuf::from),
        path: env.get(environment::PATH).map(Into::into),
        home: env.get(environment::HOME).map(PathBuf::from),
        data_home: env.get(environment::XDG_DATA_HOME).map(PathBuf::from),
        ..BinarySearch::default()
    };
    let mut options = ClusterOptions::new(home.cluster_dir(), search, ambient.clone());
    options.runtime_directory = env.get(environment::XDG_RUNTIME_DIR).map(PathBuf::from);
    ManagedCluster::open(options).map_err(|error| cluster_error(&error))
}

async fn connect(url: Secret, write_url: Option<Secret>, pool: PoolSettings, role: &str) -> CliResult<DbPool> {
    let options = ConnectOptions { url, write_url, pool, role: role.to_owned() };
    Database::connect(&options).await.map_err(|error: ConnectError| {
        let hint = error.hint();
        match error {
            ConnectError::InvalidUrl { .. } | ConnectError::UnsupportedEngine { .. } => {
                CliError::from_error("db_url_invalid", &error).help(hint).exit(Exit::Configuration)
            }
            _ => CliError::from_error("db_unreachable", &error).help(hint).exit(Exit::Unavailable),
        }
    })
}

pub(crate) fn cluster_error(error: &ClusterError) -> CliError {
    let failure = CliError::from_error("db_cluster", error);
    match error.hint() {
        Some(hint) => failure.help(hint),
        None => failure,
    }
}

/// Problems of a project without the profile that is asked for: nothing was validated.
const NO_PROFILE: [&str; 4] = ["no_profile", "unknown_profile", "lost_profile", "ambiguous_profile"];

/// The failure that a report without a profile is.
pub(crate) fn no_profile(report: &Report) -> Option<CliError> {
    let missing = report.problems.iter().find(|problem| NO_PROFILE.contains(&problem.code))?;
    let failure = CliError::new(missing.code, missing.message.clone()).exit(Exit::Configuration);
    Some(CliError { help: missing.suggestion.clone(), ..failure })
}

/// The failure that a report with errors is.
pub(crate) fn invalid(report: &Report, printer: &Printer) -> CliError {
    if let Some(missing) = no_profile(report) {
        return missing;
    }
    CliError::new("profile_invalid", report.text(printer.layout.symbols()))
        .help("mend the places above; `systemprompt admin config validate` checks them without starting")
        .details(serde_json::to_value(report).unwrap_or_default())
        .exit(Exit::Invalid)
}
