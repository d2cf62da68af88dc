use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_model::UserType;

use super::{Draft, Problems};

/// Requests per second by group of endpoints and by kind of caller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// Whether there are no limits at all.
    pub disabled: bool,
    /// Where the buckets are kept.
    pub backend: RateLimitBackend,
    /// OAuth and OIDC without a login, and public sessions.
    pub oauth_public_per_second: u64,
    /// OAuth with a login, and users.
    pub oauth_auth_per_second: u64,
    /// Contexts.
    pub contexts_per_second: u64,
    /// Tasks.
    pub tasks_per_second: u64,
    /// Artifacts.
    pub artifacts_per_second: u64,
    /// The registry of agents.
    pub agent_registry_per_second: u64,
    /// Agents and chat integrations.
    pub agents_per_second: u64,
    /// The registry of MCP servers.
    pub mcp_registry_per_second: u64,
    /// MCP servers.
    pub mcp_per_second: u64,
    /// Event streams.
    pub stream_per_second: u64,
    /// Content, redirects and analytics.
    pub content_per_second: u64,
    /// The model gateway, `/v1`.
    pub gateway_per_second: u64,
    /// Administration.
    pub admin_per_second: u64,
    /// Synchronisation.
    pub sync_per_second: u64,
    /// Webhooks.
    pub webhook_per_second: u64,
    /// The capacity of a bucket in seconds of its rate.
    pub burst_multiplier: u64,
    /// How the rates scale with the kind of caller; 0 blocks the kind.
    pub tier_multipliers: TierMultipliers,
}

/// Endpoints that share a rate: `rate_limits.<group>_per_second`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RateGroup {
    /// OAuth and OIDC without a login, documents below `/.well-known/`, public sessions.
    OauthPublic,
    /// OAuth with a login, keys and sessions of users.
    OauthAuth,
    /// Contexts.
    Contexts,
    /// Tasks.
    Tasks,
    /// Artifacts.
    Artifacts,
    /// The registry of agents.
    AgentRegistry,
    /// Agents and chat integrations.
    Agents,
    /// The registry of MCP servers.
    McpRegistry,
    /// MCP servers.
    Mcp,
    /// Event streams.
    Stream,
    /// Content, redirects and analytics.
    Content,
    /// The model gateway.
    Gateway,
    /// Administration.
    Admin,
    /// Synchronisation.
    Sync,
    /// Webhooks.
    Webhook,
}

impl RateGroup {
    /// Every group, in the order of the profile's keys.
    pub const ALL: [Self; 15] = [
        Self::OauthPublic,
        Self::OauthAuth,
        Self::Contexts,
        Self::Tasks,
        Self::Artifacts,
        Self::AgentRegistry,
        Self::Agents,
        Self::McpRegistry,
        Self::Mcp,
        Self::Stream,
        Self::Content,
        Self::Gateway,
        Self::Admin,
        Self::Sync,
        Self::Webhook,
    ];

    /// The key of its rate below `rate_limits`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::OauthPublic => "oauth_public_per_second",
            Self::OauthAuth => "oauth_auth_per_second",
            Self::Contexts => "contexts_per_second",
            Self::Tasks => "tasks_per_second",
            Self::Artifacts => "artifacts_per_second",
            Self::AgentRegistry => "agent_registry_per_second",
            Self::Agents => "agents_per_second",
            Self::McpRegistry => "mcp_registry_per_second",
            Self::Mcp => "mcp_per_second",
            Self::Stream => "stream_per_second",
            Self::Content => "content_per_second",
            Self::Gateway => "gateway_per_second",
            Self::Admin => "admin_per_second",
            Self::Sync => "sync_per_second",
            Self::Webhook => "webhook_per_second",
        }
    }

    /// Its name: the key without its unit.
    pub fn as_str(self) -> &'static str {
        self.key().strip_suffix("_per_second").unwrap_or(self.key())
    }

    /// Whether this build has endpoints of the group.
    pub const fn is_served(self) -> bool {
        match self {
            Self::OauthPublic | Self::OauthAuth | Self::Gateway | Self::Admin => true,
            Self::Contexts
            | Self::Tasks
            | Self::Artifacts
            | Self::AgentRegistry
            | Self::Agents
            | Self::McpRegistry
            | Self::Mcp
            | Self::Stream
            | Self::Content
            | Self::Sync
            | Self::Webhook => false,
        }
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

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            disabled: false,
            backend: RateLimitBackend::Memory,
            oauth_public_per_second: 10,
            oauth_auth_per_second: 10,
            contexts_per_second: 100,
            tasks_per_second: 50,
            artifacts_per_second: 50,
            agent_registry_per_second: 50,
            agents_per_second: 20,
            mcp_registry_per_second: 50,
            mcp_per_second: 200,
            stream_per_second: 100,
            content_per_second: 50,
            gateway_per_second: 100,
            admin_per_second: 10,
            sync_per_second: 5,
            webhook_per_second: 50,
            burst_multiplier: 3,
            tier_multipliers: TierMultipliers::default(),
        }
    }
}

impl Default for TierMultipliers {
    fn default() -> Self {
        Self { admin: 10.0, user: 1.0, a2a: 5.0, mcp: 5.0, service: 5.0, anon: 0.5 }
    }
}

impl RateLimits {
    /// The rate of a group in requests per second, before it is scaled to the kind of caller.
    pub fn rate(&self, group: RateGroup) -> u64 {
        match group {
            RateGroup::OauthPublic => self.oauth_public_per_second,
            RateGroup::OauthAuth => self.oauth_auth_per_second,
            RateGroup::Contexts => self.contexts_per_second,
            RateGroup::Tasks => self.tasks_per_second,
            RateGroup::Artifacts => self.artifacts_per_second,
            RateGroup::AgentRegistry => self.agent_registry_per_second,
            RateGroup::Agents => self.agents_per_second,
            RateGroup::McpRegistry => self.mcp_registry_per_second,
            RateGroup::Mcp => self.mcp_per_second,
            RateGroup::Stream => self.stream_per_second,
            RateGroup::Content => self.content_per_second,
            RateGroup::Gateway => self.gateway_per_second,
            RateGroup::Admin => self.admin_per_second,
            RateGroup::Sync => self.sync_per_second,
            RateGroup::Webhook => self.webhook_per_second,
        }
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

pub(super) fn check(draft: &Draft, problems: &mut Problems<'_>) {
    let Some(limits) = &draft.rate_limits else { return };
    if limits.disabled {
        if draft.is_production() {
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
    for (key, rate, least) in [
        ("agents_per_second", limits.agents_per_second, 5),
        ("contexts_per_second", limits.contexts_per_second, 20),
        ("stream_per_second", limits.stream_per_second, 10),
    ] {
        if (1..least).contains(&rate) {
            problems
                .warning(&format!("/rate_limits/{key}"), format!("is {rate}; below {least} ordinary use is throttled"));
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
    for (key, multiplier) in [
        ("admin", tiers.admin),
        ("user", tiers.user),
        ("a2a", tiers.a2a),
        ("mcp", tiers.mcp),
        ("service", tiers.service),
        ("anon", tiers.anon),
    ] {
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
