//! `admin config catalog model`.

use clap::{Args, Subcommand};
use serde_json::json;
use systemprompt_config::edit::Step::{Item, Key};
use systemprompt_gateway::configured::{ConfiguredProvider, providers};

use super::entry::{ModelEntry, dollars, unknown_provider};
use crate::error::{CliError, CliResult};
use crate::profile_file::ProfileFile;
use crate::project::Invocation;

/// The models of providers.
#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    Add(Add),
    Remove(Remove),
}

/// Add a model to a provider. What the built-in catalog knows of it need not be given.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The provider.
    provider: String,
    /// The id clients ask for.
    id: String,
    /// Another id for it; may be given several times.
    #[arg(long, value_name = "ID")]
    alias: Vec<String>,
    /// The name sent to the provider, if it is another.
    #[arg(long, value_name = "MODEL")]
    upstream_model: Option<String>,
    /// The price of a million tokens read, in US dollars.
    #[arg(long, value_name = "DOLLARS", requires = "output_per_million", value_parser = dollars)]
    input_per_million: Option<f64>,
    /// The price of a million tokens written, in US dollars.
    #[arg(long, value_name = "DOLLARS", requires = "input_per_million", value_parser = dollars)]
    output_per_million: Option<f64>,
}

/// Remove a model.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Its id.
    id: String,
}

impl Model {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Add(command) => command.run(invocation).await,
            Self::Remove(command) => command.run(invocation).await,
        }
    }
}

impl Add {
    async fn run(self, invocation: &Invocation) -> CliResult {
        let mut profile = ProfileFile::open(invocation)?;
        let found = listed(&profile)?;
        let index = found
            .iter()
            .position(|provider| provider.name == self.provider)
            .ok_or_else(|| unknown_provider(&self.provider))?;
        write_out(&mut profile, &found[index], index)?;
        let model = ModelEntry {
            aliases: &self.alias,
            upstream_model: self.upstream_model.as_deref(),
            ..ModelEntry::new(&self.id, self.input_per_million.zip(self.output_per_million))
        };
        profile.push(&[Key("providers"), Item(index), Key("models")], &model)?;
        let request = json!({"provider": self.provider, "model": model});
        let done = format!("`{}` offers `{}`.", self.provider, self.id);
        profile.save("catalog.model.add", &request, done).await
    }
}

impl Remove {
    async fn run(self, invocation: &Invocation) -> CliResult {
        let mut profile = ProfileFile::open(invocation)?;
        let found = listed(&profile)?;
        let place = found
            .iter()
            .enumerate()
            .find_map(|(index, provider)| Some((index, provider.models.iter().position(|model| *model == self.id)?)));
        let (index, model) = place.ok_or_else(|| {
            CliError::new("unknown_model", format!("no provider offers `{}`", self.id))
                .help("systemprompt admin config catalog provider list   shows what each offers")
        })?;
        if found[index].models.len() == 1 {
            return Err(CliError::new("last_model", format!("it is the only model of `{}`", found[index].name))
                .help(format!("systemprompt admin config catalog provider remove {}", found[index].name)));
        }
        write_out(&mut profile, &found[index], index)?;
        profile.remove(&[Key("providers"), Item(index), Key("models"), Item(model)])?;
        let done = format!("`{}` does not offer `{}` any more.", found[index].name, self.id);
        profile.save("catalog.model.remove", &json!({"id": self.id}), done).await
    }
}

fn listed(profile: &ProfileFile<'_>) -> CliResult<Vec<ConfiguredProvider>> {
    providers(&profile.project.configuration).map_err(|error| CliError::from_error("profile_invalid", &error))
}

/// Lists the models that a provider has from the built-in catalog, because a list of its own replaces that.
fn write_out(profile: &mut ProfileFile<'_>, provider: &ConfiguredProvider, index: usize) -> CliResult {
    if !provider.lists_models {
        for id in &provider.models {
            profile.push(&[Key("providers"), Item(index), Key("models")], &ModelEntry::new(id, None))?;
        }
    }
    Ok(())
}
