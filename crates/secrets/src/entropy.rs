//! The rule for credentials no pattern knows: a long run of token characters that is mixed and evenly distributed.
//!
//! Most long runs in prompts are not credentials: they are ids, digests, tags of caches, public keys. So a run counts only
//! if **all** of this holds, and then it warns unless it is configured to refuse:
//!
//! * It is given to a name like `token`, `secret` or `api_key`: by an assignment (`DEPLOY_TOKEN=…`), as the value of a field,
//!   in a header, or after `Bearer`.
//! * It has between `min_len` (32) and 256 characters. What is longer is data: an image, an archive, a signature. There are
//!   credentials that long, and they are JSON Web Tokens and PEM keys, which have patterns.
//! * It has lower-case letters, capitals (three each at least) and digits (two). That leaves out digests in hexadecimal,
//!   UUIDs, ULIDs, slugs, constants and most identifiers. The price is that tokens in one letter case are not found; a
//!   random token over 62 characters of length 32 passes with a probability of about 0.97, of length 40 with 0.99.
//! * Neighbouring characters change class often (in 40 of 100 places; random text does in 62, names and file paths do in
//!   about 30, because they are made of words).
//! * Its Shannon entropy is at least `threshold` (0.80) of the most a text of its length over 64 characters can have.
//! * It is not one line of a block of such lines (certificates, wrapped Base64), not part of a `data:` URL or of the path
//!   of a URL, not a digest that says so (`sha512-…`, `h1:…`), not an SSH public key, and not an identifier of the model
//!   APIs (`toolu_…`, `call_…`).
//! * It is no key that is meant to be public, no example, and no expression of the allow-list matches it.
//!
//! Fields in which the model APIs carry opaque data (images, signatures of thinking, identifiers) are left out by their
//! names, see [`fields`](super::fields); the patterns are looked for there as everywhere.

use std::ops::Range;

use regex::bytes::Regex;

use crate::examples::{is_made_up, is_publishable};
use crate::fields::given_to_a_secret;
use crate::measure::{Class, class, class_changes, normalised_entropy};
use crate::options::Entropy;

const LONGEST: usize = 256;
/// How far around a run its surroundings are looked at.
const CONTEXT: usize = 2048;

/// The rule with its settings.
#[derive(Debug)]
pub(crate) struct EntropyRule {
    min_len: usize,
    threshold: f64,
    allowed: Vec<Regex>,
}

impl EntropyRule {
    pub(crate) fn new(settings: &Entropy) -> Self {
        let Entropy { min_len, threshold, allowed, .. } = settings.clone();
        Self { min_len: min_len.max(1), threshold, allowed }
    }

    /// Where there are such tokens in `text`, but for those of which `is_known` says that they are found already.
    ///
    /// A run of `min_len` covers one of the bytes at every `min_len`-th place, so in ordinary prose a few bytes of each
    /// stretch are looked at.
    pub(crate) fn find(
        &self,
        text: &[u8],
        mut is_known: impl FnMut(&Range<usize>) -> bool,
        mut found: impl FnMut(Range<usize>),
    ) {
        let mut at = 0;
        while let Some(&probe) = text.get(at + self.min_len - 1) {
            let probed = at + self.min_len - 1;
            if !is_token_byte(probe) {
                at = probed + 1;
                continue;
            }
            let start = text[at..probed].iter().rposition(|&byte| !is_token_byte(byte)).map_or(at, |gap| at + gap + 1);
            let length = text[probed..].iter().position(|&byte| !is_token_byte(byte));
            let end = length.map_or(text.len(), |length| probed + length);
            let may_be_one = end - start >= self.min_len && end - start <= LONGEST;
            if may_be_one && !is_known(&(start..end)) && self.is_credential(text, start, end) {
                found(start..end);
            }
            at = end;
        }
    }

    fn is_credential(&self, text: &[u8], start: usize, end: usize) -> bool {
        let token = &text[start..end];
        mixed(token)
            && normalised_entropy(token) >= self.threshold
            && given_to_a_secret(&text[start.saturating_sub(CONTEXT)..start])
            && !has_known_form(token)
            && !is_publishable(token)
            && !is_made_up(token)
            && !in_a_known_place(text, start, end, self.min_len)
            && !self.allowed.iter().any(|allowed| allowed.is_match(token))
    }
}

const fn token_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'+' | b'/' | b'_' | b'-');
        byte += 1;
    }
    table
}

static TOKEN_BYTES: [bool; 256] = token_bytes();

fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

/// Whether all classes occur and change often.
fn mixed(token: &[u8]) -> bool {
    let count = |wanted| token.iter().filter(|&&byte| class(byte) == wanted).count();
    count(Class::Digit) >= 2
        && count(Class::Upper) >= 3
        && count(Class::Lower) >= 3
        && class_changes(token) * 100 >= token.len() * 40
}

/// Tokens whose beginning says what they are.
fn has_known_form(token: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 26] = [
        b"sha1-",
        b"sha256-",
        b"sha384-",
        b"sha512-", // subresource integrity, lock files
        b"AAAAB3NzaC1",
        b"AAAAC3NzaC1",
        b"AAAAE2VjZHNh",
        b"AAAAGnNrLXNz",
        b"AAAAInNrLWVj", // SSH public keys
        b"toolu_",
        b"srvtoolu_",
        b"mcptoolu_",
        b"msg_",
        b"msgbatch_",
        b"call_",
        b"chatcmpl-",
        b"resp_",
        b"req_",
        b"fc_",
        b"rs_",
        b"file-",
        b"file_",
        b"run_",
        b"thread_",
        b"batch_",
        b"container_", // objects of the model APIs
    ];
    BEGINNINGS.iter().any(|beginning| token.starts_with(beginning))
}

/// Tokens whose surroundings say what they are.
fn in_a_known_place(text: &[u8], start: usize, end: usize, min_len: usize) -> bool {
    let before = &text[start.saturating_sub(CONTEXT)..start];
    let after = &text[end..text.len().min(end + CONTEXT)];
    names_a_digest(before) || before.ends_with(b"base64,") || in_url_path(before) || in_a_block(before, after, min_len)
}

/// `sha256:`, `sha256=`, `md5=`, `h1:` …
fn names_a_digest(before: &[u8]) -> bool {
    let Some((b':' | b'=', name)) = before.split_last() else { return false };
    [b"sha1".as_slice(), b"sha224", b"sha256", b"sha384", b"sha512", b"md5", b"h1", b"SHA256", b"SHA512"]
        .iter()
        .any(|digest| name.ends_with(digest))
}

/// Whether the token follows a URL's `://` without a space, query or fragment in between. A token in the query is judged.
fn in_url_path(before: &[u8]) -> bool {
    let start =
        before.iter().rposition(|&byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'('));
    let url = &before[start.map_or(0, |at| at + 1)..];
    let Some(scheme) = memchr::memmem::rfind(url, b"://") else {
        return false;
    };
    let rest = &url[scheme + 3..];
    !rest.is_empty() && !rest.iter().any(|byte| matches!(byte, b'?' | b'#' | b'@' | b'='))
}

/// Whether the line before or after is such a run too: certificates, keys and wrapped Base64.
fn in_a_block(before: &[u8], after: &[u8], min_len: usize) -> bool {
    // Quotation marks, commas and pluses: blocks written as a list of string literals.
    let filler =
        |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b',' | b'=' | b'>' | b'#' | b'*');
    let gap = before.iter().rev().take(32).take_while(|&&byte| filler(byte)).count();
    if before[before.len() - gap..].contains(&b'\n') {
        let line = before[..before.len() - gap].iter().rev().take_while(|&&byte| is_token_byte(byte)).count();
        if line >= min_len {
            return true;
        }
    }
    let gap = after.iter().take(32).take_while(|&&byte| filler(byte)).count();
    after[..gap].contains(&b'\n') && after[gap..].iter().take_while(|&&byte| is_token_byte(byte)).count() >= min_len
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> EntropyRule {
        EntropyRule::new(&Entropy::default())
    }

    fn finds(rule: &EntropyRule, text: &[u8]) -> bool {
        let mut any = false;
        rule.find(text, |_| false, |_| any = true);
        any
    }

    fn token(seed: u64, length: usize) -> String {
        crate::samples::made_of(crate::samples::BASE62, length, seed)
    }

    #[test]
    fn random_tokens_are_found_wherever_they_stand() {
        for (length, at_least) in [(32, 950), (40, 980), (64, 990), (128, 990)] {
            let found = (1..=1000)
                .filter(|&seed| finds(&rule(), format!("token: {}.", token(seed, length)).as_bytes()))
                .count();
            assert!(found >= at_least, "{found} of 1000 tokens of length {length}");
        }
        let secret = token(7, 40);
        for text in [
            format!("{{\"clientSecret\": \"{secret}\"}}"),
            format!("X-Api-Key: {secret}"),
            format!("curl -H 'Authorization: Bearer {secret}'"),
            format!("config['auth_token'] = '{secret}'"),
            format!("let signing_key := `{secret}`"),
            format!("https://api.example.com/v1?key={secret}&x=1"),
            format!("{} password={secret} {}", "word ".repeat(100), "word ".repeat(100)),
            format!("DEPLOY_TOKEN={secret}\nOTHER=1\n"),
        ] {
            assert!(finds(&rule(), text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_prompts_are_full_of_is_not_found() {
        let blob = |length| token(3, length);
        let secret = token(7, 40);
        let wrapped: Vec<String> = (1..9).map(|seed| token(seed, 64)).collect();
        for text in [
            "123e4567-e89b-12d3-a456-426614174000 and 01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08",
            "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "getUserByEmailAddressAndOrganizationIdOrThrowException AbstractSingletonProxyFactoryBean2Builder3",
            "src/main/java/com/example2/billing/UserAccountServiceImpl3Test.java",
            "crates/governance/src/secret_scan/HTTP2ConnectionPoolManagerV3/TestCase42",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256_AND_MORE_CONSTANTS_OF_THIS_KIND",
            "my-application-deployment-7d9f8b6c5d-x2x4z-with-a-very-long-name-2024-10-01",
            "_ZNSt3__112basic_stringIcNS_11char_traitsIcEENS_9allocatorIcEEE",
            "_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE",
            "\"integrity\": \"sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==\"",
            "github.com/stretchr/testify v1.8.4 h1:CcVxjf3Q8PM0mHUKJCdn+eZZtm5yQwehR5yeSVQQcUk=",
            "idna/core.py,sha256=1M72Xlo0cUgaGdVhPVZYhpTTyBFMzHZ7DPGvvNAmwRE,12950",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@host",
            "{\"id\":\"srvtoolu_01WYG3ziw53XMcoyKL4XcZmE\"} toolu_vrtx_01A09q90qw90lq917835lq9xYz chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
            "https://docs.google.com/spreadsheets/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms/edit",
            "<img src=\"data:image/gif;base64,R0lGODlhAQABAIAAAP8AAP8AACH5BAEAAAEALAAAAAABAAEAAAICRAEAOw==\">",
            &format!("![x](data:image/png;base64,{})", blob(5000)),
            &blob(257),
            &wrapped.join("\n"),
            &wrapped.join("\r\n    "),
            &format!("[\"{}\"]", wrapped.join("\",\n  \"")),
            &format!("{secret} alone, x={secret}, id: {secret}, etag: \"{secret}\", nextPageToken={secret}"),
            &format!(
                "x-amz-cf-id: {secret}==\nx-amz-id-2: {secret}\ncf-ray: {secret}\nset-cookie: __cf_bm={secret}; path=/"
            ),
            &format!(
                "public_key = \"{secret}\"; cache_key: {secret}; \"key\": \"{secret}\"; API_TOKEN=pk_live_{secret}"
            ),
            "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
            &"a".repeat(100),
            &"-".repeat(100),
            &"aB3".repeat(40),
            "",
        ] {
            assert!(!finds(&rule(), text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_settings_are_respected() {
        let secret = token(11, 40);
        let text = format!("token={secret}");
        let with = |settings: Entropy| finds(&EntropyRule::new(&settings), text.as_bytes());
        let default = Entropy::default;
        assert!(with(default()));
        assert!(!with(Entropy { min_len: 41, ..default() }));
        assert!(!with(Entropy { threshold: 1.0, ..default() }));
        assert!(!with(Entropy { allowed: vec![Regex::new(&format!("^{}", &secret[..8])).unwrap()], ..default() }));
    }
}
