//! The log in an object store that speaks S3, checks every signature, and is not always there.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use systemprompt::axum::Router;
use systemprompt::axum::extract::State;
use systemprompt::testing::TestContext;

const KEY_ID: &str = "a-key";
const KEY: &str = "the secret part of it";
const REGION: &str = "eu-central-1";

/// A store with one bucket.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    /// So many requests are refused first.
    busy: usize,
    refused: Vec<String>,
    objects: Vec<(String, HeaderMap, Bytes)>,
}

impl Store {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(self.clone());
        tokio::spawn(async move { systemprompt::axum::serve(listener, router).await.unwrap() });
        format!("http://{address}")
    }

    /// What is stored once there is something of each of these names.
    async fn wait_for(&self, kinds: &[&str]) -> Vec<(String, HeaderMap, Bytes)> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let stored = self.0.lock().unwrap().objects.clone();
            if kinds.iter().all(|kind| stored.iter().any(|(path, ..)| path.contains(kind))) {
                return stored;
            }
            assert!(
                Instant::now() < deadline,
                "{} objects, refused: {:?}",
                stored.len(),
                self.0.lock().unwrap().refused
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn take(
    State(store): State<Store>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let mut stored = store.0.lock().unwrap();
    let refusal = if stored.busy > 0 {
        stored.busy -= 1;
        Some("SlowDown")
    } else if signature(&method, &uri, &headers, &body).as_deref() != headers.get("authorization").map(HeaderMap::text)
    {
        Some("SignatureDoesNotMatch")
    } else if headers.get("x-amz-checksum-sha256").map(HeaderMap::text)
        != Some(STANDARD.encode(Sha256::digest(&body)).as_str())
    {
        Some("BadDigest")
    } else {
        None
    };
    if let Some(code) = refusal {
        stored.refused.push(format!("{code} {uri} {headers:?}"));
        return (StatusCode::SERVICE_UNAVAILABLE, format!("<Error><Code>{code}</Code></Error>"));
    }
    stored.objects.push((uri.path().to_owned(), headers, body));
    (StatusCode::OK, String::new())
}

/// The value of a header as text.
trait Text {
    fn text(value: &http::HeaderValue) -> &str;
}

impl Text for HeaderMap {
    fn text(value: &http::HeaderValue) -> &str {
        value.to_str().unwrap()
    }
}

/// What `authorization` must be, from the documentation of Signature Version 4.
fn signature(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let shown = headers.get("authorization")?.to_str().ok()?;
    let names = shown.split_once("SignedHeaders=")?.1.split_once(',')?.0;
    // What a lock says must not be changed on the way.
    let required = ["host", "x-amz-content-sha256", "x-amz-date"]
        .into_iter()
        .chain(headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-amz-object-lock")));
    let signed: Vec<&str> = names.split(';').collect();
    if !required.into_iter().all(|name| signed.contains(&name)) {
        return None;
    }
    let digest = hex::encode(Sha256::digest(body));
    if headers.get("x-amz-content-sha256")?.to_str().ok()? != digest {
        return None;
    }
    let time = headers.get("x-amz-date")?.to_str().ok()?;
    let day = time.get(..8)?;
    let mut canonical = format!("{method}\n{}\n{}\n", uri.path(), uri.query().unwrap_or_default());
    for name in &signed {
        canonical += &format!("{name}:{}\n", headers.get(*name)?.to_str().ok()?.trim());
    }
    canonical += &format!("\n{names}\n{digest}");
    let scope = format!("{day}/{REGION}/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let mut key = format!("AWS4{KEY}").into_bytes();
    for part in [day, REGION, "s3", "aws4_request", to_sign.as_str()] {
        key = hmac(&key, part.as_bytes());
    }
    let signature = hex::encode(key);
    Some(format!("AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={names}, Signature={signature}"))
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block.resize(64, 0);
    let with = |pad: u8| block.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    let inner = Sha256::new_with_prefix(with(0x36)).chain_update(text).finalize();
    Sha256::new_with_prefix(with(0x5c)).chain_update(inner).finalize().to_vec()
}

fn destination(endpoint: &str, what: &str) -> Value {
    json!({
        "name": what,
        "what": what,
        "object_store": {
            "bucket": "audit",
            "region": REGION,
            "endpoint": endpoint,
            "prefix": "systemprompt/",
            "credentials": "archive_key",
            "lock": {"mode": "compliance", "days": 30},
        },
    })
}

#[tokio::test]
async fn entries_and_checkpoints_go_to_an_object_store_signed_and_locked() {
    let store = Store::default();
    store.0.lock().unwrap().busy = 1;
    let endpoint = store.start().await;
    let server = TestContext::builder()
        .profile(
            "governance",
            json!({
                "ledger": {"checkpoint_secs": 5},
                "shipping": [destination(&endpoint, "entries"), destination(&endpoint, "checkpoints")],
            }),
        )
        .secret("archive_key", &json!({"access_key_id": KEY_ID, "secret_access_key": KEY}).to_string())
        .start()
        .await;
    server.user("ada", &["user"]).await;
    let objects = store.wait_for(&[".entries.", ".checkpoints."]).await;
    assert!(store.0.lock().unwrap().refused[0].starts_with("SlowDown"), "it was asked again");
    assert_eq!(store.0.lock().unwrap().refused.len(), 1, "{:?}", store.0.lock().unwrap().refused);
    for (path, headers, body) in &objects {
        assert!(path.starts_with("/audit/systemprompt/"), "{path}");
        assert_eq!(headers["x-amz-object-lock-mode"], "COMPLIANCE");
        assert!(headers["x-amz-object-lock-retain-until-date"].to_str().unwrap().ends_with('Z'), "{headers:?}");
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).unwrap();
            let is_checkpoint = path.contains(".checkpoints.");
            assert_eq!(line.get("signature").is_some(), is_checkpoint, "{path}: {line}");
            assert_eq!(line.get("entry").is_some(), !is_checkpoint, "{path}: {line}");
        }
    }
    // Every entry is there, by the names of the objects and by what is in them.
    let entries: Vec<i64> = objects
        .iter()
        .filter(|(path, ..)| path.contains(".entries."))
        .flat_map(|(_, _, body)| {
            String::from_utf8(body.to_vec()).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .map(|line| serde_json::from_str::<Value>(&line).unwrap()["entry"]["seq"].as_i64().unwrap())
        .collect();
    assert!(entries.contains(&1) && entries.contains(&2), "{entries:?}");
}

#[test]
fn a_destination_that_cannot_be_used_is_an_error_at_its_place() {
    let server = |key: &str, store: Value| {
        TestContext::builder()
            .profile("governance", json!({"shipping": [{"name": "archive", "object_store": store}]}))
            .secret("archive_key", key)
            .problems()
    };
    let key = json!({"access_key_id": KEY_ID, "secret_access_key": KEY}).to_string();
    let good = json!({"bucket": "audit", "region": REGION, "credentials": "archive_key"});
    assert_eq!(server(&key, good.clone()), [""; 0]);
    let with = |name: &str, value: Value| {
        let mut store = good.clone();
        store[name] = value;
        store
    };
    for (key, store, place, word) in [
        ("no key", good.clone(), "object_store.credentials", "access_key_id"),
        (key.as_str(), with("credentials", json!("nobody's")), "object_store.credentials", "no secret"),
        (key.as_str(), with("bucket", json!("a b")), "object_store.bucket", "name of a bucket"),
        (key.as_str(), with("endpoint", json!("http://10.0.0.7:9000")), "object_store.endpoint", "clear text"),
        (key.as_str(), with("endpoint", json!("https://10.0.0.7:9000")), "object_store.endpoint", "private address"),
        (key.as_str(), with("lock", json!({"mode": "forever", "days": 1})), "lock.mode", "compliance"),
    ] {
        let problems = server(key, store);
        let found = problems.iter().any(|problem| problem.contains(place) && problem.contains(word));
        assert!(found, "{place}: {problems:?}");
    }
}
