//! Files of which each line has a user and a password: `.pgpass`, `sasl_passwd`, what `chpasswd` reads.

use super::reader::{Reader, Reads};
use crate::urls;

const ID: &str = "password-line";

pub(super) const READERS: &[Reader] = &[
    Reader {
        id: ID,
        anchors: &[(":5432:", false), (":5433:", false), (":6432:", false)],
        known_form: false,
        read: pgpass,
    },
    Reader {
        id: ID,
        anchors: &[("]:587 ", false), ("]:465 ", false), ("]:25 ", false)],
        known_form: false,
        read: sasl,
    },
    Reader { id: ID, anchors: &[("chpasswd", false)], known_form: false, read: chpasswd },
];

/// The rest of the line, as far as it is read.
fn line<'t>(reads: &Reads<'t>) -> &'t [u8] {
    const LONGEST: usize = 200;
    let rest = reads.after(LONGEST);
    let ends = |byte: &u8| matches!(byte, b'\n' | b'\r' | b'\\' | b'"');
    &rest[..rest.iter().position(ends).unwrap_or(rest.len())]
}

fn tell(reads: &mut Reads<'_>, start: usize, password: &[u8]) {
    if password.len() >= 6 && password.iter().all(u8::is_ascii_graphic) && urls::is_chosen(password) {
        reads.found(ID, start..start + password.len());
    }
}

/// `host:5432:database:user:password`
fn pgpass(reads: &mut Reads<'_>) {
    let rest = line(reads);
    reads.until = reads.end + rest.len();
    let of_host = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'*' | b'/');
    let host = reads.before(64).iter().rev().take_while(|byte| of_host(byte)).count();
    let mut colons = memchr::memchr_iter(b':', rest);
    let (Some(first), Some(second)) = (colons.next(), colons.next()) else { return };
    if host > 0 && first > 0 && second > first + 1 && rest[..second].iter().all(|byte| *byte == b':' || of_host(byte)) {
        tell(reads, reads.end + second + 1, &rest[second + 1..]);
    }
}

/// `[smtp.acme.com]:587 user:password`
fn sasl(reads: &mut Reads<'_>) {
    let rest = line(reads);
    reads.until = reads.end + rest.len();
    let space = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let Some(colon) = memchr::memchr(b':', rest).filter(|colon| *colon > space) else { return };
    tell(reads, reads.end + colon + 1, rest[colon + 1..].trim_ascii_end());
}

/// `echo "user:password" | chpasswd`, and the list of users behind `chpasswd:`
fn chpasswd(reads: &mut Reads<'_>) {
    const SIZE: usize = 300;
    const USERS: usize = 8;
    let before = reads.before(SIZE);
    let from = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let (text, start) = match reads.text.get(reads.end) {
        Some(b':') => (reads.after(SIZE), reads.end),
        _ => (&before[from..], reads.start - (before.len() - from)),
    };
    reads.until = reads.end + SIZE / 4;
    let mut at = 0;
    let words = text.split(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'|' | b'\\'));
    let mut found = Vec::new();
    for word in words {
        let place = start + at;
        at += word.len() + 1;
        let of_user = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let Some(colon) = memchr::memchr(b':', word).filter(|colon| *colon > 0 && word[..*colon].iter().all(of_user))
        else {
            continue;
        };
        found.push((place + colon + 1, &word[colon + 1..]));
    }
    for (start, password) in found.into_iter().take(USERS) {
        tell(reads, start, password);
    }
}
