//! Where the chains end, remembered outside of the database.
//!
//! A chain shows when one of its entries was changed or taken out. It cannot show by itself that its last entries are
//! missing. So at least hourly, and at every shutdown, a server writes a *checkpoint*: the ends of all chains, as an entry
//! of its own chain, as a signed line of a file in its home, and in its log output. Whoever can write to the database but
//! not to the home cannot shorten a chain unnoticed; and as every chain speaks of all others, neither can who has one home.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use systemprompt_config::files::{create_private_dir, write_secret_file};
use systemprompt_extension::ledger::ChainHead;
use systemprompt_model::Secret;

use super::canonical::CanonicalObject;
use super::entry;
use super::text::micros;

/// Lines kept in the file: more than a year of hourly ones.
const KEPT: usize = 10_000;

/// The checkpoints of one home: its key and its file.
pub struct Checkpoints {
    directory: PathBuf,
    key: Ed25519KeyPair,
}

/// Why checkpoints cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
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
    Key(PathBuf),
    /// The database.
    #[error("reading where the chains end")]
    Database(#[from] sqlx::Error),
    /// The ledger stopped.
    #[error("the ledger takes no entries any more")]
    Stopped,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedCheckpoint {
    /// When.
    pub at: DateTime<Utc>,
    /// The end of every chain.
    pub heads: Vec<ChainHead>,
    /// Which key signed: the beginning of its public half, in hexadecimal.
    pub key: String,
    /// The Ed25519 signature over the canonical JSON of `{"at", "heads"}`, `at` in microseconds since 1970; base64.
    pub signature: String,
}

impl Checkpoints {
    /// The checkpoints below this directory. Makes the directory and a key if there is none yet.
    pub fn open(directory: &Path) -> Result<Self, CheckpointError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CheckpointError::File { path, source }
        };
        create_private_dir(directory).map_err(failed(directory))?;
        let path = directory.join("checkpoint.key");
        let stored = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let new = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())
                    .map_err(|_| CheckpointError::Key(path.clone()))?;
                let text = BASE64.encode(new.as_ref());
                write_secret_file(&path, text.as_bytes()).map_err(failed(&path))?;
                text
            }
            Err(error) => return Err(failed(&path)(error)),
        };
        let stored = Secret::new(stored);
        let key = BASE64.decode(stored.expose().trim()).ok().and_then(|der| Ed25519KeyPair::from_pkcs8(&der).ok());
        let key = key.ok_or_else(|| CheckpointError::Key(path))?;
        Ok(Self { directory: directory.to_owned(), key })
    }

    /// The lines of the file, oldest first; those that nobody with the key wrote are left out and counted.
    pub fn read(&self) -> Result<(Vec<SignedCheckpoint>, usize), CheckpointError> {
        let path = self.file();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            Err(source) => return Err(CheckpointError::File { path, source }),
        };
        let (mut sound, mut forged) = (Vec::new(), 0);
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|source| CheckpointError::File { path: path.clone(), source })?;
            match serde_json::from_str::<SignedCheckpoint>(&line) {
                Ok(checkpoint) if self.is_ours(&checkpoint) => sound.push(checkpoint),
                _ => forged += 1,
            }
        }
        Ok((sound, forged))
    }

    pub(super) fn sign(&self, at: DateTime<Utc>, heads: Vec<ChainHead>) -> SignedCheckpoint {
        let at = micros(at);
        let signature = BASE64.encode(self.key.sign(signed_text(at, &heads).as_bytes()));
        SignedCheckpoint { at, heads, key: self.key_id(), signature }
    }

    fn is_ours(&self, checkpoint: &SignedCheckpoint) -> bool {
        let public = UnparsedPublicKey::new(&ED25519, self.key.public_key());
        let text = signed_text(checkpoint.at, &checkpoint.heads);
        BASE64.decode(&checkpoint.signature).is_ok_and(|signature| public.verify(text.as_bytes(), &signature).is_ok())
    }

    fn key_id(&self) -> String {
        hex::encode(&self.key.public_key().as_ref()[..8])
    }

    /// Adds a line, on disk when this returns.
    pub(super) fn write(&self, checkpoint: &SignedCheckpoint) -> io::Result<()> {
        let path = self.file();
        let mut line = serde_json::to_string(checkpoint)?;
        line.push('\n');
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        let lines: Vec<String> = BufReader::new(File::open(&path)?).lines().collect::<Result<_, _>>()?;
        if lines.len() > KEPT + KEPT / 10 {
            let kept = lines[lines.len() - KEPT..].join("\n") + "\n";
            write_secret_file(&path, kept.as_bytes())?;
        }
        Ok(())
    }

    pub(super) fn file(&self) -> PathBuf {
        self.directory.join("checkpoints.jsonl")
    }
}

impl std::fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoints").field("directory", &self.directory).finish_non_exhaustive()
    }
}

fn signed_text(at: DateTime<Utc>, heads: &[ChainHead]) -> String {
    let mut text = CanonicalObject::with_capacity(256);
    text.time("at", Some(at));
    let heads: Vec<String> = heads.iter().map(entry::head_json).collect();
    text.json("heads", Some(&format!("[{}]", heads.join(","))));
    text.finish()
}
