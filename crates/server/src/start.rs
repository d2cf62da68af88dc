//! Start-up and shutdown, each as one function.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use systemprompt_config::Configuration;
use systemprompt_config::profile::Server;
use systemprompt_database::lease::Leases;
use systemprompt_database::notify::NotificationHub;
use systemprompt_database::{DbPool, InstallError, InstallOptions, InstallReport, install};
use systemprompt_extension::api::ErrorAnswer;
use systemprompt_extension::{
    Access, AddressBans, Authentication, CredentialsRefused, ExtensionConfigs, ExtensionContext,
    ExtensionContextExt as _, ExtensionRegistry, LoaderError, LoaderErrors, LogRetention, Metrics, RateGroup,
    RateLimiter, ServiceMap, Timeouts,
};
use systemprompt_model::{Ambient, ErrorCode, InstanceId};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authorization::{Credentials, TooManyFromAddress, limit};
use crate::context::ServerContext;
use crate::health::Readiness;
use crate::listener::{Limits, Listener, raise_open_files};
use crate::logs::{self, LogSink, LogWriter};
use crate::metrics::{ConnectionMetrics, HttpMetrics, describe_pools, describe_process};
use crate::middleware::{self, Observer};
use crate::proxies::Proxies;
use crate::rate_limit;
use crate::reload::{self, Reloader};
use crate::tls::{self, TlsError};
use crate::watch::watch;

/// After requests have ended, background tasks have this long to end too.
const TASK_LIMIT: Duration = Duration::from_secs(10);

/// Everything a server is made of.
pub struct ServerOptions {
    /// The validated configuration.
    pub configuration: Arc<Configuration>,
    /// The extensions' own settings, validated.
    pub extension_configs: ExtensionConfigs,
    /// The extensions, validated.
    pub registry: Arc<ExtensionRegistry>,
    /// The connected database.
    pub db: DbPool,
    /// Time and randomness.
    pub ambient: Ambient,
    /// Where to serve. Bound by the caller, so that a port that is taken is found out before anything else is done.
    pub listener: TcpListener,
    /// How the schema is brought up to date.
    pub install: InstallOptions,
    /// Where log lines to be stored come from, if the process keeps them.
    pub logs: Option<LogSink>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The schema could not be brought up to date.
    #[error("the database schema could not be installed")]
    Install(#[source] InstallError),
    /// An extension failed.
    #[error("an extension did not start")]
    Extension(#[source] LoaderError),
    /// Several extensions failed.
    #[error("extensions did not start")]
    Extensions(#[source] LoaderErrors),
    /// The socket failed.
    #[error("the listening socket failed")]
    Listen(#[source] io::Error),
    /// The server cannot speak TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A server that serves.
pub struct RunningServer {
    context: Arc<ServerContext>,
    listener: Listener,
    readiness: Arc<Readiness>,
    installed: InstallReport,
    log_writer: Option<LogWriter>,
}

/// How shutting down went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that did not finish in time and were told to end.
    pub cut: usize,
    /// Whether every background task ended in time.
    pub tasks_ended: bool,
    /// How long it took.
    pub took: Duration,
}

/// Installs the schema, builds services, starts extensions, mounts routes and serves.
pub async fn start(options: ServerOptions) -> Result<RunningServer, StartError> {
    let ServerOptions { configuration, extension_configs, registry, db, ambient, listener, install: how, logs } =
        options;
    let instance_name = instance_name(&configuration.profile.server);
    tracing::info!(
        profile = configuration.profile.name,
        instance = instance_name,
        extensions = registry.len(),
        "starting"
    );
    let tls = configuration.profile.server.tls.as_ref().map(tls::acceptor).transpose()?;

    let modules = registry.modules();
    let installed = install(&db, &modules, &how).await.map_err(StartError::Install)?;
    tracing::info!(modules = modules.len(), "the database schema is up to date");

    let tracker = TaskTracker::new();
    let shutdown = CancellationToken::new();
    let instance_id = InstanceId::generate(&ambient);
    let notifications = NotificationHub::start(&db, &tracker, shutdown.clone());
    let leases = Leases::new(db.clone(), ambient.clone());
    tracker.spawn(leases.clone().run(shutdown.clone()));
    let log_writer = logs.map(|sink| sink.start(db.clone(), instance_id, instance_name.clone()));
    let readiness = Arc::new(Readiness::default());
    let context = Arc::new(ServerContext {
        configuration: configuration.clone(),
        extension_configs,
        db,
        leases,
        ambient: ambient.clone(),
        metrics: Metrics::new(),
        notifications,
        tracker,
        shutdown,
        services: OnceLock::new(),
        no_services: ServiceMap::new(),
        registry: registry.clone(),
        instance_id,
        instance_name,
    });

    // Whoever gives up on this future halfway leaves at least no task behind that thinks the server runs.
    let abandoned = context.shutdown.clone().drop_guard();
    match bring_up(&context, &readiness, listener, tls).await {
        Ok(listener) => {
            abandoned.disarm();
            Ok(RunningServer { context, listener, readiness, installed, log_writer })
        }
        Err(error) => {
            // Whoever called says so as well; this is for those who read the stored log.
            tracing::error!(error = &error as &dyn std::error::Error, "the server did not start");
            wind_down(&context, log_writer).await;
            Err(error)
        }
    }
}

/// Everything that can fail once there are tasks that run: services, extensions, routes, the socket.
async fn bring_up(
    context: &Arc<ServerContext>,
    readiness: &Arc<Readiness>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
) -> Result<Listener, StartError> {
    let ServerContext { configuration, registry, .. } = context.as_ref();
    let profile = &configuration.profile;
    let timeouts = Timeouts::default();
    let mut services = registry.collect_services(context.as_ref(), timeouts).await.map_err(StartError::Extension)?;
    services.insert(readiness.clone());
    services.insert(Arc::new(crate::extension::ContextHandle(Arc::downgrade(context))));
    let reloader = Arc::new(Reloader::new(context));
    services.insert(reloader.clone());
    if context.services.set(services).is_err() {
        unreachable!("the context is new");
    }
    let failed = registry.start(context.as_ref(), timeouts).await;
    let fatal: Vec<_> = failed
        .into_iter()
        .filter(|error| {
            let required =
                error.extension().and_then(|id| registry.get(id)).is_none_or(|extension| extension.is_required());
            let tolerated = profile.extensions.lenient_start && !required;
            if tolerated {
                tracing::error!(%error, "an extension did not start and is left out");
            }
            !tolerated
        })
        .collect();
    if !fatal.is_empty() {
        return Err(StartError::Extensions(LoaderErrors(fatal)));
    }

    let router = router(context.as_ref())?;
    let retention = context.service::<LogRetention>().map_err(StartError::Extension)?;
    context.tracker.spawn(logs::sweep(
        context.db.clone(),
        context.ambient.clone(),
        retention.days,
        context.shutdown.clone(),
    ));
    let asked = context.notifications.subscribe(reload::ASKED);
    context.tracker.spawn(reloader.clone().answer(asked));
    if profile.server.watch_configuration {
        context.tracker.spawn(watch(reloader, Arc::clone(configuration), context.shutdown.clone()));
    }
    describe_process(context.metrics(), context.ambient().now());
    describe_pools(context.metrics(), context.db());
    let limits = Limits {
        connections: profile.server.max_connections as usize,
        streams: profile.server.max_concurrent_streams,
        proxies: Proxies::new(profile.server.proxy_networks()),
        metrics: ConnectionMetrics::new(context.metrics()),
        keep_alive: Duration::from_secs(profile.server.keep_alive_secs),
        ..Limits::default()
    };
    raise_open_files(limits.connections);
    let listener = Listener::start(listener, router, &limits, tls).map_err(StartError::Listen)?;
    readiness.set(true);
    tracing::info!(address = %listener.address, "serving");
    Ok(listener)
}

/// Ends whatever of a server runs besides requests. Returns whether every task ended in time.
async fn wind_down(context: &ServerContext, log_writer: Option<LogWriter>) -> bool {
    context.shutdown.cancel();
    context.registry.shut_down(context, Timeouts::default()).await;
    context.tracker.close();
    let tasks_ended = tokio::time::timeout(TASK_LIMIT, context.tracker.wait()).await.is_ok();
    if !tasks_ended {
        tracing::error!(tasks = context.tracker.len(), "background tasks did not end in time");
    }
    // Whatever held a reservation has ended, or is given up.
    context.leases.close().await;
    tracing::info!("stopped");
    if let Some(writer) = log_writer {
        writer.finish().await;
    }
    tasks_ended
}

/// Everything a request can reach, behind everything that happens to every request.
fn router(context: &ServerContext) -> Result<Router, StartError> {
    let profile = &context.configuration().profile;
    let limiter = rate_limit::limiter(context);
    let authentication = context.service::<Authentication>().map_err(StartError::Extension)?;
    let guard = Credentials {
        authentication: Authentication::clone(&authentication),
        grants: Arc::new(context.registry().grants()),
    };
    let observer = Arc::new(Observer {
        ambient: context.ambient().clone(),
        metrics: HttpMetrics::new(context.metrics()),
        security_headers: middleware::security_headers(profile),
        proxies: Proxies::new(profile.server.proxy_networks()),
        guard: Arc::new(guard),
        limiter: limiter.clone(),
        bans: context.services().get::<AddressBans>().map(|bans| AddressBans::clone(&bans)),
        refused: context.services().get::<CredentialsRefused>().map(|refused| (*refused).clone()).unwrap_or_default(),
    });
    Ok(middleware::wrap(mount(context, limiter)?, observer, &profile.server.cors_allowed_origins))
}

/// All routes of all extensions, each behind the credential it asks for and its rate.
fn mount(context: &ServerContext, limiter: Option<Arc<dyn RateLimiter>>) -> Result<Router, StartError> {
    let registry = context.registry();
    let mut router = Router::new();
    for (extension, routes) in registry.api_routers(context).map_err(StartError::Extensions)? {
        tracing::debug!(extension = extension.id(), routes = %routes.config(), "mounting routes");
        let group = routes.rate_group();
        let refuses_itself = routes.refuses_itself();
        router = routes.protected(|inner| limit(inner, limiter.as_ref(), group, refuses_itself)).mount_in(router);
    }
    let documents = registry.well_known_router(context).map_err(StartError::Extensions)?;
    let documents = Access::Public.protect(documents);
    let router = router.merge(limit(documents, limiter.as_ref(), Some(RateGroup::OauthPublic), false));
    let unknown = otherwise(|_| {
        (ErrorCode::NotFound, "There is nothing at this address; GET /api/v1 lists what there is.".to_owned())
    });
    let wrong_method =
        otherwise(|request| (ErrorCode::MethodNotAllowed, format!("{} is not possible here.", request.method())));
    Ok(router.fallback(unknown).method_not_allowed_fallback(wrong_method))
}

/// Answers what no router does; those who ask too often are told that instead.
fn otherwise(
    say: fn(&Request) -> (ErrorCode, String),
) -> impl Fn(Request) -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    move |request| {
        let answer = if let Some(limited) = TooManyFromAddress::refusal(&request) {
            ErrorAnswer::too_many(limited)
        } else {
            let (code, message) = say(&request);
            ErrorAnswer::new(code, message)
        };
        std::future::ready(answer.into_response())
    }
}

/// `server.instance_id`, by default the host name.
fn instance_name(server: &Server) -> String {
    let host_name = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    server.instance_id.clone().unwrap_or_else(host_name)
}

impl RunningServer {
    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.listener.address
    }

    /// Whether it speaks TLS itself.
    pub fn speaks_tls(&self) -> bool {
        self.context.configuration.profile.server.tls.is_some()
    }

    /// Its state.
    pub fn context(&self) -> &Arc<ServerContext> {
        &self.context
    }

    /// What installing the schema did.
    pub fn installed(&self) -> &InstallReport {
        &self.installed
    }

    /// Stops accepting, drains requests and streams for at most `grace`, lets extensions write what they have to write,
    /// and waits for every task.
    pub async fn shut_down(self, grace: Duration) -> Drained {
        let begun = Instant::now();
        self.readiness.set(false);
        tracing::info!(grace_secs = grace.as_secs(), "stopping: no new connections");
        let shutdown = self.context.shutdown.clone();
        let cut = self.listener.drain(grace, || shutdown.cancel()).await;
        if cut > 0 {
            tracing::warn!(connections = cut, "requests did not end in time and were cut off");
        }
        let tasks_ended = wind_down(&self.context, self.log_writer).await;
        self.context.db.close().await;
        Drained { cut, tasks_ended, took: begun.elapsed() }
    }
}
