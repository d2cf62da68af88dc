//! `admin users ban list`.

use clap::Args;

use super::address::bans;
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::Page;

/// Who is shut out, the latest first.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// With bans that are over.
    #[arg(long)]
    all: bool,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let found = bans(invocation, database).list(self.all).await.map_err(CliError::database)?;
        invocation.printer.show(&Page::whole(found));
        Ok(())
    }
}
