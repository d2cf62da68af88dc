//! Who runs PostgreSQL. It refuses to run as root, so root starts it as somebody without rights.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;
use tokio::process::Command;

use super::error::ClusterError;

/// The user PostgreSQL runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runner {
    /// The user of this process, who is not root.
    ThisUser,
    /// Another account, because this process is root.
    Account {
        /// User id.
        uid: u32,
        /// Primary group id.
        gid: u32,
    },
}

impl Runner {
    /// Who runs a new cluster.
    pub(super) fn for_new_data() -> Result<Self, ClusterError> {
        if !geteuid().is_root() {
            return Ok(Self::ThisUser);
        }
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"].iter().find_map(|name| find(&accounts, name)).ok_or(ClusterError::NoAccount)
    }

    /// Who runs the cluster whose data is at `data`: whoever owns it.
    pub(super) fn for_existing_data(data: &Path) -> Result<Self, ClusterError> {
        let metadata = fs::metadata(data).map_err(super::error::files("read", data))?;
        let me = geteuid();
        if metadata.uid() == me.as_raw() && !me.is_root() {
            Ok(Self::ThisUser)
        } else if me.is_root() && metadata.uid() != 0 {
            Ok(Self::Account { uid: metadata.uid(), gid: metadata.gid() })
        } else {
            Err(ClusterError::OtherOwner { path: data.to_owned(), owner: metadata.uid() })
        }
    }

    /// The user id.
    pub(super) fn uid(self) -> u32 {
        match self {
            Self::ThisUser => geteuid().as_raw(),
            Self::Account { uid, .. } => uid,
        }
    }

    /// Makes `command` run as this user, away from directories that user may not enter.
    pub(super) fn apply(self, command: &mut Command) {
        if let Self::Account { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command.current_dir("/");
    }

    /// Hands a file or directory that this process made over to this user.
    pub(super) fn give(self, path: &Path) -> Result<(), ClusterError> {
        match self {
            Self::ThisUser => Ok(()),
            Self::Account { uid, gid } => {
                std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(super::error::files("hand over", path))
            }
        }
    }

    /// Whether this user may pass through `directory` and everything above it. Looks at the mode bits only: an access
    /// control list that grants more is not needed, one that grants less makes `initdb` say so.
    pub(super) fn can_enter(self, directory: &Path) -> bool {
        let Self::Account { uid, gid } = self else { return true };
        directory.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()).all(|ancestor| {
            fs::metadata(ancestor).is_ok_and(|metadata| {
                let needed = if metadata.uid() == uid {
                    0o100
                } else if metadata.gid() == gid {
                    0o010
                } else {
                    0o001
                };
                metadata.mode() & needed != 0
            })
        })
    }
}

/// The account called `name` in the text of `/etc/passwd`. Ids may be written as negative numbers (macOS: `nobody` is -2).
fn find(accounts: &str, name: &str) -> Option<Runner> {
    let mut fields = accounts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.split(':').skip(1);
    let mut id = || fields.next()?.parse::<i64>().ok().map(|id| id as u32);
    let (uid, gid) = (id()?, id()?);
    (uid != 0).then_some(Runner::Account { uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let accounts = "root:x:0:0::/root:/bin/sh\npostgresql:x:7:7::/:\npostgres:x:101:104:PostgreSQL,,,:/var/lib:/bin/sh\n\
                        nobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false\n";
        assert_eq!(find(accounts, "postgres"), Some(Runner::Account { uid: 101, gid: 104 }));
        assert_eq!(find(accounts, "nobody"), Some(Runner::Account { uid: 4_294_967_294, gid: 4_294_967_294 }));
        assert_eq!(find(accounts, "root"), None);
        assert_eq!(find(accounts, "missing"), None);
    }
}
