//! `admin users ban cleanup`.

use clap::Args;
use serde::Serialize;

use super::address::bans;
use crate::change::{About, Change, Changed};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View};

/// Delete bans that are over.
#[derive(Debug, Args)]
pub(crate) struct Cleanup {
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Cleanup {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        invocation.confirm(self.yes, "Delete the bans that are over?").await?;
        let bans = bans(invocation, database);
        let change = Change::new("ip_ban.cleanup", About::new("ip_ban", "over"), &());
        let cleanup = async || Ok(Changed::unseen(bans.cleanup().await.map_err(CliError::database)?));
        let deleted = invocation.change(database, change, cleanup).await?;
        invocation.printer.show(&Cleaned { deleted });
        Ok(())
    }
}

#[derive(Serialize)]
struct Cleaned {
    deleted: u64,
}

impl View for Cleaned {
    fn text(&self, _: Layout) -> Text {
        Text::line(format!("{} bans deleted.", self.deleted))
    }
}
