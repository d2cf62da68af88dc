use serde::Deserialize;
use systemprompt::axum::extract::{Path, State};
use systemprompt::axum::http::StatusCode;
use systemprompt::axum::routing::{delete, get};
use systemprompt::axum::{Json, Router};
use systemprompt::extension::Grants;
use systemprompt::extension::prelude::*;
use systemprompt::sqlx;

use crate::extension::WRITE;
use crate::store::WriteError;
use crate::{Note, Store};

#[derive(Clone)]
struct Team {
    store: Arc<Store>,
    grants: Arc<Grants>,
}

/// For people of the team; the server has established who they are.
pub(crate) fn team(store: Arc<Store>, grants: Arc<Grants>) -> Router {
    Router::new().route("/", get(list).post(write)).route("/{id}", delete(remove)).with_state(Team { store, grants })
}

/// For everyone.
pub(crate) fn board(store: Arc<Store>) -> Router {
    Router::new().route("/", get(pinned)).with_state(store)
}

#[derive(Deserialize)]
struct NewNote {
    text: String,
    #[serde(default)]
    pinned: bool,
}

async fn list(AuthUser(caller): AuthUser, State(team): State<Team>) -> ApiResult<Json<Vec<Note>>, NoteError> {
    Ok(Json(team.store.by_author(caller.user_id).await.map_err(NoteError::from)?))
}

async fn write(
    AuthUser(caller): AuthUser,
    State(team): State<Team>,
    Json(new): Json<NewNote>,
) -> ApiResult<(StatusCode, Json<Note>), NoteError> {
    if !caller.is_admin() && !team.grants.allow(&caller.roles, WRITE) {
        return Err(NoteError::MayNotWrite.into());
    }
    let note = team.store.write(caller.user_id, &new.text, new.pinned).await.map_err(NoteError::from)?;
    Ok((StatusCode::CREATED, Json(note)))
}

async fn remove(
    AuthUser(caller): AuthUser,
    State(team): State<Team>,
    Path(id): Path<i64>,
) -> ApiResult<StatusCode, NoteError> {
    if team.store.delete(caller.user_id, id).await.map_err(NoteError::from)? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(NoteError::NotFound.into())
    }
}

async fn pinned(State(store): State<Arc<Store>>) -> ApiResult<Json<Vec<Note>>, NoteError> {
    Ok(Json(store.pinned().await.map_err(NoteError::from)?))
}

#[derive(Debug, thiserror::Error)]
enum NoteError {
    #[error("you have no such note")]
    NotFound,
    #[error("writing notes needs the permission `{WRITE}`")]
    MayNotWrite,
    #[error("the note was not written")]
    Refused(#[source] WriteError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl From<WriteError> for NoteError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Database(error) => Self::Database(error),
            refused => Self::Refused(refused),
        }
    }
}

impl ExtensionError for NoteError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOTE_NOT_FOUND",
            Self::MayNotWrite => "NOTE_MAY_NOT_WRITE",
            Self::Refused(_) => "NOTE_REFUSED",
            Self::Database(_) => "NOTE_DATABASE",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MayNotWrite => StatusCode::FORBIDDEN,
            Self::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn is_retryable(&self) -> bool {
        matches!(self, Self::Database(_))
    }

    fn user_message(&self) -> String {
        match self {
            Self::Refused(reason) => reason.to_string(),
            Self::Database(_) => "Notes cannot be reached at the moment.".to_owned(),
            other => other.to_string(),
        }
    }
}
