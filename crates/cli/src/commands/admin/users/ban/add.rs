//! `admin users ban add`.

use clap::Args;
use serde::Serialize;
use serde_json::json;
use systemprompt_identity::BannedIp;

use super::address::{Address, bans};
use crate::change::{About, Change, made};
use crate::error::{CliError, CliResult};
use crate::moment::Lasting;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View, time};

/// Shut an address or a network out, on every server from the next request on.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The address, or a network such as 192.0.2.0/24.
    address: Address,
    /// Why.
    #[arg(long)]
    reason: String,
    /// For how long: `90s`, `15m`, `2h`, `7d`.
    #[arg(long, default_value = "7d", conflicts_with = "permanent")]
    duration: Lasting,
    /// For good.
    #[arg(long)]
    permanent: bool,
}

impl Add {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let lasts = (!self.permanent).then_some(self.duration.0);
        let bans = bans(invocation, database);
        let whom = self.address.network();
        let request = json!({
            "address": self.address.text, "reason": self.reason, "seconds": lasts.map(|lasts| lasts.num_seconds()),
        });
        let change = Change::new("ip_ban.add", About::new("ip_ban", &self.address.text), &request);
        let add = async || Ok(made(bans.add(whom, &self.reason, lasts).await.map_err(CliError::database)?));
        let ban = invocation.change(database, change, add).await?;
        invocation.printer.show(&Added(ban));
        Ok(())
    }
}

#[derive(Serialize)]
struct Added(BannedIp);

impl View for Added {
    fn text(&self, _: Layout) -> Text {
        let until = self.0.expires_at.map_or("for good".to_owned(), |end| format!("until {}", time(end)));
        Text::line(format!("{} is shut out {until}.", self.0.ip_address))
    }
}
