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

impl ShipmentConfig {
    /// Where it is posted to, with the key of the address; nothing for a file.
    pub fn url(&self) -> Option<(&'static str, &str)> {
        let webhook = self.webhook.as_ref().map(|webhook| ("webhook", webhook.url.as_str()));
        webhook.or_else(|| self.otlp.as_ref().map(|otlp| ("otlp", otlp.url.as_str())))
    }
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
        let ways = [shipment.file.is_some(), shipment.webhook.is_some(), shipment.otlp.is_some()];
        if ways.into_iter().filter(|is_there| *is_there).count() != 1 {
            flaw("", "needs exactly one of `file`, `webhook` and `otlp`".to_owned());
        }
        if let Some(file) = &shipment.file
            && !file.path.is_absolute()
        {
            flaw(
                "/file/path",
                "must be absolute, so that it does not depend on where the server was started".to_owned(),
            );
        }
        if shipment.otlp.is_some() && shipment.what == Shipped::Entries {
            flaw("/what", "a collector gets `events`; entries go to a file or a webhook".to_owned());
        }
        let webhook = shipment.webhook.iter().map(|webhook| ("/webhook/secret", &webhook.secret));
        let otlp = shipment.otlp.iter().filter_map(|otlp| Some(("/otlp/authorization", otlp.authorization.as_ref()?)));
        for (pointer, secret) in webhook.chain(otlp).filter(|(_, secret)| !has_secret(secret)) {
            flaw(pointer, format!("there is no secret `{secret}`; add it to the profile's secrets"));
        }
    }
    flaws
}
