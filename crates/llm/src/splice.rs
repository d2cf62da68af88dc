//! Changes of a body by the places where they are: these bytes become those, and all others stay as they are.

use bytes::{BufMut, Bytes, BytesMut};
use systemprompt_model::json::Span;

use crate::request::layout::MemberPlace;

/// One change: these bytes become those.
#[derive(Debug)]
pub(crate) struct Splice {
    pub(crate) at: Span,
    pub(crate) replacement: Vec<u8>,
}

impl Splice {
    pub(crate) fn new(at: Span, replacement: impl Into<Vec<u8>>) -> Self {
        Self { at, replacement: replacement.into() }
    }

    pub(crate) fn number(at: &Span, number: u64) -> Self {
        Self::new(at.clone(), number.to_string())
    }
}

/// What takes these members or elements out, each of which stands behind the one before it.
pub(crate) fn cuts(places: &[MemberPlace]) -> impl Iterator<Item = Splice> {
    // Neighbours leave together, or the comma between them would be cut twice.
    let mut joined: Vec<MemberPlace> = Vec::new();
    for place in places {
        if let Some(last) = joined.last_mut()
            && let Some(both) = last.joined(place)
        {
            *last = both;
        } else {
            joined.push(place.clone());
        }
    }
    joined.into_iter().map(|place| Splice::new(place.cut(), Vec::new()))
}

/// The body with these changes, whatever their order. Without any it is the same body, not copied.
pub(crate) fn apply(body: &Bytes, mut splices: Vec<Splice>) -> Bytes {
    if splices.is_empty() {
        return body.clone();
    }
    // An insertion goes before a cut that starts at the same place.
    splices.sort_by_key(|splice| (splice.at.start, splice.at.end));
    let growth: usize = splices.iter().map(|splice| splice.replacement.len()).sum();
    let mut changed = BytesMut::with_capacity(body.len() + growth);
    let mut copied = 0;
    for splice in splices {
        changed.put_slice(&body[copied..splice.at.start]);
        changed.put_slice(&splice.replacement);
        copied = splice.at.end;
    }
    changed.put_slice(&body[copied..]);
    changed.freeze()
}
