//! `admin users delete`.

use clap::Args;
use serde::Serialize;
use systemprompt_identity::User;

use crate::accounts::{accounts, find, refused};
use crate::change::{About, Change, altered};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View};

/// Delete an account: its keys are revoked, its records stay.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Name, e-mail address or id.
    user: String,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Delete {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let accounts = accounts(invocation, &database.db);
        let user = find(&accounts, &self.user).await?;
        invocation
            .confirm(self.yes, &format!("Delete {} ({}) and revoke all of their keys?", user.name, user.email))
            .await?;
        let delete = async || Ok(altered(&user, accounts.delete(user.id).await.map_err(refused)?));
        let change = Change::new("user.delete", About::new("user", user.id), &());
        let user = invocation.change(database, change, delete).await?;
        invocation.printer.show(&Deleted(user));
        Ok(())
    }
}

#[derive(Serialize)]
struct Deleted(User);

impl View for Deleted {
    fn text(&self, _: Layout) -> Text {
        Text::line(format!("Deleted {}.", self.0.name))
    }
}
