//! The key set in use.

mod pem;
pub(crate) mod set;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};

use crate::signing_key::set::{KeySet, KeySetError};

/// The key set in use, and the file it came from. Replaced as a whole, read without a lock.
#[derive(Debug)]
pub struct SigningKeys {
    current: ArcSwap<KeySet>,
    path: Option<PathBuf>,
}

impl SigningKeys {
    /// Reads the key set at `path`.
    pub fn load(path: &Path) -> Result<Self, KeySetError> {
        Ok(Self { current: ArcSwap::from_pointee(KeySet::load(path)?), path: Some(path.to_owned()) })
    }

    /// Reads the key set at `path`; if there is no such file, makes a key and writes it there.
    pub fn load_or_generate(path: &Path, now: DateTime<Utc>) -> Result<Self, KeySetError> {
        match path.try_exists() {
            Ok(false) => KeySet::generate(now)?.store(path)?,
            Ok(true) => {}
            Err(source) => return Err(KeySetError::Io { path: path.to_owned(), doing: "read", source }),
        }
        Self::load(path)
    }

    /// Keys that live in memory only.
    pub fn from_set(keys: KeySet) -> Self {
        Self { current: ArcSwap::from_pointee(keys), path: None }
    }

    /// The set in use.
    pub fn current(&self) -> Arc<KeySet> {
        self.current.load_full()
    }

    /// Reads the file again, so that a rotation by another process takes effect. If the file cannot be used the keys in
    /// use stay.
    pub fn reload(&self) -> Result<(), KeySetError> {
        if let Some(path) = &self.path {
            self.current.store(Arc::new(KeySet::load(path)?));
        }
        Ok(())
    }
}
