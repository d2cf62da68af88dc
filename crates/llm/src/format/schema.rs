//! JSON Schemas, made to fit what vendors take.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::neutral::Json;

/// Keywords that say something of the value itself, which Anthropic cannot hold a model to.
const LIMITS: [&str; 17] = [
    "additionalItems",
    "contains",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "propertyNames",
    "uniqueItems",
];
/// The same, of OpenAI.
const OPENAI_LIMITS: [&str; 13] = [
    "contains",
    "default",
    "maxContains",
    "maxLength",
    "maxProperties",
    "minContains",
    "minLength",
    "minProperties",
    "patternProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
];
/// What strings may be at vendors that hold a model to a schema.
const STRING_FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];
/// Deeper schemas are left as they are.
const DEEPEST: usize = 100;

/// The schema of a tool's input. Vendors want an object; a choice between objects becomes one that allows what any of them
/// does. One that is an object already stays as it is written.
pub(crate) fn of_input(schema: Option<&Json>) -> Json {
    let empty = || Json::of(&json!({ "type": "object", "properties": {} }));
    let Some(schema) = schema else { return empty() };
    let Value::Object(mut object) = schema.to_value() else { return empty() };
    let choices = ["anyOf", "oneOf", "allOf"].into_iter().any(|name| object.contains_key(name));
    if object.get("type").and_then(Value::as_str) == Some("object") && !choices {
        return schema.clone();
    }
    for name in ["anyOf", "oneOf", "allOf"] {
        let Some(Value::Array(branches)) = object.remove(name) else { continue };
        merge(&mut object, branches, name == "allOf");
    }
    object.insert("type".to_owned(), "object".into());
    object.entry("properties").or_insert_with(|| json!({}));
    Json::of(&object)
}

/// Adds the properties of branches. What all of them require is required, or what any does where all hold.
fn merge(object: &mut Map<String, Value>, branches: Vec<Value>, all_hold: bool) {
    // How many branches require a property, in the order in which they are named.
    let mut required: Vec<String> = Vec::new();
    let mut times: HashMap<String, usize> = HashMap::new();
    let all = branches.len();
    for branch in branches {
        let Value::Object(mut branch) = branch else { continue };
        if let Some(Value::Object(properties)) = branch.remove("properties")
            && let Value::Object(known) = object.entry("properties").or_insert_with(|| json!({}))
        {
            for (name, schema) in properties {
                known.entry(name).or_insert(schema);
            }
        }
        let Some(Value::Array(names)) = branch.remove("required") else { continue };
        let names: BTreeSet<String> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        for name in names {
            let times = times.entry(name.clone()).or_default();
            if *times == 0 {
                required.push(name);
            }
            *times += 1;
        }
    }
    let least = if all_hold { 1 } else { all };
    required.retain(|name| times[name] >= least);
    if required.is_empty() {
        return;
    }
    if let Value::Array(known) = object.entry("required").or_insert_with(|| json!([])) {
        let there: HashSet<String> = known.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        known.extend(required.into_iter().filter(|name| !there.contains(name)).map(Value::from));
    }
}

/// A schema an answer of Anthropic is held to, which knows a part of JSON Schema only: objects are closed, and limits that
/// cannot be kept go into the description, where the model still reads them. Written as it was if nothing has to change.
pub(crate) fn closed(schema: &Json) -> Json {
    let unsupported = |name: &str, value: &Value| match name {
        "minItems" => !matches!(value.as_u64(), Some(0 | 1)),
        "format" => value.as_str().is_none_or(|format| !STRING_FORMATS.contains(&format)),
        _ => LIMITS.contains(&name),
    };
    let mut value = schema.to_value();
    if change(&mut value, DEEPEST, &mut |object| close(object, unsupported)) {
        Json::of(&value)
    } else {
        schema.clone()
    }
}

/// The same for OpenAI, which wants every property required: one that need not be there may be `null` instead.
pub(crate) fn strict(schema: &Json) -> Json {
    let unsupported = |name: &str, _: &Value| OPENAI_LIMITS.contains(&name);
    let mut value = schema.to_value();
    let changed = change(&mut value, DEEPEST, &mut |object| {
        let closed = close(object, unsupported);
        require(object) || closed
    });
    if changed { Json::of(&value) } else { schema.clone() }
}

fn close(object: &mut Map<String, Value>, unsupported: impl Fn(&str, &Value) -> bool) -> bool {
    let mut changed = false;
    let is_object = object.get("type").is_some_and(|kind| is(kind, "object")) || object.contains_key("properties");
    if is_object && object.get("additionalProperties") != Some(&Value::Bool(false)) {
        object.insert("additionalProperties".to_owned(), false.into());
        changed = true;
    }
    if let Some(choices) = object.remove("oneOf") {
        object.entry("anyOf").or_insert(choices);
        changed = true;
    }
    let names: Vec<String> =
        object.iter().filter(|(name, value)| unsupported(name, value)).map(|(name, _)| name.clone()).collect();
    if !names.is_empty() {
        let limits: Vec<String> =
            names.iter().filter_map(|name| Some(format!("{name}: {}", object.remove(name)?))).collect();
        let limits = format!("{{{}}}", limits.join(", "));
        let description = match object.get("description").and_then(Value::as_str) {
            Some(words) => format!("{words}\n\n{limits}"),
            None => limits,
        };
        object.insert("description".to_owned(), description.into());
        changed = true;
    }
    changed
}

fn require(object: &mut Map<String, Value>) -> bool {
    let Some(Value::Object(properties)) = object.get("properties") else { return false };
    let names: Vec<Value> = properties.keys().map(|name| name.clone().into()).collect();
    let known: HashSet<String> = match object.get("required") {
        Some(Value::Array(known)) => known.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => HashSet::new(),
    };
    if properties.keys().all(|name| known.contains(name)) {
        return false;
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for (name, schema) in properties {
            if !known.contains(name) {
                *schema = nullable(schema.take());
            }
        }
    }
    object.insert("required".to_owned(), names.into());
    true
}

fn nullable(schema: Value) -> Value {
    match schema {
        Value::Object(mut object)
            if object.get("type").is_some_and(Value::is_string) && !object.contains_key("enum") =>
        {
            let kind = object["type"].take();
            object.insert("type".to_owned(), json!([kind, "null"]));
            object.into()
        }
        other => json!({ "anyOf": [other, { "type": "null" }] }),
    }
}

fn is(kind: &Value, name: &str) -> bool {
    match kind {
        Value::Array(kinds) => kinds.iter().any(|kind| is(kind, name)),
        kind => kind.as_str() == Some(name),
    }
}

/// Changes a schema and all schemas in it, inner ones first, and says whether anything changed.
fn change(schema: &mut Value, deepest: usize, one: &mut impl FnMut(&mut Map<String, Value>) -> bool) -> bool {
    let (Value::Object(object), Some(deepest)) = (schema, deepest.checked_sub(1)) else { return false };
    let mut changed = false;
    for (name, inside) in object.iter_mut() {
        match (name.as_str(), inside) {
            ("properties" | "$defs" | "definitions", Value::Object(schemas)) => {
                for schema in schemas.values_mut() {
                    changed |= change(schema, deepest, one);
                }
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                for schema in schemas {
                    changed |= change(schema, deepest, one);
                }
            }
            ("items" | "not", inside) => changed |= change(inside, deepest, one),
            _ => {}
        }
    }
    one(object) || changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: Value) -> Json {
        Json::of(&value)
    }

    #[test]
    fn inputs_are_objects() {
        let written = Json::parse(r#"{ "type":"object", "properties": {"b":{}, "a":{"default":1.0}} }"#).expect("JSON");
        assert_eq!(of_input(Some(&written)), written, "as it is written");
        for nothing in [None, Some(json(json!(true))), Some(json(json!({})))] {
            assert_eq!(of_input(nothing.as_ref()).to_value(), json!({ "type": "object", "properties": {} }));
        }
        let choice = json!({ "oneOf": [
            { "type": "object", "properties": { "a": { "type": "string" }, "c": {} }, "required": ["a", "c"] },
            { "type": "object", "properties": { "b": {}, "c": {} }, "required": ["c"] },
        ] });
        assert_eq!(
            of_input(Some(&json(choice))).to_value(),
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": {}, "c": {} }, "required": ["c"] })
        );
    }

    #[test]
    fn answers_are_held_to_what_can_be_held() {
        let schema = json!({
            "type": "object",
            "properties": {
                "age": { "type": "integer", "minimum": 1, "description": "years" },
                "tags": { "type": "array", "minItems": 1, "items": { "type": "string", "format": "uri" } },
                "inner": { "type": "object", "properties": {} },
            },
            "required": ["age"],
        });
        let closed = closed(&json(schema.clone())).to_value();
        assert_eq!(closed["additionalProperties"], false);
        assert_eq!(closed["properties"]["inner"]["additionalProperties"], false);
        assert_eq!(closed["properties"]["age"], json!({ "type": "integer", "description": "years\n\n{minimum: 1}" }));
        assert_eq!(closed["properties"]["tags"], schema["properties"]["tags"]);
        assert_eq!(closed["required"], json!(["age"]));

        let strict = strict(&json(schema)).to_value();
        assert_eq!(strict["required"], json!(["age", "tags", "inner"]));
        assert_eq!(strict["properties"]["tags"]["type"], json!(["array", "null"]));
        assert_eq!(strict["properties"]["age"]["type"], "integer");

        let done = Json::parse(
            r#"{"type":"object","properties":{"z":{"type":"null"}},"required":["z"],"additionalProperties":false}"#,
        )
        .expect("JSON");
        assert_eq!(super::closed(&done), done);
        assert_eq!(super::strict(&done), done);
    }
}
