//! Private keys, by the container they are in.

use super::reader::{Reader, Reads};
use crate::letters::of_words;
use crate::{pem, value};

pub(super) const READERS: &[Reader] = &[
    Reader { id: "pem-private-key", anchors: &[("-----BEGIN ", false)], known_form: true, read: armoured },
    Reader { id: "putty-private-key", anchors: &[("Private-Lines: ", false)], known_form: true, read: putty },
    Reader {
        id: "age-secret-key",
        anchors: &[("AGE-SECRET-KEY-", false), ("age-secret-key-", false)],
        known_form: true,
        read: age,
    },
    Reader {
        id: "web-key-private",
        anchors: &[("\"kty\"", false), ("\\\"kty\\\"", false)],
        known_form: true,
        read: web_key,
    },
];

fn armoured(reads: &mut Reads<'_>) {
    const LABEL: usize = 48;
    let rest = reads.after(LABEL);
    let Some(end) = memchr::memmem::find(rest, b"-----") else { return };
    let label = &rest[..end];
    let id = match label {
        b"RSA PRIVATE KEY" => "pem-private-key-rsa",
        b"EC PRIVATE KEY" => "pem-private-key-ec",
        label if label.ends_with(b"PRIVATE KEY") || label.ends_with(b"PRIVATE KEY BLOCK") => "pem-private-key",
        _ => return,
    };
    let window = &reads.text[reads.start..reads.text.len().min(reads.start + pem::LONGEST)];
    reads.until = reads.end + end;
    if let Some(length) = pem::private_key(window) {
        reads.until = reads.start + length;
        reads.found(id, reads.start..reads.start + length);
    }
}

fn putty(reads: &mut Reads<'_>) {
    let rest = reads.after(4096);
    let lines: usize =
        String::from_utf8_lossy(&rest[..rest.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count()])
            .parse()
            .unwrap_or(0);
    let mut at = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let first = at;
    reads.until = reads.end + rest.len();
    let mut key = 0;
    for _ in 0..lines.min(64) {
        at += rest[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace() || matches!(byte, b'\\' | b'n' | b'r'))
            .take(4)
            .count();
        let length = rest[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
            .count();
        key += length;
        at += length;
    }
    if key >= 40 {
        let start = first + rest[first..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        reads.found("putty-private-key", reads.end + start..reads.end + at);
    }
}

fn age(reads: &mut Reads<'_>) {
    let rest = reads.after(80);
    let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    if length >= 58 && crate::words::random_part(&rest[..length]).len() >= 50 {
        reads.found("age-secret-key", reads.start..reads.end + length);
    }
}

/// A JSON Web Key with the part `d`, or `k` of a symmetric one.
fn web_key(reads: &mut Reads<'_>) {
    const SIZE: usize = 3000;
    let from = reads.start.saturating_sub(SIZE);
    let before = &reads.text[from..reads.start];
    let open = before.iter().rposition(|&byte| byte == b'{').unwrap_or(0);
    let object = &reads.text[from + open..reads.text.len().min(reads.start + SIZE)];
    let object = &object[..object.iter().position(|&byte| byte == b'}').unwrap_or(object.len())];
    reads.until = from + open + object.len();
    let symmetric = memchr::memmem::find(object, b"oct").is_some();
    for name in if symmetric { [b"\"k\"".as_slice(), b"\\\"k\\\""] } else { [b"\"d\"".as_slice(), b"\\\"d\\\""] } {
        let Some(at) = memchr::memmem::find(object, name) else { continue };
        let mut start = at + name.len();
        start += object[start..].iter().take(8).take_while(|byte| matches!(byte, b' ' | b':' | b'"' | b'\\')).count();
        let length = object[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            .count();
        let key = &object[start..start + length];
        if length >= 40 && of_words(key) * 2 < length && value::is_random(key) && !crate::examples::is_documented(key) {
            let start = from + open + start;
            reads.found("web-key-private", start..start + length);
        }
    }
}
