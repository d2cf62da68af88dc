//! The windows quotas are counted in: of so many seconds since 1970, or of the calendar. No I/O.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use crate::config::CalendarPeriod;

/// How time is cut into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Windows {
    /// Of so many seconds, one after the other since 1970.
    Seconds(u64),
    /// Of days in a time zone.
    Days(Tz),
    /// Of weeks from Monday to Monday.
    Weeks(Tz),
    /// Of months from the first to the first.
    Months(Tz),
}

/// One of them: it ends where the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
}

impl Window {
    /// Its length.
    pub(crate) fn length(&self) -> Duration {
        (self.end - self.start).to_std().unwrap_or_default()
    }

    /// How long it still lasts.
    pub(crate) fn rest(&self, now: DateTime<Utc>) -> Duration {
        (self.end - now).to_std().unwrap_or_default()
    }
}

impl Windows {
    /// Those of a period of the calendar.
    pub(crate) fn of(period: CalendarPeriod, zone: Tz) -> Self {
        match period {
            CalendarPeriod::Day => Self::Days(zone),
            CalendarPeriod::Week => Self::Weeks(zone),
            CalendarPeriod::Month => Self::Months(zone),
        }
    }

    /// The window `now` is in.
    pub(crate) fn at(self, now: DateTime<Utc>) -> Window {
        match self {
            Self::Seconds(seconds) => {
                let seconds = i64::try_from(seconds.max(1)).unwrap_or(i64::MAX);
                let start = now.timestamp().div_euclid(seconds).saturating_mul(seconds);
                let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or(now);
                Window { start: at(start), end: at(start.saturating_add(seconds)) }
            }
            Self::Days(zone) => {
                let today = now.with_timezone(&zone).date_naive();
                between(zone, today, today.checked_add_days(Days::new(1)), now)
            }
            Self::Weeks(zone) => {
                let today = now.with_timezone(&zone).date_naive();
                let monday = today - TimeDelta::days(today.weekday().num_days_from_monday().into());
                between(zone, monday, monday.checked_add_days(Days::new(7)), now)
            }
            Self::Months(zone) => {
                let today = now.with_timezone(&zone).date_naive();
                let first = today.with_day(1).unwrap_or(today);
                between(zone, first, first.checked_add_months(Months::new(1)), now)
            }
        }
    }

    /// Whose days they are of.
    pub(crate) fn zone(self) -> Tz {
        match self {
            Self::Seconds(_) => Tz::UTC,
            Self::Days(zone) | Self::Weeks(zone) | Self::Months(zone) => zone,
        }
    }

    /// What they are called in tables and headers: `3600s`, `month`, `day Europe/Berlin`.
    pub(crate) fn name(self) -> String {
        let zoned = |period: CalendarPeriod, zone: Tz| match zone {
            Tz::UTC => period.as_str().to_owned(),
            zone => format!("{} {}", period.as_str(), zone.name()),
        };
        match self {
            Self::Seconds(seconds) => format!("{seconds}s"),
            Self::Days(zone) => zoned(CalendarPeriod::Day, zone),
            Self::Weeks(zone) => zoned(CalendarPeriod::Week, zone),
            Self::Months(zone) => zoned(CalendarPeriod::Month, zone),
        }
    }

    /// The same in a sentence: "allows … per hour".
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Seconds(60) => "minute".to_owned(),
            Self::Seconds(3600) => "hour".to_owned(),
            Self::Seconds(seconds) => format!("{seconds} seconds"),
            Self::Days(_) => "day".to_owned(),
            Self::Weeks(_) => "week".to_owned(),
            Self::Months(_) => "month".to_owned(),
        }
    }
}

fn between(zone: Tz, first: NaiveDate, next: Option<NaiveDate>, now: DateTime<Utc>) -> Window {
    Window { start: beginning_of(zone, first), end: next.map_or(now, |next| beginning_of(zone, next)) }
}

/// When a day begins. Where clocks were put forward over midnight, it begins when they show it.
fn beginning_of(zone: Tz, day: NaiveDate) -> DateTime<Utc> {
    (0..24)
        .find_map(|hour| zone.from_local_datetime(&day.and_time(NaiveTime::from_hms_opt(hour, 0, 0)?)).earliest())
        .map_or_else(|| day.and_time(NaiveTime::MIN).and_utc(), |begins| begins.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_every_moment_once() {
        let (berlin, beirut) = (Tz::Europe__Berlin, Tz::Asia__Beirut);
        for (windows, now, start, end) in [
            (Windows::Seconds(3600), "2026-11-26T14:59:59.5Z", "2026-11-26T14:00:00Z", "2026-11-26T15:00:00Z"),
            (Windows::Seconds(7), "1970-01-01T00:00:13Z", "1970-01-01T00:00:07Z", "1970-01-01T00:00:14Z"),
            (Windows::Days(Tz::UTC), "2026-11-26T00:00:00Z", "2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"),
            (Windows::Days(berlin), "2026-11-26T23:30:00Z", "2026-11-26T23:00:00Z", "2026-11-27T23:00:00Z"),
            // The days on which clocks change have 25 and 23 hours.
            (Windows::Days(berlin), "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            (Windows::Days(berlin), "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            // In Lebanon they are put forward at midnight.
            (Windows::Days(beirut), "2026-03-29T12:00:00Z", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"),
            (Windows::Weeks(Tz::UTC), "2026-11-26T12:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Windows::Weeks(Tz::UTC), "2026-11-29T23:59:59Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Windows::Months(Tz::UTC), "2028-02-29T23:59:59Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Windows::Months(berlin), "2026-12-31T23:30:00Z", "2026-12-31T23:00:00Z", "2027-01-31T23:00:00Z"),
        ] {
            let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
            let window = windows.at(at(now));
            assert_eq!(window, Window { start: at(start), end: at(end) }, "{windows:?} at {now}");
            assert_eq!(windows.at(window.start), window, "its first moment is in it");
            assert_eq!(windows.at(window.end).start, window.end, "its end is the beginning of the next");
        }
    }
}
