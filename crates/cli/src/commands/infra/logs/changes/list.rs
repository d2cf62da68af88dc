//! `infra logs changes list`.

use std::collections::HashMap;

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use systemprompt_governance::changes::{ChangeFilter, ChangeRow, asked_for, list_changes};
use systemprompt_governance::page::Page;
use systemprompt_identity::Origins;
use systemprompt_model::{ActionId, UserId};

use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::moment::span;
use crate::paging::Paging;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Row, time};

/// The latest changes: what was done, by whom, and to whom.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    paging: Paging,
    /// Only this operation (`user.create`), or those on this kind of thing (`user`).
    #[arg(long)]
    operation: Option<String>,
    /// Only of this kind of thing, or of the thing with this id.
    #[arg(long)]
    about: Option<String>,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let (since, _) = span(self.paging.since, None, invocation.ambient.now())?;
        let filter = ChangeFilter {
            since,
            operation: self.operation,
            about: self.about,
            before: self.paging.page.before()?,
            limit: self.paging.page.limit,
        };
        catch_up(&database.db).await?;
        let found = list_changes(database.db.write(), &filter).await.map_err(CliError::database)?;
        let Page { items, next } = found;
        let ids: Vec<ActionId> = items.iter().map(|change| change.id).collect();
        let mut asked = asked_for(database.db.write(), &ids).await.map_err(CliError::database)?;
        let accounts = items.iter().flat_map(|change| [account(&change.about_id), account(&change.actor_id)]);
        let names = Origins::find(&database.db, accounts.flatten(), []).await.map_err(CliError::database)?;
        let items = items.into_iter().map(|change| Listed::new(change, &names, &mut asked)).collect();
        invocation.show_page(Page { items, next });
        Ok(())
    }
}

fn account(id: &str) -> Option<UserId> {
    id.parse().ok()
}

/// A change with the names of who made it and whom it is about.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    change: ChangeRow,
    about_name: Option<String>,
    actor_name: Option<String>,
    /// The roles that were given, of a change that gives some.
    roles: Option<Value>,
}

impl Listed {
    fn new(change: ChangeRow, names: &Origins, asked: &mut HashMap<ActionId, Value>) -> Self {
        let name = |id: &str| account(id).and_then(|id| names.of(Some(id), None).user_name);
        Self {
            about_name: name(&change.about_id),
            actor_name: name(&change.actor_id),
            roles: asked.remove(&change.id).and_then(|mut asked| Some(asked.get_mut("roles")?.take())),
            change,
        }
    }
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] = &["time", "change", "~operation", "~about", "~by", "status"];
    const NONE: &'static str = "No changes.";

    fn cells(&self) -> Vec<String> {
        let Self { change, about_name, actor_name, .. } = self;
        vec![
            time(change.created_at),
            change.id.to_string().chars().take(18).collect(),
            change.operation.clone(),
            format!("{} {}", change.about_kind, about_name.as_ref().unwrap_or(&change.about_id)),
            format!("{} {}", change.actor_kind, actor_name.as_ref().unwrap_or(&change.actor_id)),
            change.status.clone(),
        ]
    }

    fn note(&self) -> Option<String> {
        let roles = self.roles.as_ref()?.as_array()?;
        let roles: Vec<&str> = roles.iter().filter_map(Value::as_str).collect();
        Some(format!("roles: {}", roles.join(", ")))
    }
}
