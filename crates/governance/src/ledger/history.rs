//! Reading what is kept of content, page by page: to look through it with other rules than it was judged by.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use systemprompt_model::ActionId;
use uuid::Uuid;

/// Parts read with one statement.
const PAGE: i64 = 200;

/// A part of the content of an action.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The action.
    pub action: ActionId,
    /// Which part of its content.
    pub part: String,
    /// When it was kept.
    pub created_at: DateTime<Utc>,
    body: Option<String>,
    head: Option<String>,
    tail: Option<String>,
}

impl Kept {
    /// The texts that are kept of it: all of it, or its beginning and its end.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        [&self.body, &self.head, &self.tail].into_iter().filter_map(|text| text.as_deref())
    }
}

/// Where reading goes on.
#[derive(Debug, Clone, Default)]
pub struct Cursor(Uuid, String);

impl Cursor {
    /// After this part.
    pub fn after(kept: &Kept) -> Self {
        Self(kept.action.as_uuid(), kept.part.clone())
    }
}

/// What was kept in this time, by actions, of which the older come first.
pub async fn page(
    connection: &mut PgConnection,
    cursor: &Cursor,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> Result<Vec<Kept>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT
            action_id,
            part,
            created_at,
            body,
            head,
            tail
        FROM ledger_content
        WHERE (action_id, part) > ($1, $2)
          AND ($3::timestamptz IS NULL OR created_at >= $3)
          AND ($4::timestamptz IS NULL OR created_at < $4)
        ORDER BY action_id, part
        LIMIT $5
        "#,
        cursor.0,
        cursor.1,
        since,
        until,
        PAGE,
    )
    .fetch_all(connection)
    .await?;
    let kept = rows.into_iter().map(|row| Kept {
        action: ActionId::from_uuid(row.action_id),
        part: row.part,
        created_at: row.created_at,
        body: row.body,
        head: row.head,
        tail: row.tail,
    });
    Ok(kept.collect())
}
