//! `admin access-control groups delete`.

use clap::Args;
use serde_json::json;
use systemprompt_governance::access::{GroupKind, SOURCE_YAML};

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
        let rules = access.rules().await?;
        let is_about = |rule_type: &str, value: &str| rule_type == group.kind.as_str() && value == group.name;
        let entities = rules.entities().into_iter();
        let mut about = entities
            .filter(|(_, entity)| entity.rules.iter().any(|rule| is_about(&rule.rule_type, &rule.rule_value)))
            .map(|((kind, id), _)| format!("{kind}:{id}"));
        if let Some(entity) = about.next() {
            let kind = group.kind.as_str();
            return Err(CliError::new(
                "group_in_use",
                format!("{entity} has a rule about the {kind} `{}`", group.name),
            )
            .help(format!("systemprompt admin access-control revoke {entity} --{kind} '{}'", group.name))
            .exit(Exit::Conflict));
        }
        invocation.confirm(self.yes, &format!("Delete the {} `{}`?", group.kind.as_str(), group.name)).await?;
        let delete = async || {
            access.store.delete_group(&group.name).await.map_err(refused)?;
            if group.kind == GroupKind::Department {
                let accounts = accounts(invocation, &database.db);
                accounts.leave_department(&group.name).await.map_err(CliError::database)?;
            }
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
