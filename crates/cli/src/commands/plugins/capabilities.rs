//! `plugins capabilities`.

use clap::Args;
use serde::Serialize;
use systemprompt_extension::ExtensionRegistry;

use super::facet_name::facet_name;
use crate::error::CliResult;
use crate::project::Invocation;
use crate::view::{Page, Row};

/// Everything declared, by kind.
#[derive(Debug, Args)]
pub(crate) struct Capabilities {
    /// Only this kind.
    #[arg(value_parser = facet_name())]
    kind: Option<String>,
    /// Only this extension.
    #[arg(long)]
    extension: Option<String>,
    /// Leave out what is disabled.
    #[arg(long)]
    enabled: bool,
}

impl Capabilities {
    pub(crate) fn run(self, invocation: &Invocation, registry: &ExtensionRegistry) -> CliResult {
        let only = self.extension.as_deref();
        let mut declared = Vec::new();
        for extension in &registry.snapshot().extensions {
            if only.is_some_and(|only| only != extension.id) || (self.enabled && !extension.enabled) {
                continue;
            }
            for (facet, all) in &extension.contributions {
                if self.kind.as_deref().is_none_or(|kind| kind == *facet) {
                    declared.extend(all.iter().map(|contribution| Declared {
                        kind: facet,
                        extension: extension.id,
                        name: contribution.name.clone(),
                        enabled: extension.enabled,
                    }));
                }
            }
        }
        invocation.printer.show(&Page::whole(declared));
        Ok(())
    }
}

#[derive(Serialize)]
struct Declared {
    kind: &'static str,
    extension: &'static str,
    name: String,
    enabled: bool,
}

impl Row for Declared {
    const COLUMNS: &'static [&'static str] = &["kind", "name", "extension"];
    const NONE: &'static str = "Nothing of this kind is declared.";

    fn cells(&self) -> Vec<String> {
        vec![self.kind.to_owned(), self.name.clone(), self.extension.to_owned()]
    }
}
