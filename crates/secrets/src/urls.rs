//! Passwords in the URLs of databases: which are real, and which stand where one would be.

use crate::examples::is_documented;
use crate::letters::of_words;
use crate::measure::class_changes;
use crate::words::{counts_up, is_written_password};

/// How long the password of `user:password@host` of a URL is, given from the password on, if it is a real one.
pub(crate) fn real_password(user: &[u8], password_and_more: &[u8]) -> Option<usize> {
    let (password, _) = split(password_and_more);
    is_real_password(user, password_and_more).then_some(password.len())
}

fn is_real_password(user: &[u8], password_and_more: &[u8]) -> bool {
    let (password, host) = split(password_and_more);
    // Whom everybody may log in as.
    if [b"anonymous".as_slice(), b"anoncvs", b"ftp", b"guest"].contains(&user)
        || user.is_empty() && password.starts_with(b"pserver:")
    {
        return false;
    }
    let quoted = |byte: &u8| matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>');
    // `localhost:5432,me@example.com`, and a URL in a list that goes on to an address.
    let port = password.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_port =
        (1..=5).contains(&port) && matches!(password.get(port), Some(b'/' | b',' | b'?' | b';' | b')' | b'"'));
    if is_port || (password.contains(&b'/') && password.iter().any(quoted)) {
        return false;
    }
    // `%F0%9F%92%A9`: what a reader of URLs is tested with.
    let percents = memchr::memchr_iter(b'%', password).count();
    if percents > 0 && password.len() < percents * 3 + 5 && percents * 3 <= password.len() {
        return false;
    }
    let lower = password.to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    let (is_default, is_generated) = (is_default(&lower, user), is_generated(password));
    let is_harmless = is_template(password)
        || is_written_word(&lower)
        || (is_written_password(password) && !is_default)
        || ((is_at_hand(&host) || is_private(&host)) && (is_default || !is_generated));
    !is_harmless
}

/// The password and the host; in a password an `@` may stand.
fn split(password_and_more: &[u8]) -> (&[u8], &[u8]) {
    let first = memchr::memchr(b'@', password_and_more).unwrap_or(password_and_more.len());
    let ends = |byte: &u8| matches!(byte, b'/' | b'?' | b'#' | b',' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\');
    let length = password_and_more[first..].iter().position(ends).unwrap_or(password_and_more.len() - first);
    let authority = &password_and_more[..first + length];
    let at = authority.iter().rposition(|&byte| byte == b'@').unwrap_or(authority.len());
    (&authority[..at], authority.get(at + 1..).unwrap_or_default())
}

/// `${PASSWORD}`, `<password>`, `{password}`, `%s`, `#{password}`, `***`, `$PASSWORD` in the syntaxes of templates, as a
/// whole.
pub(crate) fn is_template(value: &[u8]) -> bool {
    /// As much may stand beside a template without being a password.
    const BESIDE: usize = 7;
    let Ok(value) = std::str::from_utf8(value) else { return false };
    let encloses = |(open, close): (char, char)| value.starts_with(open) && value.ends_with(close);
    let name = |name: &str| {
        let upper = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        upper || name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    };
    // Where a space cuts it, a template has no end.
    let opens = value.bytes().any(|byte| matches!(byte, b'{' | b'('));
    let beside = ["${", "{{", "$(", "#{", "\\(", "{"].iter().filter(|_| opens).find_map(|open| {
        let (before, inside) = value.split_once(open)?;
        let after = inside.rsplit_once(['}', ')']).map_or("", |(_, after)| after);
        Some(before.len() + after.len())
    });
    value.is_empty()
        || [('<', '>'), ('{', '}'), ('[', ']'), ('%', '%'), ('$', '$')].into_iter().any(encloses)
        || beside.is_some_and(|beside| beside <= BESIDE)
        || value.starts_with(['\'', '"', '`'])
        || value.chars().all(|mark| matches!(mark, '*' | '…' | '•' | '.' | 'x' | 'X' | '-' | '_' | '?'))
        || value.ends_with('…')
        || value.strip_prefix('$').is_some_and(name)
        || value.strip_prefix('%').is_some_and(|form| form.len() <= 2 || form.starts_with('('))
        // `DB_PASSWORD`, `YOUR_PASSWORD`: the name of a variable.
        || (value.contains('_') && value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
}

/// Whether somebody chose this as a password, and did not write it where one would be.
pub(crate) fn is_chosen(password: &[u8]) -> bool {
    let lower = password.to_ascii_lowercase();
    let words = of_words(password) == password.iter().filter(|byte| !matches!(byte, b' ' | b'-' | b'_')).count();
    !(words
        || is_documented(password)
        || is_template(password)
        || is_written_word(&lower)
        || is_written_password(password)
        || is_default(&lower, b"")
        || counts_up(password))
}

/// What is written for "a password": a short word for it, or one character again and again.
fn is_written_word(password: &[u8]) -> bool {
    const WORDS: [&str; 16] = [
        "pwd",
        "pw",
        "p",
        "pass",
        "dbpass",
        "mypass",
        "foo",
        "bar",
        "baz",
        "foobar",
        "opensesame",
        "tiger",
        "abc",
        "abc123",
        "pass1",
        "passw",
    ];
    let shown = password.iter().filter(|byte| !byte.is_ascii_alphanumeric()).count() == 0;
    (shown && WORDS.iter().any(|word| word.as_bytes() == password))
        || (password.len() >= 3 && password.chunk_by(u8::eq).count() == 1)
}

/// Twelve characters or more that change class as those of words do not.
fn is_generated(password: &[u8]) -> bool {
    password.len() >= 12 && class_changes(password) * 100 >= password.len() * 25
}

/// A password that a product has when it is installed, or that is as good as none.
fn is_default(password: &[u8], user: &[u8]) -> bool {
    const DEFAULTS: [&str; 26] = [
        "postgres",
        "mysql",
        "mariadb",
        "mongo",
        "mongodb",
        "redis",
        "root",
        "user",
        "admin",
        "administrator",
        "guest",
        "rabbitmq",
        "minio",
        "minioadmin",
        "test",
        "testing",
        "tests",
        "dev",
        "development",
        "local",
        "docker",
        "demo",
        "foobared",
        "foo",
        "bar",
        "toor",
    ];
    let counted = password.iter().all(u8::is_ascii_digit) && counts_up(password);
    DEFAULTS.iter().any(|word| word.as_bytes() == password)
        || password.eq_ignore_ascii_case(user)
        || counted
        || [b"1234".as_slice(), b"12345"].contains(&password)
}

/// A machine nobody else reaches, or one of an example.
fn is_at_hand(host: &[u8]) -> bool {
    let host = name_of(host);
    let first = host.split(|&byte| byte == b'.').next().unwrap_or_default();
    let domain = |ending: &str| {
        host.strip_suffix(ending.as_bytes()).is_some_and(|before| before.is_empty() || before.ends_with(b"."))
    };
    !host.contains(&b'.')
        || is_template(host)
        || host.starts_with(b"127.")
        || host == b"0.0.0.0"
        || first == b"example"
        || ["example.com", "example.org", "example.net", "example.io", "example.dev"].into_iter().any(domain)
        || ["example", "test", "invalid", "localhost", "local"].into_iter().any(domain)
        || host == b"host.docker.internal"
        || is_private_address(host)
}

/// A machine in a network of its own: a chosen password is that of a test, a generated one is real.
fn is_private(host: &[u8]) -> bool {
    name_of(host).ends_with(b".internal")
}

/// RFC 1918.
fn is_private_address(host: &[u8]) -> bool {
    let address = std::str::from_utf8(host).ok().and_then(|host| host.parse::<std::net::Ipv4Addr>().ok());
    address.is_some_and(|address| address.is_private())
}

/// The name of a host without its port.
fn name_of(host: &[u8]) -> &[u8] {
    if is_template(host) {
        return host;
    }
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let name = &host[..host.iter().take_while(|byte| part(byte)).count()];
    name.strip_suffix(b".").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_real_where_a_stranger_could_use_them() {
        for (user, rest) in [
            ("app", "Kx92mPqL@db.acme.com/app"),
            ("app", "Kx92mPqL@prodexample.com/app"),
            ("app", "Kx92mPqL@db.notlocal.io/app"),
            ("app", "Kx/92mPq/L@db.acme.com:5432/app"),
            ("app", "Kx9@2mPqL@db.acme.com"),
            ("app", "xK9#testmP2vLq8@db.acme.com"),
            ("app", "Kx9your2mPqLvT7@db.acme.com"),
            ("app", "$Kx92mPqL8v@db.acme.com"),
            ("app", "Kx92mPqLvT77${X}@db.acme.com"),
            ("app", "Kx92mPqLvT77x8@db.eu.internal"),
            ("app", "Kx92mPqL@172.32.0.1/app"),
            ("admin", "admin@db.acme.com"),
            ("admin", "hunter2@cluster0.abcde.mongodb.net"),
        ] {
            assert!(is_real_password(user.as_bytes(), rest.as_bytes()), "{user}:{rest}");
        }
        for (user, rest) in [
            ("app", "Kx92mPqL@localhost/app"),
            ("app", "Kx92mPqL@db:5432/app"),
            ("app", "Kx92mPqL@127.0.0.1/app"),
            ("app", "Kx92mPqL@[::1]:5432/app"),
            ("app", "Kx92mPqL@10.0.0.3/app"),
            ("app", "Kx92mPqL@172.16.4.1/app"),
            ("app", "Kx92mPqL@192.168.1.9:5432"),
            ("app", "Kx92mPqL@db.example.com"),
            ("app", "Kx92mPqL@example.net"),
            ("app", "Kx92mPqL@nas.local"),
            ("app", "hunter2@db.internal"),
            ("scott", "tiger@db.acme.com"),
            ("foo", "bar@db.acme.com"),
            ("u", "p@db.acme.com"),
            ("user", "password123@db.acme.com"),
            ("localhost", "5432,foo@bar.com"),
            ("localhost", "5432/app?mail=foo@bar.com"),
            ("app", "${DB_PASSWORD}@db.acme.com"),
            ("app", "<password>@db.acme.com"),
            ("app", "***@db.acme.com"),
            ("app", "%s@%s"),
        ] {
            assert!(!is_real_password(user.as_bytes(), rest.as_bytes()), "{user}:{rest}");
        }
    }
}
