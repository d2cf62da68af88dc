//! What is no secret although a rule says so, until a day.

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, NaiveDate, Utc};
use systemprompt_config::nearest;
use systemprompt_model::json;
use systemprompt_model::pattern::Pattern;
use systemprompt_secrets::Match;

use crate::config::{AllowedSecret, Flaw};

/// The list of an installation, ready for use.
#[derive(Debug, Default)]
pub(super) struct Allowed(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    rule: Option<Pattern>,
    path: Option<Pattern>,
    sha256: Option<String>,
    until: NaiveDate,
}

impl Allowed {
    /// What does not fit its type is no entry; [`flaws`] were looked at before.
    pub(super) fn new(list: &[AllowedSecret]) -> Self {
        let entry = |allowed: &AllowedSecret| {
            let pattern = |text: &Option<String>| text.as_deref().map(Pattern::new).transpose();
            Some(Entry {
                rule: pattern(&allowed.rule).ok()?,
                path: pattern(&allowed.path).ok()?,
                sha256: allowed.sha256.as_ref().map(|digits| digits.to_ascii_lowercase()),
                until: allowed.expires,
            })
        };
        Self(list.iter().filter_map(entry).filter(Entry::says_something).collect())
    }

    /// Takes out of `matches` what is allowed today where it stands in `content`.
    pub(super) fn take_out(&self, content: &[u8], matches: &mut Vec<Match<'_>>, now: DateTime<Utc>) {
        let today = now.date_naive();
        if matches.is_empty() || !self.0.iter().any(|entry| entry.counts(today)) {
            return;
        }
        let paths = if self.0.iter().any(|entry| entry.path.is_some() && entry.counts(today)) {
            paths(content, matches)
        } else {
            vec!["$".to_owned(); matches.len()]
        };
        let mut paths = paths.into_iter();
        matches.retain(|found| {
            let path = paths.next().unwrap_or_default();
            let hash = || hash(found.value.expose());
            !self.0.iter().any(|entry| entry.counts(today) && entry.fits(&found.rule.id, &path, hash))
        });
    }
}

impl Entry {
    /// One that says nothing would allow everything.
    fn says_something(&self) -> bool {
        self.rule.is_some() || self.path.is_some() || self.sha256.is_some()
    }

    fn counts(&self, today: NaiveDate) -> bool {
        today <= self.until
    }

    fn fits(&self, rule: &str, path: &str, hash: impl Fn() -> String) -> bool {
        self.rule.as_ref().is_none_or(|pattern| pattern.fits(rule))
            && self.path.as_ref().is_none_or(|pattern| pattern.fits(path))
            && self.sha256.as_ref().is_none_or(|wanted| *wanted == hash())
    }
}

/// What names a value in the list: its SHA-256.
pub fn hash(value: &str) -> String {
    hex::encode(digest(&SHA256, value.as_bytes()))
}

/// Where these matches stand.
pub(super) fn paths(content: &[u8], matches: &[Match<'_>]) -> Vec<String> {
    if !json::looks_like_json(content) || matches.iter().any(|found| found.string == (0..content.len())) {
        return vec!["$".to_owned(); matches.len()];
    }
    let mut starts: Vec<usize> = matches.iter().map(|found| found.string.start).collect();
    starts.dedup();
    let known: std::collections::HashMap<usize, String> =
        starts.iter().copied().zip(json::paths(content, &starts, |_| false)).collect();
    matches.iter().map(|found| known.get(&found.string.start).cloned().unwrap_or_else(|| "$".to_owned())).collect()
}

/// Everything that is wrong with the list; places are relative to it. `known` are the ids of rules.
pub(crate) fn flaws(list: &[AllowedSecret], known: &[&str]) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for (index, allowed) in list.iter().enumerate() {
        if allowed.rule.is_none() && allowed.path.is_none() && allowed.sha256.is_none() {
            let message = "this would allow everything; say what is allowed by `rule`, `path` or `sha256`";
            flaws.push(Flaw::new(format!("/{index}"), message));
        }
        if let Some(rule) = &allowed.rule {
            let pattern = Pattern::new(rule);
            let fits = pattern.is_ok_and(|pattern| known.iter().any(|id| pattern.fits(id)));
            if !fits {
                let near = nearest(rule, known.iter().copied());
                let hint = near.map_or_else(
                    || "`systemprompt governance secrets rules list` shows those there are".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                flaws.push(Flaw::new(format!("/{index}/rule"), format!("there is no rule `{rule}`; {hint}")));
            }
        }
        if let Some(path) = &allowed.path
            && (!path.starts_with(['$', '*']) || Pattern::new(path).is_err())
        {
            let message = "a path begins with `$`, such as `$.messages[*].content`";
            flaws.push(Flaw::new(format!("/{index}/path"), message));
        }
        let is_hash = |digits: &str| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if allowed.sha256.as_deref().is_some_and(|digits| !is_hash(digits)) {
            let message = "use the 64 hexadecimal digits that `systemprompt governance secrets test` prints";
            flaws.push(Flaw::new(format!("/{index}/sha256"), message));
        }
        if allowed.reason.trim().is_empty() {
            flaws.push(Flaw::new(format!("/{index}/reason"), "say why it is allowed"));
        }
    }
    flaws
}

/// The entries that do not count any more; places are relative to the list.
pub(crate) fn expired(list: &[AllowedSecret], now: DateTime<Utc>) -> Vec<Flaw> {
    let past = list.iter().enumerate().filter(|(_, allowed)| allowed.expires < now.date_naive());
    past.map(|(index, allowed)| {
        let message =
            format!("this ran out on {} and allows nothing any more; remove it or give it more time", allowed.expires);
        Flaw::new(format!("/{index}/expires"), message)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretScanConfig;
    use crate::secret_scan::SecretScanner;

    const SECRET: &str = concat!("q7Rt2Xv9Lm4K", "p8Zw3Nc6Bd1Hf5Js0Yg2");

    fn list(json: serde_json::Value) -> Vec<AllowedSecret> {
        serde_json::from_value(json).expect("it fits the type")
    }

    fn found(allow: serde_json::Value) -> usize {
        let config = SecretScanConfig { allow: list(allow), ..SecretScanConfig::default() };
        let body = serde_json::json!({"messages": [{"content": format!("api_key = \"{SECRET}\"")}], "other": format!("api_key: {SECRET}")});
        SecretScanner::new(&config).expect("it is valid").matches(body.to_string().as_bytes()).len()
    }

    #[test]
    fn what_is_allowed_passes_until_its_day() {
        let with = |fields: serde_json::Value| {
            let mut entry = serde_json::json!({"reason": "a test", "expires": "2999-01-01"});
            entry.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            serde_json::json!([entry])
        };
        assert_eq!(found(serde_json::json!([])), 2);
        assert_eq!(found(with(serde_json::json!({"sha256": hash(SECRET)}))), 0);
        assert_eq!(found(with(serde_json::json!({"sha256": hash(SECRET).to_uppercase()}))), 0);
        assert_eq!(found(with(serde_json::json!({"sha256": hash("another")}))), 2);
        assert_eq!(found(with(serde_json::json!({"rule": "generic-*"}))), 0);
        assert_eq!(found(with(serde_json::json!({"path": "$.messages[*"}))), 1);
        assert_eq!(found(with(serde_json::json!({"path": "$.messages[*", "rule": "jwt-raw"}))), 2);
        assert_eq!(found(with(serde_json::json!({"sha256": hash(SECRET), "expires": "2020-01-01"}))), 2);
        assert_eq!(found(with(serde_json::json!({}))), 2);
    }

    #[test]
    fn what_is_wrong_is_told_at_its_place_and_what_ran_out_is_told_too() {
        let list = list(serde_json::json!([
            {"rule": "jwt-raw", "reason": "x", "expires": "2020-01-01"},
            {"reason": "x", "expires": "2999-01-01"},
            {"rule": "jwt-row", "path": "messages", "sha256": "abc", "reason": " ", "expires": "2999-01-01"},
        ]));
        let places: Vec<String> = flaws(&list, &["jwt-raw"]).into_iter().map(|flaw| flaw.pointer).collect();
        assert_eq!(places, ["/1", "/2/rule", "/2/path", "/2/sha256", "/2/reason"]);
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(expired(&list, now).into_iter().map(|flaw| flaw.pointer).collect::<Vec<_>>(), ["/0/expires"]);
    }
}
