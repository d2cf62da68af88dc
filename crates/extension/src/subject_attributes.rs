//! What extensions know of people that access rules can be about.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use systemprompt_model::UserId;

pub use crate::gateway::Fault;
pub use ::async_trait::async_trait;

/// Knows the values of a dimension for each account: the clearances somebody has, the projects somebody works on. One value
/// for each process, asked by many tasks at once.
///
/// Access rules may be about the values, as they may be about departments, and authorizers are told them. If an account's
/// values cannot be got within two seconds, what a rule about the dimension might decide is refused.
///
/// ```
/// use systemprompt_extension::subject_attributes::{Fault, SubjectAttributes, async_trait};
/// use systemprompt_model::UserId;
///
/// /// Which projects somebody works on.
/// struct Projects;
///
/// #[async_trait]
/// impl SubjectAttributes for Projects {
///     async fn values_for(&self, pool: &sqlx::PgPool, user: UserId) -> Result<Vec<String>, Fault> {
///         let projects = sqlx::query_scalar("SELECT project FROM staffing WHERE user_id = $1")
///             .bind(user.as_uuid())
///             .fetch_all(pool)
///             .await?;
///         Ok(projects)
///     }
/// }
/// ```
#[async_trait]
pub trait SubjectAttributes: Send + Sync {
    /// The values this account has now; none is an answer.
    async fn values_for(&self, pool: &PgPool, user: UserId) -> Result<Vec<String>, Fault>;
}

/// A dimension an extension knows the values of. Commands ask as the server does, so it is there without one.
#[derive(Clone)]
pub struct SubjectAttributesDef {
    /// The type of rules about it: a lower-case letter, then those, digits and `_`.
    pub dimension: &'static str,
    /// What it is, in a sentence.
    pub description: &'static str,
    /// The values it can have, if that is known beforehand: a rule about another one is an error then.
    pub values: Option<&'static [&'static str]>,
    /// How long values count that were told.
    pub fresh: Duration,
    /// Who knows the values.
    pub provider: Arc<dyn SubjectAttributes>,
}

/// How long values count unless the extension says otherwise.
const FRESH: Duration = Duration::from_secs(30);

impl SubjectAttributesDef {
    /// The dimension of this name, whose values `provider` knows.
    pub fn new(dimension: &'static str, description: &'static str, provider: impl SubjectAttributes + 'static) -> Self {
        Self { dimension, description, values: None, fresh: FRESH, provider: Arc::new(provider) }
    }

    /// The same, where nobody has other values than these.
    #[must_use]
    pub fn one_of(self, values: &'static [&'static str]) -> Self {
        Self { values: Some(values), ..self }
    }

    /// The same, where values that were told count for this long instead of half a minute. With no time at all it is asked
    /// for every decision that depends on them.
    #[must_use]
    pub fn fresh_for(self, fresh: Duration) -> Self {
        Self { fresh, ..self }
    }
}

impl fmt::Debug for SubjectAttributesDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectAttributesDef").field("dimension", &self.dimension).finish_non_exhaustive()
    }
}
