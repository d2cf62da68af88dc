//! The two ends of a text that may be of any length.

/// The two ends of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// The start of the text.
    pub head: String,
    /// The end of the text, as far as it is not in `head`.
    pub tail: String,
    /// The length of the whole text in bytes.
    pub bytes: u64,
    /// Whether something between `head` and `tail` is missing.
    pub truncated: bool,
}

/// Keeps at most `limit` bytes of each end of a text that comes in parts.
#[derive(Debug, Default)]
pub(super) struct ExcerptBuilder {
    limit: usize,
    head: String,
    /// Up to twice the limit, so that the front is dropped once for every `limit` bytes and not at every part.
    tail: String,
    bytes: u64,
}

impl ExcerptBuilder {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, head: String::new(), tail: String::new(), bytes: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(super) fn push(&mut self, part: &str) {
        self.bytes += part.len() as u64;
        let mut part = part;
        if self.tail.is_empty() {
            let room = part.floor_char_boundary(self.limit.saturating_sub(self.head.len()));
            self.head.push_str(&part[..room]);
            part = &part[room..];
        }
        if part.len() > self.limit {
            self.tail.clear();
            part = &part[part.ceil_char_boundary(part.len() - self.limit)..];
        }
        self.tail.push_str(part);
        if self.tail.len() > 2 * self.limit {
            self.shorten();
        }
    }

    /// Its length alone.
    pub(super) fn measured(&self) -> Excerpt {
        Excerpt { bytes: self.bytes, truncated: self.bytes > 0, ..Excerpt::default() }
    }

    pub(super) fn finish(mut self) -> Excerpt {
        self.shorten();
        let kept = (self.head.len() + self.tail.len()) as u64;
        Excerpt { head: self.head, tail: self.tail, bytes: self.bytes, truncated: kept < self.bytes }
    }

    fn shorten(&mut self) {
        if let Some(surplus) = self.tail.len().checked_sub(self.limit) {
            self.tail.drain(..self.tail.ceil_char_boundary(surplus));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_kept_however_the_text_is_cut() {
        let text: String = ('a'..='z').chain("äöü€😀".chars()).cycle().take(200).collect();
        for limit in [1, 4, 10, 49, 50, 1000] {
            for size in [1, 3, 7, 200] {
                let mut builder = ExcerptBuilder::new(limit);
                let characters: Vec<char> = text.chars().collect();
                for part in characters.chunks(size) {
                    builder.push(&part.iter().collect::<String>());
                    assert!(builder.tail.len() <= 3 * limit + 4);
                }
                let excerpt = builder.finish();
                assert_eq!(excerpt.bytes, text.len() as u64);
                assert!(text.starts_with(&excerpt.head) && text.ends_with(&excerpt.tail));
                assert!(excerpt.head.len() <= limit && excerpt.tail.len() <= limit);
                assert_eq!(excerpt.truncated, excerpt.head.clone() + &excerpt.tail != text, "limit {limit}");
            }
        }
    }
}
