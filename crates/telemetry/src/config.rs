//! The profile key `telemetry`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_config::Place;

/// Where the settings are.
pub(crate) const PLACE: Place = Place::Profile { key: "telemetry" };

/// The profile key `telemetry`: OpenTelemetry, in and out.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TelemetryConfig {
    /// Telemetry that clients send.
    pub ingest: IngestConfig,
}

/// The profile key `telemetry.ingest`: what clients such as coding assistants report of their own work.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IngestConfig {
    /// Whether telemetry is taken at `/v1/otel`.
    pub enabled: bool,
    /// Largest request body in bytes, as it is sent and unpacked.
    #[schemars(range(min = 1, max = 67_108_864))]
    pub max_body_bytes: usize,
    /// For how many days it is kept.
    #[schemars(range(min = 1, max = 36_500))]
    pub retention_days: u32,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self { enabled: true, max_body_bytes: 4 * 1024 * 1024, retention_days: 30 }
    }
}
