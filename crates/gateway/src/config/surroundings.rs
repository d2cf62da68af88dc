//! What the checks of the configuration need to know besides the keys they check.

use std::collections::BTreeSet;

/// What the checks need to know from outside the two keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// Whether the profile describes a production environment.
    pub production: bool,
    /// Names of the secrets that exist.
    pub secrets: BTreeSet<String>,
    /// Hosts that may be reached over plain HTTP or at private addresses.
    pub trusted_hosts: BTreeSet<String>,
}
