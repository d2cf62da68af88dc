//! `admin users list`.

use clap::Args;
use systemprompt_identity::{self as identity, UserFilter};

use crate::accounts::{accounts, status};
use crate::bounds::{OFFSET, ROWS, within};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::Page;

/// Accounts.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 20, value_parser = within::<u32>(ROWS))]
    limit: u32,
    /// Leave out this many.
    #[arg(long, default_value_t = 0, value_parser = within::<u32>(OFFSET))]
    offset: u32,
    /// Only those with this role.
    #[arg(long)]
    role: Option<String>,
    /// Only those in this state.
    #[arg(long)]
    status: Option<String>,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let accounts = accounts(invocation, &database.db);
        let filter = UserFilter { role: self.role, status: self.status.as_deref().map(status).transpose()? };
        let page = identity::Page { limit: self.limit, offset: self.offset };
        let items = accounts.list(&filter, page).await.map_err(CliError::database)?;
        let total = accounts.count(&filter).await.map_err(CliError::database)?;
        let end = u64::from(self.offset) + items.len() as u64;
        let next = (end < total && !items.is_empty()).then(|| end.to_string());
        invocation.show_part(&Page { items, next, total: Some(total) }, "--offset");
        Ok(())
    }
}
