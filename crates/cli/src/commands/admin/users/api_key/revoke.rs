//! `admin users api-key revoke`.

use clap::Args;
use serde::Serialize;
use systemprompt_identity::ApiKey;

use super::keys::keys;
use crate::change::{About, Change, altered};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View};

/// Take a key back. It is refused from the next request on.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The key's id or visible prefix.
    key: String,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Revoke {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let keys = keys(invocation, &database.db);
        let found = keys.find(&self.key).await.map_err(CliError::database)?.ok_or_else(|| {
            CliError::new("unknown_key", format!("there is no key `{}`", self.key))
                .help("systemprompt admin users api-key list <user>   shows ids and prefixes")
        })?;
        invocation.confirm(self.yes, &format!("Revoke the key {} ({})?", found.prefix, found.name)).await?;
        let revoke = async || {
            let revoked = keys.revoke(found.id).await;
            Ok(altered(&found, revoked.map_err(|error| CliError::from_error("key_refused", &error))?))
        };
        let change = Change::new("api_key.revoke", About::new("api_key", found.id), &());
        let key = invocation.change(database, change, revoke).await?;
        invocation.printer.show(&Revoked(key));
        Ok(())
    }
}

#[derive(Serialize)]
struct Revoked(ApiKey);

impl View for Revoked {
    fn text(&self, _: Layout) -> Text {
        Text::line(format!("Revoked {}.", self.0.prefix))
    }
}
