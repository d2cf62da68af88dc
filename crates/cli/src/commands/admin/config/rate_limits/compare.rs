//! `admin config rate-limits compare` and `diff`.

use std::path::PathBuf;

use clap::Args;
use systemprompt_config::profile::RateLimits;

use super::difference::differences;
use super::file::read;
use crate::error::CliResult;
use crate::project::Invocation;
use crate::view::Page;

/// What is not the default.
#[derive(Debug, Args)]
pub(crate) struct Compare {}

/// What a file would change.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The file, as `export` writes it.
    #[arg(long)]
    file: PathBuf,
}

impl Compare {
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
        let limits = invocation.project()?.configuration.profile.rate_limits.clone();
        invocation.printer.show(&Page::whole(differences(&RateLimits::default(), &limits)));
        Ok(())
    }
}

impl Diff {
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
        let limits = invocation.project()?.configuration.profile.rate_limits.clone();
        invocation.printer.show(&Page::whole(differences(&limits, &read(&self.file)?)));
        Ok(())
    }
}
