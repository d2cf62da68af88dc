//! Rules with what is kept beside them.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use systemprompt_model::{AccessRuleId, EntityKind};
use uuid::Uuid;

use super::entity::EntityRule;
use crate::config::Access;

/// A rule with what is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRule {
    /// Its id.
    pub id: AccessRuleId,
    /// The kind of entity it is about.
    pub entity_type: String,
    /// The id of that.
    pub entity_id: String,
    /// What it says.
    pub rule: EntityRule,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed.
    pub updated_at: DateTime<Utc>,
}

/// All rules, those about a kind of entity, or those about one.
pub(super) async fn stored_rules(
    executor: impl PgExecutor<'_>,
    kind: Option<EntityKind>,
    entity_id: Option<&str>,
) -> sqlx::Result<Vec<StoredRule>> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, entity_type, entity_id, rule_type, rule_value, access, justification, source, created_at, updated_at
        FROM access_control_rules
        WHERE ($1::text IS NULL OR entity_type = $1)
            AND ($2::text IS NULL OR entity_id = $2)
        ORDER BY entity_type, entity_id, rule_type, rule_value
        "#,
        kind.map(EntityKind::as_str),
        entity_id,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(StoredRule::from).collect())
}

struct Row {
    id: Uuid,
    entity_type: String,
    entity_id: String,
    rule_type: String,
    rule_value: String,
    access: String,
    justification: Option<String>,
    source: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for StoredRule {
    fn from(row: Row) -> Self {
        Self {
            id: AccessRuleId::from_uuid(row.id),
            entity_type: row.entity_type,
            entity_id: row.entity_id,
            rule: EntityRule {
                rule_type: row.rule_type,
                rule_value: row.rule_value,
                // The table allows no third value.
                access: if row.access == Access::Allow.as_str() { Access::Allow } else { Access::Deny },
                justification: row.justification,
                source: row.source,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
