//! `up`: set up what is missing, then run the server until it is told to stop.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde::Serialize;
use systemprompt_config::Home;
use systemprompt_config::profile::EnvironmentKind;
use systemprompt_database::{InstallMode, InstallOptions};
use systemprompt_identity::{IssuedKey, bootstrap_administrator};
use systemprompt_server::{ServerOptions, StartError, start};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Up;
use crate::commands::setup::{self, FirstProfile};
use crate::demonstration;
use crate::error::{CliError, CliResult, Exit};
use crate::instance::{Instance, InstanceLock};
use crate::project::{Invocation, Project};
use crate::upkeep::Upkeep;

/// What `--json` prints when the server is ready.
#[derive(Debug, Serialize)]
struct Ready {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    admin_email: String,
    home: String,
    pid: u32,
    version: &'static str,
    profile: String,
    startup_ms: u64,
    /// Of `startup_ms`, what the managed cluster took; absent with a database of one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_ms: Option<u64>,
}

/// Runs the server in the foreground. Returns when it has stopped.
pub(crate) async fn run(mut invocation: Invocation, args: Up) -> CliResult {
    let begun = Instant::now();
    // Asked for before anything can be interrupted, so that an early Ctrl-C ends in an orderly way too.
    let mut stop = StopSignals::listen()?;
    tokio::select! {
        served = serve(&mut invocation, args, begun, stop.clone_receiver()) => served,
        () = stop.twice() => Err(CliError::new("interrupted", "stopped at once, as asked twice").exit(Exit::Interrupted)),
    }
}

async fn serve(
    invocation: &mut Invocation,
    args: Up,
    begun: Instant,
    stopped: tokio::sync::watch::Receiver<u32>,
) -> CliResult {
    let home = invocation.home_or_new();
    prepare(&home)?;
    let lock = InstanceLock::take(&home)?;
    let mut instance = Instance {
        pid: std::process::id(),
        url: None,
        certificate: None,
        profile: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: invocation.ambient.now(),
    };
    let described = |error: std::io::Error| CliError::from_error("home_not_writable", &error).exit(Exit::Configuration);
    lock.describe(&instance).map_err(described)?;

    // The port first: if it is taken, nothing was touched.
    let first_run = home.profile_names().is_empty();
    let (project, listener) = if first_run {
        let host = args.host.unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let listener = bind(SocketAddr::new(host, args.port.unwrap_or(8080))).await?;
        let address = listener.local_addr().map_err(|error| CliError::from_error("failed", &error))?;
        setup::write_profile(invocation, &home, &FirstProfile::local(address, &invocation.environment))?;
        invocation.printer.note(format!("created {}", home.directory().display()));
        (load(invocation, &home)?, listener)
    } else {
        let project = load(invocation, &home)?;
        let server = &project.configuration.profile.server;
        let host = match args.host {
            Some(host) => host.to_string(),
            None => server.host.clone(),
        };
        let port = args.port.unwrap_or(server.port);
        let address =
            tokio::net::lookup_host((host.as_str(), port)).await.ok().and_then(|mut found| found.next()).ok_or_else(
                || {
                    CliError::new("profile_invalid", format!("server.host: `{host}` is no address of this machine"))
                        .exit(Exit::Configuration)
                },
            )?;
        (project, bind(address).await?)
    };
    let profile = &project.configuration.profile;
    refuse_careless_production(&project)?;

    let mut database = project.open_database(&invocation.environment, &invocation.ambient, "api").await?;
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
    let server = match start(options).await {
        Ok(server) => server,
        Err(error) => {
            database.close().await;
            return Err(start_failure(&error));
        }
    };
    let upkeep = database.cluster.take().map(Upkeep::of);
    let email = profile
        .system_admin
        .email
        .clone()
        .unwrap_or_else(|| format!("{}@localhost.localdomain", profile.system_admin.username));
    let bootstrap =
        bootstrap_administrator(&database.db, &invocation.ambient, &profile.system_admin.username, &email).await;
    let outcome = match bootstrap {
        Err(error) => Err(CliError::from_error("bootstrap_failed", &error)),
        Ok(bootstrap) => {
            let scheme = if server.speaks_tls() { "https" } else { "http" };
            let url = format!("{scheme}://{}", reachable(address));
            instance.url = Some(url.clone());
            instance.certificate = profile.server.tls.as_ref().map(|tls| tls.cert_path.clone());
            instance.profile = Some(profile.name.clone());
            lock.describe(&instance).map_err(described)?;
            let ready = Ready {
                url: url.clone(),
                api_key: bootstrap.key.as_ref().map(|key| key.secret.expose().to_owned()),
                admin_email: bootstrap.administrator.email.clone(),
                home: home.directory().display().to_string(),
                pid: instance.pid,
                version: env!("CARGO_PKG_VERSION"),
                profile: profile.name.clone(),
                startup_ms: begun.elapsed().as_millis() as u64,
                cluster_ms: cluster.map(|took| took.as_millis() as u64),
            };
            announce(invocation, &ready);
            if let Some(IssuedKey { secret, .. }) =
                bootstrap.key.as_ref().filter(|_| invocation.printer.is_text() && !args.no_demo)
            {
                let certificate = instance.certificate.as_deref();
                demonstration::show(&invocation.printer, &url, certificate, secret, &database.db).await;
            }
            wait_for_stop(stopped).await;
            Ok(())
        }
    };

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
            _ => CliError { code: "bind_failed", message: format!("cannot serve on {address}: {error}"), ..failure }
                .help("choose an address of this machine with --host"),
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

/// A production profile must not run on a database that lives and dies with one process's home unnoticed.
fn refuse_careless_production(project: &Project) -> CliResult {
    let profile = &project.configuration.profile;
    if profile.runtime.environment == EnvironmentKind::Production && project.is_managed() {
        tracing::warn!(
            "this production profile uses the managed PostgreSQL of its home; back it up, or set the secret `database_url`"
        );
    }
    Ok(())
}

fn start_failure(error: &StartError) -> CliError {
    let failure = CliError::from_error("start_failed", error);
    match error {
        StartError::Install(_) => CliError { code: "db_migrate", ..failure }.help(
            "systemprompt infra db migrate-status   shows what is applied; `infra db doctor` compares the schema",
        ),
        StartError::Extension(cause) => match cause.hint() {
            Some(hint) => failure.help(hint),
            None => failure,
        },
        StartError::Tls(_) => CliError { code: "tls_unusable", ..failure }.exit(Exit::Configuration),
        StartError::Extensions(_) | StartError::Listen(_) => failure,
    }
}

fn announce(invocation: &Invocation, ready: &Ready) {
    let printer = &invocation.printer;
    if !printer.is_text() {
        // Exactly one line, for whoever started us.
        printer.document(&serde_json::to_string(ready).expect("strings and numbers serialise"));
        return;
    }
    let url = &ready.url;
    let mut text = format!("\nsystemprompt {} is ready at {url}   ({} ms", ready.version, ready.startup_ms);
    if let Some(cluster) = ready.cluster_ms {
        text.push_str(&format!(", of which {cluster} ms PostgreSQL"));
    }
    text.push_str(&format!(")\n\n  home           {}\n  administrator  {}\n", ready.home, ready.admin_email));
    if let Some(key) = &ready.api_key {
        text.push_str(&format!(
            "  API key        {key}   (shown once)\n\n\
             Try it:\n\n  \
             curl {url}/v1/messages -H 'x-api-key: {key}' -H 'content-type: application/json' \\\n    \
             -d '{{\"model\":\"demo-1\",\"max_tokens\":100,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n\n\
             Claude Code:  export ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={key}\n\
             OpenAI SDK:   export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={key}\n"
        ));
    } else {
        text.push_str("\nA new key: systemprompt admin users api-key issue <user>\n");
    }
    printer.document(&text);
}

/// SIGTERM and SIGINT, counted.
struct StopSignals {
    count: tokio::sync::watch::Receiver<u32>,
}

impl StopSignals {
    fn listen() -> CliResult<Self> {
        let failed = |error: std::io::Error| CliError::from_error("failed", &error);
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let (sender, count) = tokio::sync::watch::channel(0);
        #[expect(clippy::disallowed_methods, reason = "it listens until the process ends")]
        tokio::spawn(async move {
            loop {
                // A supervisor that repeats SIGTERM is not impatient; a person at a terminal is.
                tokio::select! {
                    _ = terminate.recv() => sender.send_modify(|count| *count = (*count).max(1)),
                    _ = interrupt.recv() => sender.send_modify(|count| *count += 1),
                }
            }
        });
        Ok(Self { count })
    }

    fn clone_receiver(&self) -> tokio::sync::watch::Receiver<u32> {
        self.count.clone()
    }

    async fn twice(&mut self) {
        if self.count.wait_for(|count| *count >= 2).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn wait_for_stop(mut stopped: tokio::sync::watch::Receiver<u32>) {
    // An error means the listening task is gone, which it is never before the process.
    let _ = stopped.wait_for(|count| *count >= 1).await;
}
