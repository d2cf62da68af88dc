//! One request as a client would make it, and what came back.

use std::path::Path;
use std::time::Instant;

use http::{HeaderMap, Request, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use systemprompt_model::Secret;

use super::client::Protocol;
use super::plan::{Gateway, Model};
use crate::http::{self as client, Answer};

/// What is asked.
const QUESTION: &str = "Reply with the single word: ready";
/// The most of an answer that is shown.
const SHOWN: usize = 200;

/// How the request went.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// Whether a model answered.
    #[serde(rename = "works")]
    pub(crate) verified: bool,
    /// The endpoint that was asked.
    pub(crate) endpoint: String,
    /// The model that was asked.
    pub(crate) model: Option<String>,
    /// The status of the answer; nothing if there was none.
    #[serde(rename = "http_status")]
    pub(crate) status: Option<u16>,
    /// How long it took.
    pub(crate) latency_ms: u64,
    /// What the model, or whoever refused, said.
    pub(crate) answer: Option<String>,
    /// The record in the ledger.
    pub(crate) request_id: Option<String>,
    /// What to do if it did not work.
    pub(crate) help: Option<String>,
}

/// Why nothing is known about the models.
pub(crate) struct Unlisted(pub(crate) Verdict);

/// The models `key` may use, those of the client's family first.
pub(crate) async fn models(
    gateway: &Gateway,
    protocol: Protocol,
    certificate: Option<&Path>,
    key: &Secret,
) -> Result<Vec<Model>, Unlisted> {
    let mut models: Vec<Model> = Vec::new();
    for family in [Some(protocol.family()), None] {
        let url = format!("{}/models?limit=1000", gateway.openai());
        let mut request = Request::get(&url).header("authorization", format!("Bearer {}", key.expose()));
        if let Some(family) = family {
            request = request.header("x-inference-protocol", family);
        }
        let begun = Instant::now();
        let answered = match request.body(bytes::Bytes::new()) {
            Ok(request) => client::send(request, certificate).await,
            Err(error) => Err(error.into()),
        };
        let endpoint = format!("GET {url}");
        let answer = match answered {
            Ok(answer) if answer.status.is_success() => answer,
            other => return Err(Unlisted(verdict(endpoint, None, begun, other, &|_| None))),
        };
        for listed in answer.json["data"].as_array().into_iter().flatten() {
            let Some(id) = listed["id"].as_str() else { continue };
            if models.iter().all(|model| model.id != id) {
                let name = listed["display_name"].as_str().unwrap_or(id).to_owned();
                let released = listed["created"].as_i64().unwrap_or(0);
                models.push(Model { id: id.to_owned(), name, released });
            }
        }
    }
    Ok(models)
}

/// Asks `model` as the client would.
pub(crate) async fn ask(
    gateway: &Gateway,
    protocol: Protocol,
    model: &str,
    certificate: Option<&Path>,
    key: &Secret,
) -> Verdict {
    let (url, body) = question(gateway, protocol, model);
    let bearer = format!("Bearer {}", key.expose());
    let request = Request::post(&url).header("content-type", "application/json").header("accept", "text/event-stream");
    let request = match protocol {
        Protocol::Messages => request.header("authorization", bearer).header("anthropic-version", "2023-06-01"),
        Protocol::ChatCompletions | Protocol::Responses => request.header("authorization", bearer),
        Protocol::Gemini => request.header("x-goog-api-key", key.expose()),
    };
    let begun = Instant::now();
    let answered = match request.body(bytes::Bytes::from(body.to_string())) {
        Ok(request) => client::send(request, certificate).await,
        Err(error) => Err(error.into()),
    };
    verdict(format!("POST {url}"), Some(model.to_owned()), begun, answered, &|answer| said(protocol, answer))
}

fn question(gateway: &Gateway, protocol: Protocol, model: &str) -> (String, Value) {
    match protocol {
        Protocol::Messages => (
            format!("{}/v1/messages?beta=true", gateway.anthropic()),
            json!({"model": model, "max_tokens": 64, "stream": true,
                "messages": [{"role": "user", "content": QUESTION}]}),
        ),
        Protocol::ChatCompletions => (
            format!("{}/chat/completions", gateway.openai()),
            json!({"model": model, "stream": true, "messages": [{"role": "user", "content": QUESTION}]}),
        ),
        Protocol::Responses => (
            format!("{}/responses", gateway.openai()),
            json!({"model": model, "stream": true, "store": false, "instructions": "This is a connection test.",
                "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]}),
        ),
        Protocol::Gemini => (
            format!("{}/v1beta/models/{model}:streamGenerateContent?alt=sse", gateway.root),
            json!({"contents": [{"role": "user", "parts": [{"text": QUESTION}]}]}),
        ),
    }
}

fn verdict(
    endpoint: String,
    model: Option<String>,
    begun: Instant,
    answered: anyhow::Result<Answer>,
    said: &dyn Fn(&Answer) -> Option<String>,
) -> Verdict {
    let latency_ms = begun.elapsed().as_millis() as u64;
    let answer = match answered {
        Ok(answer) => answer,
        Err(error) => {
            let help = "nobody answers there: `systemprompt up` runs the gateway, --url names another one";
            let answer = Some(format!("{error:#}"));
            let help = Some(help.to_owned());
            return Verdict {
                verified: false,
                endpoint,
                model,
                status: None,
                latency_ms,
                answer,
                request_id: None,
                help,
            };
        }
    };
    let text = said(&answer);
    let refusal = refusal(&answer);
    let verified = answer.status.is_success() && text.is_some() && refusal.is_none();
    let help = (!verified).then(|| help(answer.status, refusal.as_deref(), model.as_deref()));
    let answer_text = if verified { text } else { refusal.or(text) };
    Verdict {
        verified,
        endpoint,
        model,
        status: Some(answer.status.as_u16()),
        latency_ms,
        answer: answer_text.map(|text| text.trim().chars().take(SHOWN).collect()),
        request_id: request_id(&answer.headers),
        help,
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("x-systemprompt-request-id")?.to_str().ok()?.to_owned())
}

/// The events of a streamed answer, or the answer itself.
fn documents(answer: &Answer) -> Vec<Value> {
    if !answer.json.is_null() {
        return vec![answer.json.clone()];
    }
    let text = String::from_utf8_lossy(&answer.body);
    text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()).collect()
}

/// What the model said; nothing if it was no answer in this protocol.
fn said(protocol: Protocol, answer: &Answer) -> Option<String> {
    let documents = documents(answer);
    let pointer = match protocol {
        Protocol::Messages => "/delta/text",
        Protocol::ChatCompletions => "/choices/0/delta/content",
        Protocol::Responses => "/delta",
        Protocol::Gemini => "/candidates/0/content/parts/0/text",
    };
    let is_end = |document: &Value| match protocol {
        Protocol::Messages => document["type"] == "message_stop",
        Protocol::ChatCompletions => document.pointer("/choices/0/finish_reason").is_some_and(Value::is_string),
        Protocol::Responses => matches!(document["type"].as_str(), Some("response.completed" | "response.incomplete")),
        Protocol::Gemini => document.pointer("/candidates/0/finishReason").is_some(),
    };
    let is_text =
        |document: &&Value| protocol != Protocol::Responses || document["type"] == "response.output_text.delta";
    let text = documents.iter().filter(is_text).filter_map(|document| document.pointer(pointer)?.as_str());
    documents.iter().any(is_end).then(|| text.collect())
}

/// What whoever refused said.
fn refusal(answer: &Answer) -> Option<String> {
    let documents = documents(answer);
    let error = documents.iter().find_map(|document| {
        let error = document.get("error").or_else(|| document.pointer("/response/error"))?;
        Some(error.get("message").and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned))
    });
    let error = error.filter(|error| error != "null");
    if answer.status.is_success() {
        return error;
    }
    error.or_else(|| Some(format!("status {} without words", answer.status)))
}

/// What to do about a request that did not work.
fn help(status: StatusCode, words: Option<&str>, model: Option<&str>) -> String {
    match status.as_u16() {
        401 => "the gateway does not know the key: is it this installation's? Without --api-key a new one is issued \
                when `systemprompt connect` runs beside it"
            .to_owned(),
        403 => "no rule lets this user ask the model: `systemprompt admin users list` shows who it is, \
                services/access-control who may what"
            .to_owned(),
        404 if model.is_none() || words.is_some_and(|words| words.contains("endpoint")) => {
            "this gateway has no such endpoint; is its version older than this program's?".to_owned()
        }
        404 => format!(
            "`{}` is not served here; GET /v1/models lists what there is, --model chooses another",
            model.unwrap_or_default()
        ),
        429 => "a limit is reached; try again later".to_owned(),
        451 => "a policy refused it: `systemprompt infra logs request list` shows which".to_owned(),
        500.. => "the gateway answers and its provider does not: `systemprompt admin config provider test NAME` tells \
                  more"
            .to_owned(),
        200..300 if words.is_none() => "something else than a model answered: does --url name the gateway?".to_owned(),
        _ => "`systemprompt infra logs request list` shows what was recorded".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).expect("a status");
        let json = serde_json::from_str(body).unwrap_or(Value::Null);
        Answer { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()), json }
    }

    fn judge(protocol: Protocol, status: u16, body: &str) -> Verdict {
        let answered = Ok(answer(status, body));
        verdict("POST x".to_owned(), Some("m".to_owned()), Instant::now(), answered, &|answer| said(protocol, answer))
    }

    #[test]
    fn an_answer_is_one_that_came_to_its_end() {
        for (protocol, body) in [
            (
                Protocol::Messages,
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"ready\"}}\n\n\
                 event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            ),
            (
                Protocol::ChatCompletions,
                "data: {\"choices\":[{\"delta\":{\"content\":\"ready\"}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
            ),
            (
                Protocol::Responses,
                "data: {\"type\":\"response.output_text.delta\",\"delta\":\"ready\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"error\":null}}\n\n",
            ),
            (
                Protocol::Gemini,
                "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"ready\"}]},\"finishReason\":\"STOP\"}]}\n\n",
            ),
        ] {
            let good = judge(protocol, 200, body);
            assert!(good.verified && good.help.is_none(), "{good:?}");
            assert_eq!(good.answer.as_deref(), Some("ready"));
            let cut = judge(protocol, 200, body.split_inclusive("\n\n").next().unwrap_or_default());
            assert!(protocol == Protocol::Gemini || !cut.verified, "{cut:?}");
        }
    }

    #[test]
    fn a_refusal_comes_with_its_words_and_what_to_do() {
        for (status, body, words, advice) in [
            (401, r#"{"type":"error","error":{"type":"authentication_error","message":"no key"}}"#, "no key", "key"),
            (404, "", "status 404 Not Found without words", "`m` is not served"),
            (200, "<html>", "", "something else"),
            (200, "data: {\"type\":\"error\",\"error\":{\"message\":\"overloaded\"}}\n\n", "overloaded", "recorded"),
            (502, r#"{"error":{"message":"unreachable"}}"#, "unreachable", "provider test"),
        ] {
            let verdict = judge(Protocol::Messages, status, body);
            assert!(!verdict.verified, "{verdict:?}");
            assert_eq!(verdict.answer.as_deref().unwrap_or_default(), words);
            assert!(verdict.help.as_ref().is_some_and(|help| help.contains(advice)), "{verdict:?}");
        }
    }
}
