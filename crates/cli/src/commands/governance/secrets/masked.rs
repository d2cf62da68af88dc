//! A secret as it may be shown: so that whoever knows it knows it again, and nobody learns it.

/// How much of the beginning is shown, of what is long enough.
const SHOWN: usize = 4;
const LONG: usize = 16;

/// Its first characters if it has many, and how many it has.
pub(super) fn masked(value: &str) -> String {
    let length = value.chars().count();
    let shown: String = if length >= LONG { value.chars().take(SHOWN).collect() } else { String::new() };
    format!("{shown}… ({length} characters)")
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn short_ones_show_nothing() {
        assert_eq!(masked("hunter22"), "… (8 characters)");
        assert_eq!(masked("abcdefghijklmnop"), "abcd… (16 characters)");
    }
}
