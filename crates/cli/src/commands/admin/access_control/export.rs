//! `admin access-control export`.

use clap::Args;
use systemprompt_governance::access::{GroupKind, RuleSet};
use systemprompt_governance::config::{AccessControlConfig, GroupConfig};

use crate::access::Access;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View, yaml};

/// Print all rules, departments, groups and roles as a document of services/access-control, those made by hand too.
#[derive(Debug, Args)]
pub(crate) struct Export {}

impl Export {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let access = Access::open(invocation, &database.db)?;
        let rules = access.rules().await?;
        invocation.printer.show(&document(&access, &rules).await?);
        Ok(())
    }
}

/// The document that says what is in force.
pub(super) async fn document(access: &Access, rules: &RuleSet) -> CliResult<AccessControlConfig> {
    let groups = access.groups().await?;
    let of_kind = |kind| {
        let groups = groups.iter().filter(move |group| group.kind == kind);
        groups.map(|group| GroupConfig {
            name: group.name.clone(),
            description: group.description.clone(),
            parent: group.parent.clone(),
        })
    };
    Ok(AccessControlConfig {
        rules: rules.as_documents(),
        departments: of_kind(GroupKind::Department).collect(),
        groups: of_kind(GroupKind::Group).collect(),
        roles: access.documents()?.roles,
    })
}

impl View for AccessControlConfig {
    fn text(&self, _: Layout) -> Text {
        Text::lines(yaml(self))
    }
}
