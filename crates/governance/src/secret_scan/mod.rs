//! Keeps credentials out of what is sent and out of what is recorded. What one looks like is known by
//! [`systemprompt_secrets`]; here is what an installation makes of it: its settings, what it remembers of conversations, and
//! how findings are told.

mod allowed;
mod cleared;
mod entrusted;
mod own_rules;
mod placeholder;
mod replacing;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use systemprompt_config::nearest;
use systemprompt_model::{Clock as _, SystemClock, json};
use systemprompt_secrets::{Confidence, Entropy, ExtraRule, Options, PatternError, Scanner};

use self::allowed::Allowed;
use self::cleared::Cleared;
use crate::config::{Flaw, GovernanceConfig, PolicyConfig, PolicyMode, SecretScanConfig};

pub use allowed::hash;
pub(crate) use entrusted::entrusted;
pub use placeholder::{PREFIX as PLACEHOLDER_PREFIX, PlaceholderKey};
pub(crate) use replacing::exchange;
pub use systemprompt_secrets::fields::OPAQUE;
pub use systemprompt_secrets::{HIGH_ENTROPY_TOKEN, Match, Rule, built_in, forms};

/// What stands where a credential was.
pub const REDACTED: &str = "[redacted]";
/// Findings that are told in detail. What lies beyond is flagged and counted.
const DETAILED: usize = 16;

/// Everything that is wrong with the settings although they fit their schema, as far as rules and what they find are
/// concerned. Places are relative to them.
pub(crate) fn flaws(config: &SecretScanConfig) -> Vec<Flaw> {
    let named = |(at, message): (String, String)| Flaw::new(format!("/{at}"), message);
    let below = |at: &'static str| move |flaw: Flaw| Flaw::new(format!("{at}{}", flaw.pointer), flaw.message);
    let extra: Vec<&str> = config.extra_patterns.iter().map(|extra| extra.name.as_str()).collect();
    let rules = built_in();
    let added = config.rules.add.iter().map(|rule| rule.id.as_str());
    let known: Vec<&str> =
        rules.iter().map(|rule| rule.id.as_str()).chain(extra.iter().copied()).chain(added).collect();
    unknown_patterns(config)
        .into_iter()
        .map(named)
        .chain(own_rules::flaws(&config.rules, &extra).into_iter().map(below("/rules")))
        .chain(allowed::flaws(&config.allow, &known).into_iter().map(below("/allow")))
        .collect()
}

/// What of the settings does not count any more. Places are relative to them.
pub(crate) fn expired(config: &SecretScanConfig, now: DateTime<Utc>) -> Vec<Flaw> {
    let past = allowed::expired(&config.allow, now).into_iter();
    past.map(|flaw| Flaw::new(format!("/allow{}", flaw.pointer), flaw.message)).collect()
}

/// Ids of `warn_only` and `deny` that no pattern has, as their place and what to say.
fn unknown_patterns(config: &SecretScanConfig) -> Vec<(String, String)> {
    let rules = built_in();
    let mut known: Vec<&str> =
        rules.iter().map(|rule| rule.id.as_str()).filter(|id| *id != HIGH_ENTROPY_TOKEN).collect();
    known.extend(config.extra_patterns.iter().map(|extra| extra.name.as_str()));
    known.extend(config.rules.add.iter().map(|rule| rule.id.as_str()));
    let message = |id: &str| {
        if id == HIGH_ENTROPY_TOKEN {
            format!("`{id}` has a mode of its own, `entropy.mode`")
        } else if let Some(near) = nearest(id, known.iter().copied()) {
            format!("there is no pattern `{id}`; did you mean `{near}`?")
        } else {
            format!("there is no pattern `{id}`; docs/reference/secret-rules.md has those there are")
        }
    };
    let lists = [("warn_only", &config.warn_only), ("deny", &config.deny)];
    let listed = lists.into_iter().flat_map(|(list, ids)| ids.iter().enumerate().map(move |(at, id)| (list, at, id)));
    let unknown = listed.filter(|(_, _, id)| !known.contains(&id.as_str()));
    unknown.map(|(list, at, id)| (format!("{list}/{at}"), message(id))).collect()
}

/// A credential that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which pattern it fits.
    pub pattern: String,
    /// Where: a path such as `$.messages[0].content`, `$` for a text. Keys that hold a credential are written `<key>`.
    pub path: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.pattern, self.path)
    }
}

/// A credential, and what there is to know of it.
#[derive(Debug, Clone)]
pub struct Examined<'s> {
    /// What was found.
    pub found: Match<'s>,
    /// Where it stands: a path such as `$.messages[0].content`, `$` for a text.
    pub path: String,
    /// Whether the operator allows it.
    pub is_allowed: bool,
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// The findings, at most 16, at most one for each string; those that refuse before those that warn.
    pub findings: Vec<Finding>,
    /// Whether one of them refuses the content, in a policy that enforces.
    pub refuses: bool,
    /// The strings with a credential in them, without their quotation marks, as byte ranges of the content, ascending.
    pub flagged: Vec<Range<usize>>,
}

impl Scan {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.flagged.is_empty()
    }
}

/// The settings of the scan are not valid.
#[derive(Debug, thiserror::Error)]
pub enum ScannerError {
    /// The allow-list of the rule that goes by randomness is no list of regular expressions.
    #[error("`policies[].entropy.allowlist` of `secret_scan` is not valid")]
    Allowlist(#[source] regex::Error),
    /// A rule of the operator's own is none.
    #[error("`policies[].rules.add` of `secret_scan`: the rule `{id}` is not valid")]
    Rule {
        /// Which.
        id: String,
        /// What is wrong with its pattern.
        source: PatternError,
    },
}

/// The scan with its rules compiled. Made once, used by all threads.
#[derive(Debug)]
pub struct SecretScanner {
    scanner: Scanner,
    allowed: Allowed,
    /// Made with the first content that is scanned; what scans only names needs none.
    cleared: OnceLock<Cleared>,
}

impl SecretScanner {
    /// A scanner for `config`, whose [`flaws`](crate::config::GovernanceConfig::flaws) were looked at before.
    pub fn new(config: &SecretScanConfig) -> Result<Self, ScannerError> {
        let allowed = config.entropy.allowed().map_err(|(_, error)| ScannerError::Allowlist(error))?;
        let extra = |extra: &crate::config::ExtraPattern| ExtraRule::prefixed(&extra.name, &extra.prefix);
        let entropy = Entropy {
            min_len: config.entropy.min_len,
            threshold: config.entropy.threshold,
            allowed,
            acts: config.entropy.mode == PolicyMode::Enforce,
        };
        let added = config
            .rules
            .add
            .iter()
            .map(|rule| own_rules::made(rule).map_err(|source| ScannerError::Rule { id: rule.id.clone(), source }));
        let extra = config.extra_patterns.iter().map(extra).map(Ok).chain(added).collect::<Result<_, _>>()?;
        let scanner = Scanner::new(&Options {
            extra,
            disabled: config.rules.disable.clone(),
            only_told: config.warn_only.clone(),
            entropy: config.entropy.enabled.then_some(entropy),
            placeholder_prefix: PLACEHOLDER_PREFIX.to_owned(),
        });
        Ok(Self { scanner, allowed: Allowed::new(&config.allow), cleared: OnceLock::new() })
    }

    /// The scanner of an installation. Without a policy `secret_scan`, or with one that is switched off, there still is
    /// one: what is recorded about a request must hold no credential even where requests may.
    pub fn of(config: &GovernanceConfig) -> Result<Self, ScannerError> {
        let own = config.policies.iter().find_map(|policy| match policy {
            PolicyConfig::SecretScan(config) => Some(config),
            _ => None,
        });
        own.map_or_else(|| Self::new(&SecretScanConfig::default()), Self::new)
    }

    /// The rules that are in force.
    pub fn rules(&self) -> &[Rule] {
        self.scanner.rules()
    }

    /// Whether a text that is no JSON, such as a header or the name of a model, holds a credential.
    pub fn flags(&self, text: &str) -> bool {
        self.flags_bytes(text.as_bytes())
    }

    /// The same for the key of an object.
    pub(crate) fn flags_bytes(&self, text: &[u8]) -> bool {
        !self.without_allowed(text, self.scanner.scan_text(text)).is_empty()
    }

    /// Whether a text holds a credential that a policy which enforces refuses.
    pub(crate) fn refuses(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.without_allowed(text, self.scanner.scan_text(text)).iter().any(|found| found.rule.acts)
    }

    /// The same for a text that is meant to be random, such as the id of a conversation: only credentials of a known
    /// form count.
    pub fn flags_id(&self, id: &str) -> bool {
        !self.without_allowed(id.as_bytes(), self.scanner.scan_id(id.as_bytes())).is_empty()
    }

    /// `text` as it may be stored: [`REDACTED`] if it is [flagged](Self::flags).
    pub fn redacted(&self, text: String) -> String {
        if self.flags(&text) { REDACTED.to_owned() } else { text }
    }

    /// `id` as it may be stored: [`REDACTED`] if it is [flagged](Self::flags_id).
    pub fn redacted_id(&self, id: String) -> String {
        if self.flags_id(&id) { REDACTED.to_owned() } else { id }
    }

    /// Every credential in `content` but those the API asks for, each as the bytes it takes, in time linear in the size of
    /// the content. Long strings of JSON in which it found nothing before it knows again.
    pub fn matches(&self, content: &[u8]) -> Vec<Match<'_>> {
        let mut matches = self.scanner.scan_remembering(content, self.cleared.get_or_init(Cleared::new));
        if !matches.is_empty() {
            let entrusted = entrusted(content);
            matches.retain(|found| !entrusted.contains(&found.string));
        }
        self.without_allowed(content, matches)
    }

    /// The same in an answer: nothing in it is entrusted to a provider.
    pub(crate) fn matches_in_answer(&self, content: &[u8]) -> Vec<Match<'_>> {
        let matches = self.scanner.scan_remembering(content, self.cleared.get_or_init(Cleared::new));
        self.without_allowed(content, matches)
    }

    fn without_allowed<'m>(&self, content: &[u8], mut matches: Vec<Match<'m>>) -> Vec<Match<'m>> {
        // By the clock of the system, as tokens that have run out.
        self.allowed.take_out(content, &mut matches, SystemClock.now());
        matches
    }

    /// Every credential in `content` with where it stands, those too that are allowed: for people who want to know.
    pub fn examine(&self, content: &[u8]) -> Vec<Examined<'_>> {
        let found = self.scanner.scan(content);
        let kept = self.without_allowed(content, found.clone());
        let is_kept = |at: &Range<usize>| kept.iter().any(|kept| kept.at == *at);
        let paths = allowed::paths(content, &found);
        let examined = found.into_iter().zip(paths);
        examined.map(|(found, path)| Examined { is_allowed: !is_kept(&found.at), found, path }).collect()
    }

    /// What there is to tell of the [`matches`](Self::matches) in `content`.
    pub fn scan(&self, content: &[u8]) -> Scan {
        self.told(content, &self.matches(content))
    }

    /// What there is to tell of these matches in `content`.
    pub(crate) fn told(&self, content: &[u8], matches: &[Match<'_>]) -> Scan {
        let mut matches = matches.to_vec();
        // Of a string the gravest match is told.
        matches.dedup_by(|later, found| {
            let same = later.string == found.string;
            let graver = |rule: &Rule| (rule.acts, rule.confidence > Confidence::Medium);
            if same && graver(later.rule) > graver(found.rule) {
                *found = later.clone();
            }
            same
        });
        let refuses = matches.iter().any(|found| found.rule.acts);
        let told: Vec<&Match<'_>> = matches.iter().filter(|found| found.rule.acts == refuses).take(DETAILED).collect();
        let paths = if json::looks_like_json(content) && told.iter().all(|found| found.string != (0..content.len())) {
            let starts: Vec<usize> = told.iter().map(|found| found.string.start).collect();
            json::paths(content, &starts, |key| self.flags_bytes(key))
        } else {
            told.iter().map(|_| "$".to_owned()).collect()
        };
        let finding = |(found, path): (&&Match<'_>, String)| Finding { pattern: found.rule.id.clone(), path };
        Scan {
            findings: told.iter().zip(paths).map(finding).collect(),
            refuses,
            flagged: matches.iter().map(|found| found.string.clone()).collect(),
        }
    }
}

/// `content` with every flagged string (in ascending order) replaced, so that it may be stored. JSON stays JSON.
pub fn redact(content: &Bytes, flagged: &[Range<usize>]) -> Bytes {
    if flagged.is_empty() {
        return content.clone();
    }
    let mut redacted = Vec::with_capacity(content.len());
    let mut at = 0;
    for range in flagged.iter().filter(|range| range.start < range.end) {
        if range.start < at {
            // Two policies flagged overlapping parts.
            at = at.max(range.end);
            continue;
        }
        redacted.extend_from_slice(&content[at..range.start]);
        redacted.extend_from_slice(REDACTED.as_bytes());
        at = range.end;
    }
    redacted.extend_from_slice(&content[at..]);
    redacted.into()
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod repository;
#[cfg(test)]
mod tests;
