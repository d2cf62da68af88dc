//! What a name stands in: the object, the table or the section of a settings file that says whose it is.
//!
//! `"Jwt": {"Key": "…"}`, `[jwt]` and `key = "…"`, `jwt:` and `  key: …` all give a value to the key of `jwt`.

/// So far before a name what it stands in is looked for.
pub(crate) const NEAR: usize = 256;
/// The longest name.
const LONGEST: usize = 48;

/// The name of what the name at `at` stands in, if it is close before it.
pub(crate) fn enclosing(text: &[u8], at: usize) -> Option<&[u8]> {
    let before = &text[at.saturating_sub(NEAR)..at];
    // `Jwt:Key`
    if let Some(before) = before.strip_suffix(b":") {
        return name_at_the_end(before);
    }
    let mut depth = 0_usize;
    for at in memchr::memrchr2_iter(b'{', b'}', before) {
        match before[at] {
            b'}' => depth += 1,
            _ if depth > 0 => depth -= 1,
            _ => return named(&before[..at]),
        }
    }
    section(before)
}

/// The name to which an object is given that begins here: `"jwt": {`, `jwt = {`, `jwt {`, `provider "jwt" {`.
fn named(before: &[u8]) -> Option<&[u8]> {
    let before = before.trim_ascii_end();
    let before = before.strip_suffix(b"=>").or_else(|| before.strip_suffix(b"=")).unwrap_or(before);
    name_at_the_end(before.strip_suffix(b":").unwrap_or(before))
}

/// The same of lines: the nearest above that is less indented and ends with a colon, or the nearest `[section]`.
fn section(before: &[u8]) -> Option<&[u8]> {
    let mut lines = before.split(|&byte| byte == b'\n').rev();
    let own = lines.next()?;
    let indented = |line: &[u8]| line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    // What is listed stands in what it is listed under, indented or not.
    let depth = indented(own) + usize::from(own.contains(&b'-'));
    if !own.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'-' | b'"' | b'\'')) {
        return None;
    }
    for line in lines {
        let shown = line.trim_ascii();
        if shown.is_empty() || shown.starts_with(b"#") || shown.starts_with(b";") {
            continue;
        }
        if depth == 0 {
            if let Some(name) = shown.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")) {
                return name_at_the_end(name.strip_suffix(b"]").unwrap_or(name));
            }
        } else if indented(line) < depth {
            return shown.strip_suffix(b":").and_then(name_at_the_end);
        }
    }
    None
}

fn name_at_the_end(text: &[u8]) -> Option<&[u8]> {
    let mark = |byte: &&u8| matches!(byte, b'"' | b'\'' | b'`' | b'\\' | b' ');
    let text = &text[..text.len() - text.iter().rev().take(4).take_while(mark).count()];
    let part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let length = text.iter().rev().take(LONGEST).take_while(part).count();
    let name = &text[text.len() - length..];
    name.iter().any(u8::is_ascii_alphabetic).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_stands_in_is_known_however_it_is_written() {
        for text in [
            "{\"JWT\": {\"Issuer\": \"x\", \"NAME",
            "{\\\"JWT\\\": {\\\"NAME",
            "JWT:\n  issuer: x\n\n  # of today\n  NAME",
            "JWT:\n- NAME",
            "[JWT]\nissuer = \"x\"\nNAME",
            "[[auth.JWT]]\nNAME",
            "\"JWT:NAME",
            "JWT = { issuer = \"x\", NAME",
            "provider \"JWT\" {\n  NAME",
            "JWT {\n  other { a = 1 }\n  NAME",
            "'JWT' => {\n  'NAME",
        ] {
            let found = enclosing(text.as_bytes(), text.find("NAME").expect("it is there"));
            let found = found.map(|name| String::from_utf8_lossy(name).into_owned());
            assert!(found.as_deref().is_some_and(|name| name.ends_with("JWT")), "{text}: {found:?}");
        }
        for text in ["NAME", "jwt = 1\nNAME", "{\"jwt\": {\"a\": 1}, \"NAME", "a jwt:\nsome NAME", "[\"jwt\", \"NAME"] {
            assert_eq!(enclosing(text.as_bytes(), text.find("NAME").expect("it is there")), None, "{text}");
        }
    }
}
