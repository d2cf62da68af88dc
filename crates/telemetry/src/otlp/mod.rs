//! The messages of the OpenTelemetry protocol 1.x, as far as they are used here: fields that are not named are skipped by
//! whoever reads, as protobuf wants it.
//!
//! They are written out by hand: the crate that has all of them generated brings the SDK of OpenTelemetry and a gRPC stack
//! along, and these are forty structs that will not change. One definition serves protobuf (`prost`) and reading JSON, which
//! differs from the usual JSON of protobuf in that ids are hexadecimal and enumerations are numbers.

mod common;
mod json;
mod logs;
mod metrics;
mod reply;
mod trace;

pub use common::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, Resource, any_value};
pub use logs::{ExportLogsServiceRequest, LogRecord, ResourceLogs, ScopeLogs};
pub use metrics::{
    Buckets, ExponentialHistogram, ExponentialHistogramDataPoint, ExportMetricsServiceRequest, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
    ValueAtQuantile, metric, number_data_point,
};
pub use reply::{ExportReply, PartialSuccess, RpcStatus};
pub use trace::{Event, ExportTraceServiceRequest, Link, ResourceSpans, ScopeSpans, Span, Status};
