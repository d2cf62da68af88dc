//! A tool as it is offered to a model.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use systemprompt_llm::neutral::{Function, Json, Tool};

/// A tool that a model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolDefinition {
    /// Its name.
    pub name: String,
    /// What it does, and when to call it.
    pub description: String,
    /// The JSON Schema of its input, an object.
    pub input_schema: Value,
}

impl ToolDefinition {
    /// A tool that takes nothing.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        let input_schema = json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false});
        Self { name: name.into(), description: description.into(), input_schema }
    }

    /// The same, with a parameter that must be given, of a JSON type such as `string`.
    #[must_use]
    pub fn with_parameter(mut self, name: &str, json_type: &str, description: &str) -> Self {
        self.parameter(name, json_type, description);
        match &mut self.input_schema["required"] {
            Value::Array(required) => required.push(name.into()),
            other => *other = json!([name]),
        }
        self
    }

    /// The same, with a parameter that may be left out.
    #[must_use]
    pub fn with_optional_parameter(mut self, name: &str, json_type: &str, description: &str) -> Self {
        self.parameter(name, json_type, description);
        self
    }

    /// The same, with the input of this type and nothing else.
    #[must_use]
    pub fn with_input<T: JsonSchema>(mut self) -> Self {
        self.input_schema = schemars::schema_for!(T).to_value();
        self
    }

    fn parameter(&mut self, name: &str, json_type: &str, description: &str) {
        let parameter = json!({"type": json_type, "description": description});
        match &mut self.input_schema["properties"] {
            Value::Object(properties) => _ = properties.insert(name.to_owned(), parameter),
            other => *other = Value::Object(Map::from_iter([(name.to_owned(), parameter)])),
        }
    }

    /// The tool in neutral words.
    pub(super) fn spoken(&self) -> Tool {
        Tool::Function(Function {
            name: self.name.clone(),
            description: Some(self.description.clone()).filter(|description| !description.is_empty()),
            parameters: Some(Json::of(&self.input_schema)),
            ..Function::default()
        })
    }
}
