//! `admin users search`.

use clap::Args;
use systemprompt_governance as governance;
use systemprompt_identity as identity;

use crate::accounts::accounts;
use crate::bounds::{OFFSET, ROWS, within};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::Page;

/// Accounts whose name, e-mail address or full name contains a text.
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// The text.
    text: String,
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 20, value_parser = within::<u32>(ROWS))]
    limit: u32,
    /// Leave out this many.
    #[arg(long, default_value_t = 0, value_parser = within::<u32>(OFFSET))]
    offset: u32,
}

impl Search {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let accounts = accounts(invocation, &database.db);
        // One more, to see whether there are more.
        let page = identity::Page { limit: self.limit + 1, offset: self.offset };
        let found = accounts.search(&self.text, page).await.map_err(CliError::database)?;
        let found = governance::page::Page::cut(found, self.limit, |_| u64::from(self.offset) + u64::from(self.limit));
        let next = found.next.map(|next| next.to_string());
        invocation.show_part(&Page { items: found.items, next, total: None }, "--offset");
        Ok(())
    }
}
