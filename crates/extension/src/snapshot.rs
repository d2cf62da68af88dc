//! The inventory: what every extension contributes, as commands and pages print it.

use serde::{Serialize, Serializer};

use crate::Source;
use crate::facet::Described;
use crate::set::{Entry, Set};

/// What every extension of a registry contributes. Printed by `plugins list|show|capabilities`, none of which ask an
/// extension again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CapabilitySnapshot {
    /// Enabled extensions in load order, then the disabled ones by id.
    pub extensions: Vec<ExtensionCapabilities>,
}

/// What one extension contributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtensionCapabilities {
    /// The id.
    pub id: &'static str,
    /// The name for people.
    pub name: &'static str,
    /// The version.
    pub version: &'static str,
    /// Where it comes from.
    pub source: Source,
    /// Whether it takes part.
    pub enabled: bool,
    /// Its place in load order, from 1; none when it is disabled.
    pub position: Option<usize>,
    /// Whether configuration may not disable it.
    pub required: bool,
    /// Orders it among extensions it has no dependency on.
    pub priority: u32,
    /// Orders it among those of the same priority.
    pub migration_weight: u32,
    /// Extensions that come earlier and must be there.
    pub dependencies: Vec<&'static str>,
    /// Extensions that come earlier if they are there.
    pub optional_dependencies: Vec<&'static str>,
    /// What it declares, by the names of [`FACETS`](crate::facet::FACETS) and in their order; also where it is nothing.
    #[serde(flatten, serialize_with = "as_map")]
    pub contributions: Vec<(&'static str, Vec<Described>)>,
}

impl CapabilitySnapshot {
    /// The extension with this id, enabled or not.
    pub fn get(&self, id: &str) -> Option<&ExtensionCapabilities> {
        self.extensions.iter().find(|extension| extension.id == id)
    }

    pub(crate) fn of(set: &Set) -> Self {
        let enabled = set.enabled.iter().enumerate().map(|(at, entry)| capabilities(entry, Some(at + 1)));
        let disabled = set.disabled.iter().map(|entry| capabilities(entry, None));
        Self { extensions: enabled.chain(disabled).collect() }
    }
}

impl ExtensionCapabilities {
    /// What it declares in the facet of this name.
    pub fn of(&self, facet: &str) -> &[Described] {
        self.contributions.iter().find(|(name, _)| *name == facet).map_or(&[], |(_, all)| all)
    }
}

fn capabilities(entry: &Entry, position: Option<usize>) -> ExtensionCapabilities {
    ExtensionCapabilities {
        id: entry.metadata.id,
        name: entry.metadata.name,
        version: entry.metadata.version,
        source: entry.source,
        enabled: position.is_some(),
        position,
        required: entry.required,
        priority: entry.priority,
        migration_weight: entry.weight,
        dependencies: entry.dependencies.clone(),
        optional_dependencies: entry.optional_dependencies.clone(),
        contributions: entry.contributions.describe(),
    }
}

fn as_map<S: Serializer>(contributions: &[(&'static str, Vec<Described>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(contributions.iter().map(|(facet, all)| (facet, all)))
}
