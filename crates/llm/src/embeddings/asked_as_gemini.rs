//! Being asked as Gemini is: `embedContent` and `batchEmbedContents`. The request is read as the one of OpenAI that means the
//! same, whoever is to answer it, and the answer is told in Gemini's form.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use systemprompt_model::json::{self, loose};

use crate::answer::reading::Reading;
use crate::error::ErrorAnswer;
use crate::format::Format;
use crate::request::InferenceRequest;
use crate::request::error::RequestError;

/// The fields that say how a text is embedded, with what they are called in a request of OpenAI's form.
const SETTINGS: [(&str, &str); 3] =
    [("taskType", "task_type"), ("title", "title"), ("outputDimensionality", "dimensions")];

/// How Gemini is asked to embed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeminiEmbedding {
    /// `embedContent`: one text.
    One,
    /// `batchEmbedContents`: several.
    Batch,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<Values<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embeddings: Option<Vec<Values<'a>>>,
    usage_metadata: Counted,
}

#[derive(Serialize)]
struct Values<'a> {
    /// As the provider wrote them.
    values: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    prompt_token_count: u64,
    total_token_count: u64,
}

impl GeminiEmbedding {
    /// What a method of a model asks for; `None` if it is not to embed.
    pub fn of_method(method: &str) -> Option<Self> {
        match method {
            "embedContent" => Some(Self::One),
            "batchEmbedContents" => Some(Self::Batch),
            _ => None,
        }
    }

    /// Reads a request for the model that its path names.
    pub fn parse(self, body: &[u8], model: String) -> Result<InferenceRequest, RequestError> {
        let read: Value = serde_json::from_slice(body).map_err(|error| malformed(body, &error))?;
        let Value::Object(mut fields) = read else {
            return Err(RequestError::NotAnObject { conversation: self.place() });
        };
        let (several, requests) = match self {
            Self::One => (false, vec![fields]),
            Self::Batch => match fields.remove("requests") {
                Some(Value::Array(requests)) if !requests.is_empty() => {
                    let objects = requests.into_iter().enumerate().map(|(at, request)| match request {
                        Value::Object(request) => Ok(request),
                        _ => Err(RequestError::invalid(format!("requests[{at}]"), "an object with `content`")),
                    });
                    (true, objects.collect::<Result<_, _>>()?)
                }
                Some(_) => return Err(RequestError::invalid("requests", "an array with at least one request")),
                None => {
                    let fix = "send an array of objects with `content`";
                    return Err(RequestError::Missing { field: "requests".into(), fix });
                }
            },
        };
        let path = |at: usize, field: &str| -> Cow<'static, str> {
            if several { format!("requests[{at}].{field}").into() } else { field.to_owned().into() }
        };
        let mut asked = Map::from_iter([("model".to_owned(), Value::from(model))]);
        for (name, ours) in SETTINGS {
            let setting = |request: &Map<String, Value>| {
                let snake = snake_case(name);
                request.get(name).or_else(|| request.get(&snake)).filter(|value| !value.is_null()).cloned()
            };
            let first = requests.first().and_then(setting);
            for (at, request) in requests.iter().enumerate() {
                if setting(request) != first {
                    return Err(RequestError::invalid(path(at, name), "the same in all requests of a batch"));
                }
            }
            if let Some(value) = first {
                asked.insert(ours.to_owned(), value);
            }
        }
        let texts = requests.iter().enumerate().map(|(at, request)| text(request, |field| path(at, field)));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        asked.insert("input".to_owned(), if several { json!(texts) } else { json!(texts.concat()) });
        let body = Bytes::from(Value::Object(asked).to_string());
        InferenceRequest::parse(Format::OpenAiEmbeddings, body)
    }

    /// The answer, which came in OpenAI's form with this status, and the status it has in Gemini's.
    pub fn told(self, status: u16, body: &[u8]) -> (u16, Vec<u8>) {
        if (200..300).contains(&status) {
            if let Some(told) = self.embeddings(body) {
                return (status, told);
            }
            let error = ErrorAnswer::upstream_interrupted("the provider sent an answer that has no embeddings");
            return (error.status, error.body(Format::Gemini, None));
        }
        let mut reading = Reading::new(0, 0);
        reading.read(Format::OpenAiEmbeddings.definition().answer_body, body);
        let mut error = reading.error.unwrap_or_default();
        if error.message.is_empty() {
            error.message = format!("the upstream provider answered with status {status}");
        }
        (status, ErrorAnswer::of_upstream(status, &error).body(Format::Gemini, None))
    }

    fn embeddings(self, body: &[u8]) -> Option<Vec<u8>> {
        let [data, usage] = json::pick(body, ["data", "usage"]).ok()?;
        let mut values = Vec::new();
        for entry in json::elements(data?, usize::MAX) {
            let [numbers] = json::pick(entry, ["embedding"]).ok()?;
            let numbers = std::str::from_utf8(numbers?).ok()?;
            values.push(Values { values: serde_json::from_str(numbers).ok()? });
        }
        let [tokens] = usage.map_or([None], |usage| loose::pick(usage, ["prompt_tokens"]));
        let tokens = tokens.and_then(loose::count).unwrap_or(0);
        let usage_metadata = Counted { prompt_token_count: tokens, total_token_count: tokens };
        let (embedding, embeddings) = match self {
            Self::One => (Some(values.pop().filter(|_| values.is_empty())?), None),
            Self::Batch => (None, Some(values)),
        };
        serde_json::to_vec(&Told { embedding, embeddings, usage_metadata }).ok()
    }

    const fn place(self) -> &'static str {
        match self {
            Self::One => "content",
            Self::Batch => "requests",
        }
    }
}

/// The text of one request: the only part of its content.
fn text(request: &Map<String, Value>, path: impl Fn(&str) -> Cow<'static, str>) -> Result<&str, RequestError> {
    let missing = |field| RequestError::Missing { field: path(field), fix: "send the text as `content.parts[0].text`" };
    let content = request.get("content").ok_or_else(|| missing("content"))?;
    let parts = content.get("parts").and_then(Value::as_array).ok_or_else(|| missing("content.parts"))?;
    let [part] = parts.as_slice() else {
        return Err(RequestError::invalid(path("content.parts"), "one text; send a content for each embedding"));
    };
    part.get("text").and_then(Value::as_str).ok_or_else(|| RequestError::NotOffered {
        field: path("content.parts[0]"),
        fix: "only texts are embedded, so send `text`",
    })
}

/// Why a body is no JSON.
fn malformed(body: &[u8], error: &serde_json::Error) -> RequestError {
    let before: usize =
        body.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    RequestError::Malformed { expected: "JSON", offset: before + error.column().saturating_sub(1) }
}

/// Google's servers read both spellings.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 2);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neutral::Encoding;

    fn parse(form: GeminiEmbedding, body: &Value) -> Result<InferenceRequest, RequestError> {
        form.parse(body.to_string().as_bytes(), "e".to_owned())
    }

    fn one(text: &str) -> Value {
        json!({ "model": "models/e", "content": { "parts": [{ "text": text }], "role": "user" }, "taskType": "RETRIEVAL_QUERY",
            "output_dimensionality": 2 })
    }

    #[test]
    fn what_gemini_is_asked_reaches_gemini() {
        let request =
            parse(GeminiEmbedding::Batch, &json!({ "requests": [one("Köln 😀"), one("b")] })).expect("a request");
        assert_eq!((request.model.as_str(), request.format), ("e", Format::OpenAiEmbeddings));
        let written = request.translate(Format::GeminiEmbeddings, &Encoding::of("up"), "1", 0).expect("a translation");
        let sent = |text: &str| {
            json!({ "model": "models/up", "content": { "parts": [{ "text": text }] }, "taskType": "RETRIEVAL_QUERY",
                "outputDimensionality": 2 })
        };
        let written: Value = serde_json::from_slice(&written.bytes).expect("JSON");
        assert_eq!(written, json!({ "requests": [sent("Köln 😀"), sent("b")] }));
        let single = parse(GeminiEmbedding::One, &one("a")).expect("a request");
        let body: Value = serde_json::from_slice(single.body()).expect("JSON");
        assert_eq!(body, json!({ "model": "e", "input": "a", "task_type": "RETRIEVAL_QUERY", "dimensions": 2 }));
    }

    #[test]
    fn what_is_wrong_is_named_as_gemini_names_it() {
        for (form, body, expected) in [
            (GeminiEmbedding::Batch, json!({}), "`requests` is missing"),
            (GeminiEmbedding::Batch, json!({ "requests": [] }), "`requests` must be an array"),
            (GeminiEmbedding::Batch, json!({ "requests": [7] }), "`requests[0]` must be an object"),
            (GeminiEmbedding::Batch, json!({ "requests": [one("a"), {}] }), "`requests[1].taskType` must be the same"),
            (GeminiEmbedding::Batch, json!({ "requests": [{}] }), "`requests[0].content` is missing"),
            (GeminiEmbedding::One, json!({ "content": { "parts": [] } }), "`content.parts` must be one text"),
            (
                GeminiEmbedding::One,
                json!({ "content": { "parts": [{ "inlineData": {} }] } }),
                "`content.parts[0]` is not offered here: only texts",
            ),
            (GeminiEmbedding::One, json!([]), "must be a JSON object"),
        ] {
            let error = parse(form, &body).expect_err("no request");
            assert!(error.to_string().contains(expected), "{error} — expected {expected:?} for {body}");
        }
        let error = GeminiEmbedding::One.parse(b"{\n \"content\": <", "e".to_owned()).expect_err("no JSON");
        assert_eq!(error.to_string(), "the request body is not valid JSON: expected JSON at byte 14");
    }

    #[test]
    fn answers_and_errors_are_told_in_geminis_form() {
        let answer = json!({ "object": "list", "model": "e", "usage": { "prompt_tokens": 7, "total_tokens": 7 },
            "data": [{ "object": "embedding", "index": 0, "embedding": [0.5, -1.25] }] });
        let told = |form: GeminiEmbedding, status, body: &Value| {
            let (status, told) = form.told(status, body.to_string().as_bytes());
            (status, serde_json::from_slice::<Value>(&told).expect("JSON"))
        };
        let usage = json!({ "promptTokenCount": 7, "totalTokenCount": 7 });
        let values = json!({ "values": [0.5, -1.25] });
        assert_eq!(
            told(GeminiEmbedding::Batch, 200, &answer),
            (200, json!({ "embeddings": [values], "usageMetadata": usage }))
        );
        assert_eq!(
            told(GeminiEmbedding::One, 200, &answer),
            (200, json!({ "embedding": values, "usageMetadata": usage }))
        );
        assert_eq!(told(GeminiEmbedding::One, 200, &json!({ "data": [] })).0, 502);
        let (status, error) =
            told(GeminiEmbedding::Batch, 429, &json!({ "error": { "message": "slow down", "type": "requests" } }));
        assert_eq!((status, &error["error"]["status"]), (429, &json!("RESOURCE_EXHAUSTED")));
        assert_eq!(error["error"]["message"], "slow down");
    }
}
