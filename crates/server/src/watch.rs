//! Looking at the files of the configuration: when they have changed, and then not any more, it is read again.
//!
//! They are looked at instead of listened to: what mounts files into containers swaps links, and network file systems tell
//! nobody.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use systemprompt_config::Configuration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::reload::Reloader;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// Most files that are looked at, and the deepest folder.
const MOST: usize = 10_000;
const DEEPEST: usize = 12;

/// Reloads the configuration whenever its files have changed, until the server stops.
pub(crate) async fn watch(reloader: Arc<Reloader>, configuration: Arc<Configuration>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch: Option<Watch> = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let (looked_at, named) = (Arc::clone(&configuration), reloader.named_files());
        let Ok(seen) = tokio::task::spawn_blocking(move || fingerprint(&looked_at, &named)).await else { continue };
        let Some(watch) = &mut watch else {
            watch = Some(Watch::new(seen));
            continue;
        };
        if watch.saw(seen) {
            reloader.reload().await;
        }
    }
}

/// What the files looked like. A change counts when the next look finds the same, so that nobody's half-written files are
/// read.
struct Watch {
    read: u64,
    before: u64,
}

impl Watch {
    fn new(read: u64) -> Self {
        Self { read, before: read }
    }

    /// Whether it is time to read them.
    fn saw(&mut self, seen: u64) -> bool {
        let settled = seen == self.before;
        self.before = seen;
        if settled && seen != self.read {
            self.read = seen;
            return true;
        }
        false
    }
}

/// The files of a configuration, and those it names, with their sizes and times, as one number.
fn fingerprint(configuration: &Configuration, named: &[PathBuf]) -> u64 {
    let mut files = Vec::new();
    let secrets = &configuration.profile.secrets.secrets_path;
    for file in [configuration.profile_file.as_path(), &configuration.profile_path(secrets)] {
        look(file, 0, &mut files);
    }
    look(&configuration.services.root, 0, &mut files);
    for file in named {
        look(file, 0, &mut files);
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    hasher.finish()
}

type Seen = (std::path::PathBuf, u64, i64, i64, u64);

fn look(path: &Path, depth: usize, files: &mut Vec<Seen>) {
    // What is not there, or may not be read, is a state of its own: it is not in the list.
    let Ok(metadata) = std::fs::metadata(path) else { return };
    if files.len() >= MOST || depth > DEEPEST {
        return;
    }
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            look(&entry.path(), depth + 1, files);
        }
    } else {
        files.push(seen(path, &metadata));
    }
}

fn seen(path: &Path, metadata: &Metadata) -> Seen {
    (path.to_owned(), metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_once_they_rest() {
        let mut watch = Watch::new(1);
        let seen = [1, 2, 3, 3, 3, 1, 3, 1, 1];
        let read: Vec<_> = seen.into_iter().map(|seen| watch.saw(seen)).collect();
        assert_eq!(read, [false, false, false, true, false, false, false, false, true]);
    }

    #[test]
    fn a_change_of_any_file_is_seen() {
        let directory = tempfile::tempdir().expect("a directory");
        let look_at = || {
            let mut files = Vec::new();
            look(directory.path(), 0, &mut files);
            files.sort();
            files
        };
        let mut states = vec![look_at()];
        std::fs::create_dir(directory.path().join("below")).expect("a folder");
        for (file, text) in [("a", "1"), ("below/b", "1"), ("below/b", "12")] {
            std::fs::write(directory.path().join(file), text).expect("a file");
            states.push(look_at());
        }
        std::fs::remove_file(directory.path().join("a")).expect("removed");
        states.push(look_at());
        states.dedup();
        assert_eq!(states.len(), 5);
    }
}
