//! Where the keys are.

use systemprompt_database::DbPool;
use systemprompt_identity::ApiKeys;

use crate::project::Invocation;

/// The keys of a database.
pub(super) fn keys(invocation: &Invocation, db: &DbPool) -> ApiKeys {
    ApiKeys::new(db.clone(), invocation.ambient.clone())
}
