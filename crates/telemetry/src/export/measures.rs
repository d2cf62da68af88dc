//! The metrics of the GenAI conventions, which are told apart by more than the metrics page has: the model that was asked
//! for and the one that answered, and what went wrong.

use std::collections::HashMap;

use crate::otlp::{Histogram, HistogramDataPoint, KeyValue, Metric, metric};

/// The most series that are kept apart. What comes later is counted together, as the specification of the SDK has it.
const MOST_SERIES: usize = 2000;
/// Reports count from the beginning.
const CUMULATIVE: i32 = 2;

const DURATIONS: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68];
const FIRST_TOKENS: &[f64] =
    &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0];
const OVERHEADS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.012_8, 0.025_6, 0.051_2, 0.102_4];
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instrument {
    /// From sending to the end of the answer: what the provider took.
    OperationDuration,
    /// Tokens of a request, by `gen_ai.token.type`.
    TokenUsage,
    /// From receiving to the end of the answer: what the caller waited.
    RequestDuration,
    /// From receiving to the first piece of a streamed answer.
    TimeToFirstToken,
    /// From receiving to sending: what the gateway took.
    Overhead,
}

impl Instrument {
    /// Its name, its unit, what it says, and the upper ends of its buckets.
    const fn definition(self) -> (&'static str, &'static str, &'static str, &'static [f64]) {
        match self {
            Self::OperationDuration => {
                ("gen_ai.client.operation.duration", "s", "GenAI operation duration.", DURATIONS)
            }
            Self::TokenUsage => {
                ("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", TOKENS)
            }
            Self::RequestDuration => (
                "gen_ai.server.request.duration",
                "s",
                "Generative AI server request duration such as time-to-last byte or last output token.",
                DURATIONS,
            ),
            Self::TimeToFirstToken => (
                "gen_ai.server.time_to_first_token",
                "s",
                "Time to generate first token for successful responses.",
                FIRST_TOKENS,
            ),
            Self::Overhead => (
                "systemprompt.gateway.overhead",
                "s",
                "Time from receiving a request to sending it to a provider.",
                OVERHEADS,
            ),
        }
    }
}

/// Everything that was measured since the start.
#[derive(Debug)]
pub(crate) struct Measures {
    started: u64,
    series: HashMap<(Instrument, String), Series>,
}

#[derive(Debug)]
struct Series {
    attributes: Vec<KeyValue>,
    counts: Vec<u64>,
    sum: f64,
    min: f64,
    max: f64,
}

impl Measures {
    pub(crate) fn new(started: u64) -> Self {
        Self { started, series: HashMap::new() }
    }

    pub(crate) fn record(&mut self, instrument: Instrument, attributes: &[(&'static str, &str)], value: f64) {
        let (_, _, _, bounds) = instrument.definition();
        let key = attributes.iter().map(|(key, value)| format!("{key}={value}\u{1f}")).collect();
        let key = if self.series.len() < MOST_SERIES || self.series.contains_key(&(instrument, String::clone(&key))) {
            (instrument, key)
        } else {
            (instrument, String::new())
        };
        let is_rest = key.1.is_empty() && !attributes.is_empty();
        let series = self.series.entry(key).or_insert_with(|| Series {
            attributes: if is_rest {
                vec![KeyValue::bool("otel.metric.overflow", true)]
            } else {
                attributes.iter().map(|(key, value)| KeyValue::text(key, *value)).collect()
            },
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        });
        // A value that is a bound belongs to the bucket below it.
        series.counts[bounds.partition_point(|bound| *bound < value)] += 1;
        series.sum += value;
        series.min = series.min.min(value);
        series.max = series.max.max(value);
    }

    /// All of it as messages, as of a time.
    pub(crate) fn metrics(&self, now: u64) -> Vec<Metric> {
        let mut by_instrument: HashMap<Instrument, Vec<HistogramDataPoint>> = HashMap::new();
        for ((instrument, _), series) in &self.series {
            let (_, _, _, bounds) = instrument.definition();
            by_instrument.entry(*instrument).or_default().push(HistogramDataPoint {
                start_time_unix_nano: self.started,
                time_unix_nano: now,
                count: series.counts.iter().sum(),
                sum: Some(series.sum),
                bucket_counts: series.counts.clone(),
                explicit_bounds: bounds.to_vec(),
                attributes: series.attributes.clone(),
                min: Some(series.min),
                max: Some(series.max),
            });
        }
        let metric = |(instrument, data_points): (Instrument, Vec<HistogramDataPoint>)| {
            let (name, unit, description, _) = instrument.definition();
            Metric {
                name: name.to_owned(),
                unit: unit.to_owned(),
                description: description.to_owned(),
                data: Some(metric::Data::Histogram(Histogram { data_points, aggregation_temporality: CUMULATIVE })),
            }
        };
        by_instrument.into_iter().map(metric).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_by_what_they_are_about_and_within_a_bound() {
        let mut measures = Measures::new(5);
        for value in [1.0, 4.0, 5.0] {
            measures.record(Instrument::TokenUsage, &[("gen_ai.token.type", "input")], value);
        }
        let [metric] = &measures.metrics(9)[..] else { panic!("one metric") };
        let Some(metric::Data::Histogram(histogram)) = &metric.data else { panic!("a histogram") };
        let [point] = &histogram.data_points[..] else { panic!("one series") };
        assert_eq!((metric.name.as_str(), point.count, point.sum), ("gen_ai.client.token.usage", 3, Some(10.0)));
        assert_eq!((&point.bucket_counts[..4], point.max), (&[1, 1, 1, 0][..], Some(5.0)));
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);

        for model in 0..2 * MOST_SERIES {
            measures.record(Instrument::Overhead, &[("gen_ai.request.model", &model.to_string())], 0.1);
        }
        assert!(measures.series.len() <= MOST_SERIES + 1, "{} series", measures.series.len());
        let rest = &measures.series[&(Instrument::Overhead, String::new())];
        assert_eq!(rest.attributes, [KeyValue::bool("otel.metric.overflow", true)]);
        assert_eq!(rest.counts.iter().sum::<u64>(), MOST_SERIES as u64 + 1);
    }
}
