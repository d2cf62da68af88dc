//! Parts of what a stream says that are replaced, and where in its events they stand.

use std::ops::Range;

use systemprompt_model::json::{self, Span};

use crate::splice::Splice;

/// A part of a text that is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its bytes in the text.
    pub(super) at: Range<usize>,
    /// What stands there then.
    pub(super) with: String,
}

/// A piece of a text in an event.
#[derive(Debug)]
pub(super) struct Stands {
    /// The number of the text.
    pub(super) text: usize,
    /// Its bytes in the text.
    says: Range<usize>,
    place: Place,
}

/// Where a piece stands.
#[derive(Debug)]
enum Place {
    /// Here in the event: a string of JSON without its quotation marks.
    At(Span),
    /// Where a provider has signed it, so that it must stay as it is.
    Signed,
    /// Where nothing can be replaced.
    Nowhere,
}

impl Part {
    /// Adds it to those that are replaced already. One that goes on with another is the same one, which stands where that
    /// began.
    pub(super) fn join(self, parts: &mut Vec<Self>) {
        let first = parts.partition_point(|part| part.at.end <= self.at.start);
        let count = parts[first..].iter().take_while(|part| part.at.start < self.at.end).count();
        let joined = parts.drain(first..first + count).fold(self, |joined, part| Self {
            with: if part.at.start < joined.at.start { part.with } else { joined.with },
            at: joined.at.start.min(part.at.start)..joined.at.end.max(part.at.end),
        });
        parts.insert(first, joined);
    }
}

impl Stands {
    /// The next `length` bytes of a text, after `from`, at this place of the event.
    pub(super) fn at(text: usize, from: usize, length: usize, at: Span) -> Self {
        Self { text, says: from..from + length, place: Place::At(at) }
    }

    /// The same where a provider has signed it.
    pub(super) fn signed(text: usize, from: usize, length: usize) -> Self {
        Self { text, says: from..from + length, place: Place::Signed }
    }

    /// The same where nothing can be replaced.
    pub(super) fn nowhere(text: usize, from: usize, length: usize) -> Self {
        Self { text, says: from..from + length, place: Place::Nowhere }
    }

    pub(super) fn is_fixed(&self) -> bool {
        matches!(self.place, Place::Nowhere)
    }

    /// Its bytes in the text.
    pub(super) fn says(&self) -> Range<usize> {
        self.says.clone()
    }
}

/// The changes of `event` in which `parts` of a text are replaced, as far as it says them: the new words stand where a part
/// begins, and the rest of it goes.
pub(super) fn written<'a>(stands: &'a Stands, event: &'a [u8], parts: &'a [Part]) -> impl Iterator<Item = Splice> + 'a {
    let place = if let Place::At(place) = &stands.place { Some(place) } else { None };
    place.into_iter().flat_map(move |place| {
        let first = parts.partition_point(|part| part.at.end <= stands.says.start);
        let overlapping: Vec<&Part> =
            parts[first..].iter().take_while(|part| part.at.start < stands.says.end).collect();
        let meant: Vec<Range<usize>> = overlapping
            .iter()
            .map(|part| {
                let (from, to) = (part.at.start.max(stands.says.start), part.at.end.min(stands.says.end));
                from - stands.says.start..to - stands.says.start
            })
            .collect();
        let raw = json::raw_places(event.get(place.clone()).unwrap_or_default(), &meant);
        let change = move |(part, at): (&Part, Range<usize>)| {
            let begins_here = part.at.start >= stands.says.start;
            let with = if begins_here { part.with.clone() } else { String::new() };
            Splice::new(place.start + at.start..place.start + at.end, with)
        };
        overlapping.into_iter().zip(raw).map(change).collect::<Vec<_>>()
    })
}
