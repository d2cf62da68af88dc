//! Changes made over HTTP: who makes them, and the one way to the Gate.

use std::fmt::Display;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::USER_AGENT;
use http::request::Parts;
use systemprompt_extension::api::{AuthUser, ErrorAnswer};
use systemprompt_governance::{Change, ChangeError, Changed, Gate};
use systemprompt_model::{ActorChain, Attribution, Client, Credential, TraceId};

use crate::identity::Identity;
use crate::route_error::RouteError;

/// What the routes of this crate work with.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) identity: Identity,
    gate: Arc<Gate>,
}

impl Site {
    pub(crate) fn new(identity: Identity, gate: Arc<Gate>) -> Self {
        Self { identity, gate }
    }

    /// Makes a change: the Gate decides and records who makes it, `work` does it. Every handler that changes something goes
    /// through here.
    pub(crate) async fn change<T, E: Display + Into<RouteError>>(
        &self,
        author: Author,
        change: Change,
        work: impl AsyncFnOnce() -> Result<Changed<T>, E>,
    ) -> Result<T, RouteError> {
        self.gate.change(author.0, change, work).await.map_err(|error| match error {
            ChangeError::Refused(refusal) => RouteError::Refused(refusal),
            ChangeError::Failed(error) => error.into(),
        })
    }
}

/// Whoever makes a change: the caller whom the server let in, and what is known of the request.
#[derive(Debug)]
pub(crate) struct Author(pub(crate) Attribution);

impl FromRequestParts<Site> for Author {
    type Rejection = ErrorAnswer;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, ErrorAnswer> {
        let AuthUser(principal) = AuthUser::from_request_parts(parts, site).await?;
        let session = match principal.credential {
            Credential::Token { session, .. } => Some(session),
            _ => None,
        };
        let trace = parts.extensions.get::<TraceId>().copied();
        let name = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Self(Attribution {
            actors: ActorChain::user(principal.user_id),
            principal,
            session,
            context: None,
            task: None,
            trace: trace.unwrap_or_else(|| TraceId::generate(site.identity.authenticator.ambient())),
            client: Some(Client { name, trace: None }),
        }))
    }
}
