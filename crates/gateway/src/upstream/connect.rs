//! Connecting to a provider: within a time limit, and watched so that it can be told what became of a request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use super::watched::Watched;

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
