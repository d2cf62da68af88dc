//! Values as JSON, from the text form in which the server sends every type.

use serde_json::Value;

/// What the text form of a type becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A JSON number.
    Integer,
    /// A JSON number, or text for what JSON has no number for (`NaN`, `Infinity`).
    Float,
    /// `true` or `false`.
    Boolean,
    /// The document itself.
    Document,
    /// A list of values, whose delimiter is given.
    List(Box<Shape>, char),
    /// The text. Everything that a JSON number would damage (`numeric`) or that JSON does not know is text.
    Text,
}

impl Shape {
    /// The shape of a type by its name in `pg_type`.
    pub(crate) fn of(type_name: &str) -> Self {
        match type_name {
            "int2" | "int4" | "int8" | "oid" => Self::Integer,
            "float4" | "float8" => Self::Float,
            "bool" => Self::Boolean,
            "json" | "jsonb" => Self::Document,
            _ => Self::Text,
        }
    }

    /// The value, never `null`: what does not parse stays text.
    pub(crate) fn decode(&self, text: &str) -> Value {
        let decoded = match self {
            Self::Integer => text.parse::<i64>().ok().map(Value::from),
            Self::Float => text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number),
            Self::Boolean => match text {
                "t" => Some(Value::Bool(true)),
                "f" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Document => serde_json::from_str(text).ok(),
            Self::List(element, delimiter) => decode_list(text, element, *delimiter),
            Self::Text => None,
        };
        decoded.unwrap_or_else(|| Value::String(text.to_owned()))
    }
}

/// `{a,"b c",NULL,{…}}`, perhaps after explicit bounds (`[0:2]={…}`).
fn decode_list(text: &str, element: &Shape, delimiter: char) -> Option<Value> {
    let text = if text.starts_with('[') { text.split_once('=')?.1 } else { text };
    let mut characters = text.chars().peekable();
    let list = read_list(&mut characters, element, delimiter)?;
    characters.next().is_none().then_some(list)
}

fn read_list(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    element: &Shape,
    delimiter: char,
) -> Option<Value> {
    if characters.next()? != '{' {
        return None;
    }
    let mut items = Vec::new();
    if characters.next_if_eq(&'}').is_some() {
        return Some(Value::Array(items));
    }
    loop {
        match characters.peek()? {
            '{' => items.push(read_list(characters, element, delimiter)?),
            '"' => {
                characters.next();
                let mut text = String::new();
                loop {
                    match characters.next()? {
                        '"' => break,
                        '\\' => text.push(characters.next()?),
                        other => text.push(other),
                    }
                }
                items.push(element.decode(&text));
            }
            _ => {
                let mut text = String::new();
                while let Some(character) = characters.next_if(|next| *next != delimiter && *next != '}') {
                    text.push(character);
                }
                items.push(if text == "NULL" { Value::Null } else { element.decode(&text) });
            }
        }
        match characters.next()? {
            '}' => return Some(Value::Array(items)),
            next if next == delimiter => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_lists() {
        let texts = Shape::List(Box::new(Shape::Text), ',');
        assert_eq!(texts.decode(r#"{a,"b, \"c\"",NULL,"NULL",""}"#), json!(["a", "b, \"c\"", null, "NULL", ""]));
        let integers = Shape::List(Box::new(Shape::Integer), ',');
        assert_eq!(integers.decode("{{1,2},{3,NULL}}"), json!([[1, 2], [3, null]]));
        assert_eq!(integers.decode("[0:1]={7,8}"), json!([7, 8]));
        assert_eq!(integers.decode("{}"), json!([]));
        assert_eq!(integers.decode("{1"), json!("{1"));
    }

    #[test]
    fn what_json_cannot_say_stays_text() {
        assert_eq!(Shape::of("numeric").decode("1.10"), json!("1.10"));
        assert_eq!(Shape::of("float8").decode("NaN"), json!("NaN"));
        assert_eq!(Shape::of("int8").decode("9223372036854775807"), json!(9_223_372_036_854_775_807_i64));
        assert_eq!(Shape::of("jsonb").decode(r#"{"a": [1]}"#), json!({"a": [1]}));
        assert_eq!(Shape::of("my_enum").decode("on hold"), json!("on hold"));
    }
}
