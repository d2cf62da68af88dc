//! The SQL, behind a service the extension provides.

use serde::Serialize;
use systemprompt::database::DbPool;
use systemprompt::identifiers::UserId;
use systemprompt::models::Ambient;
use systemprompt::schemars::{self, JsonSchema};
use systemprompt::sqlx;

use crate::Settings;

/// The notes of the team. Published as a service, so that other extensions can read and write notes too.
pub struct Store {
    db: DbPool,
    ambient: Ambient,
    settings: Settings,
}

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Note {
    /// Its number.
    pub id: i64,
    /// What it says.
    pub text: String,
    /// Whether everyone sees it.
    pub pinned: bool,
}

/// A note as the queries select it: `id, text, pinned`.
type Row = (i64, String, bool);

impl From<Row> for Note {
    fn from((id, text, pinned): Row) -> Self {
        Self { id, text, pinned }
    }
}

/// Why a note was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("the text is longer than {0} characters")]
    TooLong(usize),
    #[error("the text is empty")]
    Empty,
    #[error("the text contains a word this team does not use")]
    ForbiddenWord,
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Store {
    pub(crate) fn new(db: DbPool, ambient: Ambient, settings: Settings) -> Self {
        Self { db, ambient, settings }
    }

    pub(crate) async fn write(&self, author: UserId, text: &str, pinned: bool) -> Result<Note, WriteError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(WriteError::Empty);
        }
        if text.chars().count() > self.settings.max_length {
            return Err(WriteError::TooLong(self.settings.max_length));
        }
        let lower = text.to_lowercase();
        if self.settings.forbidden_words.iter().any(|word| lower.contains(word)) {
            return Err(WriteError::ForbiddenWord);
        }
        let row: Row = sqlx::query_as(
            "INSERT INTO notes (author, text, pinned, created_at)
             VALUES ($1, $2, $3, $4)
             RETURNING id, text, pinned",
        )
        .bind(author.as_uuid())
        .bind(text)
        .bind(pinned)
        .bind(self.ambient.now())
        .fetch_one(self.db.write())
        .await?;
        Ok(row.into())
    }

    /// The notes of one author, the newest first.
    pub async fn by_author(&self, author: UserId) -> Result<Vec<Note>, sqlx::Error> {
        let rows: Vec<Row> =
            sqlx::query_as("SELECT id, text, pinned FROM notes WHERE author = $1 ORDER BY id DESC LIMIT 200")
                .bind(author.as_uuid())
                .fetch_all(self.db.read())
                .await?;
        Ok(rows.into_iter().map(Note::from).collect())
    }

    /// The pinned notes of everyone, the newest first.
    pub async fn pinned(&self) -> Result<Vec<Note>, sqlx::Error> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, text, pinned FROM notes WHERE pinned ORDER BY created_at DESC, id DESC LIMIT $1",
        )
        .bind(self.settings.board_size)
        .fetch_all(self.db.read())
        .await?;
        Ok(rows.into_iter().map(Note::from).collect())
    }

    /// Deletes a note of this author; `false` when there is none.
    pub(crate) async fn delete(&self, author: UserId, id: i64) -> Result<bool, sqlx::Error> {
        let deleted = sqlx::query("DELETE FROM notes WHERE id = $1 AND author = $2")
            .bind(id)
            .bind(author.as_uuid())
            .execute(self.db.write())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }
}
