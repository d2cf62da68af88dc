//! A stream whose end is held back until somebody has looked at what it says.

use std::collections::{BTreeSet, VecDeque};

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
    /// Characters of each text that are looked at again with what follows them.
    size: usize,
    /// Characters that are held back: more where several texts are said in turns.
    hold: usize,
    /// Bytes that may be held.
    limit: usize,
    ends: LineEnds,
    /// The beginning of an event that is not all there yet.
    begun: BytesMut,
    events: SseParser,
    places: Places,
    /// Of each text what was not looked at, and `size` characters before.
    texts: Vec<String>,
    /// The texts that have grown.
    grown: BTreeSet<usize>,
    /// Characters that were said, and those of them that were looked at.
    said: usize,
    looked_at: usize,
    /// Whole events, each with how much was said when it ended.
    queue: VecDeque<(usize, Bytes)>,
    queued: usize,
}

/// More is held back than may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowFull;

impl StreamWindow {
    /// Holds back `size` characters of each of `turns` texts that are said in turns, in at most `limit` bytes.
    pub fn new(size: usize, turns: usize, limit: usize) -> Self {
        Self {
            size,
            hold: size.saturating_mul(turns.max(1)),
            limit,
            ends: LineEnds::default(),
            begun: BytesMut::new(),
            events: SseParser::new(limit),
            places: Places::default(),
            texts: Vec::new(),
            grown: BTreeSet::new(),
            said: 0,
            looked_at: 0,
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
                self.read(&event);
                self.queued += event.len();
                self.queue.push_back((self.said, event));
            }
        }
        self.begun.extend_from_slice(&piece[start..]);
        Ok(())
    }

    fn read(&mut self, event: &[u8]) {
        let Self { events, places, texts, grown, said, .. } = self;
        events.feed(event, |data| places.gather(data, &mut |at, piece| say(texts, grown, said, at, piece)));
    }

    /// No more comes: what is there of an event counts.
    pub fn end(&mut self) {
        let rest = self.begun.split().freeze();
        self.read(&rest);
        let Self { events, places, texts, grown, said, .. } = self;
        events.finish(|data| places.gather(data, &mut |at, piece| say(texts, grown, said, at, piece)));
        if !rest.is_empty() {
            self.queued += rest.len();
            self.queue.push_back((self.said, rest));
        }
    }

    /// Whether so much is new that it is time to look; `at_once` if anything is.
    pub fn is_due(&self, at_once: bool) -> bool {
        let fresh = self.said - self.looked_at;
        fresh > 0 && (at_once || fresh >= (self.size / 4).max(1))
    }

    /// What is new, each text with as much before it as is held back.
    pub fn fresh(&self) -> Vec<String> {
        self.grown.iter().filter_map(|at| self.texts.get(*at)).cloned().collect()
    }

    /// What is new may be given, as far as it cannot be the beginning of something.
    pub fn cleared(&mut self) {
        self.looked_at = self.said;
        for at in std::mem::take(&mut self.grown) {
            let Some(text) = self.texts.get_mut(at) else { continue };
            if let Some((cut, _)) = text.char_indices().rev().nth(self.size.saturating_sub(1)) {
                text.drain(..cut);
            }
        }
    }

    /// What may be given: everything that was looked at if it is `all` that comes.
    pub fn release(&mut self, all: bool) -> Bytes {
        let mut given: Vec<Bytes> = Vec::new();
        while let Some((said, _)) = self.queue.front() {
            let is_free = *said == 0 || all && *said <= self.looked_at || said + self.hold <= self.looked_at;
            let Some((_, event)) = self.queue.pop_front_if(|_| is_free) else { break };
            self.queued -= event.len();
            given.push(event);
        }
        match given.len() {
            0 => Bytes::new(),
            1 => given.swap_remove(0),
            _ => given.concat().into(),
        }
    }
}

fn say(texts: &mut Vec<String>, grown: &mut BTreeSet<usize>, said: &mut usize, at: usize, piece: &str) {
    if at == texts.len() {
        texts.push(String::new());
    }
    texts[at].push_str(piece);
    grown.insert(at);
    *said += piece.chars().count();
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

    #[test]
    fn what_is_cut_by_events_is_seen_whole_before_any_of_it_is_given() {
        let letters: Vec<String> = "what is forbidden here".chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        let text = stream(&letters);
        for size in ["forbidden".len(), 32, 1000] {
            let mut window = StreamWindow::new(size, 1, LIMIT);
            let mut given = Vec::new();
            let mut found = false;
            for piece in text.as_bytes().chunks(11) {
                window.feed(piece).expect("room");
                if window.is_due(false) {
                    found = window.fresh().iter().any(|text| text.contains("forbidden"));
                    if found {
                        break;
                    }
                    window.cleared();
                }
                given.extend_from_slice(&window.release(false));
            }
            window.end();
            found |= window.fresh().iter().any(|text| text.contains("forbidden"));
            assert!(found, "{size}");
            let given = String::from_utf8(given).expect("text");
            assert!(!given.contains("\"f\""), "{size}: {given}");
        }
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
