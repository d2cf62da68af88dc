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
        let mut said = Vec::new();
        if let (Some(endpoint), Some(rate)) = (self.endpoint, self.rate) {
            let old = profile.project.configuration.profile.rate_limits.rate(endpoint);
            profile.set(&[Key("rate_limits"), Key(endpoint.key())], &rate)?;
            said.push(json!({"field": format!("rate_limits.{}", endpoint.key()), "old_value": old.to_string(), "new_value": rate.to_string()}));
        }
        if let (Some(tier), Some(multiplier)) = (self.tier, self.multiplier) {
            let old = profile.project.configuration.profile.rate_limits.tier_multipliers.of(tier);
            profile.set(&[Key("rate_limits"), Key("tier_multipliers"), Key(tier.as_str())], &multiplier)?;
            let field = format!("rate_limits.tier_multipliers.{}", tier.as_str());
            said.push(json!({"field": field, "old_value": old.to_string(), "new_value": multiplier.to_string()}));
        }
        if let Some(burst) = self.burst {
            let old = profile.project.configuration.profile.rate_limits.burst_multiplier;
            profile.set(&[Key("rate_limits"), Key("burst_multiplier")], &burst)?;
            said.push(json!({"field": "rate_limits.burst_multiplier", "old_value": old.to_string(), "new_value": burst.to_string()}));
        }
        let done: Vec<String> = said
            .iter()
            .map(|change| {
                let [field, old, new] =
                    ["field", "old_value", "new_value"].map(|key| change[key].as_str().unwrap_or_default());
                format!("{field} was {old} and is {new}.")
            })
            .collect();
        profile.save("rate_limits.set", &json!(said), done.join(" ")).await
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
