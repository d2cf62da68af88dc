//! The documents an operator writes: `services/governance/config.yaml` (policies), `services/gateway/*.yaml` (quotas, safety) and
//! `services/access-control/*.yaml` (who may use what). Unknown keys, policy ids and modes are errors.

mod access;
pub(crate) mod authz;
mod call_rule;
mod flaw;
mod governance;
mod mode;
pub(crate) mod quota;
mod rate_limit;
mod request_guards;
mod require_approval;
mod residency;
pub(crate) mod safety;
mod scope_check;
mod secret_rules;
mod secret_scan;
pub(crate) mod shipping;
mod tool_blocklist;
mod tool_pattern;

pub use self::access::{Access, AccessControlConfig, AccessRuleConfig, GroupConfig, RoleConfig, no_such_role};
pub use self::authz::{ACKNOWLEDGEMENT, AuthzHookConfig, AuthzMode, AuthzProfile};
pub use self::call_rule::{ArgumentCondition, CallRule};
pub use self::flaw::Flaw;
pub use self::governance::{GovernanceConfig, PolicyConfig, RegisteredPolicyConfig, RegisteredPolicyId};
pub use self::mode::{FaultMode, OfferedMode, PolicyMode};
pub use self::quota::{
    CalendarPeriod, GatewayPolicyConfig, GatewayPolicySpec, QuotaAlertConfig, QuotaMailConfig, QuotaMatch,
    QuotaReservation, QuotaSubject, QuotaWebhookConfig, QuotaWindowConfig, TimeZone,
};
pub use self::rate_limit::RateLimitConfig;
pub use self::request_guards::RequestGuardsConfig;
pub use self::require_approval::{Approvers, ProposalMode, RequireApprovalConfig};
pub use self::residency::ResidencyConfig;
pub use self::safety::{HeuristicConfig, HistoryScan, SafetyConfig, StreamGuardMode};
pub use self::scope_check::ScopeCheckConfig;
pub use self::secret_rules::{AddedRule, AllowedSecret, LengthConfig, SamplesConfig, ScanRulesConfig};
pub use self::secret_scan::{AnswerAction, EntropyConfig, ExtraPattern, SecretAction, SecretScanConfig};
pub use self::shipping::{
    FileShipmentConfig, ObjectLockConfig, ObjectLockMode, ObjectStoreShipmentConfig, OtlpShipmentConfig,
    ShipmentConfig, Shipped, WebhookShipmentConfig,
};
pub use self::tool_blocklist::ToolBlocklistConfig;
pub use self::tool_pattern::ToolPattern;
pub(crate) use self::tool_pattern::words;
