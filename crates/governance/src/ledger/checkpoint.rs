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

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use systemprompt_config::files::write_secret_file;
use systemprompt_extension::ledger::{ChainHead, Checkpoint};
use uuid::Uuid;

use super::entry::DROPPED;
use super::keys::{self, KeyError, PublicKey};
use super::report::{LedgerProblem, VerifyReport};
use super::signature::Signature;
use super::text::micros;
use super::{chains, lines};

/// Lines kept in the file: more than a year of hourly ones.
const KEPT: usize = 10_000;

/// Bytes of a line at most: the ends of thousands of chains.
const LINE_LIMIT: u64 = 4 * 1024 * 1024;

/// Bytes of the file at most.
const FILE_LIMIT: u64 = 1024 * 1024 * 1024;

/// Bytes a line has at least. A file that has no more than `KEPT` of them has no more lines.
const SHORTEST: u64 = 128;

/// The checkpoints of one home, for whoever writes them: its key and its file.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    directory: Arc<Path>,
}

/// What a home remembers, for verification.
#[derive(Debug, Default)]
pub struct Remembered {
    /// The chain of the installation in this home.
    pub(super) chain: Option<Uuid>,
    /// What was signed here, oldest first.
    pub(super) checkpoints: Vec<SignedCheckpoint>,
    /// What was signed, here or elsewhere, and kept elsewhere.
    pub(super) brought: Vec<SignedCheckpoint>,
    /// The public halves of the keys that ever signed here, and of those the reader trusts besides.
    pub(super) keys: Vec<PublicKey>,
    /// How many lines nobody with one of the keys wrote.
    pub(super) forged: usize,
    /// What is wrong with copies that were brought.
    pub(super) problems: Vec<LedgerProblem>,
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
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
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
    /// Who signed.
    #[serde(flatten)]
    pub signature: Signature,
}

impl Checkpoints {
    /// The checkpoints below this directory. Makes the directory and a key if there is none yet.
    pub fn open(directory: &Path) -> Result<Self, CheckpointError> {
        keys::signing_key(directory)?;
        Ok(Self { directory: directory.into() })
    }

    /// Signs where chains end, or which entries are dropped, with the key that is in the home now.
    pub fn sign(
        &self,
        at: DateTime<Utc>,
        dropped: Vec<ChainHead>,
        heads: Vec<ChainHead>,
    ) -> Result<SignedCheckpoint, CheckpointError> {
        let key = keys::signing_key(&self.directory)?;
        let at = micros(at);
        let signature = Signature::of(&key, at, &dropped, &heads);
        Ok(SignedCheckpoint { at, dropped, heads, signature })
    }

    /// Signs and writes down, on disk when this returns. `only_first`: unless there is a file already.
    pub(super) async fn write(
        &self,
        at: DateTime<Utc>,
        dropped: Vec<ChainHead>,
        heads: Vec<ChainHead>,
        only_first: bool,
    ) -> Result<SignedCheckpoint, CheckpointError> {
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let signed = this.sign(at, dropped, heads)?;
            let path = lines_file(&this.directory);
            if only_first && path.exists() {
                return Ok(signed);
            }
            // In the log output too, whatever becomes of the file.
            tracing::info!(
                key = signed.signature.key,
                dropped = serde_json::to_string(&signed.dropped).unwrap_or_default(),
                heads = serde_json::to_string(&signed.heads).unwrap_or_default(),
                signature = signed.signature.text,
                "ledger checkpoint"
            );
            append(&path, &signed).map_err(failed(&path))?;
            Ok(signed)
        });
        written.await.map_err(|_| CheckpointError::Stopped)?
    }
}

impl Remembered {
    /// What the home with this directory remembers. `installation` is its name, if it has one already. Makes and changes
    /// nothing.
    pub fn read(directory: &Path, installation: Option<&str>) -> Result<Self, CheckpointError> {
        let keys = keys::public_keys(directory)?;
        let mut remembered = Self { chain: installation.map(chains::chain_of), keys, ..Self::default() };
        let path = lines_file(directory);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(remembered),
            Err(source) => return Err(CheckpointError::File { path, source }),
        };
        let mut reader = BufReader::new(file.take(FILE_LIMIT));
        while let Some(line) = lines::next(&mut reader, LINE_LIMIT).map_err(failed(&path))? {
            match serde_json::from_slice::<SignedCheckpoint>(&line.text) {
                Ok(checkpoint) if checkpoint.is_signed_by_one_of(&remembered.keys) => {
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

    /// The checkpoints of the home, oldest first.
    pub fn checkpoints(&self) -> &[SignedCheckpoint] {
        &self.checkpoints
    }

    /// The public halves of the keys that are trusted.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Trusts these keys besides those of the home.
    pub fn trust(&mut self, keys: Vec<PublicKey>) {
        self.keys.extend(keys);
    }

    /// Remembers a copy of checkpoints that was kept elsewhere, too: lines as the home and the log output have them. What is
    /// not signed by a key that is trusted is a problem.
    pub fn bring(&mut self, path: &Path) -> Result<(), CheckpointError> {
        let file = File::open(path).map_err(failed(path))?;
        let mut reader = BufReader::new(file.take(FILE_LIMIT));
        let mut number = 0;
        while let Some(line) = lines::next(&mut reader, LINE_LIMIT).map_err(failed(path))? {
            number += 1;
            if line.text.trim_ascii().is_empty() {
                continue;
            }
            let place = format!("line {number} of {}", path.display());
            match serde_json::from_slice::<SignedCheckpoint>(&line.text) {
                Ok(checkpoint) if checkpoint.is_signed_by_one_of(&self.keys) => self.brought.push(checkpoint),
                Ok(checkpoint) => {
                    let key = &checkpoint.signature.key;
                    let why = if self.keys.iter().any(|known| known.key == *key) {
                        format!("{place} is not what the key {key} signed")
                    } else {
                        format!(
                            "{place} is signed by the key {key}, which is not known here; name its public half with --key"
                        )
                    };
                    self.problems.push(LedgerProblem::of(why));
                }
                Err(error) => self.problems.push(LedgerProblem::of(format!("{place} is no checkpoint: {error}"))),
            }
        }
        Ok(())
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
            checkpoints: self.checkpoints.len() + self.brought.len(),
            content: 0,
            erased: 0,
            accounts: 0,
            projections: Vec::new(),
            problems: self.problems(),
            notes: self.notes.clone(),
        }
    }

    /// What is wrong with the file itself.
    pub(super) fn problems(&self) -> Vec<LedgerProblem> {
        let mut problems = self.problems.clone();
        if self.forged > 0 {
            let problem = format!("{} lines of the checkpoints in the home are not signed by its key", self.forged);
            problems.push(LedgerProblem::of(problem));
        }
        problems
    }
}

impl SignedCheckpoint {
    /// What an entry of the log says and is signed.
    pub(crate) fn in_log(checkpoint: &Checkpoint) -> Option<Self> {
        let (Some(key), Some(public_key), Some(signature)) =
            (&checkpoint.key, &checkpoint.public_key, &checkpoint.signature)
        else {
            return None;
        };
        let signature = Signature { key: key.clone(), public_key: public_key.clone(), text: signature.clone() };
        let (dropped, heads) = if checkpoint.reason == DROPPED {
            (checkpoint.heads.clone(), Vec::new())
        } else {
            (Vec::new(), checkpoint.heads.clone())
        };
        Some(Self { at: checkpoint.at, dropped, heads, signature })
    }

    /// Whether it is what the key that it names, public half and all, has signed. Whose key that is is another question.
    pub(super) fn is_consistent(&self) -> bool {
        let named = PublicKey {
            key: self.signature.key.clone(),
            public_key: self.signature.public_key.clone(),
            since: None,
            until: None,
            follows: None,
            endorsement: None,
        };
        self.is_signed_by_one_of(&[named])
    }

    fn is_signed_by_one_of(&self, keys: &[PublicKey]) -> bool {
        let mut signers = keys.iter().filter(|key| key.key == self.signature.key).filter_map(PublicKey::bytes);
        signers.any(|public| self.signature.is_by(&public, self.at, &self.dropped, &self.heads))
    }
}

fn append(path: &Path, checkpoint: &SignedCheckpoint) -> io::Result<()> {
    let mut line = serde_json::to_string(checkpoint)?;
    line.push('\n');
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    cut_torn_line(&mut file)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    if file.metadata()?.len() > SHORTEST * KEPT as u64 {
        shorten(path)?;
    }
    Ok(())
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

fn lines_file(directory: &Path) -> PathBuf {
    directory.join("checkpoints.jsonl")
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CheckpointError + use<> {
    let path = path.to_owned();
    move |source| CheckpointError::File { path: path.clone(), source }
}
