//! A stream whose end is held back until somebody has looked at what it says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};

use super::pieces::Places;
use crate::sse::{LineEnds, SseParser};

/// Holds back the last characters of a stream, so that what begins in one event and ends in another is seen before any of it
/// is given. Its bytes go out as they came, in whole events.
///
/// Whoever looks is asked for by [`is_due`](Self::is_due), looks at [`fresh`](Self::fresh), says so with
/// [`cleared`](Self::cleared), and then [`release`](Self::release) gives what nothing that was looked at can belong to any
/// more.
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
}

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
}

/// A whole event.
#[derive(Debug)]
struct Event {
    bytes: Bytes,
    /// What all texts had said when it ended.
    said: usize,
    /// What it says of each text.
    pieces: BTreeMap<usize, Piece>,
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
        }
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
                let Self { events, places, said, .. } = self;
                let mut pieces = BTreeMap::new();
                events.feed(&event, |data| places.gather(data, &mut |at, text| said.add(&mut pieces, at, text)));
                self.push(event, pieces);
            }
        }
        self.begun.extend_from_slice(&piece[start..]);
        Ok(())
    }

    fn push(&mut self, bytes: Bytes, pieces: BTreeMap<usize, Piece>) {
        self.queued += bytes.len();
        self.said.ended(&pieces);
        self.queue.push_back(Event { bytes, said: self.said.characters, pieces });
    }

    /// No more comes: what is there of an event counts.
    pub fn end(&mut self) {
        let rest = self.begun.split().freeze();
        let Self { events, places, said, .. } = self;
        let mut pieces = BTreeMap::new();
        events.feed(&rest, |data| places.gather(data, &mut |at, text| said.add(&mut pieces, at, text)));
        events.finish(|data| places.gather(data, &mut |at, text| said.add(&mut pieces, at, text)));
        if !rest.is_empty() {
            self.push(rest, pieces);
        }
    }

    /// Whether so much is new that it is time to look; `at_once` if anything is.
    pub fn is_due(&self, at_once: bool) -> bool {
        let fresh = self.said.characters - self.said.looked_at;
        fresh > 0 && (at_once || fresh >= (self.size / 4).max(1))
    }

    /// What is new, each text with as much before it as is held back.
    pub fn fresh(&self) -> Vec<String> {
        let Said { texts, grown, .. } = &self.said;
        grown.iter().filter_map(|at| texts.get(*at)).map(|text| text.fresh.clone()).collect()
    }

    /// What is new may be given, as far as it cannot be the beginning of something.
    pub fn cleared(&mut self) {
        let said = &mut self.said;
        (said.looked_at, said.looked_until) = (said.characters, said.progress);
        for at in std::mem::take(&mut said.grown) {
            let Some(text) = said.texts.get_mut(at) else { continue };
            text.looked_at = text.characters;
            if let Some((cut, _)) = text.fresh.char_indices().rev().nth(self.size.saturating_sub(1)) {
                text.fresh.drain(..cut);
            }
        }
    }

    /// What may be given: everything that was looked at if it is `all` that comes.
    pub fn release(&mut self, all: bool) -> Bytes {
        let mut given: Vec<Bytes> = Vec::new();
        let Self { said, size, silence, queue, .. } = self;
        while let Some(Event { bytes, .. }) = queue.pop_front_if(|event| said.is_free(event, all, *size, *silence)) {
            self.queued -= bytes.len();
            given.push(bytes);
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
        let length = more.chars().count();
        text.fresh.push_str(more);
        text.characters += length;
        self.characters += length;
        self.grown.insert(at);
        let piece = pieces.entry(at).or_default();
        piece.length += length;
        piece.end = text.characters;
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
            text.looked_at >= piece.end.saturating_add(size) || self.looked_until >= text.last.saturating_add(silence)
        };
        event.said <= self.looked_at && (all || event.pieces.iter().all(is_old))
    }
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
}
