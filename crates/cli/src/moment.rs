//! Points in time as people write them.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::error::{CliError, CliResult};

/// A point in time as people write it: a date, an RFC 3339 time, or how long ago (`15m`, `2h`, `7d`).
pub(crate) fn moment(text: Option<&str>, now: DateTime<Utc>) -> CliResult<Option<DateTime<Utc>>> {
    let Some(text) = text else { return Ok(None) };
    let ago = || {
        let split = text.len().checked_sub(1).filter(|split| text.is_char_boundary(*split))?;
        let (number, unit) = text.split_at(split);
        let number: i64 = number.parse().ok()?;
        let span = match unit {
            "s" => TimeDelta::try_seconds(number),
            "m" => TimeDelta::try_minutes(number),
            "h" => TimeDelta::try_hours(number),
            "d" => TimeDelta::try_days(number),
            _ => None,
        }?;
        now.checked_sub_signed(span)
    };
    let date = || text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0).map(|midnight| midnight.and_utc());
    let exact = || DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
    exact().or_else(date).or_else(ago).map(Some).ok_or_else(|| {
        CliError::invalid_value(format!(
            "`{text}` is not a time: write 2026-01-31, 2026-01-31T12:00:00Z, or 15m, 2h, 7d"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        let now = DateTime::parse_from_rfc3339("2026-02-01T12:00:00Z").expect("a time").with_timezone(&Utc);
        for (text, expected) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T10:00:00+02:00", "2026-01-31T08:00:00Z"),
            ("15m", "2026-02-01T11:45:00Z"),
            ("7d", "2026-01-25T12:00:00Z"),
        ] {
            let found = moment(Some(text), now).expect("a time").expect("one was given");
            assert_eq!(found.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), expected, "{text}");
        }
        for text in ["", "m", "yesterday", "5y", "é"] {
            assert!(moment(Some(text), now).is_err(), "{text}");
        }
    }
}
