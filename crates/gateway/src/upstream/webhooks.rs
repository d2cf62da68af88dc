//! Posting messages of ours, such as alerts of quotas, to addresses operators chose: over the same guarded connections as
//! requests to providers, so a name that leads into the machine's own network is not followed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use systemprompt_governance::Courier;
use systemprompt_model::with_causes;

use super::connect::{Connector, connector};
use crate::config::check_webhook;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Messages are seldom; no connection is kept for the next.
const IDLE: Duration = Duration::from_secs(1);

/// Posts messages.
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
}

#[async_trait]
impl Courier for Webhooks {
    async fn post(&self, url: &str, headers: &[(&'static str, String)], body: String) -> Result<(), String> {
        check_webhook(url, &self.trusted)?;
        let uri: Uri = url.parse().map_err(|error| format!("the address is not a URI: {error}"))?;
        let mut request = Request::post(uri)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(USER_AGENT, crate::target::OUR_NAME)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                request.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        let answer = self.client.request(request).await.map_err(|error| with_causes(&error))?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status())) }
    }
}
