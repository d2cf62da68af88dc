//! Where the log is shipped to: the key `governance.shipping` of the profile.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::flaw::Flaw;

/// A place that gets what is written to the ledger, in order, each entry at least once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShipmentConfig {
    /// What it is called. How far it has come is remembered under this name: with another one it gets everything again.
    pub name: String,
    /// What it gets.
    #[serde(default)]
    pub what: Shipped,
    /// A file of JSON lines on the server that has the turn. Of several servers each has its own, or all share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileShipmentConfig>,
    /// A webhook, as of Standard Webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookShipmentConfig>,
    /// A collector of OpenTelemetry, which gets events as log records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpShipmentConfig>,
    /// A bucket of an object store that speaks S3, which gets JSON lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_store: Option<ObjectStoreShipmentConfig>,
}

/// What a destination gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shipped {
    /// One flat event for each entry, for a SIEM.
    #[default]
    Events,
    /// The entries themselves with their hashes, which can be verified.
    Entries,
    /// Only the signed checkpoints: where all chains stood, as the home's `ledger/checkpoints.jsonl` has them.
    Checkpoints,
}

/// A file of JSON lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileShipmentConfig {
    /// Its absolute path. It is made, only for the server's user, and appended to.
    pub path: PathBuf,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookShipmentConfig {
    /// Its address; `https`, or `http` on this machine or a host of SYSTEMPROMPT_TRUSTED_HTTP_HOSTS. A name that leads to a
    /// private address is not connected to unless it is one of those.
    pub url: String,
    /// The name of the secret that messages are signed with: any text, or `whsec_` and Base64.
    pub secret: String,
}

/// A collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtlpShipmentConfig {
    /// Its address for logs over HTTP with JSON, such as `https://collector.example.com/v1/logs`; with the same bounds as a
    /// webhook's.
    pub url: String,
    /// The name of a secret that is sent as `authorization`, as it is: `Bearer …`, `Api-Token …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<String>,
}

/// A bucket. Each object has what came together of one chain, under a name that says which: `CHAIN/FIRST-LAST.entries.jsonl`.
/// What is told again has the same name, or one that overlaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectStoreShipmentConfig {
    /// The bucket.
    pub bucket: String,
    /// Its region, as signatures name it; `us-east-1` for many that are not of AWS.
    pub region: String,
    /// The address of a store that is not of AWS, such as `https://minio.example.com`, which has the bucket in its path; with
    /// the same bounds as a webhook's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What names of objects begin with, such as `systemprompt/`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// The name of the secret with an access key that may put objects there, and their retention if there is a `lock`:
    /// `{"access_key_id": …, "secret_access_key": …}`, and `session_token` if it is a temporary one.
    pub credentials: String,
    /// For how long objects can be neither deleted nor written over. The bucket must have been made with object lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<ObjectLockConfig>,
}

/// A lock on objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectLockConfig {
    /// Who may take it off.
    pub mode: ObjectLockMode,
    /// After how many days it is over.
    #[schemars(range(min = 1, max = 36500))]
    pub days: u32,
}

/// Who may take a lock off an object before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectLockMode {
    /// Whoever has the permission to.
    Governance,
    /// Nobody, not even the owner of the account.
    Compliance,
}

impl ObjectLockMode {
    /// As the header says it.
    pub(crate) const fn as_header(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

impl ObjectStoreShipmentConfig {
    /// The address of the bucket.
    pub(crate) fn base(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("{}/{}", endpoint.trim_end_matches('/'), self.bucket),
            None => format!("https://{}.s3.{}.amazonaws.com", self.bucket, self.region),
        }
    }
}

impl ShipmentConfig {
    /// Where it is sent to, with the pointer of what says so; nothing for a file.
    pub fn url(&self) -> Option<(&'static str, String)> {
        let webhook = self.webhook.as_ref().map(|webhook| ("/webhook/url", webhook.url.clone()));
        let otlp = || self.otlp.as_ref().map(|otlp| ("/otlp/url", otlp.url.clone()));
        let store = || self.object_store.as_ref().map(|store| ("/object_store/endpoint", store.base()));
        webhook.or_else(otlp).or_else(store)
    }
}

/// Whether it can be part of an address as it is.
fn is_plain(text: &str, besides: &[u8]) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || besides.contains(&byte))
}

/// Everything that is wrong with destinations although they fit their schema. Pointers are relative to the list.
pub(crate) fn flaws(shipments: &[ShipmentConfig], has_secret: impl Fn(&str) -> bool) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for (index, shipment) in shipments.iter().enumerate() {
        let at = format!("/{index}");
        let mut flaw = |pointer: &str, message: String| flaws.push(Flaw::new(format!("{at}{pointer}"), message));
        if shipment.name.trim().is_empty() || shipments[..index].iter().any(|earlier| earlier.name == shipment.name) {
            flaw("/name", "is empty or used twice; give each destination a name of its own".to_owned());
        }
        let ways = [
            shipment.file.is_some(),
            shipment.webhook.is_some(),
            shipment.otlp.is_some(),
            shipment.object_store.is_some(),
        ];
        if ways.into_iter().filter(|is_there| *is_there).count() != 1 {
            flaw("", "needs exactly one of `file`, `webhook`, `otlp` and `object_store`".to_owned());
        }
        if let Some(store) = &shipment.object_store {
            let bounds = (3..=63).contains(&store.bucket.len());
            if !bounds || !is_plain(&store.bucket, b".") {
                flaw(
                    "/object_store/bucket",
                    "must be a name of a bucket: 3 to 63 letters, digits, hyphens and dots".to_owned(),
                );
            }
            if store.region.is_empty() || !is_plain(&store.region, b"") {
                flaw("/object_store/region", "must be a region, such as `eu-central-1`".to_owned());
            }
            if store.prefix.starts_with('/') || !is_plain(&store.prefix, b"._/") {
                flaw(
                    "/object_store/prefix",
                    "may have letters, digits and `-._/`, and does not begin with `/`".to_owned(),
                );
            }
        }
        if let Some(file) = &shipment.file
            && !file.path.is_absolute()
        {
            flaw(
                "/file/path",
                "must be absolute, so that it does not depend on where the server was started".to_owned(),
            );
        }
        if shipment.otlp.is_some() && shipment.what != Shipped::Events {
            flaw("/what", "a collector gets `events`; what proves them goes elsewhere".to_owned());
        }
        let webhook = shipment.webhook.iter().map(|webhook| ("/webhook/secret", &webhook.secret));
        let otlp = shipment.otlp.iter().filter_map(|otlp| Some(("/otlp/authorization", otlp.authorization.as_ref()?)));
        let store = shipment.object_store.iter().map(|store| ("/object_store/credentials", &store.credentials));
        for (pointer, secret) in webhook.chain(otlp).chain(store).filter(|(_, secret)| !has_secret(secret)) {
            flaw(pointer, format!("there is no secret `{secret}`; add it to the profile's secrets"));
        }
    }
    flaws
}
