//! What leaves in the place of a secret.

use std::fmt;

use aws_lc_rs::hmac;
use systemprompt_model::Secret;
use systemprompt_secrets::PLACEHOLDER_DIGITS;

/// How every placeholder begins. The scan takes a whole one for no secret, and looks at what only begins alike.
pub const PREFIX: &str = "SECRET_";

/// What placeholders of this kind are made of; another kind would get another.
const PURPOSE: &[u8] = b"systemprompt: placeholders of secrets, 1";

/// Makes placeholders: `SECRET_aws_access_key_1f0c93ab5e7d2468`.
///
/// The end is a keyed hash of the secret. So the same secret has the same placeholder on every replica and after every
/// restart, which keeps the prompt caches of providers warm and lets an auditor count where one secret appeared, while
/// nothing is stored to get from one to the other, and nobody without the key can try out what a secret might be.
#[derive(Clone)]
pub struct PlaceholderKey(hmac::Key);

impl PlaceholderKey {
    /// The key of an installation, derived from its pepper.
    pub fn derive(pepper: &Secret) -> Self {
        let from = hmac::Key::new(hmac::HMAC_SHA256, pepper.expose().as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&from, PURPOSE).as_ref()))
    }

    /// What stands for `secret`, which the rule with this id found.
    pub(crate) fn placeholder(&self, rule: &str, secret: &str) -> String {
        let hash = hex::encode(hmac::sign(&self.0, secret.as_bytes()));
        let rule: String =
            rule.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
        format!("{PREFIX}{rule}_{}", &hash[..PLACEHOLDER_DIGITS])
    }
}

impl fmt::Debug for PlaceholderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlaceholderKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_one_placeholder_in_an_installation_and_another_elsewhere() {
        let key = |pepper: &str| PlaceholderKey::derive(&Secret::new(pepper));
        let here = key("one pepper").placeholder("aws-access-key", "first");
        assert_eq!(here, key("one pepper").placeholder("aws-access-key", "first"));
        assert_ne!(here, key("one pepper").placeholder("aws-access-key", "second"));
        assert_ne!(here, key("another pepper").placeholder("aws-access-key", "first"));
        let (name, hash) = here.rsplit_once('_').expect("a placeholder");
        assert_eq!((name, hash.len()), ("SECRET_aws_access_key", PLACEHOLDER_DIGITS));
        assert!(!format!("{:?}", key("one pepper")).contains("pepper"));
    }
}
