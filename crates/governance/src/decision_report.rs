//! How often what was decided: the decisions of a time, counted by policy, tool, account or verdict.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

/// By what decisions are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBy {
    /// The policy that decided.
    Policy,
    /// What was judged: a tool, `user_prompt`, an operation.
    Tool,
    /// The account that asked, or who acted without one.
    User,
    /// `allow`, `warn`, `deny`.
    Decision,
}

impl GroupBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Tool => "tool",
            Self::User => "user",
            Self::Decision => "decision",
        }
    }
}

/// Which decisions are counted. Absent fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct ReportFilter {
    /// Made at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Made before this time.
    pub until: Option<DateTime<Utc>>,
    /// `allow`, `warn` or `deny`.
    pub decision: Option<String>,
    /// Made by this policy.
    pub policy: Option<String>,
}

/// What was decided about one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionCount {
    /// The policy, tool, account or verdict.
    pub group: String,
    /// How many decisions.
    pub decisions: i64,
    /// How many of them allowed without a word.
    pub allowed: i64,
    /// How many warned.
    pub warned: i64,
    /// How many refused.
    pub denied: i64,
    /// How many accounts they are about.
    pub users: i64,
    /// The first.
    pub first_at: DateTime<Utc>,
    /// The last.
    pub last_at: DateTime<Utc>,
}

/// Counts decisions, those that refuse most often first.
pub async fn count_decisions(
    pool: &PgPool,
    by: GroupBy,
    filter: &ReportFilter,
    limit: i64,
) -> Result<Vec<DecisionCount>, sqlx::Error> {
    sqlx::query_as!(
        DecisionCount,
        r#"
        SELECT
            d.grouped AS "group!",
            COUNT(*) AS "decisions!",
            COUNT(*) FILTER (WHERE d.decision = 'allow') AS "allowed!",
            COUNT(*) FILTER (WHERE d.decision = 'warn') AS "warned!",
            COUNT(*) FILTER (WHERE d.decision = 'deny') AS "denied!",
            COUNT(DISTINCT d.user_id) AS "users!",
            MIN(d.created_at) AS "first_at!",
            MAX(d.created_at) AS "last_at!"
        FROM (
            SELECT
                CASE $1::text
                    WHEN 'policy' THEN policy
                    WHEN 'tool' THEN tool_name
                    WHEN 'user' THEN COALESCE(user_id::text, actor_kind || ' ' || actor_id)
                    ELSE decision
                END AS grouped,
                decision,
                user_id,
                created_at
            FROM governance_decisions
            WHERE ($2::timestamptz IS NULL OR created_at >= $2)
              AND ($3::timestamptz IS NULL OR created_at < $3)
              AND ($4::text IS NULL OR decision = $4)
              AND ($5::text IS NULL OR policy = $5)
        ) AS d
        GROUP BY d.grouped
        ORDER BY 5 DESC, 2 DESC, 1
        LIMIT $6
        "#,
        by.as_str(),
        filter.since,
        filter.until,
        filter.decision,
        filter.policy,
        limit,
    )
    .fetch_all(pool)
    .await
}
