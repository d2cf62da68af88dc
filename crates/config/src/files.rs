//! Files that are written whole or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The mode of files that hold secrets.
pub const SECRET_MODE: u32 = 0o600;
/// The mode of files that may be committed.
pub const PUBLIC_MODE: u32 = 0o644;

/// Replaces a file: a temporary file beside it, its mode, `fsync`, rename, `fsync` of the directory.
/// A reader sees the old or the new content, and the content is never readable by more users than `mode` says.
pub fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = beside(path);
    let written = write_new(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell; a left-over is harmless and has a name of its own.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Replaces a file that only its owner may read ([`SECRET_MODE`]), as [`write_file`] does.
pub fn write_secret_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_file(path, bytes, SECRET_MODE)
}

/// Makes a directory and its parents, only for its owner (0700) if it is new.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A mode that lets others than the owner read or write the file, if it is so.
pub fn open_mode(path: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// A new file with this content and mode, on disk when the function returns.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken bits away.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A name for a temporary sibling that no other writer uses.
pub(crate) fn beside(path: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A crashed process may have left the same name behind; the process id alone repeats in containers.
    let mut attempt = 0_u32;
    loop {
        let candidate = path.with_file_name(format!(".{name}.{}-{number}-{attempt}.tmp", std::process::id()));
        if !candidate.exists() {
            return candidate;
        }
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_secret_file_is_replaced_with_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(open_mode(&path).unwrap(), Some(0o644));

        write_secret_file(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(open_mode(&path).unwrap(), None);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "").unwrap();
        write_file(&path, b"x", PUBLIC_MODE).expect_err("a file cannot replace a directory");
        assert!(path.join("inside").is_file());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_left_over_of_a_crash_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        // What a crash between write and rename leaves.
        fs::write(beside(&path), "half").unwrap();
        write_file(&path, b"whole", PUBLIC_MODE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }
}
