//! Answers as JSON of a schema, checked.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use systemprompt_llm::ResponseFormat;
use systemprompt_llm::neutral::{Function, Json, Output, Request, Tool, ToolChoice};
use systemprompt_model::ActionId;

use super::ai::AiService;
use super::error::AiError;
use super::message::AiMessage;
use super::request::AiRequest;
use super::response::AiResponse;
use super::speaking::speak;
use crate::routing::Listed;

/// Most mistakes of an answer that are told.
const MOST_MISTAKES: usize = 10;
/// What an answer of a schema is called where it needs a name.
const NAME: &str = "answer";

/// A question whose answer is JSON of a schema.
#[derive(Debug, Clone)]
pub struct StructuredOutputParams {
    /// The question.
    pub request: AiRequest,
    /// The JSON Schema of the answer.
    pub schema: Value,
}

impl StructuredOutputParams {
    /// A question whose answer is of this type.
    pub fn of<T: JsonSchema>(request: AiRequest) -> Self {
        Self { request, schema: schemars::schema_for!(T).to_value() }
    }
}

/// An answer that matches its schema.
#[derive(Debug, Clone)]
pub struct Structured<T> {
    /// The answer.
    pub value: T,
    /// How it came.
    pub response: AiResponse,
    /// The record of a first answer that did not match.
    pub repaired: Option<ActionId>,
}

impl AiService {
    /// Asks for JSON of a schema, in the way of the model's provider, and checks it. A model that gets it wrong is told what
    /// is wrong and asked once more.
    pub async fn generate_structured<T: DeserializeOwned>(
        &self,
        params: &StructuredOutputParams,
    ) -> Result<Structured<T>, AiError> {
        let StructuredOutputParams { request, schema } = params;
        mistakes(schema, &Value::Null).map_err(AiError::Invalid)?;
        let mut request = request.clone();
        let mut first = None;
        loop {
            let snapshot = self.inference.snapshot();
            let by_tool = |model: &str| snapshot.table.listed(model).is_some_and(only_takes_tools);
            let asking = speak(&snapshot, &request, &|said| {
                if by_tool(&said.model) { as_tool(said, schema) } else { as_output(said, schema) }
            })?;
            let response = self.answer(asking).await?;
            let wrong = match read(&response) {
                Err(wrong) => vec![wrong],
                Ok(value) => match mistakes(schema, &value) {
                    Err(error) => vec![error],
                    Ok(mistakes) if !mistakes.is_empty() => mistakes,
                    Ok(_) => match serde_json::from_value(value) {
                        Ok(value) => return Ok(Structured { value, response, repaired: first }),
                        Err(error) => vec![error.to_string()],
                    },
                },
            };
            if let Some(first) = first {
                let requests = [first, response.request_id];
                return Err(AiError::SchemaMismatch { requests, mistakes: wrong, response: Box::new(response) });
            }
            first = Some(response.request_id);
            // In words: a call that has no result cannot be gone on from.
            request.messages.push(AiMessage::assistant(match response.tool_calls.first() {
                Some(call) => call.input.clone(),
                None => response.content,
            }));
            request.messages.push(AiMessage::user(format!(
                "That does not match the schema that was asked for:\n- {}\nAnswer again with the corrected JSON and nothing else.",
                wrong.join("\n- ")
            )));
        }
    }
}

/// Whether a model takes no schemas, and can be made to call a tool instead.
fn only_takes_tools(listed: &Listed) -> bool {
    let capabilities = listed.model.capabilities;
    !capabilities.structured_output && capabilities.tools
}

fn as_output(said: &mut Request, schema: &Value) {
    said.output = Output {
        format: ResponseFormat::JsonSchema,
        schema: Some(Json::of(schema)),
        name: Some(NAME.to_owned()),
        ..Output::default()
    };
}

fn as_tool(said: &mut Request, schema: &Value) {
    said.tools.push(Tool::Function(Function {
        name: NAME.to_owned(),
        description: Some("Gives the answer.".to_owned()),
        parameters: Some(Json::of(schema)),
        ..Function::default()
    }));
    said.tool_choice = Some(ToolChoice::Named(NAME.to_owned()));
}

/// The JSON of an answer: the input of the tool it had to call, or its text, which some put into a fence.
fn read(response: &AiResponse) -> Result<Value, String> {
    if let Some(call) = response.tool_calls.iter().find(|call| call.name == NAME) {
        return Ok(call.input_object().to_value());
    }
    let text = response.content.trim();
    let inside = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
    let text = inside.and_then(|text| text.trim_end().strip_suffix("```")).unwrap_or(text);
    serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))
}

/// What keeps a value from matching a schema, which must be one.
pub(super) fn mistakes(schema: &Value, value: &Value) -> Result<Vec<String>, String> {
    let validator = jsonschema::options().build(schema).map_err(|error| format!("the schema is not valid: {error}"))?;
    let told = validator.iter_errors(value).take(MOST_MISTAKES).map(|error| {
        let at = error.instance_path().to_string();
        if at.is_empty() { error.to_string() } else { format!("{at}: {error}") }
    });
    Ok(told.collect())
}
