//! The statements that write activity down.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use systemprompt_model::{ApiKeyId, SessionId};
use uuid::Uuid;

use crate::activity::figures::SessionActivity;

/// Moves `last_used_at` forward.
pub(crate) async fn touch_api_keys(
    executor: impl PgExecutor<'_>,
    keys: &HashMap<ApiKeyId, DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = keys.iter().map(|(key, at)| (key.as_uuid(), *at)).unzip();
    sqlx::query!(
        r#"
        UPDATE user_api_keys AS api_key
        SET last_used_at = noted.used_at
        FROM UNNEST($1::uuid[], $2::timestamptz[]) AS noted (id, used_at)
        WHERE api_key.id = noted.id
            AND (api_key.last_used_at IS NULL OR api_key.last_used_at < noted.used_at)
        "#,
        &ids,
        &times,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Adds to the counters of sessions. Rows are locked in the order of their ids, so that replicas writing about the same
/// sessions wait for each other instead of deadlocking.
pub(crate) async fn add_session_activity(
    executor: impl PgExecutor<'_>,
    sessions: &HashMap<SessionId, SessionActivity>,
) -> Result<(), sqlx::Error> {
    let count = sessions.len();
    let mut ids = Vec::with_capacity(count);
    let mut times = Vec::with_capacity(count);
    let mut requests = Vec::with_capacity(count);
    let mut input_tokens = Vec::with_capacity(count);
    let mut output_tokens = Vec::with_capacity(count);
    let mut costs = Vec::with_capacity(count);
    for (session, activity) in sessions {
        ids.push(session.as_uuid());
        times.push(activity.last_at);
        requests.push(activity.requests as i64);
        input_tokens.push(activity.input_tokens as i64);
        output_tokens.push(activity.output_tokens as i64);
        costs.push(activity.cost.0);
    }
    sqlx::query!(
        r#"
        WITH noted AS (
            SELECT *
            FROM UNNEST($1::uuid[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
                AS noted (session_id, last_at, requests, input_tokens, output_tokens, cost)
        ),
        locked AS (
            SELECT user_sessions.session_id
            FROM user_sessions
            WHERE user_sessions.session_id = ANY ($1)
            ORDER BY user_sessions.session_id
            FOR UPDATE
        )
        UPDATE user_sessions AS session
        SET
            last_activity_at = GREATEST(session.last_activity_at, noted.last_at),
            request_count = session.request_count + noted.requests,
            input_tokens = session.input_tokens + noted.input_tokens,
            output_tokens = session.output_tokens + noted.output_tokens,
            cost_microdollars = session.cost_microdollars + noted.cost
        FROM noted
        JOIN locked ON locked.session_id = noted.session_id
        WHERE session.session_id = noted.session_id
        "#,
        &ids,
        &times,
        &requests,
        &input_tokens,
        &output_tokens,
        &costs,
    )
    .execute(executor)
    .await?;
    Ok(())
}
