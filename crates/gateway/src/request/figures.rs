//! Sums over requests: totals, by provider and model, and who used most. They are summed as numbers without bounds and given
//! as the largest number there is where they are larger.

use serde::Serialize;
use sqlx::{FromRow, PgPool, QueryBuilder};
use systemprompt_model::Microdollars;

use super::filter::{RequestFilter, With};

/// Totals over some requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestStats {
    /// All requests.
    pub requests: i64,
    /// Those that ended well.
    pub completed: i64,
    /// Those that did not.
    pub failed: i64,
    /// Those whose server died.
    pub abandoned: i64,
    /// Those that were refused.
    pub rejected: i64,
    /// Those that run.
    pub pending: i64,
    /// Tokens of prompts.
    pub input_tokens: i64,
    /// Tokens of answers.
    pub output_tokens: i64,
    /// Price of all.
    #[serde(rename = "cost_microdollars")]
    pub cost: Microdollars,
    /// Half of the completed ones took no longer, in milliseconds.
    pub latency_p50_ms: Option<f64>,
    /// 95 of 100 completed ones took no longer, in milliseconds.
    pub latency_p95_ms: Option<f64>,
    /// The same by provider and model, most expensive first.
    pub models: Vec<ModelStats>,
}

/// Totals of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelStats {
    /// The provider; absent for requests refused before one was chosen.
    pub provider: Option<String>,
    /// The model that answered or was asked.
    pub model: Option<String>,
    /// All requests.
    pub requests: i64,
    /// Those that failed or were abandoned.
    pub failed: i64,
    /// Tokens of prompts.
    pub input_tokens: i64,
    /// Tokens of answers.
    pub output_tokens: i64,
    /// Price of both.
    #[serde(rename = "cost_microdollars")]
    pub cost: Microdollars,
    /// Mean duration of the completed ones, in milliseconds.
    pub latency_mean_ms: Option<f64>,
}

/// What all queries here sum up.
const SUMS: &str = "COUNT(*) AS requests, \
    LEAST(COALESCE(SUM(r.input_tokens), 0), 9223372036854775807)::bigint AS input_tokens, \
    LEAST(COALESCE(SUM(r.output_tokens), 0), 9223372036854775807)::bigint AS output_tokens, \
    LEAST(COALESCE(SUM(r.cost_microdollars), 0), 9223372036854775807)::bigint AS cost";

#[derive(FromRow)]
struct Total {
    requests: i64,
    completed: i64,
    failed: i64,
    abandoned: i64,
    rejected: i64,
    pending: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost: i64,
    latency_p50_ms: Option<f64>,
    latency_p95_ms: Option<f64>,
}

#[derive(FromRow)]
struct OfModel {
    provider: Option<String>,
    model: Option<String>,
    requests: i64,
    failed: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost: i64,
    latency_mean_ms: Option<f64>,
}

/// Totals of the requests that fit the filter, and the same by provider and model.
pub async fn request_stats(pool: &PgPool, filter: &RequestFilter) -> Result<RequestStats, sqlx::Error> {
    let (stats, models) = tokio::try_join!(request_totals(pool, filter), by_model(pool, filter))?;
    Ok(RequestStats { models, ..stats })
}

/// Totals of the requests that fit the filter, and nothing by provider and model.
pub async fn request_totals(pool: &PgPool, filter: &RequestFilter) -> Result<RequestStats, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(SUMS);
    for status in ["completed", "failed", "abandoned", "rejected", "pending"] {
        query.push(", COUNT(*) FILTER (WHERE r.status = '").push(status).push("') AS ").push(status);
    }
    for (part, name) in [("0.5", "latency_p50_ms"), ("0.95", "latency_p95_ms")] {
        query.push(", (PERCENTILE_CONT(").push(part);
        query.push(") WITHIN GROUP (ORDER BY r.latency_ms) FILTER (WHERE r.status = 'completed'))::float8 AS ");
        query.push(name);
    }
    filter.restrict(&mut query, With::Nothing, None);
    let total: Total = query.build_query_as().fetch_one(pool).await?;
    Ok(RequestStats {
        requests: total.requests,
        completed: total.completed,
        failed: total.failed,
        abandoned: total.abandoned,
        rejected: total.rejected,
        pending: total.pending,
        input_tokens: total.input_tokens,
        output_tokens: total.output_tokens,
        cost: Microdollars(total.cost),
        latency_p50_ms: total.latency_p50_ms,
        latency_p95_ms: total.latency_p95_ms,
        models: Vec::new(),
    })
}

async fn by_model(pool: &PgPool, filter: &RequestFilter) -> Result<Vec<ModelStats>, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT r.provider, COALESCE(r.model, r.upstream_model) AS model, ");
    query.push(SUMS).push(
        ", COUNT(*) FILTER (WHERE r.status IN ('failed', 'abandoned')) AS failed, \
         (AVG(r.latency_ms) FILTER (WHERE r.status = 'completed'))::float8 AS latency_mean_ms",
    );
    filter.restrict(&mut query, With::Nothing, None);
    query.push(" GROUP BY 1, 2 ORDER BY SUM(r.cost_microdollars) DESC NULLS LAST, COUNT(*) DESC, 1, 2");
    let models: Vec<OfModel> = query.build_query_as().fetch_all(pool).await?;
    let stats = models.into_iter().map(|row| ModelStats {
        provider: row.provider,
        model: row.model,
        requests: row.requests,
        failed: row.failed,
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
        cost: Microdollars(row.cost),
        latency_mean_ms: row.latency_mean_ms,
    });
    Ok(stats.collect())
}

/// What totals are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// Who asked.
    User,
    /// With which key.
    Key,
    /// In which session.
    Session,
    /// In which conversation.
    Conversation,
    /// The model that answered, or was asked.
    Model,
    /// The provider that answered, or was asked.
    Provider,
    /// The policy that decided.
    Policy,
    /// How it ended.
    Status,
}

impl Dimension {
    /// What stands for it in a statement. It is an id where there is one, for names change.
    const fn column(self) -> &'static str {
        match self {
            Self::User => "r.user_id::text",
            Self::Key => "r.api_key_id::text",
            Self::Session => "r.session_id::text",
            Self::Conversation => "r.gateway_conversation_id",
            Self::Model => "COALESCE(r.model, r.upstream_model, r.requested_model)",
            Self::Provider => "COALESCE(r.served_provider, r.provider)",
            Self::Policy => "d.policy",
            Self::Status => "r.status",
        }
    }
}

/// What totals are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The price.
    Cost,
    /// How many.
    Requests,
    /// Tokens in and out.
    Tokens,
}

impl Measure {
    const fn column(self) -> &'static str {
        match self {
            Self::Cost => "SUM(r.cost_microdollars)",
            Self::Requests => "COUNT(*)",
            Self::Tokens => "SUM(r.input_tokens::numeric + r.output_tokens)",
        }
    }
}

/// Totals of one user, key, model …
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Ranked {
    /// Which one: its id, or its name where it has no id; absent for requests that have none.
    pub what: Option<String>,
    /// All requests.
    pub requests: i64,
    /// Those that were refused.
    pub rejected: i64,
    /// Tokens of prompts.
    pub input_tokens: i64,
    /// Tokens of answers.
    pub output_tokens: i64,
    /// Price of both, in millionths of a dollar.
    #[serde(rename = "cost_microdollars")]
    pub cost: i64,
}

/// The `limit` users, keys, models … with the most, of the requests that fit the filter.
pub async fn top(
    pool: &PgPool,
    filter: &RequestFilter,
    by: Dimension,
    measure: Measure,
    limit: u32,
) -> Result<Vec<Ranked>, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(by.column()).push(" AS what, ").push(SUMS);
    query.push(", COUNT(*) FILTER (WHERE r.status = 'rejected') AS rejected");
    let with = match by {
        Dimension::Policy => With::Decisions,
        _ => With::Nothing,
    };
    filter.restrict(&mut query, with, None);
    query.push(" GROUP BY 1 ORDER BY ").push(measure.column()).push(" DESC NULLS LAST, COUNT(*) DESC, 1 LIMIT ");
    query.push_bind(i64::from(limit));
    query.build_query_as().fetch_all(pool).await
}
