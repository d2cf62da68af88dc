//! `admin config rate-limits set`, `enable`, `disable` and `reset`.

use clap::{ArgGroup, Args};
use serde_json::json;
use systemprompt_config::edit::Step::Key;
use systemprompt_config::profile::RateGroup;
use systemprompt_model::UserType;

use super::named::{endpoint, multiplier, tier};
use crate::bounds::within;
use crate::error::CliResult;
use crate::profile_file::ProfileFile;
use crate::project::Invocation;

/// Change a rate, a multiplier or the burst.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").args(["endpoint", "tier", "burst"]).required(true)))]
pub(crate) struct Set {
    /// The group of endpoints whose rate changes.
    #[arg(long, value_parser = endpoint(), requires = "rate")]
    endpoint: Option<RateGroup>,
    /// Its base rate in requests a second.
    #[arg(long, requires = "endpoint", value_parser = within::<u64>(1..=1_000_000_000))]
    rate: Option<u64>,
    /// The kind of caller whose multiplier changes.
    #[arg(long, value_parser = tier(), requires = "multiplier")]
    tier: Option<UserType>,
    /// Its multiplier; 0 blocks it.
    #[arg(long, requires = "tier", value_parser = multiplier)]
    multiplier: Option<f64>,
    /// How many seconds of a rate may be used at once.
    #[arg(long, value_parser = within::<u64>(1..=1_000_000))]
    burst: Option<u64>,
}

/// Limit requests.
#[derive(Debug, Args)]
pub(crate) struct Enable {}

/// Limit nobody.
#[derive(Debug, Args)]
pub(crate) struct Disable {}

/// Go back to the default: of everything, of one group or of one kind of caller.
#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// Only the rate of this group of endpoints.
    #[arg(long, value_parser = endpoint(), conflicts_with = "tier")]
    endpoint: Option<RateGroup>,
    /// Only the multiplier of this kind of caller.
    #[arg(long, value_parser = tier())]
    tier: Option<UserType>,
    /// Say what would change and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Set {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let mut profile = ProfileFile::open(invocation)?;
        let limits = profile.project.configuration.profile.rate_limits.clone();
        // One of them is there.
        let (field, old, new) = match (self.endpoint.zip(self.rate), self.tier.zip(self.multiplier), self.burst) {
            (Some((endpoint, rate)), _, _) => {
                profile.set(&[Key("rate_limits"), Key(endpoint.key())], &rate)?;
                (endpoint.key().to_owned(), limits.rate(endpoint).to_string(), rate.to_string())
            }
            (None, Some((tier, multiplier)), _) => {
                profile.set(&[Key("rate_limits"), Key("tier_multipliers"), Key(tier.as_str())], &multiplier)?;
                let old = limits.tier_multipliers.of(tier);
                (format!("tier_multipliers.{}", tier.as_str()), old.to_string(), multiplier.to_string())
            }
            (None, None, burst) => {
                let (old, new) = (limits.burst_multiplier, burst.unwrap_or(limits.burst_multiplier));
                profile.set(&[Key("rate_limits"), Key("burst_multiplier")], &new)?;
                ("burst_multiplier".to_owned(), old.to_string(), new.to_string())
            }
        };
        let said = json!([{"field": format!("rate_limits.{field}"), "old_value": old, "new_value": new}]);
        profile.save("rate_limits.set", &said, format!("rate_limits.{field} was {old} and is {new}.")).await
    }
}

impl Enable {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        switch(invocation, false, "rate_limits.enable", "Requests are limited.").await
    }
}

impl Disable {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        switch(invocation, true, "rate_limits.disable", "Nobody is limited.").await
    }
}

async fn switch(invocation: &Invocation, disabled: bool, operation: &'static str, done: &str) -> CliResult {
    let mut profile = ProfileFile::open(invocation)?;
    profile.set(&[Key("rate_limits"), Key("disabled")], &disabled)?;
    profile.save(operation, &json!({"disabled": disabled}), done.to_owned()).await
}

impl Reset {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let mut profile = ProfileFile::open(invocation)?;
        let (path, what) = match (self.endpoint, self.tier) {
            (Some(endpoint), _) => (vec![Key("rate_limits"), Key(endpoint.key())], endpoint.as_str().to_owned()),
            (_, Some(tier)) => {
                let path = vec![Key("rate_limits"), Key("tier_multipliers"), Key(tier.as_str())];
                (path, format!("the tier {}", tier.as_str()))
            }
            (None, None) => (vec![Key("rate_limits")], "everything".to_owned()),
        };
        let is_there = profile.remove(&path)?;
        if self.dry_run {
            profile.check()?;
            let would = if is_there { "would go back to the default" } else { "is the default already" };
            invocation.printer.note(format!("{what} {would}; nothing was changed"));
            return Ok(());
        }
        if is_there {
            invocation.confirm(self.yes, &format!("Go back to the default of {what}?")).await?;
        }
        profile.save("rate_limits.reset", &json!({"what": what}), format!("The default holds for {what}.")).await
    }
}
