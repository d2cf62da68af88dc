//! Connecting to a provider: within a time limit, at no address it must not have, and watched so that it can be told what
//! became of a request.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use super::resolver::GuardedResolver;
use super::watched::Watched;

/// What connections to providers are made with.
pub(super) type Connector = Bounded<HttpsConnector<HttpConnector<GuardedResolver>>>;

/// A connector that leads to public addresses and to `trusted` hosts.
pub(super) fn connector(trusted: Arc<BTreeSet<String>>, limit: Duration, idle: Duration) -> io::Result<Connector> {
    let crypto = rustls::crypto::aws_lc_rs::default_provider();
    let mut tcp = HttpConnector::new_with_resolver(GuardedResolver::new(trusted));
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_mins(1)));
    tcp.enforce_http(false);
    // Company certificate authorities are in the system's store; a bare container has none, there the bundled roots serve.
    let tls = match HttpsConnectorBuilder::new().with_provider_and_native_roots(crypto.clone()) {
        Ok(builder) => builder,
        Err(_) => HttpsConnectorBuilder::new().with_provider_and_webpki_roots(crypto).map_err(io::Error::other)?,
    };
    let inner = tls.https_or_http().enable_http1().enable_http2().wrap_connector(tcp);
    Ok(Bounded { inner, limit, idle })
}

/// A connector that gives up after a while, name look-up and TLS included. (`tower`'s own time-out is not `Unpin`, which
/// the pooled client demands.)
#[derive(Clone)]
pub(super) struct Bounded<C> {
    pub(super) inner: C,
    pub(super) limit: Duration,
    /// How long a connection may be idle.
    pub(super) idle: Duration,
}

impl<C> Service<Uri> for Bounded<C>
where
    C: Service<Uri, Response = MaybeHttpsStream<TokioIo<TcpStream>>>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = TokioIo<Watched>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Watched>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let begun = Instant::now();
        let idle = self.idle;
        let connecting = tokio::time::timeout(self.limit, self.inner.call(uri));
        Box::pin(async move {
            let stream = connecting.await?.map_err(Into::into)?;
            Ok(TokioIo::new(Watched::new(stream, begun.elapsed(), idle)))
        })
    }
}
