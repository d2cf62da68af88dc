//! Sending to a collector: one POST, and whether another one may help.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use systemprompt_config::Secrets;
use systemprompt_model::Secret;

use crate::config::{ExportConfig, base};
use crate::otlp::ExportReply;

/// How long a collector may take to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const ANSWER: usize = 64 * 1024;
/// The longest pause a collector may ask for.
const PAUSE: Duration = Duration::from_secs(30);

/// Why there can be no exporter.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The address is none.
    #[error("telemetry.export.endpoint: {0}")]
    Endpoint(&'static str),
    /// A header cannot be sent.
    #[error("telemetry.export: the header `{0}` cannot be sent, or its secret is missing")]
    Header(String),
    /// There is nothing to check certificates against.
    #[error("the TLS roots cannot be loaded")]
    Tls(#[source] std::io::Error),
}

/// Why a collector did not take something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    /// It may take it later, after this pause if it says so.
    #[error("the collector cannot take it at present ({why})")]
    Later {
        /// What happened.
        why: String,
        /// How long to wait.
        pause: Option<Duration>,
    },
    /// It will never take it.
    #[error("the collector answered with status {0}")]
    Refused(StatusCode),
}

/// A collector.
pub(crate) struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    headers: HeaderMap,
}

impl Collector {
    /// The collector of the configuration, if it names one.
    pub(crate) fn new(config: &ExportConfig, secrets: &Secrets) -> Result<Option<Self>, CollectorError> {
        let Some(endpoint) = &config.endpoint else { return Ok(None) };
        let base = base(endpoint).map_err(CollectorError::Endpoint)?.to_owned();
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("systemprompt/", env!("CARGO_PKG_VERSION"))));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let mut add = |name: &String, value: Option<&str>, sensitive| {
            let failed = || CollectorError::Header(name.clone());
            let mut value = HeaderValue::try_from(value.ok_or_else(failed)?).map_err(|_| failed())?;
            value.set_sensitive(sensitive);
            headers.insert(HeaderName::try_from(name).map_err(|_| failed())?, value);
            Ok(())
        };
        for (name, value) in &config.headers {
            add(name, Some(value), false)?;
        }
        for (name, secret) in &config.secret_headers {
            add(name, secrets.get(secret).map(Secret::expose), true)?;
        }
        let crypto = rustls::crypto::aws_lc_rs::default_provider();
        // Company certificate authorities are in the system's store; a bare container has none, there the bundled roots
        // serve.
        let tls = match HttpsConnectorBuilder::new().with_provider_and_native_roots(crypto.clone()) {
            Ok(builder) => builder,
            Err(_) => HttpsConnectorBuilder::new()
                .with_provider_and_webpki_roots(crypto)
                .map_err(|error| CollectorError::Tls(std::io::Error::other(error)))?,
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(LIMIT));
        let connector = tls.https_or_http().enable_http1().enable_http2().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Some(Self { client, base, headers }))
    }

    /// Sends a request of a signal. Says how many of its items were not taken, and why.
    pub(crate) async fn post(&self, signal: &str, message: &impl Message) -> Result<Option<(u64, String)>, PostError> {
        let later = |why: String| PostError::Later { why, pause: None };
        let mut request = Request::new(Full::new(gzip(&message.encode_to_vec())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            format!("{}/v1/{signal}", self.base).parse().map_err(|_| later("no address".to_owned()))?;
        *request.headers_mut() = self.headers.clone();
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| later(error.to_string()))?;
            let (head, body) = answer.into_parts();
            // Read to its end, so that the connection can be used again.
            let body = Limited::new(body, ANSWER).collect().await.map(Collected::to_bytes).unwrap_or_default();
            Ok((head, body))
        };
        let exchange = tokio::time::timeout(LIMIT, exchange).await;
        let (head, body) = exchange.map_err(|_| later(format!("no answer within {} s", LIMIT.as_secs())))??;
        match head.status {
            status if status.is_success() => {
                let partial = ExportReply::decode(body).ok().and_then(|reply| reply.partial_success);
                let partial = partial.filter(|partial| partial.rejected > 0);
                Ok(partial.map(|partial| (partial.rejected.unsigned_abs(), partial.error_message)))
            }
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let pause = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                let pause = pause.map(|seconds| Duration::from_secs(seconds).min(PAUSE));
                Err(PostError::Later { why: format!("status {}", head.status.as_u16()), pause })
            }
            status => Err(PostError::Refused(status)),
        }
    }
}

fn gzip(body: &[u8]) -> Bytes {
    let mut writer = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let packed = writer.write_all(body).and_then(|()| writer.finish());
    packed.expect("writing to memory does not fail").into()
}
