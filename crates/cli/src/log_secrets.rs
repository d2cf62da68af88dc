//! Lines of the log without credentials. A line quotes errors of drivers, texts of providers, what a client sent; whatever
//! of it is a credential of a built-in kind is replaced before the line is written anywhere.

use std::borrow::Cow;
use std::sync::LazyLock;

use systemprompt_governance::secret_scan::{Match, PLACEHOLDER_PREFIX, REDACTED};
use systemprompt_secrets::{Options, Scanner};

/// Nothing shorter is a credential with what gives it away.
const SHORTEST: usize = 16;

/// Made when there is a line to look at. An installation's own patterns are not known when the log begins. That something is
/// random says nothing here: a log is full of ids and digests.
static SCANNER: LazyLock<Scanner> = LazyLock::new(|| {
    let placeholder_prefix = PLACEHOLDER_PREFIX.to_owned();
    Scanner::new(&Options { entropy: None, placeholder_prefix, ..Options::default() })
});

/// A line, or a part of one.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if text.len() < SHORTEST {
        return Cow::Borrowed(text);
    }
    replaced(text, &SCANNER.scan_text(text.as_bytes()))
}

/// A line that is JSON, and stays it.
pub(crate) fn json(line: &str) -> Cow<'_, str> {
    replaced(line, &SCANNER.scan(line.as_bytes()))
}

fn replaced<'t>(text: &'t str, found: &[Match<'_>]) -> Cow<'t, str> {
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = 0;
    for found in found {
        clean.push_str(&text[rest..text.floor_char_boundary(found.at.start).max(rest)]);
        clean.push_str(REDACTED);
        rest = text.ceil_char_boundary(found.at.end).max(rest);
    }
    clean.push_str(&text[rest..]);
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: &str = concat!("AKIA", "IOSFODNN7EXAMPLQ");
    const GITHUB: &str = concat!("ghp_", "4pQ7rT2vX9zB5nM8kL3jH6gF1dS0aW4eR7tY");

    const WORD: &str = concat!("k7Jq2mZx9L", "w4Tn8Vb3Rc");

    #[test]
    fn what_is_a_credential_is_replaced_and_nothing_else() {
        for (line, expected) in [
            (format!("asked with {AWS} for ü"), "asked with [redacted] for ü".to_owned()),
            (format!("ü {GITHUB} {AWS}"), "ü [redacted] [redacted]".to_owned()),
            (
                format!("connecting to postgres://app:{WORD}@db.acme.com/app failed"),
                "connecting to postgres://app:[redacted]@db.acme.com/app failed".to_owned(),
            ),
        ] {
            assert_eq!(text(&line), expected);
        }
        for line in [
            "the server listens on 127.0.0.1:8080",
            "request_id=01a20374-da7b-7f52-aa93-1a0c6f8b99b6 trace_id=4bf92f3577b34da6a3ce929d0e0e4736",
            "the policy version is 389cb4c4f0827a52, the digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "secret_scan: message 12, a tool result, holds a secret: aws-access-key at $.messages[12].content",
            "short",
        ] {
            assert!(matches!(text(line), Cow::Borrowed(_)), "{line}: {}", text(line));
        }
    }

    #[test]
    fn a_line_of_json_stays_one() {
        let line = serde_json::json!({"message": format!("a \"quoted\" {AWS}\n"), "api_key": WORD, "n": 1});
        let clean = json(&line.to_string()).into_owned();
        let read: serde_json::Value = serde_json::from_str(&clean).expect("JSON");
        assert_eq!(read, serde_json::json!({"message": "a \"quoted\" [redacted]\n", "api_key": "[redacted]", "n": 1}));
    }
}
