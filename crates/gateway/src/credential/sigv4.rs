//! AWS Signature Version 4: a request proves who sends it, and that nobody changed it.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::request::Parts;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use systemprompt_model::Secret;

use super::error::CredentialError;

const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// An access key of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AwsKey {
    /// Its id, which is no secret.
    pub(super) id: String,
    /// The secret part.
    pub(super) secret: Secret,
    /// The token of the session, if it is a temporary key.
    pub(super) session: Option<Secret>,
}

/// A key as the secret of a profile has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

/// Reads `{"access_key_id": …, "secret_access_key": …, "session_token": …}`.
pub(super) fn written(secret: &Secret) -> Option<AwsKey> {
    let written: Written = serde_json::from_str(secret.expose()).ok()?;
    Some(AwsKey {
        id: written.access_key_id,
        secret: Secret::new(written.secret_access_key),
        session: written.session_token.map(Secret::new),
    })
}

/// Which service of which region a request is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// What is said of a secret that is no access key.
pub(crate) const NO_KEY: &str = r#"the secret is not {"access_key_id": …, "secret_access_key": …, "session_token": …}"#;

/// Whether a secret is an access key.
pub(crate) fn is_key(secret: &Secret) -> bool {
    written(secret).is_some()
}

/// The service with rules of its own: the digest of the body is a header, and the path is signed as it is sent.
const S3: &str = "s3";

/// Signs an object that is put into a bucket of this region.
pub(crate) fn sign_object(
    head: &mut Parts,
    body: &[u8],
    credentials: &Secret,
    region: &str,
    now: DateTime<Utc>,
) -> Result<(), CredentialError> {
    let key = written(credentials).ok_or(CredentialError::Unfit(NO_KEY))?;
    sign(head, body, &key, Scope { region, service: S3 }, now)
}

/// Signs a request with this body, at this time. What is signed is its method, its path, its query, `host`, `content-type`
/// and `x-amz-*`; other headers may be changed by whoever passes it on.
pub(super) fn sign(
    head: &mut Parts,
    body: &[u8],
    key: &AwsKey,
    scope: Scope<'_>,
    now: DateTime<Utc>,
) -> Result<(), CredentialError> {
    let time = now.format("%Y%m%dT%H%M%SZ").to_string();
    let text = |value: &str| {
        let value = HeaderValue::from_str(value);
        value.map_err(|_| CredentialError::Unfit("the AWS access key cannot be sent as a header"))
    };
    head.headers.insert(X_AMZ_DATE, text(&time)?);
    if let Some(session) = &key.session {
        let mut value = text(session.expose())?;
        value.set_sensitive(true);
        head.headers.insert(X_AMZ_SECURITY_TOKEN, value);
    }
    if scope.service == S3 {
        head.headers.insert(X_AMZ_CONTENT_SHA256, text(&hex::encode(Sha256::digest(body)))?);
    }
    let mut signed = vec![("host".to_owned(), host(head))];
    for (name, value) in &head.headers {
        let name = name.as_str();
        if name == "content-type" || name.starts_with("x-amz-") {
            signed.push((name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        }
    }
    let authorization = authorization(head.method.as_str(), &head.uri, signed, body, key, scope, &time);
    let mut value = text(&authorization)?;
    value.set_sensitive(true);
    head.headers.insert(AUTHORIZATION, value);
    Ok(())
}

/// The value of `host` as the client sends it: without the port that goes without saying.
fn host(head: &Parts) -> String {
    let uri = &head.uri;
    let host = uri.host().unwrap_or_default();
    match (uri.port_u16(), uri.scheme_str()) {
        (None, _) | (Some(443), Some("https")) | (Some(80), Some("http")) => host.to_owned(),
        (Some(port), _) => format!("{host}:{port}"),
    }
}

/// The value of `authorization` for a request with these headers and no other that counts.
fn authorization(
    method: &str,
    uri: &http::Uri,
    mut headers: Vec<(String, String)>,
    body: &[u8],
    key: &AwsKey,
    scope: Scope<'_>,
    time: &str,
) -> String {
    headers.sort();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let path = if scope.service == S3 { uri.path().to_owned() } else { canonical_path(uri.path()) };
    let mut canonical = format!("{method}\n{path}\n{}\n", canonical_query(uri.query()));
    for (name, value) in &headers {
        let value: Vec<&str> = value.split_ascii_whitespace().collect();
        canonical += &format!("{name}:{}\n", value.join(" "));
    }
    canonical += &format!("\n{names}\n{}", hex::encode(Sha256::digest(body)));

    let day = &time[..8];
    let Scope { region, service } = scope;
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let mut derived = format!("AWS4{}", key.secret.expose()).into_bytes();
    for step in [day, region, service, "aws4_request", &to_sign] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &derived), step.as_bytes());
        derived = tag.as_ref().to_vec();
    }
    let signature = hex::encode(derived);
    format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", key.id)
}

/// The path, encoded once more than it is sent.
fn canonical_path(path: &str) -> String {
    let mut canonical = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            canonical.push(char::from(byte));
        } else {
            canonical += &format!("%{byte:02X}");
        }
    }
    if canonical.is_empty() { "/".to_owned() } else { canonical }
}

/// The query in the order of its names. It is sent encoded.
fn canonical_query(query: Option<&str>) -> String {
    let mut pairs: Vec<(&str, &str)> = query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;

    /// The key of the test suite that AWS publishes.
    fn key(session: Option<&str>) -> AwsKey {
        AwsKey {
            id: concat!("AKID", "EXAMPLE").to_owned(),
            secret: Secret::new(concat!("wJalrXUtnFEMI", "/K7MDENG+bPxRfi", "CYEXAMPLEKEY")),
            session: session.map(Secret::new),
        }
    }

    /// The key of the documentation of S3.
    fn documented() -> AwsKey {
        AwsKey {
            id: String::new(),
            secret: Secret::new(concat!("wJalrXUtnFEMI", "/K7MDENG/bPxRfi", "CYEXAMPLEKEY")),
            session: None,
        }
    }

    /// The cases of AWS's Signature Version 4 test suite that say something of what we send.
    #[test]
    fn signatures_are_those_of_the_published_test_suite() {
        let form = Some("application/x-www-form-urlencoded");
        for (case, method, path, kind, body, expected) in [
            ("get-vanilla", "GET", "/", None, "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("post-vanilla", "POST", "/", None, "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "get-vanilla-query-order-key-case",
                "GET",
                "/?Param2=value2&Param1=value1",
                None,
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "post-x-www-form-urlencoded",
                "POST",
                "/",
                form,
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let mut request =
                http::Request::builder().method(method).uri(format!("https://example.amazonaws.com{path}"));
            if let Some(kind) = kind {
                request = request.header("content-type", kind);
            }
            let (mut head, ()) = request.body(()).expect("a request").into_parts();
            let now = Utc.with_ymd_and_hms(2015, 8, 30, 12, 36, 0).unwrap();
            let scope = Scope { region: "us-east-1", service: "service" };
            sign(&mut head, body.as_bytes(), &key(None), scope, now).expect("a signature");
            let shown = head.headers[AUTHORIZATION].to_str().expect("text");
            let names = if kind.is_some() { "content-type;host;x-amz-date" } else { "host;x-amz-date" };
            let begin = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
            assert_eq!(shown, format!("{begin}, SignedHeaders={names}, Signature={expected}"), "{case}");
            assert_eq!(head.headers["x-amz-date"], "20150830T123600Z");
        }
    }

    /// The examples of S3's documentation that sign no headers but these.
    #[test]
    fn objects_are_signed_as_the_documentation_of_s3_does_it() {
        let key = AwsKey { id: concat!("AKIAIOSF", "ODNN7EXAMPLE").to_owned(), ..documented() };
        for (query, expected) in [
            ("lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ] {
            let request = http::Request::get(format!("https://examplebucket.s3.amazonaws.com/?{query}"));
            let (mut head, ()) = request.body(()).expect("a request").into_parts();
            let now = Utc.with_ymd_and_hms(2013, 5, 24, 0, 0, 0).unwrap();
            sign(&mut head, b"", &key, Scope { region: "us-east-1", service: S3 }, now).expect("a signature");
            let shown = head.headers[AUTHORIZATION].to_str().expect("text");
            assert!(shown.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date,"), "{shown}");
            assert!(shown.ends_with(expected), "{query}: {shown}");
        }
    }

    #[test]
    fn what_is_signed_is_what_the_client_sends() {
        let request = http::Request::post("http://127.0.0.1:9000/model/eu.claude%3A0/invoke").header("x-other", "1");
        let (mut head, ()) = request.body(()).expect("a request").into_parts();
        assert_eq!(host(&head), "127.0.0.1:9000");
        assert_eq!(canonical_path(head.uri.path()), "/model/eu.claude%253A0/invoke");
        let now = Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap();
        let scope = Scope { region: "eu-central-1", service: "bedrock" };
        sign(&mut head, b"{}", &key(Some("a session")), scope, now).expect("a signature");
        let shown = head.headers[AUTHORIZATION].to_str().expect("text");
        assert!(shown.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"), "{shown}");
        assert!(shown.contains("/20260102/eu-central-1/bedrock/aws4_request"), "{shown}");
    }
}
