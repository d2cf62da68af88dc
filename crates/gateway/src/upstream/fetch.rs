//! Fetching tokens: small requests with whole answers, outside of any call to a model.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use systemprompt_model::{Shortage, with_causes};
use url::Url;

use super::connect::{Connector, connector};
use crate::config::{check_address, with_metadata};
use crate::credential::{NotFetched, Reach, Transport};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long all of it may take.
const TOTAL: Duration = Duration::from_secs(10);
/// How long a connection is kept.
const IDLE: Duration = Duration::from_secs(30);
/// No token is larger.
const ANSWER_LIMIT: usize = 256 * 1024;

/// Fetches tokens over HTTP.
pub(crate) struct Fetcher {
    public: Reached,
    metadata: Reached,
}

struct Reached {
    hosts: Arc<BTreeSet<String>>,
    client: Client<Connector, Full<Bytes>>,
}

impl Fetcher {
    /// One that reaches `trusted` hosts wherever they are.
    pub(crate) fn new(trusted: &BTreeSet<String>) -> io::Result<Self> {
        let reached = |hosts: BTreeSet<String>| {
            let hosts = Arc::new(hosts);
            let connector = connector(hosts.clone(), CONNECT, IDLE)?;
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).timer(TokioTimer::new());
            Ok::<_, io::Error>(Reached { hosts, client: builder.build(connector) })
        };
        Ok(Self { public: reached(trusted.clone())?, metadata: reached(with_metadata(trusted))? })
    }
}

#[async_trait]
impl Transport for Fetcher {
    async fn fetch(&self, request: Request<Bytes>, reach: Reach) -> Result<Response<Bytes>, NotFetched> {
        let Reached { hosts, client } = match reach {
            Reach::Public => &self.public,
            Reach::Metadata => &self.metadata,
        };
        let not_allowed = |why: String| NotFetched::NotAllowed(why);
        let url = Url::parse(&request.uri().to_string()).map_err(|error| not_allowed(error.to_string()))?;
        check_address(&url, hosts).map_err(not_allowed)?;
        let fetching = async {
            let answer = client.request(request.map(Full::new)).await.map_err(|error| {
                tracing::warn!(error = %with_causes(&error), "a token service cannot be reached");
                Shortage::behind(&error).map_or(NotFetched::Unreachable, NotFetched::Shortage)
            })?;
            let (head, body) = answer.into_parts();
            match Limited::new(body, ANSWER_LIMIT).collect().await {
                Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(NotFetched::TooLarge),
                Err(_) => Err(NotFetched::Unreachable),
            }
        };
        tokio::time::timeout(TOTAL, fetching).await.unwrap_or(Err(NotFetched::TimedOut))
    }
}
