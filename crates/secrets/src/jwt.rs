//! JSON Web Tokens that are no secret: examples of documentation, those that have run out, and those everybody is given.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use systemprompt_model::{Clock as _, SystemClock};

/// The longest payload that is read.
const LONGEST: usize = 8 * 1024;

/// Whether nobody can do harm with `token`, as far as its claims say.
pub(crate) fn is_harmless_token(token: &[u8]) -> bool {
    let payload = token.split(|&byte| byte == b'.').nth(1).filter(|payload| payload.len() <= LONGEST);
    let Some(claims) = payload.and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok()) else { return false };
    let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(&claims) else { return false };
    has_run_out(&claims) || is_public(&claims) || is_documented(&claims)
}

/// By the clock of the system: whoever issued the token goes by that.
fn has_run_out(claims: &Map<String, Value>) -> bool {
    let until = claims.get("exp").and_then(Value::as_i64);
    until.is_some_and(|until| until < SystemClock.now().timestamp())
}

/// Tokens that are in every installation, in web pages, or in the links to downloads.
fn is_public(claims: &Map<String, Value>) -> bool {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("iss") {
        "supabase-demo" => true,
        "supabase" => text("role") == "anon",
        "github.com" => text("aud").starts_with("release-assets"),
        _ => false,
    }
}

/// Whether every claim is one that documentation writes, and at least one says who or what it is about.
fn is_documented(claims: &Map<String, Value>) -> bool {
    let is_told = |name: &str, value: &Value| match (name, value) {
        ("sub", Value::String(sub)) => {
            ["1234567890", "user123", "user-123", "user_123", "user", "123", "1234", "test", "john", "alice", "bob"]
                .contains(&sub.as_str())
        }
        ("name", Value::String(name)) => ["John Doe", "Jane Doe", "test", "Alice", "Bob"].contains(&name.as_str()),
        ("foo" | "some" | "hello", Value::String(value)) => ["bar", "payload", "world"].contains(&value.as_str()),
        ("iss", Value::String(iss)) => ["joe", "test", "issuer", "https://example.com"].contains(&iss.as_str()),
        _ => false,
    };
    let is_ordinary = |name: &str, value: &Value| match name {
        "iat" | "nbf" | "exp" => value.is_number(),
        "admin" => value.is_boolean(),
        _ => false,
    };
    claims.iter().any(|(name, value)| is_told(name, value))
        && claims.iter().all(|(name, value)| is_told(name, value) || is_ordinary(name, value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn examples_and_what_has_run_out_are_harmless() {
        let token = |claims: Value| {
            let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
            is_harmless_token(format!("eyJhbGciOiJIUzI1NiJ9.{payload}.c2lnbmF0dXJl").as_bytes())
        };
        for claims in [
            json!({"sub": "1234567890", "name": "John Doe", "iat": 1_516_239_022}),
            json!({"sub": "1234567890", "name": "John Doe", "admin": true, "iat": 1_516_239_022}),
            json!({"sub": "8b0c1", "email": "me@acme.com", "exp": 1_600_000_000}),
            json!({"foo": "bar"}),
            json!({"some": "payload", "iat": 1}),
            json!({"sub": "user123"}),
            json!({"iss": "github.com", "aud": "release-assets.githubusercontent.com", "exp": 9_999_999_999_i64}),
            json!({"iss": "supabase-demo", "role": "service_role", "exp": 9_999_999_999_i64}),
            json!({"iss": "supabase", "role": "anon", "ref": "abc", "exp": 9_999_999_999_i64}),
        ] {
            assert!(token(claims.clone()), "{claims}");
        }
        for claims in [
            json!({"sub": "1234567890", "name": "John Doe", "tenant": "acme"}),
            json!({"sub": "8b0c1", "exp": 9_999_999_999_i64}),
            json!({"sub": "8b0c1"}),
            json!({"foo": "bar", "role": "admin"}),
            json!({"iat": 1_516_239_022}),
            json!({"iss": "github.com", "aud": "api"}),
            json!({"iss": "supabase", "role": "service_role"}),
        ] {
            assert!(!token(claims.clone()), "{claims}");
        }
    }
}
