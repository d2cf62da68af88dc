//! The settings of extensions: what an operator writes below `extensions.<prefix>` and in `services/config/<prefix>.yaml`.
//!
//! `config` reads the layers, lays them over each other and enforces the schema, which it is given by
//! [`ExtensionRegistry::section_specs`](crate::ExtensionRegistry::section_specs). What remains is done here: the schema is made strict beforehand, defaults are
//! filled in afterwards, and [`Extension::validate_config`](crate::Extension::validate_config) sees the result.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, json};
use systemprompt_config::Problem;

use crate::{JsonValue, LoaderError};

/// The settings of every enabled extension, by prefix: complete, valid and fixed.
#[derive(Debug, Clone, Default)]
pub struct ExtensionConfigs {
    pub(crate) by_prefix: BTreeMap<String, Settings>,
    pub(crate) warnings: Vec<Problem>,
}

/// The settings of one extension.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) extension: &'static str,
    pub(crate) value: JsonValue,
    pub(crate) shown: JsonValue,
}

impl ExtensionConfigs {
    /// The settings with this prefix.
    pub fn get(&self, prefix: &str) -> Option<&JsonValue> {
        self.by_prefix.get(prefix).map(|settings| &settings.value)
    }

    /// The settings with this prefix for people to see: texts that hold the
    /// value of a secret are `[redacted]`.
    pub fn shown(&self, prefix: &str) -> Option<&JsonValue> {
        self.by_prefix.get(prefix).map(|settings| &settings.shown)
    }

    /// The settings with this prefix as the extension's own type.
    pub fn typed<C: DeserializeOwned>(&self, prefix: &str) -> Result<C, LoaderError> {
        let failed =
            |extension: &str, message| LoaderError::ConfigValidationFailed { extension: extension.to_owned(), message };
        let settings = self
            .by_prefix
            .get(prefix)
            .ok_or_else(|| failed(prefix, format!("no enabled extension has the prefix '{prefix}'")))?;
        serde::Deserialize::deserialize(&settings.value)
            .map_err(|error: serde_json::Error| failed(settings.extension, format!("extensions.{prefix}: {error}")))
    }

    /// What the checks found that does not stop the start.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

/// The schema `config` enforces: the extension's own, in which objects that name their properties admit no others unless
/// they say so, and nothing is required that has a default.
///
/// Objects that are put together by `allOf` and its kin are left as they are: none of their parts knows all properties.
pub(crate) fn strict_schema(schema: Option<&JsonValue>) -> JsonValue {
    let Some(schema) = schema else { return json!({ "type": "object" }) };
    let mut strict = schema.clone();
    let composed = mentions(&strict, "allOf");
    close(&mut strict);
    if !composed && let Some(root) = strict.as_object_mut() {
        for definitions in ["$defs", "definitions"] {
            let definitions = root.get_mut(definitions).and_then(JsonValue::as_object_mut);
            definitions.into_iter().flat_map(Map::values_mut).for_each(close);
        }
    }
    strict
}

fn close(schema: &mut JsonValue) {
    const OPEN: [&str; 9] = [
        "additionalProperties",
        "unevaluatedProperties",
        "patternProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "if",
        "$ref",
        "dependentSchemas",
    ];
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(properties) = schema.get_mut("properties").and_then(JsonValue::as_object_mut) {
        properties.values_mut().for_each(close);
        let with_default: Vec<String> =
            properties.iter().filter(|(_, of)| of.get("default").is_some()).map(|(name, _)| name.clone()).collect();
        if let Some(required) = schema.get_mut("required").and_then(JsonValue::as_array_mut) {
            required.retain(|name| !with_default.iter().any(|other| name == other));
        }
        if !OPEN.iter().any(|key| schema.contains_key(*key)) {
            schema.insert("additionalProperties".to_owned(), JsonValue::Bool(false));
        }
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(below) {
            close(below);
        }
    }
}

fn mentions(value: &JsonValue, key: &str) -> bool {
    match value {
        JsonValue::Object(map) => map.contains_key(key) || map.values().any(|value| mentions(value, key)),
        JsonValue::Array(list) => list.iter().any(|value| mentions(value, key)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_closed_unless_they_say_otherwise() {
        let strict = strict_schema(Some(&json!({
            "type": "object",
            "required": ["url", "limit"],
            "properties": {
                "url": { "type": "string" },
                "limit": { "type": "integer", "default": 100 },
                "labels": { "type": "object", "properties": {}, "additionalProperties": { "type": "string" } },
                "targets": { "type": "array", "items": { "type": "object", "properties": { "host": {} } } },
                "either": { "anyOf": [{ "type": "object", "properties": { "a": {} } }, { "type": "null" }] },
                "by_ref": { "$ref": "#/$defs/thing" },
            },
            "$defs": { "thing": { "type": "object", "properties": { "x": {} } } },
        })));
        assert_eq!(strict["additionalProperties"], json!(false));
        assert_eq!(strict["required"], json!(["url"]), "a default is never missing");
        assert_eq!(strict["properties"]["labels"]["additionalProperties"], json!({ "type": "string" }));
        assert_eq!(strict["properties"]["targets"]["items"]["additionalProperties"], json!(false));
        assert_eq!(strict["properties"]["either"]["anyOf"][0].get("additionalProperties"), None);
        assert_eq!(strict["$defs"]["thing"]["additionalProperties"], json!(false));
        assert_eq!(strict_schema(None), json!({ "type": "object" }));
    }
}
