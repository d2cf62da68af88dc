//! A rule as commands show it.

use serde::Serialize;
use systemprompt_governance::access::EntityRule;
use systemprompt_model::EntityKind;

use crate::view::{Layout, Record, Row, Text, View};

/// A rule with the entity it is about.
#[derive(Debug, Serialize)]
pub(super) struct ShownRule {
    pub(super) entity_type: EntityKind,
    pub(super) entity_id: String,
    pub(super) rule_type: String,
    pub(super) rule_value: String,
    pub(super) access: &'static str,
    pub(super) source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) justification: Option<String>,
}

impl ShownRule {
    pub(super) fn new(kind: EntityKind, id: &str, rule: &EntityRule) -> Self {
        Self {
            entity_type: kind,
            entity_id: id.to_owned(),
            rule_type: rule.rule_type.clone(),
            rule_value: rule.rule_value.clone(),
            access: rule.access.as_str(),
            source: rule.source.clone(),
            justification: rule.justification.clone(),
        }
    }
}

impl Row for ShownRule {
    const COLUMNS: &'static [&'static str] = &["entity", "access", "about", "from", "why"];
    const NONE: &'static str = "No rules: nobody may use anything that is not open to everybody.";

    fn cells(&self) -> Vec<String> {
        vec![
            format!("{}:{}", self.entity_type, self.entity_id),
            self.access.to_owned(),
            format!("{} {}", self.rule_type, self.rule_value),
            self.source.clone(),
            self.justification.clone().unwrap_or_default(),
        ]
    }
}

impl View for ShownRule {
    fn text(&self, layout: Layout) -> Text {
        layout.record(
            &Record::new()
                .with("entity", format!("{}:{}", self.entity_type, self.entity_id))
                .with("access", self.access.to_owned())
                .with("about", format!("{} {}", self.rule_type, self.rule_value))
                .with("from", self.source.clone())
                .with("why", self.justification.clone()),
        )
    }
}
