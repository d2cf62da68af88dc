//! Storing rows: one statement for a request, whatever it holds.

use chrono::{DateTime, Utc};
use systemprompt_database::DbPool;
use uuid::Uuid;

use super::rows::{Items, LogRow, PointRow, Rows, SpanRow};

pub(super) async fn insert(
    db: &DbPool,
    user: Uuid,
    received_at: DateTime<Utc>,
    rows: &Rows,
) -> Result<(), sqlx::Error> {
    match &rows.items {
        Items::Spans(rows) if !rows.is_empty() => spans(db, user, received_at, rows).await,
        Items::Logs(rows) if !rows.is_empty() => logs(db, user, received_at, rows).await,
        Items::Points(rows) if !rows.is_empty() => points(db, user, received_at, rows).await,
        Items::Spans(_) | Items::Logs(_) | Items::Points(_) => Ok(()),
    }
}

/// A column of an `UNNEST`.
fn column<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

async fn spans(db: &DbPool, user: Uuid, received_at: DateTime<Utc>, rows: &[SpanRow]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO telemetry_spans (
            received_at, user_id, session_id, trace_id, span_id, parent_span_id, name, kind, started_at, duration_us,
            status, status_message, service, scope, attributes, events, links, resource
        )
        SELECT $1, $2, span.session_id, span.trace_id, span.span_id, span.parent_span_id, span.name, span.kind,
               span.started_at, span.duration_us, span.status, span.status_message, span.service, span.scope,
               span.attributes::jsonb, span.events::jsonb, span.links::jsonb, span.resource::jsonb
        FROM UNNEST(
            $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::bigint[],
            $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[]
        ) AS span (
            session_id, trace_id, span_id, parent_span_id, name, kind, started_at, duration_us,
            status, status_message, service, scope, attributes, events, links, resource
        )
        ON CONFLICT DO NOTHING
        "#,
        received_at,
        user,
        &column(rows, |row| row.session.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.trace_id),
        &column(rows, |row| row.span_id.as_str()) as &[&str],
        &column(rows, |row| row.parent.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.name.as_str()) as &[&str],
        &column(rows, |row| row.kind) as &[&str],
        &column(rows, |row| row.started_at),
        &column(rows, |row| row.duration_us),
        &column(rows, |row| row.status) as &[&str],
        &column(rows, |row| row.status_message.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.service.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.scope.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.attributes.as_str()) as &[&str],
        &column(rows, |row| row.events.as_str()) as &[&str],
        &column(rows, |row| row.links.as_str()) as &[&str],
        &column(rows, |row| row.resource.as_str()) as &[&str],
    )
    .execute(db.write())
    .await?;
    Ok(())
}

async fn logs(db: &DbPool, user: Uuid, received_at: DateTime<Utc>, rows: &[LogRow]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO telemetry_logs (
            received_at, user_id, session_id, at, severity_number, severity, event, body, trace_id, span_id,
            service, scope, attributes, resource
        )
        SELECT $1, $2, record.session_id, record.at, record.severity_number, record.severity, record.event, record.body,
               record.trace_id, record.span_id, record.service, record.scope,
               record.attributes::jsonb, record.resource::jsonb
        FROM UNNEST(
            $3::text[], $4::timestamptz[], $5::smallint[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::text[],
            $11::text[], $12::text[], $13::text[], $14::text[]
        ) AS record (
            session_id, at, severity_number, severity, event, body, trace_id, span_id,
            service, scope, attributes, resource
        )
        "#,
        received_at,
        user,
        &column(rows, |row| row.session.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.at),
        &column(rows, |row| row.severity_number),
        &column(rows, |row| row.severity.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.event.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.body.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.trace_id) as &[Option<Uuid>],
        &column(rows, |row| row.span_id.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.service.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.scope.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.attributes.as_str()) as &[&str],
        &column(rows, |row| row.resource.as_str()) as &[&str],
    )
    .execute(db.write())
    .await?;
    Ok(())
}

async fn points(db: &DbPool, user: Uuid, received_at: DateTime<Utc>, rows: &[PointRow]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO telemetry_metrics (
            received_at, user_id, session_id, at, since, name, unit, kind, temporality, is_monotonic, value, count,
            distribution, service, scope, attributes, resource
        )
        SELECT $1, $2, point.session_id, point.at, point.since, point.name, point.unit, point.kind, point.temporality,
               point.is_monotonic, point.value, point.count, point.distribution::jsonb, point.service, point.scope,
               point.attributes::jsonb, point.resource::jsonb
        FROM UNNEST(
            $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::boolean[], $11::float8[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[]
        ) AS point (
            session_id, at, since, name, unit, kind, temporality, is_monotonic, value, count,
            distribution, service, scope, attributes, resource
        )
        "#,
        received_at,
        user,
        &column(rows, |row| row.session.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.at),
        &column(rows, |row| row.since) as &[Option<DateTime<Utc>>],
        &column(rows, |row| row.name.as_str()) as &[&str],
        &column(rows, |row| row.unit.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.kind) as &[&str],
        &column(rows, |row| row.temporality) as &[Option<&str>],
        &column(rows, |row| row.is_monotonic) as &[Option<bool>],
        &column(rows, |row| row.value) as &[Option<f64>],
        &column(rows, |row| row.count) as &[Option<i64>],
        &column(rows, |row| row.distribution.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.service.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.scope.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.attributes.as_str()) as &[&str],
        &column(rows, |row| row.resource.as_str()) as &[&str],
    )
    .execute(db.write())
    .await?;
    Ok(())
}
