//! Strings that are read one after the other: the texts of a message, the parts of a list. What is split over two is a
//! credential all the same.

use std::ops::Range;

use systemprompt_model::json;

/// As much of either is looked at.
const REACH: usize = 160;
/// Other strings that may stand between two, such as `"type": "text"`.
const BETWEEN: u8 = 4;
/// The shortest text of both that is worth it.
const SHORTEST: usize = 16;

/// A string that another may go on.
#[derive(Debug, Clone)]
pub(crate) struct Neighbour {
    /// Whether it is the value of `text`; otherwise it is an element of a list.
    is_text: bool,
    span: Range<usize>,
    /// Strings since then.
    since: u8,
}

/// The end of a string and the beginning of the next.
pub(crate) struct Joint {
    pub(crate) text: Vec<u8>,
    /// Where the second begins in it.
    border: usize,
    /// Where in the content the two parts are written, and the strings they belong to.
    written: [(Range<usize>, Range<usize>); 2],
}

impl Neighbour {
    /// Whether a string with this key may go on what this one begins.
    pub(crate) fn goes_on(&self, key: Option<&[u8]>) -> bool {
        match key {
            Some(key) => self.is_text && key == b"text",
            None => !self.is_text && self.since == 0,
        }
    }

    /// What the next string may go on, after one with this key and place.
    pub(crate) fn after(before: Option<Self>, key: Option<&[u8]>, is_key: bool, span: &Range<usize>) -> Option<Self> {
        let is_text = key == Some(b"text");
        if is_text || (key.is_none() && !is_key) {
            return Some(Self { is_text, span: span.clone(), since: 0 });
        }
        before.map(|before| Self { since: before.since + 1, ..before }).filter(|before| before.since <= BETWEEN)
    }

    /// Its end and the beginning of the string at `span`.
    pub(crate) fn joint(&self, content: &[u8], span: &Range<usize>) -> Option<Joint> {
        if self.span.len() + span.len() < SHORTEST || self.span.is_empty() || span.is_empty() {
            return None;
        }
        let mut start = self.span.end.saturating_sub(REACH).max(self.span.start);
        // Not in the middle of an escape.
        for _ in 0..4 {
            let before = &content[start.saturating_sub(6).max(self.span.start)..start];
            if start == self.span.start || !before.contains(&b'\\') {
                break;
            }
            start = start.saturating_sub(6).max(self.span.start);
        }
        let mut end = span.end.min(span.start + REACH);
        while end < span.end && content[end.saturating_sub(6).max(span.start)..end].contains(&b'\\') && end > span.start
        {
            end -= 1;
        }
        let (first, second) = (start..self.span.end, span.start..end);
        let mut text = Vec::with_capacity(first.len() + second.len());
        json::unescape(&content[first.clone()], &mut text);
        let border = text.len();
        json::unescape(&content[second.clone()], &mut text);
        Some(Joint { text, border, written: [(first, self.span.clone()), (second, span.clone())] })
    }
}

impl Joint {
    /// What is of the first string.
    pub(crate) fn first(&self) -> &[u8] {
        &self.text[..self.border]
    }

    /// Whether a place goes over the border.
    pub(crate) fn is_across(&self, place: &Range<usize>) -> bool {
        place.start < self.border && self.border < place.end
    }

    /// The parts of a place: where each is written, and the string it belongs to.
    pub(crate) fn parts(&self, content: &[u8], place: &Range<usize>) -> Vec<(Range<usize>, Range<usize>)> {
        let inside = [place.start..self.border, 0..place.end - self.border];
        self.written
            .iter()
            .zip(inside)
            .map(|((written, string), inside)| {
                let raw = json::raw_places(&content[written.clone()], std::slice::from_ref(&inside)).remove(0);
                (written.start + raw.start..written.start + raw.end, string.clone())
            })
            .collect()
    }
}
