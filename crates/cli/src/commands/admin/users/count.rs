//! `admin users count`.

use clap::Args;
use serde::Serialize;
use systemprompt_identity::UserFilter;

use crate::accounts::accounts;
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View};

/// How many accounts there are.
#[derive(Debug, Args)]
pub(crate) struct Count {}

impl Count {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let count = accounts(invocation, &database.db).count(&UserFilter::default()).await;
        invocation.printer.show(&Counted { count: count.map_err(CliError::database)? });
        Ok(())
    }
}

#[derive(Serialize)]
struct Counted {
    count: u64,
}

impl View for Counted {
    fn text(&self, _: Layout) -> Text {
        Text::line(self.count.to_string())
    }
}
