//! `admin access-control groups list`.

use clap::Args;
use serde::Serialize;
use systemprompt_governance::access::{Group, GroupKind};

use crate::access::Access;
use crate::accounts::accounts;
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row};

/// Every department and group, with how many accounts are in it.
#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let groups = Access::open(invocation, &database.db)?.groups().await?;
        let accounts = accounts(invocation, &database.db);
        let departments = accounts.count_by_department().await.map_err(CliError::database)?;
        let listed = groups.into_iter().map(|group| {
            let member_count = match group.kind {
                GroupKind::Department => departments.get(&group.name).copied().unwrap_or(0),
                GroupKind::Group => group.members.len() as i64,
            };
            Listed { group, member_count }
        });
        invocation.printer.show(&Page::whole(listed.collect()));
        Ok(())
    }
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    group: Group,
    member_count: i64,
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] = &["kind", "name", "part of", "#members", "from", "description", "id"];
    const NONE: &'static str = "No groups.";

    fn cells(&self) -> Vec<String> {
        let group = &self.group;
        vec![
            group.kind.as_str().to_owned(),
            group.name.clone(),
            group.parent.clone().unwrap_or_default(),
            self.member_count.to_string(),
            group.source.clone(),
            group.description.clone(),
            group.id.to_string(),
        ]
    }
}
