//! `infra db info`.

use clap::Args;

use super::failure::failure;
use crate::database::catalog;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View, bytes, time};

/// Server, database, size and pools.
#[derive(Debug, Args)]
pub(crate) struct Info {}

impl Info {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        invocation.printer.show(&catalog::info(&database.db).await.map_err(failure)?);
        Ok(())
    }
}

impl View for catalog::Info {
    fn text(&self, layout: Layout) -> Text {
        let pools = self.pools.iter().map(|pool| {
            format!("{}: {} open, {} idle, at most {}", pool.name, pool.size, pool.idle, pool.max_connections)
        });
        layout.record(
            &Record::new()
                .with("server", format!("{} (PostgreSQL {})", self.server, self.version))
                .with("database", self.database.clone())
                .with("user", self.user.clone())
                .with("size", bytes(self.size_bytes))
                .with("started", time(self.started_at))
                .with("connections", format!("{} of {}", self.connections, self.max_connections))
                .with_list("pools", pools),
        )
    }
}
