//! Where the chains end, remembered outside of the database.
//!
//! A chain shows when one of its entries was changed or taken out. It cannot show by itself that its last entries are
//! missing. So at least hourly, and at every shutdown, a server writes a *checkpoint*: the ends of all chains, as an entry
//! of its own chain, as a signed line of a file in its home, and in its log output. Whoever can write to the database but
//! not to the home cannot shorten a chain unnoticed; and as every chain speaks of all others, neither can who has one home.
//!
//! The same goes for beginnings: before retention drops a segment, the server that does it writes down, in both places, which
//! entries go.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use systemprompt_config::files::{create_private_dir, write_secret_file};
use systemprompt_extension::ledger::ChainHead;
use systemprompt_model::Secret;
use uuid::Uuid;

use super::canonical::CanonicalObject;
use super::report::{LedgerProblem, VerifyReport};
use super::text::micros;
use super::{chains, entry, lines};

/// Lines kept in the file: more than a year of hourly ones.
const KEPT: usize = 10_000;

/// Bytes of a line at most: the ends of thousands of chains.
const LINE_LIMIT: u64 = 4 * 1024 * 1024;

/// Bytes of the file at most.
const FILE_LIMIT: u64 = 1024 * 1024 * 1024;

/// Bytes a line has at least. A file that has no more than `KEPT` of them has no more lines.
const SHORTEST: u64 = 128;

/// The checkpoints of one home, for whoever writes them: its key and its file.
#[derive(Clone)]
pub struct Checkpoints {
    home: Arc<Home>,
}

struct Home {
    directory: PathBuf,
    key: Ed25519KeyPair,
}

/// What a home remembers, for verification.
#[derive(Debug, Default)]
pub struct Remembered {
    /// The chain of the installation in this home.
    pub(super) chain: Option<Uuid>,
    /// What was signed here, oldest first.
    pub(super) checkpoints: Vec<SignedCheckpoint>,
    /// How many lines nobody with the key wrote.
    pub(super) forged: usize,
    /// What deserves to be known about the file.
    pub(super) notes: Vec<String>,
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
    /// The last entry of each chain in a segment that retention drops.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<ChainHead>,
    /// The end of every chain.
    pub heads: Vec<ChainHead>,
    /// Which key signed: the beginning of its public half, in hexadecimal.
    pub key: String,
    /// The Ed25519 signature over the canonical JSON of `{"at", "dropped", "heads"}`, `at` in microseconds since 1970,
    /// `dropped` only if there is something in it; base64.
    pub signature: String,
}

impl Checkpoints {
    /// The checkpoints below this directory. Makes the directory and a key if there is none yet.
    pub fn open(directory: &Path) -> Result<Self, CheckpointError> {
        create_private_dir(directory).map_err(failed(directory))?;
        let path = key_file(directory);
        let key = if let Some(key) = read_key(&path)? {
            key
        } else {
            let new = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())
                .map_err(|_| CheckpointError::Key(path.clone()))?;
            let text = BASE64.encode(new.as_ref());
            write_secret_file(&path, text.as_bytes()).map_err(failed(&path))?;
            Ed25519KeyPair::from_pkcs8(new.as_ref()).map_err(|_| CheckpointError::Key(path))?
        };
        Ok(Self { home: Arc::new(Home { directory: directory.to_owned(), key }) })
    }

    /// Which key signs.
    pub(super) fn key_id(&self) -> String {
        key_id(&self.home.key)
    }

    /// Signs and writes down, on disk when this returns. `only_first`: unless there is a file already.
    pub(super) async fn write(
        &self,
        at: DateTime<Utc>,
        dropped: Vec<ChainHead>,
        heads: Vec<ChainHead>,
        only_first: bool,
    ) -> Result<(), CheckpointError> {
        let home = Arc::clone(&self.home);
        let written = tokio::task::spawn_blocking(move || {
            if only_first && lines_file(&home.directory).exists() {
                return Ok(());
            }
            let signed = home.sign(at, dropped, heads);
            // In the log output too, whatever becomes of the file.
            tracing::info!(
                key = signed.key,
                dropped = serde_json::to_string(&signed.dropped).unwrap_or_default(),
                heads = serde_json::to_string(&signed.heads).unwrap_or_default(),
                signature = signed.signature,
                "ledger checkpoint"
            );
            home.write(&signed).map_err(failed(&lines_file(&home.directory)))
        });
        written.await.map_err(|_| CheckpointError::Stopped)?
    }
}

impl Remembered {
    /// What the home with this directory remembers. `installation` is its name, if it has one already. Makes and changes
    /// nothing.
    pub fn read(directory: &Path, installation: Option<&str>) -> Result<Self, CheckpointError> {
        let mut remembered = Self { chain: installation.map(chains::chain_of), ..Self::default() };
        let key = read_key(&key_file(directory))?;
        let path = lines_file(directory);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(remembered),
            Err(source) => return Err(CheckpointError::File { path, source }),
        };
        let mut reader = BufReader::new(file.take(FILE_LIMIT));
        while let Some(line) = lines::next(&mut reader, LINE_LIMIT).map_err(failed(&path))? {
            match serde_json::from_slice::<SignedCheckpoint>(&line.text) {
                Ok(checkpoint) if key.as_ref().is_some_and(|key| checkpoint.is_signed_by(key)) => {
                    remembered.checkpoints.push(checkpoint);
                }
                Err(_) if !line.is_whole => {
                    remembered.notes.push(format!(
                        "the last line of {} is incomplete: the server stopped while it was written",
                        path.display()
                    ));
                }
                _ => remembered.forged += 1,
            }
        }
        Ok(remembered)
    }

    /// From when on nothing may be missing in the file; nothing if older lines may have been taken out.
    pub(super) fn begins(&self) -> Option<DateTime<Utc>> {
        self.checkpoints.first().map(|first| first.at).filter(|_| self.checkpoints.len() < KEPT)
    }

    /// The report of a verification that has only looked at the home so far.
    pub(super) fn report(&self) -> VerifyReport {
        VerifyReport {
            verified: 0,
            chains: Vec::new(),
            checkpoints: self.checkpoints.len(),
            projections: Vec::new(),
            problems: self.problems(),
            notes: self.notes.clone(),
        }
    }

    /// What is wrong with the file itself.
    pub(super) fn problems(&self) -> Vec<LedgerProblem> {
        if self.forged == 0 {
            return Vec::new();
        }
        let problem = format!("{} lines of the checkpoints in the home are not signed by its key", self.forged);
        vec![LedgerProblem { chain: None, seq: None, action: None, projection: None, problem }]
    }
}

impl Home {
    fn sign(&self, at: DateTime<Utc>, dropped: Vec<ChainHead>, heads: Vec<ChainHead>) -> SignedCheckpoint {
        let at = micros(at);
        let signature = BASE64.encode(self.key.sign(signed_text(at, &dropped, &heads).as_bytes()));
        SignedCheckpoint { at, dropped, heads, key: key_id(&self.key), signature }
    }

    fn write(&self, checkpoint: &SignedCheckpoint) -> io::Result<()> {
        let path = lines_file(&self.directory);
        let mut line = serde_json::to_string(checkpoint)?;
        line.push('\n');
        let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&path)?;
        cut_torn_line(&mut file)?;
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        if file.metadata()?.len() > SHORTEST * KEPT as u64 {
            shorten(&path)?;
        }
        Ok(())
    }
}

impl SignedCheckpoint {
    fn is_signed_by(&self, key: &Ed25519KeyPair) -> bool {
        let public = UnparsedPublicKey::new(&ED25519, key.public_key());
        let text = signed_text(self.at, &self.dropped, &self.heads);
        BASE64.decode(&self.signature).is_ok_and(|signature| public.verify(text.as_bytes(), &signature).is_ok())
    }
}

impl std::fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoints").field("directory", &self.home.directory).finish_non_exhaustive()
    }
}

/// Removes what an earlier run had begun to write when it was stopped, so that the next line stands alone.
fn cut_torn_line(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let tail = length.saturating_sub(LINE_LIMIT);
    file.seek(SeekFrom::Start(tail))?;
    let mut text = Vec::new();
    (&mut *file).take(LINE_LIMIT).read_to_end(&mut text)?;
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    if whole < text.len() {
        file.set_len(tail + whole as u64)?;
    }
    Ok(())
}

/// Takes out the oldest lines, except those about what was dropped: verification begins there for ever.
fn shorten(path: &Path) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?.take(FILE_LIMIT));
    let mut all = Vec::new();
    while let Some(line) = lines::next(&mut reader, LINE_LIMIT)? {
        all.push(line.text);
    }
    if all.len() <= KEPT + KEPT / 10 {
        return Ok(());
    }
    let surplus = all.len() - KEPT;
    let cuts =
        |line: &[u8]| serde_json::from_slice::<SignedCheckpoint>(line).is_ok_and(|line| !line.dropped.is_empty());
    let mut kept = Vec::new();
    for (index, line) in all.iter().enumerate() {
        if index >= surplus || cuts(line) {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
    }
    write_secret_file(path, &kept)
}

fn read_key(path: &Path) -> Result<Option<Ed25519KeyPair>, CheckpointError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path)(error)),
    };
    let key = BASE64.decode(text.expose().trim()).ok().and_then(|der| Ed25519KeyPair::from_pkcs8(&der).ok());
    key.map(Some).ok_or_else(|| CheckpointError::Key(path.to_owned()))
}

fn key_id(key: &Ed25519KeyPair) -> String {
    hex::encode(&key.public_key().as_ref()[..8])
}

fn key_file(directory: &Path) -> PathBuf {
    directory.join("checkpoint.key")
}

fn lines_file(directory: &Path) -> PathBuf {
    directory.join("checkpoints.jsonl")
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CheckpointError + use<> {
    let path = path.to_owned();
    move |source| CheckpointError::File { path: path.clone(), source }
}

fn signed_text(at: DateTime<Utc>, dropped: &[ChainHead], heads: &[ChainHead]) -> String {
    let mut text = CanonicalObject::with_capacity(256);
    text.time("at", Some(at));
    let list = |heads: &[ChainHead]| format!("[{}]", heads.iter().map(entry::head_json).collect::<Vec<_>>().join(","));
    if !dropped.is_empty() {
        text.json("dropped", Some(&list(dropped)));
    }
    text.json("heads", Some(&list(heads)));
    text.finish()
}
