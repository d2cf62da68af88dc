//! What has the form of a credential and is none: the examples in vendors' documentation, and what people write where a
//! credential would be. One such text in the history of a conversation must not end it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::measure::class_changes;

/// Keys that are meant to be seen by everybody: they stand in web pages and apps.
const PUBLISHABLE: [&[u8]; 9] =
    [b"pk_test_", b"pk_live_", b"pk.eyJ", b"sb_publishable_", b"phc_", b"pub_", b"pub-", b"publishable_", b"pub_test_"];

/// Beginnings of credentials that vendors and standards print in their documentation and sample code.
const DOCUMENTED: [&[u8]; 9] = [
    // Stripe's test keys
    b"sk_test_4eC39HqLyjWDarjtT1zdp7dc",
    b"sk_test_BQokikJOvBiI2HlWgH4olfQ2",
    b"sk_test_tR3PYbcVNZZ796tH88S4VQ2u",
    // Slack's sample tokens
    b"xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy",
    b"xoxp-23984754863-2348975623103",
    // Mailgun's sample key
    b"key-3ax6xnjp29jd6fds4gc373sgvjxteol0",
    // The private key of jwt.io
    b"MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQC7VJTUt9Us8cKj",
    // Vagrant's insecure key, RSA and OpenSSH
    b"MIIEogIBAAKCAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzI",
    b"MIIEowIBAAKCAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzI",
];

/// Claims of tokens that are printed in documentation, as they stand in the payload.
const DOCUMENTED_CLAIMS: [&[&str]; 4] = [
    // jwt.io
    &[r#""sub":"1234567890""#, r#""name":"John Doe""#],
    // RFC 7515 and 7519
    &[r#""iss":"joe""#, r#""exp":1300819380"#],
    // Supabase: the keys every local installation has, and those for web pages
    &[r#""iss":"supabase-demo""#],
    &[r#""iss":"supabase""#, r#""role":"anon""#],
];

/// Words that stand in a key only where somebody wrote a text instead of one. Long enough not to occur by chance.
const WORDS: [&str; 13] = [
    "example",
    "insecure",
    "placeholder",
    "changeme",
    "change-me",
    "change_me",
    "redacted",
    "dummy",
    "sample",
    "insert",
    "notareal",
    "not-a-real",
    "xxxxxx",
];

/// The same for words that occur by chance in long keys, unless something separates them from the rest.
const SEPARATE_WORDS: [&str; 3] = ["your", "fake", "mock"];

/// As many equal characters in a row no key has.
const REPEATED: usize = 8;

/// Whether `value` is meant to be public.
pub(super) fn is_publishable(value: &[u8]) -> bool {
    PUBLISHABLE.iter().any(|beginning| value.starts_with(beginning))
}

/// Whether a text of the form of a key was written by somebody, or is printed in documentation.
pub(super) fn is_made_up(key: &[u8]) -> bool {
    is_documented(key)
        || has_placeholder_word(key)
        || key.chunk_by(u8::eq).any(|run| run.len() >= REPEATED && run[0].is_ascii_alphanumeric())
        || counts_up(key)
}

fn is_documented(key: &[u8]) -> bool {
    DOCUMENTED.iter().any(|known| key.starts_with(known))
}

fn has_placeholder_word(key: &[u8]) -> bool {
    let lower = key.to_ascii_lowercase();
    let separate = |word: &str| {
        memchr::memmem::find_iter(&lower, word).any(|at| {
            let free = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric());
            at > 0 && free(lower.get(at - 1)) && free(lower.get(at + word.len()))
        })
    };
    WORDS.iter().any(|word| memchr::memmem::find(&lower, word.as_bytes()).is_some())
        || SEPARATE_WORDS.iter().any(|word| separate(word))
}

/// `1234567890abcdefghijkl…`: four fifths of it are parts of the alphabet or of the digits.
fn counts_up(key: &[u8]) -> bool {
    const SHORTEST: usize = 6;
    let next = |left: &u8, right: &u8| {
        let (left, right) = (left.to_ascii_lowercase(), right.to_ascii_lowercase());
        left.is_ascii_alphanumeric() && (right == left + 1 || (left == b'9' && right == b'0'))
    };
    let counting: usize = key.chunk_by(next).map(<[u8]>::len).filter(|&length| length >= SHORTEST).sum();
    counting * 5 >= key.len() * 4
}

/// Whether the claims of a JSON Web Token are those of an example.
pub(super) fn is_documented_token(token: &[u8]) -> bool {
    let Some(payload) = token.split(|&byte| byte == b'.').nth(1) else { return false };
    // Enough for the claims of an example.
    if payload.len() > 1024 {
        return false;
    }
    let Ok(mut claims) = URL_SAFE_NO_PAD.decode(payload) else { return false };
    claims.retain(|byte| !matches!(byte, b'\r' | b'\n' | b'\t'));
    let claims = String::from_utf8_lossy(&claims).replace("\": ", "\":");
    DOCUMENTED_CLAIMS.iter().any(|example| example.iter().all(|claim| claims.contains(claim)))
}

/// Whether a line that begins a private key in PEM is followed by one. A header that stands alone is source code that looks
/// for keys.
///
/// The key may be written as a string of a program (`\\n`, quotation marks and pluses), and each line may have the number or
/// the file before it that tools put there.
pub(super) fn has_key_body(header_and_more: &[u8]) -> bool {
    const MARK: &[u8] = b"-----";
    /// Lines that may stand before the key: what is left of the header, its fields, an empty one.
    const BEFORE: usize = 8;
    // `-----BEGIN … PRIVATE KEY-----`: what follows the second mark, until the next.
    let Some(header) = memchr::memmem::find(&header_and_more[MARK.len()..], MARK) else { return false };
    let body = &header_and_more[MARK.len() + header + MARK.len()..];
    let body = &body[..memchr::memmem::find(body, MARK).unwrap_or(body.len())];
    for line in lines(body).take(BEFORE) {
        if let Some(key) = key_in(line) {
            return !is_documented(key);
        }
        let field = PEM_FIELDS.iter().any(|name| memchr::memmem::find(line, name.as_bytes()).is_some());
        if !field && line.iter().any(u8::is_ascii_alphabetic) {
            return false;
        }
    }
    false
}

const PEM_FIELDS: [&str; 6] = ["Proc-Type:", "DEK-Info:", "Version:", "Comment:", "Charset:", "Hash:"];

/// The lines of a text, where `\n` may be written with one or more backslashes.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr::memchr2(b'\n', b'\\', text);
        let Some(end) = end else {
            rest = None;
            return Some(text);
        };
        let mut next = end + 1;
        if text[end] == b'\\' {
            next += text[next..].iter().take_while(|&&byte| byte == b'\\').count();
            next += usize::from(matches!(text.get(next), Some(b'n' | b'r')));
        }
        rest = Some(&text[next..]);
        Some(&text[..end])
    })
}

/// The line of a key that `line` consists of, but for a number or a name of a file before it and quotation marks.
fn key_in(line: &[u8]) -> Option<&[u8]> {
    /// The shortest first line of a key; they are wrapped at 64 characters or more.
    const SHORTEST: usize = 40;
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let end = line.iter().rposition(u8::is_ascii_alphanumeric)? + 1;
    let start = line[..end].iter().rposition(|&byte| !base64(byte)).map_or(0, |at| at + 1);
    let (before, key) = (&line[..start], &line[start..end]);
    let before = before.trim_ascii();
    let code = before.iter().any(u8::is_ascii_alphabetic)
        && before.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'('));
    let letters = |kind: fn(&u8) -> bool| key.iter().filter(|byte| kind(byte)).count();
    let found = !code
        && key.len() >= SHORTEST
        && letters(u8::is_ascii_digit) >= 1
        && letters(u8::is_ascii_lowercase) >= 3
        && letters(u8::is_ascii_uppercase) >= 3
        && class_changes(key) * 100 >= key.len() * 20;
    found.then_some(key)
}

/// Judges `user:password@host` of a URL, from the password on.
pub(super) fn is_real_password(user: &[u8], password_and_host: &[u8]) -> bool {
    let at = password_and_host.iter().rposition(|&byte| byte == b'@').unwrap_or(password_and_host.len());
    let (password, host) = password_and_host.split_at(at);
    let host = host.strip_prefix(b"@").unwrap_or(host);
    let lower = password.to_ascii_lowercase();
    !(is_template(password) || is_written_word(&lower) || (is_default(&lower, user) && is_harmless(host)))
}

/// `${PASSWORD}`, `<password>`, `{password}`, `%s`, `#{password}`, `:password` in the syntaxes of templates.
fn is_template(password: &[u8]) -> bool {
    let marked = match password {
        [] | [b'$' | b'<' | b'{' | b'[' | b'*' | b'\'' | b'"' | b'`', ..] => true,
        // `%40` is a character of a password.
        [b'%', rest @ ..] => !rest.iter().take(2).all(u8::is_ascii_hexdigit),
        _ => false,
    };
    let inside = ["${", "{{", "$(", "#{", "\\(", "…", "•"];
    marked
        || inside.iter().any(|mark| memchr::memmem::find(password, mark.as_bytes()).is_some())
        // `DB_PASSWORD`, `YOUR_PASSWORD`: the name of a variable.
        || (password.contains(&b'_') && password.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_'))
}

/// What is written for "a password": the word itself, or a mark in its place.
fn is_written_word(password: &[u8]) -> bool {
    const WORDS: [&str; 17] = [
        "password",
        "passwd",
        "pass",
        "pwd",
        "pw",
        "passphrase",
        "secret",
        "mypassword",
        "my-password",
        "my_password",
        "mypass",
        "yourpassword",
        "dbpassword",
        "db_password",
        "dbpass",
        "supersecret",
        "mysecretpassword",
    ];
    let mark = |byte: u8| matches!(byte, b'x' | b'*' | b'.' | b'-' | b'_' | b'?');
    WORDS.iter().any(|word| word.as_bytes() == password)
        || password.iter().all(|&byte| mark(byte))
        || (password.len() >= 3 && password.chunk_by(u8::eq).count() == 1)
        || ["your", "change", "example", "placeholder", "redacted", "dummy", "sample", "insert"]
            .iter()
            .any(|word| memchr::memmem::find(password, word.as_bytes()).is_some())
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

/// A machine at hand or one of an example.
fn is_harmless(host: &[u8]) -> bool {
    let host = host.to_ascii_lowercase();
    let name =
        host.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')).count();
    let host = if is_template(&host) { host.as_slice() } else { &host[..name] };
    let host = host.strip_suffix(b".").unwrap_or(host);
    let endings: [&[u8]; 7] =
        [b".example", b"example.com", b"example.org", b"example.net", b".test", b".invalid", b".localhost"];
    !host.contains(&b'.')
        || host.starts_with(b"127.")
        || host == b"0.0.0.0"
        || host == b"host.docker.internal"
        || host.ends_with(b".local")
        || is_template(host)
        || endings.iter().any(|ending| host.ends_with(ending))
}
