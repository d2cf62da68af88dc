//! The administrator of the installation, and his first API key.

use serde_json::json;
use sqlx::PgConnection;
use systemprompt_database::DbPool;
use systemprompt_governance::{About, Change, ChangeError, Changed, Gate, Refusal, StateDigest};
use systemprompt_model::{Ambient, Attribution};

use crate::api_key::IssuedKey;
use crate::api_key::store::ApiKeyError;
use crate::error::StoreError;
use crate::user::change::NewUser;
use crate::user::lookup::UserReference;
use crate::user::store::UserError;
use crate::user::{ADMIN_ROLE, USER_ROLE, User, UserStatus};
use crate::{api_key, user};

/// Name of the first key, for lists.
pub(crate) const FIRST_KEY: &str = "first key";

/// What the first start made or found.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// The administrator of the installation, who owns its records.
    pub administrator: User,
    /// The first key, if the administrator never had one; not to be seen again.
    pub key: Option<IssuedKey>,
}

/// Why the installation has no administrator.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The profile's `system_admin` names somebody who is not an active administrator. Nobody is promoted silently.
    #[error("`{0}` in the profile's `system_admin` exists but is not an active administrator")]
    NotAnAdministrator(String),
    /// The account could not be created.
    #[error("the administrator could not be created")]
    User(#[from] UserError),
    /// The key could not be issued.
    #[error("the administrator's first API key could not be issued")]
    Key(#[from] ApiKeyError),
    /// It was refused, or cannot be recorded.
    #[error("the administrator may not be made")]
    Refused(#[source] Refusal),
    /// The database could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for BootstrapError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Makes sure that the administrator of the profile exists, and issues the first API key to one who never had any. Both
/// or neither, however often and by however many replicas at once it is called. What it makes, the installation makes: the
/// Gate records it as a change by the system.
pub async fn bootstrap_administrator(
    db: &DbPool,
    gate: &Gate,
    ambient: &Ambient,
    name: &str,
    email: &str,
) -> Result<Bootstrap, BootstrapError> {
    let found = find(&mut *db.write().acquire().await?, name).await?;
    if let Some(administrator) = &found
        && api_key::queries::ever_had_api_key(db.write(), administrator.id).await?
    {
        return Ok(Bootstrap { administrator: administrator.clone(), key: None });
    }
    let request = json!({"name": name, "email": email});
    let change = Change::new("administrator.bootstrap", About::new("user", name), &request);
    let made = gate.change(Attribution::system(ambient), change, async || {
        let bootstrap = make(db, ambient, name, email).await?;
        let before = found.as_ref().map(StateDigest::of);
        let after = Some(StateDigest::of(&bootstrap.administrator));
        Ok(Changed { value: bootstrap, before, after })
    });
    made.await.map_err(|error| match error {
        ChangeError::Refused(refusal) => BootstrapError::Refused(refusal),
        ChangeError::Failed(error) => error,
    })
}

/// The administrator, if there is one.
async fn find(connection: &mut PgConnection, name: &str) -> Result<Option<User>, BootstrapError> {
    let by_name = UserReference::Name(name.trim().to_owned());
    match user::queries::find_user(connection, &by_name).await?.filter(|user| user.status != UserStatus::Deleted) {
        Some(user) if user.is_admin() && user.status == UserStatus::Active => Ok(Some(user)),
        Some(user) => Err(BootstrapError::NotAnAdministrator(user.name)),
        None => Ok(None),
    }
}

async fn make(db: &DbPool, ambient: &Ambient, name: &str, email: &str) -> Result<Bootstrap, BootstrapError> {
    let mut transaction = db.write().begin().await?;
    user::queries::lock_bootstrap(&mut *transaction).await?;
    let administrator = if let Some(administrator) = find(&mut transaction, name).await? {
        administrator
    } else {
        let new = NewUser {
            name: name.to_owned(),
            email: email.to_owned(),
            roles: vec![ADMIN_ROLE.to_owned(), USER_ROLE.to_owned()],
            ..NewUser::default()
        };
        user::store::create(&mut transaction, ambient, new).await?
    };
    let key = if api_key::queries::ever_had_api_key(&mut *transaction, administrator.id).await? {
        None
    } else {
        Some(api_key::store::issue(&mut transaction, ambient, administrator.id, FIRST_KEY, None).await?)
    };
    transaction.commit().await?;
    Ok(Bootstrap { administrator, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use crate::user::change::UserChange;

    #[tokio::test]
    async fn the_first_start_makes_an_administrator_and_one_key() {
        let world = World::new().await;
        let replica = world.replica().await;
        let bootstrap =
            || bootstrap_administrator(&replica.db, &replica.gate, &world.ambient, "admin", "admin@localhost");
        let (one, other) = tokio::join!(bootstrap(), bootstrap());
        let (one, other) = (one.expect("works"), other.expect("works"));
        assert_eq!(one.administrator, other.administrator);
        assert!(one.administrator.is_admin());
        let keys: Vec<_> = [one.key, other.key].into_iter().flatten().collect();
        assert_eq!(keys.len(), 1, "one of two at once issues the key");
        assert!(replica.authenticate(&keys[0].secret).await.expect("is accepted").is_admin());

        replica.identity.api_keys.revoke(keys[0].key.id).await.expect("revokes");
        assert!(bootstrap().await.expect("works").key.is_none(), "a revoked key is not replaced");

        let changes = replica.changes().await;
        assert!((1..=2).contains(&changes.len()), "what is there is not made again: {changes:?}");
        for change in &changes {
            assert_eq!((change.operation.as_str(), change.about_id.as_str()), ("administrator.bootstrap", "admin"));
            assert_eq!((change.actor_kind.as_str(), change.user_id), ("system", None));
            assert_eq!((change.status.as_str(), change.before_sha256.is_none()), ("completed", true));
            assert!(change.after_sha256.is_some());
        }
        replica.stop().await;
    }

    #[tokio::test]
    async fn nobody_is_promoted_silently() {
        let world = World::new().await;
        let replica = world.replica().await;
        replica.user("root", &["admin"]).await;
        let user = replica.user("ada", &["user"]).await;
        let bootstrap =
            || bootstrap_administrator(&replica.db, &replica.gate, &world.ambient, "ada", "ada@example.com");
        assert!(matches!(bootstrap().await, Err(BootstrapError::NotAnAdministrator(name)) if name == "ada"));
        let promotion = UserChange { roles: Some(vec!["admin".into()]), ..UserChange::default() };
        replica.identity.users.update(user.id, promotion).await.expect("promotes");
        assert_eq!(bootstrap().await.expect("works").administrator.id, user.id);
        let changes = replica.changes().await;
        assert_eq!(changes.len(), 1, "what was not tried is not recorded: {changes:?}");
        assert!(changes[0].before_sha256.is_some() && changes[0].before_sha256 == changes[0].after_sha256);
        replica.stop().await;
    }
}
