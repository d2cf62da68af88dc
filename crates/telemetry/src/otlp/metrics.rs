//! `opentelemetry.proto.metrics.v1` and its collector service.

use prost::Message;
use serde::Deserialize;

use super::json::{number, numbers, optional_number, signed, unsigned, unsigned_list};
use super::{InstrumentationScope, KeyValue, Resource};

/// What `POST /v1/metrics` takes.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportMetricsServiceRequest {
    /// Metrics by what produced them.
    #[prost(message, repeated, tag = "1")]
    pub resource_metrics: Vec<ResourceMetrics>,
}

/// Metrics of one resource.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceMetrics {
    /// What produced them.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// Metrics by library.
    #[prost(message, repeated, tag = "2")]
    pub scope_metrics: Vec<ScopeMetrics>,
}

/// Metrics of one library.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeMetrics {
    /// The library.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// The metrics.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
}

/// Something that is measured.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(from = "JsonMetric")]
pub struct Metric {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it says.
    #[prost(string, tag = "2")]
    pub description: String,
    /// In which unit.
    #[prost(string, tag = "3")]
    pub unit: String,
    /// What was measured.
    #[prost(oneof = "metric::Data", tags = "5, 7, 9, 10, 11")]
    pub data: Option<metric::Data>,
}

/// The kinds of [`Metric`].
pub mod metric {
    use prost::Oneof;

    use super::{ExponentialHistogram, Gauge, Histogram, Sum, Summary};

    /// What was measured, by the kind of metric.
    #[derive(Clone, PartialEq, Oneof)]
    pub enum Data {
        /// How something is.
        #[prost(message, tag = "5")]
        Gauge(Gauge),
        /// How much there was of something.
        #[prost(message, tag = "7")]
        Sum(Sum),
        /// How something is distributed.
        #[prost(message, tag = "9")]
        Histogram(Histogram),
        /// The same, in buckets that grow.
        #[prost(message, tag = "10")]
        ExponentialHistogram(ExponentialHistogram),
        /// The same, as quantiles.
        #[prost(message, tag = "11")]
        Summary(Summary),
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JsonMetric {
    name: String,
    description: String,
    unit: String,
    gauge: Option<Gauge>,
    sum: Option<Sum>,
    histogram: Option<Histogram>,
    exponential_histogram: Option<ExponentialHistogram>,
    summary: Option<Summary>,
}

impl From<JsonMetric> for Metric {
    fn from(json: JsonMetric) -> Self {
        use metric::Data;
        let data = None
            .or(json.gauge.map(Data::Gauge))
            .or(json.sum.map(Data::Sum))
            .or(json.histogram.map(Data::Histogram))
            .or(json.exponential_histogram.map(Data::ExponentialHistogram))
            .or(json.summary.map(Data::Summary));
        Self { name: json.name, description: json.description, unit: json.unit, data }
    }
}

/// How something is.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gauge {
    /// By attributes.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberDataPoint>,
}

/// How much there was of something.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sum {
    /// By attributes.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberDataPoint>,
    /// Since the last report 1, since the beginning 2.
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
    /// Whether it only grows.
    #[prost(bool, tag = "3")]
    pub is_monotonic: bool,
}

/// How something is distributed.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Histogram {
    /// By attributes.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<HistogramDataPoint>,
    /// Since the last report 1, since the beginning 2.
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
}

/// How something is distributed, in buckets that grow.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExponentialHistogram {
    /// By attributes.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<ExponentialHistogramDataPoint>,
    /// Since the last report 1, since the beginning 2.
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
}

/// How something is distributed, as quantiles.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// By attributes.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<SummaryDataPoint>,
}

/// A number for a set of attributes.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(from = "JsonNumber")]
pub struct NumberDataPoint {
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// What it is about.
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<KeyValue>,
    /// The number.
    #[prost(oneof = "number_data_point::Value", tags = "4, 6")]
    pub value: Option<number_data_point::Value>,
}

/// The kinds of [`NumberDataPoint`].
pub mod number_data_point {
    use prost::Oneof;

    /// A number of either kind.
    #[derive(Clone, Copy, PartialEq, Oneof)]
    pub enum Value {
        /// One with a fraction.
        #[prost(double, tag = "4")]
        Double(f64),
        /// A whole one.
        #[prost(sfixed64, tag = "6")]
        Int(i64),
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JsonNumber {
    #[serde(deserialize_with = "unsigned")]
    start_time_unix_nano: u64,
    #[serde(deserialize_with = "unsigned")]
    time_unix_nano: u64,
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "optional_number")]
    as_double: Option<f64>,
    #[serde(deserialize_with = "signed")]
    as_int: Option<i64>,
}

impl From<JsonNumber> for NumberDataPoint {
    fn from(json: JsonNumber) -> Self {
        use number_data_point::Value;
        Self {
            start_time_unix_nano: json.start_time_unix_nano,
            time_unix_nano: json.time_unix_nano,
            attributes: json.attributes,
            value: json.as_double.map(Value::Double).or(json.as_int.map(Value::Int)),
        }
    }
}

/// A distribution for a set of attributes.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HistogramDataPoint {
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "2")]
    #[serde(deserialize_with = "unsigned")]
    pub start_time_unix_nano: u64,
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "3")]
    #[serde(deserialize_with = "unsigned")]
    pub time_unix_nano: u64,
    /// How many there were.
    #[prost(fixed64, tag = "4")]
    #[serde(deserialize_with = "unsigned")]
    pub count: u64,
    /// Of all together.
    #[prost(double, optional, tag = "5")]
    #[serde(deserialize_with = "optional_number")]
    pub sum: Option<f64>,
    /// How many were in each bucket: one more than there are bounds.
    #[prost(fixed64, repeated, tag = "6")]
    #[serde(deserialize_with = "unsigned_list")]
    pub bucket_counts: Vec<u64>,
    /// The upper ends of all buckets but the last.
    #[prost(double, repeated, tag = "7")]
    #[serde(deserialize_with = "numbers")]
    pub explicit_bounds: Vec<f64>,
    /// What it is about.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    /// The smallest one.
    #[prost(double, optional, tag = "11")]
    #[serde(deserialize_with = "optional_number")]
    pub min: Option<f64>,
    /// The largest one.
    #[prost(double, optional, tag = "12")]
    #[serde(deserialize_with = "optional_number")]
    pub max: Option<f64>,
}

/// A distribution in buckets that grow, for a set of attributes.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExponentialHistogramDataPoint {
    /// What it is about.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "2")]
    #[serde(deserialize_with = "unsigned")]
    pub start_time_unix_nano: u64,
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "3")]
    #[serde(deserialize_with = "unsigned")]
    pub time_unix_nano: u64,
    /// How many there were.
    #[prost(fixed64, tag = "4")]
    #[serde(deserialize_with = "unsigned")]
    pub count: u64,
    /// Of all together.
    #[prost(double, optional, tag = "5")]
    #[serde(deserialize_with = "optional_number")]
    pub sum: Option<f64>,
    /// How fast buckets grow: by the factor 2^(2^-scale).
    #[prost(sint32, tag = "6")]
    pub scale: i32,
    /// How many were about zero.
    #[prost(fixed64, tag = "7")]
    #[serde(deserialize_with = "unsigned")]
    pub zero_count: u64,
    /// Those above zero.
    #[prost(message, optional, tag = "8")]
    pub positive: Option<Buckets>,
    /// Those below zero.
    #[prost(message, optional, tag = "9")]
    pub negative: Option<Buckets>,
    /// The smallest one.
    #[prost(double, optional, tag = "12")]
    #[serde(deserialize_with = "optional_number")]
    pub min: Option<f64>,
    /// The largest one.
    #[prost(double, optional, tag = "13")]
    #[serde(deserialize_with = "optional_number")]
    pub max: Option<f64>,
}

/// Buckets that grow.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Buckets {
    /// The place of the first one.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// How many were in each.
    #[prost(uint64, repeated, tag = "2")]
    #[serde(deserialize_with = "unsigned_list")]
    pub bucket_counts: Vec<u64>,
}

/// Quantiles for a set of attributes.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SummaryDataPoint {
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "2")]
    #[serde(deserialize_with = "unsigned")]
    pub start_time_unix_nano: u64,
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "3")]
    #[serde(deserialize_with = "unsigned")]
    pub time_unix_nano: u64,
    /// How many there were.
    #[prost(fixed64, tag = "4")]
    #[serde(deserialize_with = "unsigned")]
    pub count: u64,
    /// Of all together.
    #[prost(double, tag = "5")]
    #[serde(deserialize_with = "number")]
    pub sum: f64,
    /// The quantiles.
    #[prost(message, repeated, tag = "6")]
    pub quantile_values: Vec<ValueAtQuantile>,
    /// What it is about.
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<KeyValue>,
}

/// A quantile.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ValueAtQuantile {
    /// From 0 to 1.
    #[prost(double, tag = "1")]
    #[serde(deserialize_with = "number")]
    pub quantile: f64,
    /// What is there.
    #[prost(double, tag = "2")]
    #[serde(deserialize_with = "number")]
    pub value: f64,
}
