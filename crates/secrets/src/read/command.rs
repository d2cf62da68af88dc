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
    Reader { id: ID, anchors: &[(" -P ", false), (" -w ", false), (" /p:", true)], known_form: false, read: capital },
    Reader { id: ID, anchors: &[(" -U ", false)], known_form: false, read: percent },
    Reader { id: ID, anchors: &[("pass:", true)], known_form: false, read: pass },
    Reader { id: ID, anchors: &[("net use ", true), ("net user ", true)], known_form: false, read: net },
    Reader {
        id: ID,
        anchors: &[
            ("sqlplus ", true),
            ("sqlldr ", true),
            ("impdp ", true),
            ("expdp ", true),
            ("rman target ", true),
            ("userid=", true),
        ],
        known_form: false,
        read: oracle,
    },
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
    // `key:` and `key:X`, where the name is the credential.
    if password.len() <= 1
        || password.eq_ignore_ascii_case(b"api_token")
        || password.eq_ignore_ascii_case(b"x-oauth-basic")
    {
        if value::is_secret(user, Style::Setting) {
            reads.found(ID, start..start + colon);
        }
        return;
    }
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

/// `sqlcmd -P …`, `ldapsearch -w …`, `xfreerdp /p:…`
fn capital(reads: &mut Reads<'_>) {
    reads.until = reads.end + NEAR;
    let line = command(reads.before(200));
    let programs: &[&str] = match &reads.text[reads.start..reads.end] {
        b" -P " => &["sqlcmd", "bcp", "isql", "osql", "tsql", "zip", "unzip", "ipmitool", "sqlpackage"],
        b" -w " => &["ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapwhoami", "ldappasswd"],
        _ => &["xfreerdp", "wfreerdp", "freerdp", "xfreerdp3", "mstsc"],
    };
    if has_word(&line, programs) {
        told(reads);
    }
}

/// The argument that begins here, if it is a password.
fn told(reads: &mut Reads<'_>) {
    let (start, password) = argument(reads);
    if password.len() >= 5 && !password.starts_with(b"-") && urls::is_chosen(password) {
        reads.found(ID, start..start + password.len());
    }
}

/// `smbclient -U user%password`
fn percent(reads: &mut Reads<'_>) {
    reads.until = reads.end + NEAR;
    let programs = ["smbclient", "rpcclient", "smbmap", "net", "winexe", "wmic", "smbget", "smbcacls"];
    if !has_word(&command(reads.before(200)), &programs) {
        return;
    }
    let (start, argument) = argument(reads);
    let Some(mark) = argument.iter().position(|&byte| byte == b'%') else { return };
    let password = &argument[mark + 1..];
    if password.len() >= 5 && urls::is_chosen(password) {
        reads.found(ID, start + mark + 1..start + argument.len());
    }
}

/// `openssl … -passin pass:…`, `cmdkey /add:host /pass:…`
fn pass(reads: &mut Reads<'_>) {
    reads.until = reads.end + NEAR;
    let before = reads.before(200);
    let line = command(before);
    let of_openssl = has_word(&line, &["openssl"]) && matches!(before.last(), Some(b' ' | b'"' | b'\''));
    if of_openssl || (has_word(&line, &["cmdkey"]) && before.ends_with(b"/")) {
        told(reads);
    }
}

/// `net use` with a share and `/user:`, the password before or behind it, and `net user` with `/add`.
fn net(reads: &mut Reads<'_>) {
    const SIZE: usize = 200;
    let rest = reads.after(SIZE);
    let ends = |byte: &u8| matches!(byte, b'\n' | b'&' | b'|' | b';');
    let line = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
    reads.until = reads.end + line.len();
    let lower = line.to_ascii_lowercase();
    let is_use = reads.text[reads.start..reads.end].eq_ignore_ascii_case(b"net use ");
    if !(if is_use { line.contains(&b'\\') } else { memchr::memmem::find(&lower, b"/add").is_some() }) {
        return;
    }
    let is_device = |word: &[u8]| word.len() == 2 && word[1] == b':' || word == b"*";
    let mut at = 0;
    for (index, word) in line.split(|&byte| byte == b' ').enumerate() {
        let start = reads.end + at;
        at += word.len() + 1;
        let word = word.trim_ascii_end();
        let skipped = word.starts_with(b"/") || word.starts_with(b"\\") || is_device(word) || (!is_use && index == 0);
        let unquoted = word.strip_prefix(b"\"").and_then(|word| word.strip_suffix(b"\""));
        let (start, word) = unquoted.map_or((start, word), |word| (start + 1, word));
        let shown = word.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
        if !skipped && word.len() >= 5 && shown && urls::is_chosen(word) {
            reads.found(ID, start..start + word.len());
            return;
        }
    }
}

/// `sqlplus -S user/password@host`, `sqlldr userid=user/password`
fn oracle(reads: &mut Reads<'_>) {
    const WORDS: usize = 4;
    let rest = reads.after(200);
    let line = &rest[..rest.iter().position(|byte| matches!(byte, b'\n' | b'|' | b';')).unwrap_or(rest.len())];
    reads.until = reads.end + line.len();
    let mut at = 0;
    for word in line.split(|&byte| byte == b' ').take(WORDS) {
        let start = at;
        at += word.len() + 1;
        if word.starts_with(b"-") || word.is_empty() {
            continue;
        }
        let opened = usize::from(matches!(word.first(), Some(b'"' | b'\'')));
        let Some(slash) = word.iter().position(|&byte| byte == b'/') else { return };
        let user = &word[opened..slash];
        let of_user = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'#' | b'.');
        let rest = &word[slash + 1..];
        let inner = usize::from(rest.first() == Some(&b'"'));
        let rest = &rest[inner..];
        let ends = |byte: &u8| matches!(byte, b'@' | b'"' | b'\'' | b'\\');
        // In a password an `@` may stand; the last one that a host follows ends it.
        let length = rest.iter().rposition(|&byte| byte == b'@').or_else(|| rest.iter().position(ends));
        let password =
            rest[..length.unwrap_or(rest.len())].strip_suffix(b"\"").unwrap_or(&rest[..length.unwrap_or(rest.len())]);
        if !user.is_empty() && user.iter().all(of_user) && password.len() >= 5 && urls::is_chosen(password) {
            let start = reads.end + start + slash + 1 + inner;
            reads.found(ID, start..start + password.len());
        }
        return;
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
