//! What the name of a field says of its value.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use crate::kinds;
use crate::lists::Words;

/// What a value is that has such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Chosen by a person, perhaps.
    Password,
    /// Made by a machine.
    Secret,
}

/// The longest name.
const LONGEST: usize = 64;
/// What may be said of a secret behind its name: `API_KEY_PROD`, `token2`, `secret_key_base`.
const ADDED: [&str; 26] = [
    "value",
    "base",
    "string",
    "str",
    "text",
    "plain",
    "raw",
    "prod",
    "production",
    "dev",
    "development",
    "staging",
    "stage",
    "live",
    "test",
    "old",
    "new",
    "current",
    "default",
    "env",
    "var",
    "v",
    "s",
    "primary",
    "secondary",
    "hex",
];
/// What is before `key` where it is a secret.
const KEYS: [&str; 44] = [
    "fernet",
    "api",
    "access",
    "auth",
    "secret",
    "private",
    "priv",
    "signing",
    "signature",
    "encryption",
    "encrypt",
    "crypto",
    "cipher",
    "master",
    "account",
    "storage",
    "shared",
    "app",
    "application",
    "admin",
    "server",
    "service",
    "client",
    "license",
    "consumer",
    "deploy",
    "webhook",
    "hmac",
    "jwt",
    "cookie",
    "session",
    "security",
    "subscription",
    "integration",
    "write",
    "ingest",
    "root",
    "aes",
    "rsa",
    "in",
    "stream",
    "skey",
    "credential",
    "ssh",
];
/// Words in the names of what is random and no secret.
const ORDINARY: [&str; 50] = [
    "public",
    "publishable",
    "pub",
    "anon",
    "page",
    "next",
    "prev",
    "previous",
    "continuation",
    "continue",
    "cursor",
    "cancel",
    "cancellation",
    "sync",
    "resume",
    "csrf",
    "xsrf",
    "nonce",
    "cache",
    "idempotency",
    "partition",
    "sort",
    "primary",
    "foreign",
    "site",
    "hash",
    "hashed",
    "digest",
    "fingerprint",
    "checksum",
    "arn",
    "etag",
    "id",
    "ids",
    "example",
    "expected",
    "invalid",
    "fake",
    "mock",
    "dummy",
    "sample",
    "wrong",
    "encrypted",
    "sha256",
    "md5",
    "innertube",
    "firebase",
    "verifier",
    "grant",
    "upload",
];
/// Beginnings of the names of what tools give to web pages and apps.
const PUBLIC: [&str; 7] =
    ["NEXT_PUBLIC_", "REACT_APP_", "VITE_", "EXPO_PUBLIC_", "GATSBY_", "NUXT_PUBLIC_", "INNERTUBE"];

/// Words that a value of its own begins or ends a name with.
const PASSWORDS: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "passwort",
    "pwd",
    "userpass",
    "dbpass",
    "passw",
    "psk",
    "storepass",
    "keypass",
    "requirepass",
    "masterauth",
];
const SECRETS: [&str; 15] = [
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "authkey",
    "masterkey",
    "encryptionkey",
    "signingkey",
    "accountkey",
    "sharedkey",
    "credential",
    "authorization",
    "appkey",
];

/// The lists, ready for use.
struct Lists {
    ordinary: Words,
    added: Words,
    passwords: Words,
    secrets: Words,
    keys: Words,
}

static LISTS: LazyLock<Lists> = LazyLock::new(|| Lists {
    ordinary: Words::by_first(&ORDINARY),
    added: Words::by_first(&ADDED),
    passwords: Words::by_last(&PASSWORDS),
    secrets: Words::by_last(&SECRETS),
    keys: Words::by_last(&KEYS),
});

/// The name that goes on around `part` of `text`, from `from` on.
pub(crate) fn around(text: &[u8], part: Range<usize>, from: usize) -> Range<usize> {
    let of_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'$');
    let before = text[from.min(part.start)..part.start].iter().rev().take(LONGEST).take_while(of_name).count();
    let after = text[part.end..].iter().take(LONGEST).take_while(of_name).count();
    let mut end = part.end + after;
    while end > part.end && matches!(text[end - 1], b'-' | b'.') {
        end -= 1;
    }
    let start = part.start - before;
    // `\napi_key` in a text of a program: the `n` is the end of the line before.
    let escaped =
        start > 0 && text[start - 1] == b'\\' && matches!(text[start], b'n' | b'r' | b't') && start < part.start;
    start + usize::from(escaped)..end
}

/// A name in lower case, of which its words are parts. What is no ASCII separates them.
pub(crate) fn lower(name: &[u8]) -> String {
    name.iter().map(|byte| if byte.is_ascii() { char::from(byte.to_ascii_lowercase()) } else { '_' }).collect()
}

/// The words of a name, taken from it in [lower] case.
pub(crate) fn words<'l>(name: &[u8], lower: &'l str) -> Vec<&'l str> {
    let same = |left: &u8, right: &u8| {
        left.is_ascii_alphanumeric() == right.is_ascii_alphanumeric()
            && !(left.is_ascii_lowercase() && right.is_ascii_uppercase())
            && !(left.is_ascii_alphabetic() && right.is_ascii_digit())
    };
    let mut words = Vec::with_capacity(8);
    let mut at = 0;
    for run in name.chunk_by(same) {
        let start = at;
        at += run.len();
        if !run[0].is_ascii_alphanumeric() {
            continue;
        }
        // `APIKey`: capitals, of which the last begins the next word.
        let capitals = run.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
        if capitals > 1 && capitals < run.len() && run[capitals].is_ascii_lowercase() {
            words.push(&lower[start..start + capitals - 1]);
            words.push(&lower[start + capitals - 1..at]);
        } else {
            words.push(&lower[start..at]);
        }
    }
    words
}

/// What a value under this name is, if that is a secret.
pub(crate) fn meaning(name: &[u8]) -> Option<Meaning> {
    if PUBLIC.iter().any(|prefix| name.starts_with(prefix.as_bytes())) {
        return None;
    }
    let lower = lower(name);
    let mut words = words(name, &lower);
    while words.len() > 1 && words.last().is_some_and(|word| is_added(word)) {
        words.pop();
    }
    let last = words.pop()?;
    if words.iter().any(|word| LISTS.ordinary.has(word.as_bytes()) || word.starts_with("continu")) {
        return None;
    }
    let singular = last.strip_suffix('s').filter(|word| !word.ends_with('s')).unwrap_or(last);
    let before = words.last().copied();
    if LISTS.passwords.ends(singular.as_bytes())
        || (matches!(singular, "pass" | "pw" | "psw") && (before.is_some() || matches!(name, b"PASS" | b"pass")))
    {
        return Some(Meaning::Password);
    }
    // What makes a request idempotent, and what a page may have.
    if singular == "clienttoken" || (singular == "token" && before == Some("client")) {
        return None;
    }
    // The id of the key with which a URL is signed.
    if singular == "credential" && words.iter().any(|word| matches!(*word, "amz" | "goog")) {
        return None;
    }
    let secret = LISTS.secrets.ends(singular.as_bytes())
        || (singular == "key" && before.is_some_and(is_before_key))
        || (singular == "pat" && before.is_some())
        || (singular == "salt" && before.is_some());
    secret.then_some(Meaning::Secret)
}

/// Whether this is a word for a credential as sentences have it.
pub(crate) fn is_noun(name: &[u8]) -> bool {
    const NOUNS: [&str; 13] = [
        "password",
        "passwd",
        "passphrase",
        "passcode",
        "passwords",
        "pw",
        "pwd",
        "token",
        "secret",
        "key",
        "credential",
        "credentials",
        "auth",
    ];
    NOUNS.iter().any(|noun| noun.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether one of the two words that end here says that what is named behind them is random and no secret: `Next page`,
/// `checksum/`.
pub(crate) fn is_ordinary_before(before: &[u8]) -> bool {
    let Some(before) = before.strip_suffix(b" ").or_else(|| before.strip_suffix(b"/")) else { return false };
    let line = before[before.len().saturating_sub(32)..].rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut words = line.rsplit(|byte| !byte.is_ascii_alphabetic()).take(2);
    words.any(|word| LISTS.ordinary.has(&word.to_ascii_lowercase()))
}

/// Whether a key with this before it is a secret: what it is for, or who issued it.
pub(crate) fn is_before_key(before: &str) -> bool {
    static VENDORS: LazyLock<HashSet<&str>> = LazyLock::new(|| kinds::vendors().collect());
    /// As long at least is the name of a vendor that other letters may stand before.
    const UNLIKE_WORDS: usize = 5;
    let vendor = |from: usize| before.get(from..).is_some_and(|name| VENDORS.contains(name));
    LISTS.keys.ends(before.as_bytes())
        || (before.len() <= LONGEST && (0..=before.len().saturating_sub(UNLIKE_WORDS)).any(vendor))
}

fn is_added(word: &str) -> bool {
    LISTS.added.has(word.as_bytes()) || word.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_names_of_other_random_things() {
        use Meaning::{Password, Secret};
        for (name, meaning) in [
            ("DEPLOY_TOKEN", Secret),
            ("clientSecret", Secret),
            ("x-api-key", Secret),
            ("db.password", Password),
            ("SSH_KEY", Secret),
            ("signing_key", Secret),
            ("Authorization", Secret),
            ("authToken", Secret),
            ("APIKey", Secret),
            ("SECRETKEY", Secret),
            ("SECRET_KEY_BASE", Secret),
            ("API_KEY_PROD", Secret),
            ("POSTGRES_PASSWORD", Password),
            ("dbPassword2", Password),
            ("SMTP_PASS", Password),
            ("credentials", Secret),
            ("spring.datasource.password", Password),
        ] {
            assert_eq!(super::meaning(name.as_bytes()), Some(meaning), "{name}");
        }
        for name in [
            "key",
            "etag",
            "nextPageToken",
            "next_token",
            "page_token",
            "public_key",
            "publishableKey",
            "cache-key",
            "idempotency-key",
            "csrf_token",
            "upload_token",
            "x-amz-cf-id",
            "integrity",
            "checksum",
            "session",
            "value",
            "tokenizer",
            "secret_name",
            "token_count",
            "passwordHash",
            "access_key_id",
            "monkey",
            "keyword",
            "bypass",
            "compass",
            "NEXT_PUBLIC_MAPS_API_KEY",
            "",
        ] {
            assert_eq!(super::meaning(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn a_name_is_read_from_a_part_of_it() {
        let text = b"x = {'my_api.secret-key-': 1, \\nDB_PASSWORD=";
        assert_eq!(&text[around(text, 13..19, 0)], b"my_api.secret-key");
        let at = text.len() - 9;
        assert_eq!(&text[around(text, at..at + 8, 0)], b"DB_PASSWORD");
    }
}
