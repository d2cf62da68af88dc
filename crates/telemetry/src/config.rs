//! The profile key `telemetry`.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_config::{Configuration, Place, Problem};

/// Where the settings are.
pub(crate) const PLACE: Place = Place::Profile { key: "telemetry" };

/// The profile key `telemetry`: OpenTelemetry, in and out.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TelemetryConfig {
    /// Telemetry that clients send.
    pub ingest: IngestConfig,
    /// Telemetry of the gateway itself, sent to a collector.
    pub export: ExportConfig,
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

/// The profile key `telemetry.export`: a span for each model request and metrics, in OTLP/HTTP. What was asked and answered
/// is never part of them.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExportConfig {
    /// Base URL of the collector, such as `http://127.0.0.1:4318`; `/v1/traces` and `/v1/metrics` are added. Absent: nothing
    /// is exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Headers sent along.
    pub headers: BTreeMap<String, String>,
    /// Headers whose values are secrets, with the names of these.
    pub secret_headers: BTreeMap<String, String>,
    /// Whether spans are exported.
    pub traces: bool,
    /// Whether metrics are exported.
    pub metrics: bool,
    /// How often metrics are exported, in seconds.
    #[schemars(range(min = 1, max = 3600))]
    pub metrics_interval_secs: u32,
    /// Which requests have spans.
    pub sampling: Sampling,
    /// `service.name` of what is exported.
    pub service_name: String,
    /// Further attributes of the resource, such as `deployment.environment.name`.
    pub resource: BTreeMap<String, String>,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: BTreeMap::new(),
            secret_headers: BTreeMap::new(),
            traces: true,
            metrics: true,
            metrics_interval_secs: 60,
            sampling: Sampling::Parent,
            service_name: "systemprompt".to_owned(),
            resource: BTreeMap::new(),
        }
    }
}

/// Which requests have spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sampling {
    /// All but those whose caller says in `traceparent` that it does not record its own.
    Parent,
    /// All.
    Always,
}

impl ExportConfig {
    /// What the schema cannot say.
    pub(crate) fn problems(&self, config: &Configuration) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut tell = |pointer: String, message: String| {
            problems.push(config.error(PLACE.key(), &format!("/export{pointer}"), message));
        };
        if let Some(endpoint) = &self.endpoint
            && let Err(why) = base(endpoint)
        {
            tell("/endpoint".to_owned(), why.to_owned());
        }
        for (name, value) in &self.headers {
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
                tell(format!("/headers/{name}"), format!("`{name}` and its value are no header"));
            }
        }
        for (name, secret) in &self.secret_headers {
            let pointer = format!("/secret_headers/{name}");
            let Some(value) = config.secrets.get(secret) else {
                tell(pointer, format!("there is no secret `{secret}`"));
                continue;
            };
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value.expose()).is_err() {
                tell(pointer, format!("`{name}` and the secret `{secret}` are no header"));
            }
        }
        problems
    }
}

/// The address signals are added to, without a slash at its end.
pub(crate) fn base(endpoint: &str) -> Result<&str, &'static str> {
    const WANTED: &str = "it is no http:// or https:// URL without a query, such as http://127.0.0.1:4318";
    let uri: Uri = endpoint.parse().map_err(|_| WANTED)?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let is_plain = uri.query().is_none() && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if is_web && is_plain { Ok(endpoint.trim_end_matches('/')) } else { Err(WANTED) }
}
