//! The profile key `gateway`.

use std::path::PathBuf;

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cache::AnswerCacheConfig;
use super::resilience::Resilience;
use super::route::RouteConfig;
use super::system_prompt::SystemPromptOverrideConfig;

/// The profile key `gateway`: whether and how models can be asked.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GatewayConfig {
    /// Whether the inference endpoints answer.
    pub enabled: bool,
    /// Rules that send a model to a provider; the first that matches wins. A model of the registry that no rule
    /// matches goes to the provider that lists it.
    pub routes: Vec<RouteConfig>,
    /// What becomes of the system prompts of callers; of those that are for the provider and model the first counts.
    pub system_prompt_overrides: Vec<SystemPromptOverrideConfig>,
    /// Adds a last rule that sends every model to this provider.
    pub default_provider: Option<String>,
    /// The model offered to clients first.
    pub default_model: Option<String>,
    /// Whether models that no provider lists may be asked for by matching a route's pattern.
    pub allow_unlisted_models: bool,
    /// The credential scheme advertised to devices.
    pub auth_scheme: AuthScheme,
    /// Path the inference endpoints are served under.
    pub inference_path_prefix: String,
    /// Whether every request must carry `x-session-id`; otherwise a session is derived from the credential, the
    /// client and the conversation.
    pub require_session_id: bool,
    /// A derived session is over after so many minutes without a request, and the next request begins another; 1 or more.
    pub session_pause_minutes: u32,
    /// Whether `GET /v1/models` answers without a credential.
    pub models_public: bool,
    /// Status of refusals by policies, of requests and of answers.
    pub policy_deny_status: PolicyDenyStatus,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// The answers that routes with a `cache` keep.
    pub answer_cache: AnswerCacheConfig,
    /// A file of models and prices instead of the built-in one.
    pub catalog: Option<CatalogConfig>,
    /// Time limits of upstream calls, retries, and what keeps requests from a provider that is down.
    #[schemars(schema_with = "Resilience::schema_for_all")]
    pub resilience: Resilience,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            routes: Vec::new(),
            system_prompt_overrides: Vec::new(),
            default_provider: None,
            default_model: None,
            allow_unlisted_models: false,
            auth_scheme: AuthScheme::Bearer,
            inference_path_prefix: "/v1".to_owned(),
            require_session_id: false,
            session_pause_minutes: 30,
            models_public: false,
            policy_deny_status: PolicyDenyStatus::default(),
            max_body_bytes: 32 * 1024 * 1024,
            answer_cache: AnswerCacheConfig::default(),
            catalog: None,
            resilience: Resilience::default(),
        }
    }
}

impl GatewayConfig {
    /// Where clients of Google's API find theirs: beside ours if that is called as Google's is, below it otherwise.
    pub(crate) fn google_path_prefix(&self) -> String {
        let prefix = self.inference_path_prefix.as_str();
        format!("{}/v1beta", prefix.strip_suffix("/v1").unwrap_or(prefix))
    }

    /// When a derived session is over.
    pub(crate) fn session_pause(&self) -> TimeDelta {
        TimeDelta::minutes(self.session_pause_minutes.into())
    }
}

/// Where models and prices are read from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CatalogConfig {
    /// A JSON file in the form of the built-in one (`version`, `currency`, `models`), relative to the profile.
    pub path: PathBuf,
}

/// How clients present their credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AuthScheme {
    /// `Authorization: Bearer`.
    Bearer,
    /// `x-api-key`.
    XApiKey,
}

/// The HTTP status of a refusal by a policy: 451 (default), 400 or 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PolicyDenyStatus(u16);

impl PolicyDenyStatus {
    /// The status code.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for PolicyDenyStatus {
    /// 451: desktop clients treat 401 and 403 as a broken credential and start a new sign-in, and coding assistants take 400
    /// for a request that they can mend and send it again up to ten times.
    fn default() -> Self {
        Self(451)
    }
}

impl TryFrom<u16> for PolicyDenyStatus {
    type Error = String;

    fn try_from(status: u16) -> Result<Self, String> {
        match status {
            400 | 403 | 451 => Ok(Self(status)),
            _ => Err(format!("{status} is not one of 400, 403, 451")),
        }
    }
}

impl From<PolicyDenyStatus> for u16 {
    fn from(status: PolicyDenyStatus) -> u16 {
        status.0
    }
}

impl JsonSchema for PolicyDenyStatus {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PolicyDenyStatus".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": [400, 403, 451] })
    }
}
