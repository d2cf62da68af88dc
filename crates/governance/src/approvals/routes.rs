//! Approvals over HTTP: for administrators, and for those whose roles decide.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_extension::api::{ApiResult, ExtensionError, OnBehalfOf};
use systemprompt_extension::{Access, RouteTable};
use systemprompt_model::{ApprovalId, Principal};

use super::store::Approvals;
use super::{Approval, ApprovalError, Decider, Resolution, change_of};
use crate::administer::ChangeError;
use crate::denial::Refusal;
use crate::gate::Gate;

/// What is mounted.
pub(crate) const PREFIXES: &[&str] = &["/api/public/admin/governance"];

/// What the routes work with.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) gate: Arc<Gate>,
}

/// The endpoints.
pub(crate) fn table() -> RouteTable<Desk> {
    RouteTable::new()
        .get(
            "/api/public/admin/governance/approvals",
            Access::User,
            "The calls that wait for a second person or did, the newest first; `state` and `limit` in the query. All of them \
             for administrators, and for others those that are theirs to decide about.",
            list,
        )
        .answers::<Listed>(200)
        .get("/api/public/admin/governance/approvals/{id}", Access::User, "One of them.", show)
        .answers::<Approval>(200)
        .post(
            "/api/public/admin/governance/approvals/{id}/approve",
            Access::User,
            "Approves a call that somebody else asked for; then it passes.",
            approve,
        )
        .takes::<Note>()
        .answers::<Approval>(200)
        .post(
            "/api/public/admin/governance/approvals/{id}/deny",
            Access::User,
            "Denies a call that somebody else asked for.",
            deny,
        )
        .takes::<Note>()
        .answers::<Approval>(200)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    state: Option<String>,
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct Listed {
    /// What was found.
    approvals: Vec<Approval>,
}

/// Why it is decided so.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Note {
    /// In words, for whoever asked.
    note: Option<String>,
}

async fn list(
    State(desk): State<Desk>,
    OnBehalfOf(by): OnBehalfOf,
    Query(which): Query<Which>,
) -> ApiResult<Json<Listed>, RouteError> {
    let principal = &by.principal;
    let roles = (!principal.is_admin()).then_some(principal.roles.as_slice());
    let approvals = desk.approvals.list(which.state.as_deref(), roles, which.limit.unwrap_or(100).min(1000)).await;
    let approvals = approvals.map_err(RouteError::from)?;
    Ok(Json(Listed { approvals }))
}

async fn show(
    State(desk): State<Desk>,
    OnBehalfOf(by): OnBehalfOf,
    Path(id): Path<String>,
) -> ApiResult<Json<Approval>, RouteError> {
    Ok(Json(desk.find(&by.principal, parsed(&id)?).await?))
}

async fn approve(
    State(desk): State<Desk>,
    by: OnBehalfOf,
    Path(id): Path<String>,
    note: Option<Json<Note>>,
) -> ApiResult<Json<Approval>, RouteError> {
    desk.decide(by, &id, Resolution::Approve, note).await
}

async fn deny(
    State(desk): State<Desk>,
    by: OnBehalfOf,
    Path(id): Path<String>,
    note: Option<Json<Note>>,
) -> ApiResult<Json<Approval>, RouteError> {
    desk.decide(by, &id, Resolution::Deny, note).await
}

impl Desk {
    /// One of those that this person may see.
    async fn find(&self, principal: &Principal, id: ApprovalId) -> Result<Approval, RouteError> {
        let approval = self.approvals.find(id).await?;
        if principal.is_admin() || approval.is_for(principal) { Ok(approval) } else { Err(RouteError::NotYours) }
    }

    async fn decide(
        &self,
        OnBehalfOf(by): OnBehalfOf,
        id: &str,
        resolution: Resolution,
        note: Option<Json<Note>>,
    ) -> ApiResult<Json<Approval>, RouteError> {
        let id = parsed(id)?;
        let note = note.and_then(|Json(note)| note.note);
        let decider = Decider { user: by.principal.account(), name: by.principal.user_name.clone() };
        let approval = self.find(&by.principal, id).await?;
        let change = change_of(&approval, resolution, note.as_deref());
        let approvals = Arc::clone(&self.approvals);
        let work = async move || approvals.decide(id, resolution, &decider, note.as_deref()).await;
        let decided = self.gate.change_to_the_end(by, change, work).await.map_err(|error| match error {
            ChangeError::Refused(refusal) => RouteError::Refused(refusal),
            ChangeError::Failed(error) => RouteError::Approval(error),
        })?;
        Ok(Json(decided))
    }
}

fn parsed(id: &str) -> Result<ApprovalId, RouteError> {
    id.parse().map_err(|_| RouteError::NoId(id.chars().take(80).collect()))
}

#[derive(Debug, thiserror::Error)]
enum RouteError {
    #[error("there is no approval `{0}`")]
    NoId(String),
    #[error("this approval is not for you to see: you are no administrator, and have none of the roles that decide")]
    NotYours,
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    #[error(transparent)]
    Refused(Refusal),
}

impl ExtensionError for RouteError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoId(_) | Self::Approval(ApprovalError::Unknown(_)) => "APPROVAL_NOT_FOUND",
            Self::Approval(ApprovalError::NotPending { .. }) => "APPROVAL_NOT_PENDING",
            Self::Approval(ApprovalError::Own) => "APPROVAL_OWN",
            Self::Approval(ApprovalError::Database(_)) => "APPROVALS_UNAVAILABLE",
            Self::NotYours => "APPROVAL_NOT_YOURS",
            Self::Refused(_) => "APPROVAL_REFUSED",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoId(_) | Self::Approval(ApprovalError::Unknown(_)) => StatusCode::NOT_FOUND,
            Self::Approval(ApprovalError::NotPending { .. }) => StatusCode::CONFLICT,
            Self::NotYours | Self::Approval(ApprovalError::Own) | Self::Refused(Refusal::Denied(_)) => {
                StatusCode::FORBIDDEN
            }
            Self::Approval(ApprovalError::Database(_)) | Self::Refused(Refusal::LedgerUnavailable) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}
