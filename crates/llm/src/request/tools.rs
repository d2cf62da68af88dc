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

/// The names in the same list of the tools whose definition says that they destroy, in the words of MCP: an `annotations` with
/// `destructiveHint`, or with a `readOnlyHint` that is false and no word that they do not.
pub fn destructive(tools: &[u8]) -> Vec<String> {
    // Most lists have none, and are not read for that.
    if [&b"destructiveHint"[..], b"readOnlyHint"].iter().all(|hint| memchr::memmem::find(tools, hint).is_none()) {
        return Vec::new();
    }
    let mut destructive = Vec::new();
    // What cannot be read was refused when the request was read.
    let _ = gather_destructive(tools, &mut destructive);
    destructive
}

fn gather_destructive(value: &[u8], destructive: &mut Vec<String>) -> Result<(), SyntaxError> {
    match Cursor::new(value).kind()? {
        Kind::Array => {
            Cursor::new(value).elements(|_, cursor| gather_destructive(&value[cursor.skip()?], destructive))?;
        }
        Kind::Object => {
            // They may stand beside the definition that has the name.
            if destroys(value)? {
                destructive.extend(names(value));
                return Ok(());
            }
            for inside in pick(value, INSIDE)?.into_iter().flatten() {
                gather_destructive(inside, destructive)?;
            }
        }
        Kind::String | Kind::Number | Kind::Bool | Kind::Null => {}
    }
    Ok(())
}

fn destroys(definition: &[u8]) -> Result<bool, SyntaxError> {
    let [Some(annotations)] = pick(definition, ["annotations"])? else { return Ok(false) };
    if Cursor::new(annotations).kind()? != Kind::Object {
        return Ok(false);
    }
    let hints = pick(annotations, ["destructiveHint", "readOnlyHint"])?;
    let hints = hints.map(|hint| hint.map(<[u8]>::trim_ascii));
    Ok(matches!(hints, [Some(b"true"), _] | [None, Some(b"false")]))
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

    #[test]
    fn what_is_offered_as_destructive_is_known_in_every_format() {
        let tools = r#"[
            {"name":"merge","annotations":{"destructiveHint":true},"input_schema":{}},
            {"name":"read","annotations":{"readOnlyHint":true,"destructiveHint":false}},
            {"name":"write","annotations":{"readOnlyHint": false}},
            {"name":"append","annotations":{"readOnlyHint":false,"destructiveHint":false}},
            {"type":"function","function":{"name":"inside","annotations":{"destructiveHint":true}}},
            {"type":"function","function":{"name":"beside"},"annotations":{"destructiveHint":true}},
            {"functionDeclarations":[{"name":"one","annotations":{"destructiveHint":true}},{"name":"two"}]},
            {"toolSpec":{"name":"spec","annotations":{"destructiveHint":"true"}}},
            {"name":"odd","annotations":[1]}, {"name":"none"}
        ]"#;
        assert_eq!(destructive(tools.as_bytes()), ["merge", "write", "inside", "beside", "one"]);
        assert_eq!(destructive(br#"[{"name":"x"}]"#), [""; 0]);
        assert_eq!(destructive(b"[{\"destructiveHint\""), [""; 0]);
    }
}
