//! Texts in Base64 or in hexadecimal digits, wrapped to lines or not.

use std::ops::Range;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// The shortest run that is looked at; one that is shorter holds no credential.
const SHORTEST: usize = 24;
/// So much of it tells whether it is a text.
const BEGINNING: usize = 32;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Gives each run in `text` that stands for a text to `found`, and that text.
pub(crate) fn texts(text: &[u8], mut found: impl FnMut(Range<usize>, &[u8])) {
    let mut at = 0;
    while let Some(&probe) = text.get(at + SHORTEST - 1) {
        let probed = at + SHORTEST - 1;
        if !is_part(probe) {
            at = probed + 1;
            continue;
        }
        let start = text[at..probed].iter().rposition(|&byte| !is_part(byte)).map_or(at, |gap| at + gap + 1);
        let (end, lines) = end_of(text, probed);
        if end - start >= SHORTEST
            && let Some(decoded) = decoded(&text[start..end], lines)
        {
            found(start..end, &decoded);
        }
        at = end.max(probed + 1);
    }
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Where the run ends that goes on at `at`, over the ends of lines too, and whether there are any in it.
fn end_of(text: &[u8], at: usize) -> (usize, bool) {
    const LINE: usize = 40;
    let run = |at: usize| text[at..].iter().position(|&byte| !is_part(byte)).map_or(text.len(), |length| at + length);
    let mut end = run(at);
    let mut lines = false;
    loop {
        let gap = match &text[end..] {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] | [b'\\', b'n', ..] => 2,
            _ => break,
        };
        let indent = text[end + gap..].iter().take(16).take_while(|&&byte| byte == b' ').count();
        let next = end + gap + indent;
        let until = run(next);
        let before = text[..end].iter().rev().take(LINE).take_while(|&&byte| is_part(byte)).count();
        if before < LINE || until - next < 4 {
            break;
        }
        (end, lines) = (until, true);
        // The last line of all is shorter.
        if until - next < LINE {
            break;
        }
    }
    let padding = text[end..].iter().take(2).take_while(|&&byte| byte == b'=').count();
    (end + padding, lines)
}

/// The text that a run stands for.
fn decoded(run: &[u8], lines: bool) -> Option<Vec<u8>> {
    let unwrapped: Vec<u8>;
    let run = if lines {
        let escaped = |at: usize| (run[at] == b'n' && at > 0 && run[at - 1] == b'\\') || run[at] == b'\\';
        unwrapped =
            (0..run.len()).filter(|&at| !run[at].is_ascii_whitespace() && !escaped(at)).map(|at| run[at]).collect();
        &unwrapped
    } else {
        run
    };
    let beginning = &run[..run.len().min(BEGINNING)];
    if run.len().is_multiple_of(2) && beginning.iter().all(u8::is_ascii_hexdigit) {
        return hex(beginning).filter(|text| is_text(text)).and_then(|_| hex(run)).filter(|text| is_text(text));
    }
    let safe = run.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let decode = |run: &[u8]| {
        let length = run.iter().position(|&byte| byte == b'=').unwrap_or(run.len());
        // One character more than whole bytes need is none of it.
        let length = length - usize::from(length % 4 == 1);
        let engine = if safe { URL_SAFE } else { STANDARD };
        engine.decode(&run[..length]).ok()
    };
    let first = decode(&beginning[..beginning.len() / 4 * 4])?;
    if !is_text(&first) {
        return None;
    }
    decode(run)
}

fn hex(run: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    run.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| (b' '..=b'~').contains(byte) || matches!(byte, b'\n' | b'\r' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        texts(text.as_bytes(), |place, decoded| {
            all.push((text[place].to_owned(), String::from_utf8_lossy(decoded).into_owned()));
        });
        all
    }

    #[test]
    fn encoded_texts_are_read() {
        let secret = "the secret is between these two words and a line that is long enough to be wrapped";
        let standard = STANDARD.encode(secret);
        for (written, run) in [
            (format!("x {standard} y"), standard.clone()),
            (format!("x=\"{}\"", URL_SAFE.encode(secret)), URL_SAFE.encode(secret)),
            (hex::encode(secret), hex::encode(secret)),
            (
                format!("x {}\n{}\n", &standard[..76], &standard[76..]),
                format!("{}\n{}", &standard[..76], &standard[76..]),
            ),
        ] {
            assert_eq!(found(&written), [(run, secret.to_owned())], "{written}");
        }
    }

    mod hex {
        pub(super) fn encode(text: &str) -> String {
            text.bytes().map(|byte| format!("{byte:02x}")).collect()
        }
    }

    #[test]
    fn what_is_no_text_is_left() {
        let bytes: Vec<u8> = (0..=255).collect();
        for text in [STANDARD.encode(bytes), "short".to_owned(), "words_of_a_path/and/more/of/it/with/names".to_owned()]
        {
            assert_eq!(found(&text), [], "{text}");
        }
    }
}
