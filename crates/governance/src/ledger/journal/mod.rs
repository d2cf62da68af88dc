//! What waits to be written, kept in the home too, so that it survives this process.
//!
//! Ends wait in memory for some milliseconds; a process that is killed meanwhile would leave actions open of which somebody
//! has the answer. So whatever is queued without anybody waiting for it is put into a file first, and how long answers stand
//! is noted there now and then. Nothing is synced: the system keeps what was handed to it when a process dies. The next
//! start of the same home [replays](replay) what is not in the ledger, before it closes what is left open.
//!
//! Where the profile says so, the same files take decisions while the database is away. Then they are synced before anything
//! is done.

mod record;
pub(super) mod replay;
mod segment;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use systemprompt_config::files::{create_private_dir, write_secret_file};
use systemprompt_model::{Condition, Secret};

use self::record::What;
use self::segment::{Open, Segment};
use super::content::KeptPart;
use super::entry::Sealed;

/// How the name of a segment ends.
const JOURNAL: &str = "journal";
/// How it ends once somebody changed it.
const DAMAGED: &str = "damaged";

/// A segment is closed at this size, or after some minutes. It is deleted when all of its entries are in the ledger.
const SEGMENT: u64 = 8 * 1024 * 1024;

/// The longest content that is kept with an entry while the database is there: longer ones are worth less than the time to
/// write them twice.
const CONTENT_LIMIT: usize = 16 * 1024;

/// The journal of one home.
pub struct Journal {
    directory: PathBuf,
    key: Secret,
    /// Segments of earlier runs, oldest first.
    left: Mutex<Vec<PathBuf>>,
    current: Mutex<Current>,
    /// Bytes of entries that are nowhere else yet.
    waiting: Arc<AtomicU64>,
    /// How many records are on disk.
    synced: tokio::sync::Mutex<u64>,
}

#[derive(Default)]
struct Current {
    open: Option<Open>,
    /// The number of the next segment.
    next: u64,
    /// How many records were added.
    records: u64,
    /// It cannot be written.
    failing: Condition,
}

/// An entry's place in the journal. It stays there until it is [settled](Self::settle).
#[derive(Debug)]
pub(super) struct Filed {
    segment: Arc<Segment>,
    waiting: Arc<AtomicU64>,
    bytes: u64,
}

impl Filed {
    /// Whether the disk may not have it although later ones are there.
    fn is_lost(&self) -> bool {
        self.segment.is_lost()
    }

    /// The entry is in the ledger, or needs not be.
    pub(super) fn settle(self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
        self.segment.settle();
    }
}

impl Journal {
    /// The journal below this directory. Makes the directory and a key if there is none yet.
    pub fn open(directory: &Path) -> io::Result<Self> {
        create_private_dir(directory)?;
        let key = read_or_make_key(&directory.join("key"))?;
        let (mut left, mut next): (Vec<(u64, PathBuf)>, u64) = (Vec::new(), 1);
        for file in fs::read_dir(directory)? {
            let path = file?.path();
            let Some(number) = number_of(&path) else { continue };
            next = next.max(number + 1);
            if path.extension().is_some_and(|extension| extension == JOURNAL) {
                left.push((number, path));
            }
        }
        left.sort_unstable();
        Ok(Self {
            directory: directory.to_owned(),
            key,
            left: Mutex::new(left.into_iter().map(|(_, path)| path).collect()),
            current: Mutex::new(Current { next, ..Current::default() }),
            waiting: Arc::default(),
            synced: tokio::sync::Mutex::default(),
        })
    }

    /// Bytes of entries that are nowhere else yet.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Keeps an entry, with its content if that is short or `whole` is. Nothing if it cannot be kept, which is said once.
    pub(super) fn keep(&self, entry: &Sealed, content: &[KeptPart], whole: bool) -> Option<Filed> {
        let is_short = || content.iter().map(KeptPart::size).sum::<usize>() <= CONTENT_LIMIT;
        let content = if whole || is_short() { content } else { &[] };
        let (segment, bytes) = self.add(What::Entry, entry, content)?;
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        Some(Filed { segment, waiting: Arc::clone(&self.waiting), bytes })
    }

    /// Notes how an action stands: the end it has if nothing more comes.
    pub(super) fn note(&self, end: &Sealed) {
        self.add(What::Standing, end, &[]);
    }

    fn add(&self, what: What, entry: &Sealed, content: &[KeptPart]) -> Option<(Arc<Segment>, u64)> {
        let mut current = self.current();
        match current.add(&self.directory, &self.key, what, entry, content) {
            Ok(kept) => {
                if let Some(lasted) = current.failing.ends() {
                    tracing::info!(lasted_ms = lasted.as_millis() as u64, "the ledger's journal can be written again");
                }
                Some(kept)
            }
            Err(error) => {
                // What was written may end inside a record, behind which nothing can be read. Who waits for the disk is told
                // if what came before is not there.
                let _ = current.turn();
                if current.failing.begins() {
                    let directory = self.directory.display();
                    tracing::error!(%error, %directory, "the ledger's journal cannot be written; what waits is in memory only");
                }
                None
            }
        }
    }

    /// Waits until this is on disk, with everything that was kept before. Who comes while another one waits shares the next
    /// turn.
    pub(super) async fn sync(&self, filed: &Filed) -> io::Result<()> {
        self.sync_all().await?;
        // Its segment may have been closed since, and another one be on disk.
        if filed.is_lost() { Err(io::Error::other("a file of the journal could not be synced")) } else { Ok(()) }
    }

    /// Brings to disk what is not there yet.
    pub(super) async fn sync_all(&self) -> io::Result<()> {
        let wanted = self.current().records;
        let mut synced = self.synced.lock().await;
        if *synced < wanted {
            *synced = self.sync_open().await?;
        }
        Ok(())
    }

    /// Syncs the open segment, those before it having been when they were closed, and gives how many records there are by then.
    async fn sync_open(&self) -> io::Result<u64> {
        let (open, records) = {
            let current = self.current();
            let open = current.open.as_ref().map(|open| (Arc::clone(&open.file), Arc::clone(&open.segment)));
            (open, current.records)
        };
        let (file, segment) = open.unzip();
        let directory = self.directory.clone();
        let syncing = tokio::task::spawn_blocking(move || {
            if let Some(file) = file {
                file.sync_data()?;
            }
            // The names of its files.
            fs::File::open(directory)?.sync_all()
        });
        let result = syncing.await.map_err(io::Error::other).flatten();
        if let (Err(_), Some(segment)) = (&result, segment) {
            // The next attempt would succeed without having written what this one did not.
            segment.lose();
            let mut current = self.current();
            if current.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.segment, &segment)) {
                let _ = current.turn();
            }
        }
        result.map(|()| records)
    }

    /// Nothing is added to the open segment any more, and once all of it is in the ledger it goes. What comes begins another.
    pub(super) fn turn(&self) -> io::Result<()> {
        self.current().turn()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().expect("no panic while the lock is held")
    }
}

impl Current {
    fn add(
        &mut self,
        directory: &Path,
        key: &Secret,
        what: What,
        entry: &Sealed,
        content: &[KeptPart],
    ) -> io::Result<(Arc<Segment>, u64)> {
        if self.open.as_ref().is_some_and(|open| open.bytes >= SEGMENT) {
            self.turn()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let path = directory.join(format!("{:012}.{JOURNAL}", self.next));
                self.next += 1;
                none.insert(Open::begin(path, key.expose().as_bytes())?)
            }
        };
        let bytes = open.add(what, entry, content)?;
        self.records += 1;
        Ok((Arc::clone(&open.segment), bytes))
    }

    /// Closes the open segment. It is on disk then, for whoever waits for the disk waits for the next one's; or it is known
    /// not to be.
    fn turn(&mut self) -> io::Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let synced = open.file.sync_data();
        if synced.is_err() {
            open.segment.lose();
        }
        open.segment.close();
        synced
    }
}

fn read_or_make_key(path: &Path) -> io::Result<Secret> {
    match fs::read_to_string(path) {
        Ok(key) if !key.trim().is_empty() => return Ok(Secret::new(key.trim().to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(io::Error::other)?;
    let key = hex::encode(bytes);
    write_secret_file(path, key.as_bytes())?;
    Ok(Secret::new(key))
}

/// The number of a segment, also of one that was put aside.
fn number_of(path: &Path) -> Option<u64> {
    let (number, extension) = path.file_name()?.to_str()?.rsplit_once('.')?;
    [JOURNAL, DAMAGED].contains(&extension).then(|| number.parse().ok())?
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("directory", &self.directory).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};

    use systemprompt_model::{ActionId, Ambient};

    use super::*;
    use crate::ledger::entry::abandoned;

    /// A disk that takes nothing, or only says so when it is asked to sync.
    #[tokio::test]
    async fn what_is_not_on_disk_is_never_said_to_be() {
        let ambient = Ambient::system();
        let entry = || abandoned(ActionId::generate(&ambient), "infer", ambient.now());
        for takes in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let journal = Journal::open(home.path()).unwrap();
            let first = journal.keep(&entry(), &[], true).unwrap();
            let bad: File = OpenOptions::new().read(!takes).write(takes).open("/dev/null").unwrap();
            journal.current().open.as_mut().unwrap().file = Arc::new(bad);
            let second = journal.keep(&entry(), &[], true);
            assert_eq!(second.is_some(), takes);
            for filed in second.iter().chain([&first, &first]) {
                assert!(journal.sync(filed).await.is_err(), "takes: {takes}");
            }
            let third = journal.keep(&entry(), &[], true).unwrap();
            journal.sync(&third).await.expect("it is in another file");
            assert!(journal.sync(&first).await.is_err(), "takes: {takes}: that file proves nothing of it");
        }
    }
}
