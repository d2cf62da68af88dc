//! The lenient reader: the strings of a document in their order, whatever is around them.
//!
//! In JSON a quotation mark outside a string begins one, and a backslash occurs inside strings only. So the strings are
//! found with two byte searches, and structure matters only for the path of a string somebody asks about.

use std::fmt::Write as _;

use memchr::memchr;

use super::syntax::Span;
use super::text::plain_end;

/// Levels of nesting a path shows; what is deeper is cut off, so that a body of brackets costs no memory.
const PATH_DEPTH: usize = 64;

/// A string of a document: a value or an object key.
#[derive(Debug)]
pub struct Leaf<'a> {
    /// What is between the quotation marks, as bytes of the document.
    pub span: Span,
    /// Those bytes.
    pub raw: &'a [u8],
    /// Whether there are escapes in them.
    pub escaped: bool,
    /// The key it is the value of, escapes and all. `None` for keys and elements of arrays.
    pub key: Option<&'a [u8]>,
}

/// The document is not JSON as far as the order of its strings goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotJson;

/// The strings of a document in their order.
pub struct Strings<'a> {
    document: &'a [u8],
    at: usize,
    last_key: Option<&'a [u8]>,
}

impl<'a> Strings<'a> {
    /// The strings of `document`.
    pub fn of(document: &'a [u8]) -> Self {
        Self { document, at: 0, last_key: None }
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = Result<Leaf<'a>, NotJson>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.document[self.at..];
        let gap = memchr(b'"', rest).unwrap_or(rest.len());
        if !rest[..gap].iter().all(|&byte| between_strings(byte)) {
            self.at = self.document.len();
            return Some(Err(NotJson));
        }
        if gap == rest.len() {
            self.at = self.document.len();
            return None;
        }
        let start = self.at + gap + 1;
        let Some((end, escaped)) = string_end(self.document, start) else {
            self.at = self.document.len();
            return Some(Err(NotJson));
        };
        self.at = end + 1;

        let raw = &self.document[start..end];
        let is_key = next_mark(&self.document[end + 1..]) == Some(b':');
        let key = if is_key {
            self.last_key = Some(raw);
            None
        } else {
            // A key is only the key of the string that follows its colon directly.
            let key = self.last_key.take();
            if rest[..gap].iter().rev().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':') { key } else { None }
        };
        Some(Ok(Leaf { span: start..end, raw, escaped, key }))
    }
}

/// Whether a document is to be read as JSON. Anything else is text.
pub fn looks_like_json(document: &[u8]) -> bool {
    matches!(next_mark(document), Some(b'{' | b'[' | b'"'))
}

fn next_mark(bytes: &[u8]) -> Option<u8> {
    bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

/// What JSON allows outside of strings: marks, white space, numbers, `true`, `false`, `null`.
fn between_strings(byte: u8) -> bool {
    matches!(
        byte,
        b'{' | b'}' | b'[' | b']' | b':' | b',' | b' ' | b'\t' | b'\r' | b'\n' | b'+' | b'-' | b'.' | b'0'
            ..=b'9' | b'E' | b'e' | b't' | b'r' | b'u' | b'f' | b'a' | b'l' | b's' | b'n'
    )
}

/// Where the string that begins at `start` ends, and whether it has escapes.
fn string_end(document: &[u8], start: usize) -> Option<(usize, bool)> {
    let mut at = start;
    let mut escaped = false;
    loop {
        if at > document.len() {
            return None;
        }
        at = plain_end(document, at);
        match document.get(at)? {
            b'"' => return Some((at, escaped)),
            b'\\' => {
                escaped = true;
                at += 2;
            }
            // A control character should be escaped, and whoever receives this may not mind either.
            _ => at += 1,
        }
    }
}

/// The paths of the strings that begin at `starts` (in ascending order), such as `$.messages[0].content[1].text`.
///
/// A key that `hidden` says must not be shown, or that is itself the string, is written `<key>`.
pub fn paths(document: &[u8], starts: &[usize], hidden: impl Fn(&[u8]) -> bool) -> Vec<String> {
    enum Step<'a> {
        Key(&'a [u8]),
        Index(usize),
    }
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut depth = 0_usize;
    let mut paths = Vec::with_capacity(starts.len());
    let mut wanted = starts.iter().copied().peekable();
    let mut at = 0;
    while let Some(&start) = wanted.peek() {
        let Some(&byte) = document.get(at) else { break };
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth <= PATH_DEPTH {
                    steps.push(if byte == b'{' { Step::Key(b"") } else { Step::Index(0) });
                }
            }
            b'}' | b']' => {
                if depth <= PATH_DEPTH {
                    steps.pop();
                }
                depth = depth.saturating_sub(1);
            }
            b',' if depth <= PATH_DEPTH => {
                if let Some(Step::Index(index)) = steps.last_mut() {
                    *index += 1;
                }
            }
            b'"' => {
                let Some((end, _)) = string_end(document, at + 1) else { break };
                let is_key = next_mark(&document[end + 1..]) == Some(b':');
                if is_key && depth <= PATH_DEPTH {
                    // The string asked for is a key: its own name is what must not be shown.
                    let name: &[u8] = if at + 1 == start { b"" } else { &document[at + 1..end] };
                    if let Some(step @ Step::Key(_)) = steps.last_mut() {
                        *step = Step::Key(name);
                    }
                }
                if at + 1 == start {
                    let mut path = String::from("$");
                    for step in &steps {
                        match step {
                            Step::Key(name) if showable(name) && !hidden(name) => {
                                path.push('.');
                                path.extend(name.iter().copied().map(char::from));
                            }
                            Step::Key(_) => path.push_str(".<key>"),
                            Step::Index(index) => {
                                let _ = write!(path, "[{index}]");
                            }
                        }
                    }
                    if depth > PATH_DEPTH {
                        path.push('…');
                    }
                    paths.push(path);
                    wanted.next();
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    paths
}

/// Whether a key looks like a name somebody gave to a field.
fn showable(name: &[u8]) -> bool {
    (1..=64).contains(&name.len()) && name.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$'))
}

#[cfg(test)]
mod tests {
    use super::super::unescape;
    use super::*;

    fn strings(document: &str) -> Vec<(String, Option<String>)> {
        Strings::of(document.as_bytes())
            .map(|leaf| {
                let leaf = leaf.expect("the document is JSON");
                let mut text = Vec::new();
                unescape(leaf.raw, &mut text);
                let key = leaf.key.map(|key| String::from_utf8(key.to_vec()).unwrap());
                (String::from_utf8(text).unwrap(), key)
            })
            .collect()
    }

    #[test]
    fn every_string_is_seen_once_with_its_key() {
        let found = strings(r#" {"a" : "x", "b": ["y", {"c":"z"}], "d": 1.5e-3, "e": "w" } "#);
        let expected = [
            ("a", None),
            ("x", Some("a")),
            ("b", None),
            ("y", None),
            ("c", None),
            ("z", Some("c")),
            ("d", None),
            ("e", None),
            ("w", Some("e")),
        ];
        assert_eq!(found, expected.map(|(text, key)| (text.to_owned(), key.map(str::to_owned))));
        assert_eq!(strings(r#"["\"", "\\"]"#)[1].0, "\\");
        assert_eq!(strings("[\"a\nb\u{1}\\t\"]")[0].0, "a\nb\u{1}\t");
    }

    #[test]
    fn what_is_not_json_is_said_so() {
        for document in [r#"{"a": b}"#, r#"{"a": "b"#, r#"{"a": "b\"#, "{} sk-live", "[\"a\"] \u{e9}"] {
            assert!(Strings::of(document.as_bytes()).any(|leaf| leaf.is_err()), "{document}");
        }
    }

    #[test]
    fn a_path_names_fields_and_never_a_hidden_key() {
        let document =
            r#"{"messages":[{"a":"0"},{"content":["x",{"text":"here"}]}],"k":{"sk-1":{"b":"there"}},"odd key":"o"}"#;
        let start = |text: &str| document.find(text).unwrap();
        let found = paths(
            document.as_bytes(),
            &[start("here"), start("sk-1"), start("there"), start("odd key"), start("o\"}")],
            |key| key.starts_with(b"sk-"),
        );
        assert_eq!(found, ["$.messages[1].content[1].text", "$.k.<key>", "$.k.<key>.b", "$.<key>", "$.<key>"]);
    }

    #[test]
    fn nesting_costs_no_memory_and_keeps_its_place() {
        let document = format!("[{}\"deep\"{},\"flat\"]", "[".repeat(100_000), "]".repeat(100_000));
        let starts = [document.find("deep").unwrap(), document.find("flat").unwrap()];
        let found = paths(document.as_bytes(), &starts, |_| false);
        assert_eq!(found[0], format!("${}…", "[0]".repeat(64)));
        assert_eq!(found[1], "$[1]");
    }
}
