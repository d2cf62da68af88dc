//! The built-in webhook: answers what authorizers are asked, by the access rules alone. For another installation, or another
//! program of the house, that wants to decide by the rules of this one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use systemprompt_extension::api::{ApiResult, ExtensionError};
use systemprompt_extension::authorizer::AuthorizationRequest;
use systemprompt_extension::{Access, PermissionDef, RouteTable};

use crate::access::{AccessDecision, AccessRules, Told, Unavailable, Untold};

/// What is mounted.
pub(crate) const PREFIXES: &[&str] = &["/api/public/govern"];
/// Who may ask, besides services and administrators.
const AUTHORIZE: &str = "governance.authorize";

/// The permission.
pub(crate) fn permission() -> PermissionDef {
    PermissionDef::new(AUTHORIZE, "Ask whether accounts may use something, as an authorizer is asked")
        .default_roles(&["service"])
}

/// The endpoint.
pub(crate) fn table() -> RouteTable<Arc<AccessRules>> {
    RouteTable::new()
        .post(
            "/api/public/govern/authz",
            Access::Scopes(&["service", AUTHORIZE]),
            "Whether an account may use something, by the access rules; what authorizers are asked and answer.",
            authorize,
        )
        .takes::<AuthorizationRequest>()
        .answers::<AuthorizationAnswer>(200)
}

/// What an authorizer answers.
#[derive(Debug, Serialize, JsonSchema)]
struct AuthorizationAnswer {
    /// `allow` or `deny`.
    decision: &'static str,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<AnsweredReason>,
    /// What decided: `authz_rule_based` or `authz_default_deny`.
    policy: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
struct AnsweredReason {
    /// `user_deny`, `attribute_deny`, `role_deny`, `not_assigned` or `unknown_entity`.
    kind: &'static str,
    /// In words.
    message: String,
}

async fn authorize(
    State(rules): State<Arc<AccessRules>>,
    request: Result<Json<AuthorizationRequest>, JsonRejection>,
) -> ApiResult<Json<AuthorizationAnswer>, RouteError> {
    let Json(request) = request.map_err(|rejection| RouteError::Body(rejection.body_text()))?;
    let AuthorizationRequest { entity, user_id, roles, attributes, .. } = &request;
    // Whoever may ask is believed.
    let told = Told { user_id: *user_id, roles, attributes };
    let decision = rules.decide_told(&told, entity.kind, &entity.id).await.map_err(RouteError::from)?;
    Ok(Json(match decision {
        AccessDecision::Allowed(_) => {
            AuthorizationAnswer { decision: "allow", reason: None, policy: "authz_rule_based" }
        }
        AccessDecision::Denied(why) => AuthorizationAnswer {
            decision: "deny",
            policy: if why.is_by_rule() { "authz_rule_based" } else { "authz_default_deny" },
            reason: Some(AnsweredReason { kind: why.kind(), message: why.to_string() }),
        },
    }))
}

#[derive(Debug, thiserror::Error)]
enum RouteError {
    #[error("{0}")]
    Body(String),
    #[error("access rules cannot be read at present")]
    Unavailable(#[source] Unavailable),
    #[error("{0}, and what the rules say depends on it")]
    Untold(#[source] Untold),
}

impl From<Unavailable> for RouteError {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::Untold(untold) => Self::Untold(untold),
            error => Self::Unavailable(error),
        }
    }
}

impl ExtensionError for RouteError {
    fn code(&self) -> &'static str {
        match self {
            Self::Body(_) => "AUTHORIZATION_REQUEST_INVALID",
            Self::Unavailable(_) | Self::Untold(_) => "ACCESS_RULES_UNAVAILABLE",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable(_) | Self::Untold(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Untold(_))
    }
}
