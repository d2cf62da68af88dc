//! Finds credentials in what is about to leave: every string and every object key of a JSON body, or a text as a whole.
//!
//! The scan reads the exact bytes that will be sent. It resolves JSON's escapes where there are any, so a key written as
//! `\u0073k-…` is seen as what the receiver would read. A finding says which pattern matched and where, and holds no part
//! of the credential.
//!
//! What is documented to be no secret passes: keys that are meant to be public, the example credentials of vendors, and
//! passwords everybody writes where one would be ([`examples`], [`words`], [`urls`], [`jwt`]).
//!
//! To add a credential, add an entry to `patterns::PATTERNS` and a row with examples to the table in `tests.rs`.

mod anchors;
mod cleared;
mod entropy;
mod examples;
mod fields;
mod jwt;
mod measure;
mod patterns;
mod pem;
mod urls;
mod words;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use memchr::memchr_iter;
use systemprompt_config::nearest;
use systemprompt_model::json;

use self::cleared::Cleared;
use self::entropy::EntropyRule;
use self::patterns::PatternSet;
use crate::config::{GovernanceConfig, PolicyConfig, PolicyMode, SecretScanConfig};

pub use fields::OPAQUE;

/// What stands where a credential was.
pub const REDACTED: &str = "[redacted]";
/// The id of findings by distribution rather than form.
pub const HIGH_ENTROPY_TOKEN: &str = "high-entropy-token";
/// Findings that are told in detail. What lies beyond is flagged and counted.
const DETAILED: usize = 16;
/// How many levels of JSON in a string of JSON are looked through.
const UNWRAPPED: usize = 3;
/// Bytes before and after an escape that are unescaped with it: more than a credential has.
const AROUND_ESCAPE: usize = 1024;
/// No string shorter than this has a credential in it (`pwd="12345678"`; a prefix of three and eight characters).
const SHORTEST: usize = 11;

/// The ids of everything the scan knows without configuration.
pub fn pattern_ids() -> impl Iterator<Item = &'static str> {
    patterns::ids().chain(std::iter::once(HIGH_ENTROPY_TOKEN))
}

/// Ids of `warn_only` that no pattern has, as their place in the list and what to say.
pub(crate) fn unknown_patterns(config: &SecretScanConfig) -> Vec<(usize, String)> {
    let mut known: Vec<&str> = patterns::ids().collect();
    known.extend(config.extra_patterns.iter().map(|extra| extra.name.as_str()));
    let message = |id: &str| {
        if id == HIGH_ENTROPY_TOKEN {
            format!("`{id}` has a mode of its own, `entropy.mode`")
        } else if let Some(near) = nearest(id, known.iter().copied()) {
            format!("there is no pattern `{id}`; did you mean `{near}`?")
        } else {
            format!("there is no pattern `{id}`; there are: {}", known.join(", "))
        }
    };
    let unknown = config.warn_only.iter().enumerate().filter(|(_, id)| !known.contains(&id.as_str()));
    unknown.map(|(index, id)| (index, message(id))).collect()
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

/// The scan with its patterns compiled. Made once, used by all threads.
#[derive(Debug)]
pub struct SecretScanner {
    patterns: PatternSet,
    entropy: Option<EntropyRule>,
    /// Whether findings by entropy refuse.
    entropy_refuses: bool,
    /// Made with the first content that is scanned; what scans only names needs none.
    cleared: OnceLock<Cleared>,
}

/// What was found in a string.
#[derive(Debug, Clone, Copy)]
struct Hit<'a> {
    pattern: &'a str,
    refuses: bool,
}

/// The graver of what was found and what `other` finds, which is asked only if it can matter.
fn graver<'a>(hit: Option<Hit<'a>>, other: impl FnOnce() -> Option<Hit<'a>>) -> Option<Hit<'a>> {
    match hit {
        Some(hit) if hit.refuses => Some(hit),
        hit => other().filter(|other| other.refuses || hit.is_none()).or(hit),
    }
}

impl SecretScanner {
    /// A scanner for `config`, whose [`flaws`](crate::config::GovernanceConfig::flaws) were looked at before.
    pub fn new(config: &SecretScanConfig) -> Result<Self, regex::Error> {
        let allowed = config.entropy.allowed().map_err(|(_, error)| error)?;
        Ok(Self {
            patterns: PatternSet::new(&config.extra_patterns, &config.warn_only),
            entropy: config.entropy.enabled.then(|| EntropyRule::new(&config.entropy, allowed)),
            entropy_refuses: config.entropy.mode == PolicyMode::Enforce,
            cleared: OnceLock::new(),
        })
    }

    /// The scanner of an installation. Without a policy `secret_scan`, or with one that is switched off, there still is
    /// one: what is recorded about a request must hold no credential even where requests may.
    pub fn of(config: &GovernanceConfig) -> Result<Self, regex::Error> {
        let own = config.policies.iter().find_map(|policy| match policy {
            PolicyConfig::SecretScan(config) => Some(config),
            _ => None,
        });
        own.map_or_else(|| Self::new(&SecretScanConfig::default()), Self::new)
    }

    /// Whether a text that is no JSON, such as a header or the name of a model, holds a credential.
    pub fn flags(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.scan_string(text, true).is_some() || self.scan_unwrapped(text, true, UNWRAPPED).is_some()
    }

    /// Whether a text holds a credential that a policy which enforces refuses.
    pub(crate) fn refuses(&self, text: &str) -> bool {
        self.scan_string(text.as_bytes(), true).is_some_and(|hit| hit.refuses)
    }

    /// The same for a text that is meant to be random, such as the id of a conversation: only credentials of a known
    /// form count.
    pub fn flags_id(&self, id: &str) -> bool {
        let id = id.as_bytes();
        self.scan_string(id, false).is_some() || self.scan_unwrapped(id, false, UNWRAPPED).is_some()
    }

    /// `text` as it may be stored: [`REDACTED`] if it is [flagged](Self::flags).
    pub fn redacted(&self, text: String) -> String {
        if self.flags(&text) { REDACTED.to_owned() } else { text }
    }

    /// `id` as it may be stored: [`REDACTED`] if it is [flagged](Self::flags_id).
    pub fn redacted_id(&self, id: String) -> String {
        if self.flags_id(&id) { REDACTED.to_owned() } else { id }
    }

    /// Scans `content` in time linear in its size. Long strings of JSON in which it found nothing before it knows again.
    pub fn scan(&self, content: &[u8]) -> Scan {
        if !json::looks_like_json(content) {
            return self.scan_as_text(content);
        }
        let cleared = self.cleared.get_or_init(Cleared::new);
        let mut buffers = Buffers::default();
        let mut hits: Vec<(Hit<'_>, Range<usize>)> = Vec::new();
        let mut entrusted = Vec::new();
        for leaf in json::Strings::of(content) {
            let Ok(leaf) = leaf else {
                // Whoever receives this may read it in a way we do not, so it is judged as the text it is as well.
                let scan = self.scan_as_text(content);
                if !scan.is_clean() {
                    return scan;
                }
                break;
            };
            let by_entropy = !leaf.key.is_some_and(fields::is_opaque);
            let names_a_credential = leaf.key.is_some_and(fields::names_a_credential);
            let raw = leaf.raw;
            // Judged by nothing but its own bytes and whether their distribution counts, unless its name counts too.
            let mark = if names_a_credential { None } else { cleared.mark(raw, by_entropy) };
            if mark.is_some_and(|mark| cleared.contains(mark)) {
                continue;
            }
            let text = if leaf.escaped { buffers.unescaped(raw) } else { raw };
            let mut hit = self.scan_string(text, by_entropy);
            if leaf.escaped {
                hit = graver(hit, || self.scan_unwrapped(text, by_entropy, UNWRAPPED));
            }
            if let Some(key) = leaf.key
                && names_a_credential
                && (8..=512).contains(&text.len())
            {
                hit = graver(hit, || self.scan_string(&as_assignment(key, text), by_entropy));
            }
            if let Some(hit) = hit {
                if leaf.key.is_some_and(fields::may_be_entrusted) {
                    entrusted.push(hits.len());
                }
                hits.push((hit, leaf.span));
            } else if let Some(mark) = mark {
                cleared.insert(mark);
            }
        }
        if !entrusted.is_empty() {
            let starts: Vec<usize> = entrusted.iter().map(|&hit| hits[hit].1.start).collect();
            let paths = json::paths(content, &starts, |_| false);
            for (hit, _) in
                entrusted.into_iter().zip(paths).rev().filter(|(_, path)| fields::is_entrusted(path, content))
            {
                hits.remove(hit);
            }
        }

        let refuses = hits.iter().any(|(hit, _)| hit.refuses);
        let told: Vec<_> = hits.iter().filter(|(hit, _)| hit.refuses == refuses).take(DETAILED).collect();
        let starts: Vec<usize> = told.iter().map(|(_, span)| span.start).collect();
        let paths = json::paths(content, &starts, |key| self.scan_string(key, true).is_some());
        let finding =
            |((hit, _), path): (&(Hit<'_>, Range<usize>), String)| Finding { pattern: hit.pattern.to_owned(), path };
        Scan {
            findings: told.into_iter().zip(paths).map(finding).collect(),
            refuses,
            flagged: hits.iter().map(|(_, span)| span.clone()).collect(),
        }
    }

    fn scan_as_text(&self, content: &[u8]) -> Scan {
        let hit = graver(self.scan_string(content, true), || self.scan_unwrapped(content, true, UNWRAPPED));
        hit.map_or_else(Scan::default, |hit| Scan {
            findings: vec![Finding { pattern: hit.pattern.to_owned(), path: "$".to_owned() }],
            refuses: hit.refuses,
            flagged: Vec::from([Range { start: 0, end: content.len() }]),
        })
    }

    fn scan_string(&self, text: &[u8], by_entropy: bool) -> Option<Hit<'_>> {
        if text.len() < SHORTEST {
            return None;
        }
        let by_form = self.patterns.find(text).map(|(pattern, refuses)| Hit { pattern, refuses });
        graver(by_form, || {
            let rule = self.entropy.as_ref().filter(|_| by_entropy)?;
            rule.finds(text).then_some(Hit { pattern: HIGH_ENTROPY_TOKEN, refuses: self.entropy_refuses })
        })
    }

    /// A string that holds JSON of its own, as the arguments of a tool call do, has that one's escapes left. Only `\uXXXX`
    /// and `\/` can break a credential apart, so their surroundings are unescaped once more.
    fn scan_unwrapped(&self, text: &[u8], by_entropy: bool, levels: usize) -> Option<Hit<'_>> {
        if levels == 0 {
            return None;
        }
        let mut found = None;
        let mut escapes =
            memchr_iter(b'\\', text).filter(|&at| matches!(text.get(at + 1), Some(b'u' | b'/'))).peekable();
        while let Some(first) = escapes.next() {
            let mut end = first + AROUND_ESCAPE;
            while let Some(next) = escapes.next_if(|&next| next < end) {
                end = next + AROUND_ESCAPE;
            }
            let mut unescaped = Vec::new();
            json::unescape(&text[first.saturating_sub(AROUND_ESCAPE)..end.min(text.len())], &mut unescaped);
            found = graver(found, || {
                let hit = self.scan_string(&unescaped, by_entropy);
                graver(hit, || self.scan_unwrapped(&unescaped, by_entropy, levels - 1))
            });
        }
        found
    }
}

/// The credentials the API asks for in `content`, a request: they go where they belong and are not stored. Ascending.
pub(crate) fn entrusted(content: &[u8]) -> Vec<Range<usize>> {
    if !fields::may_hold_entrusted(content) || !json::looks_like_json(content) {
        return Vec::new();
    }
    let spans: Vec<Range<usize>> = json::Strings::of(content)
        .map_while(Result::ok)
        .filter(|leaf| leaf.key.is_some_and(fields::may_be_entrusted))
        .map(|leaf| leaf.span)
        .collect();
    let starts: Vec<usize> = spans.iter().map(|span| span.start).collect();
    let paths = json::paths(content, &starts, |_| false);
    spans.into_iter().zip(paths).filter(|(_, path)| fields::is_entrusted(path, content)).map(|(span, _)| span).collect()
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

/// Room for one unescaped string, used again for the next.
#[derive(Default)]
struct Buffers(Vec<u8>);

impl Buffers {
    fn unescaped(&mut self, raw: &[u8]) -> &[u8] {
        self.0.clear();
        json::unescape(raw, &mut self.0);
        &self.0
    }
}

fn as_assignment(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(key.len() + value.len() + 4);
    text.extend_from_slice(key);
    text.extend_from_slice(b"=\"");
    text.extend_from_slice(value);
    text.push(b'"');
    text
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod repository;
#[cfg(test)]
mod tests;
