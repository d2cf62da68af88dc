//! `admin access-control groups create`.

use clap::Args;
use systemprompt_governance::access::GroupKind;
use systemprompt_governance::config::GroupConfig;

use crate::access::{Access, refused};
use crate::change::{About, Change, made};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View};

/// Make a group, or with --department a department.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name, which no other has.
    name: String,
    /// What it is.
    #[arg(long)]
    description: Option<String>,
    /// The group or department it is a part of.
    #[arg(long, value_name = "GROUP")]
    parent: Option<String>,
    /// Make a department: each account is in exactly one.
    #[arg(long)]
    department: bool,
}

impl Create {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let access = Access::open(invocation, &database.db)?;
        let kind = if self.department { GroupKind::Department } else { GroupKind::Group };
        if self.name.trim().is_empty() || self.name.len() > 200 {
            return Err(CliError::invalid_value("the name of a group has 1 to 200 bytes"));
        }
        if let Some(parent) = &self.parent {
            access.group(parent, Some(kind)).await?;
        }
        let group =
            GroupConfig { name: self.name, description: self.description.unwrap_or_default(), parent: self.parent };
        let create = async || {
            access.store.create_group(kind, &group).await.map_err(refused)?;
            Ok(made(access.group(&group.name, Some(kind)).await?))
        };
        let change = Change::new("access_group.create", About::new(kind.as_str(), &group.name), &group);
        let group = invocation.change(database, change, create).await?;
        invocation.printer.show(&group);
        Ok(())
    }
}

impl View for systemprompt_governance::access::Group {
    fn text(&self, layout: Layout) -> Text {
        layout.record(
            &Record::new()
                .with("id", self.id.to_string())
                .with("kind", self.kind.as_str().to_owned())
                .with("name", self.name.clone())
                .with("description", Some(self.description.clone()).filter(|text| !text.is_empty()))
                .with("part of", self.parent.clone())
                .with("from", self.source.clone()),
        )
    }
}
