//! `governance approvals list`.

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use systemprompt_governance::approvals::Approval;

use super::one::{approvals, failed};
use crate::bounds::{ROWS, within};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row, time};

/// The latest calls that wait, or did.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only in this state.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// At most so many.
    #[arg(short = 'n', long, default_value_t = 20, value_parser = within::<u32>(ROWS))]
    limit: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Pending,
    Approved,
    Denied,
    Used,
    Expired,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let state = self.state.and_then(|state| state.to_possible_value());
        let found = approvals(invocation, database)
            .list(state.as_ref().map(PossibleValue::get_name), self.limit)
            .await
            .map_err(failed)?;
        invocation.show_part(&Page { items: found, next: None, total: None }, "--limit");
        Ok(())
    }
}

impl Row for Approval {
    const COLUMNS: &'static [&'static str] = &["time", "approval", "state", "tool", "asked by", "why"];
    const NONE: &'static str = "No approvals.";

    fn cells(&self) -> Vec<String> {
        vec![
            time(self.requested_at),
            self.id.to_string(),
            self.state.clone(),
            self.tool_name.clone(),
            self.user_name.clone(),
            self.rule.clone(),
        ]
    }
}
