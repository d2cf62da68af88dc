//! The profile keys `providers` and `gateway`, `services/ai/config.yaml`, and the checks they must pass before the server starts.

mod address;
mod ai;
mod auth;
mod cache;
mod check;
mod check_auth;
mod gateway;
mod provider;
mod resilience;
mod route;
mod surroundings;
mod system_prompt;
mod wire;

pub(crate) use address::{check_address, check_webhook, is_public, with_metadata};
pub(crate) use ai::AiConfig;
pub(crate) use auth::{Auth, IdentityConfig, IdentitySource};
pub(crate) use cache::{AnswerCacheConfig, CacheScope, RouteCacheConfig};
pub(crate) use check::check;
pub(crate) use gateway::{AuthScheme, GatewayConfig, PolicyDenyStatus};
pub(crate) use provider::{DataHandling, MaxTokensField, ProviderConfig, Surface};
pub(crate) use resilience::{Protection, Resolved, Retries, Timeouts};
pub(crate) use route::{Place, StreamRecovery, When, strip_marker};
pub(crate) use surroundings::Surroundings;
pub(crate) use system_prompt::{NO_OVERRIDE, PromptText, SystemPromptAction};
pub(crate) use wire::ProviderWire;
