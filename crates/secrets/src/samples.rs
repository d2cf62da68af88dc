//! Texts for tests, made so that no credential has to be written here.

pub(crate) const BASE62: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Random text over `alphabet`, the same for the same salt.
pub(crate) fn made_of(alphabet: &str, length: usize, salt: u64) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    let mut state = salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        letters[usize::try_from(state >> 16).unwrap() % letters.len()]
    };
    // The first numbers of this generator resemble their seed.
    std::iter::repeat_with(next).skip(8).take(length).collect()
}

/// Chooses at random, the same for the same salt.
pub(crate) struct Chooser(u64);

impl Chooser {
    pub(crate) fn new(salt: u64) -> Self {
        let mut chooser = Self(salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        // The first numbers of this generator resemble their seed.
        (0..8).for_each(|_| {
            chooser.below(2);
        });
        chooser
    }

    pub(crate) fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("a number of this machine") % below
    }
}
