//! What token services answer with.

use chrono::{DateTime, TimeDelta, Utc};
use http::header::HeaderValue;
use serde::Deserialize;
use serde_json::Value;

use super::error::CredentialError;

/// A token as it is shown: the value of `authorization`.
pub(super) type Bearer = HeaderValue;

/// The header that shows `token`.
pub(super) fn bearer(token: &str) -> Result<Bearer, CredentialError> {
    let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
    let mut value = value.map_err(|_| CredentialError::Unfit("the token cannot be sent as a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The answer of an OAuth token endpoint. Microsoft's metadata service writes numbers as texts.
#[derive(Deserialize)]
struct Granted {
    access_token: Option<String>,
    expires_in: Option<Value>,
}

/// Reads the answer of an OAuth token endpoint.
pub(super) fn granted(
    body: &[u8],
    now: DateTime<Utc>,
    what: &'static str,
) -> Result<(Bearer, Option<DateTime<Utc>>), CredentialError> {
    let (token, seconds) = granted_text(body, what)?;
    Ok((bearer(&token)?, Some(now + TimeDelta::seconds(seconds))))
}

/// The same, with the token as a text and for how many seconds it is good.
pub(super) fn granted_text(body: &[u8], what: &'static str) -> Result<(String, i64), CredentialError> {
    let strange = |missing| CredentialError::Strange { what, missing };
    let granted: Granted = serde_json::from_slice(body).map_err(|_| strange("a token"))?;
    let token = granted.access_token.filter(|token| !token.is_empty()).ok_or_else(|| strange("a token"))?;
    let seconds = match granted.expires_in {
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let seconds =
        seconds.filter(|seconds| (1..=31_536_000).contains(seconds)).ok_or_else(|| strange("its duration"))?;
    Ok((token, seconds))
}

/// The token of a workload, from its file. It is read anew each time, because whoever writes it replaces it.
pub(super) async fn from_file(path: &std::path::Path) -> Result<String, CredentialError> {
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|error| CredentialError::File { path: path.display().to_string(), why: error.to_string() })?;
    Ok(text.trim().to_owned())
}
