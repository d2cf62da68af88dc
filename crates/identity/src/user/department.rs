//! Which accounts are in which department: it is written down with each.

use std::collections::HashMap;

use systemprompt_governance::access::DEFAULT_DEPARTMENT;
use systemprompt_model::UserId;

use crate::error::StoreError;
use crate::user::store::Users;

impl Users {
    /// How many accounts are in each department. Whoever has none is in `Default`.
    pub async fn count_by_department(&self) -> Result<HashMap<String, i64>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT coalesce(attributes ->> 'department', $1) AS "department!", count(*) AS "accounts!"
            FROM users
            WHERE status <> 'deleted'
            GROUP BY 1
            "#,
            DEFAULT_DEPARTMENT,
        )
        .fetch_all(self.db.write())
        .await?;
        Ok(rows.into_iter().map(|row| (row.department, row.accounts)).collect())
    }

    /// The accounts in a department.
    pub async fn in_department(&self, name: &str) -> Result<Vec<UserId>, StoreError> {
        let found = sqlx::query_scalar!(
            r#"
            SELECT id
            FROM users
            WHERE attributes ->> 'department' = $1 AND status <> 'deleted'
            ORDER BY id
            "#,
            name,
        )
        .fetch_all(self.db.write())
        .await?;
        Ok(found.into_iter().map(UserId::from_uuid).collect())
    }
}
