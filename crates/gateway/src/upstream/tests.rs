//! What a connection that ends without an answer says of the request on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use systemprompt_llm::{Address, Format};
use systemprompt_model::Ambient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Line, SendError, Taken, Upstreams};
use crate::config::{DataHandling, GatewayConfig, ProviderWire, Resolved, Surface};
use crate::resilience::Health;
use crate::routing::{Provider, StreamUsage};
use crate::target::Target;

/// How a provider treats the second request on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It closes when the request arrives, and reads nothing of it.
    Unread,
    /// It reads all of it and hangs up.
    HangsUp,
    /// It reads all of it, thinks about it, and aborts the connection.
    Aborts,
}

/// A provider at `listener`, and clients for it.
fn clients_of(listener: &TcpListener) -> (Upstreams, Target) {
    let defaults = GatewayConfig::default().resilience;
    let resilience = Resolved::new(&defaults, None);
    let provider = Arc::new(Provider {
        name: "raw".into(),
        wire: ProviderWire::OpenAiChat,
        surface: Surface::OpenAi,
        endpoint: format!("http://{}", listener.local_addr().expect("an address")),
        trace_context: false,
        extra_headers: BTreeMap::new(),
        timeouts: resilience.timeouts(),
        retries: resilience.retries(),
        health: Arc::new(Health::new(resilience.protection())),
        region: None,
        handling: DataHandling::default(),
        stream_usage: StreamUsage::default(),
        place: None,
        max_tokens_field: false,
        developer_role: false,
    });
    let target = Target {
        format: Format::OpenAiChat,
        asked: Address { model: "model".to_owned(), stream: false },
        uri: provider.endpoint.clone(),
        headers: HeaderMap::new(),
        credential: None,
        head_limit: Duration::from_secs(10),
        limit: Duration::from_secs(10),
        provider: provider.clone(),
    };
    (Upstreams::new(&[provider], &BTreeSet::new(), Ambient::system(), None).expect("clients"), target)
}

#[tokio::test]
async fn only_what_nobody_read_may_be_sent_again() {
    for (manner, expected) in [
        (Manner::Unread, SendError::NeverRead),
        (Manner::HangsUp, SendError::Broken("closed the connection without an answer")),
        (Manner::Aborts, SendError::Broken("closed the connection without an answer")),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (upstreams, target) = clients_of(&listener);
        let send = async |taken: Taken| {
            upstreams.send(&target, Bytes::from_static(b"question"), Line::Pooled, target.head_limit, taken).await
        };
        let asked = async {
            let answer = send(Taken::default()).await.expect("an answer").into_body();
            super::collect(answer, 100, target.head_limit, |_| ()).await.expect("all of it");
            let taken = Taken::default();
            let error = send(taken.clone()).await.err().expect("no answer");
            (error, taken.is_taken())
        };
        let ((), (error, taken)) = tokio::join!(serve(listener, manner), asked);
        assert_eq!((error, taken), (expected, true), "{manner:?}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_all_of_the_request_was_sent_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (upstreams, target) = clients_of(&listener);
    // More than the buffers of two sockets hold.
    let content = Bytes::from(vec![b'x'; 32 * 1024 * 1024]);
    let refuse = async {
        for served_before in [false, true] {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            if served_before {
                read_request(&mut connection).await;
                connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.expect("it listens");
            }
            assert_eq!(connection.peek(&mut [0]).await.expect("it sends"), 1);
            let answer = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 9\r\nconnection: close\r\n\r\ntoo large";
            connection.write_all(answer).await.expect("it listens");
            // Closing with bytes unread resets the connection.
        }
    };
    let ask = async {
        for served_before in [false, true] {
            let send = async |content: Bytes| {
                let answer = upstreams
                    .send(&target, content, Line::Pooled, target.head_limit, Taken::default())
                    .await
                    .expect("an answer");
                let status = answer.status().as_u16();
                (status, super::collect(answer.into_body(), 100, target.head_limit, |_| ()).await)
            };
            if served_before {
                assert_eq!(send(Bytes::from_static(b"question")).await, (200, Ok(Bytes::from_static(b"ok"))));
            }
            let refused = send(content.clone()).await;
            assert_eq!(refused, (413, Ok(Bytes::from_static(b"too large"))), "served before: {served_before}");
        }
    };
    tokio::join!(refuse, ask);
}

#[tokio::test]
async fn a_connection_is_given_up_before_the_provider_does() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (upstreams, target) = clients_of(&listener);
    let serve = async {
        let (mut connection, _) = listener.accept().await.expect("a connection");
        read_request(&mut connection).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: timeout=1\r\n\r\nok";
        connection.write_all(answer).await.expect("it listens");
        assert_eq!(connection.read(&mut [0]).await.expect("a proper end"), 0, "nothing more is asked on it");
    };
    let ask = async {
        let content = Bytes::from_static(b"question");
        let answer = upstreams.send(&target, content, Line::Pooled, target.head_limit, Taken::default()).await;
        super::collect(answer.expect("an answer").into_body(), 100, target.head_limit, |_| ()).await
    };
    let ((), answer) = tokio::join!(serve, ask);
    assert_eq!(answer, Ok(Bytes::from_static(b"ok")));
}

#[tokio::test]
async fn a_provider_can_say_that_it_did_not_process_a_request() {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let reset = |reason| [&[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0][..], &[reason]].concat();
    let goodbye = |last, reason| [&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0][..], &[last, 0, 0, 0, reason]].concat();
    let (no_error, internal_error, refused_stream, cancel) = (0, 2, 7, 8);
    for (says, expected) in [
        (reset(refused_stream), true),
        (reset(no_error), false),
        (reset(internal_error), false),
        (reset(cancel), false),
        (goodbye(0, no_error), true),
        // It may be working on it.
        (goodbye(1, no_error), false),
        (goodbye(1, internal_error), false),
        (goodbye(0, internal_error), false),
    ] {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let provider = async {
            far.write_all(SETTINGS).await.expect("it listens");
            let mut preface = [0; 24];
            far.read_exact(&mut preface).await.expect("it sends");
            loop {
                let mut head = [0; 9];
                far.read_exact(&mut head).await.expect("it sends");
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                far.read_exact(&mut vec![0; length]).await.expect("it sends");
                if head[3] == 1 {
                    break;
                }
            }
            far.write_all(&says).await.expect("it listens");
            drop(far);
        };
        let ask = async {
            let (mut client, connection) = h2::client::handshake(near).await.expect("an HTTP/2 connection");
            let ask = async {
                let request = http::Request::get("https://provider/").body(()).expect("a request");
                client.send_request(request, true).expect("it is open").0.await.expect_err("no answer")
            };
            tokio::join!(ask, connection).0
        };
        let (error, ()) = tokio::join!(ask, provider);
        assert_eq!(super::not_processed(&error), expected, "{says:?}: {error}");
    }
}

/// Answers one request, and treats the next in its manner.
async fn serve(listener: TcpListener, manner: Manner) {
    let (mut connection, _) = listener.accept().await.expect("a connection");
    read_request(&mut connection).await;
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.expect("it listens");
    match manner {
        Manner::Unread => assert_eq!(connection.peek(&mut [0]).await.expect("it sends"), 1),
        Manner::HangsUp => read_request(&mut connection).await,
        Manner::Aborts => {
            read_request(&mut connection).await;
            // Longer than a reset of unread bytes takes on this machine, and not much longer.
            tokio::time::sleep(Duration::from_millis(900)).await;
            connection.set_zero_linger().expect("a socket");
        }
    }
}

async fn read_request(connection: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"question") {
        assert_ne!(connection.read_buf(&mut read).await.expect("it sends"), 0, "all of the request");
    }
}
