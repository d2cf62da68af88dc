//! Whether a value under the name of a secret is one: not a word for it, not where it comes from, not a type.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::assignment::Style;
use crate::examples::{is_documented, is_publishable};
use crate::letters::of_words;
use crate::lists::Words;
use crate::measure::{class_changes, normalised_entropy};
use crate::names;
use crate::urls::is_template;
use crate::words::{is_written_password, random_part};

/// So much of a value tells whether it is random.
const JUDGED: usize = 128;

/// Beginnings of what is kept instead of a password.
const HASHES: [&str; 17] = [
    "$argon2",
    "argon2",
    "$2a$",
    "$2b$",
    "$2y$",
    "$1$",
    "$5$",
    "$6$",
    "$y$",
    "$pbkdf2",
    "pbkdf2",
    "scrypt",
    "$scrypt",
    "{SSHA",
    "sha256:",
    "sha512:",
    // What OpenSSL encrypted with a password.
    "U2FsdGVkX1",
];

/// Whether this was made by a machine, although it is shorter than nearly everything that is.
pub(crate) fn is_short_secret(value: &[u8], style: Style) -> bool {
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    (12..16).contains(&value.len())
        && style != Style::Bare
        && letters + digits >= value.len() - 1
        && digits >= 3
        && letters >= 3
        && of_words(value) == 0
        && class_changes(value) >= 5
        && random_part(value).len() >= 12
        && !is_reference(value, style)
        && !is_hash(value)
        && !is_documented(value)
}

/// Whether what Base64 hides in this was written by somebody: `bXlfcGFzc3dvcmQ=` is `my_password`.
fn is_written_behind_base64(value: &[u8]) -> bool {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'_' | b'-' | b'=');
    let says = |part: &[u8]| {
        let part: Vec<u8> = part.iter().copied().filter(|byte| *byte != b'=').collect();
        let plain = STANDARD_NO_PAD.decode(&part).or_else(|_| URL_SAFE_NO_PAD.decode(&part)).unwrap_or_default();
        plain.len() >= 9
            && plain.iter().all(|byte| (b' '..=b'~').contains(byte) || byte.is_ascii_whitespace())
            && (of_words(&plain) * 2 >= plain.len() || is_written_password(&plain))
            && !plain.contains(&b':')
    };
    value.split(|byte| !part(byte)).any(says)
}

/// How references begin.
const BEGINNINGS: [&str; 37] = [
    "projects/",
    "UUID=",
    "LABEL=",
    "$(",
    "${",
    "$ENV",
    "%(",
    "%env",
    "{{",
    "{%",
    "<%",
    "<",
    "[",
    "os.environ",
    "process.env",
    "env.",
    "env:",
    "env(",
    "ENV[",
    "getenv",
    "System.",
    "config.",
    "settings.",
    "self.",
    "this.",
    "vault:",
    "secret:",
    "secrets.",
    "arn:",
    "ref+",
    "op://",
    "ssm:",
    "file:",
    "/",
    "./",
    "~/",
    "http",
];
static REFERENCES: LazyLock<Words> = LazyLock::new(|| Words::by_first(&BEGINNINGS));

/// Whether a person or a generator would choose this as a password, and nobody would write it as an example.
pub(crate) fn is_password(value: &[u8], style: Style) -> bool {
    // What a form says in the language of whoever fills it in.
    if !value.is_ascii() || memchr::memmem::find(value, b"\\u").is_some() {
        let plain = without_other_scripts(value);
        if plain.len() < value.len() {
            return is_password(&plain, style);
        }
    }
    if value.contains(&b'%') {
        let plain = without_percents(value);
        return plain.len() < value.len() && is_password(&plain, style)
            || plain.len() == value.len() && is_chosen(value, style);
    }
    is_chosen(value, style)
}

fn is_chosen(value: &[u8], style: Style) -> bool {
    let digit = value.iter().any(u8::is_ascii_digit);
    let mixed_letters =
        value.len() >= 12 && of_words(value) == 0 && class_changes(value) * 3 >= value.len() && style != Style::Bare;
    let long_enough = digit || value.len() >= 14 || mixed_letters;
    if !(8..=128).contains(&value.len()) || !long_enough || value.starts_with(b"eyJ") {
        return false;
    }
    let written = is_written_password(value) || is_sentence(value);
    if is_reference(value, style) || is_hash(value) || is_a_name(value) || written || is_written_behind_base64(value) {
        return false;
    }
    let has = |class: fn(&u8) -> bool| usize::from(value.iter().any(class));
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let marks = value.iter().filter(|byte| !byte.is_ascii_alphanumeric()).count();
    let classes = has(u8::is_ascii_lowercase)
        + has(u8::is_ascii_uppercase)
        + has(u8::is_ascii_digit)
        + has(|byte| !byte.is_ascii_alphanumeric());
    let words = of_words(value);
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let changes = class_changes(value);
    // What is no word is what was chosen.
    let chosen = value.len() - words;
    let mixed = digits > 0 && (classes == 4 || (classes == 3 && value.len() >= 10));
    let random = chosen * 10 >= value.len() * 6
        && ((digits > 1 && letters > 1 && (value.len() >= 12 || (value.len() >= 9 && changes >= 4)))
            || (value.len() >= 14 && classes >= 2 && changes * 5 >= value.len()));
    let random_letters = classes == 1 && letters == value.len() && value.len() >= 16 && words == 0;
    let with_marks = digits > 0 && marks > 0 && value.len() >= 10 && chosen * 2 >= value.len();
    if style == Style::Bare {
        // Where the name of a variable may stand, it has to be unlike any.
        let odd = |byte: &u8| matches!(byte, b'!' | b'#' | b'@' | b'%' | b'^' | b'*' | b'+' | b'-' | b'~' | b'?');
        let unlike_names = value.iter().any(odd) || (digits > 1 && value.len() >= 12 && changes * 4 >= value.len());
        return is_secret(value, style) || (unlike_names && random && digits > 0);
    }
    letters > 0 && ((mixed && chosen >= 5) || random || random_letters || mixed_letters || with_marks)
}

/// `331 Password required for %s.`: what a program says of passwords.
fn is_sentence(value: &[u8]) -> bool {
    memchr::memchr_iter(b' ', value).count() >= 3 && of_words(value) * 2 >= value.len()
}

/// Whether this says with which key, on which day, something was signed: `ASIA…/20250101/eu-west-1/s3/aws4_request`.
fn is_scope(value: &[u8]) -> bool {
    const ID: usize = 20;
    let Some((id, rest)) = value.split_at_checked(ID) else { return false };
    let day = rest.strip_prefix(b"/").or_else(|| rest.strip_prefix(b"%2F")).and_then(|rest| rest.get(..8));
    (id.starts_with(b"AKIA") || id.starts_with(b"ASIA")) && day.is_some_and(|day| day.iter().all(u8::is_ascii_digit))
}

/// Whether this was made by a machine.
pub(crate) fn is_secret(value: &[u8], style: Style) -> bool {
    if !value.is_ascii() || memchr::memmem::find(value, b"\\u").is_some() {
        let plain = without_other_scripts(value);
        if plain.len() < value.len() {
            return is_secret(&plain, style);
        }
    }
    if !(16..=512).contains(&value.len()) || is_reference(value, style) || is_hash(value) || is_scope(value) {
        return false;
    }
    if value.starts_with(b"eyJ")
        || memchr::memmem::find(value, b".eyJ").is_some()
        || is_a_name(value)
        || is_publishable(value)
        || is_documented(value)
        || is_written_behind_base64(value)
        || !value.iter().all(|byte| (b'!'..=b'~').contains(byte))
    {
        return false;
    }
    // A path, unless a part of it is a key.
    let mut segments = value.split(|&byte| byte == b'/');
    if memchr::memchr_iter(b'/', value).count() >= 2 && value.len() < 64 {
        return segments.any(|segment| segment.len() >= 16 && is_random(segment));
    }
    is_random(value)
}

/// Letters and digits that alternate as they do in what is generated and do not in words.
pub(crate) fn is_random(value: &[u8]) -> bool {
    let value = &value[..value.len().min(JUDGED)];
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let upper = value.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    let words = of_words(value);
    if random_part(value).len() < 12.max(value.len() / 2) || is_uuid(value) {
        return false;
    }
    let changes = class_changes(value);
    let alternates = digits >= 2 && letters >= 4 && changes * 100 >= value.len() * 18;
    let hex = value.len() >= 24 && digits >= 4 && letters >= 4 && value.iter().all(u8::is_ascii_hexdigit);
    let cases = value.len() >= 20 && upper >= 3 && letters - upper >= 3 && changes * 100 >= value.len() * 28;
    let one_case =
        value.len() >= 20 && words == 0 && letters * 10 >= value.len() * 9 && (upper == 0 || upper == letters);
    normalised_entropy(value) >= 0.6 && words * 100 <= value.len() * 40 && (alternates || hex || cases || one_case)
}

/// `value` without what is no ASCII, also where it is written as `\u00e4`.
fn without_other_scripts(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        let slashes = value[at..].iter().take_while(|&&byte| byte == b'\\').count();
        let code = value[at + slashes..].strip_prefix(b"u").and_then(|rest| rest.get(..4)).filter(|_| slashes > 0);
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok()).filter(|digits| digits.is_ascii());
        if code.and_then(|digits| u32::from_str_radix(digits, 16).ok()).is_some_and(|code| code >= 0x80) {
            at += slashes + 5;
            continue;
        }
        plain.extend(Some(byte).filter(u8::is_ascii));
        at += 1;
    }
    plain
}

/// `value` with what URLs write as `%XX` as it is meant; what is no ASCII is left out.
fn without_percents(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        let digits = value.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(meant) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| byte == b'%') {
            plain.extend(Some(meant).filter(u8::is_ascii));
            at += 3;
        } else {
            plain.push(byte);
            at += 1;
        }
    }
    plain
}

/// Whether this is itself the name of a secret: `caching_sha2_password`.
fn is_a_name(value: &[u8]) -> bool {
    value.len() <= 64
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        && of_words(value) * 2 >= value.len()
        && names::meaning(value).is_some()
}

pub(crate) fn is_hash(value: &[u8]) -> bool {
    let digits = |rest: &[u8]| rest.len() == 40 && rest.iter().all(u8::is_ascii_hexdigit);
    HASHES.iter().any(|beginning| value.starts_with(beginning.as_bytes()))
        // What MySQL keeps of a password, and the address of an account in a ledger everybody reads.
        || value.strip_prefix(b"*").is_some_and(digits)
        || value.strip_prefix(b"0x").is_some_and(digits)
}

/// `utf8_to_utf16(v)`, `kms.get_key(`: an identifier and what it is called with.
fn is_call(value: &[u8]) -> bool {
    let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let name = value.iter().take_while(|byte| of_name(byte)).count();
    let value = value.strip_suffix(b",").unwrap_or(value);
    name >= 2
        && value[..name].iter().any(u8::is_ascii_alphabetic)
        && value.get(name) == Some(&b'(')
        && matches!(value.last(), Some(b'(' | b')'))
}

/// `0x8004004A_u32`
fn is_number(value: &[u8]) -> bool {
    let Some(digits) = value.strip_prefix(b"0x") else { return false };
    let length = digits.iter().take_while(|byte| byte.is_ascii_hexdigit() || **byte == b'_').count();
    length <= 20 && digits[length..].iter().all(u8::is_ascii_alphanumeric)
}

/// `123e4567-e89b-…`
pub(crate) fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value
            .iter()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { *byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// Whether this says where a value comes from, or of which kind it is: a template, a variable, a call, a path, a URL.
pub(crate) fn is_reference(value: &[u8], style: Style) -> bool {
    let begins = REFERENCES.begins(value);
    let code = [b'(', b')', b'{', b'}'].iter().filter(|mark| value.contains(mark)).count() >= 2
        && of_words(value) * 4 >= value.len()
        || value.windows(2).any(|pair| matches!(pair, b"::" | b"->" | b"${" | b"{{" | b"()"))
        || memchr::memmem::find(value, b"://").is_some();
    let name = value.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'0'..=b'9'))
        && value.contains(&b'_')
        && of_words(value) * 2 >= value.len();
    let dotted = style != Style::Quoted && value.contains(&b'.') && of_words(value) * 2 >= value.len();
    let file = [".pem", ".key", ".json", ".txt", ".yaml", ".yml", ".conf", ".crt", ".env", ".html", ".js", ".py"]
        .iter()
        .any(|ending| value.ends_with(ending.as_bytes()))
        && value.contains(&b'.');
    let indexed = style != Style::Quoted && value.contains(&b'[');
    let member = style == Style::Bare && value.contains(&b'.');
    let number = style != Style::Quoted && is_number(value);
    let called = style != Style::Quoted && is_call(value);
    // What is cut off.
    let cut = value.ends_with(b"...") || value.ends_with("…".as_bytes());
    begins || called || cut || number || indexed || member || code || name || dotted || file || is_template(value)
}
