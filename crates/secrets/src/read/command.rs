//! Passwords on command lines: `curl -u user:password`, `mysql -ppassword`, `sshpass -p password`, `docker login -p …`.

use super::reader::{Reader, Reads};
use crate::assignment::Style;
use crate::{urls, value};

const ID: &str = "command-line-password";
/// So near to each other only a few are looked at.
const NEAR: usize = 64;

pub(super) const READERS: &[Reader] = &[
    Reader { id: ID, anchors: &[(" --user ", false), (" -u", false)], known_form: false, read: user },
    Reader { id: ID, anchors: &[(" -p", false)], known_form: false, read: short },
    Reader { id: ID, anchors: &[(" -a ", false)], known_form: false, read: redis },
    Reader { id: ID, anchors: &[("identified by ", true)], known_form: false, read: identified },
    Reader {
        id: "generic-password-field",
        anchors: &[("basicauth(", true), ("basic_auth(", true), ("auth=(", false), ("getconnection(", true)],
        known_form: false,
        read: arguments,
    },
    Reader { id: "netrc-password", anchors: &[("password ", true)], known_form: false, read: netrc },
];

/// The command this is an option of, in lower case.
fn command(before: &[u8]) -> Vec<u8> {
    let start = before.iter().rposition(|byte| matches!(byte, b'\n' | b'|' | b';' | b'&')).map_or(0, |at| at + 1);
    before[start..].to_ascii_lowercase()
}

fn has_word(line: &[u8], words: &[&str]) -> bool {
    let words_of_line = line.split(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_'));
    words_of_line.into_iter().any(|word| words.iter().any(|known| known.as_bytes() == word))
}

fn argument<'t>(reads: &Reads<'t>) -> (usize, &'t [u8]) {
    let rest = reads.after(200);
    let opened = rest.iter().take_while(|byte| matches!(byte, b' ' | b'=')).count().min(2);
    let rest = &rest[opened..];
    let quote = rest.first().copied().filter(|byte| matches!(byte, b'"' | b'\''));
    let skipped = opened + usize::from(quote.is_some());
    let rest = &rest[usize::from(quote.is_some())..];
    let ends = |byte: &u8| {
        quote.map_or_else(
            || byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'`' | b'\\'),
            |quote| *byte == quote || *byte == b'\n',
        )
    };
    let length = rest.iter().position(ends).unwrap_or(rest.len());
    (reads.end + skipped, &rest[..length])
}

fn user(reads: &mut Reads<'_>) {
    reads.until = reads.end + NEAR;
    if !has_word(&command(reads.before(200)), &["curl", "wget", "http", "https", "xh", "hurl", "ab", "wrk"]) {
        return;
    }
    let (start, argument) = argument(reads);
    let Some(colon) = argument.iter().position(|&byte| byte == b':') else { return };
    let password = &argument[colon + 1..];
    let user = &argument[..colon];
    if password.len() >= 5
        && user.iter().all(u8::is_ascii_graphic)
        && urls::is_chosen(password)
        && !password.eq_ignore_ascii_case(user)
    {
        reads.found(ID, start + colon + 1..start + argument.len());
    }
}

fn short(reads: &mut Reads<'_>) {
    reads.until = reads.end + NEAR;
    let line = command(reads.before(200));
    let attached = reads.text.get(reads.end).is_some_and(|&byte| byte != b' ' && byte != b'=');
    let mysql = has_word(&line, &["mysql", "mysqldump", "mysqladmin", "mariadb", "mysqlimport", "mariadb-dump"]);
    let spaced = has_word(
        &line,
        &[
            "sshpass",
            "login",
            "ldapsearch",
            "sqlcmd",
            "mongo",
            "mongosh",
            "mongodump",
            "redis-cli",
            "htpasswd",
            "snowsql",
            "net",
        ],
    );
    if !(if attached { mysql || has_word(&line, &["sshpass", "7z"]) } else { spaced }) {
        return;
    }
    let (start, password) = argument(reads);
    if password.len() >= 5 && !password.starts_with(b"-") && urls::is_chosen(password) {
        reads.found(ID, start..start + password.len());
    }
}

/// `redis-cli -a …`
fn redis(reads: &mut Reads<'_>) {
    reads.until = reads.end + NEAR;
    if !has_word(&command(reads.before(200)), &["redis-cli", "valkey-cli"]) {
        return;
    }
    let (start, password) = argument(reads);
    if password.len() >= 5 && urls::is_chosen(password) {
        reads.found(ID, start..start + password.len());
    }
}

/// `IDENTIFIED BY '…'` of SQL.
fn identified(reads: &mut Reads<'_>) {
    reads.until = reads.end + NEAR;
    let rest = reads.after(NEAR);
    let Some(&quote @ (b'\'' | b'"')) = rest.first() else { return };
    let Some(length) = rest[1..].iter().position(|&byte| byte == quote) else { return };
    if value::is_password(&rest[1..=length], Style::Quoted) {
        reads.found(ID, reads.end + 1..reads.end + 1 + length);
    }
}

/// `SetBasicAuth("user", "…")`, `auth=("user", "…")`, `getConnection(url, "user", "…")`: the last text of several.
fn arguments(reads: &mut Reads<'_>) {
    const SIZE: usize = 256;
    let rest = reads.after(SIZE);
    let end = rest.iter().position(|byte| matches!(byte, b')' | b'\n')).unwrap_or(rest.len());
    reads.until = reads.end + end.min(NEAR);
    let Some(comma) = rest[..end].iter().rposition(|&byte| byte == b',') else { return };
    let last = &rest[comma + 1..end];
    let start = comma + 1 + last.iter().take_while(|byte| **byte == b' ').count();
    let escape = usize::from(rest.get(start) == Some(&b'\\'));
    let Some(&quote @ (b'\'' | b'"')) = rest.get(start + escape) else { return };
    let start = start + escape + 1;
    let Some(length) = rest[start..end].iter().position(|&byte| byte == quote || byte == b'\\') else { return };
    if value::is_password(&rest[start..start + length], Style::Quoted) {
        reads.found("generic-password-field", reads.end + start..reads.end + start + length);
    }
}

/// `machine … login … password …`, on one line or several.
fn netrc(reads: &mut Reads<'_>) {
    reads.until = reads.end + NEAR;
    let before = reads.before(300);
    let Some(login) = memchr::memmem::rfind(before, b"login ") else { return };
    let between = before[login..].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    if between != 2
        || memchr::memmem::rfind(before, b"machine ").or_else(|| memchr::memmem::rfind(before, b"default")).is_none()
    {
        return;
    }
    let (start, password) = argument(reads);
    if password.len() >= 6 && urls::is_chosen(password) && !value::is_reference(password, Style::Setting) {
        reads.found("netrc-password", start..start + password.len());
    }
}
