//! Numbers out of many measurements.

use serde::Serialize;

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
    /// Of times in nanoseconds; all zero if there are none.
    pub(crate) fn of(mut times: Vec<u32>) -> Self {
        times.sort_unstable();
        let Some(last) = times.last() else { return Self::default() };
        let milliseconds = |nanoseconds: f64| nanoseconds / 1e6;
        let at = |quantile: f64| {
            // The nearest rank: a time that was measured, not one between two.
            let rank = (quantile * times.len() as f64).ceil() as usize;
            milliseconds(f64::from(times[rank.clamp(1, times.len()) - 1]))
        };
        let sum: f64 = times.iter().map(|time| f64::from(*time)).sum();
        Self {
            mean: milliseconds(sum / times.len() as f64),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: milliseconds(f64::from(*last)),
        }
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
    fn quantiles_are_times_that_were_measured() {
        let of = Distribution::of((1..=1000).rev().map(|n| n * 1_000_000).collect());
        assert_eq!((of.p50, of.p90, of.p99, of.p999, of.max), (500.0, 900.0, 990.0, 999.0, 1000.0));
        let one = Distribution::of(vec![2_000_000]);
        assert_eq!((one.mean, one.p50, one.p999), (2.0, 2.0, 2.0));
        assert_eq!(Distribution::of(Vec::new()), Distribution::default());
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
