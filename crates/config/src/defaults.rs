//! The defaults a JSON Schema names, put where nobody wrote anything.

use serde_json::{Map, Value};

/// The value of a section nobody wrote, before its defaults.
pub(crate) fn unwritten(schema: &Value) -> Value {
    match (schema.get("default"), schema.get("type").and_then(Value::as_str)) {
        (Some(default), _) => default.clone(),
        (None, Some("array")) => Value::Array(Vec::new()),
        (None, _) => Value::Object(Map::new()),
    }
}

/// Gives every absent property of an object that is there the `default` its schema names. An absent object with a schema
/// but without a default stays absent. Of alternatives the first counts whose constants and kind the value has.
pub fn fill_defaults(root: &Value, schema: &Value, value: &mut Value) {
    let schema = follow(root, schema);
    for alternatives in ["anyOf", "oneOf"] {
        let branches = schema.get(alternatives).and_then(Value::as_array).into_iter().flatten();
        if let Some(branch) = branches.map(|branch| follow(root, branch)).find(|branch| is_like(root, branch, value)) {
            fill_defaults(root, branch, value);
        }
    }
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        fill_defaults(root, part, value);
    }
    match value {
        Value::Object(object) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, of) in properties.into_iter().flatten() {
                if let Some(present) = object.get_mut(name) {
                    fill_defaults(root, of, present);
                } else if let Some(default) = of.get("default").or_else(|| follow(root, of).get("default")) {
                    let mut default = default.clone();
                    fill_defaults(root, of, &mut default);
                    object.insert(name.clone(), default);
                }
            }
            if let Some(others) = schema.get("additionalProperties").filter(|others| others.is_object()) {
                let known = |name: &String| properties.is_some_and(|properties| properties.contains_key(name));
                for (_, of) in object.iter_mut().filter(|(name, _)| !known(name)) {
                    fill_defaults(root, others, of);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for item in list {
                    fill_defaults(root, items, item);
                }
            }
        }
        _ => {}
    }
}

/// Whether a value may be what this alternative describes.
fn is_like(root: &Value, branch: &Value, value: &Value) -> bool {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = match branch.get("type").and_then(Value::as_str) {
        None => true,
        Some("integer") => kind == "number",
        Some(other) => other == kind,
    };
    let constants = branch.get("properties").and_then(Value::as_object).into_iter().flatten();
    fits && constants
        .filter_map(|(name, of)| Some((name, follow(root, of).get("const")?)))
        .all(|(name, constant)| value.get(name) == Some(constant))
}

/// The schema a chain of local references ends at. Sixteen links are more than any author writes, and end a circle.
fn follow<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..16 {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| root.pointer(pointer));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_fill_what_is_absent() {
        let schema = json!({
            "properties": {
                "limit": { "default": 100 },
                "retry": { "default": {}, "properties": { "times": { "default": 3 } } },
                "absent": { "properties": { "never": { "default": 1 } } },
                "list": { "items": { "$ref": "#/$defs/item" } },
                "thing": { "$ref": "#/$defs/item" },
            },
            "$defs": { "item": { "default": { "size": 1 }, "properties": { "size": { "default": 7 } } } },
        });
        let mut value = json!({ "list": [{}, { "size": 2 }] });
        fill_defaults(&schema, &schema, &mut value);
        assert_eq!(
            value,
            json!({
                "limit": 100,
                "retry": { "times": 3 },
                "list": [{ "size": 7 }, { "size": 2 }],
                "thing": { "size": 1 },
            })
        );
    }

    #[test]
    fn the_alternative_that_is_meant_is_filled() {
        let schema = json!({
            "items": { "anyOf": [
                { "properties": { "id": { "const": "scan" }, "mode": { "default": "enforce" } } },
                { "properties": { "id": { "const": "rate" }, "window": { "default": 60 } } },
            ] },
        });
        let mut value = json!([{ "id": "rate" }, { "id": "scan", "mode": "warn" }, { "id": "scan" }, { "id": "new" }]);
        fill_defaults(&schema, &schema, &mut value);
        assert_eq!(
            value,
            json!([{ "id": "rate", "window": 60 }, { "id": "scan", "mode": "warn" }, { "id": "scan", "mode": "enforce" },
                   { "id": "new" }])
        );
        let nullable = json!({ "properties": { "limits": { "anyOf": [
            { "properties": { "a": { "default": 1 } }, "type": "object" }, { "type": "null" }] } } });
        let mut value = json!({ "limits": {} });
        fill_defaults(&nullable, &nullable, &mut value);
        assert_eq!(value, json!({ "limits": { "a": 1 } }));
        let mut none = json!({ "limits": null });
        fill_defaults(&nullable, &nullable, &mut none);
        assert_eq!(none, json!({ "limits": null }));
        assert_eq!(
            (unwritten(&json!({"type": "array"})), unwritten(&json!({"type": "object"}))),
            (json!([]), json!({}))
        );
    }
}
