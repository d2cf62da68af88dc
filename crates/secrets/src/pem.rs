//! Private keys in PEM, however they are broken into lines.
//!
//! A header that stands alone is source code that looks for keys. A key follows it where enough Base64 does, whatever stands
//! between its pieces: line breaks, escapes, tags, quotation marks, the number or the file that tools put before a line.

use crate::measure::{Class, class, class_changes};

/// How far from its header a key is looked for.
const REACH: usize = 4 * 1024;
/// The longest key that is read to its end.
pub(crate) const LONGEST: usize = 16 * 1024;
/// The shortest piece of Base64 that counts.
const PIECE: usize = 16;
/// The shortest key: Ed25519 in PKCS #8.
const SHORTEST: usize = 64;
/// A text that is cut with an ellipsis shows no more than this of a key.
const SHOWN: usize = 200;
/// Other text, without spaces, that may stand between a header and its key: fields and comments.
const BEFORE: usize = 512;
/// The same between two pieces of a key.
const BETWEEN: usize = 128;

/// How the keys begin that are printed in documentation.
const DOCUMENTED: [&str; 3] = [
    // jwt.io
    concat!(
        "MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQC7VJTUt9Us8cKj",
        "MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu"
    ),
    // Vagrant's insecure key, RSA and OpenSSH
    concat!(
        "MIIEogIBAAKCAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzI",
        "w+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoP"
    ),
    concat!(
        "MIIEowIBAAKCAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzI",
        "w+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoP"
    ),
];

/// Where the private key ends that begins with the line at the beginning of `header_and_more`, if one follows that line.
pub(crate) fn private_key(header_and_more: &[u8]) -> Option<usize> {
    const MARK: &[u8] = b"-----";
    let find = |text: &[u8], mark: &[u8]| memchr::memmem::find(text, mark);
    // `-----BEGIN … PRIVATE KEY-----`: what follows the second mark, until the next.
    let start = MARK.len() + find(&header_and_more[MARK.len()..], MARK)? + MARK.len();
    let body = &header_and_more[start..];
    let next = find(body, b"-----BEGIN");
    let ends = find(&body[..next.unwrap_or(body.len())], b"-----END");
    let until = ends.or(next);
    has_key_body(&body[..until.unwrap_or(body.len())]).then(|| {
        let marks = ends.filter(|_| ends == until).and_then(|end| {
            let mark = end + MARK.len();
            Some(mark + find(&body[mark..], MARK)? + MARK.len())
        });
        start
            + marks.or(until).unwrap_or_else(|| {
                // What goes on as a key is one, however long it is.
                let read = body.len().min(REACH);
                let of_key = |byte: &&u8| is_base64(**byte) || byte.is_ascii_whitespace() || b"=\\-".contains(*byte);
                read + body[read..].iter().take_while(of_key).count()
            })
    })
}

fn has_key_body(body: &[u8]) -> bool {
    let text = plain(body);
    let cut = memchr::memmem::find(&text, b"...").is_some() || memchr::memmem::find(&text, "…".as_bytes()).is_some();

    let mut key = Key::default();
    for line in text.split(|&byte| byte == b'\n') {
        let mut label: Vec<u8> = Vec::new();
        for piece in line.chunk_by(|left, right| is_base64(*left) == is_base64(*right)) {
            if is_base64(piece[0]) && is_random(piece) && !names_a_value(&label) {
                key.add(piece);
            } else {
                key.skip(piece);
                label.extend_from_slice(piece);
            }
            if key.is_elsewhere() {
                return false;
            }
        }
        if key.is_complete(cut) {
            return !is_documented(&key.body);
        }
    }
    false
}

/// What was read of a key.
#[derive(Default)]
struct Key {
    body: Vec<u8>,
    /// Other characters since its last piece.
    other: usize,
}

impl Key {
    fn add(&mut self, piece: &[u8]) {
        if self.other > BETWEEN {
            self.body.clear();
        }
        self.other = 0;
        self.body.extend_from_slice(piece);
    }

    fn skip(&mut self, piece: &[u8]) {
        self.other += piece.iter().filter(|byte| !byte.is_ascii_whitespace()).count();
    }

    /// Whether no key begins here any more.
    fn is_elsewhere(&self) -> bool {
        self.other > BEFORE
    }

    /// Whether it is one, as far as it was read. A documented key is read further, to be told from one that begins like it.
    fn is_complete(&self, cut: bool) -> bool {
        let enough = if cut { SHOWN } else { SHORTEST };
        let known = DOCUMENTED.iter().find(|known| known.as_bytes().starts_with(&self.body));
        self.body.len() >= enough
            && known.is_none_or(|known| known.len() == self.body.len())
            && self.body.iter().filter(|byte| byte.is_ascii_digit()).count() >= 2
    }
}

fn is_documented(body: &[u8]) -> bool {
    DOCUMENTED.iter().any(|known| body.starts_with(known.as_bytes()))
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// Whether a piece of text is Base64 and no word, path or number.
fn is_random(piece: &[u8]) -> bool {
    let count = |wanted| piece.iter().filter(|&&byte| class(byte) == wanted).count();
    piece.len() >= PIECE
        && count(Class::Upper) >= 2
        && count(Class::Lower) >= 2
        && class_changes(piece) * 100 >= piece.len() * if piece.len() < 40 { 35 } else { 20 }
}

/// Whether what stands before a text on its line makes it a value of its own: `sha256-`, `h1:`, `key = "`, `"etag": "`.
fn names_a_value(label: &[u8]) -> bool {
    let name = label.trim_ascii_end();
    let name = name.strip_suffix(b"\"").or_else(|| name.strip_suffix(b"'")).unwrap_or(name);
    let spaced = name.len() > name.trim_ascii_end().len() || name.len() < label.len();
    let name = name.trim_ascii_end();
    let letters = label.iter().any(u8::is_ascii_alphabetic);
    let digest = [b"sha1".as_slice(), b"sha224", b"sha256", b"sha384", b"sha512", b"SHA256", b"md5", b"h1"]
        .iter()
        .any(|digest| name.strip_suffix(b"-").or_else(|| name.strip_suffix(b":")).is_some_and(|n| n.ends_with(digest)));
    let field = name.strip_suffix(b":").and_then(|name| name.last());
    let field = spaced && field.is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'"' | b'\''));
    digest || field || (letters && label.iter().any(|byte| matches!(byte, b'=' | b'(')))
}

/// `text` without the escapes of JSON and programs, of URLs and of HTML.
fn plain(text: &[u8]) -> Vec<u8> {
    const TAG: usize = 32;
    let text = &text[..text.len().min(REACH)];
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = &text[at + 1..];
        let until = |end: u8| rest.iter().take(TAG).position(|&byte| byte == end);
        at += 1;
        match byte {
            b'\\' => {
                at += rest.iter().take_while(|&&byte| byte == b'\\').count();
                match text.get(at) {
                    Some(b'n' | b'r') => {
                        plain.push(b'\n');
                        at += 1;
                    }
                    Some(b't') => at += 1,
                    Some(b'u') => {
                        plain.push(b'\n');
                        at = text.len().min(at + 5);
                    }
                    _ => {}
                }
            }
            b'%' => {
                let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
                if let (Some(high), Some(low)) = (hex(rest.first()), hex(rest.get(1))) {
                    plain.push(u8::try_from(high * 16 + low).unwrap_or(b' '));
                    at += 2;
                }
            }
            b'<' | b'&' => {
                if let Some(end) = until(if byte == b'<' { b'>' } else { b';' }) {
                    plain.push(b'\n');
                    at += end + 1;
                }
            }
            byte => plain.push(byte),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{BASE62, made_of};

    fn header() -> String {
        ["-----BEGIN RSA ", "PRIVATE KEY-----"].concat()
    }

    fn wrapped(key: &str, width: usize, with: &str) -> String {
        key.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>().join(with)
    }

    #[test]
    fn a_key_is_found_however_it_is_wrapped() {
        for salt in 1..=200 {
            let key = format!("MIIEpAIBAAKCAQEA{}", made_of(BASE62, 800, salt));
            let header = header();
            let first = DOCUMENTED[0].get(..64).unwrap();
            for text in [
                format!("{header}\n{}", wrapped(&key, 32, "\n")),
                format!("{header}\n{}", wrapped(&key, 38, "\n")),
                format!("{header} {}", wrapped(&key, 64, " ")),
                format!("{header}{key}"),
                format!("{header}<br>{}", wrapped(&key, 64, "<br>")),
                format!("{header}%0A{}", wrapped(&key, 64, "%0A")),
                format!("{header}\\\\n{}", wrapped(&key, 64, "\\\\n")),
                format!("{header}\\u000a{}", wrapped(&key, 64, "\\u000a")),
                format!("{header}{}{}", "\n".repeat(12), wrapped(&key, 64, "\n")),
                format!("{header}{}{}", " ".repeat(520), wrapped(&key, 64, "\n")),
                format!("{header}\n{}\n{}", &key[..20], wrapped(&key[20..], 64, "\n")),
                format!("{header}\n# the key of the machine\n{}", wrapped(&key, 64, "\n")),
                format!("{header}\nX-Made-By: somebody, at 10:30\n{}", wrapped(&key, 64, "\n")),
                format!("{header}\n{first}\n{}", wrapped(&key, 64, "\n")),
                format!("{header}\nkey.pem:2:{}", wrapped(&key, 64, "\nkey.pem:3:")),
                format!("{header}\nkey.pem-2-{}", wrapped(&key, 64, "\nkey.pem-3-")),
                format!("{header}\n    2→{}", wrapped(&key, 64, "\n    3→")),
                format!("{header}\" +\n  \"{}", wrapped(&key, 64, "\\n\" +\n  \"")),
                format!("{header}\n> {}", wrapped(&key, 64, "\n> ")),
            ] {
                assert!(private_key(text.as_bytes()).is_some(), "{text}");
            }
        }
    }

    #[test]
    fn a_header_without_a_key_is_none() {
        let header = header();
        let random = |length, salt| made_of(BASE62, length, salt);
        for text in [
            header.clone(),
            format!("{header}\n...\n"),
            format!("{header}\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC{}...\n", random(32, 1)),
            format!("{header}\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC{}\n…\n", random(60, 1)),
            format!("{header}\npackage.json:3:  \"integrity\": \"sha512-{}==\"", random(86, 2)),
            format!("{header}\nscript-src 'sha256-{}='", random(43, 3)),
            format!("{header}\ngo.sum:8:golang.org/x/crypto v0.21.0 h1:{}=", random(43, 3)),
            format!("{header}\";\nlet token = \"{}\";\nlet other = load(\"{}\");", random(64, 4), random(64, 5)),
            format!(
                "{header}\";\nPKCS8EncodedKeySpec spec = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(stripped));"
            ),
            format!("{header}\n{}", "abstractSingletonProxyFactoryBean\n".repeat(20)),
            format!("{header}\n{}\n{}", &DOCUMENTED[0][..64], &DOCUMENTED[0][64..]),
            format!("{header}\n{}", "words of a page ".repeat(100) + &random(80, 6)),
        ] {
            assert!(private_key(text.as_bytes()).is_none(), "{text}");
        }
    }
}
