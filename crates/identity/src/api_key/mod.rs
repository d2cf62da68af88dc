//! API keys: what they are and how they are made. Kept by [`store::ApiKeys`].

pub(crate) mod queries;
pub(crate) mod routes;
pub(crate) mod store;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};
use systemprompt_model::{Ambient, ApiKeyId, Secret, UserId};

/// What every API key begins with; nothing else does.
pub(crate) const MARK: &str = "sp-live-";
/// Length of the visible part, `sp-live-<12 hex>`.
const PREFIX_LENGTH: usize = MARK.len() + 12;
/// Length of the whole, `sp-live-<12 hex>.<52 hex>`.
const LENGTH: usize = PREFIX_LENGTH + 1 + 52;

/// An API key (personal access token) as it is stored: without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: String,
    /// Its visible, unique beginning: `sp-live-<12 hex>`.
    #[serde(rename = "key_prefix")]
    pub prefix: String,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// When it was last used, to within a minute or so.
    pub last_used_at: Option<DateTime<Utc>>,
    /// From when on it is refused.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when it is refused because somebody said so.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl ApiKey {
    /// Whether the key itself is good at `now`; its owner may still be barred.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// A key that was just issued, with the only copy of its secret there will ever be.
#[derive(Debug, Clone)]
pub struct IssuedKey {
    /// The stored part.
    pub key: ApiKey,
    /// The whole key, `sp-live-<12 hex>.<52 hex>`; 208 random bits.
    pub secret: Secret,
}

/// A new key: the whole, its visible prefix, and the digest to store.
pub(crate) fn generate(ambient: &Ambient) -> (Secret, String, [u8; 32]) {
    let prefix = format!("{MARK}{}", hex::encode(ambient.bytes::<6>()));
    let whole = format!("{prefix}.{}", hex::encode(ambient.bytes::<26>()));
    let digest = Sha256::digest(&whole).into();
    (Secret::new(whole), prefix, digest)
}

/// The visible prefix of a well-formed key.
pub(crate) fn prefix_of(key: &str) -> Option<&str> {
    let lower_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if key.len() != LENGTH || !key.is_ascii() {
        return None;
    }
    let (prefix, secret) = key.split_at(PREFIX_LENGTH);
    (lower_hex(prefix.strip_prefix(MARK)?) && lower_hex(secret.strip_prefix('.')?)).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_documented_form() {
        let (secret, prefix, digest) = generate(&Ambient::system());
        let key = secret.expose();
        assert_eq!(key.len(), 73);
        assert_eq!(prefix_of(key), Some(prefix.as_str()));
        assert_eq!(digest, <[u8; 32]>::from(Sha256::digest(key)));
        for bad in [
            &key[..72],
            &format!("{key}0"),
            &key.to_uppercase(),
            &key.replace('.', "0"),
            &format!("sp-test{}", &key[7..]),
            &key.replacen("live-", "live.", 1),
        ] {
            assert_eq!(prefix_of(bad), None, "{bad}");
        }
    }
}
