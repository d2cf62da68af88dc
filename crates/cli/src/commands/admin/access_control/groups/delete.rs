//! `admin access-control groups delete`.

use clap::Args;
use serde_json::json;
use systemprompt_governance::access::{GroupKind, SOURCE_YAML, StillNeeded};

use super::department::put;
use crate::access::{Access, refused};
use crate::accounts::accounts;
use crate::change::{About, Change, Changed, StateDigest};
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};

/// Delete a group. Accounts of a deleted department are in `Default` from then on.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Its name.
    name: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Delete {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let access = Access::open(invocation, &database.db)?;
        let group = access.group(&self.name, None).await?;
        let accounts = accounts(invocation, &database.db);
        let members = match group.kind {
            GroupKind::Department => accounts.in_department(&group.name).await.map_err(CliError::database)?,
            GroupKind::Group => Vec::new(),
        };
        let has_members = !members.is_empty() || !group.members.is_empty();
        if let Some(needed) = group.still_needed(&access.groups().await?, &access.rules().await?, has_members) {
            let error = CliError::new("group_in_use", needed.to_string()).exit(Exit::Conflict);
            return Err(match needed {
                StillNeeded::ByRule { entity, kind, name } => {
                    error.help(format!("systemprompt admin access-control revoke {entity} --{kind} '{name}'"))
                }
                _ => error,
            });
        }
        invocation.confirm(self.yes, &format!("Delete the {} `{}`?", group.kind.as_str(), group.name)).await?;
        // First what can be done again: if the rest fails, there is still something to delete.
        for member in members {
            put(invocation, database, member, None).await?;
        }
        let delete = async || {
            access.store.delete_group(&group.name).await.map_err(refused)?;
            Ok(Changed { before: Some(StateDigest::of(&group)), after: None, value: () })
        };
        let about = About::new(group.kind.as_str(), &group.name);
        let change = Change::new("access_group.delete", about, &json!({"name": group.name}));
        invocation.change(database, change, delete).await?;
        if group.source == SOURCE_YAML {
            invocation.printer.note("it is in services/access-control and comes back with the next start or reload");
        }
        invocation.printer.show(&group);
        Ok(())
    }
}
