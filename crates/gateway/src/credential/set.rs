//! The credentials of one provider.

use std::sync::Arc;

use chrono::TimeDelta;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{StatusCode, response};
use systemprompt_model::Ambient;

use super::aws::AwsSource;
use super::cached::Cached;
use super::entra::EntraSource;
use super::error::CredentialError;
use super::gcp::GcpSource;
use super::rotation::Rotation;
use super::sigv4::{Scope, sign};

/// A credential that was refused rests so long: it may have been renewed at the provider, but hardly sooner.
const REFUSED: TimeDelta = TimeDelta::minutes(10);
/// One of which the provider has enough rests so long, if the provider does not say how long.
const ENOUGH: TimeDelta = TimeDelta::seconds(10);
/// What Bedrock signs requests for.
const SERVICE: &str = "bedrock";
/// What AWS calls a refusal of the credential. It has the status 403, as has a refusal of what the credential may do.
const AWS_REFUSALS: [&str; 5] = [
    "ExpiredTokenException",
    "ExpiredToken",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "InvalidClientTokenId",
];

/// One credential.
pub(super) enum Credential {
    /// A key in a header.
    Header(HeaderName, HeaderValue),
    /// An access key of AWS that signs requests to a region.
    Aws { key: Arc<Cached<AwsSource>>, region: String },
    /// A token of Google Cloud.
    Gcp(Arc<Cached<GcpSource>>),
    /// A token of Entra.
    Entra(Arc<Cached<EntraSource>>),
}

/// The credentials of one provider, one of which is shown on each request.
pub(crate) struct CredentialSet {
    credentials: Vec<Credential>,
    rotation: Rotation,
    ambient: Ambient,
}

/// Which credential of its set a request was sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown(usize);

/// On a response that refuses the request's credential or has enough of it: with another one, or a new token, the same
/// request may do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskAgain;

impl CredentialSet {
    /// These, in their order. None means that nothing is shown.
    pub(super) fn new(credentials: Vec<Credential>, ambient: Ambient) -> Self {
        Self { rotation: Rotation::of(credentials.len()), credentials, ambient }
    }

    /// How many there are.
    pub(crate) fn number(&self) -> usize {
        self.credentials.len()
    }

    /// Puts a credential on a request whose body these bytes are. A header that is there already stays: the operator set it.
    pub(crate) async fn show(&self, head: &mut Parts, body: &[u8]) -> Result<Option<Shown>, CredentialError> {
        let Some(turn) = self.rotation.turn(self.ambient.now()) else { return Ok(None) };
        match &self.credentials[turn] {
            Credential::Header(name, value) => {
                head.headers.entry(name).or_insert_with(|| value.clone());
            }
            Credential::Aws { key, region } => {
                let key = key.get().await?;
                sign(head, body, &key, Scope { region, service: SERVICE }, self.ambient.now())?;
            }
            Credential::Gcp(token) => show_token(head, token.get().await?),
            Credential::Entra(token) => show_token(head, token.get().await?),
        }
        Ok(Some(Shown(turn)))
    }

    /// Takes note of how a request with `shown` was answered.
    pub(crate) fn note(&self, shown: Shown, answer: &response::Parts) -> Option<AskAgain> {
        let now = self.ambient.now();
        let Shown(turn) = shown;
        let renewed = if is_refusal(answer) {
            let renewed = self.credentials[turn].refuse();
            if !renewed {
                self.rotation.rest(turn, now, REFUSED);
            }
            renewed
        } else if answer.status == StatusCode::TOO_MANY_REQUESTS {
            self.rotation.rest(turn, now, retry_after(&answer.headers).unwrap_or(ENOUGH));
            false
        } else {
            return None;
        };
        (renewed || self.credentials.len() > 1 && self.rotation.any_awake(now)).then_some(AskAgain)
    }
}

impl Credential {
    /// The provider refused it. True if the next one who asks gets a new token.
    fn refuse(&self) -> bool {
        match self {
            Self::Header(..) => false,
            Self::Aws { key, .. } => key.refuse(),
            Self::Gcp(token) => token.refuse(),
            Self::Entra(token) => token.refuse(),
        }
    }
}

fn show_token(head: &mut Parts, token: HeaderValue) {
    head.headers.entry(AUTHORIZATION).or_insert(token);
}

/// Whether an answer says that the credential is not accepted.
fn is_refusal(answer: &response::Parts) -> bool {
    let aws = || {
        let kind = answer.headers.get("x-amzn-errortype").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        AWS_REFUSALS.contains(&kind.split(':').next().unwrap_or_default())
    };
    answer.status == StatusCode::UNAUTHORIZED || answer.status == StatusCode::FORBIDDEN && aws()
}

/// How long the provider wants to be left alone, at most as long as a refused credential is.
fn retry_after(headers: &HeaderMap) -> Option<TimeDelta> {
    let seconds: u32 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(TimeDelta::seconds(seconds.into()).clamp(TimeDelta::seconds(1), REFUSED))
}
