//! Where features register what they count.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use prometheus_client::encoding::text;
use prometheus_client::registry::{Metric, Registry};

/// The metrics of one server, in the OpenMetrics text format. Cloning shares them.
///
/// An extension registers its metrics while it builds its services and keeps the counters there.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Registered>>);

#[derive(Default)]
struct Registered {
    registry: Registry,
    /// Brings gauges up to date.
    readers: Vec<Box<dyn Fn() + Send>>,
    names: BTreeSet<&'static str>,
}

impl Metrics {
    /// A registry without metrics.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metric under its full name, without the suffix (`_total`) the format adds to counters. `help` is a phrase
    /// without a full stop.
    ///
    /// A second metric of the same name would make the whole page unreadable, so it is left out and logged as an error.
    pub fn register(&self, name: &'static str, help: &'static str, metric: impl Metric) {
        let mut registered = self.0.lock().expect("no panic while the lock is held");
        if registered.names.insert(name) {
            registered.registry.register(name, help, metric);
        } else {
            tracing::error!(
                metric = name,
                "a metric of this name is registered already; the second one is not exported"
            );
        }
    }

    /// Has `read` called each time somebody asks for the page, for gauges that say how things are and that nobody else keeps
    /// up to date. It must not wait, nor use these metrics.
    pub fn before_reading(&self, read: impl Fn() + Send + 'static) {
        self.0.lock().expect("no panic while the lock is held").readers.push(Box::new(read));
    }

    /// Every metric with its present value, as the `/metrics` page shows it.
    pub fn encode(&self) -> String {
        let registered = self.0.lock().expect("no panic while the lock is held");
        registered.readers.iter().for_each(|read| read());
        let mut page = String::new();
        text::encode(&mut page, &registered.registry).expect("writing to a String does not fail");
        page
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registered = self.0.lock().expect("no panic while the lock is held");
        f.debug_tuple("Metrics").field(&registered.names).finish()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::Metrics;

    #[test]
    fn metrics_are_printed_once_each() {
        let metrics = Metrics::new();
        let counter = Counter::<u64>::default();
        metrics.register("notes_written", "Notes written", counter.clone());
        metrics.register("notes_written", "Notes written", Counter::<u64>::default());
        counter.inc_by(3);
        let page = metrics.encode();
        assert_eq!(
            page,
            "# HELP notes_written Notes written.\n# TYPE notes_written counter\nnotes_written_total 3\n# EOF\n"
        );
    }
}
