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
