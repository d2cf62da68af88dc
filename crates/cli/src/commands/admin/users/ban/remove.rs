//! `admin users ban remove`.

use clap::Args;
use serde::Serialize;
use systemprompt_identity::BannedIp;

use super::address::{Address, bans};
use crate::change::{About, Change, Changed, StateDigest};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View};

/// Let an address or a network in again.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// As `list` shows it.
    address: Address,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Remove {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        invocation.confirm(self.yes, &format!("Let {} in again?", self.address.text)).await?;
        let bans = bans(invocation, database);
        let change = Change::new("ip_ban.remove", About::new("ip_ban", &self.address.text), &());
        let remove = async || {
            let removed = bans.remove(self.address.network()).await.map_err(CliError::database)?;
            let removed = removed.ok_or_else(|| {
                CliError::new("unknown_ban", format!("{} is not on the list", self.address.text))
                    .help("systemprompt admin users ban list   shows it; `check` finds the network an address is in")
            })?;
            Ok(Changed { before: Some(StateDigest::of(&removed)), after: None, value: removed })
        };
        let removed = invocation.change(database, change, remove).await?;
        invocation.printer.show(&Removed(removed));
        Ok(())
    }
}

#[derive(Serialize)]
struct Removed(BannedIp);

impl View for Removed {
    fn text(&self, _: Layout) -> Text {
        Text::line(format!("{} may ask again.", self.0.ip_address))
    }
}
