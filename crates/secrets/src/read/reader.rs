//! What reads a kind of credential, what it is given, and what it gives.

use std::ops::Range;

/// What reads a kind of credential.
#[derive(Clone, Copy)]
pub(crate) struct Reader {
    /// The id of its rule.
    pub(crate) id: &'static str,
    /// Where it is asked, and whether in any case.
    pub(crate) anchors: &'static [(&'static str, bool)],
    /// Whether nothing else looks like what it finds.
    pub(crate) known_form: bool,
    /// Reads from the anchor on.
    pub(crate) read: fn(&mut Reads<'_>),
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reader").field(&self.id).finish()
    }
}

/// What a reader is given, and gives.
pub(crate) struct Reads<'t> {
    /// All of the text.
    pub(crate) text: &'t [u8],
    /// Where the anchor begins.
    pub(crate) start: usize,
    /// Where it ends.
    pub(crate) end: usize,
    /// What was found, by the ids of rules.
    pub(crate) hits: Vec<(&'static str, Range<usize>)>,
    /// How far the text was read: what is before is not read again and again.
    pub(crate) until: usize,
}

impl<'t> Reads<'t> {
    /// The text before the anchor, as much as that of it.
    pub(crate) fn before(&self, most: usize) -> &'t [u8] {
        &self.text[self.start.saturating_sub(most)..self.start]
    }

    /// The text behind the anchor, as much as that of it.
    pub(crate) fn after(&self, most: usize) -> &'t [u8] {
        &self.text[self.end..self.text.len().min(self.end + most)]
    }

    pub(crate) fn found(&mut self, id: &'static str, place: Range<usize>) {
        self.hits.push((id, place));
    }
}
