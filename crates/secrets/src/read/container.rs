//! Credentials in the files that programs keep them in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::reader::{Reader, Reads};
use crate::assignment::Style;
use crate::{urls, value};

pub(super) const READERS: &[Reader] = &[
    Reader {
        id: "docker-auth",
        anchors: &[("\"auth\"", false), ("\\\"auth\\\"", false), ("_auth", false)],
        known_form: true,
        read: docker,
    },
    Reader { id: "kubernetes-secret", anchors: &[("kind: Secret", false)], known_form: true, read: kubernetes },
    Reader {
        id: "password-hash",
        anchors: &[
            (":$2", false),
            (":$6$", false),
            (":$5$", false),
            (":$1$", false),
            (":$y$", false),
            (":$apr1$", false),
            (":{SHA}", false),
            (":$argon2", false),
        ],
        known_form: true,
        read: hashes,
    },
    Reader {
        id: "wordpress-salt",
        anchors: &[
            ("_KEY', ", false),
            ("_SALT', ", false),
            ("_KEY',  ", false),
            ("_KEY\", ", false),
            ("_SALT\", ", false),
        ],
        known_form: false,
        read: wordpress,
    },
];

/// `"auth": "dXNlcjpwYXNz…"`, `_auth = …` of npm.
fn docker(reads: &mut Reads<'_>) {
    let rest = reads.after(600);
    reads.until = reads.end + 64;
    let start = rest.iter().take(10).take_while(|byte| matches!(byte, b' ' | b':' | b'=' | b'"' | b'\\')).count();
    let length = rest[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
        .count();
    if start > 0 && length >= 12 && super::header::is_user_and_password(&rest[start..start + length]) {
        reads.found("docker-auth", reads.end + start..reads.end + start + length);
    }
}

/// What is under `data:` and `stringData:` of a Secret.
fn kubernetes(reads: &mut Reads<'_>) {
    const SIZE: usize = 8 * 1024;
    let rest = reads.after(SIZE);
    let end = memchr::memmem::find(rest, b"\n---").unwrap_or(rest.len());
    reads.until = reads.end + end;
    let (mut encoded, mut inside) = (true, false);
    for line in rest[..end].split(|&byte| byte == b'\n') {
        let indented = line.first().is_some_and(u8::is_ascii_whitespace);
        if !indented {
            inside = line.starts_with(b"data:") || line.starts_with(b"stringData:");
            encoded = line.starts_with(b"data:");
            continue;
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':').filter(|_| inside) else { continue };
        let given = line[colon + 1..].trim_ascii();
        let given = given.strip_prefix(b"\"").and_then(|given| given.strip_suffix(b"\"")).unwrap_or(given);
        if given.len() < 8 {
            continue;
        }
        let offset = given.as_ptr().addr() - rest.as_ptr().addr();
        let secret = if encoded {
            STANDARD.decode(given).is_ok_and(|plain| {
                let shown = plain.iter().all(|byte| (b' '..=b'~').contains(byte) || byte.is_ascii_whitespace());
                let plain = plain.trim_ascii();
                shown
                    && plain.len() >= 8
                    && urls::is_chosen(plain)
                    && (value::is_password(plain, Style::Quoted) || value::is_secret(plain, Style::Quoted))
            })
        } else {
            value::is_password(given, Style::Quoted)
        };
        if secret {
            reads.found("kubernetes-secret", reads.end + offset..reads.end + offset + given.len());
        }
    }
}

/// `user:$2y$10$…` of `.htpasswd` and of `/etc/shadow`.
fn hashes(reads: &mut Reads<'_>) {
    let before = reads.before(64);
    let user = before
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        .count();
    let line_start =
        user > 0 && (user == before.len() && reads.start == user || before[..before.len() - user].ends_with(b"\n"));
    let rest = &reads.text[reads.start + 1..reads.text.len().min(reads.start + 300)];
    let length = rest
        .iter()
        .take_while(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'$' | b'.' | b'/' | b'=' | b',' | b'{' | b'}' | b'+')
        })
        .count();
    let after = rest.get(length);
    if line_start
        && length >= 28
        && after.is_none_or(|byte| matches!(byte, b'\n' | b':' | b'\r'))
        && value::is_random(&rest[4..length])
    {
        reads.found("password-hash", reads.start + 1..reads.start + 1 + length);
    }
}

/// `define('AUTH_KEY', '…')` of `wp-config.php`: 64 characters of all kinds, spaces too.
fn wordpress(reads: &mut Reads<'_>) {
    let rest = reads.after(200);
    let start = rest.iter().take_while(|byte| **byte == b' ').count();
    let Some(&quote @ (b'\'' | b'"')) = rest.get(start) else { return };
    let Some(length) = rest[start + 1..].iter().position(|&byte| byte == quote || byte == b'\n') else { return };
    let salt = &rest[start + 1..start + 1 + length];
    let marks = salt.iter().filter(|byte| byte.is_ascii_punctuation()).count();
    if (32..=128).contains(&length) && marks >= 6 && crate::letters::of_words(salt) * 3 < length {
        reads.found("wordpress-salt", reads.end + start + 1..reads.end + start + 1 + length);
    }
}
