//! Tokens of Google Cloud, by the credentials that Google's own libraries take.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};
use systemprompt_model::Secret;

use super::cached::Source;
use super::error::CredentialError;
use super::token::{Bearer, bearer, from_file, granted, granted_text};
use super::transport::{Reach, Transport, ask, form};

/// What the tokens are for.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKENS: &str = "Google's token service";
const METADATA: &str = "the Google Cloud metadata service";
const STS: &str = "Google's token exchange";
const IMPERSONATION: &str = "Google's IAM credentials service";
const SUBJECT: &str = "the identity provider of the workload";

/// Where tokens come from, and what they are for.
pub(super) struct GcpSource {
    pub(super) kind: GcpCredential,
    pub(super) scope: String,
    pub(super) transport: Arc<dyn Transport>,
}

/// A credential of Google Cloud.
pub(super) enum GcpCredential {
    /// The key of a service account signs a request for a token.
    ServiceAccount { email: String, key_id: Option<String>, key: EncodingKey, url: String },
    /// What `gcloud auth application-default login` leaves behind.
    User { client_id: String, client_secret: Secret, refresh_token: Secret, url: String },
    /// A token of somebody else's is exchanged.
    Federated(Box<Federated>),
    /// The service account of the machine.
    Metadata { base: String },
}

/// How a token of somebody else's is exchanged.
#[derive(Deserialize)]
pub(super) struct Federated {
    audience: String,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: Option<String>,
    credential_source: CredentialSource,
}

/// Where the token of somebody else's is.
#[derive(Deserialize)]
struct CredentialSource {
    file: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    format: SubjectFormat,
}

#[derive(Default, Deserialize)]
struct SubjectFormat {
    subject_token_field_name: Option<String>,
}

#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

#[derive(Deserialize)]
struct User {
    client_id: String,
    client_secret: Secret,
    refresh_token: Secret,
}

/// Reads a credential as Google hands it out. `url` wins over the token endpoint it names.
pub(super) fn written(secret: &Secret, url: Option<&str>) -> Result<GcpCredential, &'static str> {
    let text = secret.expose();
    let value: Value = serde_json::from_str(text).map_err(|_| "it is not the JSON of a Google credential")?;
    let token_url = |named: Option<String>| {
        url.map(str::to_owned).or(named).unwrap_or_else(|| "https://oauth2.googleapis.com/token".to_owned())
    };
    match value["type"].as_str() {
        Some("service_account") => {
            let account: ServiceAccount =
                serde_json::from_str(text).map_err(|_| "the service account has no client_email or private_key")?;
            let key = EncodingKey::from_rsa_pem(account.private_key.as_bytes())
                .map_err(|_| "the private_key of the service account is not an RSA key in PEM")?;
            Ok(GcpCredential::ServiceAccount {
                email: account.client_email,
                key_id: account.private_key_id,
                key,
                url: token_url(account.token_uri),
            })
        }
        Some("authorized_user") => {
            let User { client_id, client_secret, refresh_token } = serde_json::from_str(text)
                .map_err(|_| "the user's credential has no client_id, client_secret or refresh_token")?;
            Ok(GcpCredential::User { client_id, client_secret, refresh_token, url: token_url(None) })
        }
        Some("external_account") => {
            let mut federated: Federated = serde_json::from_str(text).map_err(
                |_| "the credential configuration has no audience, subject_token_type, token_url or credential_source",
            )?;
            if let Some(url) = url {
                url.clone_into(&mut federated.token_url);
            }
            match (&federated.credential_source.file, &federated.credential_source.url) {
                (Some(_), None) | (None, Some(_)) => Ok(GcpCredential::Federated(Box::new(federated))),
                _ => {
                    Err("the credential_source names neither a file nor a url, which are the sources that can be read")
                }
            }
        }
        _ => Err("its type is none of service_account, authorized_user and external_account"),
    }
}

#[async_trait]
impl Source for GcpSource {
    type Value = Bearer;

    async fn fetch(&self, now: DateTime<Utc>) -> Result<(Bearer, Option<DateTime<Utc>>), CredentialError> {
        let (scope, transport) = (self.scope.as_str(), &*self.transport);
        match &self.kind {
            GcpCredential::ServiceAccount { email, key_id, key, url } => {
                let issued = now.timestamp();
                let claims = json!({ "iss": email, "scope": scope, "aud": url, "iat": issued, "exp": issued + 3600 });
                let header = Header { kid: key_id.clone(), ..Header::new(Algorithm::RS256) };
                let assertion = jsonwebtoken::encode(&header, &claims, key)
                    .map_err(|_| CredentialError::Unfit("the key of the service account does not sign"))?;
                let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                let request = form(url, &[("grant_type", grant), ("assertion", &assertion)]);
                granted(&ask(transport, request, Reach::Public, TOKENS).await?, now, TOKENS)
            }
            GcpCredential::User { client_id, client_secret, refresh_token, url } => {
                let request = form(
                    url,
                    &[
                        ("grant_type", "refresh_token"),
                        ("client_id", client_id),
                        ("client_secret", client_secret.expose()),
                        ("refresh_token", refresh_token.expose()),
                    ],
                );
                granted(&ask(transport, request, Reach::Public, TOKENS).await?, now, TOKENS)
            }
            GcpCredential::Metadata { base } => {
                let scopes: String = url::form_urlencoded::byte_serialize(scope.as_bytes()).collect();
                let path = "computeMetadata/v1/instance/service-accounts/default/token";
                let request = Request::get(format!("{base}/{path}?scopes={scopes}"))
                    .header("metadata-flavor", "Google")
                    .body(Bytes::new());
                granted(&ask(transport, request, Reach::Metadata, METADATA).await?, now, METADATA)
            }
            GcpCredential::Federated(federated) => federated.exchange(scope, transport, now).await,
        }
    }
}

impl Federated {
    async fn exchange(
        &self,
        scope: &str,
        transport: &dyn Transport,
        now: DateTime<Utc>,
    ) -> Result<(Bearer, Option<DateTime<Utc>>), CredentialError> {
        let subject = self.credential_source.token(transport).await?;
        // Who takes on a service account needs no more than the right to do that.
        let impersonation = self.service_account_impersonation_url.as_deref();
        let request = form(
            &self.token_url,
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("audience", &self.audience),
                ("scope", if impersonation.is_some() { SCOPE } else { scope }),
                ("subject_token_type", &self.subject_token_type),
                ("subject_token", &subject),
            ],
        );
        let answer = ask(transport, request, Reach::Public, STS).await?;
        let Some(impersonation) = impersonation else { return granted(&answer, now, STS) };
        let (token, _) = granted_text(&answer, STS)?;
        let request = Request::post(impersonation)
            .header(AUTHORIZATION, bearer(&token)?)
            .header(CONTENT_TYPE, "application/json")
            .body(json!({ "scope": [scope], "lifetime": "3600s" }).to_string().into());
        let answer = ask(transport, request, Reach::Public, IMPERSONATION).await?;
        let missing = |missing| CredentialError::Strange { what: IMPERSONATION, missing };
        let answer: Value = serde_json::from_slice(&answer).map_err(|_| missing("a token"))?;
        let token = answer["accessToken"].as_str().ok_or_else(|| missing("a token"))?;
        let end = answer["expireTime"].as_str().and_then(|end| end.parse().ok()).ok_or_else(|| missing("its end"))?;
        Ok((bearer(token)?, Some(end)))
    }
}

impl CredentialSource {
    /// The token of the workload.
    async fn token(&self, transport: &dyn Transport) -> Result<String, CredentialError> {
        let text = match (&self.file, &self.url) {
            (Some(file), _) => from_file(file).await?,
            (None, Some(url)) => {
                let mut request = Request::get(url);
                for (name, value) in &self.headers {
                    request = request.header(name, value);
                }
                // Some clouds hand it out by their metadata service.
                let answer = ask(transport, request.body(Bytes::new()), Reach::Metadata, SUBJECT).await?;
                String::from_utf8_lossy(&answer).trim().to_owned()
            }
            (None, None) => return Err(CredentialError::Unfit("the credential configuration names no source")),
        };
        let Some(field) = &self.format.subject_token_field_name else { return Ok(text) };
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let token = value[field.as_str()].as_str().map(str::to_owned);
        token.ok_or(CredentialError::Strange { what: SUBJECT, missing: "the token under the configured name" })
    }
}
