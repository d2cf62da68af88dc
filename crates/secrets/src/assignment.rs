//! What is given to a name, in the many ways in which that is written.

use std::ops::Range;

/// A value and how it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    /// The value without quotation marks.
    pub(crate) place: Range<usize>,
    pub(crate) style: Style,
}

/// How a value stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// In quotation marks, or between tags.
    Quoted,
    /// On a line that is a setting: `NAME=value`, `name: value`.
    Setting,
    /// Anywhere else, where it may be the name of a variable.
    Bare,
}

/// The longest value.
pub(crate) const LONGEST: usize = 512;
/// The most spaces between a name, what gives it its value, and that.
const SPACES: usize = 24;

/// What stands between a name and its value, the longer before what it begins with.
const SIGNS: [&str; 23] = [
    ":::=", "::=", "??=", "||=", "===", "!==", "=>", "->", "<-", "<<", ":=", "?=", "+=", ".=", "==", "!=", "||", "=",
    ":", ">", "is ", "was ", "",
];

struct Cursor<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Cursor<'t> {
    fn rest(&self) -> &'t [u8] {
        &self.text[self.at.min(self.text.len())..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, most: usize, which: impl Fn(u8) -> bool) -> usize {
        let count = self.rest().iter().take(most).take_while(|&&byte| which(byte)).count();
        self.at += count;
        count
    }

    fn skip_spaces(&mut self) -> usize {
        self.skip(SPACES, |byte| matches!(byte, b' ' | b'\t'))
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text.as_bytes());
        self.at += if found { text.len() } else { 0 };
        found
    }

    /// Line breaks and the spaces around them.
    fn skip_lines(&mut self) -> bool {
        let blank = self.skip(2 * SPACES, |byte| byte.is_ascii_whitespace());
        self.text[self.at - blank..self.at].contains(&b'\n')
    }
}

/// The arguments of a call, as far as they are texts.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// What stands between quotation marks.
    pub(crate) quoted: Vec<Range<usize>>,
    /// How far it was read.
    pub(crate) read: usize,
}

/// What a function is called with whose name, perhaps in quotation marks, ends at `end`: `('app', '…')`, `')(app, '…')`.
pub(crate) fn arguments(text: &[u8], end: usize) -> Arguments {
    const MOST: usize = 4;
    const SIZE: usize = 256;
    let window = &text[end..text.len().min(end + SIZE)];
    let open = window.iter().take(4).take_while(|byte| is_quote(**byte) || matches!(byte, b')' | b'\\')).count();
    let mut arguments = Arguments::default();
    if window.get(open) != Some(&b'(') {
        return arguments;
    }
    let mut at = open + 1;
    while at < window.len() && arguments.quoted.len() < MOST && !matches!(window[at], b')' | b';') {
        if is_quote(window[at]) {
            let ends = |byte: &u8| *byte == window[at] || matches!(byte, b'\\' | b'\n');
            let Some(length) = window[at + 1..].iter().position(ends) else { break };
            arguments.quoted.push(end + at + 1..end + at + 1 + length);
            at += length + 1;
            // The mark may be escaped.
            at += usize::from(window.get(at) == Some(&b'\\'));
        }
        at += 1;
    }
    arguments.read = at;
    arguments
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// What is given to the name that ends at `end`, if that is told. `spaced`: a space is enough, as on command lines.
pub(crate) fn given(text: &[u8], name: &Range<usize>, spaced: bool) -> Option<Value> {
    let mut cursor = Cursor { text, at: name.end };
    let before = name.start.checked_sub(1).and_then(|at| text.get(at)).copied();
    // `<password>…`, `<x:password>…`, `<string name="password">…`
    let in_tag = matches!(before, Some(b'<' | b':'))
        || (matches!(before, Some(b'"')) && text[..name.start - 1].ends_with(b"name="));

    // The end of a quoted or indexed name.
    let mut closed = cursor.skip(4, |byte| is_quote(byte) || matches!(byte, b'\\' | b']'));
    let mut argument = false;
    while closed > 0 {
        let ends = cursor.take(")");
        if !ends && !cursor.take("]") {
            break;
        }
        argument |= ends;
        closed += 1;
    }
    let spaces = cursor.skip_spaces();

    let (mut multiline, mut prose) = (false, false);
    if attribute(&mut cursor) {
        // `name="password" value="…"`, `- name: PASSWORD` and `value: …` on the next line.
    } else if closed > 0 && cursor.peek() == Some(b',') {
        // `define('NAME', 'VALUE')`, not a list of names.
        if !text[..name.start]
            .trim_ascii_end()
            .strip_suffix(b"\"")
            .or_else(|| text[..name.start].strip_suffix(b"'"))
            .is_some_and(|before| before.trim_ascii_end().ends_with(b"("))
        {
            return None;
        }
        cursor.at += 1;
        cursor.skip_lines();
        if !opens_a_quote(&cursor) {
            return None;
        }
    } else if cursor.peek() == Some(b'(') {
        cursor.at += 1;
        cursor.skip_spaces();
        if !opens_a_quote(&cursor) {
            return None;
        }
    } else {
        typed(&mut cursor);
        let rest = cursor.rest();
        let stands = |sign: &&&str| sign.as_bytes().first() == rest.first() && rest.starts_with(sign.as_bytes());
        let sign = SIGNS.iter().find(stands).copied().unwrap_or_default();
        cursor.at += sign.len();
        match sign {
            "" if spaced && spaces > 0 && closed == 0 => {}
            // `password …` as a line of its own
            "" if spaces > 0 && closed == 0 && is_a_line(text, name.start, cursor.at) => {}
            // `WITH PASSWORD '…'`
            "" if spaces == 1 && closed == 0 && is_password(&text[name.clone()]) && cursor.peek() == Some(b'\'') => {}
            "is " | "was " if spaces == 1 && closed == 0 => prose = true,
            "is " | "was " | "" => return None,
            ">" if !in_tag => return None,
            ">" => multiline = true,
            // `sign(text, 'the_secret') => 'f7f9…'`: what a function gives.
            "=>" | "->" if argument => return None,
            ":" => {
                // `: |` begins a text on the next lines.
                let from = cursor.at;
                cursor.skip_spaces();
                if cursor.skip(2, |byte| matches!(byte, b'|' | b'>' | b'-')) > 0 && cursor.peek() == Some(b'\n') {
                    multiline = true;
                } else {
                    cursor.at = from;
                    typed_value(&mut cursor);
                }
            }
            _ => {}
        }
        if sign == "==" || sign == "!=" || sign == "===" || sign == "!==" || sign == "||" {
            cursor.skip_spaces();
            if !opens_a_quote(&cursor) {
                return None;
            }
        }
    }
    cursor.skip_spaces();
    if multiline {
        cursor.skip_lines();
    }
    // `b"…"`, `@"…"`, `Some("…`, `String::from("…`
    prefix(&mut cursor);

    let backslashes = cursor.rest().iter().take(4).take_while(|&&byte| byte == b'\\').count();
    match cursor.text.get(cursor.at + backslashes) {
        Some(&quote) if is_quote(quote) => {
            cursor.at += backslashes + 1;
            if cursor.rest().starts_with(&[quote, quote]) {
                cursor.at += 2;
            }
            let start = cursor.at;
            let window = &text[start..text.len().min(start + LONGEST)];
            let mut at = 0;
            loop {
                let next = memchr::memchr2(quote, b'\n', &window[at..])? + at;
                if window[next] == b'\n' {
                    return None;
                }
                let escaped = window[..next].iter().rev().take_while(|&&byte| byte == b'\\').count();
                if escaped <= backslashes && (backslashes == 0) == (escaped == 0) {
                    let place = scheme(text, start..start + next - escaped);
                    return Some(Value { place, style: Style::Quoted });
                }
                if escaped < backslashes {
                    return None;
                }
                at = next + 1;
            }
        }
        _ if backslashes > 0 => None,
        _ => {
            let start = scheme(text, cursor.at..cursor.at).start;
            let window = &text[start..text.len().min(start + LONGEST)];
            let in_query = matches!(before, Some(b'?' | b'&'));
            let is_setting = !in_query && (begins_a_line(&text[..name.start]) || is_variable(text, name));
            let stops = |byte: u8| {
                byte.is_ascii_whitespace()
                    || is_quote(byte)
                    || matches!(byte, b'<' | b'>' | b'\\')
                    || (!is_setting && matches!(byte, b',' | b')' | b'}' | b']' | b'&' | b'|'))
                    || byte == b';'
            };
            let length = window.iter().position(|&byte| stops(byte)).unwrap_or(window.len());
            let mut place = start..start + length;
            if prose {
                while matches!(text[..place.end].last(), Some(b'.' | b',' | b':')) && place.end > place.start {
                    place.end -= 1;
                }
                return (length > 0).then_some(Value { place, style: Style::Bare });
            }
            // `name=value,` is an argument.
            let argument = window[..length].ends_with(b",");
            if argument {
                place.end -= 1;
            }
            let after = text.get(place.end).copied();
            let style = match after {
                Some(b'<') if in_tag => Style::Quoted,
                Some(b'(' | b'[' | b'.') => return None,
                _ if is_setting && spaces <= 1 && !argument => Style::Setting,
                _ if spaced => Style::Setting,
                _ => Style::Bare,
            };
            (length > 0).then_some(Value { place, style })
        }
    }
}

/// Whether what ends here is the beginning of a line, as far as settings are concerned: `export `, `- `, `set `.
fn begins_a_line(before: &[u8]) -> bool {
    const WORDS: [&str; 10] = ["export", "set", "ENV", "ARG", "-e", "-", "SET", "setx", "--env", "--build-arg"];
    let tail = &before[before.len().saturating_sub(160)..];
    let quoted = tail.strip_suffix(b"\"").or_else(|| tail.strip_suffix(b"'")).unwrap_or(tail);
    // The end of the line before, also as texts of programs have it.
    let written = memchr::memrchr_iter(b'\\', quoted).find(|at| quoted.get(at + 1) == Some(&b'n')).map(|at| at + 2);
    let start = memchr::memrchr(b'\n', quoted).map(|at| at + 1).max(written);
    if start.is_none() && before.len() > tail.len() {
        return false;
    }
    let line = &quoted[start.unwrap_or(0)..];
    let line = line.trim_ascii();
    line.is_empty()
        || WORDS.iter().any(|word| line.ends_with(word.as_bytes()))
        || line.ends_with(b"#")
        || line.ends_with(b"{")
}

/// Whether a name at `start` begins a line, and one word at `at` ends it.
fn is_a_line(text: &[u8], start: usize, at: usize) -> bool {
    let before = text[..start].iter().rev().take(2 * SPACES).find(|byte| !matches!(byte, b' ' | b'\t'));
    if !matches!(before, None | Some(b'\n')) {
        return false;
    }
    let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\\';
    let rest = &text[at..text.len().min(at + LONGEST)];
    let Some(length) = rest.iter().position(ends).or((rest.len() < LONGEST).then_some(rest.len())) else {
        return false;
    };
    let word = at + length;
    // `secret_key fingerprint=…` gives something to another name.
    let mut parts = rest[..length].splitn(2, |&byte| byte == b'=');
    let named = parts.next().is_some_and(|name| name.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_'))
        && parts.next().is_some();
    if named {
        return false;
    }
    let more = text[word..].iter().take(SPACES).find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
    matches!(more, None | Some(b'\n' | b'\\')) && word - at >= 8
}

/// `NAME=` as shells have it, wherever it stands.
fn is_variable(text: &[u8], name: &Range<usize>) -> bool {
    let of_variable = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    text.get(name.end) == Some(&b'=') && name.len() >= 3 && text[name.clone()].iter().all(of_variable)
}

/// Whether SQL gives this a value without a sign.
fn is_password(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"password") || name.eq_ignore_ascii_case(b"passwd")
}

fn opens_a_quote(cursor: &Cursor<'_>) -> bool {
    let rest = cursor.rest();
    let at = rest.iter().take(4).take_while(|&&byte| byte == b'\\' || byte == b'b' || byte == b'@').count();
    rest.get(at).is_some_and(|&byte| is_quote(byte))
}

/// ` value="`, and `value: ` on the next line or in the object that begins here; also `default = ` in such a block, and what
/// a list of properties has behind its key.
fn attribute(cursor: &mut Cursor<'_>) -> bool {
    /// So much of an object may stand before its value.
    const BESIDE: usize = 96;
    let from = cursor.at;
    if cursor.take("</key>") {
        cursor.skip_lines();
        if cursor.take("<string>") {
            return true;
        }
        cursor.at = from;
        return false;
    }
    if matches!(cursor.peek(), Some(b':' | b'=')) {
        cursor.at += 1;
        cursor.skip_spaces();
        if !matches!(cursor.peek(), Some(b'{' | b'\n')) {
            cursor.at = from;
            return false;
        }
        // `{"sensitive": true, "value": …`
        let object = &cursor.rest()[..cursor.rest().len().min(BESIDE)];
        let object = &object[..object.iter().position(|&byte| byte == b'}').unwrap_or(object.len())];
        let value =
            [b"\"value\"".as_slice(), b"\\\"value\\\""].iter().find_map(|word| memchr::memmem::find(object, word));
        if let Some(at) = value.filter(|_| object.starts_with(b"{")) {
            cursor.at += at;
        }
    }
    cursor.take(">");
    cursor.take("{");
    cursor.take(",");
    cursor.skip_lines();
    cursor.skip(2, |byte| is_quote(byte) || byte == b'\\');
    if !matches!(cursor.peek(), Some(b'v' | b'V' | b'd')) {
        cursor.at = from;
        return false;
    }
    for word in ["value", "Value", "default", "VALUE"] {
        if cursor.take(word) {
            cursor.skip(2, |byte| is_quote(byte) || byte == b'\\');
            cursor.skip_spaces();
            if cursor.take("=>") || cursor.take("=") || cursor.take(":") || (word == "value" && cursor.take(">")) {
                return true;
            }
        }
    }
    cursor.at = from;
    false
}

/// The type of a variable, where one is written: `string` in `token string = "…"`.
fn typed(cursor: &mut Cursor<'_>) {
    let from = cursor.at;
    if cursor.skip(24, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'[' | b']' | b'&')) > 0
        && cursor.skip_spaces() > 0
    {
        let rest = cursor.rest();
        if rest.first() == Some(&b'=') && rest.get(1) != Some(&b'=') && rest.get(1) != Some(&b'>') {
            return;
        }
    }
    cursor.at = from;
}

/// The same behind a colon: `: string = "…"`, `: &'static str = "…"`.
fn typed_value(cursor: &mut Cursor<'_>) {
    let from = cursor.at;
    cursor.skip_spaces();
    let of_type = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'&' | b'\'' | b'<' | b'>' | b'?' | b'_' | b' ' | b'[' | b']' | b'|' | b':')
    };
    // In a random value one may stand too.
    let gives = |rest: &[u8]| matches!(rest, [b'=', b' ' | b'"' | b'\'' | b'`' | b'@', ..]);
    if cursor.skip(40, of_type) > 0 && gives(cursor.rest()) {
        cursor.at += 1;
        return;
    }
    cursor.at = from;
}

/// What may stand between the sign and the quotation mark.
fn prefix(cursor: &mut Cursor<'_>) {
    const CALLS: [&str; 10] = [
        "Some(",
        "String::from(",
        "str(",
        "String(",
        "SecretStr(",
        "Secret(",
        "new String(",
        "Secret::new(",
        "ConvertTo-SecureString ",
        "(",
    ];
    let from = cursor.at;
    let may_be_one = matches!(cursor.peek(), Some(b'S' | b's' | b'n' | b'C' | b'('));
    if may_be_one && let Some(call) = CALLS.iter().find(|call| cursor.rest().starts_with(call.as_bytes())) {
        cursor.at += call.len();
        cursor.skip_spaces();
        if opens_a_quote(cursor) {
            return;
        }
        cursor.at = from;
    }
    let letters = cursor
        .skip(2, |byte| matches!(byte, b'b' | b'B' | b'r' | b'R' | b'u' | b'U' | b'f' | b'F' | b'@' | b'$' | b'L'));
    if letters > 0 && !cursor.peek().is_some_and(is_quote) {
        cursor.at = from;
    }
}

/// Without the scheme of an `Authorization` header.
fn scheme(text: &[u8], place: Range<usize>) -> Range<usize> {
    const SCHEMES: [&str; 6] = ["bearer ", "token ", "apikey ", "key ", "digest ", "ghost "];
    let rest = &text[place.start.min(text.len())..];
    let found = SCHEMES
        .iter()
        .find(|scheme| rest.get(..scheme.len()).is_some_and(|word| word.eq_ignore_ascii_case(scheme.as_bytes())));
    let start = place.start + found.map_or(0, |scheme| scheme.len());
    start..place.end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_however_it_is_given() {
        for text in [
            "NAME=VALUE",
            "export NAME=VALUE\n",
            "NAME = \"VALUE\"",
            "NAME: VALUE\n",
            "\"NAME\": \"VALUE\"",
            "\\\"NAME\\\":\\\"VALUE\\\"",
            "'NAME' => 'VALUE',",
            "NAME := `VALUE`",
            "NAME::=VALUE",
            "NAME ?= VALUE",
            "NAME ??= \"VALUE\"",
            ".NAME(\"VALUE\")",
            "define('NAME', 'VALUE');",
            "<NAME>VALUE</NAME>",
            "<NAME>\n  VALUE\n</NAME>",
            "let NAME: &str = \"VALUE\";",
            "var NAME string = \"VALUE\"",
            "String NAME = \"VALUE\";",
            "NAME: str = 'VALUE'",
            "<add key=\"NAME\" value=\"VALUE\"/>",
            "- name: NAME\n  value: VALUE\n",
            "- name: NAME\n  value: \"VALUE\"\n",
            "config[\"NAME\"] = \"VALUE\"",
            "if NAME == \"VALUE\"",
            "NAME: |\n  VALUE\n",
            "NAME = b\"VALUE\"",
            "variable \"NAME\" {\n  default = \"VALUE\"\n}",
            "NAME: Bearer VALUE",
            "curl -H 'NAME: VALUE'",
            "?NAME=VALUE&x=1",
            "NAME -> \"VALUE\"",
            "NAME <- 'VALUE'",
            "NAME=\"\"\"VALUE\"\"\"",
            "NAME: Some(\"VALUE\"),",
        ] {
            let start = text.find("NAME").unwrap();
            let value = given(text.as_bytes(), &(start..start + 4), false);
            assert_eq!(value.map(|value| &text[value.place]), Some("VALUE"), "{text}");
        }
        assert_eq!(given(b"--NAME VALUE", &(2..6), true).unwrap().place, 7..12);
        for text in ["NAME VALUE", "NAME", "NAME:\n  other: 1", "NAME(VALUE)", "NAME, VALUE", "NAME == VALUE"] {
            assert_eq!(given(text.as_bytes(), &(0..4), false), None, "{text}");
        }
    }
}
