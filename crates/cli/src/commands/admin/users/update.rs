//! `admin users update`.

use clap::Args;
use serde_json::json;
use systemprompt_identity::{UserChange, UserError};

use crate::accounts::{accounts, find, refused, status};
use crate::change::{About, Change, altered};
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};
use crate::roles;

/// Change an account.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Name, e-mail address or id.
    user: String,
    /// E-mail address.
    #[arg(long)]
    email: Option<String>,
    /// Full name.
    #[arg(long)]
    full_name: Option<String>,
    /// Name shown to others.
    #[arg(long)]
    display_name: Option<String>,
    /// State: active, inactive, suspended or pending.
    #[arg(long)]
    status: Option<String>,
    /// Whether the e-mail address is known to be theirs.
    #[arg(long)]
    email_verified: Option<bool>,
    /// All roles. Those there are besides the built-in ones are declared in `services/access-control`.
    #[arg(long, value_delimiter = ',')]
    roles: Option<Vec<String>>,
}

impl Update {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let accounts = accounts(invocation, &database.db);
        let user = find(&accounts, &self.user).await?;
        let new = UserChange {
            name: None,
            email: self.email,
            full_name: self.full_name,
            display_name: self.display_name,
            status: self.status.as_deref().map(status).transpose()?,
            email_verified: self.email_verified,
            roles: self.roles,
            attributes: None,
        };
        if new == UserChange::default() {
            return Err(CliError::new("nothing_to_do", "no change was given")
                .help("see `admin users update --help`")
                .exit(Exit::Usage));
        }
        // What cannot be is no change, and is not recorded as one.
        new.clone().apply(user.clone()).map_err(|problems| refused(UserError::Invalid(problems)))?;
        if let Some(given) = &new.roles {
            roles::refuse_unknown(given, &user.roles, &roles::catalogue(&invocation.project()?)?)?;
        }
        let request = json!({
            "email": new.email, "full_name": new.full_name, "display_name": new.display_name, "status": new.status,
            "email_verified": new.email_verified, "roles": new.roles,
        });
        let change = Change::new("user.update", About::new("user", user.id), &request);
        let update = async || Ok(altered(&user, accounts.update(user.id, new).await.map_err(refused)?));
        let user = invocation.change(database, change, update).await?;
        invocation.printer.show(&user);
        Ok(())
    }
}
