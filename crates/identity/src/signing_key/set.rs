//! The keys tokens are signed with, and their file.
//!
//! The file at `security.signing_key_path` is PEM text (RFC 7468), mode 0600. Each key is one block; the explanatory
//! lines before a block, `Name: value`, say what it is for:
//!
//! ```text
//! State: active
//! Created: 2025-11-22T12:00:00Z
//! -----BEGIN PRIVATE KEY-----          PKCS#8
//! State: next
//! Created: 2025-12-20T12:00:00Z
//! -----BEGIN PRIVATE KEY-----
//! State: retired
//! Verify-Until: 2025-11-29T12:00:30Z
//! -----BEGIN PUBLIC KEY-----           SPKI: the private half is gone
//! ```
//!
//! Exactly one key is active and signs. A `next` key is published before it signs, so that everybody who fetches the
//! key set knows it in time; a `retired` one verifies until its last token has expired. A block without `State` is
//! active, so a plain PKCS#8 file made by any tool is a key set of one. One file holds the whole set because it can
//! then be replaced in one step.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PublicKey};
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::Serialize;
use sha2::{Digest, Sha256};
use systemprompt_config::files;
use systemprompt_model::Secret;

use rustls_pki_types::pem::SectionKind;

use crate::signing_key::pem;

const PRIVATE: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";
/// The shortest modulus accepted, in bytes (2048 bits).
const SHORTEST: usize = 256;

/// What a key is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Signs and verifies.
    Active,
    /// Published and verifies; will sign after the next rotation.
    Next,
    /// Verifies for a while.
    Retired,
}

impl KeyState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Next => "next",
            Self::Retired => "retired",
        }
    }
}

impl FromStr for KeyState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Active, Self::Next, Self::Retired].into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

/// Why keys could not be read, made or written.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// The file could not be read or written.
    #[error("the signing key file {path} could not be {doing}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read the file.
    #[error("{path} may be read by others (mode {mode:04o}); run `chmod 600 {path}`", path = .path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What is in the file is no key set.
    #[error("{} is not a signing key", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<KeySetError>,
    },
    /// The text is not a key set.
    #[error("line {line}: {message}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: &'static str,
    },
    /// Not exactly one key is active.
    #[error("the signing key file has {0} active keys; it needs exactly one")]
    Active(usize),
    /// More than one key waits for rotation.
    #[error("the signing key file has {0} keys in the state `next`; it may have one")]
    Next(usize),
    /// The cryptographic library failed to make or encode a key.
    #[error("the cryptographic library could not make or encode an RSA key")]
    Crypto,
}

impl KeySetError {
    /// What to do about it, in a sentence; nothing when the message says it all.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unusable { .. } | Self::Malformed { .. } | Self::Active(_) | Self::Next(_) => Some(
                "put the file back from a backup; without one make a new key, after which tokens signed with the old one are \
                 refused: `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out signing_key.pem && chmod 600 \
                 signing_key.pem`",
            ),
            Self::Io { doing: "read", .. } => Some(
                "it is made by `systemprompt admin setup`; a production profile that was moved needs its own, because replicas \
                 that each made one would refuse each other's tokens",
            ),
            Self::Io { .. } | Self::TooOpen { .. } | Self::Crypto => None,
        }
    }
}

/// The keys of one moment. Immutable; the operations give a new set.
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    state: KeyState,
    /// base64url of the SHA-256 of the public key's SPKI.
    kid: String,
    created: Option<DateTime<Utc>>,
    verify_until: Option<DateTime<Utc>>,
    spki: Vec<u8>,
    /// PKCS#8; absent in retired keys.
    private: Option<Vec<u8>>,
    signs: Option<EncodingKey>,
    verifies: DecodingKey,
    modulus: String,
    exponent: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("state", &self.state).finish_non_exhaustive()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.keys).finish()
    }
}

impl KeySet {
    /// A set of one new active key of 2048 bits. Takes some tenths of a second of computing.
    pub fn generate(now: DateTime<Utc>) -> Result<Self, KeySetError> {
        Ok(Self { keys: vec![Key::generate(KeyState::Active, now)?] })
    }

    /// Reads the file format of this module.
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        let blocks = pem::read(text).map_err(|(line, message)| KeySetError::Malformed { line, message })?;
        let keys = blocks.iter().map(Key::parse).collect::<Result<Vec<_>, _>>()?;
        let in_state = |state| keys.iter().filter(|key| key.state == state).count();
        match (in_state(KeyState::Active), in_state(KeyState::Next)) {
            (1, 0 | 1) => Ok(Self { keys }),
            (1, next) => Err(KeySetError::Next(next)),
            (active, _) => Err(KeySetError::Active(active)),
        }
    }

    /// Writes the file format of this module.
    pub fn to_text(&self) -> Secret {
        let mut text = String::new();
        for key in &self.keys {
            text.extend(["State: ", key.state.as_str(), "\n"]);
            for (name, time) in [("Created", key.created), ("Verify-Until", key.verify_until)] {
                if let Some(time) = time {
                    text.extend([name, ": ", &time.to_rfc3339_opts(SecondsFormat::Secs, true), "\n"]);
                }
            }
            match &key.private {
                Some(private) => pem::write(&mut text, PRIVATE, private),
                None => pem::write(&mut text, PUBLIC, &key.spki),
            }
        }
        Secret::new(text)
    }

    /// Reads a file that nobody but its owner may read.
    pub fn load(path: &Path) -> Result<Self, KeySetError> {
        let failed = |source| KeySetError::Io { path: path.to_owned(), doing: "read", source };
        if let Some(mode) = files::open_mode(path).map_err(failed)? {
            return Err(KeySetError::TooOpen { path: path.to_owned(), mode });
        }
        let unusable = |source| KeySetError::Unusable { path: path.to_owned(), source: Box::new(source) };
        let bytes = std::fs::read(path).map_err(failed)?;
        let text =
            String::from_utf8(bytes).map_err(|_| unusable(KeySetError::Malformed { line: 1, message: "not text" }))?;
        Self::parse(&text).map_err(unusable)
    }

    /// Replaces the file in one step, mode 0600.
    pub fn store(&self, path: &Path) -> Result<(), KeySetError> {
        files::write_secret_file(path, self.to_text().expose().as_bytes()).map_err(|source| KeySetError::Io {
            path: path.to_owned(),
            doing: "written",
            source,
        })
    }

    /// The set with a key that is published now and signs after the next [`rotate`](Self::rotate). Nothing changes if
    /// it has one already.
    pub fn with_next(mut self, now: DateTime<Utc>) -> Result<Self, KeySetError> {
        if !self.keys.iter().any(|key| key.state == KeyState::Next) {
            self.keys.push(Key::generate(KeyState::Next, now)?);
        }
        Ok(self)
    }

    /// The set in which the next key (a new one if there is none) signs. The one that did verifies for `overlap`
    /// longer, which should be the longest lifetime of a token, and loses its private half; retired keys whose time is
    /// over are dropped.
    pub fn rotate(self, now: DateTime<Utc>, overlap: TimeDelta) -> Result<Self, KeySetError> {
        let mut keys = self.with_next(now)?.keys;
        for key in &mut keys {
            match key.state {
                KeyState::Next => key.state = KeyState::Active,
                KeyState::Active => {
                    key.state = KeyState::Retired;
                    key.verify_until = Some(now + overlap);
                    key.private = None;
                    key.signs = None;
                }
                KeyState::Retired => {}
            }
        }
        keys.retain(|key| key.verifies_at(now));
        keys.sort_by_key(|key| key.state != KeyState::Active);
        Ok(Self { keys })
    }

    /// The public document at `/.well-known/jwks.json` (RFC 7517): every key that verifies at `now`.
    pub fn jwks(&self, now: DateTime<Utc>) -> serde_json::Value {
        let keys: Vec<_> = self
            .keys
            .iter()
            .filter(|key| key.verifies_at(now))
            .map(|key| {
                serde_json::json!({
                    "kty": "RSA",
                    "use": "sig",
                    "alg": "RS256",
                    "kid": key.kid,
                    "n": key.modulus,
                    "e": key.exponent,
                })
            })
            .collect();
        serde_json::json!({ "keys": keys })
    }

    /// The id and state of every key, the active one first.
    pub fn keys(&self) -> impl Iterator<Item = (&str, KeyState)> {
        self.keys.iter().map(|key| (key.kid.as_str(), key.state))
    }

    /// The key that signs now, and its id.
    pub(crate) fn signing_key(&self) -> (&str, &EncodingKey) {
        self.keys
            .iter()
            .find_map(|key| Some((key.kid.as_str(), key.signs.as_ref().filter(|_| key.state == KeyState::Active)?)))
            .expect("every way to make a key set makes one active key with its private half")
    }

    /// The key with this id, if it verifies at `now`.
    pub(crate) fn verifying_key(&self, kid: &str, now: DateTime<Utc>) -> Option<&DecodingKey> {
        self.keys.iter().find(|key| key.kid == kid && key.verifies_at(now)).map(|key| &key.verifies)
    }
}

impl Key {
    fn generate(state: KeyState, now: DateTime<Utc>) -> Result<Self, KeySetError> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeySetError::Crypto)?;
        let private: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeySetError::Crypto)?;
        Ok(Self { created: Some(now), ..Self::new(state, pair.public_key(), Some(private.as_ref().to_vec()))? })
    }

    fn parse(block: &pem::Block<'_>) -> Result<Self, KeySetError> {
        let malformed = |message| KeySetError::Malformed { line: block.line, message };
        let note = |name: &str| {
            block
                .preamble
                .iter()
                .rev()
                .filter_map(|line| line.split_once(':'))
                .find_map(|(key, value)| key.trim().eq_ignore_ascii_case(name).then_some(value.trim()))
        };
        let time = |name| {
            note(name)
                .map(|text| DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()))
                .transpose()
                .map_err(|_| malformed("a time before this block is not in RFC 3339 form"))
        };
        let state = note("State").map_or(Ok(KeyState::Active), |text| {
            text.parse().map_err(|()| malformed("the state of a key is `active`, `next` or `retired`"))
        })?;
        let (public, private) = match block.kind {
            SectionKind::PrivateKey => {
                let pair = RsaKeyPair::from_pkcs8(&block.content)
                    .map_err(|_| malformed("is not an RSA key of 2048 to 8192 bits in PKCS#8 form"))?;
                (pair.public_key().clone(), (state != KeyState::Retired).then(|| block.content.clone()))
            }
            SectionKind::PublicKey if state == KeyState::Retired => {
                (PublicKey::from_der(&block.content).map_err(|_| malformed("is not an RSA public key"))?, None)
            }
            SectionKind::PublicKey => return Err(malformed("only a retired key may lack its private half")),
            _ => return Err(malformed("must be a `PRIVATE KEY` in PKCS#8 form or a `PUBLIC KEY`")),
        };
        if public.modulus().big_endian_without_leading_zero().len() < SHORTEST {
            return Err(malformed("is shorter than 2048 bits"));
        }
        Ok(Self {
            created: time("Created")?,
            verify_until: time("Verify-Until")?.filter(|_| state == KeyState::Retired),
            ..Self::new(state, &public, private)?
        })
    }

    fn new(state: KeyState, public: &PublicKey, private: Option<Vec<u8>>) -> Result<Self, KeySetError> {
        let spki: PublicKeyX509Der<'_> = public.as_der().map_err(|_| KeySetError::Crypto)?;
        let spki = spki.as_ref().to_vec();
        let signs = private
            .as_deref()
            .map(|private| {
                let mut text = String::new();
                pem::write(&mut text, PRIVATE, private);
                EncodingKey::from_rsa_pem(text.as_bytes()).map_err(|_| KeySetError::Crypto)
            })
            .transpose()?;
        let modulus = public.modulus().big_endian_without_leading_zero();
        let exponent = public.exponent().big_endian_without_leading_zero();
        Ok(Self {
            state,
            kid: URL_SAFE_NO_PAD.encode(Sha256::digest(&spki)),
            created: None,
            verify_until: None,
            private,
            signs,
            verifies: DecodingKey::from_rsa_raw_components(modulus, exponent),
            modulus: URL_SAFE_NO_PAD.encode(modulus),
            exponent: URL_SAFE_NO_PAD.encode(exponent),
            spki,
        })
    }

    /// Whether tokens signed with it are accepted at `now`. A retired key without an end was retired by hand and
    /// verifies until it is removed by hand.
    fn verifies_at(&self, now: DateTime<Utc>) -> bool {
        self.verify_until.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn states(keys: &KeySet) -> Vec<KeyState> {
        keys.keys().map(|(_, state)| state).collect()
    }

    #[test]
    fn rotation_publishes_first_and_verifies_on() {
        let first = KeySet::generate(now()).expect("a key");
        let first_kid = first.signing_key().0.to_owned();
        let announced = first.with_next(now()).expect("a second key");
        assert_eq!(states(&announced), [KeyState::Active, KeyState::Next]);
        assert_eq!(announced.signing_key().0, first_kid);
        assert_eq!(announced.jwks(now())["keys"].as_array().map(Vec::len), Some(2));

        let rotated = announced.rotate(now(), TimeDelta::hours(1)).expect("rotates");
        assert_eq!(states(&rotated), [KeyState::Active, KeyState::Retired]);
        assert_ne!(rotated.signing_key().0, first_kid);
        assert!(rotated.verifying_key(&first_kid, now() + TimeDelta::minutes(59)).is_some());
        assert!(rotated.verifying_key(&first_kid, now() + TimeDelta::hours(1)).is_none());

        let text = rotated.to_text();
        assert_eq!(text.expose().matches("BEGIN PRIVATE KEY").count(), 1, "the retired key lost its private half");
        let read = KeySet::parse(text.expose()).expect("what is written is read");
        assert_eq!(read.to_text(), text);
        assert_eq!(read.jwks(now()), rotated.jwks(now()));

        let later = now() + TimeDelta::hours(2);
        assert_eq!(
            states(&read.rotate(later, TimeDelta::hours(1)).expect("rotates")),
            [KeyState::Active, KeyState::Retired]
        );
    }

    #[test]
    fn the_file_is_private_and_a_plain_key_is_a_set() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("signing_key.pem");
        let keys = KeySet::generate(now()).expect("a key");
        let text = keys.to_text();
        let plain = &text.expose()[text.expose().find("-----BEGIN").expect("has a block")..];
        std::fs::write(&path, plain).expect("writes");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("sets the mode");
        assert!(matches!(KeySet::load(&path), Err(KeySetError::TooOpen { mode: 0o644, .. })));

        keys.store(&path).expect("replaces it");
        let mode = std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(KeySet::load(&path).expect("is read").signing_key().0, keys.signing_key().0);
        assert_eq!(KeySet::parse(plain).expect("is a set of one").signing_key().0, keys.signing_key().0);
    }

    #[test]
    fn files_that_are_not_key_sets_are_refused() {
        let text = KeySet::generate(now()).expect("a key").to_text();
        let text = text.expose();
        assert!(matches!(KeySet::parse(""), Err(KeySetError::Active(0))));
        assert!(matches!(KeySet::parse(&format!("{text}{text}")), Err(KeySetError::Active(2))));
        for (bad, line) in [
            (text.replace("State: active", "State: great"), 3),
            (text.replace("Created: ", "Created: x"), 3),
            (text.replace("PRIVATE KEY", "EC PRIVATE KEY"), 3),
            (text.replace("PRIVATE KEY", "PUBLIC KEY"), 3),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned(), 1),
        ] {
            match KeySet::parse(&bad) {
                Err(KeySetError::Malformed { line: at, .. }) => assert_eq!(at, line, "{bad}"),
                other => panic!("{other:?} for {bad}"),
            }
        }
    }
}
