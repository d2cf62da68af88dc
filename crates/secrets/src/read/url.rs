//! Passwords in URLs and in connection strings.

use super::reader::{Reader, Reads};
use crate::urls;

pub(super) const READERS: &[Reader] = &[
    Reader { id: "url-with-password", anchors: &[("://", false)], known_form: true, read: url },
    Reader { id: "otpauth-url", anchors: &[("otpauth://", true)], known_form: true, read: otpauth },
    Reader {
        id: "connection-string-password",
        anchors: &[("password=", true), ("pwd=", true), ("password =", true)],
        known_form: false,
        read: connection_string,
    },
    Reader { id: "azure-sas-token", anchors: &[("sig=", false)], known_form: true, read: shared_access },
];

/// Schemes that have a rule of their own.
const SCHEMES: [(&str, &str); 12] = [
    ("postgres", "postgres-url-with-password"),
    ("mysql", "mysql-url-with-password"),
    ("mariadb", "mysql-url-with-password"),
    ("mongodb", "mongodb-srv-url"),
    ("rediss", "redis-url-with-auth"),
    ("redis", "redis-url-with-auth"),
    ("valkey", "redis-url-with-auth"),
    ("amqp", "amqp-url-with-password"),
    ("mqtt", "amqp-url-with-password"),
    ("nats", "amqp-url-with-password"),
    ("smtp", "mail-password"),
    ("imap", "mail-password"),
];

fn url(reads: &mut Reads<'_>) {
    const SCHEME: usize = 24;
    const REST: usize = 400;
    let before = reads.before(SCHEME);
    let of_scheme = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let length = before.iter().rev().take_while(of_scheme).count();
    let scheme = before[before.len() - length..].to_ascii_lowercase();
    let rest = reads.after(REST);
    let of_user = |byte: &&u8| {
        !byte.is_ascii_whitespace() && !matches!(byte, b':' | b'@' | b'/' | b'"' | b'\'' | b'<' | b'`' | b'\\')
    };
    let user = rest.iter().take(128).take_while(of_user).count();
    if length == 0 || rest.get(user) != Some(&b':') {
        return;
    }
    let more = &rest[user + 1..];
    let end = more
        .iter()
        .position(|&byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'`' | b'<'))
        .unwrap_or(more.len());
    let more = &more[..end];
    reads.until = reads.end + user + 1 + end;
    if !more.contains(&b'@') {
        return;
    }
    let start = reads.end + user + 1;
    if let Some(length) = urls::real_password(&rest[..user], more) {
        let id = SCHEMES
            .iter()
            .find(|(name, _)| scheme.starts_with(name.as_bytes()))
            .map_or("url-with-password", |(_, id)| *id);
        reads.found(id, start..start + length);
    }
}

fn otpauth(reads: &mut Reads<'_>) {
    let rest = reads.after(300);
    reads.until = reads.end + rest.len();
    if let Some(at) = memchr::memmem::find(rest, b"secret=") {
        let start = at + 7;
        let length = rest[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'=').count();
        if length >= 16 && crate::words::random_part(&rest[start..start + length]).len() >= 12 {
            reads.found("otpauth-url", reads.end + start..reads.end + start + length);
        }
    }
}

/// `Server=…;User Id=…;Password=…;`, `host=… user=… password=…`
fn connection_string(reads: &mut Reads<'_>) {
    const NEAR: usize = 200;
    const HOSTS: [&str; 8] =
        ["server=", "data source=", "host=", "hostaddr=", "endpoint=", "address=", "jdbc:", "addr="];
    const USERS: [&str; 5] = ["user id=", "uid=", "user=", "username=", "userid="];
    let line = |text: &[u8], last: bool| {
        let mut lines = text.split(|&byte| byte == b'\n');
        (if last { lines.next_back() } else { lines.next() }).unwrap_or_default().to_ascii_lowercase()
    };
    let rest = reads.after(NEAR);
    reads.until = reads.end + NEAR;
    let around = [line(reads.before(NEAR), true), line(rest, false)].concat();
    let has = |words: &[&str]| words.iter().any(|word| memchr::memmem::find(&around, word.as_bytes()).is_some());
    if !(has(&HOSTS) && has(&USERS)) {
        return;
    }
    let space = rest.iter().take_while(|byte| **byte == b' ').count();
    let quote = usize::from(rest.get(space).is_some_and(|byte| matches!(byte, b'\'' | b'{')));
    let start = space + quote;
    let ends = |byte: &u8| {
        byte.is_ascii_whitespace() || matches!(byte, b';' | b'"' | b'\'' | b'}' | b')' | b'&' | b'<' | b'\\' | b'`')
    };
    let length = rest[start..].iter().position(ends).unwrap_or(rest.len() - start);
    let password = &rest[start..start + length];
    if length >= 6 && urls::is_chosen(password) {
        reads.found("connection-string-password", reads.end + start..reads.end + start + length);
    }
}

/// The signature in a URL of Azure Storage: `sv=…&se=…&sig=…`.
fn shared_access(reads: &mut Reads<'_>) {
    let before = reads.before(300);
    let rest = reads.after(100);
    reads.until = reads.end + rest.len();
    let length = rest
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'+' | b'/' | b'='))
        .count();
    let signed =
        [b"sv=".as_slice(), b"SharedAccessSignature "].iter().any(|name| memchr::memmem::find(before, name).is_some());
    if signed && (43..=60).contains(&length) && crate::value::is_random(&rest[..length]) {
        reads.found("azure-sas-token", reads.end..reads.end + length);
    }
}
