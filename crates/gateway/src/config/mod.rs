//! The profile keys `providers` and `gateway`, and the checks they must pass before the server starts.

mod address;
mod check;
mod gateway;
mod provider;
mod resilience;
mod route;

pub(crate) use address::is_public;
pub(crate) use check::{Surroundings, check};
pub(crate) use gateway::{AuthScheme, GatewayConfig, PolicyDenyStatus};
pub(crate) use provider::{DataHandling, ProviderConfig, ProviderWire, Surface};
pub(crate) use resilience::{Protection, Resolved, Retries, Timeouts};
pub(crate) use route::{Place, StreamRecovery, When, strip_marker};
