//! Where a word ends: at what is no letter and no digit, and after what stands for that in the texts of programs, of JSON, of
//! URLs, of pages and of terminals.

/// As many bytes before a place are looked at.
const BACK: usize = 12;

/// Whether a word may begin after `before`.
pub(crate) fn begins_word(before: &[u8]) -> bool {
    before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric()) || ends_an_escape(before)
}

/// The same where a hyphen or an underscore goes on too: for tokens that may have them, so that a run of them is read once.
pub(crate) fn begins_token(before: &[u8]) -> bool {
    before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'-'))
        || ends_an_escape(before)
}

/// Whether `before` ends in `\n` or `\x0a` as programs have it, in `\u000a` as JSON has it, in `%0A` as URLs have it, or in
/// what colours a terminal: `ESC[31m`, the escape too as it is written.
fn ends_an_escape(before: &[u8]) -> bool {
    let before = &before[before.len().saturating_sub(BACK)..];
    match before {
        [.., b'\\', b'n' | b'r' | b't' | b'b' | b'f' | b'v' | b'a' | b'e' | b'0'] => true,
        [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => true,
        [.., b'\\', b'x', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => true,
        [.., b'}'] => memchr::memmem::rfind(before, b"\\u{").is_some(),
        [rest @ .., b'm' | b'K' | b'G'] => {
            let codes = rest.iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
            rest[..rest.len() - codes].last() == Some(&b'[')
        }
        _ => {
            before.len() >= 6 && {
                let tail = &before[before.len() - 6..];
                tail.starts_with(b"\\u") && tail[2..].iter().all(u8::is_ascii_hexdigit)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_after_escapes() {
        for before in [
            "",
            " ",
            "_",
            "\\n",
            "x\\t",
            "\\u000a",
            "\\x0A",
            "%3D",
            "\x1b[0m",
            "\\x1b[31;1m",
            "\\033[32m",
            "&quot;",
            "=",
            "\n",
        ] {
            assert!(begins_word(before.as_bytes()), "{before:?}");
        }
        for before in ["a", "xn", "9", "%zz3", "task", "u000a", "am"] {
            assert!(!begins_word(before.as_bytes()), "{before:?}");
        }
        assert!(!begins_token(b"-") && begins_token(b"\\n"));
    }
}
