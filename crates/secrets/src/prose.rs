//! Credentials that a sentence tells: `the db password is …`, `password for prod: …`, `use token … to log in`.
//!
//! Sentences about credentials are many and those that tell one are few, so what is told has to be unlike any word.

use std::ops::Range;

use crate::assignment::{Style, Value};
use crate::letters::of_words;
use crate::measure::class_changes;
use crate::names::{self, Meaning};
use crate::value::{is_hash, is_random, is_reference, is_secret};
use crate::words::is_written_password;

/// Words that may stand between what is told and the sign: `for the new server`.
const WORDS: usize = 6;
const LONGEST_WORD: usize = 16;
/// Words with which it is said what a credential is for.
const FOR: [&str; 14] =
    ["for", "of", "in", "on", "to", "at", "from", "there", "now", "again", "we", "you", "i", "that"];
/// Signs between it and the credential, the longer before what it begins with.
const SIGNS: [&[u8]; 9] = [b" is now ", b" is: ", b" is ", b" was ", b" will be ", b" = ", b" - ", b": ", b"? "];
/// How names begin that have digits and are no secrets.
const TECHNICAL: [&str; 22] = [
    "sha", "md5", "base64", "base32", "utf", "aes", "hs256", "rs256", "es256", "argon2", "bcrypt", "pbkdf2", "x509",
    "oauth", "http", "ipv", "ntlm", "rfc", "pkcs", "win32", "x86", "ed25519",
];

/// What a sentence gives to the noun at `name`, if it does.
pub(crate) fn told(text: &[u8], name: &Range<usize>) -> Option<Value> {
    let mut at = name.end;
    for word in 0..=WORDS {
        let rest = &text[at..text.len().min(at + 160)];
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(sign)) {
            // `password: …` alone is a setting.
            let is_setting = word == 0 && matches!(sign, [b':', ..] | [_, b'=' | b'-', ..]);
            let follows_a_word = text[..name.start]
                .strip_suffix(b" ")
                .is_some_and(|before| before.last().is_some_and(u8::is_ascii_alphabetic));
            return if is_setting && !follows_a_word { None } else { value(text, at + sign.len()) };
        }
        // `use token … to log in`
        if word == 0 && rest.starts_with(b" ") {
            let value = value(text, at + 1);
            // Digests and fingerprints stand there too.
            let may_be_one =
                |told: &[u8]| told.iter().any(u8::is_ascii_digit) && !told.iter().all(u8::is_ascii_hexdigit);
            if value.as_ref().is_some_and(|value| may_be_one(&text[value.place.clone()])) {
                return value;
            }
        }
        let length = rest.strip_prefix(b" ")?.iter().take(LONGEST_WORD).take_while(|byte| is_of_a_word(**byte)).count();
        let next = &rest[1..=length];
        if length == 0 || (word == 0 && !FOR.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(next))) {
            return None;
        }
        at += 1 + length;
    }
    None
}

/// The ends of the words behind a name, as long as they may be about it, where a value may follow, and whether one may follow
/// without a sign: `Okta` `API` `token …`.
pub(crate) fn words(text: &[u8], end: usize) -> impl Iterator<Item = (usize, bool)> {
    const MOST: usize = 5;
    let possessive = text[end..].starts_with(b"'s ");
    let mut at = end + if possessive { 2 } else { 0 };
    let next = move || {
        let rest = &text[at..text.len().min(at + LONGEST_WORD + 8)];
        let length = rest
            .strip_prefix(b" ")?
            .iter()
            .take_while(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_'))
            .count();
        let word = &rest[1..=length];
        if !(1..=LONGEST_WORD).contains(&length) || matches!(word, b"is" | b"was") {
            return None;
        }
        at += 1 + length;
        let noun = word.rsplit(|byte| matches!(byte, b'-' | b'_')).next().is_some_and(names::is_noun);
        Some((at, noun))
    };
    std::iter::from_fn(next).take(MOST).filter(|(at, noun)| {
        let sign = text[*at..].strip_prefix(b" ").unwrap_or(&text[*at..]);
        let signs: [&[u8]; 4] = [b":", b"=", b"is ", b"was "];
        (*noun && text.get(*at) == Some(&b' ')) || signs.iter().any(|known| sign.starts_with(known))
    })
}

fn is_of_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'\'' | b'-' | b'_' | b'.' | b'/')
}

/// The word at `at`, without what ends a sentence.
fn value(text: &[u8], at: usize) -> Option<Value> {
    const LONGEST: usize = 256;
    let rest = &text[at.min(text.len())..text.len().min(at + LONGEST)];
    let quote = rest.first().copied().filter(|byte| matches!(byte, b'`' | b'"' | b'\'' | b'*'));
    let start = usize::from(quote.is_some());
    let ends = |byte: &u8| byte.is_ascii_whitespace() || Some(*byte) == quote || matches!(byte, b'"' | b'`' | b'\\');
    let mut length = rest[start..].iter().position(ends).unwrap_or(rest.len() - start);
    while length > 0 && matches!(rest[start + length - 1], b'.' | b',' | b';' | b':' | b')' | b'\'') {
        length -= 1;
    }
    let place = at + start..at + start + length;
    (length >= 8).then_some(Value { place, style: Style::Bare })
}

/// Whether what a sentence tells is a credential, and no word of it.
pub(crate) fn is_credential(value: &[u8], meaning: Meaning) -> bool {
    is_secret(value, Style::Bare) || (meaning == Meaning::Password && is_password(value))
}

fn is_password(value: &[u8]) -> bool {
    let has = |class: fn(&u8) -> bool| value.iter().any(class);
    let technical =
        |name: &&str| value.get(..name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    if !(8..=64).contains(&value.len())
        || !has(u8::is_ascii_digit)
        || !has(u8::is_ascii_alphabetic)
        || !value.iter().all(u8::is_ascii_graphic)
        || has(|byte| {
            matches!(byte, b'/' | b'\\' | b'<' | b'>' | b'(' | b')' | b'{' | b'}' | b'[' | b']' | b'|' | b':')
        })
        || (value.contains(&b'@') && value.contains(&b'.'))
        || TECHNICAL.iter().any(technical)
        || is_written_password(value)
        || is_hash(value)
        || is_reference(value, Style::Quoted)
    {
        return false;
    }
    let odd =
        |byte: &u8| matches!(byte, b'!' | b'#' | b'@' | b'%' | b'^' | b'*' | b'+' | b'~' | b'$' | b'&' | b'=' | b'?');
    let inside = &value[1..value.len() - 1];
    let chosen = (value.len() - of_words(value)) * 2 >= value.len();
    inside.iter().any(odd)
        || (value.iter().any(odd) && chosen)
        || (chosen && value.len() >= 9 && class_changes(value) >= 4 && has(u8::is_ascii_uppercase))
        || (value.len() >= 12 && is_random(value))
}

#[cfg(test)]
mod tests {
    use crate::{Options, Scanner};

    #[test]
    fn what_sentences_tell_is_told_from_what_they_are_about() {
        let scanner = Scanner::new(&Options::default());
        let secret = ["kT4pQ8sLw0", "xV7nB3mZ9r", "C5hD1jF6gY2a"].concat();
        let password = ["hunter", "2!x"].concat();
        let words = ["Gr8#Horse", "-Staple"].concat();
        let random = ["kX9mP2", "vLq8Zt"].concat();
        for (text, told) in [
            ("the db password is {}", &password),
            ("hi, the password for prod: {}.", &password),
            ("Password for the new staging server is `{}`, keep it", &words),
            ("the root password was {} until today", &random),
            ("my password is now {}", &password),
            ("wifi password? {}", &password),
            ("use token {} to log in", &secret),
            ("the token for the API is {}", &secret),
            ("the client secret of our app: {}", &secret),
            ("log in with the API key {}, please", &secret),
        ] {
            let text = text.replace("{}", told);
            for body in [text.clone(), serde_json::json!({"messages": [{"content": text}]}).to_string()] {
                let found: Vec<String> =
                    scanner.scan(body.as_bytes()).iter().map(|found| found.value.expose().to_owned()).collect();
                assert_eq!(found, [told.as_str()], "{body}");
            }
        }
        for text in [
            "the password is required",
            "The password for the account is required and has 8-16 characters",
            "the password is case-sensitive2",
            "password is base64-encoded, the token is sha256-hashed",
            "Your password is at least 12 characters, 1 of them a digit!",
            "the password was changed on 2026-11-27T12:00:01Z",
            "the token of the session is invalidated in 5minutes",
            "the token for page 2 is returned by list_pages_v2(cursor)",
            "the key is user:1234:profile, the secret of success is work",
            "password for ann@acme1.com is reset",
            "the password is Passw0rd!",
            "the password is <your-password-1>",
            "the password is in secrets/db1.env",
            "the token is read from ${CI_JOB_TOKEN2}",
            "the secret is stored at secret/data/app-v2",
            "the access token for v2.1.0-beta.3 is deprecated",
            "the password is Win32-specific",
            "Next page token: eav1OzQB0OM8rLdGXOEsyQWSG",
            "token 9fceb02d-0ae5-498e-95dc-970b74767f19",
        ] {
            let found = scanner.scan(text.as_bytes());
            assert!(found.iter().all(|found| !found.rule.acts), "{text}: {found:?}");
        }
    }
}
