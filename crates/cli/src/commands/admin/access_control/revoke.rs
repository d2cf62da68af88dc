//! `admin access-control revoke`.

use clap::Args;
use serde_json::json;
use systemprompt_governance::access::SOURCE_YAML;

use super::grant::present;
use crate::access::{Access, EntityName, Whom, unavailable};
use crate::change::{About, Change, Changed, StateDigest};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};

/// Take a rule back, whether it grants or refuses. It counts from the next request, on every server.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// KIND:ID, for example gateway_route:demo.
    entity: EntityName,
    #[command(flatten)]
    whom: Whom,
}

impl Revoke {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let access = Access::open(invocation, &database.db)?;
        let rules = access.rules().await?;
        self.entity.ensure_known(&rules)?;
        let (rule_type, rule_value) = self.whom.named(invocation, &database.db).await?;
        let Some(rule) = present(&rules, &self.entity, &rule_type, &rule_value) else {
            return Err(CliError::new(
                "unknown_rule",
                format!("{} has no rule about the {rule_type} `{rule_value}`", self.entity),
            )
            .help(format!("systemprompt admin access-control show {}   shows its rules", self.entity)));
        };
        let EntityName { kind, id } = &self.entity;
        let about = format!("{}/{rule_type}/{rule_value}", self.entity);
        let request = json!({"entity_type": kind, "entity_id": id, "rule_type": rule_type, "rule_value": rule_value});
        let delete = async || {
            access.store.delete_rule(*kind, id, &rule_type, &rule_value).await.map_err(unavailable)?;
            Ok(Changed { before: Some(StateDigest::of(&rule)), after: None, value: () })
        };
        let change = Change::new("access_rule.delete", About::new("access_rule", about), &request);
        invocation.change(database, change, delete).await?;
        if rule.source == SOURCE_YAML {
            invocation.printer.note(
                "the rule is in services/access-control and comes back with the next start or reload: \
                 take it out there too, or refuse with `grant --deny`",
            );
        }
        invocation.printer.show(&rule);
        Ok(())
    }
}
