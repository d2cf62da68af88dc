//! The inference endpoints. [`infer`] is the path of every model request, from the caller's bytes to the caller's answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use systemprompt_extension::{Audience, Meter, RouteTable};
use systemprompt_governance::access::AccessRules;
use systemprompt_governance::{Action, ActionKind, EntityKind, Gate, Inference, Refusal, Resource};
use systemprompt_identity::{Authenticator, SessionHint, Sessions};
use systemprompt_llm::{Edits, Format, InferenceRequest, UsageChunkFilter};
use systemprompt_model::{ActorChain, Ambient, Principal, RequestId, SessionId, TraceId};
use tokio_util::sync::CancellationToken;

use crate::body::{self, Limits};
use crate::config::{GatewayConfig, ProviderWire};
use crate::error::{Failure, FailureKind};
use crate::headers::{self, CallerHeaders};
use crate::metrics::GatewayMetrics;
use crate::models;
use crate::recording::Subject;
use crate::relay::Relay;
use crate::routing::{Destination, RoutingTable};
use crate::upstream::{Answer, Order, Upstreams};

/// Everything the endpoints need. Made once per server.
pub struct Gateway {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) access: Arc<AccessRules>,
    pub(crate) metrics: Arc<GatewayMetrics>,
    pub(crate) ambient: Ambient,
    /// Cancelled when the time for draining streams is over.
    pub(crate) cut: CancellationToken,
    pub(crate) plan: Plan,
}

/// What follows from the configuration.
pub struct Plan {
    pub(crate) settings: GatewayConfig,
    pub(crate) table: RoutingTable,
    pub(crate) upstreams: Upstreams,
    /// The credential header of each provider that has one, by its name.
    pub(crate) credentials: HashMap<String, (HeaderName, HeaderValue)>,
}

/// The endpoints below `prefix`.
pub fn table(prefix: &str) -> RouteTable<Arc<Gateway>> {
    let dialect = |dialect: Format| {
        post(move |State(gateway): State<Arc<Gateway>>, request: Request| answer(gateway, dialect, request)).fallback(
            move |State(gateway): State<Arc<Gateway>>, request: Request| async move {
                refuse_method(&gateway, dialect, "POST", &request)
            },
        )
    };
    RouteTable::new()
        .get(prefix, Audience::Public, "What is served here.", descriptor)
        .get(&format!("{prefix}/"), Audience::Public, "What is served here.", descriptor)
        .add(
            "POST",
            &format!("{prefix}/messages"),
            Audience::Authenticated,
            "Asks a model, in the Anthropic Messages dialect.",
            dialect(Format::AnthropicMessages),
        )
        .add(
            "POST",
            &format!("{prefix}/chat/completions"),
            Audience::Authenticated,
            "Asks a model, in the OpenAI Chat Completions dialect.",
            dialect(Format::OpenAiChat),
        )
        .add(
            "GET",
            &format!("{prefix}/models"),
            Audience::Authenticated,
            "The models the caller may use, the default model first.",
            get(models::list_models).fallback(async |State(gateway): State<Arc<Gateway>>, request: Request| {
                refuse_method(&gateway, dialect_of(request.headers()), "GET", &request)
            }),
        )
}

/// The routes below `prefix`. What is not an endpoint is refused in a dialect too.
pub fn router(gateway: Arc<Gateway>, prefix: &str) -> Router {
    table(prefix)
        .into_router()
        .route(&format!("{prefix}/{{*rest}}"), axum::routing::any(not_an_endpoint))
        .with_state(gateway)
}

/// Answers in the caller's dialect whatever happens.
async fn answer(gateway: Arc<Gateway>, dialect: Format, request: Request) -> Response {
    let trace = trace_of(&gateway, &request);
    let (mut response, id) = match infer(&gateway, dialect, trace, request).await {
        Ok((response, id)) => (response, Some(id)),
        Err(failure) => (failure.to_response(dialect, gateway.plan.settings.policy_deny_status), failure.request),
    };
    headers::stamp(response.headers_mut(), dialect, trace, id);
    response
}

/// A model request: identify, bind to a session, read, route, pass the Gate, send, relay.
async fn infer(
    gateway: &Arc<Gateway>,
    dialect: Format,
    trace: TraceId,
    request: Request,
) -> Result<(Response, RequestId), Failure> {
    let received = Instant::now();
    let plan = &gateway.plan;
    let settings = &plan.settings;
    if !settings.enabled {
        return Err(FailureKind::Disabled.into());
    }
    let (head, body) = request.into_parts();
    let principal = gateway.authenticator.identify(&head.headers, head.extensions.get::<Meter>()).await?;
    let caller = CallerHeaders::read(&head.headers)?;
    if settings.require_session_id && caller.session.is_none() {
        return Err(FailureKind::SessionRequired.into());
    }
    let bind = async |conversation| {
        let hint = SessionHint {
            explicit: caller.session,
            client_session: caller.client_session.as_deref(),
            client: caller.client.as_deref(),
            conversation,
            required: settings.require_session_id,
        };
        gateway.sessions.bind(&principal, hint).await
    };
    // A session the caller names is judged before its body is read; one that is derived needs the conversation in it.
    let named = match caller.session {
        Some(_) => Some(bind(0).await?),
        None => None,
    };
    let body = body::read(&head.headers, body, Limits::of_bytes(settings.max_body_bytes)).await?;
    let request = InferenceRequest::parse(dialect, body)?;
    let session_id = match named {
        Some(session_id) => session_id,
        None => bind(request.conversation_key).await?,
    };

    let id = RequestId::generate(&gateway.ambient);
    let caller = Caller { principal: &principal, session_id, trace, headers: &caller };
    let destination = match plan.table.resolve(&request) {
        Ok(destination) => destination,
        Err(no_route) => {
            let action = describe(gateway, id, &caller, &request, None, Bytes::new());
            let refusal = gateway.gate.refuse(action, no_route.into()).await;
            return Err(Failure::recorded(id, refusal.into()));
        }
    };
    let relayed = request.relay(&Edits {
        model: (destination.upstream_model != request.model).then(|| destination.upstream_model.clone()),
        max_tokens_limit: destination.max_output_tokens,
        include_stream_usage: destination.route.provider.wire == ProviderWire::OpenAiChat,
    });
    let action = describe(gateway, id, &caller, &request, Some(&destination), relayed.bytes);
    let permit = gateway.gate.admit(action).await.map_err(|refusal: Refusal| Failure::recorded(id, refusal.into()))?;

    let order = Order {
        request: &request,
        provider: destination.route.provider.clone(),
        headers: headers::upstream(
            &head.headers,
            &destination.route,
            plan.credentials.get(&destination.route.provider.name),
            request.stream,
        ),
        subject: Subject {
            format: dialect,
            streamed: request.stream,
            dialect: dialect.as_str(),
            provider: destination.route.provider.name.clone(),
            model: destination.metric_model(),
            pricing: destination.pricing,
            estimated_input_tokens: request.estimated_input_tokens,
            received,
            metrics: gateway.metrics.clone(),
            sessions: gateway.sessions.clone(),
            session_id,
        },
    };
    let answer = plan.upstreams.send(permit, order).await.map_err(|error| Failure::recorded(id, error.into()))?;
    let response = match answer {
        Answer::Whole { status, headers, body } => {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        }
        Answer::Stream { headers, body, recording } => {
            let filter = relayed.usage_added.then(UsageChunkFilter::new);
            let limits = destination.route.provider.timeouts;
            let cut = gateway.cut.clone().cancelled_owned();
            let relay = Relay::new(body, recording, dialect, filter, limits, cut, gateway.metrics.stream_started());
            let mut response = Response::new(Body::new(relay));
            *response.headers_mut() = headers;
            let out = response.headers_mut();
            out.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            out.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            out.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
            response
        }
    };
    Ok((response, id))
}

/// The trace the server began for the request.
pub(crate) fn trace_of(gateway: &Gateway, request: &Request) -> TraceId {
    request.extensions().get().copied().unwrap_or_else(|| TraceId::generate(&gateway.ambient))
}

/// Who asks, as far as the ledger wants to know.
struct Caller<'a> {
    principal: &'a Arc<Principal>,
    session_id: SessionId,
    trace: TraceId,
    headers: &'a CallerHeaders,
}

/// The request as the Gate sees it. Without a destination it is a request that found none.
fn describe(
    gateway: &Gateway,
    id: RequestId,
    caller: &Caller<'_>,
    request: &InferenceRequest,
    destination: Option<&Destination>,
    content: Bytes,
) -> Action {
    let route = destination.map(|destination| destination.route.as_ref());
    Action {
        id,
        principal: caller.principal.clone(),
        actors: ActorChain::user(caller.principal.user_id),
        session_id: caller.session_id,
        context_id: None,
        trace_id: caller.trace,
        resource: Resource {
            kind: EntityKind::GatewayRoute,
            id: route.map_or_else(String::new, |route| route.id.clone()),
        },
        content,
        kind: ActionKind::Infer(Inference {
            dialect: request.format.as_str().to_owned(),
            provider: route.map(|route| route.provider.name.clone()).unwrap_or_default(),
            model: destination.map(|destination| destination.upstream_model.clone()).unwrap_or_default(),
            requested_model: request.model.clone(),
            route_match: destination.map(|destination| destination.route_match.clone()).unwrap_or_default(),
            conversation_id: caller.headers.conversation.clone().unwrap_or_else(|| request.conversation_id()),
            stream: request.stream,
            temperature: request.temperature,
            top_p: request.top_p,
            max_tokens: request.max_tokens,
            stop_sequences: request.stop_sequences.clone(),
            tools: request.tools,
            client: caller.headers.client.clone(),
            client_trace_id: caller.headers.client_trace.clone(),
        }),
        received_at: gateway.ambient.now(),
    }
}

/// Says what is served here.
async fn descriptor(State(gateway): State<Arc<Gateway>>) -> Response {
    let plan = &gateway.plan;
    let prefix = &plan.settings.inference_path_prefix;
    axum::Json(serde_json::json!({
        "service": "systemprompt-gateway",
        "version": env!("CARGO_PKG_VERSION"),
        "auth_scheme": plan.settings.auth_scheme,
        "endpoints": [format!("POST {prefix}/messages"), format!("POST {prefix}/chat/completions"), format!("GET {prefix}/models")],
    }))
    .into_response()
}

/// The endpoint is there, but not for this method.
fn refuse_method(gateway: &Gateway, dialect: Format, allowed: &'static str, request: &Request) -> Response {
    let mut response = fail(gateway, dialect, request, FailureKind::Method { allowed });
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

async fn not_an_endpoint(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let dialect = dialect_of(request.headers());
    fail(&gateway, dialect, &request, FailureKind::NoEndpoint { path: request.uri().path().to_owned() })
}

/// Answers a request that is none.
fn fail(gateway: &Gateway, dialect: Format, request: &Request, kind: FailureKind) -> Response {
    let mut response = Failure::from(kind).to_response(dialect, gateway.plan.settings.policy_deny_status);
    headers::stamp(response.headers_mut(), dialect, trace_of(gateway, request), None);
    response
}

/// The dialect of a caller whose path does not tell: Anthropic clients always send their version header.
pub(crate) fn dialect_of(headers: &HeaderMap) -> Format {
    if headers.contains_key("anthropic-version") || headers.contains_key("x-api-key") {
        Format::AnthropicMessages
    } else {
        Format::OpenAiChat
    }
}
