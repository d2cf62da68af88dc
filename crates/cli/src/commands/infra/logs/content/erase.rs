//! `infra logs content erase`.

use clap::Args;
use systemprompt_governance::ledger::erasure::{Erased, erase_user};

use super::gone::Gone;
use crate::accounts::{accounts, find};
use crate::change::{About, Change, altered};
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
        let erase = async || {
            let now = invocation.ambient.now();
            let erased = erase_user(database.db.write(), user.id, now).await;
            let erased = erased.map_err(CliError::database)?;
            Ok(altered(&Erased::default(), erased))
        };
        let change = Change::new("content.erase", About::new("user", user.id), &());
        let erased = invocation.change(database, change, erase).await?;
        invocation.printer.show(&Gone { of: user.name, erased });
        Ok(())
    }
}
