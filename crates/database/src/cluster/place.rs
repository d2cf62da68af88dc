//! Where the cluster's files are.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::account::Runner;
use super::error::{ClusterError, files};

/// In the home's cluster directory: the path of the place the cluster is at, when it is not there.
const POINTER: &str = "location";
/// In such a place: the path of the directory that points to it.
const HOME: &str = "home";

/// The port is part of the socket's file name and means nothing else here.
const SOCKET_FILE: &str = ".s.PGSQL.5432";
/// `sockaddr_un` holds 108 bytes on Linux and 104 on macOS, the final zero included.
const LONGEST_SOCKET_PATH: usize = 100;

/// The directory that holds everything of one cluster, and the user who runs it.
///
/// ```text
/// data/             what initdb made; appears whole, by a rename
/// socket/           the unix socket, unless the path would be too long
/// password          of the role the product works as
/// postgresql.conf   ours, written again at each start; includes local.conf
/// local.conf        the operator's, if there is one
/// pg_hba.conf       ours
/// postgres.log      and postgres.log.1
/// change.lock, users.lock
/// ```
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) runner: Runner,
    /// Clusters of an earlier home at the same path, which has been deleted since.
    pub(super) abandoned: Vec<PathBuf>,
    /// The directory that points to `root`, if `root` is elsewhere.
    home: Option<PathBuf>,
}

impl Place {
    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(super) fn password(&self) -> PathBuf {
        self.root.join("password")
    }

    pub(super) fn settings(&self) -> PathBuf {
        self.root.join("postgresql.conf")
    }

    pub(super) fn access_rules(&self) -> PathBuf {
        self.root.join("pg_hba.conf")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("postgres.log")
    }

    pub(super) fn change_lock(&self) -> PathBuf {
        self.root.join("change.lock")
    }

    pub(super) fn users_lock(&self) -> PathBuf {
        self.root.join("users.lock")
    }

    /// Where the cluster of `directory` is, or would be made. Touches nothing.
    ///
    /// It is `directory` itself, unless the user who has to run PostgreSQL cannot get there: then it is below
    /// `system_directory`, and a file in `directory` says where. That file is followed from then on, so the home may be moved.
    pub(super) fn choose(directory: &Path, system_directory: &Path) -> Result<Self, ClusterError> {
        let directory = real(directory)?;
        if directory.join("data").exists() {
            return Self::existing(directory);
        }
        if let Some(root) = read_path(&directory.join(POINTER))? {
            refuse_copy(&root, &directory)?;
            let runner = if root.join("data").exists() {
                Runner::for_existing_data(&root.join("data"))?
            } else {
                Runner::for_new_data()?
            };
            return Ok(Self { root, runner, abandoned: Vec::new(), home: Some(directory) });
        }
        let runner = Runner::for_new_data()?;
        if directory.parent().is_none_or(|parent| runner.can_enter(parent)) {
            return Ok(Self { root: directory, runner, abandoned: Vec::new(), home: None });
        }

        // A home that was deleted and made again gets a new database; the old one is named in the log, not touched.
        let clusters = system_directory.join("clusters");
        let name = short_hash(&directory);
        let mut abandoned = Vec::new();
        let root = (1..u32::MAX)
            .map(|n| clusters.join(if n == 1 { name.clone() } else { format!("{name}-{n}") }))
            .find(|root| {
                let taken = root.join("data").exists();
                abandoned.extend(taken.then(|| root.clone()));
                !taken
            })
            .expect("some number is free");
        Ok(Self { root, runner, abandoned, home: Some(directory) })
    }

    /// Chooses the place of the cluster of `directory` and makes its directories.
    pub(super) fn prepare(directory: &Path, system_directory: &Path) -> Result<Self, ClusterError> {
        create_directories(directory, 0o700)?;
        let choosing = directory.join("location.lock");
        let lock = open_private(&choosing, OpenOptions::new().write(true).create(true))?;
        lock.lock().map_err(files("lock", &choosing))?;

        let place = Self::choose(directory, system_directory)?;
        if place.home.is_some()
            && let Some(clusters) = place.root.parent()
        {
            create_directories(clusters, 0o755)?;
        }
        create_directories(&place.root, 0o700)?;
        // Root keeps the directory and lets the database's user through it, so that this user cannot exchange the files
        // that root writes here.
        if let Runner::Account { gid, .. } = place.runner
            && fs::metadata(&place.root).map_err(files("read", &place.root))?.uid() == 0
        {
            std::os::unix::fs::chown(&place.root, None, Some(gid)).map_err(files("hand over", &place.root))?;
            fs::set_permissions(&place.root, Permissions::from_mode(0o710)).map_err(files("hand over", &place.root))?;
        }
        if let Some(home) = &place.home {
            write_path(&place.root.join(HOME), home)?;
            write_path(&home.join(POINTER), &place.root)?;
        }
        Ok(place)
    }

    /// The place of a cluster that has been created before.
    pub(super) fn existing(root: PathBuf) -> Result<Self, ClusterError> {
        let runner = Runner::for_existing_data(&root.join("data"))?;
        Ok(Self { root, runner, abandoned: Vec::new(), home: None })
    }

    /// The directory of the socket, made if it is missing: beside the data when the path is short enough, else a private
    /// directory below `runtime_directory` (the value of `XDG_RUNTIME_DIR`) or `/tmp`.
    pub(super) fn socket_directory(&self, runtime_directory: Option<&Path>) -> Result<PathBuf, ClusterError> {
        let near = self.root.join("socket");
        let runtime_directory =
            runtime_directory.filter(|directory| directory.is_dir() && self.runner == Runner::ThisUser);
        let name = format!("systemprompt-{}-{}", self.runner.uid(), short_hash(&self.root));
        let private = runtime_directory.unwrap_or(Path::new("/tmp")).join(&name);
        let path = [near, private, Path::new("/tmp").join(&name)]
            .into_iter()
            .find(|path| path.to_str().is_some_and(|path| path.len() + 1 + SOCKET_FILE.len() <= LONGEST_SOCKET_PATH))
            .expect("the path below /tmp is short");

        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => self.runner.give(&path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(files("create", &path)(error)),
        }
        // Everybody may create names below /tmp, so a directory that is there already is looked at.
        let metadata = fs::symlink_metadata(&path).map_err(files("read", &path))?;
        let reason = if !metadata.is_dir() {
            "it is not a directory"
        } else if metadata.uid() != self.runner.uid() {
            "it belongs to another user"
        } else if metadata.mode() & 0o077 != 0 {
            "others may enter it"
        } else {
            return Ok(path);
        };
        Err(ClusterError::SocketDirectory { path, reason })
    }
}

/// Removes the socket and its lock, which a killed server leaves behind.
pub(super) fn remove_socket(directory: &Path) -> Result<(), ClusterError> {
    for name in [SOCKET_FILE.to_owned(), format!("{SOCKET_FILE}.lock")] {
        remove_if_there(&directory.join(name))?;
    }
    Ok(())
}

/// Removes a file; one that is not there is fine.
pub(super) fn remove_if_there(path: &Path) -> Result<(), ClusterError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(files("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Opens a file of ours: mode 0600 when it is made here, never through a symbolic link, and owned by whoever owns the
/// directory, so that a user finds their own files usable after root has worked on them.
pub(super) fn open_private(path: &Path, options: &mut OpenOptions) -> Result<File, ClusterError> {
    let options = options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    let file = options.open(path).map_err(files("open", path))?;
    let metadata = file.metadata().map_err(files("read", path))?;
    let directory = path.parent().map(fs::metadata).transpose().map_err(files("read", path))?;
    if let Some(directory) = directory
        && rustix::process::geteuid().is_root()
        && directory.uid() != metadata.uid()
    {
        std::os::unix::fs::fchown(&file, Some(directory.uid()), Some(directory.gid()))
            .map_err(files("hand over", path))?;
    }
    Ok(file)
}

/// Writes a file of ours whole: a reader sees the old content or the new one.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Result<(), ClusterError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = open_private(&temporary, OpenOptions::new().write(true).create(true).truncate(true))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(files("write", &temporary))?;
    fs::rename(&temporary, path).map_err(files("write", path))
}

/// Writes a file of ours that PostgreSQL reads.
pub(super) fn write_readable(path: &Path, content: &[u8], runner: Runner) -> Result<(), ClusterError> {
    write_private(path, content)?;
    if let Runner::Account { gid, .. } = runner {
        std::os::unix::fs::chown(path, None, Some(gid)).map_err(files("hand over", path))?;
        fs::set_permissions(path, Permissions::from_mode(0o640)).map_err(files("hand over", path))?;
    }
    Ok(())
}

/// Checks that the cluster at `root` is the one of `directory`. A home that was moved takes its cluster along; a home that
/// was copied must not share it.
fn refuse_copy(root: &Path, directory: &Path) -> Result<(), ClusterError> {
    let Some(owner) = read_path(&root.join(HOME))? else { return Ok(()) };
    if owner != directory && read_path(&owner.join(POINTER))?.as_deref() == Some(root) {
        let pointer = directory.join(POINTER);
        return Err(ClusterError::Copied { home: directory.to_owned(), other: owner, pointer });
    }
    Ok(())
}

/// Writes a path into a file that says something else.
fn write_path(file: &Path, path: &Path) -> Result<(), ClusterError> {
    if read_path(file)?.as_deref() == Some(path) {
        return Ok(());
    }
    write_private(file, path.as_os_str().as_bytes())
}

/// `path` without symbolic links, as it will be once what is missing of it has been made.
fn real(path: &Path) -> Result<PathBuf, ClusterError> {
    let path = std::path::absolute(path).map_err(files("read", path))?;
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        match there.canonicalize() {
            Ok(found) => return Ok(missing.iter().rev().fold(found, |path, name| path.join(name))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(files("read", there)(error)),
        }
        let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else { return Ok(path) };
        missing.push(name);
        there = parent;
    }
}

/// The path written in a file; `None` when the file is not there or empty.
fn read_path(file: &Path) -> Result<Option<PathBuf>, ClusterError> {
    let mut content = Vec::new();
    match File::open(file).and_then(|mut file| file.read_to_end(&mut content)) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(files("read", file)(error)),
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(content.trim_ascii()));
    Ok(path.is_absolute().then(|| path.to_owned()))
}

fn create_directories(path: &Path, mode: u32) -> Result<(), ClusterError> {
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(files("create", path))
}

/// Sixteen hexadecimal digits that stand for a path.
fn short_hash(path: &Path) -> String {
    hex::encode(&Sha256::digest(path.as_os_str().as_bytes())[..8])
}
