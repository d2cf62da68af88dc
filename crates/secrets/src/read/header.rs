//! Credentials in the headers of requests.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::reader::{Reader, Reads};
use crate::assignment::Style;
use crate::{urls, value};

pub(super) const READERS: &[Reader] = &[
    Reader { id: "basic-auth-header", anchors: &[("basic ", true)], known_form: true, read: basic },
    Reader { id: "bearer-token", anchors: &[("bearer ", true)], known_form: false, read: bearer },
    Reader {
        id: "session-cookie",
        anchors: &[("cookie: ", true), ("cookie\": \"", true)],
        known_form: false,
        read: cookies,
    },
];

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'_' | b'-')
}

/// `user:password` behind Base64, where the password is a real one.
pub(super) fn is_user_and_password(encoded: &[u8]) -> bool {
    let encoded: Vec<u8> = encoded.iter().copied().filter(|&byte| byte != b'=').collect();
    let Ok(decoded) = STANDARD_NO_PAD.decode(&encoded).or_else(|_| URL_SAFE_NO_PAD.decode(&encoded)) else {
        return false;
    };
    let Some(colon) = decoded.iter().position(|&byte| byte == b':') else { return false };
    let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
    let shown = decoded.iter().all(|byte| (b' '..=b'~').contains(byte));
    let random = password.len() >= 16 || user.len() >= 16;
    shown
        && (password.len() >= 6 || random)
        && ((password.is_empty() && value::is_random(user))
            || (urls::is_chosen(password) && !password.eq_ignore_ascii_case(user)))
}

fn basic(reads: &mut Reads<'_>) {
    let rest = reads.after(400);
    let length = rest.iter().take_while(|byte| is_base64(**byte)).count();
    let padding = rest[length..].iter().take(2).take_while(|byte| **byte == b'=').count();
    if length >= 10 && is_user_and_password(&rest[..length]) {
        reads.until = reads.end + length;
        reads.found("basic-auth-header", reads.end..reads.end + length + padding);
    }
}

fn bearer(reads: &mut Reads<'_>) {
    const LONGEST: usize = 16 * 1024;
    /// So much of it tells whether it is one.
    const JUDGED: usize = 512;
    let rest = reads.after(LONGEST);
    let of_token = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+' | b'/' | b'~');
    let length = rest.iter().take_while(of_token).count();
    reads.until = reads.end + length;
    if length >= 20 && !rest.starts_with(b"eyJ") && value::is_secret(&rest[..length.min(JUDGED)], Style::Quoted) {
        reads.found("bearer-token", reads.end..reads.end + length);
    }
}

/// The cookies of one header that are sessions.
fn cookies(reads: &mut Reads<'_>) {
    const SESSIONS: [&str; 14] = [
        "session",
        "sessionid",
        "session_id",
        "sid",
        "connect.sid",
        "phpsessid",
        "jsessionid",
        "asp.net_sessionid",
        "laravel_session",
        "auth",
        "auth_token",
        "token",
        "remember_token",
        "user_session",
    ];
    let rest = reads.after(2048);
    let line = rest.iter().position(|&byte| matches!(byte, b'\n' | b'"' | b'\'' | b'\\')).unwrap_or(rest.len());
    reads.until = reads.end + line;
    let mut at = 0;
    for cookie in rest[..line].split(|&byte| byte == b';') {
        let start = at;
        at += cookie.len() + 1;
        let Some(equals) = cookie.iter().position(|&byte| byte == b'=') else { continue };
        let name = cookie[..equals].trim_ascii().to_ascii_lowercase();
        let name = name.strip_prefix(b"__host-").or_else(|| name.strip_prefix(b"__secure-")).unwrap_or(&name);
        let is_session = SESSIONS.iter().any(|known| known.as_bytes() == name)
            || name.ends_with(b"session")
            || name.ends_with(b".session-token");
        let given = &cookie[equals + 1..];
        if is_session && given.len() >= 16 && value::is_random(given) {
            reads.found("session-cookie", reads.end + start + equals + 1..reads.end + start + cookie.len());
        }
    }
}
