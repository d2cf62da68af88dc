//! Addresses of people.

use memchr::memchr_iter;
use systemprompt_extension::safety::Severity;

use crate::safety::found::Found;

/// The longest name before the sign, and the longest domain (RFC 5321).
const LONGEST_NAME: usize = 64;
const LONGEST_DOMAIN: usize = 255;
/// Bytes before the name that are looked at for the beginning of a URL.
const BEFORE: usize = 64;

/// Names of programs.
const NOBODY: [&str; 6] = ["git", "hg", "svn", "noreply", "no-reply", "donotreply"];
/// Second-level domains that are reserved for examples (RFC 2606).
const EXAMPLES: [&str; 3] = ["example.com", "example.net", "example.org"];
/// Top-level domains of more than two letters that people have addresses in.
const DOMAINS: [&str; 43] = [
    "academy",
    "aero",
    "agency",
    "app",
    "art",
    "berlin",
    "biz",
    "blog",
    "cloud",
    "club",
    "com",
    "company",
    "coop",
    "dev",
    "digital",
    "edu",
    "email",
    "gov",
    "group",
    "info",
    "int",
    "jobs",
    "london",
    "mil",
    "mobi",
    "museum",
    "name",
    "net",
    "nyc",
    "online",
    "org",
    "paris",
    "pro",
    "shop",
    "site",
    "solutions",
    "store",
    "systems",
    "team",
    "tech",
    "tokyo",
    "world",
    "xyz",
];
/// Endings of two letters that files have far more often than addresses.
const FILES: [&str; 12] = ["cs", "db", "go", "gz", "js", "kt", "md", "py", "rb", "sh", "so", "ts"];

/// Tells every address in `text`, and gives how many bytes were looked at for that.
pub(super) fn find(text: &str, tell: &mut impl FnMut(Found)) -> usize {
    let bytes = text.as_bytes();
    let mut looked_at = bytes.len();
    for sign in memchr_iter(b'@', bytes) {
        let name = bytes[..sign].iter().rev().take(LONGEST_NAME + 1).take_while(|&&byte| of_name(byte)).count();
        let domain = bytes[sign + 1..].iter().take(LONGEST_DOMAIN + 1).take_while(|&&byte| of_domain(byte)).count();
        looked_at += name + domain;
        if name == 0 || name > LONGEST_NAME || domain > LONGEST_DOMAIN {
            continue;
        }
        let start = sign - name;
        let (name, domain) = (&text[start..sign], text[sign + 1..sign + 1 + domain].trim_end_matches(['.', '-']));
        let end = sign + 1 + domain.len();
        let before = &bytes[start.saturating_sub(BEFORE)..start];
        looked_at += before.len();
        if is_name(name) && is_domain(domain) && !in_url(before) && !goes_on(&bytes[end..]) {
            tell(("pii_email", Severity::Low, start..end));
        }
    }
    looked_at
}

fn of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._%+-".contains(&byte)
}

fn of_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-".contains(&byte)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !name.ends_with('.')
        && !NOBODY.iter().any(|nobody| name.eq_ignore_ascii_case(nobody))
}

fn is_domain(domain: &str) -> bool {
    let domain = domain.to_ascii_lowercase();
    let Some((host, top)) = domain.rsplit_once('.') else { return false };
    let labels_are_whole =
        domain.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    let is_country = top.len() == 2 && top.bytes().all(|byte| byte.is_ascii_lowercase()) && !FILES.contains(&top);
    // `icon@2x.png` and what is like it.
    let is_scale = host.len() == 2 && host.ends_with('x') && host.as_bytes()[0].is_ascii_digit();
    let is_example = EXAMPLES
        .iter()
        .any(|example| domain.strip_suffix(example).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    labels_are_whole && (is_country || DOMAINS.contains(&top)) && !is_scale && !is_example
}

/// Whether a URL begins before the name and has no end there.
fn in_url(before: &[u8]) -> bool {
    let word = before.rsplit(|byte| byte.is_ascii_whitespace() || b"\"'<>".contains(byte)).next().unwrap_or_default();
    memchr::memmem::find(word, b"://").is_some()
}

/// Whether what follows says that it is no address: a call, or a path on a host.
fn goes_on(after: &[u8]) -> bool {
    match after {
        [b'(' | b'_' | b'@', ..] => true,
        [b':', next, ..] => next.is_ascii_alphanumeric() || b"/~".contains(next),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_looked_at_than_a_multiple_of_the_text() {
        let name = "a".repeat(LONGEST_NAME);
        for unit in ["@", "a@", "a.b@c.", "@a", &format!("{name}@"), &format!("@{}", "a".repeat(300))] {
            let text = unit.repeat(20_000);
            let looked_at = find(&text, &mut |_| ());
            assert!(looked_at <= text.len() * (LONGEST_NAME + BEFORE + 3), "{unit}: {looked_at}");
        }
    }
}
