//! What is left of the caller's limits, in the headers of every answer: by the names of the IETF
//! (draft-ietf-httpapi-ratelimit-headers-11), and by those the SDKs of the caller's dialect read.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};
use systemprompt_extension::policy::{Allowance, Counted};
use systemprompt_llm::Format;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Writes the headers for a caller of this dialect.
pub(crate) fn write(headers: &mut HeaderMap, allowances: &[Allowance], dialect: Format, now: DateTime<Utc>) {
    if allowances.is_empty() {
        return;
    }
    let (mut policies, mut limits) = (String::new(), String::new());
    for Allowance { name, counted, limit, remaining, window, reset } in allowances {
        let comma = if policies.is_empty() { "" } else { ", " };
        // Structured fields end at fifteen digits.
        let bounded = |number: u64| number.min(999_999_999_999_999);
        let name: String = name.chars().filter(|c| (' '..='~').contains(c) && !['"', '\\'].contains(c)).collect();
        let unit = match counted {
            Counted::Requests => "request",
            Counted::InputTokens | Counted::OutputTokens => "token",
            Counted::Microdollars => "microdollar",
        };
        let (window, reset) = (window.as_secs(), seconds(*reset));
        let _ = write!(policies, "{comma}\"{name}\";q={};w={window};qu=\"{unit}\"", bounded(*limit));
        let _ = write!(limits, "{comma}\"{name}\";r={};t={reset}", bounded(*remaining));
    }
    set(headers, RATE_LIMIT_POLICY, policies);
    set(headers, RATE_LIMIT, limits);

    // The vendors have one limit of each kind: the one that binds first.
    let tightest =
        |counted: Counted| allowances.iter().filter(|left| left.counted == counted).min_by_key(|left| left.remaining);
    match dialect {
        Format::AnthropicMessages => {
            for (counted, kind) in [
                (Counted::Requests, "requests"),
                (Counted::InputTokens, "input-tokens"),
                (Counted::OutputTokens, "output-tokens"),
            ] {
                let Some(left) = tightest(counted) else { continue };
                let mut say = |what: &str, value: String| {
                    let name = HeaderName::try_from(format!("anthropic-ratelimit-{kind}-{what}"));
                    if let Ok(name) = name {
                        set(headers, name, value);
                    }
                };
                say("limit", left.limit.to_string());
                say("remaining", left.remaining.to_string());
                let reset = now + TimeDelta::from_std(left.reset).unwrap_or_default();
                say("reset", reset.to_rfc3339_opts(SecondsFormat::Secs, true));
            }
        }
        // Their tokens are those of prompt and answer together, which no limit of ours counts.
        Format::OpenAiChat
        | Format::OpenAiResponses
        | Format::OpenAiEmbeddings
        | Format::OpenAiImages
        | Format::OpenAiImageEdits => {
            if let Some(left) = tightest(Counted::Requests) {
                set(headers, HeaderName::from_static("x-ratelimit-limit-requests"), left.limit.to_string());
                set(headers, HeaderName::from_static("x-ratelimit-remaining-requests"), left.remaining.to_string());
                let reset = format!("{}s", seconds(left.reset));
                set(headers, HeaderName::from_static("x-ratelimit-reset-requests"), reset);
            }
        }
        // Google's SDKs read none, and nobody asks in the words of the others.
        Format::Gemini | Format::BedrockConverse | Format::GeminiEmbeddings => {}
    }
}

/// Whole seconds, and not before the time is over.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_in_every_name_a_client_may_read() {
        let left = |name: &str, counted, limit, remaining, reset| Allowance {
            name: name.to_owned(),
            counted,
            limit,
            remaining,
            window: Duration::from_hours(1),
            reset: Duration::from_millis(reset),
        };
        let allowances = [
            left("user-3600s-requests", Counted::Requests, 100, 40, 1500),
            left("key-3600s-requests", Counted::Requests, 50, 7, 61_000),
            left("user-3600s-cost\u{e9}\"", Counted::Microdollars, 5_000_000, 4_999_000, 1000),
            left("user-3600s-input_tokens", Counted::InputTokens, u64::MAX, u64::MAX, 1000),
        ];
        let now: DateTime<Utc> = "2026-11-26T10:00:00Z".parse().expect("a time");
        let told = |dialect| {
            let mut headers = HeaderMap::new();
            write(&mut headers, &allowances, dialect, now);
            let text =
                |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().expect("ASCII"));
            let mut lines: Vec<String> = headers.iter().map(text).collect();
            lines.sort_unstable();
            lines
        };
        let common = [
            "ratelimit-policy: \"user-3600s-requests\";q=100;w=3600;qu=\"request\", \
             \"key-3600s-requests\";q=50;w=3600;qu=\"request\", \"user-3600s-cost\";q=5000000;w=3600;qu=\"microdollar\", \
             \"user-3600s-input_tokens\";q=999999999999999;w=3600;qu=\"token\"",
            "ratelimit: \"user-3600s-requests\";r=40;t=2, \"key-3600s-requests\";r=7;t=61, \
             \"user-3600s-cost\";r=4999000;t=1, \"user-3600s-input_tokens\";r=999999999999999;t=1",
        ];
        assert_eq!(told(Format::OpenAiChat)[..2], common);
        assert_eq!(
            told(Format::OpenAiChat)[2..],
            ["x-ratelimit-limit-requests: 50", "x-ratelimit-remaining-requests: 7", "x-ratelimit-reset-requests: 61s",]
        );
        let anthropic = told(Format::AnthropicMessages);
        assert!(anthropic.contains(&"anthropic-ratelimit-requests-remaining: 7".to_owned()), "{anthropic:?}");
        assert!(anthropic.contains(&"anthropic-ratelimit-requests-reset: 2026-11-26T10:01:01Z".to_owned()));
        assert_eq!(anthropic.len(), 2 + 6);
        let mut none = HeaderMap::new();
        write(&mut none, &[], Format::OpenAiChat, now);
        assert!(none.is_empty());
    }
}
