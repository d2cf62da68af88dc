//! Schemas, of which this format has two kinds: JSON Schema, and Google's own `Schema`, which came before.

use serde_json::{Map, Value, json};

use crate::neutral::Json;

/// Deeper schemas are left as they are.
const DEEPEST: usize = 100;

/// What Google does not read of JSON Schema. A model is not held to it.
const UNREAD: [&str; 17] = [
    "allOf",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "if",
    "maxLength",
    "minLength",
    "multipleOf",
    "not",
    "pattern",
    "patternProperties",
    "propertyNames",
    "then",
    "uniqueItems",
];

/// JSON Schema as Google takes it, and whether something of it holds no more. Written as it was if nothing has to change:
/// what it does not know it passes over.
pub(super) fn taken(schema: &Json) -> (Json, bool) {
    let mut value = schema.to_value();
    let mut lossy = false;
    let changed = change(&mut value, DEEPEST, &mut lossy);
    (if changed { Json::of(&value) } else { schema.clone() }, lossy)
}

fn change(schema: &mut Value, deepest: usize, lossy: &mut bool) -> bool {
    let (Value::Object(object), Some(deepest)) = (schema, deepest.checked_sub(1)) else { return false };
    let mut changed = false;
    // All of one is that one.
    let only = object.get("allOf").and_then(Value::as_array).filter(|all| all.len() == 1).map(|all| all[0].clone());
    if let Some(Value::Object(only)) = only {
        object.remove("allOf");
        for (name, value) in only {
            object.entry(name).or_insert(value);
        }
        changed = true;
    }
    // Beside a reference nothing may stand.
    if object.contains_key("$ref") && object.keys().any(|name| !name.starts_with('$')) {
        *lossy |= object.keys().any(|name| !name.starts_with('$') && !is_note(name));
        object.retain(|name, _| name.starts_with('$'));
        changed = true;
    }
    // One value is a choice of one.
    if let Some(value) = object.remove("const") {
        object.entry("enum").or_insert_with(|| json!([value]));
        changed = true;
    }
    *lossy |= object.keys().any(|name| UNREAD.contains(&name.as_str()));
    for (name, inside) in object.iter_mut() {
        match (name.as_str(), inside) {
            ("properties" | "$defs" | "definitions", Value::Object(schemas)) => {
                for schema in schemas.values_mut() {
                    changed |= change(schema, deepest, lossy);
                }
            }
            ("anyOf" | "oneOf" | "prefixItems", Value::Array(schemas)) => {
                for schema in schemas {
                    changed |= change(schema, deepest, lossy);
                }
            }
            ("items" | "additionalProperties", inside) => changed |= change(inside, deepest, lossy),
            _ => {}
        }
    }
    changed
}

fn is_note(name: &str) -> bool {
    matches!(name, "description" | "title" | "default" | "examples" | "deprecated" | "readOnly" | "writeOnly")
}

/// JSON Schema of Google's own `Schema`.
pub(super) fn standard(schema: &Json) -> Json {
    let mut value = schema.to_value();
    standardise(&mut value, DEEPEST);
    Json::of(&value)
}

fn standardise(schema: &mut Value, deepest: usize) {
    let (Value::Object(object), Some(deepest)) = (schema, deepest.checked_sub(1)) else { return };
    let in_camel = object.keys().any(|name| name.contains('_') && !name.starts_with('$'));
    if in_camel {
        *object = std::mem::take(object).into_iter().map(|(name, value)| (of_snake(name), value)).collect();
    }
    for (name, inside) in object.iter_mut() {
        match (name.as_str(), inside) {
            ("type", Value::String(kind)) => kind.make_ascii_lowercase(),
            ("properties" | "defs", Value::Object(schemas)) => {
                for schema in schemas.values_mut() {
                    standardise(schema, deepest);
                }
            }
            ("anyOf", Value::Array(schemas)) => {
                for schema in schemas {
                    standardise(schema, deepest);
                }
            }
            ("items" | "additionalProperties", inside) => standardise(inside, deepest),
            // Numbers of 64 bits are texts there.
            (
                "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties",
                count @ Value::String(_),
            ) => {
                if let Some(number) = count.as_str().and_then(|text| text.parse::<u64>().ok()) {
                    *count = number.into();
                }
            }
            _ => {}
        }
    }
    own_words(object);
}

/// What JSON Schema says in other words.
fn own_words(object: &mut Map<String, Value>) {
    object.remove("propertyOrdering");
    if object.get("format").and_then(Value::as_str) == Some("enum") {
        object.remove("format");
    }
    if object.get("type").and_then(Value::as_str) == Some("type_unspecified") {
        object.remove("type");
    }
    if let Some(example) = object.remove("example") {
        object.entry("examples").or_insert_with(|| json!([example]));
    }
    for (own, standard) in [("ref", "$ref"), ("defs", "$defs")] {
        if let Some(value) = object.remove(own) {
            object.insert(standard.to_owned(), value);
        }
    }
    if object.remove("nullable") == Some(Value::Bool(true))
        && let Some(kind) = object.get_mut("type").filter(|kind| kind.is_string())
    {
        *kind = json!([kind.take(), "null"]);
        if let Some(Value::Array(choices)) = object.get_mut("enum") {
            choices.push(Value::Null);
        }
    }
}

/// `any_of` is `anyOf`.
fn of_snake(name: String) -> String {
    let known = ["any_of", "max_items", "min_items", "property_ordering", "additional_properties"];
    let more = ["min_length", "max_length", "min_properties", "max_properties"];
    if !known.contains(&name.as_str()) && !more.contains(&name.as_str()) {
        return name;
    }
    let mut spelled = String::with_capacity(name.len());
    let mut capital = false;
    for letter in name.chars() {
        match letter {
            '_' => capital = true,
            letter if std::mem::take(&mut capital) => spelled.push(letter.to_ascii_uppercase()),
            letter => spelled.push(letter),
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: Value) -> Json {
        Json::of(&value)
    }

    #[test]
    fn schemas_are_taken_as_they_are_where_they_can_be() {
        let written =
            Json::parse(r#"{ "type":"object", "properties": {"b":{"type":["string","null"]}}, "x-new": 1.0 }"#);
        let written = written.expect("JSON");
        assert_eq!(taken(&written), (written.clone(), false));
        let schema = json(json!({
            "type": "object",
            "properties": {
                "a": { "$ref": "#/$defs/A", "description": "the a" },
                "b": { "const": "x" },
                "c": { "allOf": [{ "type": "string" }], "description": "c" },
            },
            "$defs": { "A": { "type": "string" } },
        }));
        let (fitted, lossy) = taken(&schema);
        let properties = json!({
            "a": { "$ref": "#/$defs/A" },
            "b": { "enum": ["x"] },
            "c": { "type": "string", "description": "c" },
        });
        assert_eq!((&fitted.to_value()["properties"], lossy), (&properties, false));
        for lossy in
            [json!({ "pattern": "a" }), json!({ "items": { "not": {} } }), json!({ "$ref": "a", "minimum": 1 })]
        {
            assert!(taken(&json(lossy.clone())).1, "{lossy}");
        }
    }

    #[test]
    fn googles_own_schema_becomes_json_schema() {
        let own = json!({
            "type": "OBJECT",
            "propertyOrdering": ["a"],
            "properties": {
                "a": { "type": "STRING", "nullable": true, "format": "enum", "enum": ["x"] },
                "any_of": { "type": "ARRAY", "min_items": "1", "items": { "any_of": [{ "type": "INTEGER" }] }, "example": [1] },
            },
        });
        assert_eq!(
            standard(&json(own)).to_value(),
            json!({
                "type": "object",
                "properties": {
                    "a": { "type": ["string", "null"], "enum": ["x", null] },
                    "any_of": { "type": "array", "minItems": 1, "items": { "anyOf": [{ "type": "integer" }] }, "examples": [[1]] },
                },
            })
        );
    }
}
