//! Strings in which nothing was found before.

/// Remembers strings in which nothing was found, so that a conversation is not looked through with each request that repeats
/// it.
pub trait Memory {
    /// What stands for a string.
    type Mark: Copy;

    /// The mark of a string as it is written, if it is worth remembering. Strings that are judged in another `way` have
    /// another.
    fn mark(&self, string: &[u8], way: u8) -> Option<Self::Mark>;

    /// Whether nothing was found in the string of this mark.
    fn is_clean(&self, mark: Self::Mark) -> bool;

    /// Nothing was found in the string of this mark.
    fn remember(&self, mark: Self::Mark);
}

/// Remembers nothing.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Memory for Nothing {
    type Mark = ();

    fn mark(&self, _: &[u8], _: u8) -> Option<()> {
        None
    }

    fn is_clean(&self, (): ()) -> bool {
        false
    }

    fn remember(&self, (): ()) {}
}
