//! Access keys of AWS, from where a program on AWS finds them.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::Request;
use serde::Deserialize;
use systemprompt_model::Secret;

use super::cached::Source;
use super::error::CredentialError;
use super::sigv4::AwsKey;
use super::token::from_file;
use super::transport::{Reach, Transport, ask, form};

const METADATA: &str = "the EC2 metadata service";
const STS: &str = "AWS STS";

/// Where an access key comes from.
pub(super) enum AwsSource {
    /// It is given.
    Given(AwsKey),
    /// The role of the machine.
    Metadata { base: String, transport: Arc<dyn Transport> },
    /// A role that the bearer of a token from a file may take on.
    WebIdentity { url: String, role: String, session: String, file: PathBuf, transport: Arc<dyn Transport> },
}

/// What the metadata service says of a role.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfRole {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: DateTime<Utc>,
}

#[async_trait]
impl Source for AwsSource {
    type Value = AwsKey;

    fn gives_new(&self) -> bool {
        !matches!(self, Self::Given(_))
    }

    async fn fetch(&self, _: DateTime<Utc>) -> Result<(AwsKey, Option<DateTime<Utc>>), CredentialError> {
        match self {
            Self::Given(key) => Ok((key.clone(), None)),
            Self::Metadata { base, transport } => of_instance(base, &**transport).await,
            Self::WebIdentity { url, role, session, file, transport } => {
                let token = from_file(file).await?;
                let request = form(
                    url,
                    &[
                        ("Action", "AssumeRoleWithWebIdentity"),
                        ("Version", "2011-06-15"),
                        ("RoleArn", role),
                        ("RoleSessionName", session),
                        ("WebIdentityToken", &token),
                    ],
                );
                let answer = ask(&**transport, request, Reach::Public, STS).await?;
                assumed(&String::from_utf8_lossy(&answer))
            }
        }
    }
}

/// The key of the role of this machine, by the second version of the metadata service, which wants a token of its own.
async fn of_instance(
    base: &str,
    transport: &dyn Transport,
) -> Result<(AwsKey, Option<DateTime<Utc>>), CredentialError> {
    let request = Request::put(format!("{base}/latest/api/token"))
        .header("x-aws-ec2-metadata-token-ttl-seconds", "300")
        .body(Bytes::new());
    let session = ask(transport, request, Reach::Metadata, METADATA).await?;
    let read = async |path: &str| {
        let request = Request::get(format!("{base}/latest/meta-data/iam/security-credentials/{path}"))
            .header("x-aws-ec2-metadata-token", session.trim_ascii())
            .body(Bytes::new());
        ask(transport, request, Reach::Metadata, METADATA).await
    };
    let roles = read("").await?;
    let roles = String::from_utf8_lossy(&roles);
    let missing = |missing| CredentialError::Strange { what: METADATA, missing };
    let role = roles.lines().map(str::trim).find(|role| !role.is_empty()).ok_or_else(|| missing("a role"))?;
    let OfRole { access_key_id: id, secret_access_key, token, expiration } =
        serde_json::from_slice(&read(role).await?).map_err(|_| missing("an access key"))?;
    let key = AwsKey { id, secret: Secret::new(secret_access_key), session: Some(Secret::new(token)) };
    Ok((key, Some(expiration)))
}

/// Reads what STS answers, which is XML of elements that stand once and have no attributes.
fn assumed(answer: &str) -> Result<(AwsKey, Option<DateTime<Utc>>), CredentialError> {
    let element = |name: &'static str| {
        let (_, rest) = answer.split_once(&format!("<{name}>"))?;
        let (text, _) = rest.split_once(&format!("</{name}>"))?;
        Some(text.trim())
    };
    let need = |name| element(name).ok_or(CredentialError::Strange { what: STS, missing: name });
    let key = AwsKey {
        id: need("AccessKeyId")?.to_owned(),
        secret: Secret::new(need("SecretAccessKey")?),
        session: Some(Secret::new(need("SessionToken")?)),
    };
    let end = need("Expiration")?.parse().map_err(|_| CredentialError::Strange { what: STS, missing: "Expiration" })?;
    Ok((key, Some(end)))
}
