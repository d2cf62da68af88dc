//! The server: connections, and one answer after the other.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::admin;
use crate::asked::{Address, Asked, Purpose};
use crate::behaviour::{Behaviour, Fault};
use crate::body::{Closed, ScriptBody};
use crate::capture::{CaptureLimits, CapturedRequest};
use crate::connection::Connection;
use crate::script::{Ending, Script};
use crate::shared::Shared;
use crate::statistics::{OpenAnswer, OpenConnection, Statistics};
use crate::tokens;
use crate::wire::{self, Wire};

/// Larger requests are refused with 413.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// A running mock. It stops when it is dropped.
#[derive(Debug)]
pub struct MockUpstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl MockUpstream {
    /// Starts a mock on a free port of the loopback interface.
    pub async fn start() -> io::Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into(), CaptureLimits::default()).await
    }

    /// Starts a mock on an address; port 0 is any free one.
    pub async fn bind(address: SocketAddr, limits: CaptureLimits) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(limits));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, shared.clone(), tasks.clone(), stop.clone()));
        Ok(Self { address, shared, tasks, stop: stop.drop_guard() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What to write as a provider's endpoint: the URL with `/v1`.
    pub fn endpoint(&self) -> String {
        format!("{}/v1", self.url())
    }

    /// Sets how it answers all models that have no behaviour of their own.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.behaviours().set(None, behaviour);
    }

    /// What it has counted.
    pub fn statistics(&self) -> Statistics {
        self.shared.counters.read()
    }

    /// The last requests for answers, oldest first.
    pub fn requests(&self) -> Vec<CapturedRequest> {
        self.shared.captures().all()
    }

    /// Closes all connections and waits until nothing is left of it.
    pub async fn stop(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker, stop: CancellationToken) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        // A connection that was gone before it was accepted, or a moment without file descriptors. The next one counts.
        let Ok((stream, _)) = accepted else { continue };
        let connection = serve(stream, shared.clone());
        let stop = stop.clone();
        tasks.spawn(async move { stop.run_until_cancelled(connection).await });
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _open = OpenConnection::new(shared.counters.clone());
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let deaf = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request| answer(shared.clone(), deaf.clone(), request));
    let connection = Connection { stream, deaf: deaf.clone() };
    // Errors are the client going away, or a fault the mock was told to have.
    let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(connection), service).await;
}

async fn answer(
    shared: Arc<Shared>,
    deaf: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<ScriptBody>, Closed> {
    let (head, body) = request.into_parts();
    let own = head.uri.path().starts_with("/__mock/");
    let open = (!own).then(|| OpenAnswer::new(shared.counters.clone()));
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        return Ok(plain(open, StatusCode::PAYLOAD_TOO_LARGE, Bytes::new()));
    };
    let body = body.to_bytes();
    if own {
        let (status, json) = admin::answer(&shared, &head, &body);
        return Ok(plain(open, status, json));
    }

    let address = Address::of(&head);
    let token = if address.is_none() { tokens::answer(&head, &body, || shared.counters.token()) } else { None };
    if address.is_some() || token.is_some() {
        let mut captures = shared.captures();
        if captures.wanted() {
            captures.push(CapturedRequest::new(&head, body.clone()));
        }
    }
    if let Some((status, answer)) = token {
        return Ok(plain(open, status, answer));
    }
    let number = shared.counters.request();
    let Some(address) = address else { return Ok(refuse(open, Wire::OpenAiChat, StatusCode::NOT_FOUND)) };
    let wire = address.wire;
    if head.method != Method::POST {
        return Ok(refuse(open, wire, StatusCode::METHOD_NOT_ALLOWED));
    }
    let Some(asked) = Asked::read(&address, &body) else { return Ok(refuse(open, wire, StatusCode::BAD_REQUEST)) };

    let plan = shared.behaviours().plan(wire, asked, key(&head), &body);
    if !plan.delay.is_zero() {
        tokio::time::sleep(plan.delay).await;
    }
    if plan.fault == Some(Fault::CloseIdle) {
        deaf.store(true, Ordering::Relaxed);
    }
    let mut response = match plan.fault {
        Some(Fault::HangBeforeHeaders) => pending().await,
        Some(Fault::CloseBeforeHeaders) => {
            if let Some(open) = open {
                open.end();
            }
            return Err(Closed);
        }
        Some(Fault::EmptyBody) => plain(open, StatusCode::OK, Bytes::new()),
        Some(Fault::Status { status, body, retry_after }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let (error, name) = wire.error(status.as_u16());
            let body = body.unwrap_or_else(|| error.to_string());
            let mut response = plain(open, status, body.into());
            if let Some(name) = name {
                response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(name));
            }
            if let Some(value) = retry_after.and_then(|value| HeaderValue::from_str(&value).ok()) {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
            response
        }
        Some(Fault::Raw { status, headers, body, cut }) => raw(open, status, &headers, body, cut),
        _ if address.purpose == Purpose::Count => {
            plain(open, StatusCode::OK, wire.counted(body.len().div_ceil(4)).to_string().into())
        }
        _ if address.purpose == Purpose::Embeddings => {
            match wire.embeddings(&serde_json::from_slice(&body).unwrap_or_default()) {
                Ok(vectors) => plain(open, StatusCode::OK, vectors.to_string().into()),
                Err(status) => refuse(open, wire, status),
            }
        }
        _ if address.purpose == Purpose::Images => {
            match wire::images(&serde_json::from_slice(&body).unwrap_or_default()) {
                Ok(images) => plain(open, StatusCode::OK, images.to_string().into()),
                Err(status) => refuse(open, wire, status),
            }
        }
        _ => {
            let content_type = HeaderValue::from_static(plan.script.content_type);
            let mut response = Response::new(ScriptBody::new(plan.script, (plan.first_byte, plan.chunk_delay), open));
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response
        }
    };
    let id = HeaderValue::from_str(&format!("req_mock_{number}")).expect("digits and letters");
    response.headers_mut().insert(wire.request_id(), id);
    Ok(response)
}

/// The key a request came with, in whichever header.
fn key(head: &Parts) -> Option<&str> {
    let value = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = value("authorization").and_then(|value| value.strip_prefix("Bearer "));
    bearer.or_else(|| ["x-api-key", "api-key", "x-goog-api-key"].into_iter().find_map(value))
}

fn refuse(open: Option<OpenAnswer>, wire: Wire, status: StatusCode) -> Response<ScriptBody> {
    plain(open, status, wire.error(status.as_u16()).0.to_string().into())
}

/// An answer as it was given, of a length that is not told.
fn raw(
    open: Option<OpenAnswer>,
    status: u16,
    headers: &[(String, String)],
    body: Vec<u8>,
    cut: bool,
) -> Response<ScriptBody> {
    let ending = if cut { Ending::Close } else { Ending::Proper };
    let script = Script { content_type: "", frames: vec![body.into()], length: None, ending, separately: true };
    let mut response = Response::new(ScriptBody::new(Arc::new(script), (Duration::ZERO, Duration::ZERO), open));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// An answer in one piece.
fn plain(open: Option<OpenAnswer>, status: StatusCode, body: Bytes) -> Response<ScriptBody> {
    let length = Some(body.len() as u64);
    let frames = if body.is_empty() { Vec::new() } else { vec![body] };
    let content_type = "application/json";
    let script = Script { content_type, frames, length, ending: Ending::Proper, separately: false };
    let mut body = ScriptBody::new(Arc::new(script), (Duration::ZERO, Duration::ZERO), open);
    if length == Some(0) {
        // hyper does not ask for a body of which it knows that it is empty.
        body.end();
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if length > Some(0) {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}
