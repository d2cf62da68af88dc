//! `plugins list`.

use clap::Args;
use serde::Serialize;
use serde_json::Map;
use systemprompt_extension::{ExtensionCapabilities, ExtensionRegistry};

use super::facet_name::facet_name;
use crate::error::CliResult;
use crate::project::Invocation;
use crate::view::{Page, Row, yes};

/// The extensions, in load order.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only ids or names that contain this.
    #[arg(long)]
    filter: Option<String>,
    /// Only those that declare this.
    #[arg(long, value_parser = facet_name())]
    capability: Option<String>,
}

impl List {
    pub(crate) fn run(self, invocation: &Invocation, registry: &ExtensionRegistry) -> CliResult {
        let filter = self.filter.as_deref();
        let items = registry
            .snapshot()
            .extensions
            .iter()
            .filter(|extension| {
                filter.is_none_or(|text| {
                    extension.id.contains(text) || extension.name.to_lowercase().contains(&text.to_lowercase())
                })
            })
            .filter(|extension| self.capability.as_ref().is_none_or(|facet| !extension.of(facet).is_empty()))
            .map(|extension| Listed {
                id: extension.id,
                name: extension.name,
                version: extension.version,
                priority: extension.priority,
                source: "compiled",
                enabled: extension.enabled,
                capabilities: counts(extension),
            })
            .collect();
        invocation.printer.show(&Page::whole(items));
        Ok(())
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    name: &'a str,
    version: &'a str,
    priority: u32,
    source: &'static str,
    enabled: bool,
    /// How many of each facet.
    capabilities: Map<String, serde_json::Value>,
}

fn counts(extension: &ExtensionCapabilities) -> Map<String, serde_json::Value> {
    extension.contributions.iter().map(|(facet, all)| ((*facet).to_owned(), all.len().into())).collect()
}

impl Row for Listed<'_> {
    const COLUMNS: &'static [&'static str] = &["id", "name", "version", "enabled", "contributes"];
    const NONE: &'static str = "No extension matches.";

    fn cells(&self) -> Vec<String> {
        let there = self.capabilities.iter().filter(|(_, count)| **count != 0);
        let contributes = there.map(|(facet, count)| format!("{facet} {count}")).collect::<Vec<_>>().join(", ");
        vec![self.id.to_owned(), self.name.to_owned(), self.version.to_owned(), yes(self.enabled), contributes]
    }
}
