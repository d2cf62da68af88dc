//! Telemetry of the gateway itself, sent to a collector.
//!
//! Whoever has something to report builds the messages of the protocol when it is over ([`Exporter::report`],
//! [`Exporter::measure`]); nothing is done while a request runs, and nothing at all without a collector: there is no
//! exporter then. Reporting never waits. Spans go into a bounded queue, and what does not fit is dropped and counted.
//!
//! The SDK of OpenTelemetry is not used: its spans are objects that live through the request, its metrics go through an
//! aggregation for every kind of instrument, its exporter brings a second HTTP client. What is needed of it is a queue, six
//! histograms and a POST, over the client and the messages that are there anyway.

mod collector;
mod counters;
mod measures;
mod page;
mod time;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};

use systemprompt_config::Configuration;
use systemprompt_extension::Metrics;
use systemprompt_governance::secret_scan::{REDACTED, SecretScanner};
use systemprompt_model::{Ambient, InstanceId};
use tokio::sync::mpsc;

use crate::config::{ExportConfig, Sampling};
use crate::otlp::{AnyValue, KeyValue, Resource, Span, any_value};

pub use collector::CollectorError;
use counters::ExportCounters;
pub use measures::Instrument;
use measures::Measures;
use time::nanoseconds;
pub(crate) use worker::Worker;

/// Requests whose spans wait to be sent.
const QUEUE: usize = 4096;

/// Sends telemetry to a collector. There is one only if the configuration names a collector.
pub struct Exporter {
    /// `None` if no spans are wanted.
    spans: Option<mpsc::Sender<Vec<Span>>>,
    /// `None` if no metrics are wanted.
    measures: Option<Arc<Mutex<Measures>>>,
    sampling: Sampling,
    scanner: Arc<SecretScanner>,
    ambient: Ambient,
    counters: ExportCounters,
}

impl Exporter {
    /// The exporter the configuration asks for, and what does its work.
    pub(crate) fn new(
        config: &ExportConfig,
        configuration: &Configuration,
        scanner: Arc<SecretScanner>,
        ambient: &Ambient,
        instance: InstanceId,
        metrics: &Metrics,
    ) -> Result<Option<(Self, Worker)>, CollectorError> {
        // The counters are there whether or not anything is exported, so that alerts can name them.
        let counters = ExportCounters::new(metrics);
        let Some(collector) = collector::Collector::new(config, &configuration.secrets)? else { return Ok(None) };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let started = nanoseconds(ambient);
        let measures = config.metrics.then(|| Arc::new(Mutex::new(Measures::new(started))));
        let page = config.metrics.then(|| metrics.clone());
        let worker = Worker {
            collector,
            queue: receiver,
            waiting: Vec::new(),
            measures: measures.clone(),
            page,
            started,
            interval: std::time::Duration::from_secs(config.metrics_interval_secs.into()),
            resource: resource(config, instance),
            ambient: ambient.clone(),
            counters: counters.clone(),
        };
        let exporter = Self {
            spans: config.traces.then_some(sender),
            measures,
            sampling: config.sampling,
            scanner,
            ambient: ambient.clone(),
            counters,
        };
        Ok(Some((exporter, worker)))
    }

    /// Whether a request has spans whose caller does or does not record its own; `None` for one that does not say.
    pub fn samples(&self, caller_records: Option<bool>) -> bool {
        self.spans.is_some() && (self.sampling == Sampling::Always || caller_records.unwrap_or(true))
    }

    /// The id of a span.
    pub fn span_id(&self) -> [u8; 8] {
        span_id(&self.ambient)
    }

    /// Now, in nanoseconds since 1970.
    pub fn now(&self) -> u64 {
        nanoseconds(&self.ambient)
    }

    /// A text a stranger chose, without credentials in it.
    pub fn clean(&self, text: &str) -> String {
        if self.scanner.flags_id(text) { REDACTED.to_owned() } else { text.to_owned() }
    }

    /// Has the spans of a request sent.
    pub fn report(&self, spans: Vec<Span>) {
        let Some(queue) = &self.spans else { return };
        let count = spans.len() as u64;
        if queue.try_send(spans).is_err() {
            self.counters.dropped("traces", count);
        }
    }

    /// Counts a measurement in.
    pub fn measure(&self, instrument: Instrument, attributes: &[(&'static str, &str)], value: f64) {
        if let Some(measures) = &self.measures {
            measures.lock().unwrap_or_else(PoisonError::into_inner).record(instrument, attributes, value);
        }
    }
}

/// The id of a span that nobody else has.
pub fn span_id(ambient: &Ambient) -> [u8; 8] {
    let mut id: [u8; 8] = ambient.bytes();
    // Zeros are no id.
    id[0] |= 1;
    id
}

fn resource(config: &ExportConfig, instance: InstanceId) -> Resource {
    let mut attributes = vec![
        KeyValue::text("service.name", config.service_name.clone()),
        KeyValue::text("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::text("service.instance.id", instance.as_uuid().to_string()),
    ];
    attributes.extend(config.resource.iter().map(|(key, value)| KeyValue {
        key: key.clone(),
        value: Some(AnyValue { value: Some(any_value::Value::String(value.clone())) }),
    }));
    Resource { attributes }
}
