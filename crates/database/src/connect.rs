//! Opening the pools, and what is checked before anybody may use them.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use systemprompt_model::Secret;
use url::Url;

use crate::error::{ConnectError, RepositoryError, Target};

/// The database as everybody receives it.
pub type DbPool = Arc<Database>;

/// The oldest server release we support.
pub const MINIMUM_SERVER_VERSION: u32 = 15;

/// How often connecting is tried at start when the server is not ready yet: waits of 100, 200, 400 and 800 ms between.
const CONNECT_ATTEMPTS: u32 = 5;
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// A connection that was idle for less than this is used without asking the server first, which saves a round trip on
/// every statement of a busy process.
const TRUST_IDLE_FOR: Duration = Duration::from_secs(5);

/// Statements slower than this are logged with their text and without parameters.
const SLOW_STATEMENT: Duration = Duration::from_millis(500);

/// Connected pools: one for reading, one for writing, the same one when no write URL is set.
#[derive(Debug)]
pub struct Database {
    read: Arc<PgPool>,
    write: Arc<PgPool>,
    server: ServerInfo,
}

/// What the server said about itself when we connected.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ServerInfo {
    /// The release as text, e.g. `15.8`.
    pub version: String,
    /// The major release, e.g. 15.
    pub major: u32,
    /// The `max_connections` setting of the server.
    pub max_connections: u32,
}

/// Where to connect and as what.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// `postgres://USER:PASSWORD@HOST[:PORT]/DB[?sslmode=…]`; `?host=/directory` for a unix socket; `?pgbouncer=true`
    /// for a pooler in transaction mode.
    pub url: Secret,
    /// Where writes go when reads go to a replica.
    pub write_url: Option<Secret>,
    /// Sizes and time limits of each pool.
    pub pool: PoolSettings,
    /// What the process does, e.g. `api` or `cli`; the last part of `application_name`.
    pub role: String,
}

/// Sizes and time limits of one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// Most connections; 50 unless changed.
    pub max_connections: u32,
    /// Connections kept open when idle; 0 unless changed.
    pub min_connections: u32,
    /// How long a caller waits for a connection; 30 s unless changed.
    pub acquire_timeout: Duration,
    /// Idle connections are closed after this; 5 min unless changed.
    pub idle_timeout: Duration,
    /// Connections are replaced after this; 30 min unless changed.
    pub max_lifetime: Duration,
    /// Prepared statements kept per connection; 100 unless changed, 0 behind a pooler in transaction mode.
    pub statement_cache: usize,
    /// The server's `statement_timeout`; 30 s unless changed, zero is no limit.
    pub statement_timeout: Duration,
    /// The server's `lock_timeout`; 5 s unless changed, zero is no limit.
    pub lock_timeout: Duration,
    /// The server's `idle_in_transaction_session_timeout`; 60 s unless changed, zero is no limit.
    pub idle_in_transaction_timeout: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            max_connections: 50,
            min_connections: 0,
            acquire_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(5),
            max_lifetime: Duration::from_mins(30),
            statement_cache: 100,
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_mins(1),
        }
    }
}

impl ConnectOptions {
    /// Default pools on one URL.
    pub fn new(url: Secret, role: impl Into<String>) -> Self {
        Self { url, write_url: None, pool: PoolSettings::default(), role: role.into() }
    }
}

impl Database {
    /// Connects, retrying while the server is starting, and checks that the server can carry the product: release,
    /// encoding, write access, right to create tables.
    pub async fn connect(options: &ConnectOptions) -> Result<DbPool, ConnectError> {
        let write_url = options.write_url.as_ref().unwrap_or(&options.url);
        let write_options = pg_options(write_url, options)?;
        let server = check_server(&write_options, options, Access::Write).await?;
        let write = Arc::new(pool(write_options, &options.pool));
        let read = if options.write_url.is_some() {
            let read_options = pg_options(&options.url, options)?;
            check_server(&read_options, options, Access::Read).await?;
            Arc::new(pool(read_options, &options.pool))
        } else {
            Arc::clone(&write)
        };
        let database = Self { read, write, server };
        database.warn_about_connection_budget(options);
        Ok(Arc::new(database))
    }

    /// The pool for reading.
    pub fn read(&self) -> &PgPool {
        &self.read
    }

    /// The pool for writes, transactions, locks and DDL.
    pub fn write(&self) -> &PgPool {
        &self.write
    }

    /// The pool for reading, in the form extensions written against earlier releases expect. Never `None`.
    pub fn pool(&self) -> Option<Arc<PgPool>> {
        Some(Arc::clone(&self.read))
    }

    /// The pool for writing, in the form extensions written against earlier releases expect. Never `None`.
    pub fn write_pool(&self) -> Option<Arc<PgPool>> {
        Some(Arc::clone(&self.write))
    }

    /// The pool for reading as a shared handle. Never fails.
    pub fn pool_arc(&self) -> Result<Arc<PgPool>, RepositoryError> {
        Ok(Arc::clone(&self.read))
    }

    /// The pool for writing as a shared handle. Never fails.
    pub fn write_pool_arc(&self) -> Result<Arc<PgPool>, RepositoryError> {
        Ok(Arc::clone(&self.write))
    }

    /// What the server said about itself when we connected.
    pub fn server(&self) -> &ServerInfo {
        &self.server
    }

    /// Whether reads go to another server than writes.
    pub fn is_split(&self) -> bool {
        !Arc::ptr_eq(&self.read, &self.write)
    }

    /// Where the write pool connects to, without the password.
    pub fn target(&self) -> Target {
        Target::of(&self.write.connect_options())
    }

    /// Asks both pools for `SELECT 1`; `limit` bounds each, waiting for a connection included.
    pub async fn ping(&self, limit: Duration) -> Result<(), RepositoryError> {
        let mut pools = vec![&self.write];
        if self.is_split() {
            pools.push(&self.read);
        }
        for pool in pools {
            tokio::time::timeout(limit, sqlx::query("SELECT 1").execute(&**pool))
                .await
                .map_err(|_| RepositoryError::Unavailable)??;
        }
        Ok(())
    }

    /// Closes every connection, waiting for those in use to be given back.
    pub async fn close(&self) {
        self.write.close().await;
        self.read.close().await;
    }

    /// A connection of its own beside the pools, without time limits, for work that holds it for long: migrations,
    /// listening, an operator's query.
    pub async fn dedicated(&self, purpose: &str) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect_with(&self.dedicated_options(purpose)).await
    }

    /// The same where reads go.
    pub async fn dedicated_for_reading(&self, purpose: &str) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect_with(&without_limits(&self.read, purpose)).await
    }

    /// How such a connection is made, for one to another database of the same server.
    pub fn dedicated_options(&self, purpose: &str) -> PgConnectOptions {
        without_limits(&self.write, purpose)
    }

    fn warn_about_connection_budget(&self, options: &ConnectOptions) {
        let pools = if self.is_split() { 2 } else { 1 };
        let wanted = options.pool.max_connections * pools;
        let available = self.server.max_connections;
        if u64::from(wanted) * 100 > u64::from(available) * 80 {
            tracing::warn!(
                pools,
                pool_max_connections = options.pool.max_connections,
                wanted,
                server_max_connections = available,
                "the pools of this process alone may take more than 80 % of the server's connections; \
                 lower database.pool.max_connections or raise max_connections of the server"
            );
        }
    }
}

/// The options of a pool's connections with the session's time limits lifted.
fn without_limits(pool: &PgPool, purpose: &str) -> PgConnectOptions {
    let options = PgConnectOptions::clone(&pool.connect_options());
    let name = format!("{}:{purpose}", options.get_application_name().unwrap_or("systemprompt"));
    let options = options.application_name(&name);
    // Behind a pooler there are no session defaults to lift.
    if options.get_options().is_none() {
        return options;
    }
    options.options([("statement_timeout", "0"), ("lock_timeout", "30s"), ("idle_in_transaction_session_timeout", "0")])
}

/// Turns a URL into driver options with our session defaults. They travel in the start-up packet, so they cost no round
/// trip; a pooler in transaction mode refuses that, and shares sessions, so behind one the server's own defaults apply.
fn pg_options(url: &Secret, options: &ConnectOptions) -> Result<PgConnectOptions, ConnectError> {
    let mut url = Url::parse(url.expose()).map_err(|source| ConnectError::InvalidUrl { reason: source.to_string() })?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(ConnectError::UnsupportedEngine { scheme: url.scheme().to_owned() });
    }
    let pooler = url.query_pairs().any(|(key, value)| key == "pgbouncer" && value == "true");
    let pairs: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, _)| key != "pgbouncer")
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    url.set_query(None);
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    let parsed = PgConnectOptions::from_url(&url).map_err(|source| match source {
        sqlx::Error::Configuration(reason) => ConnectError::InvalidUrl { reason: reason.to_string() },
        other => ConnectError::InvalidUrl { reason: other.to_string() },
    })?;
    let settings = &options.pool;
    let parsed = parsed
        .application_name(&format!("systemprompt/{}/{}", env!("CARGO_PKG_VERSION"), options.role))
        .disable_statement_logging()
        .log_slow_statements(log_level(), SLOW_STATEMENT);
    if pooler {
        return Ok(parsed.statement_cache_capacity(0));
    }
    Ok(parsed.statement_cache_capacity(settings.statement_cache).options([
        ("statement_timeout", settings.statement_timeout.as_millis().to_string()),
        ("lock_timeout", settings.lock_timeout.as_millis().to_string()),
        ("idle_in_transaction_session_timeout", settings.idle_in_transaction_timeout.as_millis().to_string()),
    ]))
}

/// `warn`, in the type of the `log` crate that the driver's interface uses without exporting it.
fn log_level<L: std::str::FromStr>() -> L
where
    L::Err: std::fmt::Debug,
{
    "warn".parse().expect("a level of the log crate")
}

fn pool(options: PgConnectOptions, settings: &PoolSettings) -> PgPool {
    PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .min_connections(settings.min_connections)
        .acquire_timeout(settings.acquire_timeout)
        .idle_timeout(settings.idle_timeout)
        .max_lifetime(settings.max_lifetime)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for < TRUST_IDLE_FOR {
                    return Ok(true);
                }
                Ok(connection.ping().await.is_ok())
            })
        })
        .connect_lazy_with(options)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

#[derive(sqlx::FromRow)]
struct ServerRow {
    version: String,
    version_number: i32,
    max_connections: i32,
    encoding: String,
    in_recovery: bool,
    may_create: bool,
    user: String,
    database: String,
}

async fn check_server(
    target: &PgConnectOptions,
    options: &ConnectOptions,
    access: Access,
) -> Result<ServerInfo, ConnectError> {
    let mut connection = connect_with_retry(target, options.pool.acquire_timeout).await?;
    let row: ServerRow = sqlx::query_as(
        "SELECT current_setting('server_version') AS version,
                current_setting('server_version_num')::int AS version_number,
                current_setting('max_connections')::int AS max_connections,
                pg_encoding_to_char(d.encoding)::text AS encoding,
                pg_is_in_recovery() AS in_recovery,
                coalesce(has_schema_privilege('public', 'CREATE'), false) AS may_create,
                current_user::text AS user,
                current_database()::text AS database
           FROM pg_database d
          WHERE d.datname = current_database()",
    )
    .persistent(false)
    .fetch_one(&mut connection)
    .await
    .map_err(|source| ConnectError::of(Target::of(target), options.pool.acquire_timeout, source))?;
    // The answer is here; whether the goodbye arrives changes nothing.
    let _ = connection.close().await;

    let target = Target::of(target);
    let major = row.version_number as u32 / 10_000;
    if major < MINIMUM_SERVER_VERSION {
        return Err(ConnectError::ServerTooOld { target, found: row.version, minimum: MINIMUM_SERVER_VERSION });
    }
    if row.encoding != "UTF8" {
        return Err(ConnectError::Encoding { target, database: row.database, found: row.encoding });
    }
    if access == Access::Write {
        if row.in_recovery {
            return Err(ConnectError::Standby { target });
        }
        if !row.may_create {
            return Err(ConnectError::MissingPrivilege { target, user: row.user, database: row.database });
        }
    }
    Ok(ServerInfo { version: row.version, major, max_connections: row.max_connections as u32 })
}

async fn connect_with_retry(options: &PgConnectOptions, limit: Duration) -> Result<PgConnection, ConnectError> {
    let mut wait = FIRST_RETRY;
    let mut attempt = 1;
    loop {
        let error = match tokio::time::timeout(limit, PgConnection::connect_with(options)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(source)) => ConnectError::of(Target::of(options), limit, source),
            Err(_) => return Err(ConnectError::TimedOut { target: Target::of(options), waited: limit }),
        };
        if attempt == CONNECT_ATTEMPTS || !error.may_pass_by_itself() {
            return Err(error);
        }
        tracing::info!(attempt, wait_ms = wait.as_millis() as u64, %error, "the database is not ready, trying again");
        tokio::time::sleep(wait).await;
        wait *= 2;
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> ConnectOptions {
        ConnectOptions::new(Secret::new(url), "test")
    }

    fn parse(url: &str) -> Result<PgConnectOptions, ConnectError> {
        let options = options(url);
        pg_options(&options.url, &options)
    }

    #[test]
    fn session_defaults_travel_in_the_start_up_packet() {
        let parsed = parse("postgres://ada:secret@db.example/app").expect("valid");
        let sent = parsed.get_options().expect("set");
        assert!(sent.contains("statement_timeout=30000") && sent.contains("lock_timeout=5000"), "{sent}");
        assert_eq!(parsed.get_application_name(), Some(concat!("systemprompt/", env!("CARGO_PKG_VERSION"), "/test")));
    }

    #[test]
    fn a_pooler_in_transaction_mode_gets_no_session_settings() {
        let parsed = parse("postgres://ada@db.example/app?sslmode=disable&pgbouncer=true").expect("valid");
        assert_eq!(parsed.get_options(), None);
    }

    #[test]
    fn a_broken_url_is_explained_without_repeating_it() {
        for url in
            ["postgres://ada:p#ss:w@rd@host/db", "postgres://ada:hunter2@host:port/db", "mysql://root:hunter2@h/d"]
        {
            let error = parse(url).expect_err(url);
            let text = format!("{error} {}", error.hint());
            assert!(!text.contains("hunter2") && !text.contains("p#ss"), "{text}");
        }
    }
}
