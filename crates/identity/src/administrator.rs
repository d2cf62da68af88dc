//! The administrator of the installation, and his first API key.

use systemprompt_database::DbPool;
use systemprompt_model::Ambient;

use crate::api_key::IssuedKey;
use crate::api_key::store::ApiKeyError;
use crate::error::StoreError;
use crate::user::change::NewUser;
use crate::user::lookup::UserReference;
use crate::user::store::UserError;
use crate::user::{ADMIN_ROLE, USER_ROLE, User, UserStatus};
use crate::{api_key, user};

/// Name of the first key, for lists.
const FIRST_KEY: &str = "first key";

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
/// or neither, however often and by however many replicas at once it is called.
pub async fn bootstrap_administrator(
    db: &DbPool,
    ambient: &Ambient,
    name: &str,
    email: &str,
) -> Result<Bootstrap, BootstrapError> {
    let mut transaction = db.write().begin().await?;
    user::queries::lock_bootstrap(&mut *transaction).await?;
    let by_name = UserReference::Name(name.trim().to_owned());
    let found =
        user::queries::find_user(&mut *transaction, &by_name).await?.filter(|user| user.status != UserStatus::Deleted);
    let administrator = match found {
        Some(user) if user.is_admin() && user.status == UserStatus::Active => user,
        Some(user) => return Err(BootstrapError::NotAnAdministrator(user.name)),
        None => {
            let new = NewUser {
                name: name.to_owned(),
                email: email.to_owned(),
                roles: vec![ADMIN_ROLE.to_owned(), USER_ROLE.to_owned()],
                ..NewUser::default()
            };
            user::store::create(&mut transaction, ambient, new).await?
        }
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
        let bootstrap = || bootstrap_administrator(&replica.db, &world.ambient, "admin", "admin@localhost");
        let (one, other) = tokio::join!(bootstrap(), bootstrap());
        let (one, other) = (one.expect("works"), other.expect("works"));
        assert_eq!(one.administrator, other.administrator);
        assert!(one.administrator.is_admin());
        let keys: Vec<_> = [one.key, other.key].into_iter().flatten().collect();
        assert_eq!(keys.len(), 1, "one of two at once issues the key");
        assert!(replica.authenticate(&keys[0].secret).await.expect("is accepted").is_admin());

        replica.identity.api_keys.revoke(keys[0].key.id).await.expect("revokes");
        assert!(bootstrap().await.expect("works").key.is_none(), "a revoked key is not replaced");
        replica.stop().await;
    }

    #[tokio::test]
    async fn nobody_is_promoted_silently() {
        let world = World::new().await;
        let replica = world.replica().await;
        replica.user("root", &["admin"]).await;
        let user = replica.user("ada", &["user"]).await;
        let bootstrap = || bootstrap_administrator(&replica.db, &world.ambient, "ada", "ada@example.com");
        assert!(matches!(bootstrap().await, Err(BootstrapError::NotAnAdministrator(name)) if name == "ada"));
        let promotion = UserChange { roles: Some(vec!["admin".into()]), ..UserChange::default() };
        replica.identity.users.update(user.id, promotion).await.expect("promotes");
        assert_eq!(bootstrap().await.expect("works").administrator.id, user.id);
        replica.stop().await;
    }
}
