//! `admin gateway quotas list`.

use clap::Args;
use systemprompt_governance::quota::{QuotaFilter, QuotaRow, list};
use systemprompt_model::Microdollars;

use crate::bounds::{ROWS, within};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row, time};

/// What is used in every window, and the most that may be, those that open first before others.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 100, value_parser = within::<u32>(ROWS))]
    limit: u32,
    /// Only of this kind of subject: user, key, model, installation or an attribute.
    #[arg(long)]
    kind: Option<String>,
    /// Windows that have ended too.
    #[arg(long)]
    ended: bool,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let filter =
            QuotaFilter { subject_kind: self.kind, subject: None, ended: self.ended, limit: self.limit.into() };
        let now = invocation.ambient.now();
        let items = list(database.db.write(), &filter, now).await.map_err(CliError::database)?;
        invocation.printer.show(&Page::whole(items));
        Ok(())
    }
}

impl Row for QuotaRow {
    const COLUMNS: &'static [&'static str] =
        &["subject", "window", "#requests", "#tokens in", "#tokens out", "#cost", "mode", "opens again"];
    const NONE: &'static str = "Nothing is counted: no request met a quota yet, or services/gateway sets none.";

    fn cells(&self) -> Vec<String> {
        let of = |used: String, most: Option<String>| most.map_or(used.clone(), |most| format!("{used} of {most}"));
        let plain = |used: i64, most: Option<u64>| of(used.to_string(), most.map(|most| most.to_string()));
        let money = |amount: i64| Microdollars(amount).to_string();
        let most = self.max_cost_microdollars.map(|most| money(i64::try_from(most).unwrap_or(i64::MAX)));
        vec![
            format!("{} {}", self.subject_kind, self.subject_name),
            self.meter.clone(),
            plain(self.requests, self.max_requests),
            plain(self.input_tokens, self.max_input_tokens),
            plain(self.output_tokens, self.max_output_tokens),
            of(money(self.cost_microdollars), most),
            self.mode.to_owned(),
            time(self.window_end),
        ]
    }
}
