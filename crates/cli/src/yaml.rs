//! JSON values as YAML, block style. Only what JSON can hold has to be written, which is a page of code; strings that
//! could be read as anything else are written as JSON strings, which YAML 1.2 reads alike.

use std::fmt::Write as _;

use serde_json::Value;

/// The document.
pub(crate) fn to_string(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0);
    out.trim_end().to_owned()
}

fn write(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (index, (key, value)) in map.iter().enumerate() {
                if index > 0 {
                    indent(out, depth);
                }
                out.push_str(&scalar(key));
                out.push(':');
                child(out, value, depth);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    indent(out, depth);
                }
                out.push_str("- ");
                write(out, item, depth + 1);
                end_line(out);
            }
        }
        Value::Object(_) => out.push_str("{}\n"),
        Value::Array(_) => out.push_str("[]\n"),
        Value::String(text) => {
            let _ = writeln!(out, "{}", scalar(text));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            let _ = writeln!(out, "{value}");
        }
    }
}

fn child(out: &mut String, value: &Value, depth: usize) {
    let nested = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if nested {
        out.push('\n');
        indent(out, depth + 1);
        write(out, value, depth + 1);
    } else {
        out.push(' ');
        write(out, value, depth);
    }
}

fn indent(out: &mut String, depth: usize) {
    out.push_str(&"  ".repeat(depth));
}

fn end_line(out: &mut String) {
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

/// A plain scalar if it is a harmless word, else a JSON string.
fn scalar(text: &str) -> String {
    let word = !text.is_empty()
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./ @".contains(c))
        && !text.ends_with(' ');
    let reserved =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if word && !reserved { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn nested_values() {
        let value =
            json!({"a": 1, "b": {"c": [1, {"d": "x y", "e": []}], "f": "yes"}, "g": null, "h": "1: 2\n", "i": {}});
        assert_eq!(
            super::to_string(&value),
            "a: 1\nb:\n  c:\n    - 1\n    - d: x y\n      e: []\n  f: \"yes\"\ng: null\nh: \"1: 2\\n\"\ni: {}"
        );
    }
}
