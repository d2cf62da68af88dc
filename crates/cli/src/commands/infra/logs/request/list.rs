//! `infra logs request list`.

use clap::Args;
use systemprompt_gateway::request::queries::{self, RequestFilter};
use systemprompt_governance::page::Page;

use crate::accounts::{accounts, find};
use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::moment::{Moment, span};
use crate::paging::Paging;
use crate::project::{Invocation, OpenDatabase};
use crate::requests::named;

/// The latest requests.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    paging: Paging,
    /// Only until then.
    #[arg(long)]
    until: Option<Moment>,
    /// Only of this provider.
    #[arg(long)]
    provider: Option<String>,
    /// Only of this model.
    #[arg(long)]
    model: Option<String>,
    /// Only of this user.
    #[arg(long)]
    user: Option<String>,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let (since, until) = span(self.paging.since, self.until, invocation.ambient.now())?;
        let user = match &self.user {
            Some(user) => Some(find(&accounts(invocation, &database.db), user).await?.id),
            None => None,
        };
        let filter = RequestFilter {
            since,
            until,
            provider: self.provider,
            model: self.model,
            user,
            before: self.paging.before()?,
            limit: self.paging.limit,
        };
        catch_up(&database.db).await?;
        let found = queries::list_requests(database.db.write(), &filter).await.map_err(CliError::database)?;
        let items = named(&database.db, found.items).await?;
        invocation.show_page(Page { items, next: found.next });
        Ok(())
    }
}
