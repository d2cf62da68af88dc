//! What a connection that ends without an answer says of the request on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use systemprompt_llm::Format;
use systemprompt_model::Ambient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Line, SendError, Taken, Upstreams};
use crate::config::{GatewayConfig, ProviderWire, Surface, Timeouts};
use crate::routing::Provider;
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

#[tokio::test]
async fn only_what_nobody_read_may_be_sent_again() {
    for (manner, expected) in [
        (Manner::Unread, SendError::NeverRead),
        (Manner::HangsUp, SendError::Broken("closed the connection without an answer")),
        (Manner::Aborts, SendError::Broken("closed the connection without an answer")),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let provider = Arc::new(Provider {
            name: "raw".to_owned(),
            wire: ProviderWire::OpenAiChat,
            surface: Surface::OpenAi,
            endpoint: format!("http://{}", listener.local_addr().expect("an address")),
            extra_headers: BTreeMap::new(),
            timeouts: Timeouts::resolve(&GatewayConfig::default().resilience, None),
        });
        let target = Target {
            name: systemprompt_governance::Target::new("raw/model"),
            format: Format::OpenAiChat,
            uri: provider.endpoint.clone(),
            headers: HeaderMap::new(),
            head_limit: Duration::from_secs(10),
            provider: provider.clone(),
        };
        let upstreams = Upstreams::new(&[provider], &BTreeSet::new(), Ambient::system()).expect("clients");
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
