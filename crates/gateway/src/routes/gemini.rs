//! `POST /v1beta/models/{model}:generateContent` and the other methods of a model, and the models as Gemini clients list them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Json;
use axum::body::Body as AxumBody;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body::{Body, Frame};
use schemars::JsonSchema;
use serde::Serialize;
use systemprompt_llm::{Address, Format, GeminiEmbedding, JsonArray};

use super::error::RouteError;
use super::exchange::{self, dialect_of, trace_of};
use super::gateway::Gateway;
use super::models;
use crate::config::Surface;
use crate::headers;
use crate::inference::{AnswerBody, Reply};
use crate::routing::Listed;

/// What can be done with a model.
const METHODS: &str = "generateContent, streamGenerateContent, countTokens, embedContent, batchEmbedContents";

/// Asks a model, in the Gemini dialect. The path says which, and whether for a stream.
pub(super) async fn call(
    State(gateway): State<Arc<Gateway>>,
    Path(target): Path<String>,
    request: Request,
) -> Response {
    let (model, method) = target.rsplit_once(':').unwrap_or((&target, ""));
    let model = model.strip_prefix("models/").unwrap_or(model).to_owned();
    if let Some(form) = GeminiEmbedding::of_method(method) {
        return embed(&gateway, form, model, request).await;
    }
    let stream = match method {
        "generateContent" => false,
        "streamGenerateContent" => true,
        "countTokens" => return exchange::count(&gateway, Format::Gemini, Some(model), request).await,
        _ => {
            let error = RouteError::NoMethod { method: method.to_owned(), methods: METHODS };
            return exchange::refuse(&gateway, Format::Gemini, trace_of(&gateway, &request), &error);
        }
    };
    let as_events = request.uri().query().is_some_and(|query| query.split('&').any(|field| field == "alt=sse"));
    let response = exchange::answer_addressed(&gateway, Format::Gemini, Address { model, stream }, request).await;
    if stream && !as_events { in_array(response) } else { response }
}

/// Asks a model for embeddings.
async fn embed(gateway: &Gateway, form: GeminiEmbedding, model: String, request: Request) -> Response {
    let trace = trace_of(gateway, &request);
    match exchange::ask(gateway, |body| form.parse(&body, model), trace, request).await {
        Ok(reply) => {
            let Reply { request, status, headers, body } = reply;
            let (told, body) = form.told(status.as_u16(), &body.whole().await);
            let status = StatusCode::from_u16(told).unwrap_or(status);
            exchange::respond(trace, Reply { request, status, headers, body: AnswerBody::whole_of(body.into()) })
        }
        Err(error) => exchange::refuse(gateway, Format::Gemini, trace, &error),
    }
}

/// A stream for a caller that did not ask for events: one JSON array.
fn in_array(response: Response) -> Response {
    if response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != "text/event-stream") {
        return response;
    }
    let (mut head, body) = response.into_parts();
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(head, AxumBody::new(ArrayBody { events: body, array: Some(JsonArray::new()) }))
}

/// Events on their way to a caller, as the elements of an array.
struct ArrayBody {
    events: AxumBody,
    /// Until it is closed.
    array: Option<JsonArray>,
}

impl Body for ArrayBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        loop {
            let Some(array) = &mut this.array else { return Poll::Ready(None) };
            let given = match ready!(Pin::new(&mut this.events).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => array.feed(&data),
                    Err(_) => continue,
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.array.take().map(JsonArray::finish).unwrap_or_default(),
            };
            if !given.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(given.into()))));
            }
        }
    }
}

/// The models at the path that OpenAI's and Anthropic's clients ask too, as the caller's clients list them.
pub(super) async fn list_for_all(gateway: State<Arc<Gateway>>, request: Request) -> Response {
    match dialect_of(request.headers()) {
        Format::Gemini => list(gateway, request).await,
        _ => models::list(gateway, request).await,
    }
}

/// One of them.
pub(super) async fn show_for_all(gateway: State<Arc<Gateway>>, id: Path<String>, request: Request) -> Response {
    match dialect_of(request.headers()) {
        Format::Gemini => show(gateway, id, request).await,
        _ => models::show(gateway, id, request).await,
    }
}

/// The models the caller may use, those of Google's first.
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let trace = trace_of(&gateway, &request);
    let (head, _) = request.into_parts();
    let snapshot = gateway.inference.snapshot();
    match models::open_to(&gateway, &snapshot, &head).await {
        Ok(mut open) => {
            models::sort(&mut open, snapshot.settings.default_model.as_deref(), Surface::Gemini);
            let models = open.into_iter().map(GeminiModel::of).collect();
            let mut response = Json(GeminiModels { models }).into_response();
            headers::stamp(response.headers_mut(), trace, None);
            response
        }
        Err(error) => exchange::refuse(&gateway, Format::Gemini, trace, &error),
    }
}

/// One of these models.
pub(super) async fn show(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, request: Request) -> Response {
    let trace = trace_of(&gateway, &request);
    let (head, _) = request.into_parts();
    let snapshot = gateway.inference.snapshot();
    match models::one(&gateway, &snapshot, &head, id).await {
        Ok(listed) => {
            let mut response = Json(GeminiModel::of(listed)).into_response();
            headers::stamp(response.headers_mut(), trace, None);
            response
        }
        Err(error) => exchange::refuse(&gateway, Format::Gemini, trace, &error),
    }
}

/// The models, in Gemini's form.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GeminiModels {
    models: Vec<GeminiModel>,
}

/// A model, in Gemini's form.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GeminiModel {
    /// `models/` and the id.
    name: String,
    base_model_id: String,
    version: &'static str,
    display_name: String,
    /// The longest prompt, in tokens; absent if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_token_limit: Option<u64>,
    /// The longest answer, in tokens; absent if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_token_limit: Option<u64>,
    supported_generation_methods: [&'static str; 3],
}

impl GeminiModel {
    fn of(listed: &Listed) -> Self {
        Self {
            name: format!("models/{}", listed.model.id),
            base_model_id: listed.model.id.clone(),
            version: "1",
            display_name: listed.model.display_name.clone(),
            input_token_limit: listed.model.context_window,
            output_token_limit: listed.model.max_output_tokens,
            supported_generation_methods: ["generateContent", "streamGenerateContent", "countTokens"],
        }
    }
}

/// What the gateway reads of a request in the Gemini dialect. The other fields are the vendor's, and all are passed on as
/// they are.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used; requests are read by `InferenceRequest`")]
pub(super) struct GenerateContentRequest {
    /// The conversation.
    contents: Vec<serde_json::Map<String, serde_json::Value>>,
    /// What the operator tells the model.
    system_instruction: Option<serde_json::Value>,
    /// Limits and sampling; `maxOutputTokens` is lowered to what the model has.
    generation_config: Option<serde_json::Value>,
}
