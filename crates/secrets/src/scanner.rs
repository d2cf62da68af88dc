//! The scan.

use std::collections::HashMap;
use std::ops::Range;

use systemprompt_model::{Secret, json};

use crate::encoded;
use crate::engine::{Engine, Hit, Reach};
use crate::entropy::EntropyRule;
use crate::fields;
use crate::found::Match;
use crate::joined::Neighbour;
use crate::kinds::{self, Form};
use crate::memory::{Memory, Nothing};
use crate::options::{Options, PLACEHOLDER_DIGITS};
use crate::rule::{Category, Confidence, HIGH_ENTROPY_TOKEN, Rule};
use crate::views::views;

/// No string shorter than this has a credential in it (`pwd="12345678"`; a prefix of three and eight characters).
const SHORTEST: usize = 11;
/// Nothing shorter is a credential.
const SHORTEST_VALUE: usize = 8;

/// The parts in either of two strings of what stands over their border.
type Parts = Vec<(Range<usize>, Range<usize>)>;

/// The rules, compiled. Made once, used by all threads.
#[derive(Debug)]
pub struct Scanner {
    rules: Vec<Rule>,
    by_id: HashMap<String, usize>,
    engine: Engine,
    entropy: Option<(usize, EntropyRule)>,
    placeholder: String,
}

/// The ids of all rules there are without options, and what each is.
pub fn built_in() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for (category, kind) in kinds::all() {
        if rules.iter().any(|rule| rule.id == kind.id) {
            continue;
        }
        let named = |other: &kinds::Kind| other.id != kind.id || matches!(other.form, Form::Named(..));
        let confidence = match kind.id {
            id if id.starts_with("generic-") => Confidence::Medium,
            id if id.contains("url") || id == "mail-password" => Confidence::Named,
            "bearer-token"
            | "session-cookie"
            | "connection-string-password"
            | "command-line-password"
            | "password-line" => Confidence::Medium,
            _ if kinds::all().all(|(_, other)| named(other)) => Confidence::Named,
            _ => Confidence::High,
        };
        let (id, description) = (kind.id.to_owned(), kind.about.to_owned());
        rules.push(Rule { id, description, category, confidence, acts: true });
    }
    rules.push(Rule {
        id: HIGH_ENTROPY_TOKEN.to_owned(),
        description: "Random token under the name of a secret".to_owned(),
        category: Category::General,
        confidence: Confidence::Low,
        acts: false,
    });
    rules
}

/// How the rule with this id recognises what it is about, in words: the patterns it has, in the language of
/// [`pattern`](crate::pattern), and the names that values of some are given to.
pub fn forms(id: &str) -> Vec<String> {
    let form = |kind: &kinds::Kind| match kind.form {
        Form::Begins(patterns) => patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
        Form::Holds(inside, pattern) => vec![format!("{pattern}, with `{inside}` inside")],
        Form::Named(names, pattern) => vec![format!("{pattern}, given to a name with {}", names.join(" or "))],
        Form::Read => vec!["by where it stands and what it looks like".to_owned()],
    };
    kinds::all().filter(|(_, kind)| kind.id == id).flat_map(|(_, kind)| form(kind)).collect()
}

impl Scanner {
    /// A scanner with these settings.
    pub fn new(options: &Options) -> Self {
        let own = options.extra.iter().map(|extra| Rule {
            id: extra.id.clone(),
            description: extra.description.clone(),
            category: Category::Own,
            confidence: Confidence::High,
            acts: true,
        });
        let mut rules: Vec<Rule> = own.chain(built_in()).collect();
        rules.retain(|rule| {
            !options.disabled.contains(&rule.id) && (rule.id != HIGH_ENTROPY_TOKEN || options.entropy.is_some())
        });
        for rule in &mut rules {
            rule.acts = match &options.entropy {
                Some(entropy) if rule.id == HIGH_ENTROPY_TOKEN => entropy.acts,
                _ => !options.only_told.contains(&rule.id),
            };
        }
        let mut by_id = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            by_id.entry(rule.id.clone()).or_insert(index);
        }
        let engine = Engine::new(&options.extra, |id| by_id.get(id).copied());
        let entropy = by_id.get(HIGH_ENTROPY_TOKEN).zip(options.entropy.as_ref());
        let entropy = entropy.map(|(rule, settings)| (*rule, EntropyRule::new(settings)));
        Self { rules, by_id, engine, entropy, placeholder: options.placeholder_prefix.clone() }
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
        let (mut buffer, mut quoted) = (Vec::new(), Vec::new());
        let mut neighbour: Option<Neighbour> = None;
        // Where the last key stands, and the last string that was given to one.
        let (mut key_at, mut sibling) = (0..0, 0..0);
        for leaf in json::Strings::of(content) {
            let Ok(leaf) = leaf else {
                // Whoever receives this may read it in a way we do not, so it is judged as the text it is as well.
                matches.extend(self.scan_text(content));
                break;
            };
            let is_key = leaf.key.is_none() && is_followed_by_colon(content, leaf.span.end + 1);
            if let Some(before) = &neighbour
                && !is_key
                && before.goes_on(leaf.key)
            {
                for (hit, places) in self.across(before, content, &leaf.span) {
                    matches.extend(places.into_iter().map(|(at, string)| {
                        let value = json::Text::of(&content[at.clone()]).decode().into_owned();
                        Match { rule: &self.rules[hit.rule], at, string, value: Secret::new(value) }
                    }));
                }
            }
            neighbour = Neighbour::after(neighbour, leaf.key, is_key, &leaf.span);

            let opaque = leaf.key.is_some_and(fields::is_opaque);
            let is_name = |name: &[u8], quoted: &mut Vec<u8>| {
                quoted.clear();
                quoted.extend_from_slice(b"\"");
                quoted.extend_from_slice(name);
                quoted.extend_from_slice(b"\": \"");
                leaf.raw.len() >= 8 && self.engine.names_something(quoted)
            };
            let named = leaf.key.filter(|key| is_name(key, &mut quoted));
            // A key that says little is that of what its object or the string before it says.
            let whole =
                leaf.key.filter(|key| (named.is_some() || fields::says_little(key)) && fields::may_be_one(leaf.raw));
            let whole = whole.and_then(|key| fields::whole_name(content, key, &key_at, &sibling));
            if is_key {
                key_at = leaf.span.clone();
            } else {
                sibling = leaf.span.clone();
            }
            // Judged by nothing but its own bytes and whether their distribution counts, unless its name counts too.
            let mark = if named.is_none() && whole.is_none() { memory.mark(leaf.raw, u8::from(!opaque)) } else { None };
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
            let mut hits = self.hits(text, opaque);
            let given = |quoted: &[u8]| {
                let before = quoted.len();
                let assignment = [quoted, text, b"\""].concat();
                let inside = |place: &Range<usize>| place.start >= before && place.end <= before + text.len();
                let named = self.hits(&assignment, opaque).into_iter().filter(|hit| inside(&hit.place));
                let at = |hit: Hit| Hit { place: hit.place.start - before..hit.place.end - before, ..hit };
                named.map(at).collect::<Vec<_>>()
            };
            if named.is_some() && text.len() <= 512 {
                hits.extend(given(&quoted));
            }
            if hits.is_empty() && text.len() <= 512 && whole.is_some_and(|whole| is_name(&whole, &mut quoted)) {
                hits = given(&quoted);
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
        matches.sort_by_key(|found| (found.at.start, std::cmp::Reverse(found.at.end)));
        let says = |found: &Match<'_>| (found.rule.acts, found.rule.confidence);
        matches.dedup_by(|later, found| {
            let overlaps = later.at.start < found.at.end;
            if overlaps && says(later) > says(found) {
                std::mem::swap(later, found);
            }
            overlaps
        });
        matches
    }

    /// Every credential in a text that is no JSON, such as a header or the name of a model.
    pub fn scan_text(&self, text: &[u8]) -> Vec<Match<'_>> {
        self.matches(text, false)
    }

    /// The same in a text that is meant to be random, such as the id of a conversation: only credentials of a known form
    /// count.
    pub fn scan_id(&self, id: &[u8]) -> Vec<Match<'_>> {
        self.matches(id, true)
    }

    fn matches(&self, text: &[u8], opaque: bool) -> Vec<Match<'_>> {
        let hits = self.apart(self.hits(text, opaque));
        hits.iter().map(|hit| self.found(hit, text, hit.place.clone(), 0..text.len())).collect()
    }

    fn found(&self, hit: &Hit, text: &[u8], at: Range<usize>, string: Range<usize>) -> Match<'_> {
        let value = Secret::new(json::lossy(&text[hit.place.clone()]));
        Match { rule: &self.rules[hit.rule], at, string, value }
    }

    /// What is found in one text. In one that is opaque, only what nothing else looks like.
    fn hits(&self, text: &[u8], opaque: bool) -> Vec<Hit> {
        let mut hits = Vec::new();
        if text.len() < SHORTEST {
            return hits;
        }
        let rules = |id: &str| self.by_id.get(id).copied();
        let reach = if opaque { Reach::KnownForms } else { Reach::All };
        self.engine.find(text, reach, &rules, &mut hits);
        let mut told = Vec::new();
        if let Some((rule, entropy)) = self.entropy.as_ref().filter(|_| !opaque) {
            // What is found already says more; hits stand in about the order of the text.
            let (known, mut at) = (hits.len(), 0);
            entropy.find(
                text,
                |run| {
                    while at + 1 < known && hits[at].place.end <= run.start {
                        at += 1;
                    }
                    hits[..known].get(at).is_some_and(|hit| {
                        self.rules[hit.rule].acts && hit.place.start <= run.start && run.end <= hit.place.end
                    })
                },
                |place| told.push(Hit { rule: *rule, place }),
            );
            hits.append(&mut told);
        }
        let mut inner = Vec::new();
        views(text, |view| {
            self.engine.find(&view.text, Reach::KnownForms, &rules, &mut inner);
            let of_escapes = inner.drain(..).filter(|hit| view.is_of_escapes(&hit.place));
            hits.extend(of_escapes.map(|hit| Hit { rule: hit.rule, place: view.written(&hit.place) }));
        });
        encoded::texts(text, |place, decoded| {
            self.engine.find(decoded, Reach::KnownForms, &rules, &mut inner);
            // A part of what is encoded cannot be exchanged.
            hits.extend(inner.drain(..).take(1).map(|hit| Hit { rule: hit.rule, place: place.clone() }));
        });
        hits.retain(|hit| !self.is_placeholder(&text[hit.place.clone()]));
        hits
    }

    /// Whether this was put where a secret was, with next to nothing behind it. What only begins alike is what it is.
    fn is_placeholder(&self, value: &[u8]) -> bool {
        let Some(name) = value.strip_prefix(self.placeholder.as_bytes()) else { return false };
        let length = name.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')).count();
        let (name, behind) = name.split_at(length);
        let Some(at) = name.len().checked_sub(PLACEHOLDER_DIGITS + 1) else { return false };
        let (rule, hash) = name.split_at(at);
        let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        !rule.is_empty() && hash[0] == b'_' && hash[1..].iter().all(digit) && behind.len() < SHORTEST_VALUE
    }

    /// What is found over the border of two strings: for each, its part in either.
    fn across(&self, before: &Neighbour, content: &[u8], span: &Range<usize>) -> Vec<(Hit, Parts)> {
        let Some(joint) = before.joint(content, span) else { return Vec::new() };
        let mut hits = Vec::new();
        self.engine.find(&joint.text, Reach::KnownForms, &|id| self.by_id.get(id).copied(), &mut hits);
        hits.retain(|hit| joint.is_across(&hit.place));
        if hits.is_empty() {
            return Vec::new();
        }
        // What is a credential without the next string does not go on in it.
        let mut alone = Vec::new();
        self.engine.find(joint.first(), Reach::KnownForms, &|id| self.by_id.get(id).copied(), &mut alone);
        hits.retain(|hit| alone.iter().all(|alone| alone.place.start != hit.place.start));
        self.apart(hits).into_iter().map(|hit| (hit.clone(), joint.parts(content, &hit.place))).collect()
    }

    /// The hits in order, of those that overlap the one that says most.
    fn apart(&self, mut hits: Vec<Hit>) -> Vec<Hit> {
        hits.sort_by_key(|hit| (hit.place.start, std::cmp::Reverse(hit.place.end)));
        let mut apart: Vec<Hit> = Vec::new();
        for hit in hits {
            match apart.last_mut().filter(|last| last.place.end > hit.place.start) {
                Some(last) => {
                    if self.says(&hit) > self.says(last) {
                        let place = if self.rules[hit.rule].confidence > self.rules[last.rule].confidence {
                            hit.place.clone()
                        } else {
                            last.place.start..last.place.end.max(hit.place.end)
                        };
                        *last = Hit { rule: hit.rule, place };
                    } else if self.says(&hit) == self.says(last) {
                        last.place.end = last.place.end.max(hit.place.end);
                    }
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

fn is_followed_by_colon(content: &[u8], end: usize) -> bool {
    content.get(end..).is_some_and(|rest| rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':'))
}
