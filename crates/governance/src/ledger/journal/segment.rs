//! A file of the journal, and whether it is still needed.
//!
//! It begins with a word and a salt. Its records are sealed one by one with AES-256-GCM, under a key that is derived from the
//! home's own and the salt; the number of a record is its nonce, so one that is changed, moved, taken out or brought
//! in from elsewhere cannot be opened. A process that dies leaves at most its last record half-written. Before each record
//! stand its length and a check of it, so that a length that was changed is not taken for a record that is half-written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

use super::super::content::KeptPart;
use super::super::entry::Sealed;
use super::record::{self, Record, What};

const MAGIC: &[u8; 8] = b"spjrnl2\n";
const SALT: usize = 32;
/// What stands before a record: its length, and a check of it.
const HEAD: usize = 8;
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
    /// Not all of it could be brought to disk.
    lost: AtomicBool,
}

/// The segment that records are added to.
pub(super) struct Open {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<File>,
    key: LessSafeKey,
    salt: [u8; SALT],
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

    /// What is in it may not be on disk, however often it is synced from now on: the system says so once.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::SeqCst);
    }

    /// Whether what is in it may not be on disk.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
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
        let segment =
            Segment { path, waiting: AtomicU64::new(0), closed: AtomicBool::new(false), lost: AtomicBool::new(false) };
        Ok(Self {
            segment: Arc::new(segment),
            file: Arc::new(file),
            key: key(secret, &salt)?,
            salt,
            next: 0,
            bytes: (MAGIC.len() + SALT) as u64,
            buffer: Vec::with_capacity(8 * 1024),
        })
    }

    /// Adds a record, and gives its length. It is in the hands of the system when this returns, so it survives this process.
    pub(super) fn add(&mut self, what: What, entry: &Sealed, content: &[KeptPart]) -> io::Result<u64> {
        self.buffer.clear();
        self.buffer.extend_from_slice(&[0; HEAD]);
        record::encode(what, entry, content, &mut self.buffer);
        let nonce = nonce(self.next);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut self.buffer[HEAD..]);
        let tag = tag.map_err(io::Error::other)?;
        self.buffer.extend_from_slice(tag.as_ref());
        let length = (self.buffer.len() - HEAD) as u32;
        self.buffer[..HEAD].copy_from_slice(&head(&self.salt, self.next, length));
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
    let (mut magic, mut salt) = ([0; MAGIC.len()], [0; SALT]);
    if !fill(&mut reader, &mut magic)? || !fill(&mut reader, &mut salt)? {
        return Ok(contents);
    }
    if &magic != MAGIC {
        contents.is_damaged = true;
        return Ok(contents);
    }
    let key = key(secret, &salt)?;
    for number in 0.. {
        let mut found = [0; HEAD];
        if !fill(&mut reader, &mut found)? {
            break;
        }
        let length = u32::from_le_bytes([found[0], found[1], found[2], found[3]]);
        if found != head(&salt, number, length) || length as usize > RECORD_LIMIT {
            contents.is_damaged = true;
            break;
        }
        let mut sealed = vec![0; length as usize];
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

/// `length ‖ first four bytes of SHA-256(salt ‖ number ‖ length)`. It tells a length that was changed; nobody gains by making
/// one that fits, for who can do that can cut the file off as well.
fn head(salt: &[u8; SALT], number: u64, length: u32) -> [u8; HEAD] {
    let length = length.to_le_bytes();
    let mut check = Context::new(&SHA256);
    for part in [&salt[..], &number.to_le_bytes(), &length] {
        check.update(part);
    }
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&length);
    head[4..].copy_from_slice(&check.finish().as_ref()[..4]);
    head
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
