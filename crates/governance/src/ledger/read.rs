//! Reading the log back, entry by entry.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::{EntryKind, LedgerEntry, ProjectionError, Record};
use systemprompt_model::ActionId;
pub(crate) use systemprompt_verify::table::said;
use uuid::Uuid;

/// An entry as it is stored, with the link that holds it in its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredEntry {
    pub(crate) chain: Uuid,
    pub(crate) seq: i64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) kind: String,
    pub(crate) action: Uuid,
    pub(crate) body: String,
    pub(crate) hash: Vec<u8>,
}

/// An entry as it is applied, which asks nothing of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedEntry {
    pub(crate) chain: Uuid,
    pub(crate) seq: i64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) kind: String,
    pub(crate) action: Uuid,
    pub(crate) body: String,
}

impl StoredEntry {
    /// What it says; nothing if it is of a kind that only a newer version knows.
    pub(crate) fn read(&self) -> Result<Option<LedgerEntry>, ProjectionError> {
        read((self.chain, self.seq), self.at, &self.kind, self.action, &self.body)
    }
}

impl LoggedEntry {
    /// What it says; nothing if it is of a kind that only a newer version knows.
    pub(crate) fn read(&self) -> Result<Option<LedgerEntry>, ProjectionError> {
        read((self.chain, self.seq), self.at, &self.kind, self.action, &self.body)
    }
}

fn read(
    (chain, seq): (Uuid, i64),
    at: DateTime<Utc>,
    kind: &str,
    action: Uuid,
    body: &str,
) -> Result<Option<LedgerEntry>, ProjectionError> {
    let Ok(kind) = kind.parse::<EntryKind>() else { return Ok(None) };
    let record = Record::read(kind, body).map_err(|source| ProjectionError::Entry { chain, seq, source })?;
    Ok(Some(LedgerEntry { chain, seq, at, action: ActionId::from_uuid(action), record }))
}

/// The entries of one chain after this place, up to `until`, at most `limit`. One that stands at a place a second time, which
/// nothing but the time of it tells from the first, is among them.
pub(crate) async fn chain(
    connection: &mut PgConnection,
    chain: Uuid,
    after: (i64, DateTime<Utc>),
    until: i64,
    limit: i64,
) -> Result<Vec<StoredEntry>, sqlx::Error> {
    sqlx::query_as!(
        StoredEntry,
        r#"
        SELECT chain_id AS chain, seq, at, kind, action_id AS action, body, hash
        FROM ledger
        WHERE chain_id = $1 AND (seq, at) > ($2, $3) AND seq <= $4
        ORDER BY seq, at
        LIMIT $5
        "#,
        chain,
        after.0,
        after.1,
        until,
        limit,
    )
    .fetch_all(connection)
    .await
}

/// The last entry of a chain up to the place `until` that is older than this.
pub(crate) async fn last_before(
    connection: &mut PgConnection,
    chain: Uuid,
    until: i64,
    time: DateTime<Utc>,
) -> Result<Option<(i64, DateTime<Utc>, Vec<u8>)>, sqlx::Error> {
    sqlx::query!(
        "SELECT seq, at, hash FROM ledger WHERE chain_id = $1 AND seq <= $2 AND at < $3 ORDER BY seq DESC LIMIT 1",
        chain,
        until,
        time,
    )
    .map(|row| (row.seq, row.at, row.hash))
    .fetch_optional(connection)
    .await
}

/// Everything the log says about these actions, in the order of their chains.
pub(crate) async fn about(connection: &mut PgConnection, actions: &[Uuid]) -> Result<Vec<StoredEntry>, sqlx::Error> {
    sqlx::query_as!(
        StoredEntry,
        r#"
        SELECT chain_id AS chain, seq, at, kind, action_id AS action, body, hash
        FROM ledger
        WHERE action_id = ANY ($1)
        ORDER BY chain_id, seq
        "#,
        actions,
    )
    .fetch_all(connection)
    .await
}

/// The hashes of the entries at these places.
pub(crate) async fn hashes(
    connection: &mut PgConnection,
    places: &Places,
) -> Result<Vec<(Uuid, i64, Vec<u8>)>, sqlx::Error> {
    sqlx::query!(
        r#"
        SELECT l.chain_id, l.seq, l.hash
        FROM UNNEST($1::uuid[], $2::bigint[]) AS p (chain_id, seq)
        JOIN ledger AS l ON l.chain_id = p.chain_id AND l.seq = p.seq
        "#,
        &places.chains,
        &places.seqs,
    )
    .map(|row| (row.chain_id, row.seq, row.hash))
    .fetch_all(connection)
    .await
}

/// Entries that belong to no chain as far as `ledger_chains` knows.
#[derive(Debug)]
pub(crate) struct Strays {
    pub(crate) chain: Uuid,
    /// Whether there is such a chain.
    pub(crate) known: bool,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) count: i64,
}

/// Entries of chains that are not listed, before the beginning of their chain, or beyond its end.
pub(crate) async fn strays(connection: &mut PgConnection) -> Result<Vec<Strays>, sqlx::Error> {
    sqlx::query_as!(
        Strays,
        r#"
        SELECT
            l.chain_id AS chain,
            BOOL_OR(c.chain_id IS NOT NULL) AS "known!",
            MIN(l.seq) AS "first!",
            MAX(l.seq) AS "last!",
            COUNT(*) AS "count!"
        FROM ledger AS l
        LEFT JOIN ledger_chains AS c ON c.chain_id = l.chain_id
        WHERE c.chain_id IS NULL OR l.seq > c.seq OR l.seq <= c.dropped_seq
        GROUP BY l.chain_id
        ORDER BY l.chain_id
        "#,
    )
    .fetch_all(connection)
    .await
}

/// A place in each of several chains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) chains: Vec<Uuid>,
    pub(crate) seqs: Vec<i64>,
}

impl Places {
    pub(crate) fn get(&self, chain: Uuid) -> i64 {
        let at = self.chains.iter().position(|known| *known == chain);
        at.map_or(0, |at| self.seqs[at])
    }

    pub(crate) fn set(&mut self, chain: Uuid, seq: i64) {
        if let Some(at) = self.chains.iter().position(|known| *known == chain) {
            self.seqs[at] = seq;
        } else {
            self.chains.push(chain);
            self.seqs.push(seq);
        }
    }
}

/// The next entries of all chains after these places, oldest first, at most `limit`.
///
/// Within a chain the order is that of the chain. Between chains it is that of time, which is enough: an entry about
/// something in another chain is never older than that ([`Shared::not_before`](super::Shared)).
pub(crate) async fn after(
    connection: &mut PgConnection,
    places: &Places,
    limit: i64,
) -> Result<Vec<LoggedEntry>, sqlx::Error> {
    sqlx::query_as!(
        LoggedEntry,
        r#"
        SELECT e.chain_id AS "chain!", e.seq AS "seq!", e.at AS "at!", e.kind AS "kind!", e.action_id AS "action!",
            e.body AS "body!"
        FROM ledger_chains AS c
        LEFT JOIN UNNEST($1::uuid[], $2::bigint[]) AS p (chain_id, seq) ON p.chain_id = c.chain_id
        CROSS JOIN LATERAL (
            SELECT l.chain_id, l.seq, l.at, l.kind, l.action_id, l.body
            FROM ledger AS l
            WHERE l.chain_id = c.chain_id AND l.seq > COALESCE(p.seq, 0)
            ORDER BY l.seq
            LIMIT $3
        ) AS e
        WHERE c.seq > COALESCE(p.seq, 0)
        ORDER BY e.at, e.chain_id, e.seq
        LIMIT $3
        "#,
        &places.chains,
        &places.seqs,
        limit,
    )
    .fetch_all(connection)
    .await
}

/// Where all chains end.
pub(crate) async fn ends(connection: &mut PgConnection) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
    sqlx::query!("SELECT chain_id, seq FROM ledger_chains")
        .map(|row| (row.chain_id, row.seq))
        .fetch_all(connection)
        .await
}
