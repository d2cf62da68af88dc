//! The names of the tools a model is offered, wherever a format puts them.

use systemprompt_model::json::{Cursor, Kind, SyntaxError, pick, text};

/// Where a definition has its name, or the definition that has it.
const INSIDE: [&str; 4] = ["function", "custom", "toolSpec", "functionDeclarations"];

/// The names in a list of tools: `name`, that of its `function` or `toolSpec`, those of its `functionDeclarations`; of a
/// tool that the provider has itself and that has no other name, its `type`.
pub fn names(tools: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    // What cannot be read was refused when the request was read.
    let _ = gather(tools, &mut names);
    names
}

fn gather(value: &[u8], names: &mut Vec<String>) -> Result<(), SyntaxError> {
    match Cursor::new(value).kind()? {
        Kind::Array => {
            Cursor::new(value).elements(|_, cursor| gather(&value[cursor.skip()?], names))?;
        }
        Kind::Object => {
            let before = names.len();
            if let [Some(name)] = pick(value, ["name"])?
                && let Some(name) = text(name)
            {
                names.push(name.into_owned());
                return Ok(());
            }
            for inside in pick(value, INSIDE)?.into_iter().flatten() {
                gather(inside, names)?;
            }
            if names.len() == before
                && let [Some(kind)] = pick(value, ["type"])?
                && let Some(kind) = text(kind)
            {
                names.push(kind.into_owned());
            }
        }
        Kind::String | Kind::Number | Kind::Bool | Kind::Null => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_names_its_tools() {
        for (tools, expected) in [
            (
                r#"[{"name":"Read","input_schema":{}},{"type":"web_search_20250305","name":"web_search"}]"#,
                &["Read", "web_search"][..],
            ),
            (r#"[{"type":"function","function":{"name":"read","parameters":{"name":"no"}}}]"#, &["read"]),
            (
                r#"[{"type":"function","name":"read"},{"type":"web_search"},{"type":"custom","name":"patch"}]"#,
                &["read", "web_search", "patch"],
            ),
            (r#"[{"functionDeclarations":[{"name":"a"},{"name":"b"}]},{"googleSearch":{}}]"#, &["a", "b"]),
            (r#"[{"toolSpec":{"name":"a"}}]"#, &["a"]),
            ("[1,null,{}]", &[]),
            ("{broken", &[]),
        ] {
            assert_eq!(names(tools.as_bytes()), expected, "{tools}");
        }
    }
}
