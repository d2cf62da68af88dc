//! A start that does not come to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use systemprompt::extension::ExtensionConfigs;
use systemprompt::extension::prelude::*;
use systemprompt::models::Ambient;
use systemprompt::testing::TestContext;
use systemprompt_database::InstallOptions;
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
