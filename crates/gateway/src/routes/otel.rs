//! `POST /v1/otel` and below: telemetry of clients in OTLP/HTTP, with the credential they ask models with.
//!
//! What fails is told as the protocol wants it: a `google.rpc.Status` in the encoding of the request. Exporters send again
//! after 429 and 503, and drop what got another error.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use systemprompt_extension::api::{RETRY_SOON, challenge_for};
use systemprompt_extension::{AuthError, Rejection};
use systemprompt_model::Principal;
use systemprompt_telemetry::{Encoding, Refused, Signal};

use super::body::{self, BodyError, Limits};
use super::exchange::{trace_of, unknown};
use super::gateway::Gateway;
use crate::headers;
use crate::packing::Packing;

/// Whether telemetry is taken at this path.
pub(super) fn is_at(path: &str) -> bool {
    path.ends_with("/otel") || path.contains("/otel/")
}

/// Stores telemetry under the name of the caller.
pub(super) async fn take(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let trace = trace_of(&gateway, &request);
    let encoding = encoding_of(request.headers());
    let mut response = match store(&gateway, encoding, request).await {
        Ok(stored) => stored,
        Err(error) => error.to_response(encoding.unwrap_or(Encoding::Json)),
    };
    headers::stamp(response.headers_mut(), trace, None);
    response
}

/// Says why the server does not let a request through.
pub(super) fn reject(rejection: Rejection, request: &Request) -> Response {
    let encoding = encoding_of(request.headers()).unwrap_or(Encoding::Json);
    let mut response = OtelError::Rejected(rejection).to_response(encoding);
    if let Some(trace) = request.extensions().get() {
        headers::stamp(response.headers_mut(), *trace, None);
    }
    response
}

async fn store(gateway: &Gateway, encoding: Option<Encoding>, request: Request) -> Result<Response, OtelError> {
    let limit = gateway.telemetry.max_body_bytes().filter(|_| gateway.inference.snapshot().settings.enabled);
    let limit = limit.ok_or(OtelError::Disabled)?;
    let (head, body) = request.into_parts();
    let caller = head.extensions.get::<Arc<Principal>>().cloned();
    let caller = caller.ok_or_else(|| OtelError::Rejected(Rejection::Auth(unknown(&head))))?;
    let encoding = encoding.ok_or(OtelError::ContentType)?;
    let path = head.uri.path();
    let signal = match Signal::of_path(path) {
        None if !path.trim_end_matches('/').ends_with("/otel") => return Err(OtelError::NoSignal),
        signal => signal,
    };
    let body = body::read(&head.headers, body, Limits::of_bytes(limit)).await?;
    let taken = gateway.telemetry.take(&caller, signal, encoding, body).await?;
    Ok(answer(StatusCode::OK, encoding, taken.body(encoding)))
}

fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    headers.get(CONTENT_TYPE).and_then(|value| Encoding::of(value.to_str().ok()?))
}

fn answer(status: StatusCode, encoding: Encoding, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    response
}

/// Why telemetry was not taken.
#[derive(Debug, thiserror::Error)]
enum OtelError {
    #[error("this installation takes no telemetry (gateway.enabled, telemetry.ingest.enabled)")]
    Disabled,
    #[error("send telemetry with `content-type: application/x-protobuf` or `application/json` (OTLP/HTTP)")]
    ContentType,
    #[error("telemetry goes to this path itself, or below it to v1/traces, v1/logs or v1/metrics")]
    NoSignal,
    #[error(transparent)]
    Rejected(Rejection),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl OtelError {
    /// The status, and the canonical code of the same (`google.rpc.Code`).
    const fn status(&self) -> (StatusCode, i32) {
        const INVALID_ARGUMENT: i32 = 3;
        const NOT_FOUND: i32 = 5;
        const PERMISSION_DENIED: i32 = 7;
        const RESOURCE_EXHAUSTED: i32 = 8;
        const UNAVAILABLE: i32 = 14;
        const UNAUTHENTICATED: i32 = 16;
        match self {
            Self::Disabled | Self::NoSignal => (StatusCode::NOT_FOUND, NOT_FOUND),
            Self::ContentType | Self::Body(BodyError::Encoded(_)) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_ARGUMENT)
            }
            Self::Body(BodyError::TooLarge { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, INVALID_ARGUMENT),
            Self::Body(BodyError::TooSlow { .. }) => (StatusCode::REQUEST_TIMEOUT, INVALID_ARGUMENT),
            Self::Body(BodyError::Packed(_) | BodyError::Broken(_)) | Self::Refused(Refused::Unreadable { .. }) => {
                (StatusCode::BAD_REQUEST, INVALID_ARGUMENT)
            }
            Self::Refused(Refused::Busy | Refused::Unavailable)
            | Self::Rejected(Rejection::Auth(AuthError::Unavailable)) => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
            Self::Rejected(Rejection::Auth(_) | Rejection::Anonymous) => (StatusCode::UNAUTHORIZED, UNAUTHENTICATED),
            Self::Rejected(Rejection::NotAllowed(_)) => (StatusCode::FORBIDDEN, PERMISSION_DENIED),
            Self::Rejected(Rejection::RateLimited(_)) => (StatusCode::TOO_MANY_REQUESTS, RESOURCE_EXHAUSTED),
        }
    }

    fn to_response(&self, encoding: Encoding) -> Response {
        let (status, code) = self.status();
        let mut response = answer(status, encoding, encoding.status(code, self.to_string()));
        let headers = response.headers_mut();
        match self {
            Self::Rejected(Rejection::RateLimited(limited)) => limited.write_headers(headers),
            Self::Body(BodyError::Encoded(_)) => {
                headers.insert(ACCEPT_ENCODING, Packing::NAMES);
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, RETRY_SOON);
            }
            Self::Rejected(rejection) => {
                if let Some(challenge) = challenge_for(rejection) {
                    headers.insert(WWW_AUTHENTICATE, challenge);
                }
            }
            _ => {}
        }
        response
    }
}
