//! Rows of `telemetry_metrics`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::maker::{Maker, Origin};
use crate::otlp::{Buckets, ExportMetricsServiceRequest, KeyValue, Metric, NumberDataPoint, metric, number_data_point};

#[derive(Debug)]
pub(crate) struct PointRow {
    pub(crate) session: Option<String>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) name: String,
    pub(crate) unit: Option<String>,
    pub(crate) kind: &'static str,
    pub(crate) temporality: Option<&'static str>,
    pub(crate) is_monotonic: Option<bool>,
    pub(crate) value: Option<f64>,
    pub(crate) count: Option<i64>,
    pub(crate) distribution: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) attributes: String,
    pub(crate) resource: String,
}

/// A data point of any kind.
struct Point<'a> {
    attributes: &'a [KeyValue],
    since: u64,
    at: u64,
    value: Option<f64>,
    count: Option<u64>,
    distribution: Option<Value>,
}

/// What the points of a metric have in common.
struct Measure {
    name: String,
    unit: Option<String>,
    kind: &'static str,
    temporality: Option<&'static str>,
    is_monotonic: Option<bool>,
}

pub(super) fn rows(request: ExportMetricsServiceRequest, maker: &mut Maker<'_>) -> Vec<PointRow> {
    let mut rows = Vec::new();
    for of_resource in &request.resource_metrics {
        for of_scope in &of_resource.scope_metrics {
            let origin = maker.origin(of_resource.resource.as_ref(), of_scope.scope.as_ref());
            for metric in &of_scope.metrics {
                points(metric, &origin, maker, &mut rows);
            }
        }
    }
    rows
}

fn points(metric: &Metric, origin: &Origin, maker: &mut Maker<'_>, rows: &mut Vec<PointRow>) {
    let Some(name) = maker.name(&metric.name) else { return maker.reject("a metric has no name") };
    let mut measure = Measure { name, unit: maker.name(&metric.unit), kind: "", temporality: None, is_monotonic: None };
    let points = match &metric.data {
        None => return maker.reject("a metric has no data"),
        Some(metric::Data::Gauge(gauge)) => {
            measure.kind = "gauge";
            numbers(&gauge.data_points)
        }
        Some(metric::Data::Sum(sum)) => {
            measure.kind = "sum";
            measure.temporality = temporality(sum.aggregation_temporality);
            measure.is_monotonic = Some(sum.is_monotonic);
            numbers(&sum.data_points)
        }
        Some(metric::Data::Histogram(histogram)) => {
            measure.kind = "histogram";
            measure.temporality = temporality(histogram.aggregation_temporality);
            let points = histogram.data_points.iter().map(|point| Point {
                attributes: &point.attributes,
                since: point.start_time_unix_nano,
                at: point.time_unix_nano,
                value: point.sum,
                count: Some(point.count),
                distribution: Some(json!({
                    "bounds": point.explicit_bounds, "counts": point.bucket_counts, "min": point.min, "max": point.max,
                })),
            });
            points.collect()
        }
        Some(metric::Data::ExponentialHistogram(histogram)) => {
            measure.kind = "exponential_histogram";
            measure.temporality = temporality(histogram.aggregation_temporality);
            let buckets = |buckets: &Buckets| json!({ "offset": buckets.offset, "counts": buckets.bucket_counts });
            let points = histogram.data_points.iter().map(|point| Point {
                attributes: &point.attributes,
                since: point.start_time_unix_nano,
                at: point.time_unix_nano,
                value: point.sum,
                count: Some(point.count),
                distribution: Some(json!({
                    "scale": point.scale, "zero": point.zero_count, "min": point.min, "max": point.max,
                    "positive": point.positive.as_ref().map(buckets), "negative": point.negative.as_ref().map(buckets),
                })),
            });
            points.collect()
        }
        Some(metric::Data::Summary(summary)) => {
            measure.kind = "summary";
            let points = summary.data_points.iter().map(|point| Point {
                attributes: &point.attributes,
                since: point.start_time_unix_nano,
                at: point.time_unix_nano,
                value: Some(point.sum),
                count: Some(point.count),
                distribution: Some(
                    json!({ "quantiles": point.quantile_values.iter().map(|at| [at.quantile, at.value]).collect::<Vec<_>>() }),
                ),
            });
            points.collect()
        }
    };
    rows.extend(points.into_iter().filter_map(|point| row(&measure, point, origin, maker)));
}

fn numbers(points: &[NumberDataPoint]) -> Vec<Point<'_>> {
    let points = points.iter().map(|point| Point {
        attributes: &point.attributes,
        since: point.start_time_unix_nano,
        at: point.time_unix_nano,
        value: point.value.map(|value| match value {
            number_data_point::Value::Double(number) => number,
            number_data_point::Value::Int(number) => number as f64,
        }),
        count: None,
        distribution: None,
    });
    points.collect()
}

fn row(measure: &Measure, point: Point<'_>, origin: &Origin, maker: &mut Maker<'_>) -> Option<PointRow> {
    let attributes = maker.cleaner.attributes(point.attributes);
    let distribution = point.distribution.map(|distribution| distribution.to_string());
    if !maker.has_room(attributes.len() + distribution.as_ref().map_or(0, String::len) + origin.resource.len()) {
        return None;
    }
    Some(PointRow {
        session: maker.session(point.attributes).or_else(|| origin.session.clone()),
        at: maker.time(point.at),
        since: (point.since > 0).then(|| maker.time(point.since)),
        name: measure.name.clone(),
        unit: measure.unit.clone(),
        kind: measure.kind,
        temporality: measure.temporality,
        is_monotonic: measure.is_monotonic,
        value: point.value,
        count: point.count.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
        distribution,
        service: origin.service.clone(),
        scope: origin.scope.clone(),
        attributes,
        resource: origin.resource.clone(),
    })
}

fn temporality(number: i32) -> Option<&'static str> {
    match number {
        1 => Some("delta"),
        2 => Some("cumulative"),
        _ => None,
    }
}
