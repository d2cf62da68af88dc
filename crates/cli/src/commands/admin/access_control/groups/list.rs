//! `admin access-control groups list`.

use std::collections::HashMap;

use clap::Args;
use serde::Serialize;
use systemprompt_governance::access::{DEFAULT_DEPARTMENT, Group, GroupKind};

use crate::access::Access;
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row};

/// Every department and group, with how many accounts are in it.
#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let groups = Access::open(invocation, &database.db)?.groups().await?;
        let departments = sqlx::query_as(
            "SELECT coalesce(attributes ->> 'department', $1), count(*) FROM users WHERE status <> 'deleted' GROUP BY 1",
        )
        .bind(DEFAULT_DEPARTMENT);
        let departments: Vec<(String, i64)> =
            departments.fetch_all(database.db.write()).await.map_err(CliError::database)?;
        let departments: HashMap<String, i64> = departments.into_iter().collect();
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
