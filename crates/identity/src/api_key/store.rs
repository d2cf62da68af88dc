//! The API keys of all users: issued, listed, found and revoked.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use systemprompt_database::DbPool;
use systemprompt_model::{Ambient, ApiKeyId, UserId};

use crate::api_key::{self, ApiKey, IssuedKey, queries};
use crate::error::{StoreError, violated_constraint};
use crate::{stored, user};

/// The API keys of all users.
#[derive(Clone)]
pub struct ApiKeys {
    db: DbPool,
    ambient: Ambient,
}

/// Why a key could not be issued or revoked.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The name is empty, too long or not printable.
    #[error("the name of a key is 1 to 100 characters without control characters")]
    InvalidName,
    /// It would be expired from the start.
    #[error("the key would expire at {0}, which is not in the future")]
    AlreadyExpired(DateTime<Utc>),
    /// There is no such user, or it may not act.
    #[error("there is no active user {0}")]
    NoSuchUser(UserId),
    /// There is no such key.
    #[error("there is no API key {0}")]
    NotFound(ApiKeyId),
    /// The database could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ApiKeyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl ApiKeys {
    /// The keys in `db`.
    pub fn new(db: DbPool, ambient: Ambient) -> Self {
        Self { db, ambient }
    }

    /// Issues a key to a user who may act. The secret is in the answer and nowhere else.
    pub async fn issue(
        &self,
        user: UserId,
        name: &str,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<IssuedKey, ApiKeyError> {
        let mut transaction = self.db.write().begin().await?;
        user::queries::lock_user(&mut transaction, user)
            .await?
            .filter(|user| user.status.may_act())
            .ok_or(ApiKeyError::NoSuchUser(user))?;
        let issued = issue(&mut transaction, &self.ambient, user, name, expires_at).await?;
        transaction.commit().await?;
        Ok(issued)
    }

    /// The keys of a user in the order they were issued, expired and revoked ones included.
    pub async fn list(&self, user: UserId) -> Result<Vec<ApiKey>, StoreError> {
        queries::list_api_keys(self.db.read(), user).await
    }

    /// The key with this id, whatever its state.
    pub async fn get(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        queries::find_api_key(self.db.write(), Some(id), None).await
    }

    /// The key people mean by an id or by the visible beginning `sp-live-<12 hex>`.
    pub async fn find(&self, id_or_prefix: &str) -> Result<Option<ApiKey>, StoreError> {
        let id = id_or_prefix.parse().ok();
        queries::find_api_key(self.db.write(), id, Some(id_or_prefix)).await
    }

    /// The keys people mean by an id, a name, or some of the visible beginning: those of several accounts may share a name.
    pub async fn meant_by(&self, text: &str) -> Result<Vec<ApiKeyId>, StoreError> {
        // What follows is the secret, which somebody may have given with the rest.
        let text = text.split('.').next().filter(|_| text.starts_with(api_key::MARK)).unwrap_or(text);
        queries::api_keys_meant_by(self.db.write(), text).await
    }

    /// The names of keys.
    pub async fn names(&self, ids: &[ApiKeyId]) -> Result<HashMap<ApiKeyId, String>, StoreError> {
        queries::names_of_api_keys(self.db.write(), ids).await
    }

    /// Revokes a key; revoking twice changes nothing. It is refused from the next request on, on every replica.
    pub async fn revoke(&self, id: ApiKeyId) -> Result<ApiKey, ApiKeyError> {
        queries::revoke_api_key(self.db.write(), id, self.ambient.now()).await?.ok_or(ApiKeyError::NotFound(id))
    }
}

/// Issues a key as part of a transaction.
pub(crate) async fn issue(
    connection: &mut PgConnection,
    ambient: &Ambient,
    user: UserId,
    name: &str,
    expires_at: Option<DateTime<Utc>>,
) -> Result<IssuedKey, ApiKeyError> {
    let name = name.trim();
    if !(1..=100).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(ApiKeyError::InvalidName);
    }
    let now = stored::now(ambient);
    let expires_at = expires_at.map(stored::micros);
    if let Some(expires_at) = expires_at
        && expires_at <= now
    {
        return Err(ApiKeyError::AlreadyExpired(expires_at));
    }
    let (secret, prefix, digest) = api_key::generate(ambient);
    let key = ApiKey {
        id: ApiKeyId::generate(ambient),
        user_id: user,
        name: name.to_owned(),
        prefix,
        created_at: now,
        last_used_at: None,
        expires_at,
        revoked_at: None,
    };
    match queries::insert_api_key(connection, &key, &digest).await {
        Ok(()) => Ok(IssuedKey { key, secret }),
        Err(error) if violated_constraint(&error) == Some("user_api_keys_user_id_fkey") => {
            Err(ApiKeyError::NoSuchUser(user))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::testing::World;
    use crate::user::UserStatus;
    use crate::user::change::UserChange;

    #[tokio::test]
    async fn keys_are_issued_listed_found_and_revoked() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let keys = &replica.identity.api_keys;
        let first = keys.issue(user.id, " laptop ", None).await.expect("issues");
        world.clock.advance(TimeDelta::milliseconds(1));
        let expires_at = world.ambient.now() + TimeDelta::days(1);
        let second = keys.issue(user.id, "ci", Some(expires_at)).await.expect("issues");
        assert_eq!(first.key.name, "laptop");
        assert!(first.secret.expose().starts_with(&first.key.prefix));
        assert_eq!(keys.list(user.id).await.expect("lists"), [first.key.clone(), second.key.clone()]);
        assert_eq!(keys.find(&first.key.id.to_string()).await.expect("reads"), Some(first.key.clone()));
        assert_eq!(keys.find(&second.key.prefix).await.expect("reads"), Some(second.key.clone()));
        assert_eq!(keys.find("sp-live-").await.expect("reads"), None);

        let stored: Vec<String> = sqlx::query_scalar("SELECT row_to_json(k)::text FROM user_api_keys AS k")
            .fetch_all(world.database.pool.read())
            .await
            .expect("reads");
        assert_eq!(stored.len(), 2);
        let secret = first.secret.expose().split_once('.').expect("two parts").1;
        assert!(stored.iter().all(|row| !row.contains(secret)), "the secret is nowhere in the table");

        let revoked = keys.revoke(first.key.id).await.expect("revokes");
        assert_eq!(revoked.revoked_at, Some(world.ambient.now()));
        world.clock.advance(TimeDelta::seconds(1));
        assert_eq!(keys.revoke(first.key.id).await.expect("revokes").revoked_at, revoked.revoked_at);
        assert!(!revoked.is_live(world.ambient.now()) && second.key.is_live(world.ambient.now()));
        assert!(!second.key.is_live(expires_at));
        replica.stop().await;
    }

    #[tokio::test]
    async fn keys_that_make_no_sense_are_not_issued() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let keys = &replica.identity.api_keys;
        for name in ["", "  ", "a\nb", &"x".repeat(101)] {
            assert!(matches!(keys.issue(user.id, name, None).await, Err(ApiKeyError::InvalidName)), "{name:?}");
        }
        let now = world.ambient.now();
        assert!(matches!(keys.issue(user.id, "k", Some(now)).await, Err(ApiKeyError::AlreadyExpired(_))));
        let nobody = UserId::generate(&world.ambient);
        assert!(matches!(keys.issue(nobody, "k", None).await, Err(ApiKeyError::NoSuchUser(_))));
        let suspended = UserChange { status: Some(UserStatus::Suspended), ..UserChange::default() };
        replica.identity.users.update(user.id, suspended).await.expect("suspends");
        assert!(matches!(keys.issue(user.id, "k", None).await, Err(ApiKeyError::NoSuchUser(_))));
        let no_key = ApiKeyId::generate(&world.ambient);
        assert!(matches!(keys.revoke(no_key).await, Err(ApiKeyError::NotFound(_))));
        replica.stop().await;
    }
}
