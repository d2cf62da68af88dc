//! Texts that end an answer, where the provider does not know them.
//!
//! The caller's answer ends where one of them comes up. The provider is heard to its end all the same, because only then it
//! says what it used, and that is paid for.

use super::event::{Delta, Event, PartStart};
use crate::answer::summary::StopReason;

/// Cuts an answer where one of some texts comes up in it. They are looked for in each of its texts; thoughts and the inputs
/// of tools are left alone.
#[derive(Debug)]
pub(crate) struct Stops {
    sequences: Vec<Sequence>,
    /// What may be the beginning of one and was not given yet.
    held: String,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between parts, or in one that is left alone.
    Elsewhere,
    /// In a text.
    Text,
    /// After one of the sequences.
    Behind(usize),
}

/// One of the texts, and how much of it was met: Knuth, Morris and Pratt's machine, which looks at each byte once.
#[derive(Debug, Clone)]
struct Sequence {
    text: String,
    /// For each length of a beginning, the length of the longest shorter one that ends it.
    shorter: Vec<u32>,
    met: usize,
}

impl Sequence {
    fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut shorter = vec![0; bytes.len()];
        let mut length = 0;
        for at in 1..bytes.len() {
            while length > 0 && bytes[at] != bytes[length] {
                length = shorter[length - 1] as usize;
            }
            length += usize::from(bytes[at] == bytes[length]);
            // Requests are shorter than that by far.
            shorter[at] = u32::try_from(length).unwrap_or(0);
        }
        Self { text: text.to_owned(), shorter, met: 0 }
    }

    /// Looks at the next byte, and says whether all of it was met.
    fn next(&mut self, byte: u8) -> bool {
        let bytes = self.text.as_bytes();
        while self.met > 0 && (self.met == bytes.len() || byte != bytes[self.met]) {
            self.met = self.shorter[self.met - 1] as usize;
        }
        self.met += usize::from(byte == bytes[self.met]);
        self.met == bytes.len()
    }
}

impl Stops {
    /// Looks for these texts. An empty one ends nothing.
    pub(crate) fn new(sequences: &[String]) -> Self {
        let sequences = sequences.iter().filter(|text| !text.is_empty()).map(|text| Sequence::new(text)).collect();
        Self { sequences, held: String::new(), place: Place::Elsewhere }
    }

    /// Takes an event and gives what becomes of it.
    pub(crate) fn pass(&mut self, event: Event, mut give: impl FnMut(Event)) {
        if matches!(self.place, Place::Behind(_)) {
            match event {
                Event::PartStart(_) | Event::Delta(_) | Event::PartStop | Event::Stop { .. } => {}
                // However the provider ends, the answer has its end.
                Event::End | Event::Error(_) => self.end().into_iter().flatten().for_each(give),
                event => give(event),
            }
            return;
        }
        match event {
            Event::PartStart(start) => {
                if start == PartStart::Text {
                    self.place = Place::Text;
                }
                give(Event::PartStart(start));
            }
            Event::Delta(Delta::Text(more)) if self.place == Place::Text => self.text(&more, &mut give),
            Event::PartStop => {
                if self.place == Place::Text {
                    self.place = Place::Elsewhere;
                    let rest = std::mem::take(&mut self.held);
                    if !rest.is_empty() {
                        give(Event::Delta(Delta::Text(rest)));
                    }
                    // The next text is another one.
                    self.sequences.iter_mut().for_each(|sequence| sequence.met = 0);
                }
                give(Event::PartStop);
            }
            event => give(event),
        }
    }

    /// The end of an answer in which one of the sequences came up; nothing if none did.
    pub(crate) fn end(&self) -> Option<[Event; 2]> {
        let Place::Behind(at) = self.place else { return None };
        let sequence = Some(self.sequences[at].text.clone());
        Some([Event::Stop { reason: StopReason::StopSequence, sequence }, Event::End])
    }

    fn text(&mut self, more: &str, give: &mut impl FnMut(Event)) {
        let before = self.held.len();
        self.held.push_str(more);
        for (at, byte) in more.bytes().enumerate() {
            let mut found: Option<usize> = None;
            for (number, sequence) in self.sequences.iter_mut().enumerate() {
                // Of two that end here the longer one leaves less.
                let length = sequence.text.len();
                if sequence.next(byte) && found.is_none_or(|known| length > known) {
                    found = Some(length);
                    self.place = Place::Behind(number);
                }
            }
            if let Some(length) = found {
                // It began in what is held, at a sign's beginning, or it could not have been met.
                self.held.truncate((before + at + 1).saturating_sub(length));
                let last = std::mem::take(&mut self.held);
                if !last.is_empty() {
                    give(Event::Delta(Delta::Text(last)));
                }
                return give(Event::PartStop);
            }
        }
        let kept = self.sequences.iter().map(|sequence| sequence.met).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len().saturating_sub(kept));
        let given = std::mem::replace(&mut self.held, rest);
        if !given.is_empty() {
            give(Event::Delta(Delta::Text(given)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &str) -> [Event; 1] {
        [Event::Delta(Delta::Text(words.to_owned()))]
    }

    fn end() -> [Event; 2] {
        [Event::Stop { reason: StopReason::EndTurn, sequence: None }, Event::End]
    }

    /// What becomes of a text in pieces of this size, and what ended it.
    fn cut(sequences: &[&str], said: &str, size: usize) -> (String, StopReason, Option<String>) {
        let sequences: Vec<String> = sequences.iter().map(|text| (*text).to_owned()).collect();
        let mut stops = Stops::new(&sequences);
        let signs: Vec<char> = said.chars().collect();
        let mut events = vec![Event::PartStart(PartStart::Text)];
        events.extend(signs.chunks(size).flat_map(|piece| text(&piece.iter().collect::<String>())));
        events.push(Event::PartStop);
        events.extend(end());
        let mut told = (String::new(), StopReason::EndTurn, None);
        let mut open = 0;
        for event in events {
            stops.pass(event, |event| match event {
                Event::PartStart(_) => open += 1,
                Event::PartStop => open -= 1,
                Event::Delta(Delta::Text(more)) => {
                    assert_eq!(open, 1);
                    assert!(!more.is_empty());
                    told.0.push_str(&more);
                }
                Event::Stop { reason, sequence } => (told.1, told.2) = (reason, sequence),
                _ => {}
            });
        }
        assert_eq!(open, 0, "the part is closed, once");
        told
    }

    #[test]
    fn a_text_ends_where_a_sequence_comes_up_however_it_is_cut() {
        for (sequences, said, expected, by) in [
            (&["END"][..], "so far END and more", "so far ", Some("END")),
            (&["END"], "so far EN", "so far EN", None),
            (&["END"], "ENEND", "EN", Some("END")),
            (&["aab"], "aaaab", "aa", Some("aab")),
            (&["\n\n", "x"], "a\nb\n\nc", "a\nb", Some("\n\n")),
            (&["bc", "abcd"], "abcd", "a", Some("bc")),
            (&["c", "abc"], "xabc", "x", Some("abc")),
            (&["ü!"], "für ü! und", "für ", Some("ü!")),
            (&["世界"], "世世界", "世", Some("世界")),
            (&["", "no"], "yes", "yes", None),
            (&[], "yes", "yes", None),
            (&["abababc"], "ababababc", "ab", Some("abababc")),
        ] {
            for size in [1, 2, 3, 100] {
                let (told, reason, sequence) = cut(sequences, said, size);
                assert_eq!((told.as_str(), sequence.as_deref()), (expected, by), "{said:?} in pieces of {size}");
                assert_eq!(reason == StopReason::StopSequence, by.is_some());
            }
        }
    }

    #[test]
    fn what_follows_is_not_told_but_for_what_was_used() {
        use crate::answer::summary::Usage;
        let usage = Event::Usage(Usage { output_tokens: Some(9), ..Usage::default() });
        let call = PartStart::ToolCall { id: "a".into(), name: "t".into(), custom: false };
        let mut events = vec![Event::PartStart(PartStart::Thinking { redacted: false })];
        events.extend(text("END"));
        events.push(Event::PartStop);
        events.push(Event::PartStart(PartStart::Text));
        events.extend(text("yesEND"));
        events.extend([Event::PartStop, Event::PartStart(call), Event::PartStop, usage.clone()]);
        events.extend(end());
        let mut stops = Stops::new(&["END".to_owned()]);
        let mut told = Vec::new();
        for event in events.clone() {
            stops.pass(event, |event| told.push(event));
        }
        let mut expected = events[..4].to_vec();
        expected.extend(text("yes"));
        expected.extend([
            Event::PartStop,
            usage,
            Event::Stop { reason: StopReason::StopSequence, sequence: Some("END".into()) },
            Event::End,
        ]);
        assert_eq!(told, expected);
        for end in [Event::End, Event::Error(crate::answer::summary::UpstreamErrorSummary::default())] {
            let mut told = Vec::new();
            stops.pass(end, |event| told.push(event));
            assert_eq!(told, expected[expected.len() - 2..], "the answer was all there");
        }
    }

    #[test]
    fn each_byte_is_looked_at_once() {
        // A machine that goes back would take hours.
        let sequence = format!("{}b", "a".repeat(200_000));
        let (told, reason, _) = cut(&[&sequence], &"a".repeat(400_000), 1000);
        assert_eq!((told.len(), reason), (400_000, StopReason::EndTurn));
    }
}
