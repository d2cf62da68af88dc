//! `admin users`: accounts, their API keys, and addresses that are shut out.

mod api_key;
mod ban;
mod count;
mod create;
mod delete;
mod list;
mod search;
mod show;
mod update;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// Accounts and their API keys. A USER is a name, an e-mail address or an id.
#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    List(list::List),
    Show(show::Show),
    Search(search::Search),
    Create(create::Create),
    Update(update::Update),
    Delete(delete::Delete),
    Count(count::Count),
    #[command(subcommand)]
    ApiKey(api_key::ApiKey),
    #[command(subcommand, alias = "bans")]
    Ban(ban::Ban),
}

impl Users {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        invocation
            .with_database(async move |database| match self {
                Self::List(command) => command.run(invocation, database).await,
                Self::Show(command) => command.run(invocation, database).await,
                Self::Search(command) => command.run(invocation, database).await,
                Self::Create(command) => command.run(invocation, database).await,
                Self::Update(command) => command.run(invocation, database).await,
                Self::Delete(command) => command.run(invocation, database).await,
                Self::Count(command) => command.run(invocation, database).await,
                Self::ApiKey(group) => group.run(invocation, database).await,
                Self::Ban(group) => group.run(invocation, database).await,
            })
            .await
    }
}
