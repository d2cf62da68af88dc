//! The keys that sign checkpoints: one that signs, in `checkpoint.key` of the home, and the public halves of all that ever
//! did, in `checkpoint-keys.jsonl` beside it.
//!
//! A key that is exchanged is gone: its private half is overwritten, its public half verifies what it signed. It signs the
//! public half of the key that follows, so whoever knows one key can follow the others.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use systemprompt_config::files::{create_private_dir, open_mode, write_secret_file};
use systemprompt_model::Secret;

use super::signature::key_id;
use super::text::micros;

/// Bytes of a file of public keys at most.
const FILE_LIMIT: u64 = 1024 * 1024;

/// A key, as far as everybody may know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// What it is called: the beginning of its public half, in hexadecimal.
    #[serde(rename = "key_id")]
    pub key: String,
    /// Its public half, base64.
    pub public_key: String,
    /// Since when it signs; absent for one from before this was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// When another took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// The key before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// What the key before it says of it: a signature over `systemprompt checkpoint key ` and its public half; base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement: Option<String>,
}

/// Why keys cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The key is none.
    #[error("{0} holds no Ed25519 key")]
    NotAKey(PathBuf),
    /// Others may read the key.
    #[error(
        "{path} may be read or written by others (mode {mode:03o}): whoever has it can sign. Make it yours alone with \
         `chmod 600 {path}`, and if somebody may have read it exchange it with `systemprompt infra logs audit keys rotate`"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A line is no public key.
    #[error("line {line} of {path} is no public key: {why}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// There is nothing to exchange.
    #[error("there is no key in {0} yet: the first start of the server makes one")]
    None(PathBuf),
}

impl PublicKey {
    fn of(public: &[u8]) -> Self {
        Self {
            key: key_id(public),
            public_key: BASE64.encode(public),
            since: None,
            until: None,
            follows: None,
            endorsement: None,
        }
    }

    /// The bytes of the public half, if it is one and the key is called by it.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        let bytes = BASE64.decode(&self.public_key).ok()?;
        (bytes.len() == 32 && key_id(&bytes) == self.key).then_some(bytes)
    }

    /// Whether the key `before` vouches for it.
    pub fn is_endorsed_by(&self, before: &Self) -> bool {
        let (Some(public), Some(own), Some(endorsement)) = (before.bytes(), self.bytes(), &self.endorsement) else {
            return false;
        };
        let signature = BASE64.decode(endorsement).unwrap_or_default();
        UnparsedPublicKey::new(&ED25519, public).verify(&endorsed(&own), &signature).is_ok()
    }
}

/// The key that signs in this home, made if there is none and `make` says so, and written down among the public ones.
pub(super) fn signing_key(directory: &Path) -> Result<Ed25519KeyPair, KeyError> {
    create_private_dir(directory).map_err(failed(directory))?;
    let key = match read_key(directory)? {
        Some(key) => key,
        None => new_key(directory)?,
    };
    // Written down by whoever uses it first; a key from before there was such a list is in it then, too.
    let mut known = known(directory)?;
    let own = PublicKey::of(key.public_key().as_ref());
    if known.iter().all(|known| known.key != own.key) {
        known.push(own);
        write_known(directory, &known)?;
    }
    Ok(key)
}

/// The public halves of all keys of this home, the one that signs last. Makes and changes nothing.
pub fn public_keys(directory: &Path) -> Result<Vec<PublicKey>, KeyError> {
    let mut keys = known(directory)?;
    if let Some(key) = read_key(directory)? {
        let own = PublicKey::of(key.public_key().as_ref());
        if keys.iter().all(|known| known.key != own.key) {
            keys.push(own);
        }
    }
    Ok(keys)
}

/// The public keys of a file: lines of JSON, as `keys list` prints them and the home holds them.
pub fn read_public_keys(path: &Path) -> Result<Vec<PublicKey>, KeyError> {
    use std::io::Read as _;
    let file = fs::File::open(path).map_err(failed(path))?;
    let mut keys = Vec::new();
    for (index, line) in BufReader::new(file.take(FILE_LIMIT)).lines().enumerate() {
        let line = line.map_err(failed(path))?;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |why: String| KeyError::Line { path: path.to_owned(), line: index + 1, why };
        let key: PublicKey = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
        if key.bytes().is_none() {
            return Err(wrong("`public_key` is not 32 bytes in base64, or `key_id` is not how they begin".to_owned()));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Exchanges the key that signs for a new one, and gives both.
pub fn rotate(directory: &Path, now: DateTime<Utc>) -> Result<(PublicKey, PublicKey), KeyError> {
    // Whatever its mode is: exchanging it is what helps.
    let Some(old) = read_key_of_any_mode(directory)? else { return Err(KeyError::None(key_file(directory))) };
    let before = PublicKey::of(old.public_key().as_ref());
    let mut known = known(directory)?;
    if known.iter().all(|known| known.key != before.key) {
        known.push(before.clone());
    }
    let der = generate(directory)?;
    let new = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| KeyError::NotAKey(key_file(directory)))?;
    let public = new.public_key().as_ref();
    let after = PublicKey {
        since: Some(micros(now)),
        follows: Some(before.key.clone()),
        endorsement: Some(BASE64.encode(old.sign(&endorsed(public)))),
        ..PublicKey::of(public)
    };
    let retired = PublicKey { until: Some(micros(now)), ..before };
    for key in known.iter_mut().filter(|key| key.key == retired.key) {
        key.until = retired.until;
    }
    known.push(after.clone());
    // The public half first: a key that signs and is not known makes its own checkpoints look forged.
    write_known(directory, &known)?;
    write_key(directory, &der)?;
    Ok((retired, after))
}

fn endorsed(public: &[u8]) -> Vec<u8> {
    [b"systemprompt checkpoint key ", public].concat()
}

fn known(directory: &Path) -> Result<Vec<PublicKey>, KeyError> {
    match read_public_keys(&public_file(directory)) {
        Err(KeyError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        keys => keys,
    }
}

fn write_known(directory: &Path, keys: &[PublicKey]) -> Result<(), KeyError> {
    let path = public_file(directory);
    let mut text = String::new();
    for key in keys {
        text.push_str(&serde_json::to_string(key).map_err(io::Error::from).map_err(failed(&path))?);
        text.push('\n');
    }
    write_secret_file(&path, text.as_bytes()).map_err(failed(&path))
}

fn read_key(directory: &Path) -> Result<Option<Ed25519KeyPair>, KeyError> {
    let path = key_file(directory);
    match open_mode(&path) {
        Ok(Some(mode)) => Err(KeyError::Exposed { path, mode }),
        Ok(None) => read_key_of_any_mode(directory),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&path)(error)),
    }
}

fn read_key_of_any_mode(directory: &Path) -> Result<Option<Ed25519KeyPair>, KeyError> {
    let path = key_file(directory);
    let text = match fs::read_to_string(&path) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&path)(error)),
    };
    let key = BASE64.decode(text.expose().trim()).ok().and_then(|der| Ed25519KeyPair::from_pkcs8(&der).ok());
    key.map(Some).ok_or(KeyError::NotAKey(path))
}

fn new_key(directory: &Path) -> Result<Ed25519KeyPair, KeyError> {
    let der = generate(directory)?;
    write_key(directory, &der)?;
    Ed25519KeyPair::from_pkcs8(&der).map_err(|_| KeyError::NotAKey(key_file(directory)))
}

fn generate(directory: &Path) -> Result<Vec<u8>, KeyError> {
    let der = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())
        .map_err(|_| KeyError::NotAKey(key_file(directory)))?;
    Ok(der.as_ref().to_vec())
}

fn write_key(directory: &Path, der: &[u8]) -> Result<(), KeyError> {
    let path = key_file(directory);
    let text = Secret::new(BASE64.encode(der));
    write_secret_file(&path, text.expose().as_bytes()).map_err(failed(&path))
}

fn key_file(directory: &Path) -> PathBuf {
    directory.join("checkpoint.key")
}

fn public_file(directory: &Path) -> PathBuf {
    directory.join("checkpoint-keys.jsonl")
}

fn failed(path: &Path) -> impl Fn(io::Error) -> KeyError + use<> {
    let path = path.to_owned();
    move |source| KeyError::File { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_that_is_exchanged_vouches_for_the_next_and_is_remembered() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(rotate(home.path(), DateTime::UNIX_EPOCH), Err(KeyError::None(_))));
        let first = signing_key(home.path()).unwrap();
        let (retired, second) = rotate(home.path(), DateTime::UNIX_EPOCH).unwrap();
        let (_, third) = rotate(home.path(), DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(retired.bytes().unwrap(), first.public_key().as_ref());
        let keys = public_keys(home.path()).unwrap();
        assert_eq!(keys.iter().map(|key| &key.key).collect::<Vec<_>>(), [&retired.key, &second.key, &third.key]);
        assert!(keys[1].is_endorsed_by(&keys[0]) && keys[2].is_endorsed_by(&keys[1]));
        assert!(!keys[2].is_endorsed_by(&keys[0]) && !keys[0].is_endorsed_by(&keys[1]));
        assert_eq!(keys.iter().filter(|key| key.until.is_none()).count(), 1);
        assert_eq!(signing_key(home.path()).unwrap().public_key().as_ref(), keys[2].bytes().unwrap());
    }

    #[test]
    fn a_key_others_may_read_signs_nothing_until_it_is_exchanged() {
        let home = tempfile::tempdir().unwrap();
        signing_key(home.path()).unwrap();
        let path = key_file(home.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = signing_key(home.path()).unwrap_err();
        assert!(matches!(error, KeyError::Exposed { mode: 0o644, .. }), "{error}");
        rotate(home.path(), DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        signing_key(home.path()).unwrap();
    }
}
