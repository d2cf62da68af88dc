//! Input that is too large, too many, too slow or not what it should be.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use http::Method;
use serde_json::json;
use systemprompt_mock_upstream::Behaviour;

use crate::harness::{Instance, Setup, hello};

#[tokio::test]
async fn bodies_at_and_over_the_limit() {
    let instance = Instance::with(Setup { gateway: "max_body_bytes: 200000\n".to_owned(), ..Setup::default() }).await;
    let of_size = |size: usize| {
        let empty = json!({"model": "claude-test", "max_tokens": 10, "messages": [{"role": "user", "content": ""}]})
            .to_string();
        json!({"model": "claude-test", "max_tokens": 10, "messages": [{"role": "user", "content": "word ".repeat(size).chars().take(size - empty.len()).collect::<String>()}]}).to_string()
    };
    let at = instance.send(Method::POST, "/v1/messages", &[], of_size(200_000)).await;
    assert_eq!(at.status, 200, "{}", at.text());
    let over = instance.send(Method::POST, "/v1/messages", &[], of_size(200_001)).await;
    assert_eq!((over.status.as_u16(), over.json()["error"]["type"].as_str()), (413, Some("request_too_large")));
    let over = instance.send(Method::POST, "/v1/chat/completions", &[], of_size(200_001)).await;
    assert_eq!((over.status.as_u16(), over.json()["error"]["type"].as_str()), (413, Some("invalid_request_error")));
    assert_eq!(instance.mock.statistics().requests, 1);
}

#[tokio::test]
async fn large_single_lines_and_long_histories_pass() {
    let instance = Instance::start().await;
    let long_line = json!({"model": "claude-test", "max_tokens": 10, "messages": [{"role": "user", "content": "lorem ipsum ".repeat(1024 * 1024 / 12)}]});
    assert_eq!(instance.messages(&long_line).await.status, 200);
    let history: Vec<_> = (0..2000)
        .map(
            |turn| json!({"role": if turn % 2 == 0 { "user" } else { "assistant" }, "content": format!("turn {turn}")}),
        )
        .collect();
    let answer = instance.messages(&json!({"model": "claude-test", "max_tokens": 10, "messages": history})).await;
    assert_eq!(answer.status, 200);
    let record = instance.record(answer.request_id()).await;
    assert!(record["messages"].as_array().is_some_and(|messages| messages.len() >= 2000));
}

#[tokio::test]
async fn text_that_is_not_utf8_and_nesting_without_end_are_refused() {
    let instance = Instance::start().await;
    let mut body = hello("claude-test").to_string().into_bytes();
    let position = body.windows(5).position(|window| window == b"Hello").expect("the prompt");
    body[position] = 0xff;
    let answer = instance.send(Method::POST, "/v1/messages", &[], body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"]["message"].as_str().unwrap_or_default().contains("UTF-8"), "{}", answer.text());
    let deep = format!(
        r#"{{"model":"claude-test","max_tokens":1,"messages":[{{"role":"user","content":{}1{}}}]}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(instance.send(Method::POST, "/v1/messages", &[], deep).await.status, 400);
    assert_eq!(instance.mock.statistics().connections, 0);
}

#[tokio::test]
async fn methods_and_paths_that_do_not_exist_are_refused_in_a_dialect() {
    let instance = Instance::start().await;
    let answer = instance.send(Method::GET, "/v1/messages", &[], "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("allow"), answer.json()["type"].as_str()),
        (405, Some("POST"), Some("error"))
    );
    let answer = instance.send(Method::POST, "/v1/nothing", &[("authorization", "Bearer x")], "{}").await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.json()["error"]["message"].as_str().unwrap_or_default().contains("/v1/nothing"),
        "{}",
        answer.text()
    );
    let answer = instance.send(Method::GET, "/api/v1/nothing", &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (404, Some("not_found")));
    let answer = instance.send(Method::DELETE, "/health", &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (405, Some("method_not_allowed")));
}

/// Sends raw bytes and gives what came back until the server closed the connection.
fn raw(instance: &Instance, parts: &[&[u8]]) -> String {
    let address = instance.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    for part in parts {
        if stream.write_all(part).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    // A reset is an end too; a connection that is held open is not.
    let end = stream.read_to_end(&mut answer).map_err(|error| error.kind());
    assert!(!matches!(end, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "it was not closed");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_much_can_send_it_all_and_read_why_it_is_refused() {
    let instance = Instance::with(Setup { gateway: "max_body_bytes: 200000\n".to_owned(), ..Setup::default() }).await;
    let body = vec![b' '; 20 * 1024 * 1024];
    for (key, status) in [(instance.key.as_str(), "HTTP/1.1 413"), ("nobody", "HTTP/1.1 401")] {
        let length = body.len();
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n"
        );
        let answer = raw(&instance, &[head.as_bytes(), &body]);
        assert!(answer.starts_with(status) && answer.contains("x-should-retry: false"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn header_bombs_are_refused() {
    let instance = Instance::start().await;
    let many: String = (0..5000).map(|index| format!("x-h{index}: 1\r\n")).collect();
    let answer = raw(&instance, &[b"GET /health HTTP/1.1\r\nhost: x\r\n", many.as_bytes(), b"\r\n"]);
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let long = format!("x-long: {}\r\n", "a".repeat(1024 * 1024));
    let answer = raw(&instance, &[b"GET /health HTTP/1.1\r\nhost: x\r\n", long.as_bytes(), b"\r\n"]);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(instance.send(Method::GET, "/health", &[], "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_ask_is_dropped() {
    let instance = Instance::start().await;
    // All at once, as each takes what the server really grants.
    std::thread::scope(|scope| {
        for said in [&b""[..], b"PRI * HT", b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-a: b"] {
            let instance = &instance;
            scope.spawn(move || {
                let answer = raw(instance, &[said]);
                assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
            });
        }
    });
}

#[tokio::test]
async fn memory_stays_bounded_with_long_streams() {
    let instance = Instance::start().await;
    // 64 MiB of answer; what is kept of it is a few excerpts.
    instance.mock.behave(Behaviour { chunks: 1024, chunk_text: "x".repeat(64 * 1024), ..Behaviour::default() });
    let body = json!({"model": "claude-test", "max_tokens": 10, "stream": true, "messages": [{"role": "user", "content": "Hello"}]});
    let mut open = instance.open(Method::POST, "/v1/messages", &[], body.to_string()).await;
    let mut received = 0;
    while let Some(chunk) = open.chunk().await {
        received += chunk.len();
    }
    assert!(received > 64 * 1024 * 1024);
    let status = std::fs::read_to_string(format!("/proc/{}/status", instance.pid()));
    if let Ok(status) = status {
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok());
        assert!(peak.is_some_and(|peak| peak < 200 * 1024), "{peak:?} kB");
    }
}

/// Lets the server open nothing more: what is free below its highest descriptor is taken away.
#[cfg(target_os = "linux")]
fn limit_descriptors(instance: &Instance, limit: Option<u64>) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = Pid::from_raw(instance.pid().cast_signed()).expect("a process id");
    let maximum = Some(4096);
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: limit.or(maximum), maximum }).expect("our own child");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_descriptors_says_so_and_blames_nobody() {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use hyper_util::rt::TokioIo;

    let instance = Instance::start().await;
    let address = instance.url.trim_start_matches("http://").to_owned();
    let stream = tokio::net::TcpStream::connect(&address).await.expect("it listens");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.expect("it speaks HTTP");
    let serving = tokio::spawn(connection);
    let request = |path: &str, body: String| {
        let request = http::Request::post(path).header("host", &address).header("x-api-key", &instance.key);
        request.body(Full::new(Bytes::from(body))).expect("a request")
    };
    // Over another provider, so that everything but the connection to the one that is meant is there.
    let warm =
        sender.send_request(request("/v1/chat/completions", hello("gpt-test").to_string())).await.expect("an answer");
    assert_eq!(warm.status(), 200);
    warm.into_body().collect().await.expect("all of it");

    let sent = instance.mock.statistics().requests;
    let open: Vec<u64> = std::fs::read_dir(format!("/proc/{}/fd", instance.pid()))
        .expect("its descriptors")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let free = (0..4096).find(|number| !open.contains(number)).expect("some number is free");
    sender.ready().await.expect("the connection that answered");
    limit_descriptors(&instance, Some(free));
    let refused =
        sender.send_request(request("/v1/messages", hello("claude-test").to_string())).await.expect("an answer");
    limit_descriptors(&instance, None);
    let (head, body) = refused.into_parts();
    let body = body.collect().await.expect("all of it").to_bytes();
    let text = String::from_utf8_lossy(&body);
    assert_eq!(head.status, 503, "{text}");
    assert!(head.headers.contains_key("retry-after"), "{:?}", head.headers);
    assert!(text.contains("the gateway has as many files and connections open as it may have"), "{text}");
    assert!(!text.contains("unreachable"), "{text}");
    assert_eq!(instance.mock.statistics().requests, sent);
    let page = instance.send(Method::GET, "/metrics", &[], "").await;
    let counted = "gateway_upstream_errors_total{provider=\"mock-anthropic\",class=\"own_shortage\"} 1";
    assert!(
        page.text().contains(counted),
        "{}",
        page.text().lines().filter(|line| line.contains("errors")).collect::<String>()
    );
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200, "it goes on");
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_request_ends_has_one_answer() {
    let instance = Instance::start().await;
    // What follows the refused request must not be answered.
    let next = "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let chunked = "Host: a\r\nTransfer-Encoding: chunked";
    for (head, status) in [
        ("GET /livez HTTP/1.1", "400"),
        ("GET /livez HTTP/1.1\r\nHost: a\r\nHost: b", "400"),
        ("GET /livez HTTP/1.1\r\nHost: a\r\nHost: a", "400"),
        ("GET /livez HTTP/1.1\r\nHost: a@b", "400"),
        ("GET /livez HTTP/1.0\r\nHost: a\r\nHost: b", "400"),
        ("POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked", "501"),
        ("POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked", "501"),
        ("POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked", "400"),
        ("POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip", "400"),
        ("POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", "400"),
        ("POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", "400"),
        ("POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6", "400"),
        ("POST /livez HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked", "400"),
    ] {
        let heard = raw(&instance, &[format!("{head}\r\n\r\n0\r\n\r\n{next}").as_bytes()]);
        assert!(
            heard.starts_with(&format!("HTTP/1.1 {status}")) || heard.starts_with(&format!("HTTP/1.0 {status}")),
            "{head}: {heard}"
        );
        assert_eq!(heard.matches("HTTP/1.").count(), 1, "{head}: {heard}");
    }
    // Behind a body the next head is found again.
    let body = "5\r\nhello\r\n0\r\n\r\n";
    let heard = raw(&instance, &[format!("POST /livez HTTP/1.1\r\n{chunked}\r\n\r\n{body}{next}").as_bytes()]);
    assert_eq!((heard.matches("HTTP/1.1 ").count(), heard.contains("HTTP/1.1 200")), (2, true), "{heard}");
    let smuggled = format!(
        "POST /livez HTTP/1.1\r\n{chunked}\r\n\r\n{body}POST /livez HTTP/1.1\r\n{chunked}\r\nContent-Length: 5\r\n\r\n{body}{next}"
    );
    let heard = raw(&instance, &[smuggled.as_bytes()]);
    assert!(heard.matches("HTTP/1.1 ").count() == 2 && heard.contains("HTTP/1.1 400"), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_waits_and_who_is_banned_is_let_go() {
    let instance = Instance::start().await;
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200);
    let mut statuses = Vec::new();
    for guess in 0..20 {
        let wrong = format!("sp-live-{guess:012x}.{guess:052x}");
        let headers = [("x-api-key", wrong.as_str())];
        let answer = instance.send(Method::POST, "/v1/messages", &headers, hello("claude-test").to_string()).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some(), "{}", answer.text());
            assert!(
                answer.header("ratelimit").is_some_and(|said| said.contains("r=0")),
                "{:?}",
                answer.header("ratelimit")
            );
        }
        statuses.push(answer.status.as_u16());
    }
    // On a busy machine some of the waits are over before the next guess.
    let waits = statuses.iter().filter(|status| **status == 429).count();
    assert!(statuses[..10].iter().all(|status| *status == 401) && waits >= 3, "{statuses:?}");
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200, "who was let in stays in");
    let page = instance.send(Method::GET, "/metrics", &[], "").await;
    let metrics = page.text();
    assert!(metrics.contains(r#"credentials_refused_total{reason="unknown"} 1"#), "{metrics}");
    let deadline = std::time::Instant::now() + Duration::from_secs(40);
    let said = loop {
        let said = instance.cli(&["infra", "logs", "search", "a credential was refused"]);
        if !said["items"][0].is_null() {
            break said;
        }
        assert!(std::time::Instant::now() < deadline, "nothing is said");
    };
    let line = &said["items"][0]["fields"];
    assert_eq!((&line["reason"], &line["client_ip"]), (&json!("unknown"), &json!("127.0.0.1")), "{said}");
    assert!(line["key_prefix"].as_str().is_some_and(|prefix| prefix.starts_with("sp-live-0000")), "{said}");

    instance.cli(&["admin", "users", "ban", "add", "127.0.0.0/8", "--reason", "test"]);
    let banned = loop {
        let answer = instance.send(Method::GET, "/livez", &[], "").await;
        if answer.status != 200 {
            break answer;
        }
        assert!(std::time::Instant::now() < deadline, "it is not heard");
    };
    assert_eq!((banned.status.as_u16(), banned.header("x-blocked-reason")), (403, Some("ip-banned")));
    assert!(banned.text().contains("Access denied"), "{}", banned.text());
    // Where it ends is not known, so nothing behind it is a request.
    let heard = raw(
        &instance,
        &[b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"],
    );
    assert!(heard.starts_with("HTTP/1.1 403") && heard.matches("HTTP/1.").count() == 1, "{heard}");
    instance.cli(&["admin", "users", "ban", "remove", "127.0.0.0/8", "--yes"]);
    while instance.send(Method::GET, "/livez", &[], "").await.status != 200 {
        assert!(std::time::Instant::now() < deadline, "it is not heard");
    }
}
