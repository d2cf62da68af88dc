//! A stream whose end is held back until somebody has looked at what it says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use systemprompt_model::json::{self, Span};

use super::originals::{UNTOUCHED, only_data};
use super::pieces::{Piece as Saying, Places};
use super::replaced::{Part, Stands, written};
use crate::splice;
use crate::sse::{LineEnds, SseParser};

/// What may go on is held back whole, up to this size in bytes; no credential in one word is longer.
const LONGEST: usize = 16 * 1024;

/// Holds back the last characters of a stream, so that what begins in one event and ends in another is seen before any of it
/// is given. Its bytes go out as they came, in whole events.
///
/// Whoever looks is asked for by [`is_due`](Self::is_due), looks at [`fresh`](Self::fresh), says so with
/// [`cleared`](Self::cleared), and then [`release`](Self::release) gives what nothing that was looked at can belong to any
/// more. What was found can be [replaced](Self::replace) before, if the window is one [for words](Self::of_words).
#[derive(Debug)]
pub struct StreamWindow {
    /// Characters of each text that are held back, and looked at again with what follows them.
    size: usize,
    /// A text that is silent while so much is said elsewhere is over.
    silence: usize,
    /// Bytes that may be held.
    limit: usize,
    ends: LineEnds,
    /// The beginning of an event that is not all there yet.
    begun: BytesMut,
    events: SseParser,
    places: Places,
    said: Said,
    queue: VecDeque<Event>,
    queued: usize,
    /// Words that go on are held back whole, and can be replaced.
    of_words: bool,
}

/// A part of a text that is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Which of the texts that [`StreamWindow::fresh`] gave.
    pub text: usize,
    /// Its bytes in that text.
    pub at: Range<usize>,
    /// What stands there then: ASCII letters, digits and underscores, which are written alike everywhere.
    pub with: String,
}

/// Something is to be replaced where nothing can be: it is no string of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreplaceable;

/// What a stream has said so far.
#[derive(Debug, Default)]
struct Said {
    texts: Vec<Text>,
    /// The texts that have grown since somebody looked.
    grown: BTreeSet<usize>,
    /// Characters of all texts, and those of them that were looked at.
    characters: usize,
    looked_at: usize,
    /// How far the events have come, and how far they had when somebody looked. Each counts for the shortest of what it
    /// says: where a model tells what else it might have said, that is long, and says nothing of how far it has come.
    progress: usize,
    looked_until: usize,
}

/// A text that is said in pieces.
#[derive(Debug, Default)]
struct Text {
    /// What was not looked at, and `size` characters before.
    fresh: String,
    /// Characters that were said of it, and those of them that were looked at.
    characters: usize,
    looked_at: usize,
    /// How far the events had come when it grew last.
    last: usize,
    /// Characters before what was looked at that are held back: `size`, or more if what stands there may go on.
    held: usize,
    /// Its length in bytes.
    length: usize,
    /// What is replaced in it, ascending.
    replaced: Vec<Part>,
}

/// A whole event.
#[derive(Debug)]
struct Event {
    bytes: Bytes,
    /// What all texts had said when it ended.
    said: usize,
    /// What it says of each text.
    pieces: BTreeMap<usize, Piece>,
    /// Where it does, in a window of words.
    stands: Vec<Stands>,
}

/// What an event says of a text, in characters.
#[derive(Debug, Default)]
struct Piece {
    length: usize,
    /// Where in the text it ends.
    end: usize,
}

/// More is held back than may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowFull;

impl StreamWindow {
    /// Holds back `size` characters of each text, in at most `limit` bytes. Up to `turns` texts may be said in turns.
    pub fn new(size: usize, turns: usize, limit: usize) -> Self {
        Self {
            size,
            silence: size.saturating_mul(turns.max(1)),
            limit,
            ends: LineEnds::default(),
            begun: BytesMut::new(),
            events: SseParser::new(limit),
            places: Places::default(),
            said: Said::default(),
            queue: VecDeque::new(),
            queued: 0,
            of_words: false,
        }
    }

    /// The same, in which the word that a text ends with is held back whole, because it may go on, and in which what is found
    /// can be replaced.
    #[must_use]
    pub fn of_words(mut self) -> Self {
        self.of_words = true;
        self
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// There is no room for them.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), WindowFull> {
        if self.queued + self.begun.len() + piece.len() > self.limit {
            return Err(WindowFull);
        }
        let mut start = 0;
        let mut at = self.ends.rest_of_line_end(piece);
        while let Some(end) = self.ends.next(piece, at) {
            at = end.next;
            if end.blank {
                self.begun.extend_from_slice(&piece[start..at]);
                start = at;
                let event = self.begun.split().freeze();
                self.take(event, false);
            }
        }
        self.begun.extend_from_slice(&piece[start..]);
        Ok(())
    }

    /// Takes a whole event, or what there is of the last.
    fn take(&mut self, event: Bytes, is_last: bool) {
        let Self { events, places, said, .. } = self;
        let mut pieces = BTreeMap::new();
        let mut stands = Vec::new();
        let data = if self.of_words { only_data(&event).filter(|data| !data.is_empty()) } else { None };
        if let Some(data) = data {
            places.gather_placed(&event[data], &mut |at, piece| {
                stands.push(stand(said, &event, at, piece));
                said.add(&mut pieces, at, piece.text);
            });
        } else {
            let mut add = |at: usize, text: &str| {
                stands.push(Stands::nowhere(at, said.length_of(at), text.len()));
                said.add(&mut pieces, at, text);
            };
            events.feed(&event, |data| places.gather(data, &mut add));
            if is_last {
                events.finish(|data| places.gather(data, &mut add));
            }
        }
        if event.is_empty() {
            return;
        }
        self.queued += event.len();
        said.ended(&pieces);
        if !self.of_words {
            stands.clear();
        }
        self.queue.push_back(Event { bytes: event, said: said.characters, pieces, stands });
    }

    /// No more comes: what is there of an event counts.
    pub fn end(&mut self) {
        let rest = self.begun.split().freeze();
        self.take(rest, true);
    }

    /// Whether so much is new that it is time to look; `at_once` if anything is.
    pub fn is_due(&self, at_once: bool) -> bool {
        let Said { texts, grown, characters, looked_at, .. } = &self.said;
        let fresh = characters - looked_at;
        // What is held back is looked at again: the longer it is, the rarer.
        let held = grown.iter().filter_map(|at| texts.get(*at)).map(|text| text.held).max().unwrap_or(0);
        fresh > 0 && (at_once || fresh >= (held.max(self.size) / 4).max(1))
    }

    /// What is new, each text with as much before it as is held back.
    pub fn fresh(&self) -> Vec<String> {
        let Said { texts, grown, .. } = &self.said;
        grown.iter().filter_map(|at| texts.get(*at)).map(|text| text.fresh.clone()).collect()
    }

    /// Replaces these parts of the texts that are [`fresh`](Self::fresh), which do not overlap. A part that a text ends with
    /// may go on: then it is replaced as a whole. Of what was given already nothing can be; the rest of it is.
    ///
    /// # Errors
    ///
    /// One of them stands where nothing can be replaced. Nothing was.
    pub fn replace(&mut self, parts: Vec<Replacement>) -> Result<(), Unreplaceable> {
        let Said { texts, grown, .. } = &mut self.said;
        let grown: Vec<usize> = grown.iter().copied().collect();
        let mut placed = Vec::with_capacity(parts.len());
        // Where nothing can be replaced, by text, ascending.
        let mut fixed: BTreeMap<usize, Vec<Range<usize>>> = BTreeMap::new();
        for stands in self.queue.iter().flat_map(|event| &event.stands).filter(|stands| stands.is_fixed()) {
            fixed.entry(stands.text).or_default().push(stands.says());
        }
        for Replacement { text, at, with } in parts {
            let number = *grown.get(text).ok_or(Unreplaceable)?;
            let text = texts.get(number).ok_or(Unreplaceable)?;
            let before = text.length - text.fresh.len();
            let at = before + text.fresh.floor_char_boundary(at.start)..before + text.fresh.ceil_char_boundary(at.end);
            let stands_there = |places: &Vec<Range<usize>>| {
                let first = places.partition_point(|place| place.end <= at.start);
                places.get(first).is_some_and(|place| place.start < at.end)
            };
            if fixed.get(&number).is_some_and(stands_there) {
                return Err(Unreplaceable);
            }
            placed.push((number, Part { at, with }));
        }
        for (number, part) in placed {
            part.join(&mut texts[number].replaced);
        }
        Ok(())
    }

    /// What is new may be given, as far as it cannot be the beginning of something.
    pub fn cleared(&mut self) {
        let said = &mut self.said;
        (said.looked_at, said.looked_until) = (said.characters, said.progress);
        for at in std::mem::take(&mut said.grown) {
            let Some(text) = said.texts.get_mut(at) else { continue };
            text.looked_at = text.characters;
            let unfinished = if self.of_words { text.unfinished() } else { 0 };
            text.held = self.size.saturating_add(unfinished);
            if let Some((cut, _)) = text.fresh.char_indices().rev().nth(text.held.saturating_sub(1)) {
                text.fresh.drain(..cut);
            }
        }
    }

    /// What may be given: everything that was looked at if it is `all` that comes.
    pub fn release(&mut self, all: bool) -> Bytes {
        let mut given: Vec<Bytes> = Vec::new();
        let Self { said, size, silence, queue, .. } = self;
        while let Some(event) = queue.pop_front_if(|event| said.is_free(event, all, *size, *silence)) {
            self.queued -= event.bytes.len();
            given.push(said.written(event));
        }
        match given.len() {
            0 => Bytes::new(),
            1 => given.swap_remove(0),
            _ => given.concat().into(),
        }
    }
}

impl Said {
    /// Adds to the text of this number, and notes it in the pieces of the event that says it.
    fn add(&mut self, pieces: &mut BTreeMap<usize, Piece>, at: usize, more: &str) {
        if at == self.texts.len() {
            self.texts.push(Text::default());
        }
        let text = &mut self.texts[at];
        if !more.is_empty() {
            text.reconsider();
        }
        let length = more.chars().count();
        text.fresh.push_str(more);
        text.length += more.len();
        text.characters += length;
        self.characters += length;
        self.grown.insert(at);
        let piece = pieces.entry(at).or_default();
        piece.length += length;
        piece.end = text.characters;
    }

    /// How much the text of this number says so far, in bytes.
    fn length_of(&self, at: usize) -> usize {
        self.texts.get(at).map_or(0, |text| text.length)
    }

    /// An event as it is given, with what is replaced in it.
    fn written(&mut self, event: Event) -> Bytes {
        let mut edits = Vec::new();
        for stands in &event.stands {
            let Some(text) = self.texts.get_mut(stands.text) else { continue };
            edits.extend(written(stands, &event.bytes, &text.replaced));
            // Events go out in their order, so nothing before this is asked for again.
            let done = text.replaced.partition_point(|part| part.at.end <= stands.says().end);
            if done * 2 > text.replaced.len() {
                text.replaced.drain(..done);
            }
        }
        splice::apply(&event.bytes, edits)
    }

    /// An event that says these is whole.
    fn ended(&mut self, pieces: &BTreeMap<usize, Piece>) {
        self.progress += pieces.values().map(|piece| piece.length).min().unwrap_or(0);
        for at in pieces.keys() {
            self.texts[*at].last = self.progress;
        }
    }

    /// Whether nothing that this event says can belong to something that was not looked at.
    fn is_free(&self, event: &Event, all: bool, size: usize, silence: usize) -> bool {
        // Each text counts by itself: what is said beside it, such as what else the model might have said, makes none of it
        // older.
        let is_old = |(at, piece): (&usize, &Piece)| {
            let text = &self.texts[*at];
            text.looked_at >= piece.end.saturating_add(size.max(text.held))
                || self.looked_until >= text.last.saturating_add(silence)
        };
        event.said <= self.looked_at && (all || event.pieces.iter().all(is_old))
    }
}

impl Text {
    /// What is replaced at its end is judged anew with what follows. All of it is still here, and nothing of it was given.
    fn reconsider(&mut self) {
        let before = self.length - self.fresh.len();
        if self.replaced.last().is_some_and(|part| part.at.end == self.length && part.at.start >= before) {
            self.replaced.pop();
        }
    }

    /// How many characters at its end may go on: a word, or what is replaced there.
    fn unfinished(&self) -> usize {
        // No credential goes on over letters of scripts that write without spaces.
        let ends = |letter: char| letter.is_whitespace() || letter >= '\u{2E80}';
        let word = self.fresh.trim_end_matches(|letter: char| !ends(letter)).len();
        let before = self.length - self.fresh.len();
        let last = self.replaced.last().filter(|part| part.at.end == self.length);
        let start = last.map_or(word, |part| part.at.start.saturating_sub(before).min(word));
        let rest = &self.fresh[self.fresh.floor_char_boundary(start)..];
        if rest.len() > LONGEST { 0 } else { rest.chars().count() }
    }
}

/// Where in `event` a piece stands that goes on with the text of this number.
fn stand(said: &Said, event: &Bytes, text: usize, piece: Saying<'_>) -> Stands {
    let (from, length) = (said.length_of(text), piece.text.len());
    let start = piece.value.as_ptr().addr().wrapping_sub(event.as_ptr().addr());
    let raw: Option<Span> = match piece.value {
        [b'"', raw @ .., b'"'] if str::from_utf8(raw).is_ok() => Some(start + 1..start + 1 + raw.len()),
        _ => None,
    };
    if UNTOUCHED.contains(&piece.key) {
        return Stands::signed(text, from, length);
    }
    match raw.filter(|raw| event.get(raw.clone()).is_some_and(|raw| says(raw, piece.text))) {
        Some(raw) => Stands::at(text, from, length, raw),
        None => Stands::nowhere(text, from, length),
    }
}

/// Whether a string of JSON says this and nothing else.
fn says(raw: &[u8], text: &str) -> bool {
    if !raw.contains(&b'\\') {
        return raw == text.as_bytes();
    }
    let mut said = Vec::with_capacity(raw.len());
    json::unescape(raw, &mut said);
    said == text.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1024 * 1024;

    fn stream(deltas: &[&str]) -> String {
        let delta =
            |text: &&str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
        let said: String = deltas.iter().map(delta).collect();
        format!(": hello\n\n{said}data: [DONE]\n\n")
    }

    /// What is given while looking finds nothing, and what was looked at.
    fn pass(stream: &str, size: usize, cut: usize) -> (String, Vec<String>) {
        let mut window = StreamWindow::new(size, 1, LIMIT);
        let (mut given, mut seen) = (Vec::new(), Vec::new());
        for piece in stream.as_bytes().chunks(cut) {
            window.feed(piece).expect("room");
            if window.is_due(false) {
                seen.extend(window.fresh());
                window.cleared();
            }
            given.extend_from_slice(&window.release(false));
        }
        window.end();
        if window.is_due(true) {
            seen.extend(window.fresh());
            window.cleared();
        }
        given.extend_from_slice(&window.release(true));
        (String::from_utf8(given).expect("text"), seen)
    }

    #[test]
    fn every_byte_goes_out_as_it_came_however_it_is_cut() {
        for text in
            [stream(&["for", "bidden", " é", "", "x"]), "no events".to_owned(), "data: 1\r\n\r\ndata: {".to_owned()]
        {
            for size in [1, 4, 100] {
                for cut in [1, 2, 7, 50, 1000] {
                    assert_eq!(pass(&text, size, cut).0, text, "{size} {cut}");
                }
            }
        }
    }

    /// Looks for a word until it is there, and gives whether it was, and what had been given by then.
    fn look_for(word: &str, stream: &str, mut window: StreamWindow) -> (bool, String) {
        let mut given = Vec::new();
        let mut found = false;
        for piece in stream.as_bytes().chunks(11) {
            window.feed(piece).expect("room");
            if window.is_due(false) {
                found = window.fresh().iter().any(|text| text.contains(word));
                if found {
                    break;
                }
                window.cleared();
            }
            given.extend_from_slice(&window.release(false));
        }
        window.end();
        found |= window.fresh().iter().any(|text| text.contains(word));
        (found, String::from_utf8(given).expect("text"))
    }

    #[test]
    fn what_is_cut_by_events_is_seen_whole_before_any_of_it_is_given() {
        let letters: Vec<String> = "what is forbidden here".chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        for size in ["forbidden".len(), 32, 1000] {
            let window = StreamWindow::new(size, 1, LIMIT);
            let (found, given) = look_for("forbidden", &stream(&letters), window);
            assert!(found && !given.contains("\"f\""), "{size}: {given}");
        }
    }

    #[test]
    fn what_is_said_beside_a_text_makes_none_of_it_older() {
        let others = "y".repeat(200);
        let beside = |choice: usize, letter: char| {
            format!(
                "data: {{\"choices\":[{{\"index\":{choice},\"delta\":{{\"content\":\"{letter}\"}},\"logprobs\":{{\"content\":[\
                 {{\"token\":\"{letter}\",\"top_logprobs\":[{{\"token\":\"{others}\"}}]}}]}}}}]}}\n\n"
            )
        };
        for choices in [1, 2] {
            let in_turns =
                |letter| (0..choices).map(move |choice| beside(choice, if choice == 0 { letter } else { 'x' }));
            let text: String = "what is forbidden here".chars().flat_map(in_turns).collect();
            let (found, given) = look_for("forbidden", &text, StreamWindow::new(16, choices, LIMIT));
            assert!(found && !given.contains("\"content\":\"f\""), "{choices}: {given}");
        }
    }

    #[test]
    fn a_text_that_is_over_holds_up_no_other() {
        let block =
            |index: usize, text: &str| format!("data: {{\"index\":{index},\"delta\":{{\"text\":\"{text}\"}}}}\n\n");
        let mut window = StreamWindow::new(10, 2, LIMIT);
        window.feed(block(0, "a thought").as_bytes()).expect("room");
        for _ in 0..5 {
            window.feed(block(1, "twelve chars").as_bytes()).expect("room");
        }
        window.cleared();
        let given = window.release(false);
        assert!(given.starts_with(block(0, "a thought").as_bytes()) && !given.is_empty());
        assert!(given.len() < block(0, "a thought").len() + 5 * block(1, "twelve chars").len(), "the end is held back");
    }

    #[test]
    fn what_says_nothing_passes_until_something_is_said() {
        let mut window = StreamWindow::new(10, 1, LIMIT);
        window.feed(b": ping\n\n").expect("room");
        assert_eq!(window.release(false), ": ping\n\n");
        window.feed(stream(&["abc"]).as_bytes()).expect("room");
        assert_eq!(window.release(false), ": hello\n\n");
        window.feed(b": ping\n\n").expect("room");
        assert_eq!(window.release(false), "", "events stay in their order");
    }

    #[test]
    fn no_more_is_held_than_may_be_and_no_more_looked_at_than_is_new() {
        let mut window = StreamWindow::new(100, 1, 1000);
        assert_eq!(window.feed(&[b'x'; 1001]), Err(WindowFull));
        let deltas = vec!["twelve chars"; 2000];
        let (_, seen) = pass(&stream(&deltas), 100, 200);
        let looked_at: usize = seen.iter().map(String::len).sum();
        assert!(looked_at <= 12 * 2000 * 6, "{looked_at}");
    }

    /// What comes out of a stream in which `secret` is replaced wherever it is found, as its texts.
    fn replacing(stream: &str, secret: &str, size: usize, cut: usize) -> Vec<String> {
        let find = |window: &StreamWindow| {
            let found = window.fresh().into_iter().enumerate().flat_map(|(text, said)| {
                let places: Vec<_> = said.match_indices(secret).map(|(at, _)| at..at + secret.len()).collect();
                places.into_iter().map(move |at| Replacement { text, at, with: "SECRET_x".to_owned() })
            });
            found.collect::<Vec<_>>()
        };
        let mut window = StreamWindow::new(size, 1, LIMIT).of_words();
        let mut given = Vec::new();
        for piece in stream.as_bytes().chunks(cut) {
            window.feed(piece).expect("room");
            if window.is_due(false) {
                window.replace(find(&window)).expect("all of it is JSON");
                window.cleared();
            }
            given.extend_from_slice(&window.release(false));
        }
        window.end();
        if window.is_due(true) {
            window.replace(find(&window)).expect("all of it is JSON");
            window.cleared();
        }
        given.extend_from_slice(&window.release(true));
        let mut texts = super::super::pieces::StreamTexts::new(LIMIT);
        texts.feed(&given);
        texts.finish()
    }

    #[test]
    fn what_is_found_is_replaced_however_events_cut_it_and_whatever_its_length() {
        let long = "k".repeat(700) + "9";
        for secret in ["k3y", "a \"quoted\" one", "ünïcode-sécret", "line one\nline two", long.as_str()] {
            let text = format!("Use {secret}, or {secret}{secret} é, and {secret}");
            let expected = text.replace(secret, "SECRET_x");
            for every in [1, 3, 50, 10_000] {
                let characters: Vec<char> = text.chars().collect();
                let pieces: Vec<String> = characters
                    .chunks(every)
                    .map(|piece| {
                        let said = serde_json::to_string(&piece.iter().collect::<String>()).expect("a string");
                        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{said}}}}}]}}\n\n")
                    })
                    .collect();
                let stream = format!(": hello\n\n{}data: [DONE]\n\n", pieces.concat());
                // Of several words, so much has to be held back.
                for size in [if secret.contains(char::is_whitespace) { 32 } else { 4 }, 64] {
                    for cut in [7, 1000] {
                        let said = replacing(&stream, secret, size, cut);
                        assert_eq!(said, std::slice::from_ref(&expected), "{every} {size} {cut}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_looked_like_a_secret_until_its_word_went_on_stays_as_it_is() {
        let text = "of k3yboards and k3y";
        let letters: Vec<String> = text.chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        let mut window = StreamWindow::new(4, 1, LIMIT).of_words();
        let mut given = Vec::new();
        for piece in stream(&letters).split_inclusive("\n\n") {
            window.feed(piece.as_bytes()).expect("room");
            let found = window.fresh().into_iter().enumerate().flat_map(|(text, said)| {
                let is_whole = |at: usize| !said[at + 3..].starts_with(char::is_alphabetic);
                let places: Vec<_> = said.match_indices("k3y").filter(|(at, _)| is_whole(*at)).collect();
                let part = move |at| Replacement { text, at: at..at + 3, with: "SECRET_x".to_owned() };
                places.into_iter().map(|(at, _)| part(at)).collect::<Vec<_>>()
            });
            window.replace(found.collect()).expect("all of it is JSON");
            window.cleared();
            given.extend_from_slice(&window.release(false));
        }
        given.extend_from_slice(&window.release(true));
        let mut texts = super::super::pieces::StreamTexts::new(LIMIT);
        texts.feed(&given);
        assert_eq!(texts.finish(), ["of k3yboards and SECRET_x"]);
    }

    #[test]
    fn a_thought_is_left_alone_and_what_is_no_json_cannot_be_replaced() {
        let thought = "data: {\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"it is k3y\"}}\n\n";
        assert_eq!(replacing(thought, "k3y", 4, 9), ["it is k3y"]);
        for stream in ["data: it is k3y\n\n", "data: {\"text\":\ndata: \"it is k3y\"}\n\n"] {
            let mut window = StreamWindow::new(4, 1, LIMIT).of_words();
            window.feed(stream.as_bytes()).expect("room");
            let at = window.fresh()[0].find("k3y").expect("it is there");
            let part = Replacement { text: 0, at: at..at + 3, with: "SECRET_x".to_owned() };
            assert_eq!(window.replace(vec![part]), Err(Unreplaceable));
        }
    }

    #[test]
    fn a_word_that_goes_on_is_held_back_whole_and_no_longer_than_words_are() {
        let letters = vec!["x"; 2000];
        let mut window = StreamWindow::new(10, 1, LIMIT).of_words();
        window.feed(stream(&["some words before it and "]).as_bytes()).expect("room");
        window.feed(stream(&letters).as_bytes()).expect("room");
        window.cleared();
        let given = String::from_utf8(window.release(false).to_vec()).expect("text");
        assert!(!given.contains("\"x\""), "{given}");
        window.feed(stream(&vec!["yyyyyyyyyy"; 3000]).as_bytes()).expect("room");
        window.cleared();
        assert!(window.release(false).len() > 100_000, "it is no word");
    }
}
