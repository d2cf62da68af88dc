//! The token services of the clouds, as far as a client of a provider needs them.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::json;

/// The answer to a request for a token; nothing if it is none. `number` tells them apart.
pub(crate) fn answer(head: &Parts, body: &[u8], number: impl FnOnce() -> u64) -> Option<(StatusCode, Bytes)> {
    let path = head.uri.path();
    let has = |name: &str, value: &str| head.headers.get(name).is_some_and(|found| found == value);
    let good = |text: String| Some((StatusCode::OK, Bytes::from(text)));
    let refused = Some((StatusCode::BAD_REQUEST, Bytes::from_static(b"{\"error\":\"invalid_request\"}")));
    let oauth = |number: u64| {
        json!({ "access_token": format!("mock-token-{number}"), "expires_in": 3600, "token_type": "Bearer" })
            .to_string()
    };
    match (&head.method, path) {
        // Google's and Entra's token endpoints, and Google's token exchange.
        (&Method::POST, "/token") => {
            let form = String::from_utf8_lossy(body);
            if form.contains("grant_type=") { good(oauth(number())) } else { refused }
        }
        (&Method::GET, "/computeMetadata/v1/instance/service-accounts/default/token") => {
            if has("metadata-flavor", "Google") { good(oauth(number())) } else { refused }
        }
        (&Method::GET, "/metadata/identity/oauth2/token") => {
            if !has("metadata", "true") {
                return refused;
            }
            let token = format!("mock-token-{}", number());
            good(json!({ "access_token": token, "expires_in": "3600", "token_type": "Bearer" }).to_string())
        }
        (&Method::PUT, "/latest/api/token") => good("mock-metadata-session".to_owned()),
        (&Method::GET, "/latest/meta-data/iam/security-credentials/") => good("mock-role".to_owned()),
        (&Method::GET, "/latest/meta-data/iam/security-credentials/mock-role") => {
            if !has("x-aws-ec2-metadata-token", "mock-metadata-session") {
                return Some((StatusCode::UNAUTHORIZED, Bytes::new()));
            }
            let key = json!({
                "Code": "Success",
                "AccessKeyId": format!("ASIAMOCK{}", number()),
                "SecretAccessKey": "mock",
                "Token": "mock-session",
                "Expiration": "2099-01-01T00:00:00Z",
            });
            good(key.to_string())
        }
        (&Method::POST, "/sts") => {
            if !String::from_utf8_lossy(body).contains("Action=AssumeRoleWithWebIdentity") {
                return refused;
            }
            let key = format!("ASIAMOCK{}", number());
            good(format!(
                "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                 <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>mock</SecretAccessKey>\
                 <SessionToken>mock-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
                 </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            ))
        }
        _ => None,
    }
}
