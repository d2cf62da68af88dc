//! What all endpoints that ask a model do: from the caller's bytes to an [`Ask`], and from the [`Reply`] to the caller's
//! answer.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use systemprompt_extension::{Arrival, AuthError, Rejection};
use systemprompt_identity::SessionHint;
use systemprompt_llm::{Address, Format, InferenceRequest, RequestError};
use systemprompt_model::{ActorChain, Attribution, Client, Principal, TraceId};

use super::body::{self, Limits};
use super::error::RouteError;
use super::gateway::Gateway;
use crate::allowance;
use crate::headers::{self, CallerHeaders};
use crate::inference::{Ask, Forwarded, Reply};

/// Answers a request to a model, in the caller's dialect whatever happens.
pub(super) async fn answer(gateway: &Gateway, dialect: Format, request: Request) -> Response {
    let parse = |body| InferenceRequest::parse(dialect, body);
    answer_read_by(gateway, dialect, parse, request).await
}

/// The same, where the path says the model and whether a stream is wanted.
pub(super) async fn answer_addressed(
    gateway: &Gateway,
    dialect: Format,
    address: Address,
    request: Request,
) -> Response {
    let parse = |body| InferenceRequest::parse_addressed(dialect, body, address);
    answer_read_by(gateway, dialect, parse, request).await
}

/// Answers how many tokens a request has, whose model the path may have named.
pub(super) async fn count(gateway: &Gateway, dialect: Format, model: Option<String>, request: Request) -> Response {
    let trace = trace_of(gateway, &request);
    let parse = |body: Bytes| InferenceRequest::parse_count(dialect, &body, model);
    let counted = async { Ok(gateway.inference.count_tokens(&read(gateway, parse, trace, request).await?).await?) };
    match counted.await {
        Ok(count) => {
            let mut response = Response::new(Body::from(dialect.count_answer(count.tokens).unwrap_or_default()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers::stamp(response.headers_mut(), trace, count.request);
            response
        }
        Err(error) => refuse(gateway, dialect, trace, &error),
    }
}

async fn answer_read_by(
    gateway: &Gateway,
    dialect: Format,
    parse: impl FnOnce(Bytes) -> Result<InferenceRequest, RequestError>,
    request: Request,
) -> Response {
    let trace = trace_of(gateway, &request);
    match ask(gateway, parse, trace, request).await {
        Ok(reply) => respond(trace, reply),
        Err(error) => refuse(gateway, dialect, trace, &error),
    }
}

/// Reads a request, and asks.
pub(super) async fn ask(
    gateway: &Gateway,
    parse: impl FnOnce(Bytes) -> Result<InferenceRequest, RequestError>,
    trace: TraceId,
    request: Request,
) -> Result<Reply, RouteError> {
    // Apart, because what waits for this is moved whenever somebody begins to wait for that.
    let ask = Box::pin(read(gateway, parse, trace, request)).await?;
    Ok(Box::pin(gateway.inference.ask(ask)).await?)
}

/// Binds a request to a session, and reads it.
async fn read(
    gateway: &Gateway,
    parse: impl FnOnce(Bytes) -> Result<InferenceRequest, RequestError>,
    trace: TraceId,
    request: Request,
) -> Result<Ask, RouteError> {
    let snapshot = gateway.inference.snapshot();
    let settings = &snapshot.settings;
    if !settings.enabled {
        return Err(RouteError::Disabled);
    }
    let (head, body) = request.into_parts();
    let received = head.extensions.get().map_or_else(Instant::now, |Arrival(at)| *at);
    let principal = head.extensions.get::<Arc<Principal>>().cloned().ok_or_else(|| Rejection::Auth(unknown(&head)))?;
    let caller = CallerHeaders::read(&head.headers);
    if settings.require_session_id && caller.session.is_none() {
        return Err(if caller.foreign_session { RouteError::ForeignSession } else { RouteError::SessionRequired });
    }
    let bind = async |conversation| {
        let hint = SessionHint {
            explicit: caller.session,
            client_session: caller.client_session.as_deref(),
            client: caller.client.as_deref(),
            conversation,
            required: settings.require_session_id,
            pause: settings.session_pause(),
        };
        gateway.sessions.bind(&principal, hint).await
    };
    // A session the caller names is judged before its body is read; one that is derived needs the conversation in it.
    let named = match caller.session {
        Some(_) => Some(bind(0).await?),
        None => None,
    };
    let body = body::read(&head.headers, body, Limits::of_bytes(settings.max_body_bytes)).await?;
    let request = parse(body)?;
    let session = match named {
        Some(session) => session,
        None => bind(request.conversation_key).await?,
    };
    let by = Attribution {
        actors: ActorChain::user(principal.user_id),
        principal,
        session: Some(session),
        context: None,
        task: None,
        trace,
        client: Some(Client { name: caller.client, trace: caller.client_trace }),
    };
    let forwarded = Forwarded {
        headers: head.headers,
        conversation: caller.conversation,
        agent: caller.agent,
        received: Some(received),
    };
    Ok(Ask { by, request, forwarded })
}

/// Why it is not known who asks. A route that was mounted for everybody lets such requests through to its handler.
pub(super) fn unknown(head: &http::request::Parts) -> AuthError {
    head.extensions.get().copied().unwrap_or(AuthError::Missing)
}

/// Gives what came of it.
pub(super) fn respond(trace: TraceId, reply: Reply) -> Response {
    let streamed = reply.body.is_stream();
    let mut response = Response::new(Body::new(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    let headers = response.headers_mut();
    if streamed {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    }
    headers::stamp(headers, trace, Some(reply.request));
    response
}

/// Says why there is no answer.
pub(super) fn refuse(gateway: &Gateway, dialect: Format, trace: TraceId, error: &RouteError) -> Response {
    let mut response = error.to_response(dialect, gateway.inference.snapshot().settings.policy_deny_status);
    if let Some(denial) = error.denial() {
        allowance::write(response.headers_mut(), &denial.allowances, dialect, gateway.inference.ambient.now());
    }
    headers::stamp(response.headers_mut(), trace, error.request());
    response
}

/// The trace the server began for the request.
pub(super) fn trace_of(gateway: &Gateway, request: &Request) -> TraceId {
    request.extensions().get().copied().unwrap_or_else(|| TraceId::generate(&gateway.inference.ambient))
}

/// The dialect of a caller whose path does not tell: Anthropic clients always send their version header, those of Google
/// have a header of their own for the key.
pub(super) fn dialect_of(headers: &HeaderMap) -> Format {
    if headers.contains_key("anthropic-version") || headers.contains_key("x-api-key") {
        Format::AnthropicMessages
    } else if headers.contains_key("x-goog-api-key") {
        Format::Gemini
    } else {
        Format::OpenAiChat
    }
}
