//! What the checks of the configuration need to know besides the keys they check.

use std::collections::BTreeSet;
use std::sync::Arc;

use systemprompt_llm::catalog::{self, Catalog};

/// What the checks need to know from outside the two keys.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Whether the profile describes a production environment.
    pub production: bool,
    /// Names of the secrets that exist.
    pub secrets: BTreeSet<String>,
    /// Hosts that may be reached over plain HTTP or at private addresses.
    pub trusted_hosts: BTreeSet<String>,
    /// Models and prices, and everything that is wrong with the file they are read from.
    pub catalog: Arc<Catalog>,
    /// See `catalog`.
    pub catalog_flaws: Vec<String>,
    /// The prompts of the overrides of system prompts, as they were read.
    pub prompts: Vec<Option<Result<String, String>>>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            production: false,
            secrets: BTreeSet::new(),
            trusted_hosts: BTreeSet::new(),
            catalog: Arc::new(catalog::default_catalog()),
            catalog_flaws: Vec::new(),
            prompts: Vec::new(),
        }
    }
}
