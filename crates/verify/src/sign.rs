//! What is signed, and whether it is by whom it says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, VerifyingKey};

use crate::format::{Checkpoint, Head, Key};

impl Key {
    fn bytes(&self) -> Option<[u8; 32]> {
        let bytes: [u8; 32] = BASE64.decode(&self.public_key).ok()?.try_into().ok()?;
        (hex::encode(&bytes[..8]) == self.key).then_some(bytes)
    }

    /// Whether it is a key, called as it should be.
    pub fn is_key(&self) -> bool {
        self.bytes().is_some_and(|bytes| VerifyingKey::from_bytes(&bytes).is_ok())
    }

    /// Whether it signed this.
    fn signed(&self, text: &[u8], signature: &str) -> bool {
        let key = self.bytes().and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        let signature = BASE64.decode(signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
        matches!((key, signature), (Some(key), Some(signature)) if key.verify_strict(text, &signature).is_ok())
    }

    /// Whether `before` vouches for it.
    pub fn is_endorsed_by(&self, before: &Self) -> bool {
        let (Some(own), Some(endorsement)) = (self.bytes(), &self.endorsement) else { return false };
        before.signed(&[b"systemprompt checkpoint key ", &own[..]].concat(), endorsement)
    }
}

impl Checkpoint {
    /// Whether this key signed it.
    pub fn is_signed_by(&self, key: &Key) -> bool {
        // What is no digest could say something else once it is written between other signs.
        let are_digests = self.heads.iter().chain(&self.dropped).all(|head| is_digest(&head.hash));
        key.key == self.key && are_digests && key.signed(self.text().as_bytes(), &self.signature)
    }

    fn text(&self) -> String {
        let list = |heads: &[Head]| {
            let head =
                |head: &Head| format!(r#"{{"chain":"{}","hash":"{}","seq":{}}}"#, head.chain, head.hash, head.seq);
            format!("[{}]", heads.iter().map(head).collect::<Vec<_>>().join(","))
        };
        let dropped =
            if self.dropped.is_empty() { String::new() } else { format!(r#""dropped":{},"#, list(&self.dropped)) };
        format!(r#"{{"at":{},{dropped}"heads":{}}}"#, self.at, list(&self.heads))
    }
}

/// Whether this is a SHA-256 as it is written here.
pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
