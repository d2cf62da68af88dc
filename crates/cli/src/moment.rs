//! Points in time as people write them, and as the product prints them.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, TimeDelta, Utc};

use crate::error::{CliError, CliResult};

/// The years in which something can have been recorded.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9999;

/// A point in time: a date, a time in any form the product prints, or how long ago (`15m`, `2h`, `7d`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Then.
    At(DateTime<Utc>),
    /// So long ago.
    Ago(TimeDelta),
}

impl Moment {
    /// The time it means now.
    fn before(self, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
        let at = match self {
            Self::At(at) => Some(at),
            Self::Ago(span) => now.checked_sub_signed(span),
        };
        at.filter(|at| YEARS.contains(&at.year())).ok_or_else(out_of_bounds)
    }
}

fn out_of_bounds() -> String {
    format!("a time lies in the years from {} to {}", YEARS.start(), YEARS.end())
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let found = at(text).map(|at| Ok(Self::At(at))).or_else(|| ago(text).map(|span| span.map(Self::Ago)));
        let moment = found.unwrap_or_else(|| {
            Err(format!("`{text}` is not a time: write 2026-01-31, 2026-01-31 12:00:00 (UTC), 2026-01-31T12:00:00Z, or 15m, 2h, 7d"))
        })?;
        if let Self::At(at) = moment
            && !YEARS.contains(&at.year())
        {
            return Err(out_of_bounds());
        }
        Ok(moment)
    }
}

/// A date, or a date with a time; without a zone it is UTC, as everything that is printed.
fn at(text: &str) -> Option<DateTime<Utc>> {
    let zoned = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %#z", "%Y-%m-%dT%H:%M%#z"];
    let plain = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let in_utc = text.strip_suffix(" UTC").unwrap_or(text);
    let date = || text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0);
    let exact = DateTime::parse_from_rfc3339(text).ok();
    exact
        .or_else(|| zoned.iter().find_map(|form| DateTime::parse_from_str(text, form).ok()))
        .map(|time| time.with_timezone(&Utc))
        .or_else(|| {
            let time = plain.iter().find_map(|form| NaiveDateTime::parse_from_str(in_utc, form).ok()).or_else(date);
            time.map(|time| time.and_utc())
        })
}

/// How long ago, or that nothing is so long ago.
fn ago(text: &str) -> Option<Result<TimeDelta, String>> {
    let split = text.len().checked_sub(1).filter(|split| text.is_char_boundary(*split))?;
    let (number, unit) = text.split_at(split);
    let span: fn(i64) -> Option<TimeDelta> = match unit {
        "s" => TimeDelta::try_seconds,
        "m" => TimeDelta::try_minutes,
        "h" => TimeDelta::try_hours,
        "d" => TimeDelta::try_days,
        _ => return None,
    };
    if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // Nothing was recorded a hundred years ago.
    let longest = TimeDelta::days(36_500);
    Some(number.parse().ok().and_then(span).filter(|span| *span <= longest).ok_or_else(out_of_bounds))
}

/// How long something lasts: `90s`, `15m`, `2h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lasting(pub(crate) TimeDelta);

impl FromStr for Lasting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match ago(text.trim()) {
            Some(Ok(span)) if span > TimeDelta::zero() => Ok(Self(span)),
            Some(Ok(_)) => Err("nothing lasts no time".to_owned()),
            Some(Err(_)) => Err("nothing lasts longer than a hundred years".to_owned()),
            None => Err(format!("`{text}` is not how long something lasts: write 90s, 15m, 2h or 7d")),
        }
    }
}

/// From when on, and until when; open where nothing is given.
type Span = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// The times between which something is to lie.
pub(crate) fn span(since: Option<Moment>, until: Option<Moment>, now: DateTime<Utc>) -> CliResult<Span> {
    let at = |moment: Option<Moment>| moment.map(|moment| moment.before(now)).transpose();
    let (since, until) = at(since).and_then(|since| Ok((since, at(until)?))).map_err(CliError::invalid_value)?;
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        return Err(CliError::invalid_value(format!("nothing lies between {since} and {until}"))
            .help("--since is the earlier one"));
    }
    Ok((since, until))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::time;

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-02-01T12:00:00.123456Z").expect("a time").with_timezone(&Utc)
    }

    fn read(text: &str) -> Result<DateTime<Utc>, String> {
        text.parse::<Moment>()?.before(now())
    }

    #[test]
    fn times_as_people_write_them() {
        for (text, expected) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T10:00:00+02:00", "2026-01-31T08:00:00Z"),
            ("2026-01-31 10:00", "2026-01-31T10:00:00Z"),
            ("2026-01-31T10:00", "2026-01-31T10:00:00Z"),
            ("2026-01-31 10:00:00 UTC", "2026-01-31T10:00:00Z"),
            ("15m", "2026-02-01T11:45:00Z"),
            ("7d", "2026-01-25T12:00:00Z"),
        ] {
            let found = read(text).expect(text);
            assert_eq!(found.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), expected, "{text}");
        }
        for text in ["", "m", "yesterday", "5y", "é", "-3d", "+3d"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_as_they_are_printed() {
        let second = now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        // For people, in documents, in the text log, by PostgreSQL, and by an error of ours.
        for text in [time(now()), second, "2026-02-01 12:00:00+00".to_owned(), "2026-02-01 12:00:00+00:00".to_owned()] {
            assert_eq!(read(&text).expect(&text).timestamp(), now().timestamp(), "{text}");
        }
        for text in [
            serde_json::to_value(now()).expect("JSON").as_str().expect("a text").to_owned(),
            now().to_rfc3339(),
            now().to_string(),
            "2026-02-01 12:00:00.123456+00".to_owned(),
        ] {
            assert_eq!(read(&text).expect(&text), now(), "{text}");
        }
    }

    #[test]
    fn an_empty_span_is_a_mistake() {
        let moment = |text: &str| text.parse::<Moment>().expect("a time");
        assert!(span(Some(moment("2h")), Some(moment("1h")), now()).is_ok());
        let refused = span(Some(moment("1h")), Some(moment("2h")), now()).expect_err("an empty span");
        assert_eq!(refused.exit, crate::error::Exit::Usage);
        assert_eq!(span(None, None, now()).expect("no bounds"), (None, None));
    }
}
