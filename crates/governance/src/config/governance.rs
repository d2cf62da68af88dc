//! `services/governance/config.yaml`: which policies judge a request, in which order.

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use systemprompt_config::{Configuration, Place, SectionError};
use systemprompt_extension::{KnownNames, instead_of};
use systemprompt_model::EntityKind;

use super::flaw::Flaw;
use super::mode::PolicyMode;
use super::rate_limit::RateLimitConfig;
use super::request_guards::RequestGuardsConfig;
use super::require_approval::RequireApprovalConfig;
use super::residency::ResidencyConfig;
use super::scope_check::ScopeCheckConfig;
use super::secret_scan::SecretScanConfig;
use super::tool_blocklist::ToolBlocklistConfig;
use super::tool_pattern::ToolPattern;

/// The `governance` section: which policies judge a request, in which order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GovernanceConfig {
    /// Whether policies are evaluated. Access rules and the ledger are not affected; decisions made while this is false
    /// are recorded as `governance_disabled`.
    pub enabled: bool,
    /// What a violation does, for policies that do not say otherwise.
    pub mode: PolicyMode,
    /// The policies in the order of their evaluation. Each id at most once. The default is all of them, with their
    /// defaults; a policy that is left out of a given list does not run and is recorded as `disabled`.
    pub policies: Vec<PolicyConfig>,
    /// How the guards that extensions bring are asked; they come before the policies.
    #[serde(skip_serializing_if = "RequestGuardsConfig::is_default")]
    pub request_guards: RequestGuardsConfig,
}

impl Default for GovernanceConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: PolicyMode::Enforce,
            policies: vec![
                PolicyConfig::SecretScan(SecretScanConfig::default()),
                PolicyConfig::ScopeCheck(ScopeCheckConfig::default()),
                PolicyConfig::ToolBlocklist(ToolBlocklistConfig::default()),
                PolicyConfig::RateLimit(RateLimitConfig::default()),
            ],
            request_guards: RequestGuardsConfig::default(),
        }
    }
}

/// A policy and its parameters, chosen by `id`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "id", rename_all = "snake_case")]
pub enum PolicyConfig {
    /// No credentials in prompts and tool inputs.
    SecretScan(SecretScanConfig),
    /// Some tools are for administrators.
    ScopeCheck(ScopeCheckConfig),
    /// Destructive tools are not for everybody.
    ToolBlocklist(ToolBlocklistConfig),
    /// So many requests in so much time.
    RateLimit(RateLimitConfig),
    /// Some calls wait for a second person.
    RequireApproval(RequireApprovalConfig),
    /// Requests go to providers of some regions only.
    Residency(ResidencyConfig),
    /// A policy of an extension.
    #[serde(untagged)]
    Registered(RegisteredPolicyConfig),
}

/// The built-in policies, as they are read: so that what is wrong with one is said, and not that it is none.
#[derive(Deserialize)]
#[serde(tag = "id", rename_all = "snake_case")]
enum BuiltInPolicyConfig {
    SecretScan(SecretScanConfig),
    ScopeCheck(ScopeCheckConfig),
    ToolBlocklist(ToolBlocklistConfig),
    RateLimit(RateLimitConfig),
    RequireApproval(RequireApprovalConfig),
    Residency(ResidencyConfig),
}

impl<'de> Deserialize<'de> for PolicyConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let registered = value.get("id").and_then(serde_json::Value::as_str).is_some_and(|id| id.contains('.'));
        let read = || {
            if registered {
                return serde_json::from_value(value).map(Self::Registered);
            }
            Ok(match serde_json::from_value(value)? {
                BuiltInPolicyConfig::SecretScan(config) => Self::SecretScan(config),
                BuiltInPolicyConfig::ScopeCheck(config) => Self::ScopeCheck(config),
                BuiltInPolicyConfig::ToolBlocklist(config) => Self::ToolBlocklist(config),
                BuiltInPolicyConfig::RateLimit(config) => Self::RateLimit(config),
                BuiltInPolicyConfig::RequireApproval(config) => Self::RequireApproval(config),
                BuiltInPolicyConfig::Residency(config) => Self::Residency(config),
            })
        };
        read().map_err(serde::de::Error::custom)
    }
}

/// A policy of an extension: whether it runs, where in the order, and what a violation does. Its own settings are in the
/// configuration of its extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisteredPolicyConfig {
    /// `<extension>.<policy>`.
    pub id: RegisteredPolicyId,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Overrides the mode of the section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
}

/// The id of a policy of an extension: `<extension>.<policy>`, which no built-in one has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegisteredPolicyId(String);

impl JsonSchema for RegisteredPolicyId {
    fn schema_name() -> Cow<'static, str> {
        "RegisteredPolicyId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": r"^[a-z0-9_-]+\.[a-z0-9_.-]+$"})
    }
}

impl RegisteredPolicyId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RegisteredPolicyId {
    type Error = String;

    fn try_from(id: String) -> Result<Self, String> {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
        match id.split_once('.') {
            Some((extension, policy)) if !extension.is_empty() && !policy.is_empty() && id.chars().all(known) => {
                Ok(Self(id))
            }
            _ => Err(format!("`{id}` is neither a built-in policy nor `<extension>.<policy>`")),
        }
    }
}

impl From<RegisteredPolicyId> for String {
    fn from(id: RegisteredPolicyId) -> Self {
        id.0
    }
}

fn yes() -> bool {
    true
}

impl PolicyConfig {
    /// The ids of the policies that are always there, in the order in which they are asked unless an operator says otherwise.
    /// `require_approval` and `residency` are there where they are written.
    pub const BUILT_IN: [&str; 4] = ["secret_scan", "scope_check", "tool_blocklist", "rate_limit"];

    /// The id that chose it.
    pub fn id(&self) -> &str {
        match self {
            Self::SecretScan(_) => "secret_scan",
            Self::ScopeCheck(_) => "scope_check",
            Self::ToolBlocklist(_) => "tool_blocklist",
            Self::RateLimit(_) => "rate_limit",
            Self::RequireApproval(_) => "require_approval",
            Self::Residency(_) => "residency",
            Self::Registered(config) => config.id.as_str(),
        }
    }

    /// Whether it runs.
    pub const fn enabled(&self) -> bool {
        match self {
            Self::SecretScan(config) => config.enabled,
            Self::ScopeCheck(config) => config.enabled,
            Self::ToolBlocklist(config) => config.enabled,
            Self::RateLimit(config) => config.enabled,
            Self::RequireApproval(config) => config.enabled,
            Self::Residency(config) => config.enabled,
            Self::Registered(config) => config.enabled,
        }
    }

    /// Its own mode, if it has one.
    pub const fn mode(&self) -> Option<PolicyMode> {
        match self {
            Self::SecretScan(config) => config.mode,
            Self::ScopeCheck(config) => config.mode,
            Self::ToolBlocklist(config) => config.mode,
            Self::RateLimit(config) => config.mode,
            Self::RequireApproval(config) => config.mode,
            Self::Residency(config) => config.mode,
            Self::Registered(config) => config.mode,
        }
    }
}

impl GovernanceConfig {
    /// Where it is written.
    pub const PLACE: Place = Place::Service { path: "governance/config.yaml", key: "governance" };

    /// What the operator of this installation wrote, or the defaults.
    pub fn read(config: &Configuration) -> Result<Self, SectionError> {
        config.section_at(&Self::PLACE)
    }

    /// Every region and route in it that does not exist, so that no request could go where it is meant to.
    pub fn unknown_places(&self, known: &KnownNames) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        let routes = known.entities.get(&EntityKind::GatewayRoute).cloned().unwrap_or_default();
        for (index, policy) in self.policies.iter().enumerate() {
            if let PolicyConfig::Residency(config) = policy {
                config.unknown_names(&format!("/policies/{index}"), &known.regions, &routes, &mut flaws);
            }
        }
        flaws
    }

    /// Every role in it that nobody can have; `own` are those that operators declare.
    pub fn unknown_roles<'a>(&'a self, known: &'a KnownNames, own: impl Iterator<Item = &'a str>) -> Vec<Flaw> {
        let roles: BTreeSet<&str> = known.roles.iter().map(String::as_str).chain(own).collect();
        let mut flaws = Vec::new();
        for (index, policy) in self.policies.iter().enumerate() {
            if let PolicyConfig::RequireApproval(config) = policy {
                config.unknown_roles(&format!("/policies/{index}"), &roles, &mut flaws);
            }
        }
        flaws
    }

    /// Every policy of an extension that no extension brings; `brought` are those there are.
    pub fn unknown_policies(&self, brought: &BTreeSet<String>) -> Vec<Flaw> {
        let known = || brought.iter().map(String::as_str).chain(PolicyConfig::BUILT_IN);
        let unknown = self.policies.iter().enumerate().filter_map(|(index, policy)| match policy {
            PolicyConfig::Registered(config) if !brought.contains(config.id.as_str()) => {
                let id = config.id.as_str();
                let message = format!("no extension brings the policy `{id}`; {}", instead_of(id, known()));
                Some(Flaw::new(format!("/policies/{index}/id"), message))
            }
            _ => None,
        });
        unknown.collect()
    }

    /// Everything that is wrong with it although it fits the schema. Empty means that it can be used.
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for (index, policy) in self.policies.iter().enumerate() {
            let at = format!("/policies/{index}");
            if self.policies[..index].iter().any(|earlier| earlier.id() == policy.id()) {
                flaws.push(Flaw::new(format!("{at}/id"), format!("`{}` is listed twice; merge the two", policy.id())));
            }
            match policy {
                PolicyConfig::SecretScan(config) => config.flaws(&at, &mut flaws),
                PolicyConfig::ScopeCheck(config) => {
                    empty_texts(
                        config.admin_only_prefixes.iter().map(String::as_str),
                        &format!("{at}/admin_only_prefixes"),
                        &mut flaws,
                    );
                }
                PolicyConfig::ToolBlocklist(config) => {
                    empty_texts(config.patterns.iter().map(ToolPattern::as_str), &format!("{at}/patterns"), &mut flaws);
                    for (index, rule) in config.rules.iter().enumerate() {
                        rule.flaws(&format!("{at}/rules/{index}"), &mut flaws);
                    }
                }
                PolicyConfig::RateLimit(config) => config.flaws(&at, &mut flaws),
                PolicyConfig::RequireApproval(config) => config.flaws(&at, &mut flaws),
                PolicyConfig::Residency(config) => config.flaws(&at, &mut flaws),
                PolicyConfig::Registered(_) => {}
            }
        }
        self.request_guards.flaws("/request_guards", &mut flaws);
        flaws
    }
}

fn empty_texts<'a>(texts: impl Iterator<Item = &'a str>, at: &str, flaws: &mut Vec<Flaw>) {
    for (index, _) in texts.enumerate().filter(|(_, text)| text.trim().is_empty()) {
        flaws.push(Flaw::new(format!("{at}/{index}"), "is empty and would match every tool; remove it"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AccessRuleConfig;

    fn governance(json: serde_json::Value) -> Result<GovernanceConfig, String> {
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_documented_file_is_read() {
        let config = governance(serde_json::json!({
            "enabled": true,
            "mode": "enforce",
            "policies": [
                {"id": "secret_scan", "enabled": true, "extra_patterns": [{"name": "acme", "prefix": "acme_"}],
                 "entropy": {"enabled": true, "min_len": 32, "threshold": 0.8, "allowlist": "^build-"}},
                {"id": "scope_check", "enabled": true, "admin_only_prefixes": ["mcp__systemprompt__"]},
                {"id": "tool_blocklist", "enabled": false, "patterns": ["delete", "drop", "destroy"]},
                {"id": "rate_limit", "mode": "warn", "requests_per_window": 300, "window_secs": 60},
            ],
        }))
        .unwrap();
        assert_eq!(config.flaws(), []);
        assert_eq!(config.policies[3].mode(), Some(PolicyMode::Warn));
        assert!(!config.policies[2].enabled());
        let PolicyConfig::SecretScan(scan) = &config.policies[0] else { panic!("the first is the scan") };
        assert_eq!(scan.entropy.allowlist, ["^build-"]);
    }

    #[test]
    fn no_file_means_every_policy_with_its_defaults() {
        let config = governance(serde_json::json!({})).unwrap();
        assert_eq!(config, GovernanceConfig::default());
        assert_eq!(config.policies.iter().map(PolicyConfig::id).collect::<Vec<_>>(), PolicyConfig::BUILT_IN);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (json, words) in [
            (serde_json::json!({"policies": [{"id": "secretscan"}]}), "secretscan"),
            (serde_json::json!({"mode": "audit"}), "audit"),
            (serde_json::json!({"polices": []}), "polices"),
            (serde_json::json!({"policies": [{"id": "rate_limit", "requests": 3}]}), "requests"),
            (serde_json::json!({"policies": [{"id": "secret_scan", "entropy": {"minlen": 3}}]}), "minlen"),
        ] {
            let error = governance(json).expect_err("the configuration is wrong");
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_policy_nobody_brings_is_told_with_what_was_meant() {
        let config = governance(serde_json::json!({"policies": [
            {"id": "house.words"}, {"id": "house.wrods"}, {"id": "secret.scan"},
        ]}))
        .unwrap();
        let told: Vec<String> = config
            .unknown_policies(&["house.words".to_owned()].into())
            .into_iter()
            .map(|flaw| format!("{}: {}", flaw.pointer, flaw.message))
            .collect();
        assert_eq!(
            told,
            [
                "/policies/1/id: no extension brings the policy `house.wrods`; did you mean `house.words`?",
                "/policies/2/id: no extension brings the policy `secret.scan`; did you mean `secret_scan`?",
            ]
        );
    }

    #[test]
    fn a_place_that_is_not_there_is_told_with_what_was_meant() {
        let config = governance(serde_json::json!({"policies": [
            {"id": "residency", "regions": ["eu", "eu-*", "us-wset-2", "asia-*"], "routes": ["patients", "pateints"]},
        ]}))
        .unwrap();
        assert_eq!(config.flaws(), []);
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let known = KnownNames {
            regions: names(&["EU", "eu-central-1", "us-west-2"]),
            entities: [(EntityKind::GatewayRoute, names(&["patients"]))].into(),
            ..KnownNames::default()
        };
        let told: Vec<String> = config
            .unknown_places(&known)
            .into_iter()
            .map(|flaw| format!("{}: {}", flaw.pointer, flaw.message))
            .collect();
        assert_eq!(
            told,
            [
                "/policies/0/regions/2: no provider is in the region `us-wset-2`; did you mean `us-west-2`?",
                "/policies/0/regions/3: no provider is in the region `asia-*`; there are: `EU`, `eu-central-1`, `us-west-2`",
                "/policies/0/routes/1: there is no route `pateints`; did you mean `patients`?",
            ]
        );
        let empty = governance(serde_json::json!({"policies": [{"id": "residency"}]})).unwrap();
        assert_eq!(empty.flaws()[0].pointer, "/policies/0/regions");
    }

    #[test]
    fn every_flaw_is_reported_at_its_place() {
        let config = governance(serde_json::json!({"policies": [
            {"id": "rate_limit", "window_secs": 0},
            {"id": "rate_limit"},
            {"id": "secret_scan", "extra_patterns": [{"name": "My Key", "prefix": "x"}],
             "entropy": {"min_len": 3, "threshold": 1.5, "allowlist": ["ok", "("]}},
            {"id": "tool_blocklist", "patterns": [""], "rules": [
                {}, {"tools": [" "], "when": [{"path": "a..b", "regex": "("}, {"contains": "", "glob": "x"}]},
            ]},
        ]}))
        .unwrap();
        let places: Vec<_> = config.flaws().into_iter().map(|flaw| flaw.pointer).collect();
        assert_eq!(
            places,
            [
                "/policies/0/window_secs",
                "/policies/1/id",
                "/policies/2/extra_patterns/0/name",
                "/policies/2/extra_patterns/0/prefix",
                "/policies/2/entropy/min_len",
                "/policies/2/entropy/threshold",
                "/policies/2/entropy/allowlist/1",
                "/policies/3/patterns/0",
                "/policies/3/rules/0",
                "/policies/3/rules/1/tools/0",
                "/policies/3/rules/1/when/0/path",
                "/policies/3/rules/1/when/0/regex",
                "/policies/3/rules/1/when/1",
                "/policies/3/rules/1/when/1/contains",
            ]
        );
    }

    #[test]
    fn the_schema_and_the_types_agree() {
        let governance_schema = serde_json::to_value(schemars::schema_for!(GovernanceConfig)).unwrap();
        let rules_schema = serde_json::to_value(schemars::schema_for!(Vec<AccessRuleConfig>)).unwrap();
        let rule = |extra: serde_json::Value| {
            let mut rule = serde_json::json!({"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"]});
            rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            serde_json::json!([rule])
        };
        for (schema, json, valid) in [
            (&governance_schema, serde_json::to_value(GovernanceConfig::default()).unwrap(), true),
            (&governance_schema, serde_json::json!({}), true),
            (&governance_schema, serde_json::json!({"policies": [{"id": "rate_limit", "mode": "warn"}]}), true),
            (&governance_schema, serde_json::json!({"policies": [{"id": "rate_limit", "limit": 3}]}), false),
            (&governance_schema, serde_json::json!({"policies": [{"id": "unheard_of"}]}), false),
            (&governance_schema, serde_json::json!({"mode": "audit"}), false),
            (&rules_schema, rule(serde_json::json!({})), true),
            (&rules_schema, rule(serde_json::json!({"access": "deny", "justification": "x"})), true),
            (&rules_schema, rule(serde_json::json!({"access": "maybe"})), false),
            (&rules_schema, rule(serde_json::json!({"people": ["a"]})), false),
        ] {
            assert_eq!(jsonschema::is_valid(schema, &json), valid, "{json}");
            let typed = if *schema == governance_schema {
                serde_json::from_value::<GovernanceConfig>(json.clone()).is_ok()
            } else {
                serde_json::from_value::<Vec<AccessRuleConfig>>(json.clone()).is_ok()
            };
            assert_eq!(typed, valid, "{json}");
        }
    }
}
