//! Which parts of a content are exchanged for placeholders, once secrets were found in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use systemprompt_extension::policy::ReplacedPart;
use systemprompt_model::{Secret, json};

use super::Match;
use super::placeholder::PlaceholderKey;

/// Members whose text is JSON of its own, so that its escapes are resolved twice: what stands there is the same secret.
const JSON_TEXTS: [&[u8]; 2] = [b"arguments", b"partial_json"];
/// A secret of so many characters is looked for wherever else it stands; shorter ones may be words.
const RECOGNISABLE: usize = 12;
/// How many secrets are looked for elsewhere, and how often: bounds on what one request can make us do.
const MOST_KNOWN: usize = 1000;
const MOST: usize = 10_000;

/// What is exchanged in a content, and what of it stays although it holds a secret.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// The parts, ascending, none overlapping another.
    pub(crate) parts: Vec<ReplacedPart>,
    /// Strings that must go as they are: a provider has signed them, and said them itself.
    pub(crate) kept: Vec<Range<usize>>,
}

/// A string of a document in which a secret was found.
#[derive(Debug, Default, Clone, Copy)]
struct Standing {
    is_json: bool,
    is_signed: bool,
}

/// What to exchange in `content`, in which these secrets were found.
pub(crate) fn exchange(
    content: &[u8],
    found: &[&Match<'_>],
    key: &PlaceholderKey,
    hidden: impl Fn(&[u8]) -> bool,
) -> Exchange {
    let standing = standing(content, &found.iter().map(|found| found.string.start).collect());
    let mut exchange = Exchange::default();
    let mut parts: BTreeMap<usize, ReplacedPart> = BTreeMap::new();
    // What each text that was found stands for, so that it is known wherever else it stands.
    let mut known: HashMap<&[u8], (String, Secret, String)> = HashMap::new();
    for found in found {
        let place = standing.get(&found.string.start).copied().unwrap_or_default();
        if place.is_signed {
            exchange.kept.push(found.string.clone());
            continue;
        }
        let original = if place.is_json { unescaped(&found.value) } else { found.value.clone() };
        let placeholder = key.placeholder(&found.rule.id, original.expose());
        let Some(raw) = content.get(found.at.clone()) else { continue };
        if is_recognisable(raw) {
            known.entry(raw).or_insert_with(|| (placeholder.clone(), original.clone(), found.rule.id.clone()));
        }
        insert(&mut parts, part(found.at.clone(), placeholder, original, &found.rule.id));
    }
    let (texts, meanings): (Vec<&[u8]>, Vec<_>) = known.into_iter().take(MOST_KNOWN).unzip();
    // One pass for all of them: a content may hold thousands.
    let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&texts);
    for again in finder.iter().flat_map(|finder| finder.find_iter(content)).take(MOST) {
        let at = again.range();
        let (placeholder, original, rule) = &meanings[again.pattern().as_usize()];
        if !exchange.kept.iter().any(|kept| kept.start <= at.start && at.end <= kept.end) {
            insert(&mut parts, part(at, placeholder.clone(), original.clone(), rule));
        }
    }
    let starts: Vec<usize> = parts.keys().copied().collect();
    exchange.parts = parts.into_values().collect();
    for (part, path) in exchange.parts.iter_mut().zip(paths(content, &starts, hidden)) {
        part.path = path;
    }
    exchange
}

fn part(at: Range<usize>, placeholder: String, original: Secret, rule: &str) -> ReplacedPart {
    ReplacedPart { at, placeholder, original, rule: rule.to_owned(), path: String::new() }
}

/// Adds a part unless it overlaps one that is there. Of two that do, the first stands: both hold the secret.
fn insert(parts: &mut BTreeMap<usize, ReplacedPart>, part: ReplacedPart) {
    let before = parts.range(..part.at.end).next_back();
    if before.is_none_or(|(_, before)| before.at.end <= part.at.start) {
        parts.insert(part.at.start, part);
    }
}

/// Whether a text is unlike any word, so that it is the secret wherever it stands.
fn is_recognisable(raw: &[u8]) -> bool {
    raw.len() >= RECOGNISABLE
        && raw.iter().any(u8::is_ascii_digit)
        && raw.iter().any(u8::is_ascii_alphabetic)
        && raw.iter().collect::<BTreeSet<_>>().len() >= RECOGNISABLE / 2
}

/// How the strings stand that begin at `starts`.
fn standing(content: &[u8], starts: &BTreeSet<usize>) -> HashMap<usize, Standing> {
    let mut standing: HashMap<usize, Standing> = HashMap::new();
    if !json::looks_like_json(content) {
        return standing;
    }
    // A thought and its signature stand side by side, in either order.
    let mut last_signature = false;
    let mut last_thought = None;
    for leaf in json::Strings::of(content).map_while(Result::ok) {
        let Some(key) = leaf.key else { continue };
        match key {
            b"thinking" => {
                last_thought = starts.contains(&leaf.span.start).then_some(leaf.span.start);
                if let Some(start) = last_thought {
                    standing.insert(start, Standing { is_json: false, is_signed: last_signature });
                }
                last_signature = false;
            }
            b"signature" => {
                last_signature = !leaf.raw.is_empty();
                if let Some(start) = last_thought.take().filter(|_| last_signature) {
                    standing.insert(start, Standing { is_json: false, is_signed: true });
                }
            }
            b"type" => {}
            _ => {
                (last_signature, last_thought) = (false, None);
                if JSON_TEXTS.contains(&key) && starts.contains(&leaf.span.start) {
                    standing.insert(leaf.span.start, Standing { is_json: true, is_signed: false });
                }
            }
        }
    }
    standing
}

/// The paths of what stands at these places, which are within strings.
fn paths(content: &[u8], places: &[usize], hidden: impl Fn(&[u8]) -> bool) -> Vec<String> {
    if !json::looks_like_json(content) {
        return vec!["$".to_owned(); places.len()];
    }
    let mut starts: Vec<usize> = Vec::with_capacity(places.len());
    let mut places = places.iter().copied().peekable();
    for leaf in json::Strings::of(content).map_while(Result::ok) {
        while places.next_if(|place| *place < leaf.span.end).is_some() {
            starts.push(leaf.span.start);
        }
        if places.peek().is_none() {
            break;
        }
    }
    // What follows what is no JSON stands somewhere.
    let rest = places.count();
    let mut distinct = starts.clone();
    distinct.dedup();
    let known: HashMap<usize, String> = distinct.iter().copied().zip(json::paths(content, &distinct, hidden)).collect();
    let path = |start: usize| known.get(&start).cloned().unwrap_or_else(|| "$".to_owned());
    starts.into_iter().map(path).chain(std::iter::repeat_n("$".to_owned(), rest)).collect()
}

fn unescaped(text: &Secret) -> Secret {
    let mut bytes = Vec::new();
    json::unescape(text.expose().as_bytes(), &mut bytes);
    Secret::new(String::from_utf8_lossy(&bytes))
}
