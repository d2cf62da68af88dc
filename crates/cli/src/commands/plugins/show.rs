//! `plugins show`.

use clap::Args;
use systemprompt_extension::{ExtensionCapabilities, ExtensionRegistry};

use crate::error::{CliError, CliResult};
use crate::project::Invocation;
use crate::view::{Layout, Record, Text, View, yes};

/// One extension with all it declares.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its id.
    id: String,
}

impl Show {
    pub(crate) fn run(self, invocation: &Invocation, registry: &ExtensionRegistry) -> CliResult {
        let snapshot = registry.snapshot();
        let extension = snapshot.get(&self.id).ok_or_else(|| {
            let known: Vec<_> = snapshot.extensions.iter().map(|extension| extension.id).collect();
            CliError::new("unknown_extension", format!("no extension is called `{}`", self.id))
                .help(format!("there are {}", known.join(", ")))
        })?;
        invocation.printer.show(extension);
        Ok(())
    }
}

impl View for ExtensionCapabilities {
    fn text(&self, layout: Layout) -> Text {
        let mut record = Record::new()
            .with("id", self.id.to_owned())
            .with("name", self.name.to_owned())
            .with("version", self.version.to_owned())
            .with("enabled", yes(self.enabled))
            .with("required", yes(self.required))
            .with("position", self.position.map(|position| position.to_string()))
            .with_list("depends on", self.dependencies.iter().map(ToString::to_string));
        for (facet, all) in self.contributions.iter().filter(|(_, all)| !all.is_empty()) {
            record = record.with_list(facet, all.iter().map(ToString::to_string));
        }
        layout.record(&record)
    }
}
