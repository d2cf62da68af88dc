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

    /// Makes a change: the Gate decides and records who makes it, `work` does it, whether or not the client waits for it.
    /// Every handler that changes something goes through here.
    pub(crate) async fn change<T, E, F>(
        &self,
        author: Author,
        change: Change,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, RouteError>
    where
        T: Send + 'static,
        E: Display + Into<RouteError> + Send + 'static,
        F: Future<Output = Result<Changed<T>, E>> + Send + 'static,
    {
        self.gate.change_to_the_end(author.0, change, work).await.map_err(|error| match error {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use systemprompt_governance::{About, Change, Changed, StateDigest};
    use systemprompt_model::Attribution;
    use tokio::sync::Notify;

    use super::{Author, Site};
    use crate::error::StoreError;
    use crate::testing::World;

    #[tokio::test]
    async fn a_change_is_made_and_recorded_although_the_client_hangs_up() {
        let world = World::new().await;
        let replica = world.replica().await;
        let site = Site::new(replica.identity.clone(), Arc::clone(&replica.gate));
        let author = Author(Attribution::system(&world.ambient));
        let (begun, goes_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let work = {
            let (begun, goes_on) = (Arc::clone(&begun), Arc::clone(&goes_on));
            async move || {
                begun.notify_one();
                goes_on.notified().await;
                Ok::<_, StoreError>(Changed { value: (), before: None, after: Some(StateDigest::of(&"made")) })
            }
        };
        let change = Change::new("thing.make", About::new("thing", "slow"), &());
        tokio::select! {
            _ = site.change(author, change, work) => panic!("it waits"),
            // The request's future is dropped here, as when its connection is gone.
            () = begun.notified() => {}
        }
        goes_on.notify_one();
        let made = replica.finished_changes().await;
        assert_eq!((made.len(), made[0].operation.as_str(), made[0].status.as_str()), (1, "thing.make", "completed"));
        assert!(made[0].after_sha256.is_some() && made[0].reason.is_none());
        replica.stop().await;
    }
}
