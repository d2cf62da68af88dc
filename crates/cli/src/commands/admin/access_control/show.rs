//! `admin access-control show`.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use systemprompt_model::EntityKind;

use super::rule::ShownRule;
use crate::access::{Access, EntityName};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View, yes};

/// One entity: its rules, and whether it is open to everybody.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// KIND:ID, for example gateway_route:demo.
    entity: EntityName,
}

impl Show {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let rules = Access::open(invocation, &database.db)?.rules().await?;
        self.entity.ensure_known(&rules)?;
        let EntityName { kind, id } = self.entity;
        let entity = rules.entity(kind, &id).cloned().unwrap_or_default();
        invocation.printer.show(&Shown {
            entity_type: kind,
            default_included: entity.default_included,
            rules: entity.rules.iter().map(|rule| ShownRule::new(kind, &id, rule)).collect(),
            entity_id: id,
            version: Arc::clone(rules.version()),
        });
        Ok(())
    }
}

#[derive(Serialize)]
struct Shown {
    entity_type: EntityKind,
    entity_id: String,
    default_included: bool,
    rules: Vec<ShownRule>,
    version: Arc<str>,
}

impl View for Shown {
    fn text(&self, layout: Layout) -> Text {
        let line = |rule: &ShownRule| {
            let why = rule.justification.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("{} {} {} ({}){why}", rule.access, rule.rule_type, rule.rule_value, rule.source)
        };
        layout.record(
            &Record::new()
                .with("entity", format!("{}:{}", self.entity_type, self.entity_id))
                .with("open to everybody", yes(self.default_included && self.rules.is_empty()))
                .with_list("rules", self.rules.iter().map(line))
                .with("rules version", self.version.to_string()),
        )
    }
}
