//! `${NAME}` and `${NAME:-default}` in string values, resolved after parsing: a value can neither add a key nor, but for the
//! field that receives it, change its type. `$${NAME}` is the literal text `${NAME}`.

use serde_json::Value;

use crate::document::{Document, child, dotted};
use crate::report::Problem;

/// How often a value may itself refer to a variable.
const MAX_PASSES: usize = 8;

/// Where names get their values.
pub(crate) struct Variables<'a> {
    /// The value of a name; an empty one counts as none.
    pub(crate) lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Whether values may refer to variables themselves: in service documents, not in profiles.
    pub(crate) nested: bool,
    /// What the sentence about an unset name calls the source.
    pub(crate) source: &'a str,
}

/// Replaces every placeholder, or reports every one that cannot be.
pub(crate) fn resolve(document: &mut Document, variables: &Variables<'_>, domain: &str) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut value = std::mem::take(&mut document.value);
    walk(&mut value, "", variables, &mut found);
    document.value = value;
    let mut problems = Vec::new();
    for (pointer, fault) in found {
        let Some(fault) = fault else {
            document.interpolated.insert(pointer);
            continue;
        };
        let problem = match fault {
            Fault::Unset(names) => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                let verb = if names.len() == 1 { "is" } else { "are" };
                Problem::error(
                    domain,
                    dotted(&pointer),
                    format!("{} {verb} not set in {}", names.join(", "), variables.source),
                )
                .suggest("export it, or give a default: ${NAME:-default}")
            }
            Fault::Malformed => Problem::error(domain, dotted(&pointer), "holds `${` without a name and a closing `}`")
                .suggest("write ${NAME}, or $${ for the text itself"),
            Fault::Endless => Problem::error(domain, dotted(&pointer), "the variables refer to each other without end"),
        };
        problems.push(problem.at_option(document.locate(&pointer)).code("unresolved_variable"));
    }
    problems
}

enum Fault {
    Unset(Vec<String>),
    Malformed,
    Endless,
}

fn walk(value: &mut Value, pointer: &str, variables: &Variables<'_>, found: &mut Vec<(String, Option<Fault>)>) {
    match value {
        Value::String(text) if text.contains("${") => match expand(text, variables, 0) {
            Ok(expanded) => {
                let escapes_only = !placeholders(text);
                *text = expanded;
                if !escapes_only {
                    found.push((pointer.to_owned(), None));
                }
            }
            Err(fault) => found.push((pointer.to_owned(), Some(fault))),
        },
        Value::Array(list) => {
            for (index, element) in list.iter_mut().enumerate() {
                walk(element, &child(pointer, &index.to_string()), variables, found);
            }
        }
        Value::Object(map) => {
            for (key, entry) in map.iter_mut() {
                walk(entry, &child(pointer, key), variables, found);
            }
        }
        _ => {}
    }
}

/// Whether the text holds a placeholder that is not escaped.
fn placeholders(text: &str) -> bool {
    text.replace("$${", "").contains("${")
}

fn expand(text: &str, variables: &Variables<'_>, depth: usize) -> Result<String, Fault> {
    if depth >= MAX_PASSES {
        return Err(Fault::Endless);
    }
    let mut out = String::with_capacity(text.len());
    let mut unset = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let Some((name, default, after)) = placeholder(from) else {
            // In a document this is a slip; in the value of a variable it is just text.
            if depth == 0 {
                return Err(Fault::Malformed);
            }
            out.push_str("${");
            rest = &from[2..];
            continue;
        };
        match (variables.lookup)(name).filter(|value| !value.is_empty()) {
            Some(value) if variables.nested => match expand(&value, variables, depth + 1) {
                Ok(value) => out.push_str(&value),
                Err(Fault::Unset(names)) => unset.extend(names),
                Err(other) => return Err(other),
            },
            Some(value) => out.push_str(&value),
            None => match default {
                Some(default) => out.push_str(default),
                None => unset.push(name.to_owned()),
            },
        }
        rest = after;
    }
    out.push_str(rest);
    if unset.is_empty() { Ok(out) } else { Err(Fault::Unset(unset)) }
}

/// Splits `${NAME:-default}rest`.
fn placeholder(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let (inside, after) = text.strip_prefix("${")?.split_once('}')?;
    let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((name, default, after))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::yaml;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            "PORT" => "9090",
            "EMPTY" => "",
            "EVIL" => "x\nadmin: true\nport: 1",
            "QUOTE" => "\"}, \"admin\": true",
            "NESTED" => "<${PORT}>",
            "LOOP" => "${LOOP}",
            "PASSWORD" => "p${a.b}",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn run(text: &str, nested: bool) -> Result<Document, Vec<Problem>> {
        let mut document = yaml::parse(text, Path::new("f.yaml"), "test").unwrap();
        let variables = Variables { lookup: &lookup, nested, source: "the environment" };
        let problems = resolve(&mut document, &variables, "test");
        if problems.is_empty() { Ok(document) } else { Err(problems) }
    }

    #[test]
    fn what_a_value_becomes() {
        for (text, nested, expected) in [
            ("${PORT}", false, "9090"),
            ("http://h:${PORT}/x", false, "http://h:9090/x"),
            ("${EMPTY:-8080}", false, "8080"),
            ("${NONE:-}", false, ""),
            ("${NONE:-a:-b}", false, "a:-b"),
            ("${PORT:-1}", false, "9090"),
            ("$${PORT}", false, "${PORT}"),
            ("a$${PORT}${PORT}", false, "a${PORT}9090"),
            ("$PORT and $$", false, "$PORT and $$"),
            ("${NESTED}", false, "<${PORT}>"),
            ("${NESTED}", true, "<9090>"),
            ("${PASSWORD}", true, "p${a.b}"),
        ] {
            let document = run(&format!("v: '{text}'"), nested).unwrap();
            assert_eq!(document.value["v"], expected, "{text}");
        }
    }

    #[test]
    fn a_value_never_adds_a_key() {
        for name in ["EVIL", "QUOTE"] {
            let document = run(&format!("v: ${{{name}}}\nw: [\"${{{name}}}\"]"), false).unwrap();
            let value = lookup(name).unwrap();
            assert_eq!(document.value, json!({"v": value, "w": [value]}));
        }
    }

    #[test]
    fn keys_are_not_interpolated() {
        assert_eq!(run("'${PORT}': 1", false).unwrap().value, json!({"${PORT}": 1}));
    }

    #[test]
    fn every_unresolved_name_is_reported_where_it_stands() {
        let problems = run("a: ${NONE}\nb:\n  - ${PORT}\n  - ${EMPTY} ${OTHER}\nc: ${bad name}\n", false).unwrap_err();
        let lines: Vec<_> = problems.iter().map(|p| format!("{}: {p}", p.line.unwrap())).collect();
        assert_eq!(
            lines,
            [
                "1: a: `NONE` is not set in the environment",
                "4: b[1]: `EMPTY`, `OTHER` are not set in the environment",
                "5: c: holds `${` without a name and a closing `}`",
            ]
        );
    }

    #[test]
    fn a_loop_ends() {
        let problems = run("a: ${LOOP}", true).unwrap_err();
        assert!(problems[0].message.contains("without end"));
        assert_eq!(run("a: ${LOOP}", false).unwrap().value["a"], "${LOOP}");
    }

    #[test]
    fn only_replaced_strings_may_change_their_type() {
        let document = run("a: ${PORT}\nb: $${PORT}\nc: x", false).unwrap();
        assert!(document.interpolated.contains("/a"));
        assert_eq!(document.interpolated.len(), 1);
    }
}
