//! `admin config rate-limits show` and `tier`.

use clap::Args;
use serde::{Serialize, Serializer};
use systemprompt_config::profile::{RateGroup, RateLimitBackend, RateLimits};
use systemprompt_model::UserType;

use super::named::tier;
use crate::error::CliResult;
use crate::project::Invocation;
use crate::view::{Layout, Record, Table, Text, View};

/// The limits in force, for every group of endpoints and kind of caller.
#[derive(Debug, Args)]
pub(crate) struct Show {}

/// The limits of one kind of caller.
#[derive(Debug, Args)]
pub(crate) struct Tier {
    /// Which.
    #[arg(value_parser = tier())]
    tier: UserType,
}

impl Show {
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
        let limits = invocation.project()?.configuration.profile.rate_limits.clone();
        invocation.printer.show(&InForce { rows: rows(&limits), limits });
        Ok(())
    }
}

impl Tier {
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
        let limits = invocation.project()?.configuration.profile.rate_limits.clone();
        let endpoints = RateGroup::ALL.map(|group| OfTier {
            endpoint: group,
            per_second: limits.effective(group, self.tier),
            burst: limits.effective(group, self.tier).map(|rate| rate.saturating_mul(limits.burst_multiplier)),
        });
        let multiplier = limits.tier_multipliers.of(self.tier);
        invocation.printer.show(&OneTier { tier: self.tier.as_str(), multiplier, endpoints: endpoints.to_vec() });
        Ok(())
    }
}

/// Requests a second of each kind of caller; `null` is blocked.
#[derive(Debug, Serialize)]
struct Rates {
    endpoint: RateGroup,
    base: u64,
    served: bool,
    tiers: Vec<(&'static str, Option<u64>)>,
}

fn rows(limits: &RateLimits) -> Vec<Rates> {
    let of = |group| UserType::ALL.map(|tier| (tier.as_str(), limits.effective(group, tier))).to_vec();
    RateGroup::ALL
        .map(|group| Rates { endpoint: group, base: limits.rate(group), served: group.is_served(), tiers: of(group) })
        .into()
}

#[derive(Debug, Serialize)]
struct InForce {
    #[serde(serialize_with = "without_groups")]
    limits: RateLimits,
    #[serde(rename = "effective")]
    rows: Vec<Rates>,
}

/// What is not told for each group of endpoints.
fn without_groups<S: Serializer>(limits: &RateLimits, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Limits {
        disabled: bool,
        backend: RateLimitBackend,
        burst_multiplier: u64,
        multipliers: Vec<(&'static str, f64)>,
    }
    let multipliers = UserType::ALL.map(|tier| (tier.as_str(), limits.tier_multipliers.of(tier))).to_vec();
    let RateLimits { disabled, backend, burst_multiplier, .. } = *limits;
    Limits { disabled, backend, burst_multiplier, multipliers }.serialize(serializer)
}

fn rate(rate: Option<u64>) -> String {
    rate.map_or("blocked".to_owned(), |rate| rate.to_string())
}

impl View for InForce {
    fn text(&self, layout: Layout) -> Text {
        let limits = &self.limits;
        let state = if limits.disabled { "off: nobody is limited" } else { "on" };
        let kept = serde_json::to_value(limits.backend).ok().and_then(|value| value.as_str().map(str::to_owned));
        let record = Record::new()
            .with("limits", state.to_owned())
            .with("kept in", kept)
            .with("burst", format!("{} seconds of a rate at once", limits.burst_multiplier));
        let mut headers = vec!["~requests/s".to_owned(), "#base".to_owned()];
        headers.extend(UserType::ALL.map(|tier| format!("#{}", tier.as_str())));
        let mut table = Table::new(&headers.iter().map(String::as_str).collect::<Vec<_>>());
        for row in &self.rows {
            let name = format!("{}{}", row.endpoint.as_str(), if row.served { "" } else { " (none yet)" });
            let mut cells = vec![name, row.base.to_string()];
            cells.extend(row.tiers.iter().map(|(_, tier)| rate(*tier)));
            table.row(cells);
        }
        let mut multipliers = vec!["multiplier".to_owned(), String::new()];
        multipliers.extend(UserType::ALL.map(|tier| limits.tier_multipliers.of(tier).to_string()));
        table.row(multipliers);
        Text::apart([layout.record(&record), layout.table(&table)])
    }
}

#[derive(Debug, Clone, Serialize)]
struct OfTier {
    endpoint: RateGroup,
    per_second: Option<u64>,
    burst: Option<u64>,
}

#[derive(Debug, Serialize)]
struct OneTier {
    tier: &'static str,
    multiplier: f64,
    endpoints: Vec<OfTier>,
}

impl View for OneTier {
    fn text(&self, layout: Layout) -> Text {
        let mut table = Table::new(&["endpoint", "#requests/s", "#at once"]);
        for row in &self.endpoints {
            table.row([row.endpoint.as_str().to_owned(), rate(row.per_second), rate(row.burst)]);
        }
        let head = Text::line(format!("{}: {} times the base rates", self.tier, self.multiplier));
        Text::apart([head, layout.table(&table)])
    }
}
