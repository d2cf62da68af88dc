//! `governance approvals list`.

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use systemprompt_governance::approvals::Approval;

use super::one::{approvals, failed};
use crate::bounds::{ROWS, within};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Row, time};

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
            .list(state.as_ref().map(PossibleValue::get_name), None, self.limit + 1)
            .await
            .map_err(failed)?;
        invocation.show_first(found, self.limit);
        Ok(())
    }
}

impl Row for Approval {
    const COLUMNS: &'static [&'static str] = &["time", "approval", "state", "~tool", "~asked by", "?~why"];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Layout, Page, View as _, WIDTH};

    #[test]
    fn a_row_fits_its_line_and_its_id_stays_whole() {
        let id = "0198ab00-0000-7000-8000-000000000001";
        let at = chrono::DateTime::UNIX_EPOCH;
        let approval = Approval {
            id: id.parse().expect("an id"),
            state: "approved".to_owned(),
            tool_name: "mcp__deployments__release_to_production".to_owned(),
            rule: "four eyes for whatever leaves the house".to_owned(),
            user_id: None,
            user_name: "ada.lovelace@example.com".to_owned(),
            session_id: None,
            action_id: id.parse().expect("an id"),
            requested_at: at,
            expires_at: at,
            decided_by: None,
            decided_at: None,
            note: None,
            approvers: Vec::new(),
        };
        let text = Page::whole(vec![approval]).text(Layout { decorated: false, width: WIDTH });
        assert!(text.as_str().lines().all(|line| line.chars().count() <= WIDTH), "{}", text.as_str());
        assert!(text.as_str().contains(id), "{}", text.as_str());
    }
}
