//! How long to wait for a provider, how often to try again, and when to leave it alone.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// How upstream calls are bounded, repeated and kept from a provider that is down. Times are in milliseconds; a time limit
/// of 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resilience {
    /// Establishing a connection, name look-up and TLS included. Default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout_ms: Option<u64>,
    /// From sending a streamed request to the first byte of the answer. Default 600000: models think that long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout_ms: Option<u64>,
    /// How long a caller who asked for a stream waits for the head of the provider's answer. After it the caller gets status
    /// 200 and signs of life, so that nothing in between hangs up, and an error of the provider comes as an event. Default
    /// 45000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_patience_ms: Option<u64>,
    /// Between two chunks of an answer. Default 600000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle_timeout_ms: Option<u64>,
    /// The whole call to one provider, if the answer is not streamed: its first byte is its last, so nothing else bounds it.
    /// A stream may go on as long as something comes. Default 900000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout_ms: Option<u64>,
    /// The whole call to one provider for an answer with images. Default 300000 for the wires `gemini` and `vertex-gemini`,
    /// 120000 for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_timeout_ms: Option<u64>,
    /// Keeping a connection on which nothing is asked; less if the provider says so in `Keep-Alive`. Default 15000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_idle_timeout_ms: Option<u64>,
    /// Policies' look at an answer that they hold back. What they did not judge by then the caller does not get. Default
    /// 30000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspection_timeout_ms: Option<u64>,
    /// How often a request is sent once more to a provider that could not be reached or refused it with 408, 425, 429, 500,
    /// 502, 503, 504 or 529: the budget of the whole request, whatever its fallbacks; 0 for never. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_attempts: Option<u32>,
    /// The wait before the first of these attempts; it doubles for each further one, and chance takes up to half of it away.
    /// Default 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_base_delay_ms: Option<u64>,
    /// The longest wait before one of these attempts. A provider that asks for a longer one (`Retry-After`) is not asked
    /// again: the next fallback is, or the caller gets its answer. Default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_max_delay_ms: Option<u64>,
    /// After so many failures in a row (statuses from 500, no connection, no answer) a model of a provider is left alone;
    /// 0 for never. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker_failure_threshold: Option<u32>,
    /// For how long it is left alone. Default 30000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker_open_cooldown_ms: Option<u64>,
    /// With so many requests at a time it is tried out afterwards; it is back when as many have been answered. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub breaker_half_open_probes: Option<u32>,
    /// Most requests that a provider has at a time; what is more goes to the next fallback or is refused; 0 is no limit.
    /// Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<usize>,
}

impl Resilience {
    /// What is in force where nobody says otherwise.
    pub(crate) const USUAL: Self = Self {
        connect_timeout_ms: Some(10_000),
        first_byte_timeout_ms: Some(600_000),
        head_patience_ms: Some(45_000),
        stream_idle_timeout_ms: Some(600_000),
        request_timeout_ms: Some(900_000),
        // The wire says it.
        image_timeout_ms: None,
        pool_idle_timeout_ms: Some(15_000),
        inspection_timeout_ms: Some(30_000),
        retry_attempts: Some(2),
        retry_base_delay_ms: Some(200),
        retry_max_delay_ms: Some(10_000),
        breaker_failure_threshold: Some(5),
        breaker_open_cooldown_ms: Some(30_000),
        breaker_half_open_probes: Some(1),
        max_concurrent: Some(0),
    };

    /// The schema of the settings for all providers, in which each has its usual value as default. One provider's own
    /// have none: what they leave out is that of all.
    pub(crate) fn schema_for_all(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Self::json_schema(generator);
        let usual = serde_json::to_value(Self::USUAL).unwrap_or_default();
        for (key, value) in usual.as_object().into_iter().flatten() {
            let property = schema.pointer_mut(&format!("/properties/{key}")).and_then(serde_json::Value::as_object_mut);
            if let Some(property) = property {
                property.insert("default".to_owned(), value.clone());
            }
        }
        schema
    }
}

/// The time limits in force for one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// Establishing a connection.
    pub connect: Duration,
    /// Until the head of a streamed answer.
    pub first_byte: Duration,
    /// Until the caller of a stream is answered without a head from the provider.
    pub head_patience: Duration,
    /// Between two chunks.
    pub idle: Duration,
    /// The whole call, if it is not streamed.
    pub total: Duration,
    /// The whole call, if the answer is to have images; as long as such a provider usually needs if nobody says it.
    pub images: Option<Duration>,
    /// Keeping an idle connection.
    pub pool_idle: Duration,
    /// Policies' look at an answer.
    pub inspection: Duration,
}

/// How often a request is sent once more to the same provider, and after which wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retries {
    /// How often.
    pub attempts: u32,
    /// The wait before the first of them.
    pub base_delay: Duration,
    /// The longest wait.
    pub max_delay: Duration,
}

/// What keeps requests from a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Protection {
    /// Failures in a row after which a model is left alone; none for never.
    pub failure_threshold: Option<u32>,
    /// For how long.
    pub cooldown: Duration,
    /// How many requests try it out at a time afterwards.
    pub probes: u32,
    /// Most requests at a time.
    pub max_concurrent: Option<usize>,
}

/// The settings of a provider over those of the gateway over the defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolved<'a> {
    gateway: &'a Resilience,
    provider: Option<&'a Resilience>,
}

impl<'a> Resolved<'a> {
    /// The settings of one provider.
    pub(crate) const fn new(gateway: &'a Resilience, provider: Option<&'a Resilience>) -> Self {
        Self { gateway, provider }
    }

    fn pick<T>(&self, field: impl Fn(&Resilience) -> Option<T>) -> Option<T> {
        self.provider.and_then(&field).or_else(|| field(self.gateway)).or_else(|| field(&Resilience::USUAL))
    }

    fn millis(&self, field: impl Fn(&Resilience) -> Option<u64>) -> Duration {
        Duration::from_millis(self.pick(field).unwrap_or_default())
    }

    /// The time limits.
    pub(crate) fn timeouts(&self) -> Timeouts {
        // A year stands for "no limit": timers need no second code path.
        const UNLIMITED: Duration = Duration::from_hours(365 * 24);
        let limit = |field: fn(&Resilience) -> Option<u64>| match self.millis(field) {
            Duration::ZERO => UNLIMITED,
            limit => limit,
        };
        Timeouts {
            connect: limit(|r| r.connect_timeout_ms),
            first_byte: limit(|r| r.first_byte_timeout_ms),
            head_patience: limit(|r| r.head_patience_ms),
            idle: limit(|r| r.stream_idle_timeout_ms),
            total: limit(|r| r.request_timeout_ms),
            images: self.pick(|r| r.image_timeout_ms).map(|_| limit(|r| r.image_timeout_ms)),
            pool_idle: limit(|r| r.pool_idle_timeout_ms),
            inspection: limit(|r| r.inspection_timeout_ms),
        }
    }

    /// The retries.
    pub(crate) fn retries(&self) -> Retries {
        Retries {
            attempts: self.pick(|r| r.retry_attempts).unwrap_or_default(),
            base_delay: self.millis(|r| r.retry_base_delay_ms),
            max_delay: self.millis(|r| r.retry_max_delay_ms),
        }
    }

    /// The protection.
    pub(crate) fn protection(&self) -> Protection {
        Protection {
            failure_threshold: self.pick(|r| r.breaker_failure_threshold).filter(|threshold| *threshold > 0),
            cooldown: self.millis(|r| r.breaker_open_cooldown_ms),
            probes: self.pick(|r| r.breaker_half_open_probes).unwrap_or(1).max(1),
            max_concurrent: self.pick(|r| r.max_concurrent).filter(|limit| *limit > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_fall_back_from_provider_to_gateway_to_default() {
        let gateway = Resilience {
            connect_timeout_ms: Some(5),
            first_byte_timeout_ms: Some(6),
            retry_attempts: Some(1),
            ..Resilience::default()
        };
        let provider = Resilience {
            connect_timeout_ms: Some(1),
            request_timeout_ms: Some(0),
            max_concurrent: Some(3),
            breaker_failure_threshold: Some(0),
            ..Resilience::default()
        };
        let resolved = Resolved::new(&gateway, Some(&provider));
        let timeouts = resolved.timeouts();
        assert_eq!(timeouts.connect, Duration::from_millis(1));
        assert_eq!(timeouts.first_byte, Duration::from_millis(6));
        assert_eq!(timeouts.idle, Duration::from_mins(10));
        assert!(timeouts.total > Duration::from_secs(1_000_000));
        let millis = Duration::from_millis;
        let retries = Retries { attempts: 1, base_delay: millis(200), max_delay: millis(10_000) };
        assert_eq!(resolved.retries(), retries);
        let protection =
            Protection { failure_threshold: None, cooldown: millis(30_000), probes: 1, max_concurrent: Some(3) };
        assert_eq!(resolved.protection(), protection);
        let usual = Resolved::new(&Resilience::default(), None).protection();
        assert_eq!((usual.failure_threshold, usual.max_concurrent), (Some(5), None));
    }
}
