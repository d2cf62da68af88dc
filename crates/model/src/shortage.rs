//! What this process itself has run out of, which is nobody else's fault.

use std::error::Error;
use std::io;

/// What this process has none left of. A connection that fails for want of it says nothing about the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// Its files and connections are as many as it, or its machine, may have open (`EMFILE`, `ENFILE`).
    #[error("has as many files and connections open as it may have; raise its limit (ulimit -n, LimitNOFILE)")]
    Descriptors,
    /// Its machine has no local port left for a further connection (`EADDRNOTAVAIL`).
    #[error("has no local port left for a connection")]
    Ports,
    /// Every connection of its own pool to the database is in use.
    #[error("has all of its database connections in use; raise database.pool.max_connections")]
    Connections,
}

/// `ENFILE` and `EMFILE`, which are the same on every system we run on.
const DESCRIPTORS: [i32; 2] = [23, 24];

impl Shortage {
    /// What was lacking, if an error or one of its causes says so.
    pub fn behind(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(shortage) = error.downcast_ref::<io::Error>().and_then(Self::of) {
                return Some(shortage);
            }
            next = error.source();
        }
        None
    }

    fn of(error: &io::Error) -> Option<Self> {
        match error.raw_os_error() {
            Some(code) if DESCRIPTORS.contains(&code) => Some(Self::Descriptors),
            Some(_) if error.kind() == io::ErrorKind::AddrNotAvailable => Some(Self::Ports),
            Some(_) => None,
            // An error that was made of another one hides it from `source`.
            None => error.get_ref().and_then(|inner| Self::behind(inner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("connecting")]
    struct Connecting(#[source] io::Error);

    #[test]
    fn it_is_found_behind_other_errors_and_nothing_else_is() {
        for (code, shortage) in [(23, Some(Shortage::Descriptors)), (24, Some(Shortage::Descriptors)), (2, None)] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(Shortage::behind(&Connecting(error)), shortage, "{code}");
            let wrapped = io::Error::other(Connecting(io::Error::from_raw_os_error(code)));
            assert_eq!(Shortage::behind(&Connecting(wrapped)), shortage, "{code}, wrapped");
        }
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(Shortage::behind(&Connecting(refused)), None);
    }
}
