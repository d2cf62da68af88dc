//! `admin users ban check`.

use clap::Args;
use serde::Serialize;
use systemprompt_identity::BannedIp;

use super::address::{Address, bans};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View, time};

/// Whether an address is shut out, and by what.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The address.
    address: Address,
}

impl Check {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let bans = bans(invocation, database).of(self.address.network()).await.map_err(CliError::database)?;
        invocation.printer.show(&Checked { address: self.address.text, banned: !bans.is_empty(), bans });
        Ok(())
    }
}

#[derive(Serialize)]
struct Checked {
    address: String,
    banned: bool,
    bans: Vec<BannedIp>,
}

impl View for Checked {
    fn text(&self, _: Layout) -> Text {
        if !self.banned {
            return Text::line(format!("{} is not shut out.", self.address));
        }
        Text::below(self.bans.iter().map(|ban| {
            let until = ban.expires_at.map_or("for good".to_owned(), |end| format!("until {}", time(end)));
            Text::line(format!("{} is shut out {until} by {}: {}", self.address, ban.ip_address, ban.reason))
        }))
    }
}
