//! The endpoints: who may ask for what, the handlers, the errors.

use serde::Deserialize;
use systemprompt::axum::Json;
use systemprompt::axum::extract::{Path, State};
use systemprompt::axum::http::StatusCode;
use systemprompt::extension::prelude::*;
use systemprompt::schemars::{self, JsonSchema};
use systemprompt::sqlx;

use crate::store::WriteError;
use crate::{Note, Store};

/// The permission to write and delete notes.
pub(crate) const WRITE: &str = "notes.write";

/// For people of the team; the server has established who they are and what they may.
pub(crate) fn team() -> RouteTable<Arc<Store>> {
    RouteTable::new()
        .get("/", Access::User, "The caller's notes.", list)
        .answers::<Vec<Note>>(200)
        .post("/", Access::Permission(WRITE), "Writes a note.", write)
        .takes::<NewNote>()
        .answers::<Note>(201)
        .delete("/{id}", Access::User, "Deletes a note of the caller.", remove)
        .answers_bare(204)
}

/// For everyone.
pub(crate) fn board() -> RouteTable<Arc<Store>> {
    RouteTable::new().get("/", Access::Public, "The newest pinned notes.", pinned).answers::<Vec<Note>>(200)
}

#[derive(Deserialize, JsonSchema)]
struct NewNote {
    text: String,
    #[serde(default)]
    pinned: bool,
}

async fn list(AuthUser(caller): AuthUser, State(store): State<Arc<Store>>) -> ApiResult<Json<Vec<Note>>, NoteError> {
    Ok(Json(store.by_author(caller.user_id).await.map_err(NoteError::from)?))
}

async fn write(
    AuthUser(caller): AuthUser,
    State(store): State<Arc<Store>>,
    Json(new): Json<NewNote>,
) -> ApiResult<(StatusCode, Json<Note>), NoteError> {
    let note = store.write(caller.user_id, &new.text, new.pinned).await.map_err(NoteError::from)?;
    Ok((StatusCode::CREATED, Json(note)))
}

async fn remove(
    AuthUser(caller): AuthUser,
    State(store): State<Arc<Store>>,
    Path(id): Path<i64>,
) -> ApiResult<StatusCode, NoteError> {
    if store.delete(caller.user_id, id).await.map_err(NoteError::from)? {
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
            Self::Refused(_) => "NOTE_REFUSED",
            Self::Database(_) => "NOTE_DATABASE",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
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
            Self::NotFound => self.to_string(),
        }
    }
}
