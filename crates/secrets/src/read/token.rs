//! JSON Web Tokens, and AWS secret keys.

use super::reader::{Reader, Reads};
use crate::assignment;
use crate::boundary::begins_token;
use crate::jwt::is_harmless_token;
use crate::names;
use crate::words::random_part;

pub(super) const READERS: &[Reader] = &[
    Reader { id: "jwt-raw", anchors: &[("eyJ", false)], known_form: true, read: web_token },
    Reader {
        id: "aws-secret-key",
        anchors: &[
            ("secret_access_key", true),
            ("secretaccesskey", true),
            ("aws_secret", true),
            ("secret_key", true),
            ("secretkey", true),
            ("secret-access-key", true),
        ],
        known_form: false,
        read: aws_secret,
    },
];

fn web_token(reads: &mut Reads<'_>) {
    const LONGEST: usize = 16 * 1024;
    let before = reads.before(12);
    if !begins_token(before) {
        return;
    }
    let text = &reads.text[reads.start..reads.text.len().min(reads.start + LONGEST)];
    let of_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut at = 0;
    let mut parts = [0; 3];
    for (index, part) in parts.iter_mut().enumerate() {
        *part = text[at..].iter().take_while(of_part).count();
        at += *part;
        if index < 2 {
            if text.get(at) != Some(&b'.') || (index == 0 && !text[at + 1..].starts_with(b"eyJ")) {
                reads.until = reads.start + at;
                return;
            }
            at += 1;
        }
    }
    reads.until = reads.start + at;
    let [header, claims, signature] = parts;
    if header >= 11 && claims >= 11 && signature >= 16 && !is_harmless_token(&text[..at]) {
        let bearer = before.len() >= 7 && before[before.len() - 7..].eq_ignore_ascii_case(b"bearer ");
        reads.found(if bearer { "bearer-token-jwt" } else { "jwt-raw" }, reads.start..reads.start + at);
    }
}

fn aws_secret(reads: &mut Reads<'_>) {
    let name = names::around(reads.text, reads.start..reads.end, 0);
    let Some(value) = assignment::given(reads.text, &name, false) else { return };
    reads.until = value.place.end;
    let secret = &reads.text[value.place.clone()];
    let known =
        secret.len() == 40 && secret.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+'));
    if known
        && !secret.iter().all(u8::is_ascii_hexdigit)
        && random_part(secret).len() == secret.len()
        && crate::value::is_random(secret)
    {
        reads.found("aws-secret-key", value.place);
    }
}
