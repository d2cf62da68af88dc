//! Tokens and the sets they belong to, without a network.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{Request, Response, StatusCode};
use systemprompt_model::{Ambient, Entropy, ManualClock, OsEntropy, Secret};

use super::{AskAgain, CredentialSet, Credentials, NotFetched, Reach, Transport};
use crate::config::ProviderConfig;

/// A token service that answers as it is told, and remembers what it was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<(u16, String)>>,
    asked: Mutex<Vec<(String, Reach, String)>>,
    headers: Mutex<Vec<BTreeMap<String, String>>>,
}

#[async_trait]
impl Transport for Script {
    async fn fetch(&self, request: Request<Bytes>, reach: Reach) -> Result<Response<Bytes>, NotFetched> {
        // Whoever else wants it gets the chance to ask as well.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        let (head, body) = request.into_parts();
        let text = |value: &http::HeaderValue| value.to_str().expect("text").to_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        self.headers.lock().unwrap().push(headers);
        let body = String::from_utf8(body.to_vec()).expect("text");
        self.asked.lock().unwrap().push((format!("{} {}", head.method, head.uri), reach, body));
        let Some((status, body)) = self.answers.lock().unwrap().pop_front() else {
            return Err(NotFetched::Unreachable);
        };
        let mut answer = Response::new(body.into());
        *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
        Ok(answer)
    }
}

impl Script {
    fn says(&self, status: u16, body: &str) {
        self.answers.lock().unwrap().push_back((status, body.to_owned()));
    }

    fn asked(&self) -> Vec<(String, Reach, String)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

struct Fixture {
    script: Arc<Script>,
    clock: Arc<ManualClock>,
    set: Arc<CredentialSet>,
}

fn start() -> DateTime<Utc> {
    "2026-01-02T03:04:05Z".parse().expect("a time")
}

impl Fixture {
    fn new(provider: serde_json::Value, secrets: &[(&str, &str)]) -> Self {
        let mut whole = serde_json::json!({"name": "p", "surface": "anthropic"});
        whole.as_object_mut().unwrap().extend(provider.as_object().unwrap().clone());
        let provider: ProviderConfig = serde_json::from_value(whole).expect("a provider");
        let secrets: BTreeMap<&str, Secret> =
            secrets.iter().map(|(name, value)| (*name, Secret::new(*value))).collect();
        let script = Arc::new(Script::default());
        let transport: Arc<dyn Transport> = script.clone();
        let clock = Arc::new(ManualClock::new(start()));
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let ambient = Ambient { clock: clock.clone(), entropy };
        let all = Credentials::new(&[provider], |name| secrets.get(name), &transport, &ambient, None);
        let set = all.unwrap_or_else(|error| panic!("{error}")).of("p").expect("a set");
        Self { script, clock, set }
    }

    /// The headers of a request that shows a credential, and what the set is told of its answer.
    async fn show(&self, status: u16, headers: &[(&str, &str)]) -> Result<(http::HeaderMap, Option<AskAgain>), String> {
        let request =
            Request::post("https://provider.example/model/m/invoke").header("content-type", "application/json");
        let (mut head, ()) = request.body(()).expect("a request").into_parts();
        let shown = self.set.show(&mut head, b"{}").await.map_err(|error| error.to_string())?;
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let (answer, ()) = answer.body(()).expect("an answer").into_parts();
        let again = shown.and_then(|shown| self.set.note(shown, &answer));
        Ok((head.headers, again))
    }

    async fn bearer(&self) -> Result<String, String> {
        let (headers, _) = self.show(200, &[]).await?;
        Ok(headers["authorization"].to_str().expect("text").to_owned())
    }
}

fn entra() -> Fixture {
    let identity = serde_json::json!({"tenant_id": "t", "client_id": "c", "token_url": "https://login.example/token"});
    let provider =
        serde_json::json!({"wire": "openai-chat", "auth": "entra", "api_key_secret": "s", "identity": identity});
    Fixture::new(provider, &[("s", "client secret")])
}

#[tokio::test]
async fn many_who_want_a_token_make_one_request() {
    let fixture = entra();
    fixture.script.says(200, r#"{"access_token":"first","expires_in":3600,"token_type":"Bearer"}"#);
    let all = futures_util::future::join_all((0..50).map(|_| fixture.bearer())).await;
    assert!(all.iter().all(|token| token.as_deref() == Ok("Bearer first")), "{all:?}");
    let asked = fixture.script.asked();
    let form = "grant_type=client_credentials&client_id=c&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default&client_secret=client+secret";
    assert_eq!(asked, [("POST https://login.example/token".to_owned(), Reach::Public, form.to_owned())]);
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end_and_nobody_waits_for_it() {
    let fixture = entra();
    fixture.script.says(200, r#"{"access_token":"first","expires_in":3600}"#);
    fixture.script.says(200, r#"{"access_token":"second","expires_in":3600}"#);
    assert_eq!(fixture.bearer().await.as_deref(), Ok("Bearer first"));
    fixture.clock.advance(TimeDelta::minutes(54));
    assert_eq!(fixture.bearer().await.as_deref(), Ok("Bearer first"));
    assert_eq!(fixture.script.asked().len(), 1);
    fixture.clock.advance(TimeDelta::minutes(2));
    assert_eq!(fixture.bearer().await.as_deref(), Ok("Bearer first"), "it still serves");
    while fixture.bearer().await.as_deref() == Ok("Bearer first") {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.bearer().await.as_deref(), Ok("Bearer second"));
    assert_eq!(fixture.script.asked().len(), 1);
}

#[tokio::test]
async fn a_failure_is_told_to_all_who_wait_and_forgotten_a_moment_later() {
    let fixture = entra();
    fixture.script.says(401, r#"{"error":"invalid_client","error_description":"client secret"}"#);
    let all = futures_util::future::join_all((0..20).map(|_| fixture.bearer())).await;
    for failed in all {
        assert_eq!(failed.expect_err("no token"), "Microsoft Entra ID answered with status 401");
    }
    assert_eq!(fixture.script.asked().len(), 1);
    fixture.clock.advance(TimeDelta::seconds(2));
    fixture.script.says(200, r#"{"access_token":"good","expires_in":"3599"}"#);
    assert_eq!(fixture.bearer().await.as_deref(), Ok("Bearer good"));
    fixture.clock.advance(TimeDelta::hours(2));
    assert!(fixture.bearer().await.is_err_and(|error| error.contains("cannot be reached")));
}

#[tokio::test]
async fn a_token_the_provider_refuses_is_replaced_once() {
    let fixture = entra();
    fixture.script.says(200, r#"{"access_token":"old","expires_in":3600}"#);
    fixture.script.says(200, r#"{"access_token":"new","expires_in":3600}"#);
    assert_eq!(fixture.bearer().await.as_deref(), Ok("Bearer old"));
    fixture.clock.advance(TimeDelta::minutes(1));
    let (_, again) = fixture.show(401, &[]).await.expect("a token");
    assert_eq!(again, Some(AskAgain));
    let (headers, again) = fixture.show(401, &[]).await.expect("a token");
    assert_eq!(headers["authorization"], "Bearer new");
    assert_eq!(again, None, "it was asked for just now");
}

#[tokio::test]
async fn keys_take_turns_when_one_is_refused_or_used_up() {
    let provider =
        serde_json::json!({"wire": "anthropic", "endpoint": "https://a.example", "api_key_secrets": ["a", "b", "c"]});
    let fixture = Fixture::new(provider, &[("a", "key-a"), ("b", "key-b"), ("c", "key-c")]);
    let key = |headers: &http::HeaderMap| headers["x-api-key"].to_str().expect("text").to_owned();
    let mut seen = Vec::new();
    for (status, wait) in [(200, None), (429, Some("20")), (200, None), (401, None), (529, None), (429, Some("5"))] {
        let headers: Vec<(&str, &str)> = wait.map(|seconds| ("retry-after", seconds)).into_iter().collect();
        let (headers, again) = fixture.show(status, &headers).await.expect("a key");
        seen.push((key(&headers), again.is_some()));
    }
    let pairs: Vec<(&str, bool)> = seen.iter().map(|(key, again)| (key.as_str(), *again)).collect();
    let expected =
        [("key-a", false), ("key-a", true), ("key-b", false), ("key-b", true), ("key-c", false), ("key-c", false)];
    assert_eq!(pairs, expected);
    let (headers, _) = fixture.show(200, &[]).await.expect("a key");
    assert_eq!(key(&headers), "key-c", "all rest, and it rests shortest");
    fixture.clock.advance(TimeDelta::seconds(30));
    let (_, again) = fixture.show(429, &[]).await.expect("a key");
    assert_eq!(again, Some(AskAgain), "the first has rested");
}

#[tokio::test]
async fn roles_of_aws_come_from_the_metadata_service_and_from_sts() {
    let provider =
        serde_json::json!({"wire": "bedrock-anthropic", "region": "eu-central-1", "identity": {"source": "metadata"}});
    let fixture = Fixture::new(provider, &[]);
    fixture.script.says(200, "session-token");
    fixture.script.says(200, "the-role\n");
    fixture.script.says(
        200,
        r#"{"Code":"Success","AccessKeyId":"ASIA1","SecretAccessKey":"s","Token":"t","Expiration":"2026-01-02T09:00:00Z"}"#,
    );
    let (headers, _) = fixture.show(200, &[]).await.expect("a signature");
    assert_eq!(headers["x-amz-security-token"], "t");
    let shown = headers["authorization"].to_str().expect("text");
    assert!(
        shown.starts_with("AWS4-HMAC-SHA256 Credential=ASIA1/20260102/eu-central-1/bedrock/aws4_request"),
        "{shown}"
    );
    let asked: Vec<_> = fixture.script.asked().into_iter().map(|(line, reach, _)| (line, reach)).collect();
    let base = "http://169.254.169.254/latest";
    let line = |text: &str| (text.replace("{}", base), Reach::Metadata);
    let role = "GET {}/meta-data/iam/security-credentials/";
    assert_eq!(asked, [line("PUT {}/api/token"), line(role), line(&format!("{role}the-role"))]);
    assert_eq!(fixture.script.headers.lock().unwrap()[1]["x-aws-ec2-metadata-token"], "session-token");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "the.jwt\n").expect("a file");
    let identity = serde_json::json!({"source": "token_file", "role_arn": "arn:aws:iam::1:role/r", "token_file": file});
    let provider = serde_json::json!({"wire": "bedrock-anthropic", "region": "eu-central-1", "identity": identity});
    let fixture = Fixture::new(provider, &[]);
    fixture.script.says(
        200,
        "<R><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA2</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
         <SessionToken>t2</SessionToken><Expiration>2026-01-02T04:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></R>",
    );
    let (headers, _) = fixture.show(200, &[]).await.expect("a signature");
    assert_eq!(headers["x-amz-security-token"], "t2");
    let (line, reach, form) = fixture.script.asked().remove(0);
    assert_eq!((line.as_str(), reach), ("POST https://sts.eu-central-1.amazonaws.com/", Reach::Public));
    assert!(form.contains("WebIdentityToken=the.jwt") && form.contains("RoleSessionName=systemprompt"), "{form}");

    // What the key may not do is no refusal of the key; an expired one is.
    fixture.clock.advance(TimeDelta::minutes(5));
    let (_, again) =
        fixture.show(403, &[("x-amzn-errortype", "AccessDeniedException:http://x")]).await.expect("signed");
    assert_eq!(again, None);
    let (_, again) =
        fixture.show(403, &[("x-amzn-errortype", "ExpiredTokenException:http://x")]).await.expect("signed");
    assert_eq!(again, Some(AskAgain));
}

#[tokio::test]
async fn workloads_of_google_exchange_the_token_they_have() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, r#"{"id_token":"theirs"}"#).expect("a file");
    let credential = serde_json::json!({
        "type": "external_account", "audience": "//iam.example/pool", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.example/v1/token",
        "service_account_impersonation_url": "https://iam.example/sa:generateAccessToken",
        "credential_source": {"file": file, "format": {"type": "json", "subject_token_field_name": "id_token"}},
    });
    let provider =
        serde_json::json!({"wire": "vertex-anthropic", "project": "p", "location": "global", "api_key_secret": "s"});
    let fixture = Fixture::new(provider, &[("s", &credential.to_string())]);
    fixture.script.says(200, r#"{"access_token":"exchanged","expires_in":3600}"#);
    fixture.script.says(200, r#"{"accessToken":"ours","expireTime":"2026-01-02T04:04:05Z"}"#);
    assert_eq!(fixture.bearer().await.as_deref(), Ok("Bearer ours"));
    let asked = fixture.script.asked();
    assert_eq!(asked[0].0, "POST https://sts.example/v1/token");
    assert!(asked[0].2.contains("subject_token=theirs"), "{}", asked[0].2);
    assert_eq!(asked[1].0, "POST https://iam.example/sa:generateAccessToken");
    assert_eq!(fixture.script.headers.lock().unwrap()[1]["authorization"], "Bearer exchanged");

    let provider = serde_json::json!({"wire": "vertex-gemini", "project": "p", "location": "global", "identity": {"source": "metadata"}});
    let fixture = Fixture::new(provider, &[]);
    fixture.script.says(200, r#"{"access_token":"of the machine","expires_in":3599}"#);
    assert_eq!(fixture.bearer().await.as_deref(), Ok("Bearer of the machine"));
    let (line, reach, _) = fixture.script.asked().remove(0);
    let at = "GET http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token?scopes=";
    assert!(line.starts_with(at) && reach == Reach::Metadata, "{line}");
}

#[test]
fn credentials_that_cannot_be_shown_are_told_before_anything_is_sent() {
    for (provider, secret, part) in [
        (serde_json::json!({"wire": "anthropic"}), " ", "cannot be sent as a header"),
        (serde_json::json!({"wire": "anthropic"}), "two\nlines", "cannot be sent as a header"),
        (serde_json::json!({"wire": "bedrock-anthropic", "region": "r"}), "AKIA", "access_key_id"),
        (serde_json::json!({"wire": "vertex-anthropic"}), "{}", "service_account"),
        (
            serde_json::json!({"wire": "vertex-anthropic"}),
            r#"{"type":"service_account","client_email":"a@b","private_key":"no PEM"}"#,
            "not an RSA key",
        ),
    ] {
        let mut whole = serde_json::json!({"name": "p", "surface": "anthropic", "api_key_secret": "s"});
        whole.as_object_mut().unwrap().extend(provider.as_object().unwrap().clone());
        let provider: ProviderConfig = serde_json::from_value(whole).expect("a provider");
        let transport: Arc<dyn Transport> = Arc::new(Script::default());
        let secret = Secret::new(secret);
        let built = Credentials::new(&[provider], |_| Some(&secret), &transport, &Ambient::system(), None);
        let error = built.err().expect("it cannot be shown").to_string();
        assert!(error.contains("`p`") && error.contains(part), "{error}");
        assert!(!error.contains("AKIA"), "{error}");
    }
}
