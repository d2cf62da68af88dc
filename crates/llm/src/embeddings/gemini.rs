//! Asking Gemini: `POST /models/MODEL:batchEmbedContents`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use systemprompt_model::json::{self, loose};

use super::request::{EmbeddingsRequest, Texts};
use crate::request::error::RequestError;

/// A request written for Gemini.
#[derive(Debug)]
pub(crate) struct EmbeddingsForGemini {
    /// The body.
    pub(crate) bytes: Bytes,
    /// The way back.
    pub(crate) back: EmbeddingsBack,
}

/// The way back of a request that was written for Gemini.
#[derive(Debug, Clone)]
pub(crate) struct EmbeddingsBack {
    model: String,
    inputs: usize,
    estimated: u64,
    base64: bool,
}

#[derive(Serialize)]
struct Batch<'a> {
    requests: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    model: &'a str,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u64>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [Part<'a>; 1],
}

#[derive(Serialize)]
struct Part<'a> {
    /// As the caller wrote it.
    text: &'a RawValue,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Embedding<'a>>,
    model: &'a str,
    usage: ListUsage,
}

#[derive(Serialize)]
struct Embedding<'a> {
    object: &'static str,
    index: usize,
    #[serde(rename = "embedding")]
    numbers: Numbers<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers<'a> {
    /// As the provider wrote them.
    List(&'a RawValue),
    Base64(String),
}

#[derive(Serialize)]
struct ListUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl EmbeddingsRequest {
    /// Writes the request for Gemini, which knows the model by this name.
    pub(crate) fn for_gemini(&self, model: &str) -> Result<EmbeddingsForGemini, RequestError> {
        let spans = match &self.texts {
            Texts::One(span) => std::slice::from_ref(span),
            Texts::Several(spans) => spans,
            Texts::Tokens => {
                let fix = "Gemini does not know the tokens of another vendor's models, so send texts";
                return Err(RequestError::NotOffered { field: "input".into(), fix });
            }
        };
        let resource = if model.starts_with("models/") { model.to_owned() } else { format!("models/{model}") };
        let text = |at: usize| -> Result<&RawValue, RequestError> {
            let raw = std::str::from_utf8(&self.body[spans[at].clone()]).unwrap_or_default();
            serde_json::from_str(raw).map_err(|_| RequestError::invalid(format!("input[{at}]"), "a text"))
        };
        let one = |at: usize| {
            let content = Content { parts: [Part { text: text(at)? }] };
            let (task_type, title) = (self.purpose.task_type.as_deref(), self.purpose.title.as_deref());
            Ok(One { model: &resource, content, task_type, title, output_dimensionality: self.dimensions })
        };
        let requests = (0..spans.len()).map(one).collect::<Result<_, RequestError>>()?;
        // Texts, numbers and checked JSON serialise.
        let bytes = serde_json::to_vec(&Batch { requests }).unwrap_or_default();
        let back = EmbeddingsBack {
            model: self.model.clone(),
            inputs: self.inputs,
            estimated: self.estimated_input_tokens,
            base64: self.base64,
        };
        Ok(EmbeddingsForGemini { bytes: bytes.into(), back })
    }
}

impl EmbeddingsBack {
    /// Gemini's answer as the caller gets it. `None` if it is none, or has not as many embeddings as were asked for.
    pub(crate) fn whole(&self, body: &[u8]) -> Option<Vec<u8>> {
        let [embeddings] = json::pick(body, ["embeddings"]).ok()?;
        let mut data = Vec::new();
        for (index, embedding) in json::elements(embeddings?, usize::MAX).into_iter().enumerate() {
            let [values] = json::pick(embedding, ["values"]).ok()?;
            data.push(Embedding { object: "embedding", index, numbers: self.numbers(values?)? });
        }
        if data.len() != self.inputs {
            return None;
        }
        // It does not always count.
        let [counted] = loose::pick(body, ["usageMetadata"]);
        let [counted] = counted.map_or([None], |usage| loose::pick(usage, ["promptTokenCount"]));
        let tokens = counted.and_then(loose::count).unwrap_or(self.estimated);
        let usage = ListUsage { prompt_tokens: tokens, total_tokens: tokens };
        serde_json::to_vec(&List { object: "list", data, model: &self.model, usage }).ok()
    }

    fn numbers<'a>(&self, values: &'a [u8]) -> Option<Numbers<'a>> {
        let text = std::str::from_utf8(values).ok()?;
        if !self.base64 {
            return serde_json::from_str(text).ok().map(Numbers::List);
        }
        let numbers = loose::elements(values, usize::MAX);
        let mut bytes = Vec::with_capacity(4 * numbers.len());
        for number in numbers {
            let number: f32 = std::str::from_utf8(number).ok()?.trim().parse().ok()?;
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        Some(Numbers::Base64(BASE64_STANDARD.encode(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(body: &str) -> (Value, EmbeddingsBack) {
        let request = EmbeddingsRequest::parse(Bytes::from(body.to_owned())).expect("a request");
        let EmbeddingsForGemini { bytes, back } = request.for_gemini("gemini-embedding-001").expect("a translation");
        (serde_json::from_slice(&bytes).expect("JSON"), back)
    }

    fn told(back: &EmbeddingsBack, body: &Value) -> Option<Value> {
        back.whole(body.to_string().as_bytes()).map(|told| serde_json::from_slice(&told).expect("JSON"))
    }

    #[test]
    fn texts_are_asked_for_one_by_one_and_come_back_as_a_list() {
        let (asked, back) = asked(r#"{"model":"e","input":["Köln \ud83d\ude00","b"],"dimensions":2,"user":"u"}"#);
        let one = |text: &str| json!({ "model": "models/gemini-embedding-001", "content": { "parts": [{ "text": text }] }, "outputDimensionality": 2 });
        assert_eq!(asked, json!({ "requests": [one("Köln 😀"), one("b")] }));
        let answer = json!({ "embeddings": [{ "values": [0.5, -1.25] }, { "values": [1, 0] }],
            "usageMetadata": { "promptTokenCount": 7 } });
        let expected = json!({ "object": "list", "model": "e", "usage": { "prompt_tokens": 7, "total_tokens": 7 }, "data": [
            { "object": "embedding", "index": 0, "embedding": [0.5, -1.25] },
            { "object": "embedding", "index": 1, "embedding": [1, 0] }] });
        assert_eq!(told(&back, &answer), Some(expected));
        assert_eq!(told(&back, &json!({ "embeddings": [{ "values": [1] }] })), None, "one is missing");
        assert_eq!(told(&back, &json!({ "error": { "message": "no" } })), None);
    }

    #[test]
    fn numbers_are_told_in_base64_where_that_is_asked_for() {
        let (_, back) = asked(r#"{"model":"e","input":"four","encoding_format":"base64"}"#);
        let told = told(&back, &json!({ "embeddings": [{ "values": [0.5, -1.25] }] })).expect("an answer");
        let bytes: Vec<u8> = [0.5_f32, -1.25].into_iter().flat_map(f32::to_le_bytes).collect();
        assert_eq!(told["data"][0]["embedding"], BASE64_STANDARD.encode(bytes));
        assert_eq!(told["usage"]["prompt_tokens"], 1, "estimated, because nobody counted");
    }

    #[test]
    fn tokens_of_another_vendor_are_refused_by_name() {
        let request = EmbeddingsRequest::parse(Bytes::from_static(br#"{"model":"e","input":[1,2]}"#)).expect("one");
        let error = request.for_gemini("m").expect_err("tokens");
        assert!(error.to_string().starts_with("`input` is not offered here"), "{error}");
    }
}
