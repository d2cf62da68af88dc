//! Lists of words that every name and every value is compared with: by the letter they begin or end with, so that few are.

/// Words by the byte they are told apart by.
#[derive(Debug)]
pub(crate) struct Words {
    by_byte: Vec<Vec<&'static str>>,
    last: bool,
}

impl Words {
    /// For [`has`](Self::has) and [`begins`](Self::begins).
    pub(crate) fn by_first(words: &[&'static str]) -> Self {
        Self::new(words, false)
    }

    /// For [`ends`](Self::ends).
    pub(crate) fn by_last(words: &[&'static str]) -> Self {
        Self::new(words, true)
    }

    fn new(words: &[&'static str], last: bool) -> Self {
        let mut by_byte = vec![Vec::new(); 256];
        for word in words {
            let byte = if last { word.bytes().last() } else { word.bytes().next() };
            by_byte[usize::from(byte.expect("a word has a letter"))].push(*word);
        }
        Self { by_byte, last }
    }

    /// Whether `text` is one of them.
    pub(crate) fn has(&self, text: &[u8]) -> bool {
        debug_assert!(!self.last, "these are told apart by their ends");
        text.first().is_some_and(|byte| self.of(*byte).iter().any(|word| word.as_bytes() == text))
    }

    /// Whether `text` begins with one of them.
    pub(crate) fn begins(&self, text: &[u8]) -> bool {
        debug_assert!(!self.last, "these are told apart by their ends");
        text.first().is_some_and(|byte| self.of(*byte).iter().any(|word| text.starts_with(word.as_bytes())))
    }

    /// Whether `text` ends with one of them.
    pub(crate) fn ends(&self, text: &[u8]) -> bool {
        debug_assert!(self.last, "these are told apart by their beginnings");
        text.last().is_some_and(|byte| self.of(*byte).iter().any(|word| text.ends_with(word.as_bytes())))
    }

    fn of(&self, byte: u8) -> &[&'static str] {
        &self.by_byte[usize::from(byte)]
    }
}
