//! `admin access-control grant`.

use clap::Args;
use serde_json::json;
use systemprompt_governance::access::{EntityRule, Rule, RuleSet, SOURCE_API};
use systemprompt_governance::config::Access as Effect;

use super::rule::ShownRule;
use crate::access::{Access, EntityName, Whom, refused};
use crate::change::{About, Change, Changed, StateDigest};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Make a rule that grants, or with --deny one that refuses. It counts from the next request, on every server.
#[derive(Debug, Args)]
pub(crate) struct Grant {
    /// KIND:ID, for example gateway_route:demo.
    entity: EntityName,
    #[command(flatten)]
    whom: Whom,
    /// Refuse instead.
    #[arg(long)]
    deny: bool,
    /// Why, for whoever reads the rule later.
    #[arg(long, value_name = "WHY")]
    justification: Option<String>,
}

impl Grant {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let access = Access::open(invocation, &database.db)?;
        let rules = access.rules().await?;
        self.entity.ensure_known(&rules)?;
        let (rule_type, rule_value) = self.whom.find(invocation, &access, &database.db).await?;
        let effect = if self.deny { Effect::Deny } else { Effect::Allow };
        let EntityName { kind, id } = &self.entity;
        let rule = Rule {
            kind: *kind,
            entity_id: id.clone(),
            rule_type: rule_type.clone(),
            rule_value: rule_value.clone(),
            access: effect,
            justification: self.justification,
        };
        let about = format!("{}/{rule_type}/{rule_value}", self.entity);
        let request = json!({"entity_type": kind, "entity_id": id, "rule_type": rule_type, "rule_value": rule_value,
            "access": effect.as_str(), "justification": rule.justification});
        let made = EntityRule {
            rule_type: rule.rule_type.clone(),
            rule_value: rule.rule_value.clone(),
            access: effect,
            justification: rule.justification.clone(),
            source: SOURCE_API.to_owned(),
        };
        let shown = ShownRule::new(*kind, id, &made);
        let before = present(&rules, &self.entity, &rule_type, &rule_value).map(|rule| StateDigest::of(&rule));
        let set = async || {
            access.store.upsert_rule(&rule).await.map_err(refused)?;
            Ok(Changed { before, after: Some(StateDigest::of(&shown)), value: shown })
        };
        let change = Change::new("access_rule.set", About::new("access_rule", about), &request);
        let shown = invocation.change(database, change, set).await?;
        invocation.printer.show(&shown);
        Ok(())
    }
}

/// The rule about the entity with this type and value.
pub(super) fn present(rules: &RuleSet, entity: &EntityName, rule_type: &str, value: &str) -> Option<ShownRule> {
    let known = rules.entity(entity.kind, &entity.id)?;
    let found = known.rules.iter().find(|rule| rule.rule_type == rule_type && rule.rule_value == value)?;
    Some(ShownRule::new(entity.kind, &entity.id, found))
}
