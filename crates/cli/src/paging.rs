//! Lists that are read page by page, newest first.

use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use clap::Args;
use systemprompt_governance::page::Page as Found;

use crate::error::{CliError, CliResult};
use crate::moment::moment;
use crate::project::Invocation;
use crate::view::{Page, Row};

/// Which page.
#[derive(Debug, Args)]
pub(crate) struct Paging {
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 20)]
    pub(crate) limit: u32,
    /// Only since then: `2026-01-31`, `2026-01-31T12:00:00Z`, or `15m`, `2h`, `7d` ago.
    #[arg(long)]
    since: Option<String>,
    /// Go on after the cursor the last page printed.
    #[arg(long)]
    before: Option<String>,
}

impl Paging {
    /// The time from which on.
    pub(crate) fn since(&self, now: DateTime<Utc>) -> CliResult<Option<DateTime<Utc>>> {
        moment(self.since.as_deref(), now)
    }

    /// What the page comes after.
    pub(crate) fn before<C: FromStr>(&self) -> CliResult<Option<C>> {
        let not_a_cursor = |cursor| CliError::invalid_value(format!("`{cursor}` is not a cursor"));
        self.before.as_deref().map(|cursor| cursor.parse().map_err(|_| not_a_cursor(cursor))).transpose()
    }
}

impl Invocation {
    /// Shows a page, and how to ask for the next one.
    pub(crate) fn show_page<T: Row, C: Display>(&self, found: Found<T, C>) {
        let page = Page { items: found.items, next: found.next.map(|next| next.to_string()), total: None };
        self.printer.show(&page);
        if let Some(next) = page.next {
            self.printer.note(format!("\nmore: --before {next}"));
        }
    }
}
