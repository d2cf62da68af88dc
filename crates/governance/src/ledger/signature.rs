//! Signatures of checkpoints: Ed25519 over the canonical JSON of what they say.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use systemprompt_extension::ledger::ChainHead;

use super::canonical::CanonicalObject;

/// Who signed, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Which key: the beginning of its public half, in hexadecimal.
    pub key: String,
    /// The public half, base64. Empty in lines of versions that did not write it.
    #[serde(default)]
    pub public_key: String,
    /// The signature over the canonical JSON of `{"at", "dropped", "heads"}`, `at` in microseconds since 1970, `dropped`
    /// only if there is something in it; base64.
    #[serde(rename = "signature")]
    pub text: String,
}

impl Signature {
    /// The signature over what a checkpoint says.
    pub(super) fn of(key: &Ed25519KeyPair, at: DateTime<Utc>, dropped: &[ChainHead], heads: &[ChainHead]) -> Self {
        let signature = key.sign(signed_text(at, dropped, heads).as_bytes());
        Self {
            key: key_id(key.public_key().as_ref()),
            public_key: BASE64.encode(key.public_key()),
            text: BASE64.encode(signature),
        }
    }

    /// Whether the owner of `public` said so.
    pub(super) fn is_by(&self, public: &[u8], at: DateTime<Utc>, dropped: &[ChainHead], heads: &[ChainHead]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, public);
        let text = signed_text(at, dropped, heads);
        BASE64.decode(&self.text).is_ok_and(|signature| key.verify(text.as_bytes(), &signature).is_ok())
    }
}

/// What a key is called: the beginning of its public half.
pub(super) fn key_id(public: &[u8]) -> String {
    hex::encode(&public[..public.len().min(8)])
}

fn signed_text(at: DateTime<Utc>, dropped: &[ChainHead], heads: &[ChainHead]) -> String {
    let mut text = CanonicalObject::with_capacity(256);
    text.time("at", Some(at));
    let list = |heads: &[ChainHead]| format!("[{}]", heads.iter().map(head_json).collect::<Vec<_>>().join(","));
    if !dropped.is_empty() {
        text.json("dropped", Some(&list(dropped)));
    }
    text.json("heads", Some(&list(heads)));
    text.finish()
}

fn head_json(head: &ChainHead) -> String {
    let mut object = CanonicalObject::with_capacity(160);
    head_object(&mut object, head);
    object.finish()
}

/// Writes the end of a chain, as checkpoints have it wherever they stand.
pub(super) fn head_object(object: &mut CanonicalObject, head: &ChainHead) {
    object.uuid("chain", Some(head.chain));
    object.text("hash", Some(&head.hash));
    object.integer("seq", Some(head.seq));
}
