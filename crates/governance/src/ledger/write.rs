//! The one statement that writes a batch. Being one statement it is one transaction and one round trip.

use sqlx::encode::Encode;
use sqlx::postgres::{PgBindIterExt as _, PgConnection, PgHasArrayType};
use sqlx::{Postgres, Type};
use uuid::Uuid;

use super::chain::{Head, Link};
use super::content::KeptPart;
use super::entry::Sealed;
use super::queue::Batch;
use super::text::storable;

/// Everything one statement writes.
pub(super) struct Rows<'a> {
    entries: Vec<(&'a Sealed, Link)>,
    content: Vec<(Uuid, &'a KeptPart)>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(batch: &'a Batch, links: Vec<Link>) -> Self {
        let decisions = batch.decisions.iter().map(|pending| (&pending.entry, &pending.content));
        let following = batch.following.iter().map(|next| (&next.entry, &next.content));
        let content = decisions
            .chain(following)
            .flat_map(|(entry, content)| content.iter().map(|part| (entry.action, part)))
            .collect();
        Self { entries: batch.entries().zip(links).collect(), content }
    }
}

/// Appends the batch to the chain, if `from` is still its end and no connection of this installation came after the one of
/// this `generation`; `false` means it is not so and nothing was written.
///
/// Every part reads from `head`, so the parts run only when the compare-and-swap has succeeded. The row is this server's
/// own; only a second process of the same installation, such as a command, ever waits for its lock.
pub(super) async fn write(
    connection: &mut PgConnection,
    chain: Uuid,
    generation: i64,
    from: &Head,
    to: &Head,
    oldest_open: i64,
    rows: &Rows<'_>,
) -> Result<bool, sqlx::Error> {
    let Rows { entries, content } = rows;
    let written = sqlx::query_scalar!(
        r#"
        WITH head AS (
            UPDATE ledger_chains
            SET seq = $4, hash = $5, at = $6, oldest_open = $7, heartbeat_at = clock_timestamp(), ended_at = NULL
            WHERE chain_id = $1 AND seq = $2 AND hash = $3 AND generation = $8
            RETURNING chain_id, seq, at
        ), entry AS (
            INSERT INTO ledger (chain_id, seq, at, kind, action_id, body, hash)
            SELECT head.chain_id, e.seq, head.at, e.kind, e.action_id, e.body, e.hash
            FROM head CROSS JOIN UNNEST($9::bigint[], $10::text[], $11::uuid[], $12::text[], $13::bytea[])
                AS e (seq, kind, action_id, body, hash)
        ), content AS (
            INSERT INTO ledger_content (action_id, part, created_at, bytes, body, head, tail)
            SELECT c.action_id, c.part, head.at, c.bytes, c.body, c.head, c.tail
            FROM head CROSS JOIN UNNEST($14::uuid[], $15::text[], $16::bigint[], $17::text[], $18::text[], $19::text[])
                AS c (action_id, part, bytes, body, head, tail)
            ON CONFLICT (action_id, part) DO NOTHING
        )
        SELECT seq AS "seq!" FROM head
        "#,
        chain,
        from.seq,
        &from.hash[..],
        to.seq,
        &to.hash[..],
        to.at,
        oldest_open,
        generation,
        column(entries, |(_, link)| link.seq) as _,
        column(entries, |(entry, _)| entry.kind.as_str()) as _,
        column(entries, |(entry, _)| entry.action) as _,
        column(entries, |(entry, _)| entry.body.as_str()) as _,
        column(entries, |(_, link)| link.hash.as_slice()) as _,
        column(content, |(action, _)| *action) as _,
        column(content, |(_, part)| &*part.name) as _,
        column(content, |(_, part)| part.kept.bytes as i64) as _,
        column(content, |(_, part)| part.kept.body.as_deref().map(storable)) as _,
        column(content, |(_, part)| part.kept.head.as_deref().map(storable)) as _,
        column(content, |(_, part)| part.kept.tail.as_deref().map(storable)) as _,
    )
    .fetch_optional(connection)
    .await?;
    Ok(written.is_some())
}

/// One column of many rows as a PostgreSQL array, encoded as it is walked.
fn column<'q, R, V>(rows: &'q [R], value: impl Fn(&'q R) -> V) -> impl Encode<'q, Postgres> + Type<Postgres>
where
    V: Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType,
{
    rows.iter().map(value).bind_iter()
}
