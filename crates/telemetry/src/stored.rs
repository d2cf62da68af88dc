//! Reading what clients reported, the latest first.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use systemprompt_database::DbPool;
use uuid::Uuid;

/// What to read. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct TelemetryFilter {
    /// Only what came since then.
    pub since: Option<DateTime<Utc>>,
    /// Only what this user sent.
    pub user: Option<Uuid>,
    /// Only of this session of the client.
    pub session: Option<String>,
    /// Only of this trace. Metrics have none.
    pub trace: Option<Uuid>,
    /// Only spans, events or metrics of this name.
    pub name: Option<String>,
    /// Only what came before the row with this id.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: i64,
}

/// A span of a client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredSpan {
    /// Its place.
    pub id: i64,
    /// When it began, by the client's clock.
    pub started_at: DateTime<Utc>,
    /// How long it took, in microseconds.
    pub duration_us: i64,
    /// Who sent it.
    pub user_id: Uuid,
    /// The client's session.
    pub session_id: Option<String>,
    /// The trace it belongs to.
    pub trace_id: Uuid,
    /// Its id.
    pub span_id: String,
    /// The span it is part of.
    pub parent_span_id: Option<String>,
    /// What was done.
    pub name: String,
    /// `internal`, `server`, `client`, `producer`, `consumer` or `unspecified`.
    pub kind: String,
    /// `unset`, `ok` or `error`.
    pub status: String,
    /// Why it failed.
    pub status_message: Option<String>,
    /// The program.
    pub service: Option<String>,
    /// What is known of it.
    pub attributes: Value,
    /// What happened meanwhile.
    pub events: Value,
}

/// A log record or an event of a client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredRecord {
    /// Its place.
    pub id: i64,
    /// When, by the client's clock.
    pub at: DateTime<Utc>,
    /// Who sent it.
    pub user_id: Uuid,
    /// The client's session.
    pub session_id: Option<String>,
    /// From 1, trace, to 24, fatal; 0 if it has none.
    pub severity_number: i16,
    /// The same in the client's words.
    pub severity: Option<String>,
    /// The name of an event.
    pub event: Option<String>,
    /// What is said.
    pub body: Option<String>,
    /// The trace it belongs to.
    pub trace_id: Option<Uuid>,
    /// The span it belongs to.
    pub span_id: Option<String>,
    /// The program.
    pub service: Option<String>,
    /// What is known of it.
    pub attributes: Value,
}

/// A data point of a client's metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredPoint {
    /// Its place.
    pub id: i64,
    /// When, by the client's clock.
    pub at: DateTime<Utc>,
    /// Since when it was counted.
    pub since: Option<DateTime<Utc>>,
    /// Who sent it.
    pub user_id: Uuid,
    /// The client's session.
    pub session_id: Option<String>,
    /// The metric.
    pub name: String,
    /// Its unit.
    pub unit: Option<String>,
    /// `gauge`, `sum`, `histogram`, `exponential_histogram` or `summary`.
    pub kind: String,
    /// `delta` or `cumulative`.
    pub temporality: Option<String>,
    /// The number; of a distribution the sum.
    pub value: Option<f64>,
    /// How many were measured, of a distribution.
    pub count: Option<i64>,
    /// Bounds and counts, or quantiles, of a distribution.
    pub distribution: Option<Value>,
    /// The program.
    pub service: Option<String>,
    /// What it is about.
    pub attributes: Value,
}

/// The latest spans.
pub async fn list_spans(db: &DbPool, filter: &TelemetryFilter) -> Result<Vec<StoredSpan>, sqlx::Error> {
    sqlx::query_as!(
        StoredSpan,
        r#"
        SELECT id, started_at, duration_us, user_id, session_id, trace_id, span_id, parent_span_id, name, kind, status,
               status_message, service, attributes, events
        FROM telemetry_spans
        WHERE ($1::timestamptz IS NULL OR received_at >= $1)
          AND ($2::uuid IS NULL OR user_id = $2)
          AND ($3::text IS NULL OR session_id = $3)
          AND ($4::uuid IS NULL OR trace_id = $4)
          AND ($5::text IS NULL OR name = $5)
          AND ($6::bigint IS NULL OR id < $6)
        ORDER BY id DESC
        LIMIT $7
        "#,
        filter.since,
        filter.user,
        filter.session,
        filter.trace,
        filter.name,
        filter.before,
        filter.limit,
    )
    .fetch_all(db.read())
    .await
}

/// The latest log records.
pub async fn list_logs(db: &DbPool, filter: &TelemetryFilter) -> Result<Vec<StoredRecord>, sqlx::Error> {
    sqlx::query_as!(
        StoredRecord,
        r#"
        SELECT id, at, user_id, session_id, severity_number, severity, event, body, trace_id, span_id, service, attributes
        FROM telemetry_logs
        WHERE ($1::timestamptz IS NULL OR received_at >= $1)
          AND ($2::uuid IS NULL OR user_id = $2)
          AND ($3::text IS NULL OR session_id = $3)
          AND ($4::uuid IS NULL OR trace_id = $4)
          AND ($5::text IS NULL OR event = $5)
          AND ($6::bigint IS NULL OR id < $6)
        ORDER BY id DESC
        LIMIT $7
        "#,
        filter.since,
        filter.user,
        filter.session,
        filter.trace,
        filter.name,
        filter.before,
        filter.limit,
    )
    .fetch_all(db.read())
    .await
}

/// The latest data points.
pub async fn list_metrics(db: &DbPool, filter: &TelemetryFilter) -> Result<Vec<StoredPoint>, sqlx::Error> {
    sqlx::query_as!(
        StoredPoint,
        r#"
        SELECT id, at, since, user_id, session_id, name, unit, kind, temporality, value, count, distribution, service,
               attributes
        FROM telemetry_metrics
        WHERE ($1::timestamptz IS NULL OR received_at >= $1)
          AND ($2::uuid IS NULL OR user_id = $2)
          AND ($3::text IS NULL OR session_id = $3)
          AND ($4::text IS NULL OR name = $4)
          AND ($5::bigint IS NULL OR id < $5)
        ORDER BY id DESC
        LIMIT $6
        "#,
        filter.since,
        filter.user,
        filter.session,
        filter.name,
        filter.before,
        filter.limit,
    )
    .fetch_all(db.read())
    .await
}
