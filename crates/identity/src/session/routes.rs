//! Sessions for clients that name them.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::USER_AGENT;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::json;
use systemprompt_extension::{Access, RouteTable};
use systemprompt_governance::{About, Change, Changed, StateDigest};
use systemprompt_model::{Credential, SessionId};

use crate::change::{Author, Site};
use crate::error::StoreError;
use crate::route_error::{Failure, RouteError};
use crate::session::{NewSession, SessionSource};

const PATH: &str = "/api/public/gateway/sessions";

/// The routes of this file, added to others.
pub(crate) fn add_to(table: RouteTable<Site>) -> RouteTable<Site> {
    table.post(PATH, Access::Authenticated, "Opens a session, to be named in `x-session-id`.", open_session)
}

#[derive(Debug, Serialize)]
struct NewSessionAnswer {
    session_id: SessionId,
}

/// Opens a session that the holder of an API key then names in `x-session-id`. A token has one already.
async fn open_session(State(site): State<Site>, author: Author, headers: HeaderMap) -> Result<Response, Failure> {
    let (user, credential) = (author.0.principal.user_id, &author.0.principal.credential);
    let Credential::ApiKey(key) = *credential else { return Err(Failure::new(RouteError::TokenHasSession)) };
    let user_agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let client = user_agent.and_then(|agent| agent.split(['/', ' ']).next());
    let new = NewSession { client, user_agent, api_key: Some(key), ..NewSession::new(user, SessionSource::Api) };
    let request = json!({"source": SessionSource::Api});
    let change = Change::new("session.open", About::new("user", user), &request).or_own(user);
    let open = async || {
        let session = site.identity.sessions.open(new).await?;
        let after = Some(StateDigest::of(&session));
        Ok::<_, StoreError>(Changed { value: session, before: None, after })
    };
    let session = site.change(author, change, open).await.map_err(Failure::new)?;
    Ok((StatusCode::CREATED, Json(NewSessionAnswer { session_id: session.id })).into_response())
}

#[cfg(test)]
mod tests {
    use http::Method;
    use systemprompt_model::SessionId;

    use super::PATH;
    use crate::session::hint::SessionHint;
    use crate::testing::World;

    #[tokio::test]
    async fn a_client_opens_a_session_and_names_it() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let key = replica.key(&user).await.secret;
        let sessions = (Method::POST, PATH);
        let (status, answer) = replica.send(sessions.clone(), &key, None).await;
        assert_eq!(status, 201, "{answer}");
        let id: SessionId = answer["session_id"].as_str().expect("an id").parse().expect("a session id");
        let principal = replica.authenticate(&key).await.expect("is accepted");
        let hint = SessionHint { explicit: Some(id), required: true, ..SessionHint::default() };
        assert_eq!(replica.identity.sessions.bind(&principal, hint).await, Ok(id));
        let stored = replica.identity.sessions.get(id).await.expect("reads").expect("is there");
        assert_eq!(stored.client_id.as_deref(), Some("sdk"));

        let token = replica.token(&user, "user").await.token;
        assert_eq!(replica.send(sessions, &token, None).await.0, 403);
        let changes = replica.changes().await;
        assert_eq!(changes.len(), 1, "the token was told no before there was anything to decide: {changes:?}");
        assert_eq!((changes[0].operation.as_str(), changes[0].user_id), ("session.open", Some(user.id)));
        assert_eq!((changes[0].status.as_str(), changes[0].after_sha256.is_some()), ("completed", true));
        replica.stop().await;
    }
}
