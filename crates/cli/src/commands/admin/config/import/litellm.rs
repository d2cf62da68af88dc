//! `admin config import litellm`.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use systemprompt_config::edit::Step::Key;
use systemprompt_config::edit::YamlText;
use systemprompt_gateway::configured::providers;

use crate::error::{CliError, CliResult, Exit};
use crate::litellm::{Imported, import};
use crate::profile_file::ProfileFile;
use crate::project::Invocation;
use crate::view::{Layout, Text, View};

/// Where budgets are, below the services directory.
const BUDGETS: &str = "gateway/policies.yaml";

/// Take over a LiteLLM `config.yaml`.
///
/// Shows what it becomes here and, by key path, what has no place; --write puts it into the profile. Keys of providers become
/// names of secrets and are never copied.
#[derive(Debug, Args)]
pub(crate) struct Litellm {
    /// The file.
    file: PathBuf,
    /// Write it into the profile.
    #[arg(long)]
    write: bool,
}

impl Litellm {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let unreadable = |message: String| {
            CliError::new("import_unreadable", format!("{}: {message}", self.file.display())).exit(Exit::Usage)
        };
        let text = std::fs::read_to_string(&self.file).map_err(|error| unreadable(error.to_string()))?;
        let document = YamlText::new(text).map_err(|error| unreadable(error.to_string()))?;
        let mut profile = ProfileFile::open(invocation)?;
        let configuration = profile.project.configuration.clone();
        let there = providers(&configuration).map_err(|error| CliError::from_error("profile_invalid", &error))?;
        let imported = import(document.value(), &there.into_iter().map(|provider| provider.name).collect());
        if imported.providers.is_empty() {
            return Err(unreadable("there is nothing in it that could be taken over".to_owned())
                .details(json!({"unmapped": imported.unmapped})));
        }
        let missing: Vec<_> =
            imported.secrets.keys().filter(|name| configuration.secrets.get(name).is_none()).cloned().collect();
        for provider in &imported.providers {
            profile.push(&[Key("providers")], provider)?;
        }
        for route in &imported.routes {
            profile.push(&[Key("gateway"), Key("routes")], route)?;
        }
        for (key, value) in &imported.settings {
            let path: Vec<_> = std::iter::once("gateway").chain(key.split('.')).map(Key).collect();
            // What an operator has said here counts more.
            if profile.get(&path).is_none() {
                profile.set(&path, value)?;
            }
        }
        let budgets = configuration.services.root.join(BUDGETS);
        let policies = match std::fs::read_to_string(&budgets) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(CliError::from_error("import_failed", &error)),
        };
        let mut policies = YamlText::new(policies).map_err(|error| CliError::from_error("import_failed", &error))?;
        for policy in &imported.policies {
            policies.push(&[Key("policies")], policy).map_err(|error| CliError::from_error("import_failed", &error))?;
        }
        if !self.write {
            let text = profile_part(&profile);
            let budgets = (!imported.policies.is_empty()).then(|| policies.text().to_owned());
            invocation.printer.show(&Shown { imported, missing, profile: text, budgets });
            return Ok(());
        }
        if !missing.is_empty() {
            let commands: Vec<_> =
                missing.iter().map(|name| format!("systemprompt admin config secret set {name}")).collect();
            return Err(CliError::new("secrets_missing", format!("these secrets are not set: {}", missing.join(", ")))
                .help(commands.join("\n"))
                .exit(Exit::Configuration));
        }
        for unmapped in &imported.unmapped {
            invocation.printer.note(format!("not taken over: {}: {}", unmapped.path, unmapped.note));
        }
        if !imported.policies.is_empty() {
            let directory = budgets.parent().unwrap_or(&configuration.services.root);
            std::fs::create_dir_all(directory)
                .and_then(|()| std::fs::write(&budgets, policies.text()))
                .map_err(|error| CliError::from_error("import_failed", &error).exit(Exit::Configuration))?;
        }
        let done = format!(
            "Took over {} providers and {} routes; {} settings have no place here.",
            imported.providers.len(),
            imported.routes.len(),
            imported.unmapped.len()
        );
        profile.save("configuration.import", &json!({"from": "litellm", "imported": imported}), done).await
    }
}

/// The keys of the profile that change, as they would be.
fn profile_part(profile: &ProfileFile<'_>) -> Value {
    let value = |key| profile.get(&[Key(key)]).cloned().unwrap_or_default();
    json!({"providers": value("providers"), "gateway": value("gateway")})
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    imported: Imported,
    /// Secrets that are not set yet.
    missing: Vec<String>,
    #[serde(skip)]
    profile: Value,
    #[serde(skip)]
    budgets: Option<String>,
}

impl View for Shown {
    fn text(&self, _: Layout) -> Text {
        let mut parts = vec![Text::lines(format!("The profile would say:\n\n{}", crate::view::yaml(&self.profile)))];
        if let Some(budgets) = &self.budgets {
            parts.push(Text::lines(format!("services/{BUDGETS}:\n\n{}", budgets.trim_end())));
        }
        if !self.missing.is_empty() {
            let lines: Vec<_> = self
                .missing
                .iter()
                .map(|name| {
                    let origin = self.imported.secrets.get(name).map(String::as_str).unwrap_or_default();
                    format!("systemprompt admin config secret set {name}   # {origin}")
                })
                .collect();
            parts.push(Text::lines(format!("Secrets to set:\n\n{}", lines.join("\n"))));
        }
        let unmapped: Vec<_> =
            self.imported.unmapped.iter().map(|unmapped| format!("{}: {}", unmapped.path, unmapped.note)).collect();
        if !unmapped.is_empty() {
            parts.push(Text::lines(format!("Not taken over:\n\n{}", unmapped.join("\n"))));
        }
        Text::apart(parts)
    }
}
