//! `infra db projections rebuild`.

use clap::Args;
use serde::Serialize;
use serde_json::json;
use systemprompt_governance::ledger::CatchUpError;

use crate::change::{About, Change, Changed};
use crate::error::CliResult;
use crate::ledger::{failure, projector};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View};

/// Empty a projection and fill it again from the log. Readers see the old rows until the new ones are there.
#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    /// Its name.
    name: String,
}

#[derive(Debug, Serialize)]
struct Rebuilt {
    projection: String,
    entries: u64,
}

impl Rebuild {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let projector = projector(&database.db);
        if projector.projections().iter().all(|known| known.name() != self.name) {
            return Err(failure(CatchUpError::Unknown(self.name)));
        }
        let change =
            Change::new("projection.rebuild", About::new("projection", &self.name), &json!({"projection": self.name}));
        let rebuilt = invocation.change(database, change, async || {
            let entries = projector.rebuild(&self.name).await.map_err(failure)?;
            Ok(Changed::unseen(Rebuilt { projection: self.name.clone(), entries }))
        });
        invocation.printer.show(&rebuilt.await?);
        Ok(())
    }
}

impl View for Rebuilt {
    fn text(&self, _: Layout) -> Text {
        Text::line(format!("Applied {} entries of the ledger to {}.", self.entries, self.projection))
    }
}
