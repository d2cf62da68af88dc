//! What the server counts of its HTTP traffic (gateway specification §12).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use systemprompt_config::profile::RateGroup;
use systemprompt_extension::{DbPool, Metrics};
use systemprompt_model::UserType;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Labels {
    method: Method,
    path: Arc<str>,
    status: u16,
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        use prometheus_client::encoding::EncodeLabel;
        ("method", self.method.as_str()).encode(encoder.encode_label())?;
        ("path", self.path.as_ref()).encode(encoder.encode_label())?;
        ("status", self.status.to_string()).encode(encoder.encode_label())
    }
}

/// The server's metrics.
#[derive(Clone)]
pub(crate) struct HttpMetrics {
    requests: Family<Labels, Counter>,
    duration: Family<Labels, Histogram>,
    in_flight: Gauge,
}

/// Counts a request as in flight until it is dropped, also when the caller goes away first.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl HttpMetrics {
    pub(crate) fn new(registry: &Metrics) -> Self {
        let metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_25, 2.0, 18))),
            in_flight: Gauge::default(),
        };
        registry.register("http_requests", "HTTP requests by route and status", metrics.requests.clone());
        registry.register("http_request_duration_seconds", "Time to the head of the answer", metrics.duration.clone());
        registry.register(
            "http_requests_in_flight",
            "HTTP requests whose answer has not begun",
            metrics.in_flight.clone(),
        );
        metrics
    }

    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(crate) fn finish(&self, method: &Method, path: &Arc<str>, status: StatusCode, elapsed: Duration) {
        // Methods are the caller's free text too.
        let known =
            [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
        let method =
            if known.contains(method) { method.clone() } else { Method::from_bytes(b"OTHER").expect("a token") };
        let labels = Labels { method, path: path.clone(), status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
        self.duration.get_or_create(&labels).observe(elapsed.as_secs_f64());
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RefusalLabels {
    group: &'static str,
    tier: &'static str,
}

impl EncodeLabelSet for RefusalLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        use prometheus_client::encoding::EncodeLabel;
        ("group", self.group).encode(encoder.encode_label())?;
        ("tier", self.tier).encode(encoder.encode_label())
    }
}

/// Requests that were one too many.
#[derive(Clone)]
pub(crate) struct RefusalMetrics(Family<RefusalLabels, Counter>);

impl RefusalMetrics {
    pub(crate) fn new(registry: &Metrics) -> Self {
        let refused = Family::default();
        registry.register(
            "http_requests_rate_limited",
            "HTTP requests refused by a rate limit, by group of endpoints (`address` before the caller is known) and tier",
            refused.clone(),
        );
        let metrics = Self(refused);
        // All of them are there from the start, so that an alert sees the first one.
        for tier in UserType::ALL {
            for group in RateGroup::ALL {
                drop(metrics.of(Some(group), tier));
            }
        }
        drop(metrics.of(None, UserType::Anon));
        metrics
    }

    pub(crate) fn count(&self, group: Option<RateGroup>, tier: UserType) {
        self.of(group, tier).inc();
    }

    fn of(&self, group: Option<RateGroup>, tier: UserType) -> Counter {
        let group = group.map_or("address", RateGroup::as_str);
        self.0.get_or_create(&RefusalLabels { group, tier: tier.as_str() }).clone()
    }
}

/// Connections of clients. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionMetrics {
    open: Gauge,
    refused: Family<ReasonLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl ConnectionMetrics {
    pub(crate) fn new(registry: &Metrics) -> Self {
        let metrics = Self::default();
        registry.register("http_connections_open", "Connections of clients that are open", metrics.open.clone());
        registry.register(
            "http_connections_refused",
            "Connections that were closed at once: as many as allowed were open (`everything`), or of one address (`share`)",
            metrics.refused.clone(),
        );
        for reason in ["everything", "share"] {
            drop(metrics.refused.get_or_create(&ReasonLabels { reason }));
        }
        metrics
    }

    pub(crate) fn opened(&self) {
        self.open.inc();
    }

    pub(crate) fn closed(&self) {
        self.open.dec();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabel {
    pool: &'static str,
}

/// Connections to the database, by pool.
pub(crate) fn describe_pools(registry: &Metrics, db: &DbPool) {
    let connections = Family::<PoolLabels, Gauge>::default();
    let most = Family::<PoolLabel, Gauge>::default();
    registry.register(
        "database_pool_connections",
        "Connections to PostgreSQL by pool; when all of the most are `in_use`, requests wait for one",
        connections.clone(),
    );
    registry.register("database_pool_max_connections", "The most connections of a pool", most.clone());
    let db = Arc::clone(db);
    registry.before_reading(move || {
        for (pool, connected) in [("read", db.read()), ("write", db.write())] {
            let idle = connected.num_idle();
            let in_use = (connected.size() as usize).saturating_sub(idle);
            for (state, count) in [("idle", idle), ("in_use", in_use)] {
                connections.get_or_create(&PoolLabels { pool, state }).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            most.get_or_create(&PoolLabel { pool }).set(connected.options().get_max_connections().into());
        }
    });
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// What runs, since when, and what it takes of the machine. What the system does not tell stays 0.
pub(crate) fn describe_process(registry: &Metrics, started: DateTime<Utc>) {
    let build = Family::<BuildLabels, Gauge>::default();
    build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("systemprompt_build_info", "1, with the version that runs", build);
    let start = Gauge::<f64, AtomicU64>::default();
    start.set(started.timestamp_micros() as f64 / 1e6);
    registry.register("process_start_time_seconds", "When the server started, in seconds since 1970", start);
    let (memory, files, most_files) = (Gauge::<i64>::default(), Gauge::<i64>::default(), Gauge::<i64>::default());
    registry.register("process_resident_memory_bytes", "Memory in use", memory.clone());
    registry.register("process_open_fds", "Open files and connections", files.clone());
    registry.register("process_max_fds", "The most open files and connections", most_files.clone());
    let processor = Counter::<f64, AtomicU64>::default();
    registry.register("process_cpu_seconds", "Processor time used", processor.clone());
    registry.before_reading(move || {
        let own = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
        memory.set(resident_bytes(&own("status")).unwrap_or(0));
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        // Looking takes one.
        files.set(i64::try_from(open.saturating_sub(1)).unwrap_or(i64::MAX));
        most_files.set(most_open_files(&own("limits")).unwrap_or(0));
        let used = processor_seconds(&own("stat")).unwrap_or(0.0);
        processor.inc_by((used - processor.get()).max(0.0));
    });
}

/// `VmRSS` of `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<i64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// The soft limit of `/proc/self/limits`.
fn most_open_files(limits: &str) -> Option<i64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time of `/proc/self/stat`, which Linux counts in hundredths of a second on every platform.
fn processor_seconds(stat: &str) -> Option<f64> {
    // The name of the program, in parentheses, may hold spaces.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_tells_of_a_process_is_read() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t   12 kB\nThreads:\t1\n"), Some(12288));
        assert_eq!(
            most_open_files("Max open files            1024                 4096                 files\n"),
            Some(1024)
        );
        let stat = "1 (a (b) c) S 0 1 1 0 -1 4194560 10 0 0 0 150 50 0 0 20 0 1 0 5 1 1";
        assert_eq!(processor_seconds(stat), Some(2.0));
        for nothing in ["", "1 (x", "VmRSS:"] {
            assert_eq!((resident_bytes(nothing), most_open_files(nothing)), (None, None));
            assert_eq!(processor_seconds(nothing), None);
        }
    }

    #[test]
    fn what_an_alert_needs_is_there_from_the_start() {
        let registry = Metrics::new();
        describe_process(&registry, DateTime::from_timestamp(1_800_000_000, 0).expect("a time"));
        ConnectionMetrics::new(&registry);
        let page = registry.encode();
        for line in [
            concat!("systemprompt_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "process_start_time_seconds 1800000000.0",
            "http_connections_open 0",
            "http_connections_refused_total{reason=\"everything\"} 0",
            "http_connections_refused_total{reason=\"share\"} 0",
        ] {
            assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
        }
        assert!(!page.contains("process_resident_memory_bytes 0") && !page.contains("process_open_fds 0"), "{page}");
    }
}
