//! A real PostgreSQL for tests: one server shared by all test processes, one database per test.
//!
//! ```no_run
//! # async fn example(modules: Vec<systemprompt_database::Module>) {
//! let database = systemprompt_database::testing::database(&modules).await;
//! sqlx::query("SELECT 1").execute(database.pool.write()).await.unwrap();
//! # }
//! ```
//!
//! The server is started by whoever needs it first and stopped by a watchdog soon after the last test process is gone,
//! killed or not. Its data stays in the temporary directory, so the next run finds the template databases: installing a
//! set of modules happens once, and a test's database is a copy. A test that has to stop PostgreSQL takes a
//! [`TestCluster`] of its own.
//!
//! Everything here panics when it fails: a test has nothing better to do.

mod server;

use std::sync::Mutex;

use rustix::process::Signal;
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use systemprompt_model::{Ambient, Secret, with_causes};

use crate::connect::{ConnectOptions, Database, DbPool, PoolSettings};
use crate::install::{InstallOptions, install};
use crate::schema::{Module, SchemaSource};
use server::Server;

/// Template databases kept for later runs; older ones are dropped when a new one is made.
const TEMPLATES_KEPT: i64 = 40;

/// One test's database, dropped with this value, also when the test panics.
#[derive(Debug)]
pub struct TestDatabase {
    /// Connected pools of at most ten connections.
    pub pool: DbPool,
    /// The URL, for a second process or pool.
    pub url: Secret,
    name: String,
    presence: Presence,
}

impl TestDatabase {
    /// Options for another pool on the same database.
    pub fn connect_options(&self) -> ConnectOptions {
        connect_options(self.url.clone())
    }
}

/// A database in which `modules` are installed.
pub async fn database(modules: &[Module]) -> TestDatabase {
    let presence = Presence::announce().await;
    let mut admin = presence.server.admin().await;
    let template = ensure_template(&presence.server, &mut admin, modules).await;
    copy_of(&template, admin, presence).await
}

/// A database in which nothing is installed.
pub async fn empty_database() -> TestDatabase {
    let presence = Presence::announce().await;
    let admin = presence.server.admin().await;
    copy_of("template0", admin, presence).await
}

async fn copy_of(template: &str, mut admin: PgConnection, presence: Presence) -> TestDatabase {
    let name = format!("test_{}_{}", std::process::id(), hex::encode(Ambient::system().bytes::<6>()));
    admin
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}")))
        .await
        .expect("copying the template database");
    // The copy exists; how the goodbye goes changes nothing.
    let _ = admin.close().await;
    let url = presence.server.url(&name);
    let pool = Database::connect(&connect_options(url.clone())).await.expect("connecting to the test database");
    TestDatabase { pool, url, name, presence }
}

fn connect_options(url: Secret) -> ConnectOptions {
    ConnectOptions {
        pool: PoolSettings { max_connections: 10, ..PoolSettings::default() },
        ..ConnectOptions::new(url, "test")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let server = self.presence.server.clone();
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // The test's runtime may be gone or busy with us, so this takes a thread and a runtime of its own.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut admin = server.try_admin().await.map_err(std::io::Error::other)?;
                admin.execute(AssertSqlSafe(statement)).await.map_err(std::io::Error::other)?;
                admin.close().await.map_err(std::io::Error::other)
            })
        })
        .join();
        if !matches!(dropped, Ok(Ok(()))) {
            tracing::warn!(database = self.name, "a test database could not be dropped; the next run does it");
        }
    }
}

/// The name of the template database with `modules` installed, made now if it does not exist.
async fn ensure_template(server: &Server, admin: &mut PgConnection, modules: &[Module]) -> String {
    let digest = digest(modules);
    let name = format!("template_{}", &hex::encode(digest)[..20]);
    if is_ready(admin, &name).await {
        return name;
    }
    let lock = i64::from_le_bytes(digest[..8].try_into().expect("eight bytes"));
    sqlx::query("SELECT pg_advisory_lock($1)").bind(lock).execute(&mut *admin).await.expect("the template lock");
    if !is_ready(admin, &name).await {
        // A process that died half-way may have left a part of it.
        run(admin, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        run(admin, format!("CREATE DATABASE {name} TEMPLATE template0")).await;
        let database =
            Database::connect(&connect_options(server.url(&name))).await.expect("connecting to the template");
        let options = InstallOptions { applied_by: env!("CARGO_PKG_VERSION").to_owned(), ..InstallOptions::default() };
        let installed = install(&database, modules, &options).await;
        database.close().await;
        if let Err(error) = installed {
            panic!("installing the modules into the template database: {}", with_causes(&error));
        }
        run(admin, format!("ALTER DATABASE {name} IS_TEMPLATE true ALLOW_CONNECTIONS false")).await;
        drop_old_templates(admin).await;
    }
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(lock).execute(&mut *admin).await.expect("the template lock");
    name
}

async fn is_ready(admin: &mut PgConnection, name: &str) -> bool {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)")
        .bind(name)
        .fetch_one(admin)
        .await
        .expect("looking for the template database")
}

async fn drop_old_templates(admin: &mut PgConnection) {
    let old: Vec<String> = sqlx::query_scalar(
        "SELECT datname::text FROM pg_database WHERE datname LIKE 'template\\_%' ORDER BY oid DESC OFFSET $1",
    )
    .bind(TEMPLATES_KEPT)
    .fetch_all(&mut *admin)
    .await
    .expect("listing the template databases");
    for name in old {
        // Another process may be copying it right now; then it stays until next time.
        let _ = admin.execute(AssertSqlSafe(format!("ALTER DATABASE {name} IS_TEMPLATE false"))).await;
        let _ = admin.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}"))).await;
    }
}

async fn run(admin: &mut PgConnection, statement: String) {
    if let Err(error) = admin.execute(AssertSqlSafe(statement.clone())).await {
        panic!("{statement}: {error}");
    }
}

/// Everything that decides what an installation leaves in an empty database.
fn digest(modules: &[Module]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut part = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    part(crate::install::BOOKKEEPING);
    for module in modules {
        part("module");
        part(&module.id);
        module.dependencies.iter().chain(&module.cross_tables).for_each(|name| part(name));
        for schema in &module.schemas {
            part("schema");
            part(&schema.table);
            part(schema.schema_name());
            match &schema.sql {
                SchemaSource::Inline(sql) => part(sql),
                SchemaSource::File(path) => part(&path.to_string_lossy()),
            }
        }
        for migration in &module.migrations {
            part("migration");
            part(&migration.row_id(&module.id));
            part(migration.name);
            part(migration.sql);
        }
        for seed in &module.seeds {
            part("seed");
            part(seed.id);
            part(seed.sql);
        }
    }
    hasher.finalize().into()
}

/// As long as one of these exists in a process, the shared server stays up.
#[derive(Debug)]
struct Presence {
    server: Server,
}

/// Databases in use by this process. The one piece of process-wide state of this crate: the tests of a binary share a
/// process and nothing else.
static IN_USE: Mutex<usize> = Mutex::new(0);

impl Presence {
    async fn announce() -> Self {
        let server = Server::shared();
        let first = {
            let mut in_use = IN_USE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if *in_use == 0 {
                server.announce_and_start();
            }
            *in_use += 1;
            *in_use == 1
        };
        let presence = Self { server };
        if first {
            drop_databases_of_the_dead(&mut presence.server.admin().await).await;
        }
        presence
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut in_use = IN_USE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *in_use -= 1;
        if *in_use == 0 {
            self.server.leave();
        }
    }
}

/// A test process that was killed could not drop its databases.
async fn drop_databases_of_the_dead(admin: &mut PgConnection) {
    let names: Vec<String> = sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE datname LIKE 'test\\_%'")
        .fetch_all(&mut *admin)
        .await
        .expect("listing the test databases");
    for name in names {
        let owner = name.split('_').nth(1).and_then(|pid| pid.parse().ok());
        if owner.is_some_and(|pid| !server::is_alive(pid)) {
            // Two processes may clean up at once.
            let _ = admin.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).await;
        }
    }
}

/// A server of a test's own, for tests that stop it. Making one takes about a second. It is gone with this value, and
/// with the process.
#[derive(Debug)]
pub struct TestCluster {
    server: Server,
}

impl TestCluster {
    /// A running server with one empty database called `app`.
    pub async fn start() -> Self {
        let server = Server::private();
        server.announce_and_start();
        let mut admin = server.admin().await;
        run(&mut admin, "CREATE DATABASE app TEMPLATE template0".to_owned()).await;
        let _ = admin.close().await;
        Self { server }
    }

    /// The URL of its database.
    pub fn url(&self) -> Secret {
        self.server.url("app")
    }

    /// Options for a pool on its database.
    pub fn connect_options(&self) -> ConnectOptions {
        connect_options(self.url())
    }

    /// Stops the server: sessions are ended, data is kept.
    pub fn stop(&self) {
        self.server.stop("fast");
    }

    /// Stops the server as a crash would: nothing is written any more, the next start recovers.
    pub fn crash(&self) {
        self.server.stop("immediate");
    }

    /// Stops the clock of the server and of everybody who serves in it: connections stay, and nothing is answered.
    pub fn freeze(&self) {
        self.server.signal(Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.server.signal(Signal::CONT);
    }

    /// Starts the server again.
    pub fn restart(&self) {
        self.server.announce_and_start();
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        self.server.remove();
    }
}
