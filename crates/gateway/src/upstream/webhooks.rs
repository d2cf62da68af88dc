//! Posting messages of ours, such as alerts of quotas, to addresses operators chose, and putting objects there: over the same
//! guarded connections as requests to providers, so a name that leads into the machine's own network is not followed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::request::Builder;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use systemprompt_governance::{Courier, HttpClient, StoredObject};
use systemprompt_model::with_causes;

use super::connect::{Connector, connector};
use crate::config::check_webhook;
use crate::credential::sign_object;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Messages are seldom; no connection is kept for the next.
const IDLE: Duration = Duration::from_secs(1);
/// Questions are not: theirs are kept for so long.
const KEPT: Duration = Duration::from_secs(30);
/// Bytes of an error that are read.
const ERROR_LIMIT: usize = 16 * 1024;

/// Posts messages, and asks.
pub(crate) struct Webhooks {
    client: Client<Connector, Full<Bytes>>,
    trusted: BTreeSet<String>,
}

impl Webhooks {
    /// `trusted` hosts may have private addresses.
    pub(crate) fn new(trusted: &BTreeSet<String>) -> Result<Self, std::io::Error> {
        let connector = connector(Arc::new(trusted.clone()), CONNECT, IDLE)?;
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, trusted: trusted.clone() })
    }

    /// The same over connections that are kept, for questions that are asked all the time.
    pub(crate) fn keeping(trusted: &BTreeSet<String>) -> Result<Self, std::io::Error> {
        let connector = connector(Arc::new(trusted.clone()), CONNECT, KEPT)?;
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(KEPT).pool_timer(TokioTimer::new()).timer(TokioTimer::new());
        Ok(Self { client: builder.build(connector), trusted: trusted.clone() })
    }

    /// Where it goes, if it may.
    fn address(&self, url: &str) -> Result<Uri, String> {
        check_webhook(url, &self.trusted)?;
        url.parse().map_err(|error| format!("the address is not a URI: {error}"))
    }

    async fn send(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Result<Response<Incoming>, String> {
        let request = Request::post(self.address(url)?)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(USER_AGENT, crate::target::OUR_NAME);
        let request = with_headers(request, headers)?.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| error.to_string())?;
        self.client.request(request).await.map_err(|error| with_causes(&error))
    }
}

#[async_trait]
impl Courier for Webhooks {
    async fn post(&self, url: &str, headers: &[(&'static str, String)], body: String) -> Result<(), String> {
        let answer = self.send(url, headers, body).await?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status())) }
    }

    async fn put(&self, object: StoredObject<'_>) -> Result<(), String> {
        let request = Request::put(self.address(&object.url)?).header(USER_AGENT, crate::target::OUR_NAME);
        let request = with_headers(request, &object.headers)?;
        let (mut head, ()) = request.body(()).map_err(|error| error.to_string())?.into_parts();
        let body = Bytes::from(object.body);
        sign_object(&mut head, &body, object.credentials, object.region, object.at)
            .map_err(|error| error.to_string())?;
        let request = Request::from_parts(head, Full::new(body));
        let answer = self.client.request(request).await.map_err(|error| with_causes(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = Limited::new(answer.into_body(), ERROR_LIMIT).collect().await;
        let said = said.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Err(match error_code(&String::from_utf8_lossy(&said)) {
            Some(code) => format!("it answered {status}, {code}"),
            None => format!("it answered {status}"),
        })
    }
}

#[async_trait]
impl HttpClient for Webhooks {
    async fn ask(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: String,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        let (head, body) = self.send(url, headers, body).await?.into_parts();
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok((head.status, body.to_bytes())),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(format!("its answer has more than {limit} bytes"))
            }
            Err(error) => Err(with_causes(&*error)),
        }
    }
}

/// The headers of a message. Nothing goes out without one of them: it may be what proves whose it is. Its value is not told.
fn with_headers(mut request: Builder, headers: &[(&'static str, String)]) -> Result<Builder, String> {
    for (name, value) in headers {
        let value = HeaderValue::from_str(value);
        let value = value.map_err(|_| format!("the header `{name}` holds what no header can, such as a line break"))?;
        request = request.header(*name, value);
    }
    Ok(request)
}

/// What S3 calls an error. Of what else it says nothing is passed on: it repeats what it was sent.
fn error_code(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_name = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_name.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_private_is_asked_whatever_it_is_called() {
        let client = Webhooks::keeping(&BTreeSet::new()).expect("TLS roots");
        for url in
            ["https://10.0.0.7/", "https://[fd00::7]:8443/check", "https://169.254.169.254/latest", "http://192.0.2.1/"]
        {
            let told = client.ask(url, &[], String::new(), 10).await.expect_err(url);
            assert!(told.contains("private address") || told.contains("clear text"), "{url}: {told}");
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_without_a_header_it_needs() {
        let client = Webhooks::keeping(&BTreeSet::new()).expect("TLS roots");
        // Nobody listens there: it is not asked.
        let headers = [("x-first", "fine".to_owned()), ("authorization", "Bearer 1\n2".to_owned())];
        for told in [
            client.post("http://127.0.0.1:1/", &headers, String::new()).await.expect_err("it cannot be sent"),
            client.ask("http://127.0.0.1:1/", &headers, String::new(), 10).await.expect_err("it cannot be sent"),
        ] {
            assert_eq!(told, "the header `authorization` holds what no header can, such as a line break");
        }
    }

    #[test]
    fn of_an_error_only_its_name_is_told() {
        let said = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>key AKIA</Message></Error>";
        assert_eq!(error_code(said), Some("AccessDenied"));
        for other in ["", "<Code>", "<Code>\u{1b}[2J</Code>", "<Code>a b</Code>"] {
            assert_eq!(error_code(other), None, "{other:?}");
        }
    }
}
