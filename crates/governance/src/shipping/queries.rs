//! The statements about `ledger_shipments` and its cursors. Whose turn it is is told by the database's clock.

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, PgPool};
use uuid::Uuid;

use crate::ledger::read::Places;

/// Takes the turn for so many seconds, if nobody has it and nothing is waited for. Gives how often it has failed in a row.
pub(super) async fn lease(
    connection: &mut PgConnection,
    destination: &str,
    server: Uuid,
    seconds: f64,
) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        INSERT INTO ledger_shipments AS s (destination, leased_by, leased_until, next_attempt_at)
        VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3), clock_timestamp())
        ON CONFLICT (destination) DO UPDATE
        SET leased_by = EXCLUDED.leased_by, leased_until = EXCLUDED.leased_until
        WHERE (s.leased_until IS NULL OR s.leased_until < clock_timestamp()) AND s.next_attempt_at <= clock_timestamp()
        RETURNING failures
        "#,
        destination,
        server,
        seconds,
    )
    .fetch_optional(connection)
    .await
}

/// Keeps the turn for so many seconds more. Whether it is still there to be kept.
pub(super) async fn renew(
    connection: &mut PgConnection,
    destination: &str,
    server: Uuid,
    seconds: f64,
) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query!(
        r#"
        UPDATE ledger_shipments
        SET leased_until = clock_timestamp() + make_interval(secs => $3)
        WHERE destination = $1 AND leased_by = $2
        "#,
        destination,
        server,
        seconds,
    )
    .execute(connection)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// How far it has come.
pub(super) async fn places(connection: &mut PgConnection, destination: &str) -> Result<Places, sqlx::Error> {
    let rows = sqlx::query!("SELECT chain_id, seq FROM ledger_shipment_cursors WHERE destination = $1", destination)
        .fetch_all(connection)
        .await?;
    Ok(Places { chains: rows.iter().map(|row| row.chain_id).collect(), seqs: rows.iter().map(|row| row.seq).collect() })
}

/// How many entries it has not.
pub(super) async fn behind(connection: &mut PgConnection, destination: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        SELECT COALESCE(SUM(c.seq - GREATEST(COALESCE(p.seq, 0), c.dropped_seq)), 0)::bigint AS "behind!"
        FROM ledger_chains AS c
        LEFT JOIN ledger_shipment_cursors AS p ON p.chain_id = c.chain_id AND p.destination = $1
        "#,
        destination,
    )
    .fetch_one(connection)
    .await
}

/// It has taken everything up to these places; the turn is over. Nothing is moved by who has not the turn any more.
pub(super) async fn shipped(
    connection: &mut PgConnection,
    destination: &str,
    server: Uuid,
    places: &Places,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let ours = sqlx::query!(
        r#"
        UPDATE ledger_shipments
        SET leased_until = NULL, failures = 0, last_error = NULL, failing_since = NULL, shipped_at = clock_timestamp()
        WHERE destination = $1 AND leased_by = $2
        "#,
        destination,
        server,
    )
    .execute(&mut *transaction)
    .await?;
    if ours.rows_affected() == 1 {
        sqlx::query!(
            r#"
            INSERT INTO ledger_shipment_cursors AS c (destination, chain_id, seq)
            SELECT $1, p.chain_id, p.seq
            FROM UNNEST($2::uuid[], $3::bigint[]) AS p (chain_id, seq)
            ON CONFLICT (destination, chain_id) DO UPDATE SET seq = GREATEST(c.seq, EXCLUDED.seq)
            "#,
            destination,
            &places.chains,
            &places.seqs,
        )
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await
}

/// There was nothing to ship.
pub(super) async fn give_back(
    connection: &mut PgConnection,
    destination: &str,
    server: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE ledger_shipments SET leased_until = NULL WHERE destination = $1 AND leased_by = $2",
        destination,
        server,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// It took nothing, and is asked again after so many seconds.
pub(super) async fn failed(
    connection: &mut PgConnection,
    destination: &str,
    server: Uuid,
    why: &str,
    seconds: f64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        UPDATE ledger_shipments
        SET leased_until = NULL,
            failures = failures + 1,
            last_error = $3,
            failing_since = COALESCE(failing_since, clock_timestamp()),
            next_attempt_at = clock_timestamp() + make_interval(secs => $4)
        WHERE destination = $1 AND leased_by = $2
        "#,
        destination,
        server,
        why,
        seconds,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Destinations that take nothing, and why.
pub(super) async fn failing(pool: &PgPool, destinations: &[String]) -> Result<Vec<(String, String)>, sqlx::Error> {
    sqlx::query!(
        r#"
        SELECT destination, COALESCE(last_error, '') AS "why!"
        FROM ledger_shipments
        WHERE destination = ANY ($1) AND failing_since < clock_timestamp() - interval '1 minute'
        ORDER BY destination
        "#,
        destinations,
    )
    .map(|row| (row.destination, row.why))
    .fetch_all(pool)
    .await
}
