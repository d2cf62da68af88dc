//! How many megabytes a second are scanned on one core: ordinary texts, and the worst that can be written.
//!
//! `cargo run --release -p systemprompt-secrets --example scan_speed [FILE…]`; files are measured as they are, and as a string of JSON.

use std::io::Write as _;
use std::time::{Duration, Instant};

use systemprompt_secrets::{Options, Scanner};

/// Each text is repeated to this size.
const SIZE: usize = 1 << 20;

fn main() -> std::io::Result<()> {
    let scanner = Scanner::new(&Options::default());
    let mut out = std::io::stdout().lock();
    let mut show = |name: &str, content: &[u8]| {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let started = Instant::now();
            std::hint::black_box(scanner.scan(content));
            best = best.min(started.elapsed());
        }
        writeln!(out, "{:>8.0} MB/s  {name}", content.len() as f64 / 1e6 / best.as_secs_f64())
    };
    for path in std::env::args().skip(1) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        show(&path, text.as_bytes())?;
        show(&format!("{path}, in JSON"), serde_json::json!({ "content": text }).to_string().as_bytes())?;
    }
    let base64 = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODkrLw";
    for shape in [
        "The quick brown fox jumps over the lazy dog, and nobody minds. ",
        "=",
        "\"",
        "\\",
        "\\u0041",
        "\\\\\\\"",
        "%41",
        "&#65;",
        "\u{200b}",
        "\u{1b}[0m",
        "password",
        "password=",
        "password: ",
        "secret=",
        "token ",
        "token=\"",
        "api_key=abc",
        "key",
        "_key=",
        "sk-",
        "sk-ant-",
        "sk-ant-api03-",
        "glpat-",
        "xoxb-",
        "ghp_",
        "AKIA",
        "AIza",
        "hf_",
        "eyJ",
        "-eyJ",
        ".eyJ",
        "eyJaaaaaaaaaaaa.",
        "://",
        "http://a:",
        "postgres://a:b@",
        "-----BEGIN ",
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIE",
        "kind: Secret\ndata:\n",
        "cookie: ",
        "cookie: session=a; ",
        "\"kty\"",
        "{\"kty\":\"oct\",\"k\":\"",
        "bearer ",
        "basic ",
        "Private-Lines: 9\n",
        " -u ",
        "curl -u a:b ",
        " -p",
        "mysql -pabcde ",
        "login a password ",
        "machine a login b password c ",
        "\" + \"",
        "' + '",
        "\"a\" + \"b\"",
        "server=a;uid=b;password=c;",
        "sig=",
        ":AA",
        "-us",
        "jsn",
        "8Q~",
        "ACDb",
        ".atlasv1.",
        "datadog=",
        "twilio ",
        "aws=",
        "heroku_key: ",
        "secret_access_key=",
        "define('AUTH_KEY', '",
        ":$2",
        "a:$2y$10$",
        base64,
        "Ab3cD4eF5gH6iJ7kL8mN9oP0qR1sT2uVwXyZ0123\n",
        "0123456789abcdef",
        "aB3",
        "[",
        "{\"a\":",
        "\",\"",
        "{\"text\":\"a\"},",
        "{\"key\":\"abcd1234\"},",
        "{\"token\":\"abcd1234\"},",
        "{\"jwt\":{\"key\":\"abcd12345678\"}},",
        "key=\"abcd12345678\" ",
        "the token is abcd1234 ",
        "the password for a b c d e f ",
        "jwt:\n  key: abcd12345678\n",
        "twilio auth token is ",
        "twilio('a','b','c','d')",
        "sqlplus a/b ",
        "net use \\\\a\\b /user:c abcd1234 ",
        "token_token_",
        "a.b.c.d-e_f",
        "x=y&",
        concat!("sk-", "proj-aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7 "),
    ] {
        let text = shape.repeat(SIZE / shape.len());
        let name: String = shape.chars().take(40).collect();
        show(&format!("{name:?}"), text.as_bytes())?;
        show(&format!("{name:?}, in JSON"), serde_json::json!({ "content": text }).to_string().as_bytes())?;
    }
    Ok(())
}
