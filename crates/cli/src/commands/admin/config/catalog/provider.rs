//! `admin config catalog provider`.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use systemprompt_config::edit::Step::{Item, Key};
use systemprompt_gateway::configured::{ConfiguredProvider, providers};

use super::entry::{ModelEntry, dollars, unknown_provider};
use crate::error::{CliError, CliResult};
use crate::profile_file::{ProfileFile, position};
use crate::project::Invocation;
use crate::view::{Page, Row};

/// Where model requests go.
#[derive(Debug, Subcommand)]
pub(crate) enum Provider {
    Add(Add),
    List(List),
    Remove(Remove),
}

/// Add a provider. Its models are the built-in catalog's for its name, or are added with `catalog model add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Its name: `anthropic`, `openai` and `gemini` have models in the built-in catalog.
    name: String,
    /// What it speaks, such as `anthropic`, `openai-chat` or `openai-responses`.
    #[arg(long)]
    wire: String,
    /// The client family its models are listed to: anthropic, openai, gemini, or backend to list them to nobody.
    #[arg(long)]
    surface: String,
    /// Its base URL, such as https://api.example.com/v1.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The name of the secret with its key; `admin config secret set` sets it.
    #[arg(long, value_name = "NAME")]
    api_key_secret: Option<String>,
    /// A first model, for a provider that the built-in catalog does not know.
    #[arg(long, value_name = "ID", requires_all = ["input_per_million", "output_per_million"])]
    model: Option<String>,
    /// Its price for a million tokens read, in US dollars.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    input_per_million: Option<f64>,
    /// Its price for a million tokens written, in US dollars.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    output_per_million: Option<f64>,
}

/// The providers and what they offer.
#[derive(Debug, Args)]
pub(crate) struct List {}

/// Remove a provider with its models. Nothing may lead to it any more.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Its name.
    name: String,
}

/// A provider as it is written, in this order.
#[derive(Debug, Serialize)]
struct Written<'a> {
    name: &'a str,
    wire: &'a str,
    surface: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<ModelEntry<'a>>,
}

impl Provider {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Add(command) => command.run(invocation).await,
            Self::Remove(command) => command.run(invocation).await,
            Self::List(List {}) => {
                let project = invocation.project()?;
                let found = providers(&project.configuration);
                let found = found.map_err(|error| CliError::from_error("profile_invalid", &error))?;
                invocation.printer.show(&Page::whole(found));
                Ok(())
            }
        }
    }
}

impl Add {
    async fn run(self, invocation: &Invocation) -> CliResult {
        let mut profile = ProfileFile::open(invocation)?;
        let price = self.input_per_million.zip(self.output_per_million);
        let provider = Written {
            name: &self.name,
            wire: &self.wire,
            surface: &self.surface,
            endpoint: self.endpoint.as_deref(),
            api_key_secret: self.api_key_secret.as_deref(),
            models: self.model.iter().map(|id| ModelEntry::new(id, price)).collect(),
        };
        profile.push(&[Key("providers")], &provider)?;
        let done = format!("`{}` is a provider.", self.name);
        profile.save("catalog.provider.add", &json!(provider), done).await
    }
}

impl Remove {
    async fn run(self, invocation: &Invocation) -> CliResult {
        let mut profile = ProfileFile::open(invocation)?;
        let index = position(profile.get(&[Key("providers")]), "name", &self.name)
            .ok_or_else(|| unknown_provider(&self.name))?;
        profile.remove(&[Key("providers"), Item(index)])?;
        let done = format!("The provider `{}` is gone.", self.name);
        profile.save("catalog.provider.remove", &json!({"name": self.name}), done).await
    }
}

impl Row for ConfiguredProvider {
    const COLUMNS: &'static [&'static str] = &["name", "wire", "endpoint", "key", "models"];
    const NONE: &'static str = "No providers.";

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.wire.clone(),
            self.endpoint.clone().unwrap_or_default(),
            self.api_key_secret.clone().unwrap_or_default(),
            self.models.join(", "),
        ]
    }
}
