//! `up`: set up what is missing, then run the server until it is told to stop.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use clap::Args;
use systemprompt_config::profile::EnvironmentKind;
use systemprompt_config::{Home, environment};
use systemprompt_database::{DbPool, InstallMode, InstallOptions};
use systemprompt_extension::ExtensionContextExt as _;
use systemprompt_governance::Gate;
use systemprompt_identity::{IssuedKey, bootstrap_administrator};
use systemprompt_server::{RunningServer, ServerOptions, StartError, start};
use tokio::net::TcpListener;

use crate::bounds::within;
use crate::change::Changed;
use crate::demonstration;
use crate::error::{CliError, CliResult, Exit};
use crate::first_profile::{FirstProfile, publish, state};
use crate::instance::{self, Instance, InstanceLock};
use crate::project::{Invocation, OpenDatabase, Project, cluster_error, managed_cluster};
use crate::ready::Ready;
use crate::roles;
use crate::stop::Stop;
use crate::upkeep::Upkeep;

/// The port of a profile that was not asked for another.
const DEFAULT_PORT: u16 = 8080;

/// Set up what is missing and run the server.
///
/// The first run creates the project home, a PostgreSQL cluster inside it, an administrator and an API key, and enables
/// the offline demo provider. --profile names the profile it makes, `local` unless given; one called `production` has no demo
/// provider and needs a key. ANTHROPIC_API_KEY, OPENAI_API_KEY and GEMINI_API_KEY, when set, add those providers.
///
/// The API key is shown once. If the process dies in the moment between storing it and showing it, `admin users api-key
/// issue admin` makes another.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The address to serve on; on the first run it is written into the profile. [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
    /// The port to serve on; on the first run it is written into the profile. 0 takes any free one, this time only.
    /// [default: 8080]
    #[arg(long, value_name = "PORT", value_parser = within::<u16>(0..=65_535))]
    port: Option<u16>,
    /// Do not bring the database schema up to date; fail if it is not.
    #[arg(long)]
    skip_migrate: bool,
    /// Do not show the product at work after the first set-up.
    #[arg(long)]
    no_demo: bool,
}

/// A start that was told to stop may finish within this time, so that what it began ends the regular way.
const NEARLY_STARTED: Duration = Duration::from_secs(3);

impl Up {
    /// Runs the server in the foreground. Returns when it has stopped.
    pub(crate) async fn run(self, mut invocation: Invocation) -> CliResult {
        let begun = Instant::now();
        // Asked for before anything can be interrupted, so that an early Ctrl-C ends in an orderly way too.
        let stop = Stop::listen()?;
        tokio::select! {
            served = serve(&mut invocation, self, begun, &stop) => served,
            () = stop.told_twice() => Err(CliError::new("interrupted", "stopped at once, as asked twice").exit(Exit::Interrupted)),
        }
    }

    /// Looks for what a first run needs, if this would be one. Nothing is made.
    pub(crate) async fn look_before_first_run(&self, invocation: &Invocation, home: &Home) -> CliResult {
        if is_first_run(home) {
            first_listener(invocation, home, self).await?;
        }
        Ok(())
    }

    /// The same options as words of a command line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(host) = self.host {
            words.extend(["--host".to_owned(), host.to_string()]);
        }
        if let Some(port) = self.port {
            words.extend(["--port".to_owned(), port.to_string()]);
        }
        if self.skip_migrate {
            words.push("--skip-migrate".to_owned());
        }
        words
    }
}

async fn serve(invocation: &mut Invocation, args: Up, begun: Instant, stop: &Stop) -> CliResult {
    let home = invocation.home_or_new()?;
    instance::ensure_free(&home)?;
    // On a first run everything that can be missing is looked for before anything is made.
    let first = if is_first_run(&home) { Some(first_listener(invocation, &home, &args).await?) } else { None };
    if stop.is_told() {
        return Err(interrupted());
    }
    prepare(&home)?;
    let mut instance = Instance {
        pid: std::process::id(),
        url: None,
        certificate: None,
        profile: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: invocation.ambient.now(),
    };
    let lock = InstanceLock::take(&home, &instance)?;
    let (project, listener) = if let Some((first, listener)) = first {
        let staged = first.stage(invocation, &home, false)?;
        // The start that follows records it.
        let written = async || {
            let file = publish(staged)?;
            let after = state(&home.profile_dir(&first.name));
            Ok(Changed { value: file, before: None, after })
        };
        invocation.change_in(&home, None, first.change(false), written).await?;
        invocation.printer.note(format!("created {}", home.directory().display()));
        (load(invocation, &home)?, listener)
    } else {
        let project = load(invocation, &home)?;
        // The port before the database: if it is taken, nothing was touched.
        let listener = bind(address(&project, &args).await?).await?;
        (project, listener)
    };
    project.check_signing_key().map_err(|error| {
        let failure = CliError::from_error("signing_key", &error).exit(Exit::Configuration);
        CliError { help: error.hint().map(str::to_owned), ..failure }
    })?;
    warn_of_managed_production(&project);

    let mut database = open_database(invocation, &project, stop).await?;
    let cluster = database.cluster.as_ref().map(|cluster| cluster.start_duration);
    let address = listener.local_addr().map_err(|error| CliError::from_error("failed", &error))?;
    let mode = if args.skip_migrate { InstallMode::Verify } else { InstallMode::Apply };
    let options = ServerOptions {
        configuration: project.configuration.clone(),
        extension_configs: project.extension_configs.clone(),
        registry: project.registry.clone(),
        db: database.db.clone(),
        ambient: invocation.ambient.clone(),
        listener,
        install: InstallOptions { mode, ..InstallOptions::default() },
        logs: invocation.logs.take(),
    };
    let server = match start_unless_stopped(options, stop).await {
        Ok(server) => server,
        Err(error) => {
            database.close().await;
            return Err(error);
        }
    };
    let upkeep = database.cluster.take().map(Upkeep::of);
    let profile = &project.configuration.profile;
    let scheme = if server.speaks_tls() { "https" } else { "http" };
    instance.url = Some(format!("{scheme}://{}", reachable(address)));
    instance.certificate = profile.server.tls.as_ref().map(|tls| tls.cert_path.clone());
    instance.profile = Some(profile.name.clone());
    let times = Times { begun, cluster };
    let outcome = attend(invocation, &args, &project, &server, &database.db, &lock, &instance, times, stop).await;

    let grace = Duration::from_secs(profile.server.shutdown_grace_secs);
    let open = if outcome.is_ok() { grace } else { Duration::ZERO };
    invocation.printer.note(format!(
        "stopping; open requests have {} s to finish (press Ctrl-C again to stop at once)",
        open.as_secs()
    ));
    let drained = server.shut_down(open).await;
    if let Some(upkeep) = upkeep {
        database.cluster = Some(upkeep.end().await);
    }
    database.close().await;
    if drained.cut > 0 {
        invocation.printer.note(format!("{} requests were cut off", drained.cut));
    }
    invocation.printer.note(format!("stopped after {:.1} s", drained.took.as_secs_f64()));
    outcome
}

/// Whether there is no profile at all, not even what is left of one.
fn is_first_run(home: &Home) -> bool {
    home.profile_names().is_empty() && home.profiles_without_file().is_empty()
}

/// What a first run needs: a free port, and PostgreSQL's programs unless a database is configured.
async fn first_listener(invocation: &Invocation, home: &Home, args: &Up) -> CliResult<(FirstProfile, TcpListener)> {
    let host = args.host.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let port = args.port.unwrap_or(DEFAULT_PORT);
    // "Any free port" is for this run; the profile gets one that clients can be pointed at.
    let lasting = if port == 0 { DEFAULT_PORT } else { port };
    let name = invocation.globals.profile.as_deref().unwrap_or("local");
    let first = FirstProfile::of_first_run(name, host, lasting, &invocation.environment)?;
    let listener = bind(SocketAddr::new(host, port)).await?;
    if invocation.environment.get(environment::DATABASE_URL).is_none() {
        let cluster = managed_cluster(home, &invocation.environment, &invocation.ambient)?;
        cluster.find_programs().await.map_err(|error| cluster_error(&error))?;
    }
    Ok((first, listener))
}

/// Where the profile and the command line want it to serve.
async fn address(project: &Project, args: &Up) -> CliResult<SocketAddr> {
    let server = &project.configuration.profile.server;
    let host = args.host.map_or_else(|| server.host.clone(), |host| host.to_string());
    let port = args.port.unwrap_or(server.port);
    tokio::net::lookup_host((host.as_str(), port)).await.ok().and_then(|mut found| found.next()).ok_or_else(|| {
        CliError::new("profile_invalid", format!("server.host: `{host}` is no address of this machine"))
            .exit(Exit::Configuration)
    })
}

/// Opens the database. If the word to stop comes first, a cluster that was being started is stopped again.
async fn open_database(invocation: &Invocation, project: &Project, stop: &Stop) -> CliResult<OpenDatabase> {
    let opening = project.open_database(&invocation.environment, &invocation.ambient, "api");
    if let Some(opened) = stop.or(opening).await {
        return opened;
    }
    if project.is_managed() {
        let cluster = project.managed_cluster(&invocation.environment, &invocation.ambient)?;
        cluster.stop_if_unused().await.map_err(|error| cluster_error(&error))?;
    }
    Err(interrupted())
}

async fn start_unless_stopped(options: ServerOptions, stop: &Stop) -> CliResult<RunningServer> {
    let mut starting = Box::pin(start(options));
    let started = match stop.or(&mut starting).await {
        Some(started) => Some(started),
        None => tokio::time::timeout(NEARLY_STARTED, starting).await.ok(),
    };
    started.ok_or_else(interrupted)?.map_err(|error| start_failure(&error))
}

/// When the start began, and how long the managed cluster took of it.
struct Times {
    begun: Instant,
    cluster: Option<Duration>,
}

/// What happens from the moment the server serves until it is told to stop.
#[expect(clippy::too_many_arguments, reason = "one scene of `serve`")]
async fn attend(
    invocation: &Invocation,
    args: &Up,
    project: &Project,
    server: &RunningServer,
    db: &DbPool,
    lock: &InstanceLock,
    instance: &Instance,
    times: Times,
    stop: &Stop,
) -> CliResult {
    if stop.is_told() {
        return Err(interrupted());
    }
    lock.describe(instance)
        .map_err(|error| CliError::from_error("home_not_writable", &error).exit(Exit::Configuration))?;
    let admin = &project.configuration.profile.system_admin;
    let email = admin.email.clone().unwrap_or_else(|| format!("{}@localhost.localdomain", admin.username));
    // The first API key is committed here and printed below with nothing in between that could fail or be stopped. Only a
    // process that dies in this moment keeps it to itself; `admin users api-key issue` makes another.
    let gate = server.context().service::<Gate>().map_err(|error| CliError::from_error("bootstrap_failed", &error))?;
    let bootstrap = bootstrap_administrator(db, &gate, &invocation.ambient, &admin.username, &email)
        .await
        .map_err(|error| CliError::from_error("bootstrap_failed", &error))?;
    roles::warn_of_undeclared(project, db).await;
    if bootstrap.key.is_none() && stop.is_told() {
        return Err(interrupted());
    }
    let url = instance.url.clone().unwrap_or_default();
    // As JSON exactly one line, for whoever started us; the server goes on if nobody reads it.
    let _ = invocation.printer.show_next(&Ready {
        url: url.clone(),
        api_key: bootstrap.key.as_ref().map(|key| key.secret.expose().to_owned()),
        admin_email: bootstrap.administrator.email,
        home: project.home.directory().display().to_string(),
        pid: instance.pid,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        profile: project.configuration.profile.name.clone(),
        startup_ms: times.begun.elapsed().as_millis() as u64,
        cluster_ms: times.cluster.map(|took| took.as_millis() as u64),
    });
    if let Some(IssuedKey { secret, .. }) = bootstrap.key.filter(|_| invocation.printer.is_text() && !args.no_demo) {
        let certificate = instance.certificate.as_deref();
        stop.or(demonstration::show(&invocation.printer, &url, certificate, &secret, db)).await;
    }
    stop.told().await;
    Ok(())
}

/// The failure of a start that was not let finish.
fn interrupted() -> CliError {
    CliError::new("interrupted", "told to stop before the server was ready").exit(Exit::Interrupted)
}

/// Creates the directories a home needs before it can be locked.
fn prepare(home: &Home) -> CliResult {
    home.create().map_err(|error| {
        CliError::from_error("home_not_writable", &error)
            .help("choose another place with --home DIR, or make this one writable")
            .exit(Exit::Configuration)
    })
}

fn load(invocation: &Invocation, home: &Home) -> CliResult<Project> {
    Project::load(home.clone(), invocation.globals.profile.clone(), &invocation.environment, &invocation.printer)
}

async fn bind(address: SocketAddr) -> CliResult<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let failure = CliError::from_error("port_in_use", &error);
        match error.kind() {
            std::io::ErrorKind::AddrInUse => CliError::new("port_in_use", format!("{address} is already in use"))
                .help("systemprompt up --port N   serves on another port; `infra services status` tells whether it is ours")
                .exit(Exit::Conflict),
            std::io::ErrorKind::PermissionDenied => CliError::new("port_denied", format!("this user may not serve on {address}"))
                .help("choose a port above 1023 with --port N")
                .exit(Exit::Denied),
            _ => CliError { code: "bind_failed".into(), message: format!("cannot serve on {address}: {error}"), ..failure }
                .help("choose an address of this machine with --host")
                .exit(Exit::Configuration),
        }
    })
}

/// An address that a program on this machine can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(IpAddr::from([127, 0, 0, 1]), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(IpAddr::from(std::net::Ipv6Addr::LOCALHOST), address.port())
        }
        _ => address,
    }
}

/// Says so when a production profile has a database that lives and dies with its home.
fn warn_of_managed_production(project: &Project) {
    let profile = &project.configuration.profile;
    if profile.runtime.environment == EnvironmentKind::Production && project.is_managed() {
        tracing::warn!(
            "this production profile uses the managed PostgreSQL of its home; back it up, or set the secret `database_url`"
        );
    }
}

fn start_failure(error: &StartError) -> CliError {
    let failure = CliError::from_error("start_failed", error);
    match error {
        StartError::Install(_) => CliError { code: "db_migrate".into(), ..failure }.help(
            "systemprompt infra db migrate-status   shows what is applied; `infra db doctor` compares the schema",
        ),
        StartError::Extension(cause) => match cause.hint() {
            Some(hint) => failure.help(hint),
            None => failure,
        },
        StartError::Tls(_) => CliError { code: "tls_unusable".into(), ..failure }.exit(Exit::Configuration),
        StartError::Extensions(_) | StartError::Listen(_) => failure,
    }
}
