//! Guards: extensions that may refuse a request to a model.

use async_trait::async_trait;
use sqlx::PgPool;
use systemprompt_model::{Principal, UserId};

use super::Fault;
use crate::made::Made;

/// May refuse requests to models. One value for each server.
///
/// Guards are asked after quotas and before the policies, in load order; the first that refuses decides, and what had been set
/// aside in quotas is given back. The decision is recorded under the guard's name. One that fails, panics or does not answer in
/// time refuses too, unless `services/governance/config.yaml` says otherwise.
///
/// ```
/// use systemprompt_extension::gateway::{
///     GatewayDenyReason, GatewayGuardRequest, GatewayRequestGuard, GuardError, async_trait,
/// };
///
/// /// Who has not signed gets nothing.
/// struct Signed;
///
/// #[async_trait]
/// impl GatewayRequestGuard for Signed {
///     async fn check(
///         &self,
///         pool: &sqlx::PgPool,
///         request: &GatewayGuardRequest<'_>,
///     ) -> Result<(), GuardError> {
///         let signed: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM notes_signatures WHERE user_id = $1)")
///             .bind(request.user_id().as_uuid())
///             .fetch_one(pool)
///             .await?;
///         if signed {
///             return Ok(());
///         }
///         Err(GatewayDenyReason::forbidden("sign the terms of use at https://example.com/terms first").into())
///     }
/// }
/// ```
#[async_trait]
pub trait GatewayRequestGuard: Send + Sync {
    /// Lets the request pass, or says why not.
    async fn check(&self, pool: &PgPool, request: &GatewayGuardRequest<'_>) -> Result<(), GuardError>;
}

/// A guard an extension brings.
pub type GatewayGuardDef = Made<dyn GatewayRequestGuard>;

/// A request to a model, as guards see it.
#[derive(Debug, Clone, Copy)]
pub struct GatewayGuardRequest<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The model, by its configured name.
    pub model: &'a str,
    /// The route it takes.
    pub route_id: &'a str,
    /// The provider it goes to first.
    pub provider: &'a str,
    /// Whether the answer is wanted as a stream.
    pub streaming: bool,
}

impl GatewayGuardRequest<'_> {
    /// The account that asks.
    pub fn user_id(&self) -> UserId {
        self.principal.user_id
    }
}

/// Why a guard does not let a request pass.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// It refuses.
    #[error("{}", .0.message)]
    Denied(GatewayDenyReason),
    /// It cannot say.
    #[error("the guard failed")]
    Failed(#[source] Fault),
}

impl From<GatewayDenyReason> for GuardError {
    fn from(reason: GatewayDenyReason) -> Self {
        Self::Denied(reason)
    }
}

impl From<sqlx::Error> for GuardError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Why a guard refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayDenyReason {
    /// A sentence for the caller and the record. Never holds any part of what is asked.
    pub message: String,
    /// After how many seconds trying again may help.
    pub retry_after_seconds: Option<u64>,
    /// What kind of no it is.
    pub kind: GatewayDenyKind,
}

/// The kinds of no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GatewayDenyKind {
    /// Too much in too short a time: 429.
    Quota,
    /// The caller may not: 403.
    Forbidden,
}

impl GatewayDenyReason {
    /// The caller may not.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry_after_seconds: None, kind: GatewayDenyKind::Forbidden }
    }

    /// The caller has used up what it may, and may again after so many seconds.
    pub fn quota(message: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self { message: message.into(), retry_after_seconds: Some(retry_after_seconds), kind: GatewayDenyKind::Quota }
    }
}
