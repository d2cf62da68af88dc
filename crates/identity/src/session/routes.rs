//! Sessions for clients that name them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::USER_AGENT;
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
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
    table
        .post(PATH, Access::User, "Opens a session, to be named in `x-session-id`.", open_session)
        .answers::<NewSessionAnswer>(201)
}

#[derive(Debug, Serialize, JsonSchema)]
struct NewSessionAnswer {
    /// What to name.
    session_id: SessionId,
}

/// Opens a session that the holder of an API key then names in `x-session-id`. A token has one already.
async fn open_session(State(site): State<Site>, author: Author, headers: HeaderMap) -> Result<Response, Failure> {
    let (user, credential) = (author.0.principal.user_id, &author.0.principal.credential);
    let Credential::ApiKey(key) = *credential else { return Err(Failure::new(RouteError::TokenHasSession)) };
    let user_agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let client = user_agent.and_then(|agent| agent.split(['/', ' ']).next());
    let request = json!({"source": SessionSource::Api});
    let change = Change::new("session.open", About::new("user", user), &request).or_own(user);
    let sessions = Arc::clone(&site.identity.sessions);
    let (client, agent) = (client.map(str::to_owned), user_agent.map(str::to_owned));
    let open = async move || {
        let new = NewSession {
            client: client.as_deref(),
            user_agent: agent.as_deref(),
            api_key: Some(key),
            ..NewSession::new(user, SessionSource::Api)
        };
        let session = sessions.open(new).await?;
        let after = Some(StateDigest::of(&session));
        Ok::<_, StoreError>(Changed { value: session, before: None, after })
    };
    let session = site.change(author, change, open).await.map_err(Failure::new)?;
    Ok((StatusCode::CREATED, Json(NewSessionAnswer { session_id: session.id })).into_response())
}
