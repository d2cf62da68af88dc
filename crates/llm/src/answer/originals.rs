//! Puts back what was taken out of a request where the answer speaks of it, so that the caller goes on with its own words.
//!
//! A placeholder is made of letters, digits and underscores, so it reads the same however often JSON escapes it; what it
//! stands for may need escapes, once in a text and twice in the input of a tool that is a text of its own.
//!
//! Thoughts keep their placeholders: providers sign them, and the caller sends them back as they are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use bytes::{Bytes, BytesMut};
use systemprompt_model::Secret;
use systemprompt_model::json::{self, Span};

use super::pieces::Places;
use crate::splice::{self, Splice};
use crate::sse::LineEnds;

/// Members whose text is JSON, so that what is put into it is escaped twice.
const JSON_TEXTS: [&str; 2] = ["arguments", "partial_json"];
/// Events whose `delta` is a piece of such a text.
const JSON_DELTAS: [&str; 2] = ["response.function_call_arguments.delta", "response.mcp_call_arguments.delta"];
/// Members that go back to the provider as they came.
pub(super) const UNTOUCHED: [&str; 2] = ["thinking", "signature"];
/// After so many events that say something else, a text is not going on.
const PATIENCE: usize = 16;
/// So many bytes of events may wait for what a text goes on with.
const HELD_LIMIT: usize = 1024 * 1024;

/// What stands for what.
#[derive(Debug)]
pub struct Originals {
    placeholders: AhoCorasick,
    texts: Vec<Secret>,
    /// The placeholders, for what may be the beginning of one, their first letters, and the length of the longest.
    names: Vec<String>,
    first_letters: BTreeSet<u8>,
    longest: usize,
}

/// How a text is written where it is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// As it is.
    Plainly,
    /// In a JSON string.
    InJson,
    /// In a JSON text that is in a JSON string.
    InJsonText,
    /// Not at all.
    Not,
}

impl Originals {
    /// Placeholders, none of which is empty, with what they stand for. Nothing if there are none.
    pub fn new(pairs: impl IntoIterator<Item = (String, Secret)>) -> Option<Self> {
        let (names, texts): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        if names.is_empty() {
            return None;
        }
        let placeholders = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&names).ok()?;
        let first_letters = names.iter().filter_map(|name| name.bytes().next()).collect();
        let longest = names.iter().map(String::len).max().unwrap_or(0);
        Some(Self { placeholders, texts, names, first_letters, longest })
    }

    /// A whole answer, or any other body, with the originals in it: JSON, or a text.
    pub fn put_into(&self, body: &Bytes) -> Bytes {
        if !self.placeholders.is_match(&body[..]) {
            return body.clone();
        }
        if !json::looks_like_json(body) {
            return splice::apply(body, self.edits(body, 0, Written::Plainly).collect());
        }
        let mut edits = Vec::new();
        for leaf in json::Strings::of(body) {
            // What is no JSON any more is not the caller's to understand either.
            let Ok(leaf) = leaf else { break };
            let key = leaf.key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
            edits.extend(self.edits(leaf.raw, leaf.span.start, Written::under(key)));
        }
        splice::apply(body, edits)
    }

    /// What is to be changed in `raw`, which stands at `start`.
    fn edits<'a>(&'a self, raw: &'a [u8], start: usize, written: Written) -> impl Iterator<Item = Splice> + 'a {
        let found = self.placeholders.find_iter(raw).filter(move |_| written != Written::Not);
        found.map(move |found| {
            let at = start + found.start()..start + found.end();
            Splice::new(at, written.write(self.texts[found.pattern().as_usize()].expose()))
        })
    }

    /// Where the end of `text` begins that may be the beginning of a placeholder.
    fn open_end(&self, text: &[u8]) -> usize {
        let begins =
            |end: &[u8]| self.names.iter().any(|name| name.len() > end.len() && name.as_bytes().starts_with(end));
        let from = text.len().saturating_sub(self.longest);
        let may_begin = |&at: &usize| self.first_letters.contains(&text[at]) && begins(&text[at..]);
        (from..text.len()).find(may_begin).unwrap_or(text.len())
    }
}

impl Written {
    /// What stands under this key.
    fn under(key: &str) -> Self {
        if UNTOUCHED.contains(&key) {
            Self::Not
        } else if JSON_TEXTS.contains(&key) {
            Self::InJsonText
        } else {
            Self::InJson
        }
    }

    fn write(self, text: &str) -> Vec<u8> {
        let escaped = |text: &str| {
            let quoted = serde_json::to_string(text).unwrap_or_default();
            quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
        };
        match self {
            Self::Plainly | Self::Not => text.to_owned(),
            Self::InJson => escaped(text),
            Self::InJsonText => escaped(&escaped(text)),
        }
        .into_bytes()
    }
}

/// A stream of server-sent events with the originals in it. An event goes on when nothing in it can be the beginning of a
/// placeholder that the next ones end.
#[derive(Debug)]
pub struct OriginalsStream {
    originals: Arc<Originals>,
    ends: LineEnds,
    /// The beginning of an event that is not all there yet.
    begun: BytesMut,
    places: Places,
    /// What of a text may be the beginning of a placeholder.
    open: BTreeMap<usize, Open>,
    queue: VecDeque<Event>,
    queued: usize,
    /// How many events went on.
    gone: usize,
}

/// A whole event.
#[derive(Debug)]
struct Event {
    bytes: Bytes,
    edits: Vec<Splice>,
}

/// The end of a text that may be the beginning of a placeholder.
#[derive(Debug, Default)]
struct Open {
    said: Vec<u8>,
    /// The events that say it, and where in them.
    parts: Vec<(usize, Span)>,
    /// How many events came since that say something else.
    age: usize,
}

/// What an event says of a text.
struct Saying {
    text: usize,
    /// Where it stands in the event, without quotation marks.
    at: Span,
    written: Written,
}

impl OriginalsStream {
    /// The stream in which `originals` are put.
    pub fn new(originals: Arc<Originals>) -> Self {
        Self {
            originals,
            ends: LineEnds::default(),
            begun: BytesMut::new(),
            places: Places::default(),
            open: BTreeMap::new(),
            queue: VecDeque::new(),
            queued: 0,
            gone: 0,
        }
    }

    /// Takes the next bytes and gives what may go on, which may be nothing.
    pub fn feed(&mut self, piece: &[u8]) -> Bytes {
        let mut start = 0;
        let mut at = self.ends.rest_of_line_end(piece);
        while let Some(end) = self.ends.next(piece, at) {
            at = end.next;
            if end.blank {
                self.begun.extend_from_slice(&piece[start..at]);
                start = at;
                let event = self.begun.split().freeze();
                self.take(event);
            }
        }
        self.begun.extend_from_slice(&piece[start..]);
        if self.queued + self.begun.len() > HELD_LIMIT {
            self.open.clear();
        }
        self.release()
    }

    /// Gives what is left at the end.
    pub fn finish(&mut self) -> Bytes {
        let rest = self.begun.split().freeze();
        if !rest.is_empty() {
            self.take(rest);
        }
        self.open.clear();
        self.release()
    }

    fn take(&mut self, event: Bytes) {
        let number = self.gone + self.queue.len();
        self.queued += event.len();
        self.queue.push_back(Event { bytes: event.clone(), edits: Vec::new() });
        let Some(data) = only_data(&event) else {
            // Several lines say one thing: what is whole in one of them is put back.
            let edits = self.originals.edits(&event, 0, Written::InJson).collect();
            self.edit(number, edits);
            return;
        };
        let data = &event[data];
        if data.is_empty() {
            return;
        }
        let sayings = self.sayings(&event, data);
        if sayings.is_empty() {
            // A sign of life is not the end of a text; whatever else says nothing is.
            if !has_type(data, &["ping"]) {
                self.open.clear();
            }
            return;
        }
        for open in self.open.values_mut() {
            open.age += 1;
        }
        for saying in sayings {
            self.say(number, &event, saying);
        }
        self.open.retain(|_, open| open.age <= PATIENCE);
    }

    fn sayings(&mut self, event: &Bytes, data: &[u8]) -> Vec<Saying> {
        let is_json_delta = has_type(data, &JSON_DELTAS);
        let mut sayings = Vec::new();
        self.places.gather_placed(data, &mut |text, piece| {
            if piece.value.len() < 2 || piece.value[0] != b'"' {
                return;
            }
            let start = piece.value.as_ptr().addr() - event.as_ptr().addr();
            let written =
                if is_json_delta && piece.key == "delta" { Written::InJsonText } else { Written::under(piece.key) };
            sayings.push(Saying { text, at: start + 1..start + piece.value.len() - 1, written });
        });
        sayings
    }

    /// A text goes on: puts back what is whole with it, in the event in which it begins.
    fn say(&mut self, number: usize, event: &Bytes, saying: Saying) {
        if saying.written == Written::Not {
            return;
        }
        let Open { mut said, mut parts, .. } = self.open.remove(&saying.text).unwrap_or_default();
        said.extend_from_slice(&event[saying.at.clone()]);
        parts.push((number, saying.at));

        let originals = self.originals.clone();
        let mut done = 0;
        for found in originals.placeholders.find_iter(&said) {
            let text = originals.texts[found.pattern().as_usize()].expose();
            let mut replacement = saying.written.write(text);
            for (number, at) in places_of(&parts, found.start()..found.end()) {
                self.edit(number, vec![Splice::new(at, std::mem::take(&mut replacement))]);
            }
            done = found.end();
        }
        let end = done + originals.open_end(&said[done..]);
        if end < said.len() {
            let parts = places_of(&parts, end..said.len()).collect();
            self.open.insert(saying.text, Open { said: said[end..].to_vec(), parts, age: 0 });
        }
    }

    fn edit(&mut self, number: usize, edits: Vec<Splice>) {
        if let Some(event) = self.queue.get_mut(number - self.gone) {
            event.edits.extend(edits);
        }
    }

    /// Gives the events nothing of which is open.
    fn release(&mut self) -> Bytes {
        let held = self.open.values().flat_map(|open| &open.parts).map(|(number, _)| *number).min();
        let mut given = BytesMut::new();
        let mut only = None;
        while held.is_none_or(|held| self.gone < held)
            && let Some(Event { bytes, edits }) = self.queue.pop_front()
        {
            self.gone += 1;
            self.queued -= bytes.len();
            let bytes = splice::apply(&bytes, edits);
            match only.take() {
                None if given.is_empty() => only = Some(bytes),
                first => {
                    given.extend_from_slice(&first.unwrap_or_default());
                    given.extend_from_slice(&bytes);
                }
            }
        }
        only.unwrap_or_else(|| given.freeze())
    }
}

/// Where a range of what `parts` say one after another stands in their events.
fn places_of(parts: &[(usize, Span)], range: Span) -> impl Iterator<Item = (usize, Span)> {
    let mut before = 0;
    parts.iter().filter_map(move |(number, at)| {
        let begin = before;
        before += at.len();
        let (from, to) = (range.start.max(begin), range.end.min(before));
        (from < to).then(|| (*number, at.start + from - begin..at.start + to - begin))
    })
}

/// The data of an event that has one line of it, which is empty for one that has none; nothing if there are several.
pub(super) fn only_data(event: &[u8]) -> Option<Span> {
    let mut ends = LineEnds::default();
    let (mut start, mut data) = (0, None);
    loop {
        let end = ends.next(event, start);
        let line = start..end.map_or(event.len(), |end| end.at);
        let text = &event[line.clone()];
        let is_bare = line.start == 0 && text.starts_with(b"{");
        if is_bare {
            return end.is_none_or(|end| event[end.next..].trim_ascii().is_empty()).then_some(line);
        }
        if text.starts_with(b"data:") {
            if data.is_some() {
                return None;
            }
            data = Some(line.start + b"data:".len()..line.end);
        }
        match end {
            Some(end) if end.next < event.len() => start = end.next,
            _ => return Some(data.unwrap_or(0..0)),
        }
    }
}

/// Whether an event calls itself one of these.
fn has_type(event: &[u8], types: &[&str]) -> bool {
    let Ok([Some(kind)]) = json::pick(event, ["type"]) else { return false };
    json::text(kind).is_some_and(|kind| types.contains(&&*kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "SECRET_aws_access_key_0123456789abcdef";
    const OTHER: &str = "SECRET_password_00112233aabbccdd";

    fn originals(text: &str) -> Arc<Originals> {
        let pairs =
            [(NAME.to_owned(), Secret::new(text.to_owned())), (OTHER.to_owned(), Secret::new("other".to_owned()))];
        Arc::new(Originals::new(pairs).expect("two placeholders"))
    }

    fn through(stream: &str, originals: &Arc<Originals>, cut: usize) -> String {
        let mut restored = OriginalsStream::new(originals.clone());
        let mut given = Vec::new();
        for piece in stream.as_bytes().chunks(cut) {
            given.extend_from_slice(&restored.feed(piece));
        }
        given.extend_from_slice(&restored.finish());
        String::from_utf8(given).expect("text")
    }

    /// What the texts of a stream say when put together.
    fn said(stream: &str) -> Vec<String> {
        let mut texts = super::super::pieces::StreamTexts::new(1 << 20);
        texts.feed(stream.as_bytes());
        texts.finish()
    }

    #[test]
    fn a_whole_answer_has_the_originals_escaped_as_its_place_wants() {
        let originals = originals("a\"b\nc");
        for (body, expected) in [
            (format!(r#"{{"text":"use {NAME}, {OTHER}."}}"#), r#"{"text":"use a\"b\nc, other."}"#.to_owned()),
            (
                format!(r#"{{"arguments":"{{\"k\":\"{NAME}\"}}"}}"#),
                r#"{"arguments":"{\"k\":\"a\\\"b\\nc\"}"}"#.to_owned(),
            ),
            (format!(r#"{{"input":{{"command":"x {NAME}"}}}}"#), r#"{"input":{"command":"x a\"b\nc"}}"#.to_owned()),
            (format!(r#"{{"thinking":"{NAME}"}}"#), format!(r#"{{"thinking":"{NAME}"}}"#)),
            (format!("no JSON: {NAME}"), "no JSON: a\"b\nc".to_owned()),
            ("{\"text\":\"SECRET_aws\"}".to_owned(), "{\"text\":\"SECRET_aws\"}".to_owned()),
        ] {
            assert_eq!(originals.put_into(&Bytes::from(body.clone())), expected, "{body}");
        }
        assert!(Originals::new([]).is_none());
    }

    #[test]
    fn a_placeholder_is_put_back_however_events_and_chunks_cut_it() {
        let originals = originals("AKIA-original");
        let text = format!("Use {NAME} and S, SECRET_ or {OTHER}{NAME}. SECRET_aws");
        let expected = "Use AKIA-original and S, SECRET_ or otherAKIA-original. SECRET_aws";
        for size in [1, 2, 3, 7, 20, 60, 500] {
            let characters: Vec<char> = text.chars().collect();
            let deltas = characters.chunks(size).map(|piece| piece.iter().collect::<String>());
            let chat: String = deltas
                .clone()
                .map(|piece| {
                    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{piece}\"}}}}]}}\n\n")
                })
                .chain(["data: [DONE]\n\n".to_owned()])
                .collect();
            let anthropic: String = deltas
                .map(|piece| {
                    format!(
                        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":1,\"delta\":\
                         {{\"type\":\"text_delta\",\"text\":\"{piece}\"}}}}\n\nevent: ping\ndata: {{\"type\":\"ping\"}}\n\n: x\n\n"
                    )
                })
                .chain(["event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n".to_owned()])
                .collect();
            for stream in [chat, anthropic] {
                for cut in [1, 5, 64, 100_000] {
                    let given = through(&stream, &originals, cut);
                    assert_eq!(said(&given).concat(), expected, "{size} {cut}");
                    assert_eq!(given.matches("data:").count(), stream.matches("data:").count(), "every event is there");
                }
            }
        }
    }

    #[test]
    fn inputs_of_tools_are_escaped_twice_and_texts_in_turns_are_kept_apart() {
        let originals = originals("a\"b");
        let (head, tail) = NAME.split_at(9);
        let block = |index: usize, piece: &str| {
            format!(
                "data: {{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":\"input_json_delta\",\
                 \"partial_json\":\"{piece}\"}}}}\n\n"
            )
        };
        let stream = [
            block(0, &format!("{{\\\"k\\\":\\\"{head}")),
            block(1, &format!("{{\\\"k\\\":\\\"{head}")),
            block(0, &format!("{tail}\\\"}}")),
            block(1, "nothing\\\"}"),
        ]
        .concat();
        let given = through(&stream, &originals, 30);
        assert_eq!(said(&given), [r#"{"k":"a\"b"}"#.to_owned(), format!(r#"{{"k":"{head}nothing"}}"#)]);

        let delta = |piece: &str| {
            format!("data: {{\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{piece}\"}}\n\n")
        };
        let given = through(&[delta(head), delta(tail)].concat(), &originals, 1000);
        assert_eq!(said(&given), [r#"a\"b"#]);
    }

    #[test]
    fn what_says_nothing_of_a_placeholder_goes_on_at_once_byte_for_byte() {
        let originals = originals("x");
        let mut restored = OriginalsStream::new(originals.clone());
        let delta = |piece: &str| format!("data: {{\"delta\":{{\"text\":\"{piece}\"}}}}\r\n\r\n");
        for piece in ["Hello", " SECRETLY", "é\\u00e9"] {
            assert_eq!(restored.feed(delta(piece).as_bytes()), delta(piece));
        }
        assert_eq!(restored.feed(delta("an S").as_bytes()), "", "it may begin a placeholder");
        assert_eq!(restored.feed(delta("et").as_bytes()), [delta("an S"), delta("et")].concat());
        assert_eq!(restored.feed(delta("SEC").as_bytes()), "");
        let stop = "data: {\"type\":\"message_stop\"}\n\n";
        assert_eq!(restored.feed(stop.as_bytes()), [&delta("SEC"), stop].concat(), "the text is over");
        for text in
            ["no events", "data: {broken\n\n", "data: 1\r\n\r\ndata: {", "data: a\ndata: b\n\n", "{\"error\":1}\n\n"]
        {
            for cut in [1, 3, 1000] {
                assert_eq!(through(text, &originals, cut), text);
            }
        }
    }

    #[test]
    fn a_text_that_does_not_go_on_holds_nothing_up_for_long() {
        let mut restored = OriginalsStream::new(originals("x"));
        let delta = |index: usize, piece: &str| format!("data: {{\"index\":{index},\"delta\":\"{piece}\"}}\n\n");
        assert_eq!(restored.feed(delta(0, "S").as_bytes()), "");
        let given: Vec<_> = (0..=PATIENCE).map(|_| restored.feed(delta(1, "word").as_bytes())).collect();
        assert!(given[..PATIENCE].iter().all(Bytes::is_empty) && !given[PATIENCE].is_empty());
        assert_eq!(restored.feed(delta(0, "S").as_bytes()), "");
        let long = delta(1, &"y".repeat(HELD_LIMIT));
        assert!(restored.feed(long.as_bytes()).len() > HELD_LIMIT);
    }
}
