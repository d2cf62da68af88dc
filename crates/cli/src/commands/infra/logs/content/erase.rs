//! `infra logs content erase`.

use clap::Args;
use systemprompt_governance::ledger::erasure::erase_user;
use systemprompt_model::ActionId;

use super::gone::{Gone, recorded};
use crate::accounts::{accounts, find};
use crate::change::{About, Change};
use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::project::{Invocation, OpenDatabase};

/// Erase all that a user said and was told. The log stays, and verifies.
#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// Whose: name, e-mail address or id.
    #[arg(long)]
    user: String,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Erase {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let user = find(&accounts(invocation, &database.db), &self.user).await?;
        let question = format!("Erase all prompts and answers of {} ({}), for ever?", user.name, user.email);
        invocation.confirm(self.yes, &question).await?;
        catch_up(&database.db).await?;
        let id = ActionId::generate(&invocation.ambient);
        let erase = async || {
            let erased = erase_user(database.db.write(), user.id, id, invocation.ambient.now()).await;
            recorded(database, id, erased.map_err(CliError::database)?).await
        };
        let change = Change::new("content.erase", About::new("user", user.id), &()).under(id);
        let erased = invocation.change(database, change, erase).await?;
        invocation.printer.show(&Gone { of: user.name, erased });
        Ok(())
    }
}
