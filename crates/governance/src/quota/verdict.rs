//! What is said of what a request found: the refusal, the warning, and what is left. No I/O.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use systemprompt_extension::policy::{Allowance, Counted, DenialKind, Usage, Violation};
use systemprompt_model::Microdollars;

use super::clerk::plus;
use super::meter::{Limit, Limits, Meter, Whose, amount};
use super::window::Window;
use crate::config::{QuotaReservation, QuotaSubject};

/// What a request found in one of its buckets.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) meter: &'a Meter,
    pub(super) whose: Whose,
    pub(super) window: Window,
    pub(super) used: Usage,
}

/// Why a request is refused that would use `wanted`, and what the quota is called: the one that opens last.
pub(super) fn refusal(found: &[Found<'_>], wanted: &Usage, now: DateTime<Utc>) -> (String, Violation) {
    let allowances = allowances(found, &Usage::NOTHING, now);
    let Some((quota, violation)) = objection(found, |meter| &meter.enforced, wanted, now) else {
        // PostgreSQL says so, and compares the same numbers.
        return (String::new(), Violation::unavailable("the quota cannot be checked at present"));
    };
    (quota, Violation { allowances, ..violation })
}

/// What a request that is counted is warned of.
pub(super) fn warning(found: &[Found<'_>], wanted: &Usage, now: DateTime<Utc>) -> Option<(String, Violation)> {
    objection(found, |meter| &meter.warned, wanted, now)
}

fn objection(
    found: &[Found<'_>],
    limits: impl Fn(&Meter) -> &Limits,
    wanted: &Usage,
    now: DateTime<Utc>,
) -> Option<(String, Violation)> {
    let violated = found.iter().filter_map(|found| {
        let strict = found.meter.reservation == QuotaReservation::Maximum;
        let (counted, limit) = limits(found.meter).violated(&found.used, wanted, strict)?;
        Some((found, counted, limit))
    });
    let (found, counted, limit) = violated.max_by_key(|(found, ..)| found.window.end)?;
    let wait = found.window.rest(now);
    let advice = "An administrator sets it in services/gateway, and sees what is used with `systemprompt admin gateway \
                  quotas list`";
    let violation =
        Violation::new(DenialKind::RateLimited, "insufficient_quota", reason(found, counted, limit, wanted))
            .with_advice(advice);
    // Whole seconds, and not before the window has ended.
    let violation = Violation { retry_after: Some(Duration::from_secs(wait.as_secs() + 1)), ..violation };
    Some((found.meter.name.clone(), violation))
}

/// "the quota `default-quotas` allows the user `ada` 100 requests per hour: 100 are used, and it opens again at …".
fn reason(found: &Found<'_>, counted: Counted, limit: &Limit, wanted: &Usage) -> String {
    let Found { meter, whose, window, used } = found;
    let subject = match &meter.subject {
        QuotaSubject::User => format!("the user `{}`", whose.name),
        QuotaSubject::Key => format!("the API key `{}`", whose.id),
        QuotaSubject::Model => format!("the model `{}`", whose.name),
        QuotaSubject::Installation => "this installation".to_owned(),
        QuotaSubject::Attribute(name) => format!("the {name} `{}`", whose.name),
    };
    let used = amount(used, counted);
    let needs = if used < limit.most {
        format!(", this request may need {}", in_words(amount(wanted, counted), counted))
    } else {
        String::new()
    };
    format!(
        "the quota `{}` allows {subject} {} per {}; {} are used or set aside{needs}, and it opens again at {}",
        limit.policy,
        in_words(limit.most, counted),
        meter.windows.in_words(),
        in_words(used, counted),
        window.end.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

fn in_words(amount: u64, counted: Counted) -> String {
    match counted {
        Counted::Requests => format!("{amount} requests"),
        Counted::InputTokens => format!("{amount} input tokens"),
        Counted::OutputTokens => format!("{amount} output tokens"),
        Counted::Microdollars => Microdollars(i64::try_from(amount).unwrap_or(i64::MAX)).to_string(),
    }
}

/// What is left of every limit that refuses, after `taken` more.
pub(super) fn allowances(found: &[Found<'_>], taken: &Usage, now: DateTime<Utc>) -> Vec<Allowance> {
    let of = |found: &Found<'_>| {
        let used = plus(&found.used, taken);
        let (window, reset) = (found.window.length(), found.window.rest(now));
        let name = found.meter.name.clone();
        found
            .meter
            .enforced
            .iter()
            .map(move |(counted, limit)| Allowance {
                name: format!("{name}-{}", counted.as_str()),
                counted,
                limit: limit.most,
                remaining: limit.most.saturating_sub(amount(&used, counted)),
                window,
                reset,
            })
            .collect::<Vec<_>>()
    };
    found.iter().flat_map(of).collect()
}
