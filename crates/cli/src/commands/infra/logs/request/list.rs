//! `infra logs request list`.

use clap::Args;
use systemprompt_gateway::request::queries::{self, RequestFilter};

use crate::accounts::{accounts, find};
use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::moment::moment;
use crate::project::{Invocation, OpenDatabase};
use crate::view::Page;

/// The latest requests.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: u32,
    /// Only since then: `2026-01-31`, `2026-01-31T12:00:00Z`, or `15m`, `2h`, `7d` ago.
    #[arg(long)]
    since: Option<String>,
    /// Only until then.
    #[arg(long)]
    until: Option<String>,
    /// Only of this provider.
    #[arg(long)]
    provider: Option<String>,
    /// Only of this model.
    #[arg(long)]
    model: Option<String>,
    /// Only of this user.
    #[arg(long)]
    user: Option<String>,
    /// Go on after the cursor the last page printed.
    #[arg(long)]
    before: Option<String>,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let now = invocation.ambient.now();
        let user = match &self.user {
            Some(user) => Some(find(&accounts(invocation, &database.db), user).await?.id),
            None => None,
        };
        let not_a_cursor = |cursor| CliError::invalid_value(format!("`{cursor}` is not a cursor"));
        let filter = RequestFilter {
            since: moment(self.since.as_deref(), now)?,
            until: moment(self.until.as_deref(), now)?,
            provider: self.provider,
            model: self.model,
            user,
            before: self.before.map(|cursor| cursor.parse().map_err(|_| not_a_cursor(cursor))).transpose()?,
            limit: self.limit,
        };
        catch_up(&database.db).await?;
        let found = queries::list_requests(database.db.write(), &filter).await.map_err(CliError::database)?;
        let next = found.next.map(|next| next.to_string());
        let page = Page { items: found.items, next, total: None };
        invocation.printer.show(&page);
        if let Some(next) = page.next {
            invocation.printer.note(format!("\nmore: --before {next}"));
        }
        Ok(())
    }
}
