//! The scan.

use std::ops::Range;

use memchr::memchr_iter;
use systemprompt_model::{Secret, json};

use crate::entropy::EntropyRule;
use crate::fields;
use crate::found::Match;
use crate::memory::{Memory, Nothing};
use crate::options::Options;
use crate::patterns::{self, Hit, PatternSet};
use crate::rule::{Confidence, HIGH_ENTROPY_TOKEN, Rule};

/// How many levels of JSON in a string of JSON are looked through.
const UNWRAPPED: usize = 3;
/// Bytes before and after an escape that are unescaped with it: more than a credential has.
const AROUND_ESCAPE: usize = 1024;
/// No string shorter than this has a credential in it (`pwd="12345678"`; a prefix of three and eight characters).
const SHORTEST: usize = 11;

/// The rules, compiled. Made once, used by all threads.
#[derive(Debug)]
pub struct Scanner {
    rules: Vec<Rule>,
    patterns: PatternSet,
    entropy: Option<(usize, EntropyRule)>,
    placeholder: String,
}

/// The ids of all rules there are without options.
pub fn rule_ids() -> impl Iterator<Item = &'static str> {
    patterns::ids().chain(std::iter::once(HIGH_ENTROPY_TOKEN))
}

impl Scanner {
    /// A scanner with these settings.
    pub fn new(options: &Options) -> Self {
        let acts = |id: &str| !options.only_told.iter().any(|told| told == id);
        let mut rules: Vec<Rule> = Vec::new();
        let ids = options.extra.iter().map(|extra| extra.id.clone()).chain(patterns::ids().map(str::to_owned));
        for id in ids.filter(|id| !options.disabled.contains(id)) {
            let confidence = if id.starts_with("generic-") { Confidence::Medium } else { Confidence::High };
            rules.push(Rule { description: id.replace('-', " "), confidence, acts: acts(&id), id });
        }
        let patterns = PatternSet::new(&options.extra, |id| rules.iter().position(|rule| rule.id == id));
        let entropy = options.entropy.as_ref().map(|settings| {
            let id = HIGH_ENTROPY_TOKEN.to_owned();
            let description = "a random token under the name of a secret".to_owned();
            rules.push(Rule { id, description, confidence: Confidence::Low, acts: settings.acts });
            (rules.len() - 1, EntropyRule::new(settings))
        });
        Self { rules, patterns, entropy, placeholder: options.placeholder_prefix.clone() }
    }

    /// The rules that are in force.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Every credential in `content`, which is read as JSON if it looks like it, in time linear in its size. In the order in
    /// which they stand; they do not overlap.
    pub fn scan(&self, content: &[u8]) -> Vec<Match<'_>> {
        self.scan_remembering(content, &Nothing)
    }

    /// The same, without looking through strings of JSON again in which nothing was found before.
    pub fn scan_remembering(&self, content: &[u8], memory: &impl Memory) -> Vec<Match<'_>> {
        if !json::looks_like_json(content) {
            return self.scan_text(content);
        }
        let mut matches = Vec::new();
        let mut buffer = Vec::new();
        for leaf in json::Strings::of(content) {
            let Ok(leaf) = leaf else {
                // Whoever receives this may read it in a way we do not, so it is judged as the text it is as well.
                let as_text = self.scan_text(content);
                return if as_text.is_empty() { matches } else { as_text };
            };
            let by_entropy = !leaf.key.is_some_and(fields::is_opaque);
            let named = leaf.key.filter(|key| fields::names_a_credential(key));
            // Judged by nothing but its own bytes and whether their distribution counts, unless its name counts too.
            let mark = if named.is_none() { memory.mark(leaf.raw, by_entropy.into()) } else { None };
            if mark.is_some_and(|mark| memory.is_clean(mark)) {
                continue;
            }
            let text = if leaf.escaped {
                buffer.clear();
                json::unescape(leaf.raw, &mut buffer);
                &buffer
            } else {
                leaf.raw
            };
            let mut hits = self.hits(text, by_entropy, leaf.escaped);
            if let Some(key) = named
                && (8..=512).contains(&text.len())
            {
                let before = key.len() + 2;
                let assignment = [key, b"=\"", text, b"\""].concat();
                let inside = |place: &Range<usize>| place.start >= before && place.end <= before + text.len();
                hits.extend(
                    self.hits(&assignment, by_entropy, false)
                        .into_iter()
                        .filter(|hit| inside(&hit.place))
                        .map(|hit| Hit { place: hit.place.start - before..hit.place.end - before, ..hit }),
                );
            }
            if hits.is_empty() {
                if let Some(mark) = mark {
                    memory.remember(mark);
                }
                continue;
            }
            let hits = self.apart(hits);
            let places: Vec<Range<usize>> = hits.iter().map(|hit| hit.place.clone()).collect();
            let raw = if leaf.escaped { json::raw_places(leaf.raw, &places) } else { places };
            for (hit, raw) in hits.iter().zip(raw) {
                let at = leaf.span.start + raw.start..leaf.span.start + raw.end;
                matches.push(self.found(hit, text, at, leaf.span.clone()));
            }
        }
        matches
    }

    /// Every credential in a text that is no JSON, such as a header or the name of a model.
    pub fn scan_text(&self, text: &[u8]) -> Vec<Match<'_>> {
        self.matches(text, true)
    }

    /// The same in a text that is meant to be random, such as the id of a conversation: only credentials of a known form
    /// count.
    pub fn scan_id(&self, id: &[u8]) -> Vec<Match<'_>> {
        self.matches(id, false)
    }

    fn matches(&self, text: &[u8], by_entropy: bool) -> Vec<Match<'_>> {
        let hits = self.apart(self.hits(text, by_entropy, true));
        hits.iter().map(|hit| self.found(hit, text, hit.place.clone(), 0..text.len())).collect()
    }

    fn found(&self, hit: &Hit, text: &[u8], at: Range<usize>, string: Range<usize>) -> Match<'_> {
        let value = Secret::new(json::lossy(&text[hit.place.clone()]));
        Match { rule: &self.rules[hit.rule], at, string, value }
    }

    fn hits(&self, text: &[u8], by_entropy: bool, unwrapped: bool) -> Vec<Hit> {
        let mut hits = Vec::new();
        if text.len() < SHORTEST {
            return hits;
        }
        self.patterns.find(text, &mut hits);
        if let Some((rule, entropy)) = self.entropy.as_ref().filter(|_| by_entropy) {
            entropy.find(text, |place| hits.push(Hit { rule: *rule, generic: true, place }));
        }
        if unwrapped {
            self.unwrap(text, UNWRAPPED, &mut hits);
        }
        hits.retain(|hit| !text[hit.place.clone()].starts_with(self.placeholder.as_bytes()));
        hits
    }

    /// A string that holds JSON of its own, as the arguments of a tool call do, has that one's escapes left. Only `\uXXXX`
    /// and `\/` can break a credential apart, so their surroundings are unescaped once more.
    fn unwrap(&self, text: &[u8], levels: usize, hits: &mut Vec<Hit>) {
        if levels == 0 {
            return;
        }
        let mut escapes =
            memchr_iter(b'\\', text).filter(|&at| matches!(text.get(at + 1), Some(b'u' | b'/'))).peekable();
        while let Some(first) = escapes.next() {
            let mut end = first + AROUND_ESCAPE;
            while let Some(next) = escapes.next_if(|&next| next < end) {
                end = next + AROUND_ESCAPE;
            }
            let start = first.saturating_sub(AROUND_ESCAPE);
            let written = &text[start..end.min(text.len())];
            let mut unescaped = Vec::new();
            json::unescape(written, &mut unescaped);
            let mut inner = Vec::new();
            self.patterns.find(&unescaped, &mut inner);
            self.unwrap(&unescaped, levels - 1, &mut inner);
            let inner = self.apart(inner);
            let places: Vec<Range<usize>> = inner.iter().map(|hit| hit.place.clone()).collect();
            let written = json::raw_places(written, &places);
            hits.extend(
                inner
                    .into_iter()
                    .zip(written)
                    .map(|(hit, place)| Hit { place: start + place.start..start + place.end, ..hit }),
            );
        }
    }

    /// The hits in order, of those that overlap the one that says most.
    fn apart(&self, mut hits: Vec<Hit>) -> Vec<Hit> {
        hits.sort_by_key(|hit| hit.place.start);
        let mut apart: Vec<Hit> = Vec::new();
        for hit in hits {
            match apart.last_mut().filter(|last| last.place.end > hit.place.start) {
                Some(last) => {
                    let place = last.place.start..last.place.end.max(hit.place.end);
                    if self.says(&hit) > self.says(last) {
                        *last = hit;
                    }
                    last.place = place;
                }
                None => apart.push(hit),
            }
        }
        apart
    }

    fn says(&self, hit: &Hit) -> (bool, Confidence) {
        let rule = &self.rules[hit.rule];
        (rule.acts, rule.confidence)
    }
}
