//! The extensions of a registry, each with its answers to the declaring methods, and their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use systemprompt_config::profile::Extensions;
use systemprompt_database::Module;

use crate::facet::{Contributions, CrossExtensionTables, Declared, Listed, Migrations, Schemas, Seeds};
use crate::order::{Node, topological};
use crate::{Extension, ExtensionMetadata, Source};

/// The extensions of a registry, and what the profile says about them.
#[derive(Default)]
pub(crate) struct Set {
    /// Enabled, in load order.
    pub(crate) enabled: Vec<Entry>,
    /// Switched off by `extensions.disabled`, in order of their ids.
    pub(crate) disabled: Vec<Entry>,
    pub(crate) profile: Extensions,
    /// Circles among the dependencies of `enabled`.
    pub(crate) circles: Vec<Vec<String>>,
}

/// One extension and the answers it gave to the declaring methods, each asked once.
pub(crate) struct Entry {
    pub(crate) extension: Arc<dyn Extension>,
    pub(crate) source: Source,
    pub(crate) metadata: ExtensionMetadata,
    pub(crate) priority: u32,
    pub(crate) weight: u32,
    pub(crate) required: bool,
    pub(crate) dependencies: Vec<&'static str>,
    pub(crate) optional_dependencies: Vec<&'static str>,
    pub(crate) min_core_version: Option<&'static str>,
    pub(crate) contributions: Contributions,
}

impl Entry {
    pub(crate) fn new(extension: Arc<dyn Extension>, source: Source) -> Self {
        Self {
            source,
            metadata: extension.metadata(),
            priority: extension.priority(),
            weight: extension.migration_weight(),
            required: extension.is_required(),
            dependencies: extension.dependencies(),
            optional_dependencies: extension.optional_dependencies(),
            min_core_version: extension.min_core_version(),
            contributions: Contributions::of(extension.as_ref()),
            extension,
        }
    }

    pub(crate) fn id(&self) -> &'static str {
        self.metadata.id
    }

    /// What it declares in one facet.
    pub(crate) fn declares<F: Listed>(&self) -> &[F::Contribution] {
        F::among(&self.contributions)
    }

    pub(crate) fn module(&self) -> Module {
        Module {
            id: self.id().to_owned(),
            required: self.required,
            dependencies: self.dependencies.iter().map(ToString::to_string).collect(),
            schemas: self.declares::<Schemas>().to_vec(),
            migrations: self.declares::<Migrations>().to_vec(),
            seeds: self.declares::<Seeds>().to_vec(),
            cross_tables: self.declares::<CrossExtensionTables>().iter().map(ToString::to_string).collect(),
        }
    }
}

impl Set {
    /// Enabled extensions in load order, then the disabled ones.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.enabled.iter().chain(&self.disabled)
    }

    /// The extension whose id is this one or differs only by `-` and `_`.
    pub(crate) fn find(&self, id: &str) -> Option<&Entry> {
        self.all().find(|entry| normal_id(entry.id()) == normal_id(id))
    }

    /// What each enabled extension declares in one facet.
    pub(crate) fn declared<F: Listed>(&self) -> Vec<Declared<'_, F::Contribution>> {
        let declared = self.enabled.iter();
        declared.map(|entry| Declared { extension: entry.id(), contributions: entry.declares::<F>() }).collect()
    }

    /// The tables every server has, and those of the enabled extensions.
    pub(crate) fn modules(&self) -> Vec<Module> {
        std::iter::once(systemprompt_database::lease::module()).chain(self.enabled.iter().map(Entry::module)).collect()
    }

    /// Puts the enabled extensions in load order.
    pub(crate) fn arrange(&mut self) {
        let nodes: Vec<Node<'_>> = self
            .enabled
            .iter()
            .map(|entry| Node {
                id: entry.id(),
                priority: entry.priority,
                weight: entry.weight,
                dependencies: entry.dependencies.clone(),
                optional: entry.optional_dependencies.clone(),
            })
            .collect();
        let (order, circles) = topological(&nodes);
        let position: BTreeMap<usize, usize> = order.iter().enumerate().map(|(place, &at)| (at, place)).collect();
        let mut placed: Vec<(usize, Entry)> =
            self.enabled.drain(..).enumerate().map(|(at, entry)| (position[&at], entry)).collect();
        placed.sort_by_key(|(place, _)| *place);
        self.enabled = placed.into_iter().map(|(_, entry)| entry).collect();
        self.circles = circles;
    }
}

/// The form in which ids are compared.
pub(crate) fn normal_id(id: &str) -> String {
    id.replace('-', "_")
}
