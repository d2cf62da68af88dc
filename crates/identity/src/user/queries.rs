//! The statements about `users`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use systemprompt_model::UserId;
use uuid::Uuid;

use crate::error::StoreError;
use crate::user::lookup::{Page, UserFilter, UserReference};
use crate::user::{User, UserStatus};

struct UserRow {
    id: Uuid,
    name: String,
    email: String,
    full_name: Option<String>,
    display_name: Option<String>,
    status: String,
    email_verified: bool,
    roles: Vec<String>,
    attributes: Json<BTreeMap<String, String>>,
    is_bot: bool,
    is_scanner: bool,
    avatar_url: Option<String>,
    share_token_version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    last_login_at: Option<DateTime<Utc>>,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: UserId::from_uuid(row.id),
            status: row.status.parse().map_err(|_| StoreError::Inconsistent {
                table: "users",
                column: "status",
                id: row.id.to_string(),
            })?,
            name: row.name,
            email: row.email,
            full_name: row.full_name,
            display_name: row.display_name,
            email_verified: row.email_verified,
            roles: row.roles,
            attributes: row.attributes.0,
            is_bot: row.is_bot,
            is_scanner: row.is_scanner,
            avatar_url: row.avatar_url,
            share_token_version: row.share_token_version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            last_login_at: row.last_login_at,
        })
    }
}

/// Selects users; the rest of the statement says which. A macro, because what is checked when the code is compiled must be
/// one literal there.
macro_rules! select_users {
    ($which:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            UserRow,
            r#"
        SELECT
            id,
            name,
            email,
            full_name,
            display_name,
            status,
            email_verified,
            roles,
            attributes AS "attributes: Json<BTreeMap<String, String>>",
            is_bot,
            is_scanner,
            avatar_url,
            share_token_version,
            created_at,
            updated_at,
            last_login_at
        FROM users
        "# + $which
            $(, $argument)*
        )
    };
}

fn into_users(rows: Vec<UserRow>) -> Result<Vec<User>, StoreError> {
    rows.into_iter().map(User::try_from).collect()
}

pub(crate) async fn insert_user(connection: &mut PgConnection, user: &User) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO users (
            id,
            name,
            email,
            full_name,
            display_name,
            status,
            email_verified,
            roles,
            attributes,
            is_bot,
            is_scanner,
            avatar_url,
            share_token_version,
            created_at,
            updated_at
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        "#,
        user.id.as_uuid(),
        user.name,
        user.email,
        user.full_name,
        user.display_name,
        user.status.as_str(),
        user.email_verified,
        &user.roles,
        Json(&user.attributes) as _,
        user.is_bot,
        user.is_scanner,
        user.avatar_url,
        user.share_token_version,
        user.created_at,
        user.updated_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn update_user(connection: &mut PgConnection, user: &User) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        UPDATE users
        SET
            name = $2,
            email = $3,
            full_name = $4,
            display_name = $5,
            status = $6,
            email_verified = $7,
            roles = $8,
            attributes = $9,
            updated_at = $10
        WHERE id = $1
        "#,
        user.id.as_uuid(),
        user.name,
        user.email,
        user.full_name,
        user.display_name,
        user.status.as_str(),
        user.email_verified,
        &user.roles,
        Json(&user.attributes) as _,
        user.updated_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The user a person means. A live one wins over a deleted one that had the same name or address.
pub(crate) async fn find_user(
    executor: impl PgExecutor<'_>,
    reference: &UserReference,
) -> Result<Option<User>, StoreError> {
    let (id, email, name) = match reference {
        UserReference::Id(id) => (Some(id.as_uuid()), None, None),
        UserReference::Email(email) => (None, Some(email.as_str()), None),
        UserReference::Name(name) => (None, None, Some(name.as_str())),
    };
    let row = select_users!(
        r#"
        WHERE id = $1 OR email = $2 OR lower(name) = lower($3)
        ORDER BY status = 'deleted', created_at DESC
        LIMIT 1
        "#,
        id,
        email,
        name,
    )
    .fetch_optional(executor)
    .await?;
    row.map(User::try_from).transpose()
}

/// The user, locked until the end of the transaction.
pub(crate) async fn lock_user(connection: &mut PgConnection, id: UserId) -> Result<Option<User>, StoreError> {
    let row = select_users!(
        r#"
        WHERE id = $1
        FOR UPDATE
        "#,
        id.as_uuid(),
    )
    .fetch_optional(connection)
    .await?;
    row.map(User::try_from).transpose()
}

/// The administrators that can act, locked until the end of the transaction, so that two changes at once cannot remove
/// the last two. They are locked in one order, so that those changes do not deadlock.
pub(crate) async fn lock_active_administrators(connection: &mut PgConnection) -> Result<Vec<UserId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id
        FROM users
        WHERE roles @> '{admin}' AND status = 'active'
        ORDER BY id
        FOR UPDATE
        "#
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(UserId::from_uuid).collect())
}

pub(crate) async fn list_users(
    executor: impl PgExecutor<'_>,
    filter: &UserFilter,
    page: Page,
) -> Result<Vec<User>, StoreError> {
    let rows = select_users!(
        r#"
        WHERE ($1::text IS NULL OR roles @> ARRAY[$1])
            AND (status = $2 OR ($2::text IS NULL AND status <> 'deleted'))
        ORDER BY created_at, id
        LIMIT $3
        OFFSET $4
        "#,
        filter.role,
        filter.status.map(UserStatus::as_str),
        page.limit(),
        i64::from(page.offset),
    )
    .fetch_all(executor)
    .await?;
    into_users(rows)
}

/// Accounts by their id, deleted ones too, after this one.
pub(crate) async fn all_users(
    executor: impl PgExecutor<'_>,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<User>, StoreError> {
    let rows = select_users!(
        r#"
        WHERE $1::uuid IS NULL OR id > $1
        ORDER BY id
        LIMIT $2
        "#,
        after.map(|id| id.as_uuid()),
        limit,
    )
    .fetch_all(executor)
    .await?;
    into_users(rows)
}

pub(crate) async fn count_users(executor: impl PgExecutor<'_>, filter: &UserFilter) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!"
        FROM users
        WHERE ($1::text IS NULL OR roles @> ARRAY[$1])
            AND (status = $2 OR ($2::text IS NULL AND status <> 'deleted'))
        "#,
        filter.role,
        filter.status.map(UserStatus::as_str),
    )
    .fetch_one(executor)
    .await
}

/// Users whose name, address or full name contains the text, whatever the case; exact names and addresses first.
pub(crate) async fn search_users(
    executor: impl PgExecutor<'_>,
    text: &str,
    page: Page,
) -> Result<Vec<User>, StoreError> {
    let rows = select_users!(
        r#"
        WHERE status <> 'deleted'
            AND (
                strpos(lower(name), lower($1)) > 0
                OR strpos(email, lower($1)) > 0
                OR strpos(lower(full_name), lower($1)) > 0
                OR strpos(lower(display_name), lower($1)) > 0
            )
        ORDER BY (lower(name) = lower($1) OR email = lower($1)) DESC, name
        LIMIT $2
        OFFSET $3
        "#,
        text,
        page.limit(),
        i64::from(page.offset),
    )
    .fetch_all(executor)
    .await?;
    into_users(rows)
}

/// Lets one process at a time look for the administrator and create it, until the end of the transaction.
pub(crate) async fn lock_bootstrap(executor: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"SELECT pg_advisory_xact_lock(hashtextextended('systemprompt.identity.bootstrap', 0)) IS NULL AS locked"#
    )
    .fetch_one(executor)
    .await?;
    Ok(())
}
