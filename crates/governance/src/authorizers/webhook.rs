//! The authorizer behind an address.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use systemprompt_extension::authorizer::{
    Authorization, AuthorizationDenial, AuthorizationRequest, Authorizer, Fault, ReasonKind,
};
use systemprompt_model::{Ambient, DecisionId, Secret};

use crate::webhook::{HttpClient, key, signed};

/// No answer is larger.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Who posts for it, once that is there.
pub(super) type Line = Arc<OnceLock<Arc<dyn HttpClient>>>;

/// Posts the request to an address and reads the answer.
pub(super) struct Webhook {
    url: String,
    key: Option<hmac::Key>,
    authorization: Option<Secret>,
    line: Line,
    ambient: Ambient,
}

impl Webhook {
    pub(super) fn new(
        url: String,
        secret: Option<&Secret>,
        authorization: Option<Secret>,
        line: Line,
        ambient: Ambient,
    ) -> Self {
        Self { url, key: secret.map(|secret| key(secret.expose())), authorization, line, ambient }
    }
}

#[async_trait]
impl Authorizer for Webhook {
    async fn authorize(&self, request: &AuthorizationRequest) -> Result<Authorization, Fault> {
        let client = self.line.get().ok_or("the server has not begun to serve yet")?;
        let body = serde_json::to_string(request)?;
        let mut headers = Vec::with_capacity(4);
        if let Some(key) = &self.key {
            let id = DecisionId::generate(&self.ambient).as_uuid();
            headers.extend(signed(key, id, self.ambient.now(), &body));
        }
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", authorization.expose().to_owned()));
        }
        let (status, answer) = client.ask(&self.url, &headers, body, ANSWER_LIMIT).await?;
        if status.is_redirection() {
            return Err(format!("it answered {status}; redirects are not followed, so name the final address").into());
        }
        if !status.is_success() {
            return Err(format!("it answered {status}").into());
        }
        read(&answer).map_err(|error| format!("its answer is none: {error}").into())
    }
}

/// What an answer says.
fn read(answer: &[u8]) -> Result<Authorization, serde_json::Error> {
    // A list of the right values would do for the fields of a struct.
    if !answer.trim_ascii_start().starts_with(b"{") {
        return Err(serde_json::Error::custom("it is no JSON object"));
    }
    let Answer { decision, reason, policy } = serde_json::from_slice(answer)?;
    Ok(match decision {
        Decision::Allow => Authorization::Allow,
        Decision::Deny => {
            let Reason { kind, message } = reason.unwrap_or_default();
            Authorization::Deny(AuthorizationDenial { kind, message, policy })
        }
    })
}

/// An answer. What it says besides is nobody's here.
#[derive(Deserialize)]
struct Answer {
    decision: Decision,
    #[serde(default)]
    reason: Option<Reason>,
    #[serde(default)]
    policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Allow,
    Deny,
}

struct Reason {
    kind: ReasonKind,
    message: Option<String>,
}

impl Default for Reason {
    fn default() -> Self {
        Self { kind: ReasonKind::PolicyViolation, message: None }
    }
}

/// A sentence, or an object with a kind. A kind of the authorizer's own is a policy of its own.
impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Sentence(String),
            Object {
                #[serde(default)]
                kind: Option<String>,
                #[serde(default, alias = "reason", alias = "detail")]
                message: Option<String>,
            },
        }
        Ok(match Given::deserialize(deserializer)? {
            Given::Sentence(message) => Self { message: Some(message), ..Self::default() },
            Given::Object { kind, message } => {
                let known = kind.as_deref().and_then(ReasonKind::named);
                let message = message.or_else(|| kind.filter(|_| known.is_none()));
                Self { kind: known.unwrap_or(ReasonKind::PolicyViolation), message }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_they_are_meant_and_nothing_else_counts() {
        let deny = |kind, message: Option<&str>, policy: Option<&str>| {
            Some(Authorization::Deny(AuthorizationDenial {
                kind,
                message: message.map(str::to_owned),
                policy: policy.map(str::to_owned),
            }))
        };
        for (answer, expected) in [
            (r#"{"decision":"allow"}"#, Some(Authorization::Allow)),
            (r#"{"decision":"allow","ttl":3,"reason":null}"#, Some(Authorization::Allow)),
            (r#"{"decision":"deny"}"#, deny(ReasonKind::PolicyViolation, None, None)),
            (
                r#"{"decision":"deny","reason":{"kind":"role_deny","role":"intern"},"policy":"hr"}"#,
                deny(ReasonKind::RoleDeny, None, Some("hr")),
            ),
            (
                r#"{"decision":"deny","reason":{"kind":"rate_limit_exceeded","message":"slowly"}}"#,
                deny(ReasonKind::RateLimitExceeded, Some("slowly"), None),
            ),
            (r#"{"decision":"deny","reason":"no"}"#, deny(ReasonKind::PolicyViolation, Some("no"), None)),
            (
                r#"{"decision":"deny","reason":{"kind":"new_moon"}}"#,
                deny(ReasonKind::PolicyViolation, Some("new_moon"), None),
            ),
            ("", None),
            ("allow", None),
            ("{}", None),
            (r#"{"decision":true}"#, None),
            (r#"{"decision":"Allow"}"#, None),
            (r#"{"decision":"deny","decision":"allow"}"#, None),
            (r#"{"decision":"allow"} x"#, None),
            (r#"["allow"]"#, None),
        ] {
            assert_eq!(read(answer.as_bytes()).ok(), expected, "{answer}");
        }
    }
}
