//! `admin access-control import`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::export::document;
use crate::access::{Access, unavailable};
use crate::change::{About, Change, Changed, StateDigest};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View};

/// Have the rules be those of a document, as `export` prints one, and no others.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The document.
    file: PathBuf,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Import {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let access = Access::open(invocation, &database.db)?;
        let config = access.read_document(&self.file)?;
        invocation.confirm(self.yes, "Rules that are not in the document are deleted. Go on?").await?;
        let before = StateDigest::of(&document(&access, &access.rules().await?).await?);
        let change = Change::new("access_rules.import", About::new("access_rules", "all"), &config);
        let replace = async || {
            let (changed, deleted) = access.store.replace(&config).await.map_err(unavailable)?;
            let after = StateDigest::of(&document(&access, &access.rules().await?).await?);
            Ok(Changed { before: Some(before), after: Some(after), value: Imported { changed, deleted } })
        };
        let imported = invocation.change(database, change, replace).await?;
        invocation.printer.show(&imported);
        Ok(())
    }
}

#[derive(Serialize)]
struct Imported {
    #[serde(rename = "changed_rules")]
    changed: usize,
    #[serde(rename = "deleted_rules")]
    deleted: u64,
}

impl View for Imported {
    fn text(&self, layout: Layout) -> Text {
        let record = Record::new().with("made or changed", self.changed.to_string());
        layout.record(&record.with("deleted", self.deleted.to_string()))
    }
}
