//! The provider inside the server. It gets the same bytes as a provider behind a connection, and nothing else.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use systemprompt_llm::demo::{self, DemoEvent};
use systemprompt_llm::{ErrorAnswer, Format, InferenceRequest};
use systemprompt_model::Ambient;

use super::body::{Paced, UpstreamBody};
use super::error::SendError;
use crate::target::Target;

/// What a vendor says to a request for no tokens.
fn refusal(format: Format) -> Response<UpstreamBody> {
    let error = ErrorAnswer::invalid_request("max_tokens: must be greater than or equal to 1");
    let event = DemoEvent { bytes: error.body(format, None).into(), delay_ms: 0 };
    let mut response = Response::new(UpstreamBody::Demo(Paced::new([event])));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The demo model's answer to a request.
pub(super) fn answer(target: &Target, content: Bytes, ambient: &Ambient) -> Result<Response<UpstreamBody>, SendError> {
    let format = target.format;
    let request = InferenceRequest::parse_addressed(format, content, target.asked.clone());
    let request = request.map_err(|_| SendError::Broken("cannot read the request"))?;
    if request.answers_nothing() {
        return Ok(refusal(format));
    }
    let answer = demo::answer(&request);
    let id = hex::encode(ambient.bytes::<12>());
    let created = ambient.now().timestamp();
    let (content_type, events) = if let Some(body) = demo::embeddings(&request) {
        ("application/json", vec![DemoEvent { bytes: body.into(), delay_ms: 0 }])
    } else if request.stream {
        ("text/event-stream", answer.events(format, &id, created))
    } else {
        ("application/json", vec![DemoEvent { bytes: answer.buffered(format, &id, created).into(), delay_ms: 0 }])
    };
    let mut response = Response::new(UpstreamBody::Demo(Paced::new(events)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let name = format.request_id_header();
    response.headers_mut().insert(name, HeaderValue::from_str(&format!("demo_{id}")).expect("hex digits are ASCII"));
    Ok(response)
}
