//! Calling a server as somebody.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use systemprompt_model::Secret;

/// Nothing in a test takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// Sends requests to a server as one caller, each on a connection of its own.
#[derive(Clone)]
pub struct TestClient {
    address: SocketAddr,
    credential: Option<Secret>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl TestClient {
    pub(super) fn new(address: SocketAddr, credential: Option<Secret>) -> Self {
        // A connection that waits for further requests would be one more to wait for when the server stops.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Self { address, credential, client }
    }

    /// The API key or token it shows; nobody's client has none.
    pub fn credential(&self) -> Option<&Secret> {
        self.credential.as_ref()
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> TestResponse {
        self.send(Method::GET, path, None).await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> TestResponse {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `PUT path` with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> TestResponse {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// `PATCH path` with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> TestResponse {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// `DELETE path`.
    pub async fn delete(&self, path: &str) -> TestResponse {
        self.send(Method::DELETE, path, None).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> TestResponse {
        let mut request = Request::new(body.map(ToString::to_string).unwrap_or_default());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap_or_else(|error| panic!("`{path}`: {error}"));
        if body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.request(request).await
    }

    /// Any request for a path of the server. The credential goes into `x-api-key` unless the request has that header.
    pub async fn request<B: Into<Bytes>>(&self, request: Request<B>) -> TestResponse {
        let mut request = request.map(|body| Full::new(body.into()));
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("http://{}{path}", self.address).parse::<Uri>().expect("a path makes a URL");
        if let Some(credential) = &self.credential {
            let value = HeaderValue::from_str(credential.expose()).expect("credentials are ASCII");
            request.headers_mut().entry("x-api-key").or_insert(value);
        }
        let response = tokio::time::timeout(PATIENCE, self.client.request(request)).await.expect("an answer in time");
        let (head, body) = response.unwrap_or_else(|error| panic!("no answer: {error}")).into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("a whole answer in time");
        let body = body.unwrap_or_else(|error| panic!("the body broke off: {error}")).to_bytes();
        TestResponse { status: head.status, headers: head.headers, body }
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct TestResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl TestResponse {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The code of an error answer, whether the server gave it or an [`ExtensionError`](crate::traits::ExtensionError); empty
    /// when there is none.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let code = body["error"]["code"].as_str().or_else(|| body["code"].as_str());
        code.unwrap_or_default().to_owned()
    }
}
