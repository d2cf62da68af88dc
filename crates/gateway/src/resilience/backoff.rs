//! How long to wait before a provider is asked once more.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::{HeaderMap, RETRY_AFTER};

use crate::config::Retries;

/// The wait before another attempt, of which there were `before` already: it doubles each time, and `chance` takes up to
/// half of it away, so that callers who failed together do not come back together. What the provider `asked` for is the
/// least. None where that is too long to wait.
pub(crate) fn wait(retries: &Retries, before: u32, asked: Option<Duration>, chance: u16) -> Option<Duration> {
    let asked = asked.unwrap_or_default();
    if asked > retries.max_delay {
        return None;
    }
    let doubled = retries.base_delay.saturating_mul(1_u32.checked_shl(before).unwrap_or(u32::MAX));
    let whole = doubled.min(retries.max_delay);
    let wait = whole.mul_f64(1.0 - f64::from(chance) / f64::from(u16::MAX) / 2.0);
    Some(wait.max(asked))
}

/// What a provider asks for: in `Retry-After`, as seconds or as a date, or more exactly in `retry-after-ms`.
pub(crate) fn asked(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    if let Some(millis) = text("retry-after-ms").and_then(number) {
        return Duration::try_from_secs_f64(millis / 1000.0).ok();
    }
    let asked = text(RETRY_AFTER.as_str())?;
    if let Some(seconds) = number(asked) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = DateTime::parse_from_rfc2822(asked).ok()?;
    Some((at.to_utc() - now).to_std().unwrap_or_default())
}

/// Whether a provider says that trying again is of no use.
pub(crate) fn is_final(headers: &HeaderMap) -> bool {
    headers.get("x-should-retry").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"false"))
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;

    const RETRIES: Retries =
        Retries { attempts: 2, base_delay: Duration::from_millis(200), max_delay: Duration::from_secs(10) };

    #[test]
    fn waits_double_up_to_the_longest_and_chance_takes_up_to_half() {
        for (before, longest) in [(0, 200), (1, 400), (2, 800), (5, 6400), (6, 10_000), (31, 10_000), (99, 10_000)] {
            for chance in [0, 1, 1000, u16::MAX / 2, u16::MAX] {
                let wait = wait(&RETRIES, before, None, chance).expect("a wait").as_millis();
                assert!((longest / 2..=longest).contains(&wait), "{before}, {chance}: {wait}");
            }
            assert_eq!(wait(&RETRIES, before, None, 0), Some(Duration::from_millis(longest as u64)));
        }
    }

    #[test]
    fn what_the_provider_asks_for_is_the_least_unless_it_is_too_much() {
        let seconds = Duration::from_secs;
        assert_eq!(wait(&RETRIES, 0, Some(seconds(7)), 9), Some(seconds(7)));
        assert_eq!(wait(&RETRIES, 0, Some(seconds(10)), 9), Some(seconds(10)));
        assert_eq!(wait(&RETRIES, 0, Some(seconds(11)), 9), None);
        assert_eq!(wait(&RETRIES, 0, Some(Duration::ZERO), 0), Some(Duration::from_millis(200)));
    }

    #[test]
    fn the_ways_to_ask_for_a_wait() {
        let now = DateTime::from_timestamp(1_445_412_420, 0).expect("a time");
        for (name, value, expected) in [
            ("retry-after", "7", Some(7000)),
            ("retry-after", " 0 ", Some(0)),
            ("retry-after", "1.5", Some(1500)),
            ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT", Some(60_000)),
            ("retry-after", "Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after", "-3", None),
            ("retry-after", "soon", None),
            ("retry-after", "NaN", None),
            ("retry-after", "1e300", None),
            ("x-other", "1", None),
        ] {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            assert_eq!(asked(&headers, now), expected.map(Duration::from_millis), "{name}: {value}");
        }
    }
}
