//! A start that does not come to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use systemprompt::extension::ExtensionConfigs;
use systemprompt::extension::ledger::{LedgerEntry, Projection, ProjectionError};
use systemprompt::extension::prelude::*;
use systemprompt::models::Ambient;
use systemprompt::testing::TestContext;
use systemprompt_database::InstallOptions;
use systemprompt_governance::Ledger;
use systemprompt_model::{ActionId, with_causes};
use systemprompt_server::{ServerOptions, StartError, start};
use tokio::net::TcpListener;

/// Has a task that runs until the server stops, and a hook.
#[derive(Default, Clone)]
struct Busy {
    task_ended: Arc<AtomicBool>,
    hook_ran: Arc<AtomicBool>,
}

#[async_trait]
impl Extension for Busy {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "busy", name: "Busy", version: "1.0.0" }
    }

    async fn on_start(&self, ctx: &dyn ExtensionContext) -> Result<(), LoaderError> {
        let (shutdown, ended) = (ctx.shutdown().clone(), self.task_ended.clone());
        ctx.tracker().spawn(async move {
            shutdown.cancelled().await;
            ended.store(true, Ordering::Relaxed);
        });
        Ok(())
    }

    async fn on_shutdown(&self, _: &dyn ExtensionContext) {
        self.hook_ran.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_start_that_fails_late_leaves_nothing_running() {
    let server = TestContext::builder().start().await;
    let busy = Busy::default();
    let options = ServerOptions {
        configuration: server.configuration().clone(),
        extension_configs: ExtensionConfigs::default(),
        registry: Arc::new(ExtensionRegistry::of([Arc::new(busy.clone()) as Arc<dyn Extension>])),
        db: Database::connect(&server.test_database().connect_options()).await.expect("connects"),
        ambient: Ambient::system(),
        listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        install: InstallOptions::default(),
        logs: None,
    };
    // Nobody provides what checks credentials, which is found out when the routes are mounted.
    let error = start(options).await.err().expect("it cannot start");
    assert!(matches!(error, StartError::Extension(_)), "{error}");
    assert!(busy.hook_ran.load(Ordering::Relaxed) && busy.task_ended.load(Ordering::Relaxed));
}

/// Derives nothing from the log, since it cannot.
struct Derives;

#[async_trait]
impl Extension for Derives {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "derives", name: "Derives", version: "1.0.0" }
    }

    fn schemas(&self) -> Vec<SchemaDefinition> {
        vec![SchemaDefinition::inline("derives_nothing", "CREATE TABLE IF NOT EXISTS derives_nothing (id UUID)")]
    }

    fn projections(&self) -> Vec<Arc<dyn Projection>> {
        vec![Arc::new(Failing)]
    }
}

struct Failing;

#[async_trait]
impl Projection for Failing {
    fn name(&self) -> &'static str {
        "derives_nothing"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["derives_nothing"]
    }

    async fn apply(&self, _: &mut sqlx::PgConnection, _: &[LedgerEntry]) -> Result<(), ProjectionError> {
        Err(ProjectionError::Database(sqlx::Error::RowNotFound))
    }

    async fn forget(&self, _: &mut sqlx::PgConnection, _: &[ActionId]) -> Result<(), ProjectionError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_projection_that_fails_keeps_no_server_from_starting() {
    // Its start alone leaves entries in the log.
    let server = TestContext::builder().extension(Derives).start().await;
    let options = ServerOptions {
        configuration: server.configuration().clone(),
        extension_configs: ExtensionConfigs::default(),
        registry: Arc::clone(server.registry()),
        db: Database::connect(&server.test_database().connect_options()).await.expect("connects"),
        ambient: Ambient::system(),
        listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        install: InstallOptions::default(),
        logs: None,
    };
    let second = start(options).await.unwrap_or_else(|error| panic!("{}", with_causes(&error)));
    let ledger = second.context().service::<Ledger>().expect("governance provides it");
    assert!(ledger.catch_up().await.is_err());
    let failing: Vec<_> = ledger.projector().failures().into_iter().map(|(name, _)| name).collect();
    assert_eq!(failing, ["derives_nothing"], "it stands still alone");
    second.shut_down(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_list_of_changes_that_stands_still_keeps_no_server_from_starting() {
    let server = TestContext::builder().start().await;
    server.catch_up().await;
    let database = Database::connect(&server.test_database().connect_options()).await.expect("connects");
    // An entry that nobody can read, in a chain of its own.
    for statement in [
        "INSERT INTO ledger_chains SELECT (jsonb_populate_record(c, jsonb_build_object(
             'chain_id', '00000000-0000-7000-8000-00000000000f', 'name', 'elsewhere', 'seq', 1))).*
         FROM ledger_chains AS c LIMIT 1",
        "INSERT INTO ledger SELECT (jsonb_populate_record(l, jsonb_build_object(
             'chain_id', '00000000-0000-7000-8000-00000000000f', 'seq', 1, 'kind', 'decided', 'body', '{}'))).*
         FROM ledger AS l LIMIT 1",
    ] {
        sqlx::query(statement).execute(database.write()).await.expect("is written");
    }
    let options = ServerOptions {
        configuration: server.configuration().clone(),
        extension_configs: ExtensionConfigs::default(),
        registry: Arc::clone(server.registry()),
        db: database,
        ambient: Ambient::system(),
        listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        install: InstallOptions::default(),
        logs: None,
    };
    let second = start(options).await.unwrap_or_else(|error| panic!("{}", with_causes(&error)));
    let ledger = second.context().service::<Ledger>().expect("governance provides it");
    assert!(ledger.catch_up().await.is_err(), "it stands still and says so");
    second.shut_down(std::time::Duration::from_secs(5)).await;
}
