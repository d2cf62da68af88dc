//! What was erased, as commands show it.

use serde::Serialize;
use systemprompt_governance::ledger::erasure::Erased;

use crate::view::{Layout, Text, View};

/// What was erased, of whom or what.
#[derive(Serialize)]
pub(super) struct Gone {
    pub(super) of: String,
    #[serde(flatten)]
    pub(super) erased: Erased,
}

impl View for Gone {
    fn text(&self, _: Layout) -> Text {
        let Self { of, erased: Erased { actions, parts } } = self;
        Text::line(format!(
            "Erased {parts} parts of the content of {actions} records of {of}. Digests, decisions and costs stay."
        ))
    }
}
