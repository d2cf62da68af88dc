//! The CLI as a client of a gateway, usually its own server on this machine.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::pinned;

const LIMIT: Duration = Duration::from_secs(30);
const LARGEST: usize = 16 * 1024 * 1024;

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The body, if it is JSON.
    pub(crate) json: Value,
}

/// Asks a server of ours; `certificate` is the one it shows if its URL is https.
pub(crate) async fn get(url: &str, certificate: Option<&Path>) -> anyhow::Result<Answer> {
    send(Request::get(url).body(Bytes::new())?, certificate).await
}

pub(crate) async fn post(url: &str, certificate: Option<&Path>, api_key: &str, body: &Value) -> anyhow::Result<Answer> {
    let request = Request::post(url)
        .header("content-type", "application/json")
        .header("x-api-key", api_key)
        .body(Bytes::from(body.to_string()))?;
    send(request, certificate).await
}

/// Sends a request. Without a `certificate` to expect, one of an https address is judged as browsers do.
pub(crate) async fn send(request: Request<Bytes>, certificate: Option<&Path>) -> anyhow::Result<Answer> {
    let request = request.map(Full::new);
    let tls = match certificate {
        Some(certificate) => HttpsConnectorBuilder::new().with_tls_config(pinned::client_config(certificate)?),
        None if request.uri().scheme_str() == Some("https") => {
            let crypto = rustls::crypto::aws_lc_rs::default_provider();
            HttpsConnectorBuilder::new().with_provider_and_native_roots(crypto).context("no certificate authorities")?
        }
        None => return exchange(HttpConnector::new(), request).await,
    };
    exchange(tls.https_only().enable_http1().build(), request).await
}

async fn exchange<C>(connector: C, request: Request<Full<Bytes>>) -> anyhow::Result<Answer>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client: Client<C, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let exchange = async {
        let (head, body) = client.request(request).await.context("no connection")?.into_parts();
        let body = Limited::new(body, LARGEST)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
        let body = body.to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(Answer { status: head.status, headers: head.headers, body, json })
    };
    tokio::time::timeout(LIMIT, exchange).await.context("no answer in time")?
}
