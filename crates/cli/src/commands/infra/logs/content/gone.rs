//! What was erased, as commands show it.

use serde::Serialize;
use systemprompt_governance::ledger::erasure::{Erased, state};
use systemprompt_model::ActionId;

use crate::change::{Changed, StateDigest};
use crate::error::{CliError, CliResult};
use crate::project::OpenDatabase;
use crate::view::{Layout, Text, View};

/// What was erased, of whom or what.
#[derive(Serialize)]
pub(super) struct Gone {
    pub(super) of: String,
    #[serde(flatten)]
    pub(super) erased: Erased,
}

/// What a change erased, with what proves later that it was this.
pub(super) async fn recorded(database: &OpenDatabase, change: ActionId, erased: Erased) -> CliResult<Changed<Erased>> {
    let mut connection = database.db.write().acquire().await.map_err(CliError::database)?;
    let state = state(&mut connection, change).await.map_err(CliError::database)?;
    Ok(Changed { value: erased, before: None, after: Some(StateDigest::of(&state)) })
}

impl View for Gone {
    fn text(&self, _: Layout) -> Text {
        let Self { of, erased: Erased { actions, parts } } = self;
        Text::line(format!(
            "Erased {parts} parts of the content of {actions} records of {of}. Digests, decisions and costs stay."
        ))
    }
}
