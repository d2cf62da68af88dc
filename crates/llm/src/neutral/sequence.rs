//! Parts that arrive in turns, put one after the other.

use std::collections::{HashMap, VecDeque};

use super::event::{Delta, Event, PartStart};

/// Gives the parts of a stream one after the other, however a provider mixes them: the first part that is not complete
/// goes out as it arrives, and what comes of others meanwhile is held.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    parts: VecDeque<Held>,
    /// How many parts were given and are gone.
    gone: usize,
    /// The places of the parts that are not complete, counted from the first there ever was.
    open: HashMap<u64, usize>,
}

#[derive(Debug, Default)]
struct Held {
    events: Vec<Event>,
    complete: bool,
}

impl Sequence {
    /// A part begins. `key` tells it from others that are open; one with the same key is complete by that.
    pub(crate) fn start(&mut self, key: u64, start: PartStart, events: &mut Vec<Event>) {
        self.complete(key);
        self.open.insert(key, self.gone + self.parts.len());
        self.parts.push_back(Held { events: vec![Event::PartStart(start)], complete: false });
        self.give(events);
    }

    /// More of the part with this key; nothing if none is open.
    pub(crate) fn delta(&mut self, key: u64, delta: Delta, events: &mut Vec<Event>) {
        let Some(place) = self.open.get(&key) else { return };
        match place - self.gone {
            // The first goes out as it comes.
            0 => events.push(Event::Delta(delta)),
            place => self.parts[place].events.push(Event::Delta(delta)),
        }
    }

    /// The part with this key is complete.
    pub(crate) fn stop(&mut self, key: u64, events: &mut Vec<Event>) {
        self.complete(key);
        self.give(events);
    }

    /// All parts are complete.
    pub(crate) fn stop_all(&mut self, events: &mut Vec<Event>) {
        self.open.clear();
        for part in &mut self.parts {
            part.complete = true;
        }
        self.give(events);
    }

    fn complete(&mut self, key: u64) {
        if let Some(place) = self.open.remove(&key) {
            self.parts[place - self.gone].complete = true;
        }
    }

    fn give(&mut self, events: &mut Vec<Event>) {
        while let Some(first) = self.parts.front_mut() {
            events.append(&mut first.events);
            if !first.complete {
                break;
            }
            events.push(Event::PartStop);
            self.parts.pop_front();
            self.gone += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_parts_come_one_after_the_other() {
        let call = |id: &str| PartStart::ToolCall { id: id.into(), name: "t".into(), custom: false };
        let text = |text: &str| Delta::Text(text.into());
        let mut sequence = Sequence::default();
        let mut events = Vec::new();
        sequence.start(0, call("a"), &mut events);
        sequence.delta(0, text("1"), &mut events);
        sequence.start(1, call("b"), &mut events);
        sequence.delta(1, text("2"), &mut events);
        sequence.delta(0, text("3"), &mut events);
        assert_eq!(events.len(), 3, "the first goes out, the second waits");
        sequence.delta(7, text("nobody's"), &mut events);
        sequence.stop(0, &mut events);
        sequence.delta(1, text("4"), &mut events);
        sequence.stop_all(&mut events);
        assert_eq!(
            events,
            [
                Event::PartStart(call("a")),
                Event::Delta(text("1")),
                Event::Delta(text("3")),
                Event::PartStop,
                Event::PartStart(call("b")),
                Event::Delta(text("2")),
                Event::Delta(text("4")),
                Event::PartStop,
            ]
        );
    }
}
