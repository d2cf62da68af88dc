//! How mixed and how evenly distributed the characters of a text are.

use std::sync::LazyLock;

/// The kinds of characters in a token.
#[derive(PartialEq, Clone, Copy)]
pub(crate) enum Class {
    Lower,
    Upper,
    Digit,
    Mark,
}

pub(crate) fn class(byte: u8) -> Class {
    match byte {
        b'a'..=b'z' => Class::Lower,
        b'A'..=b'Z' => Class::Upper,
        b'0'..=b'9' => Class::Digit,
        _ => Class::Mark,
    }
}

/// How many neighbours are letters or digits of different classes.
pub(crate) fn class_changes(token: &[u8]) -> usize {
    let differ = |pair: &[u8]| {
        let (left, right) = (class(pair[0]), class(pair[1]));
        left != right && left != Class::Mark && right != Class::Mark
    };
    token.windows(2).filter(|pair| differ(pair)).count()
}

/// How many different bytes there are in `text`.
pub(crate) fn distinct(text: &[u8]) -> usize {
    let mut seen = [false; 256];
    text.iter().filter(|&&byte| !std::mem::replace(&mut seen[usize::from(byte)], true)).count()
}

/// A count times its logarithm to the base of two, of the first counts.
static TIMES_LOG: LazyLock<Vec<f64>> = LazyLock::new(|| {
    (0..=32_u32).map(|count| if count == 0 { 0.0 } else { f64::from(count) * f64::from(count).log2() }).collect()
});

/// The Shannon entropy of the bytes of `token`, divided by the most that many bytes over an alphabet of 64 can have.
pub(crate) fn normalised_entropy(token: &[u8]) -> f64 {
    if token.len() < 2 {
        return 0.0;
    }
    let mut counts = [0_u32; 256];
    for &byte in token {
        counts[usize::from(byte)] += 1;
    }
    let length = token.len() as f64;
    let times_log = |count: u32| {
        let known = TIMES_LOG.get(count as usize).copied();
        known.unwrap_or_else(|| f64::from(count) * f64::from(count).log2())
    };
    let sum: f64 = counts.iter().filter(|&&count| count > 1).map(|&count| times_log(count)).sum();
    let entropy = length.log2() - sum / length;
    entropy / length.min(64.0).log2()
}
