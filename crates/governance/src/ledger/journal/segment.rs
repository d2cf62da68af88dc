//! A file of the journal, and whether it is still needed.
//!
//! It begins with a word and a salt. Its records are sealed one by one with AES-256-GCM, under a key that is derived from the
//! home's own and the salt; the number of a record is its nonce, so one that is changed, moved, taken out or brought
//! in from elsewhere cannot be opened. A process that dies leaves at most its last record half-written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

use super::super::content::KeptPart;
use super::super::entry::Sealed;
use super::record::{self, Record, What};

const MAGIC: &[u8; 8] = b"spjrnl1\n";
const SALT: usize = 32;
/// No record is as long as this.
const RECORD_LIMIT: usize = 64 * 1024 * 1024;

/// A segment, for whoever waits for its entries to be written elsewhere.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    /// Entries in it that are nowhere else yet.
    waiting: AtomicU64,
    /// Nothing is added to it any more.
    closed: AtomicBool,
}

/// The segment that records are added to.
pub(super) struct Open {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<File>,
    key: LessSafeKey,
    /// The number of the next record.
    next: u64,
    pub(super) bytes: u64,
    buffer: Vec<u8>,
}

/// What was found in a segment of an earlier run.
pub(super) struct Contents {
    pub(super) records: Vec<Record>,
    /// Something in it was changed by somebody without the key; what follows was not read.
    pub(super) is_damaged: bool,
}

impl Segment {
    /// An entry of it is written elsewhere, or needs not be.
    pub(super) fn settle(&self) {
        if self.waiting.fetch_sub(1, Ordering::SeqCst) == 1 && self.closed.load(Ordering::SeqCst) {
            self.remove();
        }
    }

    /// Nothing is added to it any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) == 0 {
            self.remove();
        }
    }

    fn remove(&self) {
        // What stays is found by the next start, and is in the ledger already.
        let _ = fs::remove_file(&self.path);
    }
}

impl Open {
    /// Begins a segment.
    pub(super) fn begin(path: PathBuf, secret: &[u8]) -> io::Result<Self> {
        let mut salt = [0; SALT];
        aws_lc_rs::rand::fill(&mut salt).map_err(io::Error::other)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&[&MAGIC[..], &salt].concat())?;
        let segment = Segment { path, waiting: AtomicU64::new(0), closed: AtomicBool::new(false) };
        Ok(Self {
            segment: Arc::new(segment),
            file: Arc::new(file),
            key: key(secret, &salt)?,
            next: 0,
            bytes: (MAGIC.len() + SALT) as u64,
            buffer: Vec::with_capacity(8 * 1024),
        })
    }

    /// Adds a record, and gives its length. It is in the hands of the system when this returns, so it survives this process.
    pub(super) fn add(&mut self, what: What, entry: &Sealed, content: &[KeptPart]) -> io::Result<u64> {
        self.buffer.clear();
        self.buffer.extend_from_slice(&[0; 4]);
        record::encode(what, entry, content, &mut self.buffer);
        let nonce = nonce(self.next);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut self.buffer[4..]);
        let tag = tag.map_err(io::Error::other)?;
        self.buffer.extend_from_slice(tag.as_ref());
        let length = (self.buffer.len() - 4) as u32;
        self.buffer[..4].copy_from_slice(&length.to_le_bytes());
        (&*self.file).write_all(&self.buffer)?;
        self.next += 1;
        let written = self.buffer.len() as u64;
        self.bytes += written;
        if what == What::Entry {
            self.segment.waiting.fetch_add(1, Ordering::SeqCst);
        }
        if self.buffer.capacity() > 256 * 1024 {
            self.buffer = Vec::with_capacity(8 * 1024);
        }
        Ok(written)
    }
}

/// Reads a segment as far as it goes.
pub(super) fn read(path: &Path, secret: &[u8]) -> io::Result<Contents> {
    let mut reader = BufReader::with_capacity(256 * 1024, File::open(path)?);
    let mut contents = Contents { records: Vec::new(), is_damaged: false };
    let mut head = [0; MAGIC.len() + SALT];
    if !fill(&mut reader, &mut head)? {
        return Ok(contents);
    }
    if &head[..MAGIC.len()] != MAGIC {
        contents.is_damaged = true;
        return Ok(contents);
    }
    let key = key(secret, &head[MAGIC.len()..])?;
    for number in 0.. {
        let mut length = [0; 4];
        if !fill(&mut reader, &mut length)? {
            break;
        }
        let length = u32::from_le_bytes(length) as usize;
        let mut sealed = Vec::new();
        if length > RECORD_LIMIT {
            contents.is_damaged = true;
            break;
        }
        sealed.resize(length, 0);
        if !fill(&mut reader, &mut sealed)? {
            break;
        }
        let opened = key.open_in_place(nonce(number), Aad::empty(), &mut sealed).ok();
        let Some(record) = opened.and_then(|bytes| record::decode(bytes)) else {
            contents.is_damaged = true;
            break;
        };
        contents.records.push(record);
    }
    Ok(contents)
}

/// Fills the buffer; `false` if the file ends before: it was being written when the process died.
fn fill(reader: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn key(secret: &[u8], salt: &[u8]) -> io::Result<LessSafeKey> {
    let derived = Salt::new(HKDF_SHA256, salt).extract(secret);
    let derived = derived.expand(&[b"systemprompt ledger journal"], &AES_256_GCM).map_err(io::Error::other)?;
    Ok(LessSafeKey::new(UnboundKey::from(derived)))
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}
