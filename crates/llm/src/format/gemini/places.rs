//! Places in a text, which Google counts in bytes where others count characters.

/// The places of one text.
#[derive(Debug)]
pub(super) struct Places<'a> {
    text: &'a str,
    /// Where each character begins; nothing where every character is one byte.
    starts: Vec<usize>,
}

impl<'a> Places<'a> {
    /// Of a text.
    pub(super) fn of(text: &'a str) -> Self {
        let starts = if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() };
        Self { text, starts }
    }

    /// How many characters are before a byte.
    pub(super) fn characters(&self, bytes: u64) -> u64 {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.text.len());
        let characters = if self.starts.is_empty() { bytes } else { self.starts.partition_point(|at| *at < bytes) };
        characters as u64
    }

    /// Where the character with this number begins.
    pub(super) fn bytes(&self, characters: u64) -> usize {
        let characters = usize::try_from(characters).unwrap_or(usize::MAX);
        let at = if self.starts.is_empty() { Some(characters) } else { self.starts.get(characters).copied() };
        at.unwrap_or(usize::MAX).min(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_characters_are_told_apart() {
        let places = Places::of("a\u{fc}b");
        assert_eq!([0, 1, 3, 4, 99].map(|bytes| places.characters(bytes)), [0, 1, 2, 3, 3]);
        assert_eq!([0, 1, 2, 3, 99].map(|characters| places.bytes(characters)), [0, 1, 3, 4, 4]);
        let places = Places::of("abc");
        assert_eq!((places.characters(2), places.bytes(2), places.bytes(9), places.characters(9)), (2, 2, 3, 3));
    }
}
