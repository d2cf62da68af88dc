//! Numbers out of many measurements.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Times above it count as this long: no round waits longer for an answer.
const LONGEST: Duration = Duration::from_mins(15);

/// How long something took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Distribution {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Distribution {
    /// Of times; all zero if there are none.
    pub(crate) fn of(times: &Times) -> Self {
        let milliseconds = |nanoseconds: f64| nanoseconds / 1e6;
        let at = |quantile: f64| milliseconds(times.0.value_at_quantile(quantile) as f64);
        Self {
            mean: milliseconds(times.0.mean()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: milliseconds(times.0.max() as f64),
        }
    }
}

/// How long each of many things took, to three digits.
#[derive(Debug)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }
}

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3).expect("the bounds are far apart"))
    }
}

/// The middle one; of an even number the mean of the two in the middle. Zero if there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (count, middle) if count % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        (_, middle) => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_milliseconds() {
        let mut times = Times::default();
        (1..=1000).for_each(|n| times.add(Duration::from_millis(n)));
        let of = Distribution::of(&times);
        let check =
            |value: f64, expected: f64| assert!((value / expected - 1.0).abs() < 0.001, "{value}, not {expected}");
        check(of.mean, 500.5);
        check(of.p50, 500.0);
        check(of.p90, 900.0);
        check(of.p999, 999.0);
        check(of.max, 1000.0);
        assert_eq!(times.count(), 1000);
        assert_eq!(Distribution::of(&Times::default()), Distribution::default());
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let check = |values: &[f64], expected: f64| {
            assert!((median(values.iter().copied()) - expected).abs() < 1e-9, "{values:?}");
        };
        check(&[], 0.0);
        check(&[3.0], 3.0);
        check(&[9.0, 1.0, 2.0], 2.0);
        check(&[4.0, 1.0], 2.5);
    }
}
