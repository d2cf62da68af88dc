//! Accepting connections, and letting go of them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

/// A client has this long to send its request head, so that slow clients do not hold connections for nothing.
const HEADER_READ_LIMIT: Duration = Duration::from_secs(15);
/// A client has this long to agree on TLS.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// All header fields of a request together.
const HEADER_BYTES: usize = 64 * 1024;
/// More header fields than this are a bomb.
const HEADER_COUNT: usize = 100;
/// What streams have to say goodbye once they are told to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The peer of a connection, in the extensions of its requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Connections being served.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    accepting: CancellationToken,
    accept_loop: TaskTracker,
    connections: TaskTracker,
    graceful: tokio::sync::oneshot::Receiver<GracefulShutdown>,
    /// Dropping a connection's task is the last resort; this is how they are told.
    abandon: CancellationToken,
}

impl Listener {
    /// Serves `router` on `listener` until [`Self::drain`], over TLS if there is something to speak it with.
    pub(crate) fn start(
        listener: TcpListener,
        router: Router,
        max_streams: u32,
        tls: Option<TlsAcceptor>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let accepting = CancellationToken::new();
        let abandon = CancellationToken::new();
        let connections = TaskTracker::new();
        let accept_loop = TaskTracker::new();
        let (hand_over, graceful) = tokio::sync::oneshot::channel();
        let server = Server {
            protocol: protocol(max_streams),
            router,
            tls,
            accepting: accepting.clone(),
            abandon: abandon.clone(),
        };
        accept_loop.spawn(accept(listener, server, connections.clone(), hand_over));
        accept_loop.close();
        Ok(Self { address, accepting, accept_loop, connections, graceful, abandon })
    }

    /// Stops accepting, lets requests in flight finish for `grace`, then calls `cut`, which makes streams say goodbye,
    /// and finally closes what is left. Returns how many connections had to be cut.
    pub(crate) async fn drain(self, grace: Duration, cut: impl FnOnce()) -> usize {
        self.accepting.cancel();
        self.accept_loop.wait().await;
        self.connections.close();
        let graceful = self.graceful.await.unwrap_or_else(|_| GracefulShutdown::new());
        let finished = async {
            graceful.shutdown().await;
            self.connections.wait().await;
        };
        tokio::pin!(finished);
        if tokio::time::timeout(grace, &mut finished).await.is_ok() {
            cut();
            return 0;
        }
        let left = self.connections.len();
        cut();
        if tokio::time::timeout(LAST_WORDS, &mut finished).await.is_err() {
            self.abandon.cancel();
            self.connections.wait().await;
        }
        left
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Server {
    protocol: auto::Builder<TokioExecutor>,
    router: Router,
    tls: Option<TlsAcceptor>,
    accepting: CancellationToken,
    abandon: CancellationToken,
}

fn protocol(max_streams: u32) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_LIMIT)
        .max_headers(HEADER_COUNT)
        .max_buf_size(HEADER_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(max_streams)
        .max_header_list_size(HEADER_BYTES as u32)
        .keep_alive_interval(Duration::from_secs(30));
    builder
}

async fn accept(
    listener: TcpListener,
    server: Server,
    connections: TaskTracker,
    hand_over: tokio::sync::oneshot::Sender<GracefulShutdown>,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = server.accepting.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly. Trying again at once would only burn the processor.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        connections.spawn(server.clone().connection(prepare(stream), peer, graceful.watcher()));
    }
    // If nobody takes it over, dropping it lets connections run on until their task ends.
    let _ = hand_over.send(graceful);
}

impl Server {
    async fn connection(self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        let Some(tls) = &self.tls else { return self.serve(stream, peer, watcher).await };
        let handshake = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream));
        let agreed = tokio::select! {
            // Nothing was asked yet, so nobody is left without an answer.
            () = self.accepting.cancelled() => return,
            agreed = handshake => agreed,
        };
        match agreed {
            Ok(Ok(stream)) => self.serve(stream, peer, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "a client and this server do not agree on TLS"),
            Err(_elapsed) => tracing::debug!(%peer, "a client did not finish its TLS handshake in time"),
        }
    }

    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        watcher: Watcher,
    ) {
        let connection = self.protocol.serve_connection(TokioIo::new(stream), per_connection(&self.router, peer));
        let watched = watcher.watch(connection);
        tokio::select! {
            result = watched => if let Err(error) = result {
                tracing::debug!(%error, %peer, "a connection ended badly");
            },
            () = self.abandon.cancelled() => {}
        }
    }
}

/// Small packets leave at once: a token of an answer is one.
fn prepare(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    stream
}

fn per_connection(
    router: &Router,
    peer: SocketAddr,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future = impl Future<Output = Result<axum::response::Response, Infallible>> + Send + use<>,
> + use<> {
    let router = router.clone();
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
    })
}
