//! Settings files of other programs: one value is read, put or taken away, and everything else stays as its owner wrote it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use systemprompt_config::edit::{EditError, Step, YamlText};

/// How a settings file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Syntax {
    /// JSON, with the comments and trailing commas that some programs allow.
    Json,
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
    /// `NAME=value` lines.
    Variables,
}

/// Where a setting stands: the keys that lead to it. `[x]` is the item of a list whose `name` is `x`, `[~x]` the one in which
/// `x` stands somewhere, as it does in a command.
pub(crate) type Place = [String];

/// Why a file was left as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    /// It is not written as its name says.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// Something else stands on the way to the setting.
    #[error("`{0}` is something else than expected")]
    Occupied(String),
    /// The YAML cannot be changed.
    #[error(transparent)]
    Yaml(#[from] EditError),
}

impl Syntax {
    /// The value at a place.
    pub(crate) fn get(self, text: &str, place: &Place) -> Result<Option<Value>, DocumentError> {
        let whole = match self {
            Self::Json => json::value(text)?,
            Self::Toml => toml::value(text)?,
            Self::Yaml => YamlText::new(text)?.value().clone(),
            Self::Variables => return Ok(variables::get(text, &place.concat()).map(Value::from)),
        };
        let found = place.iter().try_fold(&whole, |value, step| match named(step) {
            Some(item) => value.as_array()?.iter().find(|candidate| item.is(candidate)),
            None => value.get(step),
        });
        Ok(found.cloned())
    }

    /// The text with this value at a place, or without any.
    pub(crate) fn set(self, text: &str, place: &Place, value: Option<&Value>) -> Result<String, DocumentError> {
        match self {
            Self::Json => json::set(text, place, value),
            Self::Toml => toml::set(text, place, value),
            Self::Yaml => {
                let mut document = YamlText::new(text)?;
                let steps: Vec<_> = place.iter().map(|key| Step::Key(key)).collect();
                match value {
                    Some(value) => document.set(&steps, value)?,
                    None => drop(document.remove(&steps)?),
                }
                Ok(document.text().to_owned())
            }
            Self::Variables => {
                let value = value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                Ok(variables::set(text, &place.concat(), value.as_deref()))
            }
        }
    }
}

/// What an item of a list is looked for by.
#[derive(Debug, Clone, Copy)]
enum Item<'a> {
    /// Its name.
    Named(&'a str),
    /// A text in it.
    Holding(&'a str),
}

impl Item<'_> {
    fn is(self, item: &Value) -> bool {
        match self {
            Self::Named(name) => item["name"] == name,
            Self::Holding(text) => item.to_string().contains(text),
        }
    }
}

fn named(step: &str) -> Option<Item<'_>> {
    let item = step.strip_prefix('[')?.strip_suffix(']')?;
    Some(item.strip_prefix('~').map_or(Item::Named(item), Item::Holding))
}

mod json {
    use jsonc_parser::ParseOptions;
    use jsonc_parser::cst::{CstArray, CstInputValue, CstObject, CstRootNode};
    use serde_json::{Value, json};

    use super::{DocumentError, Item, Place, named};

    pub(super) fn value(text: &str) -> Result<Value, DocumentError> {
        Ok(parse(text, "{}")?.to_serde_value().unwrap_or(Value::Null))
    }

    pub(super) fn set(text: &str, place: &Place, value: Option<&Value>) -> Result<String, DocumentError> {
        let is_list = place.first().is_some_and(|step| named(step).is_some());
        let root = parse(text, if is_list { "[]\n" } else { "{}\n" })?;
        if is_list {
            in_array(&root.array_value().ok_or_else(|| occupied(place))?, place, value)?;
        } else {
            in_object(&root.object_value().ok_or_else(|| occupied(place))?, place, value)?;
        }
        Ok(root.to_string())
    }

    fn parse(text: &str, empty: &str) -> Result<CstRootNode, DocumentError> {
        let text = if text.trim().is_empty() { empty } else { text };
        CstRootNode::parse(text, &ParseOptions::default()).map_err(|error| DocumentError::Unreadable(error.to_string()))
    }

    fn in_object(object: &CstObject, place: &Place, value: Option<&Value>) -> Result<(), DocumentError> {
        let Some((key, rest)) = place.split_first() else { return Ok(()) };
        match (object.get(key), rest.first(), value) {
            (None, _, None) => {}
            (Some(property), None, Some(value)) => property.set_value(input(value)),
            (Some(property), None, None) => property.remove(),
            (None, None, Some(value)) => drop(object.append(key, input(value))),
            (_, Some(next), _) if named(next).is_some() => {
                in_array(&object.array_value_or_create(key).ok_or_else(|| occupied(place))?, rest, value)?;
            }
            (_, Some(_), _) => {
                in_object(&object.object_value_or_create(key).ok_or_else(|| occupied(place))?, rest, value)?;
            }
        }
        Ok(())
    }

    fn in_array(array: &CstArray, place: &Place, value: Option<&Value>) -> Result<(), DocumentError> {
        let Some((step, rest)) = place.split_first() else { return Ok(()) };
        let wanted = named(step).ok_or_else(|| occupied(place))?;
        let mut items = array.elements().into_iter().filter_map(|item| item.as_object());
        let found = items.find(|item| item.to_serde_value().is_some_and(|value| wanted.is(&value)));
        match (found, rest.is_empty(), value) {
            (None, _, None) => {}
            (Some(item), true, Some(value)) => drop(item.replace_with(input(value))),
            (Some(item), true, None) => item.remove(),
            (None, true, Some(value)) => drop(array.append(input(value))),
            (Some(item), false, _) => in_object(&item, rest, value)?,
            (None, false, Some(_)) => {
                // What another item is to be known by has to be in it.
                let Item::Named(name) = wanted else { return Err(occupied(place)) };
                let item = array.append(input(&json!({"name": name})));
                in_object(&item.as_object().ok_or_else(|| occupied(place))?, rest, value)?;
            }
        }
        Ok(())
    }

    fn occupied(place: &Place) -> DocumentError {
        DocumentError::Occupied(place.first().cloned().unwrap_or_default())
    }

    fn input(value: &Value) -> CstInputValue {
        match value {
            Value::Null => CstInputValue::Null,
            Value::Bool(value) => CstInputValue::Bool(*value),
            Value::Number(number) => CstInputValue::Number(number.to_string()),
            Value::String(text) => CstInputValue::String(text.clone()),
            Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
            Value::Object(map) => {
                CstInputValue::Object(map.iter().map(|(key, value)| (key.clone(), input(value))).collect())
            }
        }
    }
}

mod toml {
    use serde_json::Value;
    use toml_edit::{Array, DocumentMut, Item, Table, value as item};

    use super::{DocumentError, Place};

    pub(super) fn value(text: &str) -> Result<Value, DocumentError> {
        Ok(plain(parse(text)?.as_item()))
    }

    pub(super) fn set(text: &str, place: &Place, value: Option<&Value>) -> Result<String, DocumentError> {
        let mut document = parse(text)?;
        let Some((last, parents)) = place.split_last() else { return Ok(text.to_owned()) };
        let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
        for key in parents {
            if !table.contains_key(key) {
                if value.is_none() {
                    return Ok(text.to_owned());
                }
                let mut new = Table::new();
                new.set_implicit(true);
                table.insert(key, Item::Table(new));
            }
            let below = table.get_mut(key).and_then(Item::as_table_like_mut);
            table = below.ok_or_else(|| DocumentError::Occupied(key.clone()))?;
        }
        match value {
            None => drop(table.remove(last)),
            Some(value) => match (table.get_mut(last).and_then(Item::as_value_mut), written(value)) {
                // With the comment that follows it.
                (Some(old), Item::Value(mut new)) => {
                    *new.decor_mut() = old.decor().clone();
                    *old = new;
                }
                (_, new) => drop(table.insert(last, new)),
            },
        }
        Ok(document.to_string())
    }

    fn parse(text: &str) -> Result<DocumentMut, DocumentError> {
        text.parse().map_err(|error: toml_edit::TomlError| DocumentError::Unreadable(error.message().to_owned()))
    }

    fn written(value: &Value) -> Item {
        match value {
            Value::Bool(value) => item(*value),
            Value::Number(number) => number.as_i64().map_or_else(|| item(number.as_f64().unwrap_or(0.0)), item),
            Value::Array(items) => {
                item(items.iter().filter_map(|one| written(one).into_value().ok()).collect::<Array>())
            }
            Value::Object(map) => Item::Table(map.iter().map(|(key, value)| (key.clone(), written(value))).collect()),
            Value::String(text) => item(text),
            Value::Null => Item::None,
        }
    }

    fn plain(item: &Item) -> Value {
        if let Some(table) = item.as_table_like() {
            return Value::Object(table.iter().map(|(key, item)| (key.to_owned(), plain(item))).collect());
        }
        match item {
            Item::Value(toml_edit::Value::Array(array)) => {
                array.iter().map(|value| plain(&Item::Value(value.clone()))).collect()
            }
            Item::ArrayOfTables(tables) => tables.iter().map(|table| plain(&Item::Table(table.clone()))).collect(),
            Item::Value(value) => value
                .as_bool()
                .map(Value::from)
                .or_else(|| value.as_integer().map(Value::from))
                .or_else(|| value.as_float().map(Value::from))
                .or_else(|| value.as_str().map(Value::from))
                .unwrap_or_else(|| Value::from(value.to_string().trim())),
            Item::Table(_) | Item::None => Value::Null,
        }
    }
}

mod variables {
    pub(super) fn get(text: &str, name: &str) -> Option<String> {
        text.lines().filter_map(|line| assigned(line, name)).next_back()
    }

    pub(super) fn set(text: &str, name: &str, value: Option<&str>) -> String {
        let line = value.map(|value| format!("{name}={}", quoted(value)));
        let mut written = false;
        let mut lines: Vec<String> = Vec::new();
        for old in text.lines() {
            if assigned(old, name).is_none() {
                lines.push(old.to_owned());
            } else if let Some(line) = line.as_ref().filter(|_| !written) {
                lines.push(line.clone());
                written = true;
            }
        }
        lines.extend(line.filter(|_| !written));
        lines.into_iter().map(|line| line + "\n").collect()
    }

    /// The value a line gives to this name.
    fn assigned(line: &str, name: &str) -> Option<String> {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let value = line.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim();
        let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        Some(inner.unwrap_or(value).to_owned())
    }

    fn quoted(value: &str) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+,=".contains(&byte);
        if value.bytes().all(plain) { value.to_owned() } else { format!("\"{value}\"") }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(text: &str) -> Vec<String> {
        text.split('/').map(str::to_owned).collect()
    }

    fn check(syntax: Syntax, before: &str, at: &str, value: Option<Value>, expected: &str) {
        let after = syntax.set(before, &place(at), value.as_ref()).expect("a change");
        assert_eq!(after, expected, "{at}");
        assert_eq!(syntax.get(&after, &place(at)).expect("a value"), value, "{at}");
    }

    #[test]
    fn json_keeps_what_people_wrote_around_it() {
        let before = "{\n  // mine\n  \"env\": {\n    \"A\": \"1\", // one\n  },\n  \"list\": [1,2]\n}\n";
        check(
            Syntax::Json,
            before,
            "env/B",
            Some(json!("2")),
            "{\n  // mine\n  \"env\": {\n    \"A\": \"1\", // one\n    \"B\": \"2\",\n  },\n  \"list\": [1,2]\n}\n",
        );
        check(Syntax::Json, before, "env/A", Some(json!("3")), &before.replace("\"1\"", "\"3\""));
        check(
            Syntax::Json,
            "",
            "a/b",
            Some(json!({"c": [1]})),
            "{\n  \"a\": {\n    \"b\": {\n      \"c\": [1]\n    }\n  }\n}\n",
        );
        check(Syntax::Json, "[]", "[x]", Some(json!({"name": "x"})), "[\n  {\n    \"name\": \"x\"\n  }\n]");
        let error = Syntax::Json.set(before, &place("list/x"), Some(&json!(1))).expect_err("a list has no names");
        assert_eq!(error.to_string(), "`list` is something else than expected");
        Syntax::Json.set("{", &place("a"), Some(&json!(1))).expect_err("no JSON");
    }

    #[test]
    fn toml_keeps_what_people_wrote_around_it() {
        let before = "# mine\nmodel = \"a\"  # the good one\n\n[mcp.x]\ncommand = \"y\"\n";
        check(Syntax::Toml, before, "model", Some(json!("b")), &before.replace("\"a\"", "\"b\""));
        check(
            Syntax::Toml,
            before,
            "providers/s/url",
            Some(json!("u")),
            &format!("{before}\n[providers.s]\nurl = \"u\"\n"),
        );
        check(
            Syntax::Toml,
            before,
            "kind",
            Some(json!("k")),
            "# mine\nmodel = \"a\"  # the good one\nkind = \"k\"\n\n[mcp.x]\ncommand = \"y\"\n",
        );
        check(Syntax::Toml, before, "model", None, "\n[mcp.x]\ncommand = \"y\"\n");
    }

    #[test]
    fn variables_keep_the_others() {
        let before = "# mine\nexport A='1'\nB=2\n";
        check(Syntax::Variables, before, "A", Some(json!("x y")), "# mine\nA=\"x y\"\nB=2\n");
        check(Syntax::Variables, before, "C", Some(json!("3")), "# mine\nexport A='1'\nB=2\nC=3\n");
        check(Syntax::Variables, before, "B", None, "# mine\nexport A='1'\n");
    }

    #[test]
    fn yaml_keeps_what_people_wrote_around_it() {
        check(Syntax::Yaml, "# mine\na: 1 # one\n", "b", Some(json!("x")), "# mine\na: 1 # one\nb: x\n");
    }
}
