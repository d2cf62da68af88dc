//! The statements of the quotas.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use systemprompt_extension::policy::Usage;
use systemprompt_model::Microdollars;
use uuid::Uuid;

use super::bucket::{Bucket, Claim, Ended, Wanted};

/// What one turn came to.
#[derive(Debug, Default)]
pub(super) struct Turned {
    /// Of each wanted request.
    pub(super) granted: Vec<bool>,
    /// Of each claim, request by request: what it found in its bucket, and which that is.
    pub(super) found: Vec<(i64, Usage)>,
    /// Every bucket that a request ended in, as it is now.
    pub(super) changed: Vec<(i64, Usage)>,
}

/// Ends requests and begins others, in one statement.
pub(super) async fn turn(
    pool: &PgPool,
    at: DateTime<Utc>,
    ended: &[Ended],
    wanted: &[Wanted],
) -> Result<Turned, sqlx::Error> {
    let used = |of: fn(&Usage) -> u64| ended.iter().map(|ended| int(of(&ended.used))).collect::<Vec<i64>>();
    let ended_action: Vec<Uuid> = ended.iter().map(|ended| ended.action.as_uuid()).collect();
    let (ended_requests, ended_input, ended_output) =
        (used(|used| used.calls), used(|used| used.input_tokens), used(|used| used.output_tokens));
    let ended_cost: Vec<i64> = ended.iter().map(|ended| ended.used.cost.0).collect();

    let claims: Vec<(usize, &Claim)> =
        wanted.iter().enumerate().flat_map(|(at, wanted)| wanted.claims.iter().map(move |claim| (at, claim))).collect();
    let mut buckets: Vec<&Bucket> = claims.iter().map(|(_, claim)| &claim.bucket).collect();
    buckets.sort_unstable();
    buckets.dedup();
    let texts = |of: fn(&Bucket) -> &str| buckets.iter().map(|bucket| of(bucket).to_owned()).collect::<Vec<String>>();
    let (kinds, subjects) = (texts(|bucket| &bucket.kind), texts(|bucket| &bucket.subject));
    let (names, meters) = (texts(|bucket| &bucket.subject_name), texts(|bucket| &bucket.meter));
    let starts: Vec<DateTime<Utc>> = buckets.iter().map(|bucket| bucket.start).collect();
    let ends: Vec<DateTime<Utc>> = buckets.iter().map(|bucket| bucket.end).collect();

    let wanted_action: Vec<Uuid> = wanted.iter().map(|wanted| wanted.action.as_uuid()).collect();
    let wants = |of: fn(&Usage) -> u64| wanted.iter().map(|wanted| int(of(&wanted.set_aside))).collect::<Vec<i64>>();
    let (wanted_input, wanted_output) = (wants(|usage| usage.input_tokens), wants(|usage| usage.output_tokens));
    let wanted_cost: Vec<i64> = wanted.iter().map(|wanted| wanted.set_aside.cost.0).collect();

    // PostgreSQL counts from one.
    let claim_request: Vec<i32> = claims.iter().map(|(at, _)| *at as i32 + 1).collect();
    let slot = |bucket: &Bucket| buckets.binary_search(&bucket).unwrap_or_default() as i32 + 1;
    let claim_bucket: Vec<i32> = claims.iter().map(|(_, claim)| slot(&claim.bucket)).collect();
    let claim_strict: Vec<bool> = claims.iter().map(|(_, claim)| claim.strict).collect();
    let most = |kind: usize| claims.iter().map(|(_, claim)| claim.most[kind]).collect::<Vec<Option<i64>>>();
    let [claim_requests, claim_input, claim_output, claim_cost] = [0, 1, 2, 3].map(most);

    let row = sqlx::query!(
        r#"
        SELECT
            granted AS "granted: Vec<bool>",
            found_requests AS "found_requests: Vec<i64>",
            found_input AS "found_input: Vec<i64>",
            found_output AS "found_output: Vec<i64>",
            found_cost AS "found_cost: Vec<i64>",
            bucket_id AS "bucket_id: Vec<i64>",
            changed_id AS "changed_id: Vec<i64>",
            changed_requests AS "changed_requests: Vec<i64>",
            changed_input AS "changed_input: Vec<i64>",
            changed_output AS "changed_output: Vec<i64>",
            changed_cost AS "changed_cost: Vec<i64>",
            -- What is counted reaches the disk with the next decision of the ledger, which is written after it and before
            -- anything is sent; so nobody waits for the disk here.
            set_config('synchronous_commit', 'off', TRUE) AS setting
        FROM ai_quota_turn(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23
        )
        "#,
        at,
        &ended_action,
        &ended_requests,
        &ended_input,
        &ended_output,
        &ended_cost,
        &kinds,
        &subjects,
        &names,
        &meters,
        &starts,
        &ends,
        &wanted_action,
        &wanted_input,
        &wanted_output,
        &wanted_cost,
        &claim_request,
        &claim_bucket,
        &claim_strict,
        &claim_requests as _,
        &claim_input as _,
        &claim_output as _,
        &claim_cost as _,
    )
    .fetch_one(pool)
    .await?;
    let ids = row.bucket_id.unwrap_or_default();
    let found = usages(row.found_requests, row.found_input, row.found_output, row.found_cost);
    let found_ids = claim_bucket.iter().filter_map(|slot| ids.get(*slot as usize - 1).copied());
    let changed = usages(row.changed_requests, row.changed_input, row.changed_output, row.changed_cost);
    Ok(Turned {
        granted: row.granted.unwrap_or_default(),
        found: found_ids.zip(found).collect(),
        changed: row.changed_id.unwrap_or_default().into_iter().zip(changed).collect(),
    })
}

fn usages(
    requests: Option<Vec<i64>>,
    input: Option<Vec<i64>>,
    output: Option<Vec<i64>>,
    cost: Option<Vec<i64>>,
) -> impl Iterator<Item = Usage> {
    let columns = [requests, input, output, cost].map(Option::unwrap_or_default);
    let [requests, input, output, cost] = columns;
    requests.into_iter().zip(input).zip(output).zip(cost).map(|(((calls, input), output), cost)| Usage {
        calls: count(calls),
        input_tokens: count(input),
        output_tokens: count(output),
        cost: Microdollars(cost),
    })
}

/// A hold whose request nobody will end any more, and what the ledger says it used.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) action: Uuid,
    pub(super) used: Usage,
}

/// Holds that were set aside before `before` and whose end nobody told: of requests that ended, that were abandoned, or that
/// were never decided.
pub(super) async fn left_behind(pool: &PgPool, before: DateTime<Utc>) -> Result<Vec<Left>, sqlx::Error> {
    sqlx::query!(
        r#"
        SELECT
            hold.action_id,
            hold.requests,
            hold.input_tokens,
            hold.output_tokens,
            hold.cost_microdollars,
            end_entry.kind AS "end_kind?",
            end_entry.body::jsonb #> '{usage}' AS "usage?"
        FROM ai_quota_holds AS hold
        LEFT JOIN LATERAL (
            SELECT kind, body
            FROM ledger
            WHERE ledger.action_id = hold.action_id AND ledger.kind IN ('ended', 'abandoned')
            ORDER BY ledger.kind DESC
            LIMIT 1
        ) AS end_entry ON TRUE
        WHERE hold.held_at < $1
          AND (
              end_entry.kind IS NOT NULL
              OR NOT EXISTS (
                  SELECT FROM ledger WHERE ledger.action_id = hold.action_id AND ledger.kind = 'decided'
              )
          )
        ORDER BY hold.action_id
        LIMIT 1000
        "#,
        before,
    )
    .fetch_all(pool)
    .await?
    .into_iter()
    .map(|row| {
        let counted = row.usage.and_then(|usage| serde_json::from_value(usage).ok());
        let used = match (row.end_kind.as_deref(), counted) {
            (
                Some("ended"),
                Some(systemprompt_extension::ledger::RecordedUsage {
                    calls,
                    cost_microdollars,
                    input_tokens,
                    output_tokens,
                }),
            ) => Usage {
                calls: count(calls),
                input_tokens: count(input_tokens),
                output_tokens: count(output_tokens),
                cost: Microdollars(cost_microdollars),
            },
            // Nobody knows what it used, so it is what was set aside.
            (Some(_), _) => Usage {
                calls: count(row.requests),
                input_tokens: count(row.input_tokens),
                output_tokens: count(row.output_tokens),
                cost: Microdollars(row.cost_microdollars),
            },
            // It was never sent.
            (None, _) => Usage::NOTHING,
        };
        Ok(Left { action: row.action_id, used })
    })
    .collect()
}

/// Deletes buckets whose windows have ended before `before`.
pub(super) async fn delete_ended(pool: &PgPool, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM ai_quota_buckets WHERE window_end < $1", before).execute(pool).await?;
    sqlx::query!(
        "DELETE FROM ai_quota_alerts AS alert WHERE raised_at < $1 \
         AND NOT EXISTS (SELECT FROM ai_quota_buckets AS bucket WHERE bucket.id = alert.bucket_id)",
        before,
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "DELETE FROM ai_quota_alert_deliveries AS delivery \
         WHERE NOT EXISTS (SELECT FROM ai_quota_alerts AS alert WHERE alert.message_id = delivery.message_id)"
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// A part of a limit that was reached.
#[derive(Debug)]
pub(super) struct Raised<'a> {
    pub(super) alert: &'a str,
    pub(super) bucket: i64,
    pub(super) counted: &'a str,
    pub(super) threshold: i32,
    pub(super) message_id: Uuid,
    pub(super) message: &'a serde_json::Value,
    /// Where its message is to go: channels, and whom of each.
    pub(super) channels: Vec<String>,
    pub(super) recipients: Vec<String>,
}

/// Writes it down. Says whether nobody had.
pub(super) async fn raise(pool: &PgPool, raised: &Raised<'_>, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        WITH raised AS (
            INSERT INTO ai_quota_alerts (alert, bucket_id, counted, threshold, message_id, message, raised_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT DO NOTHING
            RETURNING message_id, raised_at
        ),
        addressed AS (
            INSERT INTO ai_quota_alert_deliveries (message_id, channel, recipient, next_attempt_at)
            SELECT raised.message_id, destination.channel, destination.recipient, raised.raised_at
            FROM raised
            CROSS JOIN unnest($8::text[], $9::text[]) AS destination (channel, recipient)
        )
        SELECT EXISTS (SELECT FROM raised) AS "raised!"
        "#,
        raised.alert,
        raised.bucket,
        raised.counted,
        raised.threshold,
        raised.message_id,
        raised.message,
        now,
        &raised.channels,
        &raised.recipients,
    )
    .fetch_one(pool)
    .await
}

/// A message that waits to be brought to one place.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) message_id: Uuid,
    pub(super) channel: String,
    pub(super) recipient: String,
    pub(super) message: serde_json::Value,
    pub(super) raised_at: DateTime<Utc>,
    pub(super) attempts: i32,
    pub(super) strikes: i32,
}

/// Which messages are due, and until when nobody else takes one that is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) by: DateTime<Utc>,
    pub(super) raised_after: DateTime<Utc>,
    pub(super) leased_until: DateTime<Utc>,
}

/// Takes the message of an alert to one place that has been due for longest.
pub(super) async fn take_waiting(
    pool: &PgPool,
    (alert, channel, recipient): (&str, &str, &str),
    due: Due,
) -> Result<Option<Waiting>, sqlx::Error> {
    sqlx::query_as!(
        Waiting,
        r#"
        WITH due AS (
            SELECT delivery.message_id, alert.message, alert.raised_at
            FROM ai_quota_alert_deliveries AS delivery
            JOIN ai_quota_alerts AS alert ON alert.message_id = delivery.message_id
            WHERE delivery.next_attempt_at <= $4
              AND delivery.channel = $2
              AND delivery.recipient = $3
              AND alert.alert = $1
              AND alert.raised_at > $5
            ORDER BY delivery.next_attempt_at
            LIMIT 1
            FOR UPDATE OF delivery SKIP LOCKED
        )
        UPDATE ai_quota_alert_deliveries AS delivery
        SET next_attempt_at = $6, attempts = delivery.attempts + 1
        FROM due
        WHERE delivery.message_id = due.message_id AND delivery.channel = $2 AND delivery.recipient = $3
        RETURNING
            delivery.message_id,
            delivery.channel,
            delivery.recipient,
            due.message,
            due.raised_at,
            delivery.attempts,
            delivery.strikes
        "#,
        alert,
        channel,
        recipient,
        due.by,
        due.raised_after,
        due.leased_until,
    )
    .fetch_optional(pool)
    .await
}

/// Gives up what was raised before `before` and still waits, also where nobody is to get it any more. Says how much that was.
pub(super) async fn give_up(pool: &PgPool, before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let given_up = sqlx::query!(
        r#"
        UPDATE ai_quota_alert_deliveries AS delivery
        SET next_attempt_at = NULL, last_error = COALESCE(delivery.last_error, 'nobody takes it any more')
        FROM ai_quota_alerts AS alert
        WHERE alert.message_id = delivery.message_id
          AND alert.raised_at <= $1
          AND delivery.next_attempt_at IS NOT NULL
        "#,
        before,
    );
    Ok(given_up.execute(pool).await?.rows_affected())
}

/// A message was taken.
pub(super) async fn delivered(pool: &PgPool, of: &Waiting, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        UPDATE ai_quota_alert_deliveries
        SET delivered_at = $4, next_attempt_at = NULL, last_error = NULL
        WHERE message_id = $1 AND channel = $2 AND recipient = $3
        "#,
        of.message_id,
        of.channel,
        of.recipient,
        now,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// A message was not taken, and is sent again at `next`, or never.
pub(super) async fn not_delivered(
    pool: &PgPool,
    of: &Waiting,
    strikes: i32,
    next: Option<DateTime<Utc>>,
    why: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        UPDATE ai_quota_alert_deliveries
        SET strikes = $4, next_attempt_at = $5, last_error = $6
        WHERE message_id = $1 AND channel = $2 AND recipient = $3
        "#,
        of.message_id,
        of.channel,
        of.recipient,
        strikes,
        next,
        why,
    )
    .execute(pool)
    .await?;
    Ok(())
}

fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX / 2)
}

fn count(int: i64) -> u64 {
    u64::try_from(int).unwrap_or(0)
}
