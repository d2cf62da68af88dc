//! Accepting connections, and letting go of them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use systemprompt_model::{Condition, Shortage};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::framing::{Framed, Heads, Malformed};
use crate::metrics::ConnectionMetrics;
use crate::pace::{Asked, Paced, Unread};
use crate::proxies::Proxies;
use crate::slots::Slots;
use crate::stalled_stream::Streams;

/// All header fields of a request together.
const HEADER_BYTES: usize = 64 * 1024;
/// More header fields than this are a bomb.
const HEADER_COUNT: usize = 100;
/// Connections that are turned away are logged at most this often: who causes them could fill the log otherwise.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// What streams have to say goodbye once they are told to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What clients may take of a server.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Connections at once.
    pub(crate) connections: usize,
    /// HTTP/2 streams of one connection at once.
    pub(crate) streams: u32,
    /// Who may have more than one client's share of the connections.
    pub(crate) proxies: Proxies,
    /// Counts connections.
    pub(crate) metrics: ConnectionMetrics,
    /// A client has this long to agree on TLS.
    pub(crate) handshake: Duration,
    /// A client has this long to send the head of its first request, whatever else it says in the meantime, so that slow
    /// clients do not hold connections for nothing.
    pub(crate) head: Duration,
    /// On HTTP/1 it has this long from an answer to the end of the head of its next request: as long as it may say nothing,
    /// it may as well say something slowly.
    pub(crate) keep_alive: Duration,
    /// A client that takes nothing of its answer for this long is gone, whatever TCP thinks.
    pub(crate) write_stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            streams: 256,
            proxies: Proxies::default(),
            metrics: ConnectionMetrics::default(),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(15),
            keep_alive: Duration::from_secs(75),
            write_stall: Duration::from_mins(1),
        }
    }
}

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
        limits: &Limits,
        tls: Option<TlsAcceptor>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let accepting = CancellationToken::new();
        let abandon = CancellationToken::new();
        let connections = TaskTracker::new();
        let accept_loop = TaskTracker::new();
        let (hand_over, graceful) = tokio::sync::oneshot::channel();
        let server = Arc::new(Server {
            protocol: protocol(limits),
            limits: limits.clone(),
            router,
            tls,
            accepting: accepting.clone(),
            abandon: abandon.clone(),
        });
        let slots = Slots::new(limits.connections, limits.proxies.clone(), limits.metrics.clone());
        accept_loop.spawn(accept(listener, server, slots, connections.clone(), hand_over));
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

/// What a connection and its requests tell each other.
struct News {
    peer: Peer,
    asked: Asked,
    unread: Unread,
    heads: Heads,
}

/// What every connection needs.
struct Server {
    protocol: auto::Builder<TokioExecutor>,
    limits: Limits,
    router: Router,
    tls: Option<TlsAcceptor>,
    accepting: CancellationToken,
    abandon: CancellationToken,
}

fn protocol(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.keep_alive)
        .max_headers(HEADER_COUNT)
        .max_buf_size(HEADER_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(HEADER_BYTES as u32)
        .keep_alive_interval(Duration::from_secs(30));
    builder
}

async fn accept(
    listener: TcpListener,
    server: Arc<Server>,
    slots: Arc<Slots>,
    connections: TaskTracker,
    hand_over: tokio::sync::oneshot::Sender<GracefulShutdown>,
) {
    let graceful = GracefulShutdown::new();
    let mut complained: Option<Instant> = None;
    let mut short = Condition::default();
    loop {
        let (stream, peer) = tokio::select! {
            () = server.accepting.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => {
                    if let Some(lasted) = short.ends() {
                        tracing::info!(lasted_ms = lasted.as_millis() as u64, "connections are accepted again");
                    }
                    accepted
                }
                Err(error) => {
                    // Out of file descriptors, mostly. Trying again at once would only burn the processor.
                    if short.begins() {
                        let own = Shortage::behind(&error).map(|shortage| format!("this server {shortage}"));
                        let reason = own.unwrap_or_else(|| error.to_string());
                        tracing::warn!(reason, "connections cannot be accepted; they wait in the kernel's queue");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let slot = match slots.take(peer.ip()) {
            Ok(slot) => slot,
            // Closed at once rather than left in the kernel's queue: who waits there waits for a minute, and takes the place
            // of those who are welcome.
            Err(full) => {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                    tracing::warn!(%peer, reason = %full, "connections are turned away");
                    complained = Some(Instant::now());
                }
                continue;
            }
        };
        let (server, watcher) = (server.clone(), graceful.watcher());
        connections.spawn(async move {
            server.connection(prepare(stream), peer, watcher).await;
            drop(slot);
        });
    }
    // If nobody takes it over, dropping it lets connections run on until their task ends.
    let _ = hand_over.send(graceful);
}

impl Server {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        let news =
            News { peer: Peer(peer), asked: Asked::default(), unread: Unread::default(), heads: Heads::default() };
        let (asked, unread) = (news.asked.clone(), news.unread.clone());
        let stream = Paced::new(stream, asked, unread, self.limits.head, self.limits.write_stall);
        let Some(tls) = &self.tls else { return self.serve(stream, news, watcher).await };
        let handshake = tokio::time::timeout(self.limits.handshake, tls.accept(stream));
        let agreed = tokio::select! {
            // Nothing was asked yet, so nobody is left without an answer.
            () = self.accepting.cancelled() => return,
            agreed = handshake => agreed,
        };
        match agreed {
            Ok(Ok(stream)) => self.serve(stream, news, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "a client and this server do not agree on TLS"),
            Err(_elapsed) => tracing::debug!(%peer, "a client did not finish its TLS handshake in time"),
        }
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, news: News, watcher: Watcher) {
        let peer = news.peer.0;
        let streams = Arc::new(Streams::new(self.limits.write_stall));
        let stream = Framed::new(stream, news.heads.clone());
        let service = per_connection(&self.router, news, streams.clone());
        let connection = self.protocol.serve_connection(TokioIo::new(stream), service);
        let watched = watcher.watch(connection);
        tokio::select! {
            result = watched => if let Err(error) = result {
                tracing::debug!(%error, %peer, "a connection ended badly");
            },
            () = self.abandon.cancelled() => {}
            () = streams.watch() => {}
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
    news: News,
    streams: Arc<Streams>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future = impl Future<Output = Result<axum::response::Response, Infallible>> + Send + use<>,
> + use<> {
    let router = router.clone();
    service_fn(move |mut request: Request<Incoming>| {
        news.asked.set();
        request.extensions_mut().insert(news.peer);
        request.extensions_mut().insert(news.unread.clone());
        if let Some(malformed) = Malformed::of(request.version(), request.headers(), &news.heads) {
            request.extensions_mut().insert(malformed);
        }
        // HTTP/1 has one answer at a time, and what is not taken of it stalls the socket.
        let streams = (request.version() == Version::HTTP_2).then(|| streams.clone());
        let answer = router.clone().call(request);
        async move {
            let answer = answer.await?;
            Ok(match streams {
                Some(streams) => answer.map(|body| streams.look_after(body)),
                None => answer,
            })
        }
    })
}

/// Lets the process have as many connections, files and sockets open as it may. The limit it is born with, often 1024, is
/// for programs that use `select`.
pub(crate) fn raise_open_files(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    // Most connections are waiting for one of ours to a provider.
    let wanted = connections.saturating_mul(2) as u64;
    if let Some(open_files) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < wanted) {
        tracing::warn!(open_files, connections, "fewer files may be open than server.max_connections needs");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::body::Body;
    use axum::routing::get;
    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::mpsc;

    use super::*;

    /// Nothing in these tests takes longer unless it hangs.
    const PATIENCE: Duration = Duration::from_secs(20);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    /// A frame of no settings.
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

    async fn serve(router: Router, limits: Limits) -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Listener::start(listener, router, &limits, None).expect("serves")
    }

    /// What the server says until it closes the connection.
    async fn hear(mut stream: TcpStream) -> Vec<u8> {
        let mut heard = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await;
        // A reset is an end as well.
        let _ = closed.expect("the server closes the connection");
        heard
    }

    #[tokio::test]
    async fn a_client_that_asks_for_nothing_is_not_waited_for() {
        let limits = Limits { head: Duration::from_millis(100), ..Limits::default() };
        let listener = serve(Router::new().route("/", get(async || "hello")), limits).await;
        let connection = [PREFACE, SETTINGS].concat();
        for said in [&b""[..], b"PRI * HT", b"GET / HT", PREFACE, &connection] {
            let mut stream = TcpStream::connect(listener.address).await.expect("connects");
            stream.write_all(said).await.expect("writes");
            let heard = hear(stream).await;
            assert!(!heard.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&heard));
        }
        assert_eq!(listener.drain(PATIENCE, || {}).await, 0);
    }

    #[tokio::test]
    async fn a_connection_may_rest_for_as_long_as_is_said() {
        for (keep_alive, is_kept) in [(Duration::from_millis(200), false), (PATIENCE, true)] {
            let limits = Limits { head: Duration::from_millis(100), keep_alive, ..Limits::default() };
            let listener = serve(Router::new().route("/", get(async || "hello")), limits).await;
            let mut stream = TcpStream::connect(listener.address).await.expect("connects");
            stream.write_all(REQUEST).await.expect("writes");
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.expect("an answer");
            // Longer than a first request may take.
            tokio::time::sleep(Duration::from_millis(600)).await;
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
            let heard = String::from_utf8_lossy(&hear(stream).await).into_owned();
            assert_eq!(heard.contains("HTTP/1.1 200"), is_kept, "{keep_alive:?}: {heard}");
        }
    }

    #[tokio::test]
    async fn an_answer_may_take_longer_than_the_question() {
        let brief = Duration::from_millis(100);
        let limits = Limits { head: brief, keep_alive: brief, ..Limits::default() };
        let slow = async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "hello"
        };
        let listener = serve(Router::new().route("/", get(slow)), limits).await;
        let mut stream = TcpStream::connect(listener.address).await.expect("connects");
        stream.write_all(REQUEST).await.expect("writes");
        assert!(hear(stream).await.ends_with(b"hello"));
    }

    /// An answer without end at `/`, another at `/hello`, and what says `None` when the first was let go.
    fn endless() -> (Router, mpsc::Receiver<()>) {
        let (alive, gone) = mpsc::channel::<()>(1);
        let alive = Arc::new(Mutex::new(Some(alive)));
        let endless = async move || {
            let alive = alive.lock().expect("no panic").take();
            Body::from_stream(stream::repeat_with(move || {
                assert!(alive.is_some(), "it was asked for twice");
                Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16_384]))
            }))
        };
        (Router::new().route("/", get(endless)).route("/hello", get(async || "hello")), gone)
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_does_not_hold_its_answer() {
        let limits = Limits { write_stall: Duration::from_millis(100), ..Limits::default() };
        let (router, mut gone) = endless();
        let listener = serve(router, limits).await;
        let mut stream = TcpStream::connect(listener.address).await.expect("connects");
        stream.write_all(REQUEST).await.expect("writes");
        assert_eq!(tokio::time::timeout(PATIENCE, gone.recv()).await.expect("it is let go"), None);
        drop(stream);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_a_stream_keeps_the_others() {
        let limits = Limits { write_stall: Duration::from_millis(100), ..Limits::default() };
        let (router, mut gone) = endless();
        let listener = serve(router, limits).await;
        let stream = TcpStream::connect(listener.address).await.expect("connects");
        let (mut client, connection) =
            hyper::client::conn::http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("agrees");
        let tracker = TaskTracker::new();
        tracker.spawn(connection);
        let get = |path: &str| Request::get(format!("http://localhost{path}")).body(Body::empty()).expect("a request");
        let untaken = client.send_request(get("/")).await.expect("an answer");
        assert_eq!(tokio::time::timeout(PATIENCE, gone.recv()).await.expect("it is let go"), None);
        let other = client.send_request(get("/hello")).await.expect("the connection is well");
        assert_eq!(other.into_body().collect().await.expect("a body").to_bytes(), "hello");
        assert!(untaken.into_body().collect().await.is_err(), "and what is read of the first has no good end");
    }

    #[tokio::test]
    async fn connections_over_the_limit_are_closed_and_make_room_again() {
        let limits = Limits { connections: 2, ..Limits::default() };
        let listener = serve(Router::new().route("/", get(async || "hello")), limits).await;
        let connect = async || {
            let mut stream = TcpStream::connect(listener.address).await.expect("connects");
            let _ = stream.write_all(REQUEST).await;
            let mut answer = [0; 12];
            let answered = stream.read_exact(&mut answer).await.is_ok();
            (stream, answered)
        };
        let (one, two) = (connect().await, connect().await);
        assert!(one.1 && two.1);
        assert!(!connect().await.1);
        drop(one);
        let again = async { while !connect().await.1 {} };
        tokio::time::timeout(PATIENCE, again).await.expect("the place is free");
    }
}
