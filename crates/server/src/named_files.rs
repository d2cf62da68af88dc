//! Files that the configuration names: what stands in them is part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;

use systemprompt_config::Configuration;
use systemprompt_extension::ExtensionRegistry;

/// The files a configuration names, each with the key it is named below and what stood in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NamedFiles(BTreeMap<PathBuf, (&'static str, Option<u64>)>);

impl NamedFiles {
    /// Those of this configuration, as they are now. What cannot be read is a state of its own.
    pub(crate) fn read(registry: &ExtensionRegistry, configuration: &Configuration) -> Self {
        let named = registry.iter().flat_map(|extension| extension.section_files(configuration));
        let read = named.map(|(key, path)| {
            let content = std::fs::read(&path).ok().map(|content| {
                let mut hasher = DefaultHasher::new();
                content.hash(&mut hasher);
                hasher.finish()
            });
            (path, (key, content))
        });
        Self(read.collect())
    }

    /// Where they are.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.0.keys().cloned().collect()
    }

    /// The keys below which something else stands in a file, or another file is named. The latter need not be a difference of
    /// the configuration itself: a file may belong to it because of where it is.
    pub(crate) fn changed(&self, after: &Self) -> BTreeSet<&'static str> {
        let differs = |(path, now): &(&PathBuf, &(&'static str, Option<u64>)), others: &Self| {
            others.0.get(*path).is_none_or(|other| other != *now)
        };
        let came = after.0.iter().filter(|entry| differs(entry, self));
        let went = self.0.iter().filter(|entry| differs(entry, after));
        came.chain(went).map(|(_, (key, _))| *key).collect()
    }
}
