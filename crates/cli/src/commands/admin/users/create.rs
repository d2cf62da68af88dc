//! `admin users create`.

use clap::Args;
use serde_json::json;
use systemprompt_identity::{NewUser, UserError, UserReference};

use crate::accounts::{accounts, refused};
use crate::change::{About, Change, made};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::roles;

/// Make an account.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Unique name.
    #[arg(long)]
    name: String,
    /// Unique e-mail address.
    #[arg(long)]
    email: String,
    /// Full name.
    #[arg(long)]
    full_name: Option<String>,
    /// Name shown to others.
    #[arg(long)]
    display_name: Option<String>,
    /// Roles beside `user`. Those there are besides the built-in ones are declared in `services/access-control`.
    #[arg(long, value_delimiter = ',')]
    roles: Vec<String>,
    /// Do nothing if the name is taken.
    #[arg(long)]
    if_not_exists: bool,
}

impl Create {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let accounts = accounts(invocation, &database.db);
        if self.if_not_exists {
            let reference = UserReference::Name(self.name.clone());
            if let Some(user) = accounts.find(&reference).await.map_err(CliError::database)? {
                invocation.printer.show(&user);
                return Ok(());
            }
        }
        let mut roles = self.roles;
        roles.push("user".to_owned());
        let new = NewUser {
            name: self.name,
            email: self.email,
            full_name: self.full_name,
            display_name: self.display_name,
            roles,
            ..NewUser::default()
        };
        // What cannot be is no change, and is not recorded as one.
        let new = new.normalised().map_err(|problems| refused(UserError::Invalid(problems)))?;
        roles::refuse_unknown(&new.roles, &[], &roles::catalogue(&invocation.project()?)?)?;
        let change = Change::new(
            "user.create",
            About::new("user", &new.name),
            &json!({
                "name": new.name, "email": new.email, "full_name": new.full_name, "display_name": new.display_name,
                "roles": new.roles,
            }),
        );
        let create = async || Ok(made(accounts.create(new).await.map_err(refused)?));
        let user = invocation.change(database, change, create).await?;
        invocation.printer.show(&user);
        Ok(())
    }
}
