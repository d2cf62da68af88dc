//! Where requests came from, for people: the names behind the ids of accounts and sessions.

use std::collections::HashMap;

use serde::Serialize;
use systemprompt_database::DbPool;
use systemprompt_model::{SessionId, UserId};
use uuid::Uuid;

use crate::error::StoreError;

/// Where a request came from, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The name of the account.
    pub user_name: Option<String>,
    /// The client's own id of the session; if it holds a credential, `sha256:` and its digest in hexadecimal.
    pub client_session_id: Option<String>,
    /// The visible part of the API key of the session.
    pub api_key_prefix: Option<String>,
    /// What that key is for.
    pub api_key_name: Option<String>,
}

/// The origins of many requests, asked for at once.
#[derive(Debug, Default)]
pub struct Origins {
    users: HashMap<Uuid, String>,
    sessions: HashMap<Uuid, Origin>,
}

impl Origins {
    /// Those of these accounts and sessions.
    pub async fn find(
        db: &DbPool,
        users: impl IntoIterator<Item = UserId>,
        sessions: impl IntoIterator<Item = SessionId>,
    ) -> Result<Self, StoreError> {
        let users: Vec<Uuid> = users.into_iter().map(|id| id.as_uuid()).collect();
        let sessions: Vec<Uuid> = sessions.into_iter().map(|id| id.as_uuid()).collect();
        let named = sqlx::query!(r#"SELECT id, name FROM users WHERE id = ANY ($1)"#, &users)
            .map(|row| (row.id, row.name))
            .fetch_all(db.write())
            .await?;
        let known = sqlx::query!(
            r#"
            SELECT
                session.session_id,
                session.client_session_id,
                key.key_prefix AS "key_prefix?",
                key.name AS "key_name?"
            FROM user_sessions AS session
            LEFT JOIN user_api_keys AS key ON key.id = session.api_key_id
            WHERE session.session_id = ANY ($1)
            "#,
            &sessions,
        )
        .map(|row| {
            let origin = Origin {
                user_name: None,
                client_session_id: row.client_session_id,
                api_key_prefix: row.key_prefix,
                api_key_name: row.key_name,
            };
            (row.session_id, origin)
        })
        .fetch_all(db.write())
        .await?;
        Ok(Self { users: named.into_iter().collect(), sessions: known.into_iter().collect() })
    }

    /// That of a request of this account in this session.
    pub fn of(&self, user: Option<UserId>, session: Option<SessionId>) -> Origin {
        let known = session.and_then(|id| self.sessions.get(&id.as_uuid())).cloned().unwrap_or_default();
        Origin { user_name: user.and_then(|id| self.users.get(&id.as_uuid())).cloned(), ..known }
    }
}
