//! The credentials of all providers, from their configuration and the profile's secrets.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use systemprompt_model::{Ambient, Secret};

use super::aws::AwsSource;
use super::cached::Cached;
use super::entra::{self, EntraCredential, EntraSource, Proof};
use super::gcp::{self, GcpCredential, GcpSource};
use super::set::{Credential, CredentialSet};
use super::sigv4::{self, AwsKey};
use super::transport::Transport;
use crate::config::{Auth, IdentityConfig, IdentitySource, ProviderConfig};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const AWS_METADATA: &str = "http://169.254.169.254";
const AZURE_METADATA: &str = "http://169.254.169.254";
const GCP_METADATA: &str = "http://metadata.google.internal";

/// The credentials of all providers, by their names.
#[derive(Default)]
pub(crate) struct Credentials(HashMap<String, (Recipe, Arc<CredentialSet>)>);

/// What a set was made of. As long as that stays the same, so does the set, with its tokens and who rests.
#[derive(PartialEq)]
struct Recipe {
    auth: Auth,
    identity: Option<IdentityConfig>,
    region: Option<String>,
    secrets: Vec<Secret>,
}

/// A credential that cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the credential of the provider `{provider}` cannot be used: {why}")]
pub(crate) struct Unusable {
    /// Whose it is.
    pub(crate) provider: String,
    /// What is wrong with it.
    pub(crate) why: String,
}

impl Credentials {
    /// The credentials of `providers`; `secret` gives the profile's. Sets of `before` are kept where nothing changed.
    pub(crate) fn new<'a>(
        providers: &[ProviderConfig],
        secret: impl Fn(&str) -> Option<&'a Secret>,
        transport: &Arc<dyn Transport>,
        ambient: &Ambient,
        before: Option<&Self>,
    ) -> Result<Self, Unusable> {
        let mut all = HashMap::new();
        for provider in providers {
            let unusable = |why: String| Unusable { provider: provider.name.clone(), why };
            let named = provider.secrets().map(|(_, name)| name);
            let parts = provider.identity.iter().flat_map(|identity| identity.secrets()).map(|(_, name)| name);
            let found = named.chain(parts).map(|name| {
                let missing = || unusable(format!("the secret `{name}` does not exist"));
                secret(name).cloned().ok_or_else(missing)
            });
            let recipe = Recipe {
                auth: provider.authentication(),
                identity: provider.identity.clone(),
                region: provider.region.clone(),
                secrets: found.collect::<Result<_, _>>()?,
            };
            let kept = before.and_then(|before| before.0.get(&provider.name)).filter(|(old, _)| *old == recipe);
            let set = if let Some((_, set)) = kept {
                set.clone()
            } else {
                let credentials = recipe.credentials(transport, ambient).map_err(unusable)?;
                Arc::new(CredentialSet::new(credentials, ambient.clone()))
            };
            all.insert(provider.name.clone(), (recipe, set));
        }
        Ok(Self(all))
    }

    /// The credentials of a provider.
    pub(crate) fn of(&self, provider: &str) -> Option<Arc<CredentialSet>> {
        self.0.get(provider).map(|(_, set)| set.clone())
    }
}

impl Recipe {
    fn credentials(&self, transport: &Arc<dyn Transport>, ambient: &Ambient) -> Result<Vec<Credential>, String> {
        let each = |one: &dyn Fn(&Secret) -> Result<Credential, String>| self.secrets.iter().map(one).collect();
        match &self.auth {
            Auth::None => Ok(Vec::new()),
            Auth::Bearer => each(&|key| header(AUTHORIZATION, key, "Bearer ")),
            Auth::XApiKey => each(&|key| header(X_API_KEY, key, "")),
            Auth::Header(name) => {
                let name = HeaderName::from_bytes(name.as_bytes());
                let name = name.map_err(|_| "auth names no header".to_owned())?;
                each(&|key| header(name.clone(), key, ""))
            }
            Auth::SigV4 => self.aws(transport, ambient),
            Auth::Gcp => self.gcp(transport, ambient),
            Auth::Entra => self.entra(transport, ambient),
        }
    }

    fn aws(&self, transport: &Arc<dyn Transport>, ambient: &Ambient) -> Result<Vec<Credential>, String> {
        let identity = self.identity.clone().unwrap_or_default();
        let region = self.region.clone().ok_or_else(|| "there is no region".to_owned())?;
        let transport = transport.clone();
        let sources = match identity.source {
            IdentitySource::Metadata => {
                let base = identity.token_url.unwrap_or_else(|| AWS_METADATA.to_owned());
                vec![AwsSource::Metadata { base, transport }]
            }
            IdentitySource::TokenFile => {
                let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                let (Some(role), Some(file)) = (identity.role_arn, identity.token_file) else {
                    return Err("there is no role_arn or no token_file".to_owned());
                };
                vec![AwsSource::WebIdentity {
                    url: identity.token_url.unwrap_or_else(|| format!("https://sts.{region}.{domain}/")),
                    role,
                    session: identity.session_name.unwrap_or_else(|| "systemprompt".to_owned()),
                    file,
                    transport,
                }]
            }
            IdentitySource::Secret if identity.access_key_id_secret.is_some() => {
                let mut parts = self.secrets.iter().cloned();
                let (Some(id), Some(secret)) = (parts.next(), parts.next()) else {
                    return Err("the access key has no secret part".to_owned());
                };
                vec![AwsSource::Given(AwsKey { id: id.expose().to_owned(), secret, session: parts.next() })]
            }
            IdentitySource::Secret => {
                let keys =
                    self.secrets.iter().map(|secret| sigv4::written(secret).ok_or_else(|| sigv4::NO_KEY.to_owned()));
                keys.map(|key| key.map(AwsSource::Given)).collect::<Result<_, _>>()?
            }
        };
        let each = sources.into_iter().map(|source| {
            let key = Cached::new(source, ambient.clone());
            Credential::Aws { key, region: region.clone() }
        });
        Ok(each.collect())
    }

    fn gcp(&self, transport: &Arc<dyn Transport>, ambient: &Ambient) -> Result<Vec<Credential>, String> {
        let identity = self.identity.clone().unwrap_or_default();
        let kinds = if identity.source == IdentitySource::Metadata {
            vec![GcpCredential::Metadata { base: identity.token_url.unwrap_or_else(|| GCP_METADATA.to_owned()) }]
        } else {
            let url = identity.token_url.as_deref();
            let read = |secret| gcp::written(secret, url).map_err(str::to_owned);
            self.secrets.iter().map(read).collect::<Result<_, _>>()?
        };
        let scope = identity.scope.unwrap_or_else(|| gcp::SCOPE.to_owned());
        let each = kinds.into_iter().map(|kind| {
            let source = GcpSource { kind, scope: scope.clone(), transport: transport.clone() };
            Credential::Gcp(Cached::new(source, ambient.clone()))
        });
        Ok(each.collect())
    }

    fn entra(&self, transport: &Arc<dyn Transport>, ambient: &Ambient) -> Result<Vec<Credential>, String> {
        let identity = self.identity.clone().unwrap_or_default();
        let kinds = match identity.source {
            IdentitySource::Metadata => {
                let base = identity.token_url.unwrap_or_else(|| AZURE_METADATA.to_owned());
                vec![EntraCredential::Managed { base, client_id: identity.client_id }]
            }
            IdentitySource::Secret | IdentitySource::TokenFile => {
                let (Some(tenant), Some(client_id)) = (identity.tenant_id, identity.client_id) else {
                    return Err("there is no tenant_id or no client_id".to_owned());
                };
                let url = identity.token_url.unwrap_or_else(|| entra::token_url(&tenant));
                let proofs = match identity.token_file {
                    Some(file) => vec![Proof::File(file)],
                    None => self.secrets.iter().cloned().map(Proof::Secret).collect(),
                };
                let application =
                    |proof| EntraCredential::Application { url: url.clone(), client_id: client_id.clone(), proof };
                proofs.into_iter().map(application).collect()
            }
        };
        let scope = identity.scope.unwrap_or_else(|| entra::SCOPE.to_owned());
        let each = kinds.into_iter().map(|kind| {
            let source = EntraSource { kind, scope: scope.clone(), transport: transport.clone() };
            Credential::Entra(Cached::new(source, ambient.clone()))
        });
        Ok(each.collect())
    }
}

/// A key in a header.
fn header(name: HeaderName, key: &Secret, before: &str) -> Result<Credential, String> {
    let key = key.expose().trim();
    let value = HeaderValue::from_str(&format!("{before}{key}")).ok().filter(|_| !key.is_empty());
    let mut value = value.ok_or_else(|| "it is empty or cannot be sent as a header".to_owned())?;
    value.set_sensitive(true);
    Ok(Credential::Header(name, value))
}
