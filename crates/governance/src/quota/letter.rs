//! What an alert says in mail, to somebody who may never have seen the configuration. No I/O.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::config::{QuotaMatch, TimeZone};

/// A subject and a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) text: String,
}

/// What is in a message of an alert.
#[derive(Deserialize)]
struct Told {
    alert: String,
    policy: String,
    quota: String,
    subject: Subject,
    #[serde(default, rename = "match")]
    only: QuotaMatch,
    window: Span,
    counted: String,
    threshold_percent: u32,
    used: u64,
    limit: u64,
    /// Messages that waited since before it was told have none, and no match.
    mode: Option<String>,
}

#[derive(Deserialize)]
struct Subject {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct Span {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    #[serde(default)]
    time_zone: TimeZone,
}

/// The letter of a message that was raised at this time.
pub(super) fn letter(message: &Value, raised_at: DateTime<Utc>) -> Result<Letter, serde_json::Error> {
    let told = Told::deserialize(&message["data"])?;
    let Told { alert, policy, quota, threshold_percent: threshold, .. } = &told;
    let what = if told.counted == "cost_microdollars" { "Budget" } else { "Quota" };
    let whose = told.subject.for_people();
    let (used, percent) = (told.used_of_limit(), told.percent());
    let zone = told.window.time_zone.0;
    let is_short = told.window.end - told.window.start < TimeDelta::hours(1);
    let format = if is_short { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    let time = |at: DateTime<Utc>| at.with_timezone(&zone).format(format);
    let (start, end, raised) = (time(told.window.start), time(told.window.end), time(raised_at));
    let zone = zone.name();
    let matching = told.matching();
    let (only, requests) = match &matching {
        Some(matching) => (format!("Counts:   only requests with {matching}\n"), "Such requests"),
        None => (String::new(), "Requests"),
    };
    let consequence = match told.mode.as_deref() {
        Some("enforce") => format!("{requests} beyond the limit are refused until {end} ({zone}).\n\n"),
        Some(_) => format!("{requests} beyond the limit are recorded and not refused.\n\n"),
        None => String::new(),
    };
    Ok(Letter {
        subject: format!("{what} alert: {whose} at {percent} ({used})"),
        text: format!(
            "{whose} has reached {threshold} % of a limit.\n\n\
             Used:     {used}, {percent}\n\
             {only}\
             Window:   {start} to {end} ({zone})\n\
             Reached:  {raised} ({zone})\n\
             Policy:   {policy}\n\
             Quota:    {quota}\n\n\
             {consequence}\
             This is the alert `{alert}` of systemprompt at {threshold} %. It is sent once in each window.\n"
        ),
    })
}

impl Subject {
    fn for_people(&self) -> String {
        match self.kind.as_str() {
            "user" => format!("user {}", self.name),
            "key" => format!("API key {}", self.name),
            "model" => format!("model {}", self.name),
            "installation" => "everybody together".to_owned(),
            attribute => format!("{attribute} {}", self.name),
        }
    }
}

impl Told {
    /// What requests must match that count, if not all of them do: `models claude-*, gpt-*; users ada`.
    fn matching(&self) -> Option<String> {
        let QuotaMatch { models, routes, users, roles } = &self.only;
        let kinds = [("models", models), ("routes", routes), ("users", users), ("roles", roles)];
        let kinds = kinds.into_iter().filter(|(_, names)| !names.is_empty()).map(|(kind, names)| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("{kind} {}", names.join(", "))
        });
        let matching = kinds.collect::<Vec<_>>().join("; ");
        (!matching.is_empty()).then_some(matching)
    }

    /// `$402.17 of $500.00`, `8 of 10 requests`.
    fn used_of_limit(&self) -> String {
        let counted = |what| format!("{} of {} {what}", grouped(self.used), grouped(self.limit));
        match self.counted.as_str() {
            "cost_microdollars" => format!("{} of {}", dollars(self.used), dollars(self.limit)),
            "input_tokens" => counted("input tokens"),
            "output_tokens" => counted("output tokens"),
            other => counted(other),
        }
    }

    /// How much of the limit is used, rounded down so that nothing looks used up that is not.
    fn percent(&self) -> String {
        let tenths = u128::from(self.used) * 1000 / u128::from(self.limit.max(1));
        format!("{}.{} %", tenths / 10, tenths % 10)
    }
}

/// Dollars and cents; below a dollar hundredths of a cent, and where there are none of those what there is.
fn dollars(micro: u64) -> String {
    match micro {
        0 => "$0.00".to_owned(),
        1..100 => format!("$0.{micro:06}"),
        100..1_000_000 => format!("$0.{:04}", micro / 100),
        _ => format!("${}.{:02}", grouped(micro / 1_000_000), micro / 10_000 % 100),
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(counted: &str, used: u64, limit: u64) -> Value {
        json!({
            "type": "quota.threshold",
            "data": {
                "alert": "finance",
                "policy": "team-budget",
                "quota": "group-month",
                "subject": {"kind": "group", "id": "red", "name": "red"},
                "meter": "month Europe/Berlin",
                "window": {
                    "start": "2026-10-31T23:00:00Z",
                    "end": "2026-11-30T23:00:00Z",
                    "time_zone": "Europe/Berlin",
                },
                "counted": counted,
                "threshold_percent": 80,
                "used": used,
                "limit": limit,
                "mode": "enforce",
            },
        })
    }

    fn raised_at() -> DateTime<Utc> {
        "2026-11-26T10:04:30Z".parse().expect("a time")
    }

    #[test]
    fn a_budget_is_told_in_dollars_and_in_the_time_of_its_windows() {
        let letter =
            letter(&message("cost_microdollars", 1_402_170_999, 1_750_000_000), raised_at()).expect("a letter");
        assert_eq!(letter.subject, "Budget alert: group red at 80.1 % ($1,402.17 of $1,750.00)");
        assert_eq!(
            letter.text,
            "group red has reached 80 % of a limit.\n\n\
             Used:     $1,402.17 of $1,750.00, 80.1 %\n\
             Window:   2026-11-01 00:00 to 2026-12-01 00:00 (Europe/Berlin)\n\
             Reached:  2026-11-26 11:04 (Europe/Berlin)\n\
             Policy:   team-budget\n\
             Quota:    group-month\n\n\
             Requests beyond the limit are refused until 2026-12-01 00:00 (Europe/Berlin).\n\n\
             This is the alert `finance` of systemprompt at 80 %. It is sent once in each window.\n"
        );
    }

    #[test]
    fn a_limit_of_some_requests_is_not_told_as_one_of_all_and_short_windows_have_seconds() {
        let mut of = message("requests", 8, 10);
        of["data"]["match"] = json!({"models": ["claude-*", "gpt-*"], "users": ["ada"]});
        of["data"]["window"] =
            json!({"start": "2026-11-26T10:04:00Z", "end": "2026-11-26T10:04:40Z", "time_zone": "UTC"});
        let text = letter(&of, raised_at()).expect("a letter").text;
        for line in [
            "Counts:   only requests with models claude-*, gpt-*; users ada\n",
            "Window:   2026-11-26 10:04:00 to 2026-11-26 10:04:40 (UTC)\n",
            "Reached:  2026-11-26 10:04:30 (UTC)\n",
            "\nSuch requests beyond the limit are refused until 2026-11-26 10:04:40 (UTC).\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn dollars_are_told_as_exactly_as_they_must_be() {
        for (micro, told) in [
            (0, "$0.00"),
            (93, "$0.000093"),
            (100, "$0.0001"),
            (7_530, "$0.0075"),
            (10_000, "$0.0100"),
            (999_999, "$0.9999"),
            (1_000_000, "$1.00"),
            (1_402_170_999, "$1,402.17"),
        ] {
            assert_eq!(dollars(micro), told);
        }
    }

    #[test]
    fn other_amounts_and_other_subjects() {
        let subject = |message: Value| letter(&message, raised_at()).expect("a letter").subject;
        let mut of = message("requests", 999, 1000);
        of["data"]["subject"] = json!({"kind": "user", "id": "0190", "name": "ada"});
        assert_eq!(subject(of), "Quota alert: user ada at 99.9 % (999 of 1,000 requests)");
        let mut of = message("input_tokens", 3_000_000, 2_000_000);
        of["data"]["subject"] = json!({"kind": "installation", "id": "", "name": ""});
        assert_eq!(subject(of), "Quota alert: everybody together at 150.0 % (3,000,000 of 2,000,000 input tokens)");
        let of = message("cost_microdollars", 93, 100);
        assert_eq!(subject(of), "Budget alert: group red at 93.0 % ($0.000093 of $0.0001)");
    }

    #[test]
    fn a_message_of_an_earlier_version_is_told_without_what_it_does_not_say() {
        let mut earlier = message("requests", 8, 10);
        let data = earlier["data"].as_object_mut().expect("a map");
        data.remove("mode");
        data["window"].as_object_mut().expect("a map").remove("time_zone");
        let letter = letter(&earlier, raised_at()).expect("a letter");
        assert!(letter.text.contains("2026-10-31 23:00 to 2026-11-30 23:00 (UTC)"), "{}", letter.text);
        assert!(!letter.text.contains("refused"), "{}", letter.text);
        assert!(super::letter(&json!({}), raised_at()).is_err());
    }
}
