//! The CLI as a client of its own server, over plain HTTP on this machine.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);
const LARGEST: usize = 16 * 1024 * 1024;

/// A JSON answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

pub(crate) async fn get(url: &str) -> anyhow::Result<Answer> {
    send(Request::get(url).body(Full::default())?).await
}

pub(crate) async fn post(url: &str, api_key: &str, body: &Value) -> anyhow::Result<Answer> {
    let request = Request::post(url)
        .header("content-type", "application/json")
        .header("x-api-key", api_key)
        .body(Full::new(Bytes::from(body.to_string())))?;
    send(request).await
}

async fn send(request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let exchange = async {
        let (head, body) = client.request(request).await.context("no connection")?.into_parts();
        let body = Limited::new(body, LARGEST)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
        let json = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
        Ok(Answer { status: head.status, headers: head.headers, json })
    };
    tokio::time::timeout(LIMIT, exchange).await.context("no answer in time")?
}
