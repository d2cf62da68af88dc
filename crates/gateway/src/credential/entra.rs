//! Tokens of Microsoft Entra ID.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::Request;
use systemprompt_model::Secret;

use super::cached::Source;
use super::error::CredentialError;
use super::token::{Bearer, from_file, granted};
use super::transport::{Reach, Transport, ask, form};

/// What the tokens are for.
pub(super) const SCOPE: &str = "https://cognitiveservices.azure.com/.default";
const ENTRA: &str = "Microsoft Entra ID";
const METADATA: &str = "the Azure metadata service";

/// Where tokens come from, and what they are for.
pub(super) struct EntraSource {
    pub(super) kind: EntraCredential,
    pub(super) scope: String,
    pub(super) transport: Arc<dyn Transport>,
}

/// A credential of Entra.
pub(super) enum EntraCredential {
    /// An application proves itself by a secret, or by a token from a file.
    Application { url: String, client_id: String, proof: Proof },
    /// The managed identity of the machine, or one of several.
    Managed { base: String, client_id: Option<String> },
}

/// How an application proves itself.
pub(super) enum Proof {
    Secret(Secret),
    File(PathBuf),
}

/// The token endpoint of a tenant.
pub(super) fn token_url(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token")
}

#[async_trait]
impl Source for EntraSource {
    type Value = Bearer;

    async fn fetch(&self, now: DateTime<Utc>) -> Result<(Bearer, Option<DateTime<Utc>>), CredentialError> {
        let (scope, transport) = (self.scope.as_str(), &*self.transport);
        match &self.kind {
            EntraCredential::Application { url, client_id, proof } => {
                let assertion;
                let mut fields =
                    vec![("grant_type", "client_credentials"), ("client_id", client_id.as_str()), ("scope", scope)];
                match proof {
                    Proof::Secret(secret) => fields.push(("client_secret", secret.expose())),
                    Proof::File(file) => {
                        assertion = from_file(file).await?;
                        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                        fields.extend([("client_assertion_type", kind), ("client_assertion", &assertion)]);
                    }
                }
                granted(&ask(transport, form(url, &fields), Reach::Public, ENTRA).await?, now, ENTRA)
            }
            EntraCredential::Managed { base, client_id } => {
                let query = metadata_query(scope, client_id.as_deref());
                let request = Request::get(format!("{base}/metadata/identity/oauth2/token?{query}"))
                    .header("metadata", "true")
                    .body(Bytes::new());
                granted(&ask(transport, request, Reach::Metadata, METADATA).await?, now, METADATA)
            }
        }
    }
}

/// The query of the metadata service, which names what the token is for in its older form.
fn metadata_query(scope: &str, client_id: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("api-version", "2018-02-01");
    query.append_pair("resource", scope.strip_suffix("/.default").unwrap_or(scope));
    if let Some(client_id) = client_id {
        query.append_pair("client_id", client_id);
    }
    query.finish()
}
