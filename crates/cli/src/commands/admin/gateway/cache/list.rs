//! `admin gateway cache list`.

use clap::Args;
use systemprompt_gateway::cache::queries::{KeptAnswers, kept};

use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row, time};

/// What is kept of each route.
#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let items = kept(database.db.write(), invocation.ambient.now()).await.map_err(CliError::database)?;
        invocation.printer.show(&Page::whole(items));
        Ok(())
    }
}

impl Row for KeptAnswers {
    const COLUMNS: &'static [&'static str] = &["route", "#answers", "#bytes", "oldest", "newest"];
    const NONE: &'static str = "No answers are kept: no route has a cache, or none was asked.";

    fn cells(&self) -> Vec<String> {
        vec![
            self.route_id.clone(),
            self.answers.to_string(),
            self.bytes.to_string(),
            time(self.oldest),
            time(self.newest),
        ]
    }
}
