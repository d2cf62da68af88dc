//! How the gateway proves to a provider who it is.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How requests to a provider are authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Auth {
    /// The key in `authorization: Bearer …`.
    Bearer,
    /// The key in `x-api-key`.
    XApiKey,
    /// The key in a header of this name.
    Header(String),
    /// AWS Signature Version 4 over the request.
    SigV4,
    /// A token of Google Cloud.
    Gcp,
    /// A token of Microsoft Entra ID.
    Entra,
    /// Nothing is shown.
    None,
}

/// It is none of the ways there are.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no way to authenticate; write bearer, x-api-key, header:<name>, sigv4, gcp, entra or none")]
pub(crate) struct UnknownAuth(String);

impl Auth {
    /// Whether what is shown is made from an identity, not a key that is sent as it is.
    pub(crate) const fn is_identity(&self) -> bool {
        matches!(self, Self::SigV4 | Self::Gcp | Self::Entra)
    }
}

impl FromStr for Auth {
    type Err = UnknownAuth;

    fn from_str(text: &str) -> Result<Self, UnknownAuth> {
        Ok(match text {
            "bearer" => Self::Bearer,
            "x-api-key" => Self::XApiKey,
            "sigv4" => Self::SigV4,
            "gcp" => Self::Gcp,
            "entra" => Self::Entra,
            "none" => Self::None,
            _ => match text.strip_prefix("header:").map(str::trim) {
                Some(name) if !name.is_empty() => Self::Header(name.to_ascii_lowercase()),
                _ => return Err(UnknownAuth(text.to_owned())),
            },
        })
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer => f.write_str("bearer"),
            Self::XApiKey => f.write_str("x-api-key"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::SigV4 => f.write_str("sigv4"),
            Self::Gcp => f.write_str("gcp"),
            Self::Entra => f.write_str("entra"),
            Self::None => f.write_str("none"),
        }
    }
}

impl TryFrom<String> for Auth {
    type Error = UnknownAuth;

    fn try_from(text: String) -> Result<Self, UnknownAuth> {
        text.parse()
    }
}

impl From<Auth> for String {
    fn from(auth: Auth) -> Self {
        auth.to_string()
    }
}

impl JsonSchema for Auth {
    fn schema_name() -> Cow<'static, str> {
        "Auth".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "How requests are authenticated: `bearer`, `x-api-key`, `header:<name>`, `sigv4`, `gcp`, `entra` or `none`.",
            "pattern": "^(bearer|x-api-key|header:\\s*[A-Za-z0-9-]+|sigv4|gcp|entra|none)$",
        })
    }
}

/// Where a credential comes from, and whose it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IdentityConfig {
    /// Where it comes from.
    pub source: IdentitySource,
    /// The role to take on (`auth: sigv4` with `source: token_file`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// What the session of the role is called in AWS's records. Default: `systemprompt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
    /// The file with the token of a workload identity, which is read anew for each exchange (`source: token_file`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The Entra tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The Entra application, or the managed identity where a machine has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What the token is for. Default: `https://cognitiveservices.azure.com/.default` (Entra),
    /// `https://www.googleapis.com/auth/cloud-platform` (Google Cloud).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Where tokens are asked for, instead of the cloud's own address. For the metadata service its base URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// Name of the secret with the access key's id, where the AWS access key is not one secret of JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id_secret: Option<String>,
    /// Name of the secret with the secret access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key_secret: Option<String>,
    /// Name of the secret with the session token, if the access key is a temporary one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token_secret: Option<String>,
}

impl IdentityConfig {
    /// The names of the secrets it is made of, with their keys.
    pub(crate) fn secrets(&self) -> Vec<(&'static str, &str)> {
        let parts = [
            ("access_key_id_secret", &self.access_key_id_secret),
            ("secret_access_key_secret", &self.secret_access_key_secret),
            ("session_token_secret", &self.session_token_secret),
        ];
        parts.into_iter().filter_map(|(key, name)| Some((key, name.as_deref()?))).collect()
    }
}

/// Where a credential comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IdentitySource {
    /// From secrets of the profile.
    #[default]
    Secret,
    /// From the metadata service of the machine: an instance role, a service account, a managed identity.
    Metadata,
    /// From a file with a token that is exchanged for one of the provider: web identity, federation.
    TokenFile,
}
