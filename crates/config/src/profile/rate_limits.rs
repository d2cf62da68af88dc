//! `rate_limits`: how many requests per second each kind of caller may send to each group of endpoints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_model::UserType;

use super::problems::Problems;

/// The groups of endpoints, from one table: what each is, its key below `rate_limits`, its default rate, and whether this build
/// has such endpoints.
macro_rules! groups {
    ($($(#[$about:meta])* $group:ident: $key:ident = $usual:literal, $served:ident;)*) => {
        /// Requests per second by group of endpoints and by kind of caller.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct RateLimits {
            /// Whether there are no limits at all.
            pub disabled: bool,
            /// Where the buckets are kept; those of `oauth_public` and `oauth_auth` are always shared.
            pub backend: RateLimitBackend,
            $($(#[$about])* #[schemars(range(min = 0, max = 1_000_000_000))] pub $key: u64,)*
            /// The capacity of a bucket in seconds of its rate.
            #[schemars(range(min = 0, max = 1_000_000))]
            pub burst_multiplier: u64,
            /// How the rates scale with the kind of caller; 0 blocks the kind.
            pub tier_multipliers: TierMultipliers,
        }

        impl Default for RateLimits {
            fn default() -> Self {
                Self {
                    disabled: false,
                    backend: RateLimitBackend::Memory,
                    $($key: $usual,)*
                    burst_multiplier: 3,
                    tier_multipliers: TierMultipliers::default(),
                }
            }
        }

        impl RateLimits {
            /// The rate of a group in requests per second, before it is scaled to the kind of caller.
            pub fn rate(&self, group: RateGroup) -> u64 {
                match group {
                    $(RateGroup::$group => self.$key,)*
                }
            }
        }

        /// Endpoints that share a rate: `rate_limits.<group>_per_second`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum RateGroup {
            $($(#[$about])* $group,)*
        }

        impl RateGroup {
            /// Every group, in the order of the profile's keys.
            pub const ALL: [Self; [$(Self::$group),*].len()] = [$(Self::$group),*];

            /// The key of its rate below `rate_limits`.
            pub const fn key(self) -> &'static str {
                match self {
                    $(Self::$group => stringify!($key),)*
                }
            }

            /// Whether this build has endpoints of the group.
            pub const fn is_served(self) -> bool {
                match self {
                    $(Self::$group => groups!(@$served),)*
                }
            }
        }
    };
    (@served) => { true };
    (@unserved) => { false };
}

groups! {
    /// OAuth and OIDC without a login, documents below `/.well-known/`, public sessions.
    OauthPublic: oauth_public_per_second = 10, served;
    /// OAuth with a login, keys and sessions of users.
    OauthAuth: oauth_auth_per_second = 10, served;
    /// Contexts.
    Contexts: contexts_per_second = 100, unserved;
    /// Tasks.
    Tasks: tasks_per_second = 50, unserved;
    /// Artifacts.
    Artifacts: artifacts_per_second = 50, unserved;
    /// The registry of agents.
    AgentRegistry: agent_registry_per_second = 50, unserved;
    /// Agents and chat integrations.
    Agents: agents_per_second = 20, unserved;
    /// The registry of MCP servers.
    McpRegistry: mcp_registry_per_second = 50, unserved;
    /// MCP servers.
    Mcp: mcp_per_second = 200, unserved;
    /// Event streams.
    Stream: stream_per_second = 100, unserved;
    /// Content, redirects and analytics.
    Content: content_per_second = 50, unserved;
    /// The model gateway.
    Gateway: gateway_per_second = 100, served;
    /// Administration.
    Admin: admin_per_second = 10, served;
    /// Synchronisation.
    Sync: sync_per_second = 5, unserved;
    /// Webhooks.
    Webhook: webhook_per_second = 50, unserved;
}

/// A request per nanosecond is no limit any more.
const FASTEST: f64 = 1e9;

impl RateLimits {
    /// How many requests a second a kind of caller may send to a group: at least one, or none at all.
    pub fn effective(&self, group: RateGroup, tier: UserType) -> Option<u64> {
        Self::scaled(self.rate(group), self.tier_multipliers.of(tier))
    }

    /// The rate of a tier with this multiplier.
    pub fn scaled(base: u64, multiplier: f64) -> Option<u64> {
        let effective = (base as f64 * multiplier).round().clamp(1.0, FASTEST);
        (multiplier > 0.0).then_some(effective as u64)
    }
}

impl RateGroup {
    /// Whether its buckets are shared by all replicas wherever the others are: what is guessed there must not be guessed once
    /// on each.
    pub const fn is_always_shared(self) -> bool {
        matches!(self, Self::OauthPublic | Self::OauthAuth)
    }

    /// Its name: the key without its unit.
    pub fn as_str(self) -> &'static str {
        self.key().strip_suffix("_per_second").unwrap_or(self.key())
    }
}

/// Where the buckets are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateLimitBackend {
    /// In each process.
    #[default]
    Memory,
    /// In the database, shared by all replicas.
    Postgres,
}

/// How the rates scale with the kind of caller; 0 blocks the kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TierMultipliers {
    /// Administrators.
    pub admin: f64,
    /// Users.
    pub user: f64,
    /// Agents.
    pub a2a: f64,
    /// MCP servers.
    pub mcp: f64,
    /// Services.
    pub service: f64,
    /// Callers without a token.
    pub anon: f64,
}

impl Default for TierMultipliers {
    fn default() -> Self {
        Self { admin: 10.0, user: 1.0, a2a: 5.0, mcp: 5.0, service: 5.0, anon: 0.5 }
    }
}

impl TierMultipliers {
    /// The multiplier of a kind of caller; 0 blocks it.
    pub fn of(&self, tier: UserType) -> f64 {
        match tier {
            UserType::Admin => self.admin,
            UserType::User => self.user,
            UserType::A2a => self.a2a,
            UserType::Mcp => self.mcp,
            UserType::Service => self.service,
            UserType::Anon => self.anon,
        }
    }
}

pub(super) fn check(limits: &RateLimits, is_production: bool, problems: &mut Problems<'_>) {
    if limits.disabled {
        if is_production {
            problems.warning("/rate_limits/disabled", "is on in production");
        }
        return;
    }
    for group in RateGroup::ALL {
        if limits.rate(group) == 0 {
            problems
                .error(&format!("/rate_limits/{}", group.key()), "must be more than 0")
                .hint("to block callers, set their multiplier in tier_multipliers to 0");
        }
    }
    for (group, least) in [(RateGroup::Agents, 5), (RateGroup::Contexts, 20), (RateGroup::Stream, 10)] {
        let rate = limits.rate(group);
        if (1..least).contains(&rate) {
            let pointer = format!("/rate_limits/{}", group.key());
            problems.warning(&pointer, format!("is {rate}; below {least} ordinary use is throttled"));
        }
    }
    match limits.burst_multiplier {
        0 => _ = problems.error("/rate_limits/burst_multiplier", "must be more than 0"),
        1..=10 => {}
        more => {
            problems.warning("/rate_limits/burst_multiplier", format!("is {more}; above 10 the limits hardly limit"));
        }
    }
    let tiers = &limits.tier_multipliers;
    for tier in UserType::ALL {
        let (key, multiplier) = (tier.as_str(), tiers.of(tier));
        if !multiplier.is_finite() || multiplier < 0.0 {
            problems.error(&format!("/rate_limits/tier_multipliers/{key}"), "must be 0 or more");
        }
    }
    for (key, multiplier, least) in [("anon", tiers.anon, 0.3), ("user", tiers.user, 0.5)] {
        if multiplier > 0.0 && multiplier < least {
            let pointer = format!("/rate_limits/tier_multipliers/{key}");
            problems.warning(&pointer, format!("is {multiplier}; below {least} ordinary use is throttled"));
        }
    }
    if tiers.anon > tiers.user || tiers.user > tiers.admin {
        problems.warning("/rate_limits/tier_multipliers", "should rise from anon over user to admin");
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::problems_of;

    #[test]
    fn rates_and_multipliers() {
        for (yaml, expected) in [
            ("{}", &[][..]),
            ("{disabled: true, tasks_per_second: 0}", &[]),
            ("{tasks_per_second: 0}", &["rate_limits.tasks_per_second: must be more than 0"]),
            ("{burst_multiplier: 0}", &["rate_limits.burst_multiplier: must be more than 0"]),
            (
                "{burst_multiplier: 11}",
                &["warning: rate_limits.burst_multiplier: is 11; above 10 the limits hardly limit"],
            ),
            (
                "{agents_per_second: 4}",
                &[
                    "warning: rate_limits.agents_per_second: is 4; below 5 ordinary use is throttled",
                    "warning: rate_limits.agents_per_second: has no effect yet: this version has no such endpoints",
                ],
            ),
            ("{tier_multipliers: {anon: 0}}", &[]),
            ("{tier_multipliers: {anon: -1}}", &["rate_limits.tier_multipliers.anon: must be 0 or more"]),
            (
                "{tier_multipliers: {anon: 0.1}}",
                &["warning: rate_limits.tier_multipliers.anon: is 0.1; below 0.3 ordinary use is throttled"],
            ),
            (
                "{tier_multipliers: {user: 20}}",
                &["warning: rate_limits.tier_multipliers: should rise from anon over user to admin"],
            ),
        ] {
            assert_eq!(problems_of(&format!("rate_limits: {yaml}")), expected, "{yaml}");
        }
    }
}
