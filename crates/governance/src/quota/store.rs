//! What operators see: the policies as they were loaded, and what is counted.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;
use systemprompt_extension::policy::Counted;
use uuid::Uuid;

use super::meter::Meters;
use crate::config::GatewayPolicyConfig;

/// What is counted of one subject in one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuotaRow {
    /// What kind of subject: `user`, `key`, `model`, `installation` or the name of an attribute.
    pub subject_kind: String,
    /// Which of them.
    pub subject_id: String,
    /// For people.
    pub subject_name: String,
    /// The windows, and what requests must match: `month`, `3600s models=claude-*`.
    pub meter: String,
    /// Since when it is counted.
    pub window_start: DateTime<Utc>,
    /// When it opens again.
    pub window_end: DateTime<Utc>,
    /// What is used or set aside, and the most that may be.
    pub requests: i64,
    /// Absent where there is no limit.
    pub max_requests: Option<u64>,
    /// Tokens of prompts.
    pub input_tokens: i64,
    /// Absent where there is no limit.
    pub max_input_tokens: Option<u64>,
    /// Tokens of answers.
    pub output_tokens: i64,
    /// Absent where there is no limit.
    pub max_output_tokens: Option<u64>,
    /// Money, in millionths of a US dollar.
    pub cost_microdollars: i64,
    /// Absent where there is no limit.
    pub max_cost_microdollars: Option<u64>,
    /// `enforce`, or `warn` if no limit refuses; `none` if the configuration has none any more.
    pub mode: &'static str,
}

/// Which of them.
#[derive(Debug, Clone, Default)]
pub struct QuotaFilter {
    /// Of this kind of subject.
    pub subject_kind: Option<String>,
    /// Of the subject with this id or name.
    pub subject: Option<String>,
    /// Windows that have ended too.
    pub ended: bool,
    /// At most so many.
    pub limit: i64,
}

/// What is counted, with the limits of the policies that were loaded last, the windows that end first before others.
pub async fn list(pool: &PgPool, filter: &QuotaFilter, now: DateTime<Utc>) -> Result<Vec<QuotaRow>, sqlx::Error> {
    let meters = Meters::new(&loaded(pool).await?);
    let rows = sqlx::query!(
        r#"
        SELECT
            subject_kind,
            subject_id,
            subject_name,
            meter,
            window_start,
            window_end,
            requests,
            input_tokens,
            output_tokens,
            cost_microdollars
        FROM ai_quota_buckets
        WHERE ($1::text IS NULL OR subject_kind = $1)
          AND ($2::text IS NULL OR subject_id = $2 OR subject_name = $2)
          AND ($3 OR window_end > $4)
        ORDER BY window_end, subject_kind, subject_name, meter
        LIMIT $5
        "#,
        filter.subject_kind,
        filter.subject,
        filter.ended,
        now,
        filter.limit,
    )
    .fetch_all(pool)
    .await?;
    let rows = rows.into_iter().map(|row| {
        let meter = meters.find(&row.subject_kind, &row.meter);
        let most = |counted| {
            let meter = meter?;
            meter.enforced.of(counted).or_else(|| meter.warned.of(counted)).map(|limit| limit.most)
        };
        QuotaRow {
            max_requests: most(Counted::Requests),
            max_input_tokens: most(Counted::InputTokens),
            max_output_tokens: most(Counted::OutputTokens),
            max_cost_microdollars: most(Counted::Microdollars),
            mode: match meter {
                Some(meter) if meter.enforced.iter().next().is_some() => "enforce",
                Some(_) => "warn",
                None => "none",
            },
            subject_kind: row.subject_kind,
            subject_id: row.subject_id,
            subject_name: row.subject_name,
            meter: row.meter,
            window_start: row.window_start,
            window_end: row.window_end,
            requests: row.requests,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cost_microdollars: row.cost_microdollars,
        }
    });
    Ok(rows.collect())
}

/// A part of a limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuotaAlertRow {
    /// When.
    pub raised_at: DateTime<Utc>,
    /// Which alert says so.
    pub alert: String,
    /// What is counted: `requests`, `input_tokens`, `output_tokens` or `cost_microdollars`.
    pub counted: String,
    /// In percent of the limit.
    pub threshold: i32,
    /// Where its message goes; nowhere but to the log if empty.
    pub deliveries: Vec<QuotaDelivery>,
}

/// The message of an alert on its way to one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuotaDelivery {
    /// `webhook` or `mail`.
    pub channel: String,
    /// The address of mail. Of a webhook the name of the alert, because its address may hold a secret.
    pub recipient: String,
    /// How far it is.
    #[serde(flatten)]
    pub state: QuotaDeliveryState,
    /// How often it was tried.
    pub attempts: i32,
    /// Why it was not taken the last time.
    pub last_error: Option<String>,
}

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum QuotaDeliveryState {
    /// It will be tried, or tried again.
    Waiting {
        /// When.
        next_attempt_at: DateTime<Utc>,
    },
    /// It was taken.
    Delivered {
        /// When.
        delivered_at: DateTime<Utc>,
    },
    /// It was not taken in three days, was refused for good, or may have been taken each time.
    GivenUp,
}

/// The parts of limits that a subject has reached, the latest first.
pub async fn alerts(pool: &PgPool, subject: &str) -> Result<Vec<QuotaAlertRow>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT
            alert.message_id,
            alert.raised_at,
            alert.alert,
            alert.counted,
            alert.threshold
        FROM ai_quota_alerts AS alert
        JOIN ai_quota_buckets AS bucket ON bucket.id = alert.bucket_id
        WHERE bucket.subject_id = $1 OR bucket.subject_name = $1
        ORDER BY alert.raised_at DESC, alert.threshold DESC
        LIMIT 100
        "#,
        subject,
    )
    .fetch_all(pool)
    .await?;
    let messages: Vec<Uuid> = rows.iter().map(|row| row.message_id).collect();
    let mut deliveries: HashMap<Uuid, Vec<QuotaDelivery>> = HashMap::new();
    let found = sqlx::query!(
        r#"
        SELECT message_id, channel, recipient, attempts, delivered_at, next_attempt_at, last_error
        FROM ai_quota_alert_deliveries
        WHERE message_id = ANY ($1)
        ORDER BY channel DESC, recipient
        "#,
        &messages,
    )
    .fetch_all(pool)
    .await?;
    for row in found {
        let state = match (row.delivered_at, row.next_attempt_at) {
            (Some(delivered_at), _) => QuotaDeliveryState::Delivered { delivered_at },
            (None, Some(next_attempt_at)) => QuotaDeliveryState::Waiting { next_attempt_at },
            (None, None) => QuotaDeliveryState::GivenUp,
        };
        deliveries.entry(row.message_id).or_default().push(QuotaDelivery {
            channel: row.channel,
            recipient: row.recipient,
            state,
            attempts: row.attempts,
            last_error: row.last_error,
        });
    }
    let rows = rows.into_iter().map(|row| QuotaAlertRow {
        raised_at: row.raised_at,
        alert: row.alert,
        counted: row.counted,
        threshold: row.threshold,
        deliveries: deliveries.remove(&row.message_id).unwrap_or_default(),
    });
    Ok(rows.collect())
}

/// The policies that were loaded last. One of another version that cannot be read any more limits nothing.
async fn loaded(pool: &PgPool) -> Result<Vec<GatewayPolicyConfig>, sqlx::Error> {
    let rows = sqlx::query!("SELECT name, enabled, spec FROM ai_gateway_policies ORDER BY position").fetch_all(pool);
    let policy =
        |name, enabled, spec| Some(GatewayPolicyConfig { name, enabled, spec: serde_json::from_value(spec).ok()? });
    Ok(rows.await?.into_iter().filter_map(|row| policy(row.name, row.enabled, row.spec)).collect())
}

/// Keeps the policies as they are loaded now, and forgets those that are gone.
pub(super) async fn keep(
    pool: &PgPool,
    policies: &[GatewayPolicyConfig],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let names: Vec<String> = policies.iter().map(|policy| policy.name.clone()).collect();
    let enabled: Vec<bool> = policies.iter().map(|policy| policy.enabled).collect();
    let specs: Vec<serde_json::Value> =
        policies.iter().map(|policy| serde_json::to_value(&policy.spec).unwrap_or_default()).collect();
    sqlx::query!(
        r#"
        WITH loaded AS (
            SELECT name, enabled, spec, place::integer AS position
            FROM unnest($1::text[], $2::boolean[], $3::jsonb[]) WITH ORDINALITY AS loaded (name, enabled, spec, place)
        ),
        orphans AS (
            DELETE FROM ai_gateway_policies WHERE name <> ALL ($1::text[])
        )
        INSERT INTO ai_gateway_policies AS kept (name, position, enabled, spec, loaded_at)
        SELECT name, position, enabled, spec, $4 FROM loaded
        ON CONFLICT (name) DO UPDATE SET
            position = excluded.position,
            enabled = excluded.enabled,
            spec = excluded.spec,
            loaded_at = excluded.loaded_at
        WHERE (kept.position, kept.enabled, kept.spec) IS DISTINCT FROM (excluded.position, excluded.enabled, excluded.spec)
        "#,
        &names,
        &enabled,
        &specs,
        now,
    )
    .execute(pool)
    .await?;
    Ok(())
}
