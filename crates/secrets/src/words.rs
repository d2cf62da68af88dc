//! What a person writes into a credential to say that it is none: words, repetitions, counting.
//!
//! Random text holds a short word by chance, and a real credential is sometimes followed by a word. So nothing is excused
//! because a word stands in it: the words are taken out, and what is left is judged.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use crate::letters::of_words;
use crate::measure::distinct;

/// Words that stand in a key only where somebody wrote a text instead of one. Long enough not to occur by chance.
const WORDS: [&str; 15] = [
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
    "password",
    "invalid",
    "testing",
];

/// The same for words that occur by chance in long keys, unless something separates them from the rest.
const SEPARATE_WORDS: [&str; 22] = [
    "your", "fake", "mock", "test", "tests", "todo", "key", "keys", "api", "token", "secret", "here", "goes", "not",
    "real", "my", "the", "for", "value", "demo", "foo", "bar",
];

/// Words of which passwords in examples are made, in the spelling [`folded`] gives them.
const PASSWORD_WORDS: [&str; 42] = [
    "insecure",
    "example",
    "placeholder",
    "changeme",
    "change",
    "redacted",
    "passphrase",
    "password",
    "passwort",
    "passwd",
    "pass",
    "secure",
    "secret",
    "super",
    "strong",
    "your",
    "dummy",
    "sample",
    "insert",
    "fake",
    "mock",
    "test",
    "todo",
    "admin",
    "user",
    "root",
    "login",
    "welcome",
    "qwerty",
    "letmein",
    "postgres",
    "mysql",
    "mariadb",
    "mongo",
    "redis",
    "oracle",
    "docker",
    "local",
    "demo",
    "default",
    "hello",
    "sqlserver",
];

static EXAMPLES: LazyLock<AhoCorasick> =
    LazyLock::new(|| AhoCorasick::new(WORDS.iter().chain(&SEPARATE_WORDS)).expect("a few dozen words"));
static PASSWORDS: LazyLock<AhoCorasick> =
    LazyLock::new(|| AhoCorasick::new(PASSWORD_WORDS).expect("a few dozen words"));

/// As many equal characters in a row no key has.
const REPEATED: usize = 6;
/// As many characters in the order of the alphabet or of the digits no key has.
const COUNTING: usize = 6;

/// The parts of `key` nobody wrote by hand: it without words, repetitions and counting.
pub(crate) fn random_part(key: &[u8]) -> Vec<u8> {
    if counts_interleaved(key) || is_periodic(key) {
        return Vec::new();
    }
    let lower = key.to_ascii_lowercase();
    let mut written = vec![false; key.len()];
    let free = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric());
    let before = |at: usize| at.checked_sub(1).and_then(|at| lower.get(at));
    for found in EXAMPLES.find_overlapping_iter(&lower) {
        let separate = found.pattern().as_usize() >= WORDS.len();
        if !separate || (free(before(found.start())) && free(lower.get(found.end()))) {
            written[found.range()].fill(true);
        }
    }
    mark_stretches(&lower, u8::eq, REPEATED, &mut written);
    mark_stretches(&lower, counts_on, COUNTING, &mut written);
    key.iter().zip(written).filter(|(_, written)| !written).map(|(&byte, _)| byte).collect()
}

/// Whether most of a password is words such as `P@ssw0rd`, or counting: `Abcd1234!`.
pub(crate) fn is_written_password(password: &[u8]) -> bool {
    let folded = folded(password);
    let mut written = vec![false; folded.len()];
    for found in PASSWORDS.find_overlapping_iter(&folded) {
        written[found.range()].fill(true);
    }
    let lower = password.to_ascii_lowercase();
    mark_stretches(&lower, counts_on, 3, &mut written);
    mark_stretches(&lower, u8::eq, 3, &mut written);
    let left = lower.iter().zip(&written).filter(|(byte, written)| !**written && byte.is_ascii_alphanumeric()).count();
    left * 2 < password.len() && left <= 6 || {
        // `SomeWords12345!`
        let counted = lower.chunk_by(counts_on).any(|stretch| stretch.len() >= 4 && stretch[0].is_ascii_digit());
        counted && left <= of_words(password) + 1
    }
}

/// A password as the words it was made of: `p@ssw0rd` is `password`.
fn folded(password: &[u8]) -> Vec<u8> {
    let letter = |byte: &u8| match byte.to_ascii_lowercase() {
        b'0' => b'o',
        b'@' | b'4' => b'a',
        b'$' | b'5' => b's',
        b'1' | b'!' => b'i',
        b'3' => b'e',
        other => other,
    };
    password.iter().map(letter).collect()
}

fn mark_stretches(lower: &[u8], goes_on: fn(&u8, &u8) -> bool, shortest: usize, written: &mut [bool]) {
    let mut at = 0;
    for stretch in lower.chunk_by(goes_on) {
        if stretch.len() >= shortest && stretch[0].is_ascii_alphanumeric() {
            written[at..at + stretch.len()].fill(true);
        }
        at += stretch.len();
    }
}

/// Whether `right` follows `left` where somebody counts, in decimal, in hexadecimal or through the alphabet.
fn counts_on(left: &u8, right: &u8) -> bool {
    let next = left.is_ascii_alphanumeric() && right.is_ascii_alphanumeric() && *right == left + 1;
    next || matches!((left, right), (b'9' | b'z', b'0' | b'a') | (b'f', b'0') | (b'0', b'a'))
}

/// Whether `text` is a part of the alphabet or of the digits, or several such parts.
pub(crate) fn counts_up(text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    let counting: usize = lower.chunk_by(counts_on).map(<[u8]>::len).filter(|&length| length >= COUNTING).sum();
    counting * 5 >= text.len() * 4
}

/// `a1b2c3d4e5f6…`: the letters count and the digits count.
fn counts_interleaved(text: &[u8]) -> bool {
    const SHORTEST: usize = 8;
    /// How many symbols there are of a kind, the last, and how many do not go on counting.
    #[derive(Default)]
    struct Counted(usize, u8, usize);
    impl Counted {
        fn add(&mut self, symbol: u8) {
            let goes_on = counts_on(&self.1, &symbol) || matches!((self.1, symbol), (b'f', b'a'));
            self.2 += usize::from(self.0 > 0 && !goes_on);
            (self.0, self.1) = (self.0 + 1, symbol);
        }

        fn counts(&self) -> bool {
            self.0 >= 4 && self.2 * 8 <= self.0
        }
    }
    let (mut letters, mut digits) = (Counted::default(), Counted::default());
    for byte in text {
        if byte.is_ascii_digit() {
            digits.add(*byte);
        } else if byte.is_ascii_alphabetic() {
            letters.add(byte.to_ascii_lowercase());
        }
    }
    text.len() >= SHORTEST && letters.counts() && digits.counts()
}

/// Whether `text` is one short text again and again, or of hardly any characters.
fn is_periodic(text: &[u8]) -> bool {
    const LONGEST_PERIOD: usize = 10;
    let marks = |byte: &u8| !byte.is_ascii_alphanumeric();
    let text: Vec<u8> = text.iter().copied().filter(|byte| !marks(byte)).collect();
    let repeats = |period: usize| text.len() >= period * 3 && text.iter().zip(&text[period..]).all(|(a, b)| a == b);
    let twice = text.len().is_multiple_of(2) && text[..text.len() / 2] == text[text.len() / 2..];
    text.len() >= 12 && (twice || (1..=LONGEST_PERIOD).any(repeats) || distinct(&text) <= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_told_from_what_is_random() {
        for (key, left) in [
            ("IOSFODNN7EXAMPLE", "IOSFODNN7"),
            ("Kx92mPqLvT77_dummy", "Kx92mPqLvT77_"),
            ("Kx92mPqLvT77yourQ", "Kx92mPqLvT77yourQ"),
            ("Kx92mPqLvT77-your-key", "Kx92mPqLvT77--"),
            ("Kx92mPqLvT77aaaaaaaa", "Kx92mPqLvT77"),
            ("1234567890abcdefghij", ""),
            ("0123456789abcdef0123456789abcdef", ""),
            ("a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6", ""),
            ("deadbeefdeadbeefdeadbeefdeadbeef", ""),
            ("xxxxxxxx-xxxx-xxxx", ""),
        ] {
            assert_eq!(String::from_utf8(random_part(key.as_bytes())).unwrap(), left, "{key}");
        }
    }

    #[test]
    fn passwords_made_of_words_are_told_from_chosen_ones() {
        for password in [
            "Passw0rd!",
            "P@ssw0rd123!",
            "Abcd1234!",
            "Postgres1!",
            "TestPassword123",
            "mysecretpassword",
            "your-Password-1",
            "Welcome2024!",
        ] {
            assert!(is_written_password(password.as_bytes()), "{password}");
        }
        for password in ["Gr8-Horse_Staple", "xK9#mP2$vL", "Kx92mPqLvT77", "xK9#testmP2$vLq8", "Kx9your2mPqLv-T7"] {
            assert!(!is_written_password(password.as_bytes()), "{password}");
        }
    }
}
