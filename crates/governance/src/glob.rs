//! `*` (any text, also none) and `?` (one character) over names.

/// Whether all of `text` fits `pattern`. Takes time in the product of the lengths at worst, and no memory.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on after letting the last star take one more byte.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                t += 1;
                while text.get(t).is_some_and(|byte| byte & 0xC0 == 0x80) {
                    t += 1;
                }
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, taken)) = retry else { return false };
                retry = Some((after_star, taken + 1));
                (p, t) = (after_star, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("gpt-*", "gpt-5", true),
            ("gpt-*", "claude", false),
            ("*-mini*", "gpt-5-mini-2025", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("**a", "bba", true),
        ] {
            assert_eq!(super::matches(pattern, text), expected, "{pattern} {text}");
        }
        let long = "a".repeat(10_000);
        assert!(!super::matches("*a*a*a*a*b", &long));
    }
}
