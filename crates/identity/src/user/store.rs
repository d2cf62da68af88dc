//! The accounts of the installation: created, found, changed and deleted.

use sqlx::PgConnection;
use systemprompt_database::DbPool;
use systemprompt_governance::access::DEPARTMENT;
use systemprompt_model::{Ambient, FieldError, UserId};

use crate::error::{StoreError, violated_constraint};
use crate::user::change::{NewUser, UserChange};
use crate::user::lookup::{Page, UserFilter, UserReference};
use crate::user::{User, UserStatus, queries};
use crate::{api_key, session, stored};

/// The accounts of the installation.
#[derive(Clone)]
pub struct Users {
    pub(super) db: DbPool,
    ambient: Ambient,
}

/// Why an account could not be read, created or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Fields that are not acceptable, all of them.
    #[error("{}", sentence(.0))]
    Invalid(Vec<FieldError>),
    /// Somebody else has the name.
    #[error("the name `{0}` is taken")]
    NameTaken(String),
    /// Somebody else has the address.
    #[error("the address `{0}` is taken")]
    EmailTaken(String),
    /// There is no such user, or it was deleted.
    #[error("there is no user `{0}`")]
    NotFound(String),
    /// The change would leave nobody to administer the installation.
    #[error("`{0}` is the only active administrator; make somebody else one first")]
    LastAdministrator(String),
    /// The database could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for UserError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn sentence(problems: &[FieldError]) -> String {
    problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect::<Vec<_>>().join("; ")
}

impl Users {
    /// The accounts in `db`.
    pub fn new(db: DbPool, ambient: Ambient) -> Self {
        Self { db, ambient }
    }

    /// Creates an active account.
    pub async fn create(&self, new: NewUser) -> Result<User, UserError> {
        let mut transaction = self.db.write().begin().await?;
        let user = create(&mut transaction, &self.ambient, new).await?;
        transaction.commit().await?;
        Ok(user)
    }

    /// The account with this id, deleted ones included.
    pub async fn get(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.find(&UserReference::Id(id)).await
    }

    /// The account a person means. A live one wins over a deleted one that had the same name or address.
    pub async fn find(&self, reference: &UserReference) -> Result<Option<User>, StoreError> {
        queries::find_user(self.db.write(), reference).await
    }

    /// Accounts in the order they were created.
    pub async fn list(&self, filter: &UserFilter, page: Page) -> Result<Vec<User>, StoreError> {
        queries::list_users(self.db.read(), filter, page).await
    }

    /// How many accounts there are.
    pub async fn count(&self, filter: &UserFilter) -> Result<u64, StoreError> {
        let count = queries::count_users(self.db.read(), filter).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// A page of the accounts whose name, address or full name contains `text`, whatever the case.
    pub async fn search(&self, text: &str, page: Page) -> Result<Vec<User>, StoreError> {
        queries::search_users(self.db.read(), text.trim(), page).await
    }

    /// Changes an account. What it may no longer do it may no longer do on its next request, on every replica.
    pub async fn update(&self, id: UserId, change: UserChange) -> Result<User, UserError> {
        let mut transaction = self.db.write().begin().await?;
        let user = changed(&mut transaction, id, |user| change.apply(user).map_err(UserError::Invalid)).await?;
        let user = User { updated_at: stored::now(&self.ambient), ..user };
        queries::update_user(&mut transaction, &user).await.map_err(|error| taken(error, &user))?;
        transaction.commit().await?;
        Ok(user)
    }

    /// Puts an account into a department, or takes it out of the one it is in, and gives the account as it was and as it is.
    pub async fn set_department(&self, id: UserId, department: Option<&str>) -> Result<(User, User), UserError> {
        let now = stored::now(&self.ambient);
        let mut before = None;
        let mut transaction = self.db.write().begin().await?;
        let set = |user: User| {
            let mut attributes = user.attributes.clone();
            match department {
                Some(name) => drop(attributes.insert(DEPARTMENT.to_owned(), name.to_owned())),
                None => drop(attributes.remove(DEPARTMENT)),
            }
            before = Some(user.clone());
            Ok(User { attributes, updated_at: now, ..user })
        };
        let after = changed(&mut transaction, id, set).await?;
        queries::update_user(&mut transaction, &after).await?;
        transaction.commit().await?;
        Ok((before.unwrap_or_else(|| after.clone()), after))
    }

    /// Deletes an account: its keys and sessions are revoked, its name and address are free again. The row stays,
    /// because the ledger refers to it.
    pub async fn delete(&self, id: UserId) -> Result<User, UserError> {
        let now = stored::now(&self.ambient);
        let mut transaction = self.db.write().begin().await?;
        let user =
            changed(&mut transaction, id, |user| Ok(User { status: UserStatus::Deleted, updated_at: now, ..user }))
                .await?;
        queries::update_user(&mut transaction, &user).await?;
        api_key::queries::revoke_api_keys_of(&mut *transaction, id, now).await?;
        session::queries::revoke_sessions_of(&mut *transaction, id, now).await?;
        transaction.commit().await?;
        Ok(user)
    }
}

/// Creates an active account as part of a transaction.
pub(crate) async fn create(connection: &mut PgConnection, ambient: &Ambient, new: NewUser) -> Result<User, UserError> {
    let new = new.normalised().map_err(UserError::Invalid)?;
    let now = stored::now(ambient);
    let user = User {
        id: UserId::generate(ambient),
        name: new.name,
        email: new.email,
        full_name: new.full_name,
        display_name: new.display_name,
        status: UserStatus::Active,
        email_verified: new.email_verified,
        roles: new.roles,
        attributes: new.attributes,
        is_bot: false,
        is_scanner: false,
        avatar_url: None,
        share_token_version: 0,
        created_at: now,
        updated_at: now,
        last_login_at: None,
    };
    queries::insert_user(connection, &user).await.map_err(|error| taken(error, &user))?;
    Ok(user)
}

/// The account after `change`, not yet written, unless that would leave the installation without an administrator.
async fn changed(
    connection: &mut PgConnection,
    id: UserId,
    change: impl FnOnce(User) -> Result<User, UserError>,
) -> Result<User, UserError> {
    let administrators = queries::lock_active_administrators(connection).await?;
    let before = queries::lock_user(connection, id)
        .await?
        .filter(|user| user.status != UserStatus::Deleted)
        .ok_or_else(|| UserError::NotFound(id.to_string()))?;
    let after = change(before)?;
    let administers = after.is_admin() && after.status == UserStatus::Active;
    if administrators == [id] && !administers {
        return Err(UserError::LastAdministrator(after.name));
    }
    Ok(after)
}

fn taken(error: sqlx::Error, user: &User) -> UserError {
    match violated_constraint(&error) {
        Some("users_name_is_unique") => UserError::NameTaken(user.name.clone()),
        Some("users_email_is_unique") => UserError::EmailTaken(user.email.clone()),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn named(name: &str) -> NewUser {
        NewUser { name: name.to_owned(), email: format!("{name}@example.com"), ..NewUser::default() }
    }

    #[tokio::test]
    async fn users_are_created_found_listed_and_counted() {
        let world = World::new().await;
        let replica = world.replica().await;
        let users = &replica.identity.users;
        let ada =
            users.create(NewUser { full_name: Some("Ada Lovelace".into()), ..named("ada") }).await.expect("creates");
        world.clock.advance(chrono::TimeDelta::milliseconds(1));
        let bob = users.create(NewUser { roles: vec!["analyst".into()], ..named("bob_x") }).await.expect("creates");

        for reference in [ada.id.to_string(), "ADA".into(), "Ada@Example.com".into()] {
            let reference = reference.parse().expect("never fails");
            assert_eq!(users.find(&reference).await.expect("reads").as_ref(), Some(&ada), "{reference}");
        }
        assert_eq!(users.get(UserId::generate(&world.ambient)).await.expect("reads"), None);

        let names = async |filter: UserFilter, page| {
            let found = users.list(&filter, page).await.expect("lists");
            found.into_iter().map(|user| user.name).collect::<Vec<_>>()
        };
        let analysts = UserFilter { role: Some("analyst".into()), ..UserFilter::default() };
        assert_eq!(names(UserFilter::default(), Page::default()).await, ["ada", "bob_x"]);
        assert_eq!(names(UserFilter::default(), Page { limit: 1, offset: 1 }).await, ["bob_x"]);
        assert_eq!(names(analysts.clone(), Page::default()).await, ["bob_x"]);
        assert_eq!(users.count(&analysts).await.expect("counts"), 1);

        for (text, expected) in
            [("love", &["ada"][..]), ("b_x", &["bob_x"]), ("EXAMPLE.com", &["ada", "bob_x"]), ("%", &[])]
        {
            let found = users.search(text, Page::default()).await.expect("searches");
            assert_eq!(found.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), expected, "{text}");
        }
        assert_eq!(users.search("example", Page { limit: 1, offset: 0 }).await.expect("searches").len(), 1);
        assert_eq!(users.get(bob.id).await.expect("reads"), Some(bob));
        replica.stop().await;
    }

    #[tokio::test]
    async fn names_and_addresses_are_unique_among_the_living() {
        let world = World::new().await;
        let replica = world.replica().await;
        let users = &replica.identity.users;
        let ada = users.create(named("ada")).await.expect("creates");
        let same_name = NewUser { email: "other@example.com".into(), ..named("ADA") };
        assert!(matches!(users.create(same_name).await, Err(UserError::NameTaken(name)) if name == "ADA"));
        let same_email = NewUser { email: "ADA@example.com".into(), ..named("other") };
        assert!(
            matches!(users.create(same_email).await, Err(UserError::EmailTaken(email)) if email == "ada@example.com")
        );
        assert!(
            matches!(users.create(NewUser::default()).await, Err(UserError::Invalid(problems)) if problems.len() == 2)
        );
        let bob = users.create(named("bob")).await.expect("creates");
        let rename = UserChange { name: Some("Ada".into()), ..UserChange::default() };
        assert!(matches!(users.update(bob.id, rename).await, Err(UserError::NameTaken(_))));

        let key = replica.key(&ada).await;
        replica.session(&ada).await;
        let deleted = users.delete(ada.id).await.expect("deletes");
        assert_eq!(deleted.status, UserStatus::Deleted);
        assert!(matches!(users.delete(ada.id).await, Err(UserError::NotFound(_))));
        assert!(matches!(users.update(ada.id, UserChange::default()).await, Err(UserError::NotFound(_))));
        let keys = replica.identity.api_keys.list(ada.id).await.expect("lists");
        assert_eq!((keys[0].id, keys[0].revoked_at.is_some()), (key.key.id, true));
        let sessions = session::store::recent_sessions(&replica.db, ada.id, 10).await.expect("lists");
        assert!(sessions.len() == 1 && sessions[0].revoked_at.is_some());
        assert_eq!(users.count(&UserFilter::default()).await.expect("counts"), 1);

        let again = users.create(named("ada")).await.expect("the name is free again");
        let found = users.find(&UserReference::Name("ada".into())).await.expect("reads").expect("is there");
        assert_eq!(found.id, again.id, "the living one is meant");
        replica.stop().await;
    }

    #[tokio::test]
    async fn a_change_leaves_the_rest_alone() {
        let world = World::new().await;
        let replica = world.replica().await;
        let users = &replica.identity.users;
        let ada = users.create(NewUser { email_verified: true, ..named("ada") }).await.expect("creates");
        world.clock.advance(chrono::TimeDelta::seconds(1));
        let same_email = UserChange { email: Some(" ADA@example.com".into()), ..UserChange::default() };
        let changed = users.update(ada.id, same_email).await.expect("changes");
        assert!(changed.email_verified);
        assert_eq!(changed, User { updated_at: world.ambient.now(), ..ada.clone() });

        let change = UserChange {
            email: Some("lovelace@example.com".into()),
            display_name: Some("Ada".into()),
            ..UserChange::default()
        };
        let changed = users.update(ada.id, change).await.expect("changes");
        assert!(!changed.email_verified, "the new address is not proved");
        assert_eq!(users.get(ada.id).await.expect("reads"), Some(changed));
        let deleted = UserChange { status: Some(UserStatus::Deleted), ..UserChange::default() };
        assert!(matches!(users.update(ada.id, deleted).await, Err(UserError::Invalid(_))));
        replica.stop().await;
    }

    #[tokio::test]
    async fn somebody_administers_the_installation_at_all_times() {
        let world = World::new().await;
        let replica = world.replica().await;
        let users = &replica.identity.users;
        let root = replica.user("root", &["admin", "user"]).await;
        let status = UserChange { status: Some(UserStatus::Suspended), ..UserChange::default() };
        let roles = UserChange { roles: Some(vec!["user".into()]), ..UserChange::default() };
        let refused = |result: Result<User, UserError>| matches!(result, Err(UserError::LastAdministrator(name)) if name == "root");
        assert!(refused(users.update(root.id, status.clone()).await));
        assert!(refused(users.update(root.id, roles.clone()).await));
        assert!(refused(users.delete(root.id).await));

        let other = replica.user("other", &["admin"]).await;
        let (one, two) = tokio::join!(users.delete(root.id), users.update(other.id, roles));
        assert!(one.is_ok() != two.is_ok(), "one of two at once is refused: {one:?}, {two:?}");
        replica.stop().await;
    }
}
