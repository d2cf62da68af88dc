//! `infra db status`.

use clap::Args;
use serde::Serialize;

use super::declared::Declared;
use super::failure::failure;
use crate::database::catalog;
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View, yes};

/// Whether it is reachable, migrated, and how many tables it has. Exit status 6 if it is not reachable.
#[derive(Debug, Args)]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let Declared { modules, options } = Declared::of(invocation);
        let look =
            async |database: &OpenDatabase| catalog::status(&database.db, &modules, &options).await.map_err(failure);
        let status = match invocation.with_database(look).await {
            Ok(status) => status,
            // An unreachable database is a result here.
            Err(error) if error.exit == Exit::Unavailable => {
                let CliError { message, help, .. } = error;
                invocation.printer.show(&Unreachable { connected: false, error: message, help });
                return Err(CliError::status(Exit::Unavailable));
            }
            Err(error) => return Err(error),
        };
        invocation.printer.show(&status);
        if status.connected { Ok(()) } else { Err(CliError::status(Exit::Unavailable)) }
    }
}

impl View for catalog::Status {
    fn text(&self, layout: Layout) -> Text {
        let number = |value: Option<usize>| value.map(|value| value.to_string());
        layout.record(
            &Record::new()
                .with("connected", yes(self.connected))
                .with("error", self.error.clone())
                .with("server", format!("{} (PostgreSQL {})", self.server, self.version))
                .with("database", self.database.clone())
                .with("tables", self.tables.map(|tables| tables.to_string()))
                .with("migrations applied", number(self.applied_migrations))
                .with("migrations pending", number(self.pending_migrations))
                .with("migrations drifted", number(self.drifted_migrations.filter(|count| *count > 0)))
                .with("replica lag", self.replica_lag_secs.map(|seconds| format!("{seconds:.1} s"))),
        )
    }
}

#[derive(Serialize)]
struct Unreachable {
    connected: bool,
    error: String,
    help: Option<String>,
}

impl View for Unreachable {
    fn text(&self, _: Layout) -> Text {
        Text::lines(format!("not connected: {}\n{}", self.error, self.help.as_deref().unwrap_or_default()))
    }
}
