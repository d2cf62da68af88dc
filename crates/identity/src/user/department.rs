//! Which accounts are in which department: it is written down with each.

use std::collections::HashMap;

use systemprompt_governance::access::DEFAULT_DEPARTMENT;

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

    /// Takes everybody out of a department, who is then in `Default`. Gives how many those were.
    pub async fn leave_department(&self, name: &str) -> Result<u64, StoreError> {
        let left = sqlx::query!(
            r#"
            UPDATE users
            SET attributes = attributes - 'department'
            WHERE attributes ->> 'department' = $1
            "#,
            name,
        )
        .execute(self.db.write())
        .await?;
        Ok(left.rows_affected())
    }
}
