//! The metrics page as messages of the protocol: everything every feature counts, under the names it has there.

use std::collections::BTreeMap;

use crate::otlp::{
    AnyValue, Gauge, Histogram, HistogramDataPoint, KeyValue, Metric, NumberDataPoint, Sum, any_value, metric,
    number_data_point,
};

/// Reports count from the beginning.
const CUMULATIVE: i32 = 2;

/// What the page says, in the OpenMetrics text format, as of a time. Lines that are not understood are left out.
pub(crate) fn metrics(page: &str, started: u64, now: u64) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let mut family: Option<Family> = None;
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            if let (Some(what), Some(name), Some(text)) = (words.next(), words.next(), words.next()) {
                let open = family.get_or_insert_with(|| Family::new(name));
                if open.name != name {
                    metrics.extend(std::mem::replace(open, Family::new(name)).metric(started, now));
                }
                match what {
                    "HELP" => text.clone_into(&mut open.help),
                    "TYPE" => text.clone_into(&mut open.kind),
                    _ => {}
                }
            }
        } else if let (Some(open), Some(sample)) = (&mut family, Sample::read(line)) {
            open.samples.push(sample);
        }
    }
    metrics.extend(family.and_then(|family| family.metric(started, now)));
    metrics
}

/// A metric of the page.
struct Family {
    name: String,
    help: String,
    kind: String,
    samples: Vec<Sample>,
}

/// A line of the page.
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    /// `name{label="value",…} 1.0`, with an exemplar maybe.
    fn read(line: &str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (label, after) = rest.split_once("=\"")?;
                let (value, after) = quoted(after)?;
                labels.push((label.to_owned(), value));
                rest = after.strip_prefix(',').unwrap_or(after);
            }
            rest = &rest[1..];
        }
        let value = rest.trim_start().split(' ').next()?;
        Some(Self { name: name.to_owned(), labels, value: value.parse().ok()? })
    }
}

/// A text up to its closing quotation mark, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

impl Family {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), help: String::new(), kind: String::new(), samples: Vec::new() }
    }

    fn metric(self, started: u64, now: u64) -> Option<Metric> {
        if self.samples.is_empty() {
            return None;
        }
        let number = |sample: &Sample| NumberDataPoint {
            start_time_unix_nano: started,
            time_unix_nano: now,
            attributes: attributes(&sample.labels),
            value: Some(number_data_point::Value::Double(sample.value)),
        };
        let data_points = self.samples.iter().map(number);
        let (name, data) = match self.kind.as_str() {
            "counter" => {
                let data_points = data_points.collect();
                let sum = Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true };
                (format!("{}_total", self.name), metric::Data::Sum(sum))
            }
            "histogram" => {
                let data_points = self.distributions(started, now);
                let histogram = Histogram { data_points, aggregation_temporality: CUMULATIVE };
                (self.name, metric::Data::Histogram(histogram))
            }
            _ => (self.name.clone(), metric::Data::Gauge(Gauge { data_points: data_points.collect() })),
        };
        // The page says it in the name.
        let unit = if name.ends_with("_seconds") || name.ends_with("_seconds_total") {
            "s"
        } else if name.ends_with("_bytes") {
            "By"
        } else {
            ""
        };
        Some(Metric { name, unit: unit.to_owned(), description: self.help, data: Some(data) })
    }

    /// The page counts in each bucket what is in those below as well.
    fn distributions(&self, started: u64, now: u64) -> Vec<HistogramDataPoint> {
        let mut points: BTreeMap<Vec<(String, String)>, HistogramDataPoint> = BTreeMap::new();
        for sample in &self.samples {
            let bound = sample.labels.iter().find(|(label, _)| label == "le").map(|(_, bound)| bound.as_str());
            let labels: Vec<_> = sample.labels.iter().filter(|(label, _)| label != "le").cloned().collect();
            let point = points.entry(labels).or_insert_with_key(|labels| HistogramDataPoint {
                start_time_unix_nano: started,
                time_unix_nano: now,
                attributes: attributes(labels),
                ..HistogramDataPoint::default()
            });
            match (sample.name.strip_prefix(self.name.as_str()), bound) {
                (Some("_sum"), _) => point.sum = Some(sample.value),
                (Some("_count"), _) => point.count = sample.value as u64,
                (Some("_bucket"), Some(bound)) => {
                    let below: u64 = point.bucket_counts.iter().sum();
                    point.bucket_counts.push((sample.value as u64).saturating_sub(below));
                    if let Ok(bound) = bound.parse::<f64>()
                        && bound.is_finite()
                    {
                        point.explicit_bounds.push(bound);
                    }
                }
                _ => {}
            }
        }
        points.into_values().collect()
    }
}

fn attributes(labels: &[(String, String)]) -> Vec<KeyValue> {
    let text = |value: &String| Some(AnyValue { value: Some(any_value::Value::String(value.clone())) });
    labels.iter().map(|(key, value)| KeyValue { key: key.clone(), value: text(value) }).collect()
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::EncodeLabelSet;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family as Labelled;
    use prometheus_client::metrics::gauge::Gauge as Level;
    use prometheus_client::metrics::histogram::Histogram as Distribution;
    use systemprompt_extension::Metrics;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Path {
        path: &'static str,
    }

    #[test]
    fn the_page_is_read_back_as_it_was_written() {
        let registry = Metrics::new();
        let requests = Labelled::<Path, Counter>::default();
        requests.get_or_create(&Path { path: "/a/{id}\"\\" }).inc_by(3);
        let level = Level::<i64>::default();
        level.set(-2);
        let took = Distribution::new([0.1, 1.0]);
        for value in [0.05, 0.5, 0.6, 7.0] {
            took.observe(value);
        }
        registry.register("requests", "How many", requests);
        registry.register("level", "How high", level);
        registry.register("took_seconds", "How long", took);
        let metrics = metrics(&registry.encode(), 1, 2);
        let of = |name: &str| metrics.iter().find(|metric| metric.name == name).expect("is there");
        let Some(metric::Data::Sum(sum)) = &of("requests_total").data else { panic!("a sum") };
        assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::Double(3.0)));
        assert_eq!(sum.data_points[0].attributes, [KeyValue::text("path", "/a/{id}\"\\")]);
        let Some(metric::Data::Gauge(gauge)) = &of("level").data else { panic!("a gauge") };
        assert_eq!(gauge.data_points[0].value, Some(number_data_point::Value::Double(-2.0)));
        let Some(metric::Data::Histogram(histogram)) = &of("took_seconds").data else { panic!("a histogram") };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, &point.bucket_counts, &point.explicit_bounds), (4, &vec![1, 2, 1], &vec![0.1, 1.0]));
        assert_eq!((of("took_seconds").unit.as_str(), of("took_seconds").description.as_str()), ("s", "How long."));
        assert_eq!(metrics.len(), 3);
    }
}
