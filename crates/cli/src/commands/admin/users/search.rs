//! `admin users search`.

use clap::Args;

use crate::accounts::accounts;
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::Page;

/// Accounts whose name, e-mail address or full name contains a text.
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// The text.
    text: String,
    /// At most this many.
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

impl Search {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let accounts = accounts(invocation, &database.db);
        let found = accounts.search(&self.text, self.limit).await.map_err(CliError::database)?;
        invocation.printer.show(&Page::whole(found));
        Ok(())
    }
}
