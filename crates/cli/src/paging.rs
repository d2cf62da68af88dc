//! Lists that are read page by page, newest first.

use std::fmt::Display;
use std::str::FromStr;

use clap::Args;
use systemprompt_governance::page::Page as Found;

use crate::bounds::{ROWS, within};
use crate::error::{CliError, CliResult};
use crate::moment::Moment;
use crate::project::Invocation;
use crate::view::{Page, Row};

/// Which page of what was recorded since some time.
#[derive(Debug, Args)]
pub(crate) struct Paging {
    #[command(flatten)]
    pub(crate) page: Portion,
    /// Only since then: `2026-01-31`, `2026-01-31T12:00:00Z`, or `15m`, `2h`, `7d` ago.
    #[arg(long)]
    pub(crate) since: Option<Moment>,
}

/// Which page.
#[derive(Debug, Args)]
pub(crate) struct Portion {
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 20, value_parser = within::<u32>(ROWS))]
    pub(crate) limit: u32,
    /// Go on after the cursor the last page printed.
    #[arg(long)]
    before: Option<String>,
}

impl Portion {
    /// What the page comes after.
    pub(crate) fn before<C: FromStr>(&self) -> CliResult<Option<C>> {
        let not_a_cursor = |cursor| CliError::invalid_value(format!("`{cursor}` is not a cursor"));
        self.before.as_deref().map(|cursor| cursor.parse().map_err(|_| not_a_cursor(cursor))).transpose()
    }
}

impl Invocation {
    /// Shows a page, and how to ask for the next one.
    pub(crate) fn show_page<T: Row, C: Display>(&self, found: Found<T, C>) {
        let next = found.next.map(|next| next.to_string());
        self.show_part(&Page { items: found.items, next, total: None }, "--before");
    }

    /// Shows a list without pages, of which one row more than `limit` was asked for, and says so if there are more.
    pub(crate) fn show_first<T: Row>(&self, mut items: Vec<T>, limit: u32) {
        let is_cut = items.len() > limit as usize;
        items.truncate(limit as usize);
        self.printer.show(&Page::whole(items));
        if is_cut {
            self.printer.note(format!("\n{limit} shown, and there are more; --limit shows up to {}", ROWS.end()));
        }
    }

    /// Shows a list that may have been cut, and says so: `option` with what is next goes on.
    pub(crate) fn show_part<T: Row>(&self, page: &Page<T>, option: &str) {
        self.printer.show(page);
        if let Some(next) = &page.next {
            let shown = page.items.len();
            let of = page.total.map(|total| format!(" of {total}")).unwrap_or_default();
            self.printer.note(format!("\n{shown}{of} shown; more: {option} {next}"));
        }
    }
}
