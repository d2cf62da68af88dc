//! What strangers wrote, made harmless for terminals. Model names, client ids, log lines and the texts of providers may
//! hold characters that clear the screen, turn the direction of a line around, or begin a line that looks like one of
//! ours. People see such a character as its escape; documents for programs keep it, in the escaped form of their language.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal acts on the character or shows nothing of it: control and format characters, and separators of lines.
/// The joiners that scripts and emoji need are none.
fn is_hidden(character: char) -> bool {
    match character {
        '\u{200c}' | '\u{200d}' => false,
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => true,
        other => other.is_control(),
    }
}

/// A text for one line: every hidden character is an escape, line breaks too.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

/// A text of several lines: line breaks and tabs are what they are, every other hidden character is an escape.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| is_hidden(character) && !matches!(character, '\n' | '\t'))
}

fn escaped(text: &str, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        // Writing to a string cannot fail.
        let _ = match character {
            _ if !is_hidden(character) => shown.write_char(character),
            '\n' => shown.write_str("\\n"),
            '\r' => shown.write_str("\\r"),
            '\t' => shown.write_str("\\t"),
            ascii if ascii.is_ascii() => write!(shown, "\\x{:02x}", u32::from(ascii)),
            other => write!(shown, "\\u{{{:x}}}", u32::from(other)),
        };
    }
    Cow::Owned(shown)
}

/// Whether a document would hold this character as it is. Line breaks and tabs are part of its form.
pub(crate) fn is_bare(character: char) -> bool {
    is_hidden(character) && !matches!(character, '\n' | '\t')
}

/// A JSON document in which such characters are escaped. They stand in strings only.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    document(text, |character, shown| {
        // What has no place in the basic plane is written in two halves.
        for half in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\u{half:04x}");
        }
    })
}

/// The same of a YAML document in which they only stand in double quotes.
pub(crate) fn yaml(text: &str) -> Cow<'_, str> {
    document(text, |character, shown| {
        // Writing to a string cannot fail.
        let _ = write!(shown, "\\U{:08x}", u32::from(character));
    })
}

fn document(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_bare) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_bare(character) { escape(character, &mut shown) } else { shown.push(character) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_terminals_act_on_is_shown() {
        for (text, expected) in [
            ("gpt-4.1 naïve 模型 👩‍💻", "gpt-4.1 naïve 模型 👩‍💻"),
            ("\u{1b}[2J\u{1b}]0;x\u{7}\n fake row", r"\x1b[2J\x1b]0;x\x07\n fake row"),
            ("a\r\nb\tc", r"a\r\nb\tc"),
            ("\u{9b}31m\u{7f}\0", r"\u{9b}31m\x7f\x00"),
            ("\u{202e}txt.exe\u{2066}\u{200f}\u{2028}", r"\u{202e}txt.exe\u{2066}\u{200f}\u{2028}"),
            ("tag\u{e0041}\u{feff}", r"tag\u{e0041}\u{feff}"),
        ] {
            assert_eq!(line(text), expected);
        }
        assert_eq!(lines("one\n\ttwo\u{1b}c\r\n"), "one\n\ttwo\\x1bc\\r\n");
        assert!(matches!(line("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn documents_stay_whole() {
        let text = "\u{1b}[2J\u{9b}\u{202e}\u{e0041}\u{7f} naïve\n";
        let written = serde_json::to_string_pretty(&[text]).expect("JSON");
        let shown = json(&written);
        assert!(!shown.contains(is_bare), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).expect("JSON"), [text]);
    }
}
