//! `infra db projections list`.

use clap::Args;
use serde::Serialize;
use systemprompt_extension::ExtensionRegistry;
use systemprompt_extension::facet::Projections;

use crate::error::CliResult;
use crate::project::Invocation;
use crate::view::{Page, Row};

/// The projections, the extensions they belong to, and their tables.
#[derive(Debug, Args)]
pub(crate) struct List {}

#[derive(Debug, Serialize)]
struct Listed {
    name: &'static str,
    extension: &'static str,
    tables: Vec<&'static str>,
}

impl List {
    #[expect(clippy::unused_self, reason = "as every command")]
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
        let registry = ExtensionRegistry::discover();
        let mut listed = Vec::new();
        for declared in registry.declared::<Projections>() {
            listed.extend(declared.contributions.iter().map(|projection| Listed {
                name: projection.name(),
                extension: declared.extension,
                tables: projection.tables().to_vec(),
            }));
        }
        invocation.printer.show(&Page::whole(listed));
        Ok(())
    }
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] = &["projection", "extension", "tables"];
    const NONE: &'static str = "No projections.";

    fn cells(&self) -> Vec<String> {
        vec![self.name.to_owned(), self.extension.to_owned(), self.tables.join(", ")]
    }
}
