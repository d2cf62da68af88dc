//! `admin config gateway route`.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use systemprompt_config::edit::Step::{Item, Key};
use systemprompt_gateway::configured::{ConfiguredRoute, routes};

use crate::error::{CliError, CliResult};
use crate::profile_file::ProfileFile;
use crate::project::Invocation;
use crate::view::{Page, Row};

/// Rules that send models to providers. The first that matches counts.
#[derive(Debug, Subcommand)]
pub(crate) enum Route {
    Add(Add),
    Remove(Remove),
    List(List),
}

/// Add a rule, behind those there are.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The models it is for: an id, in which `*` stands for any text and `?` for one character.
    model_pattern: String,
    /// The provider they go to.
    provider: String,
    /// A stable id, which access rules name; derived from pattern and provider unless given.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The model name sent to the provider.
    #[arg(long, value_name = "MODEL")]
    upstream_model: Option<String>,
    /// A provider to go to if that one fails; may be given several times, in order.
    #[arg(long, value_name = "PROVIDER")]
    fallback: Vec<String>,
}

/// Remove a rule.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Its id.
    id: String,
}

/// The rules in the order in which they are tried.
#[derive(Debug, Args)]
pub(crate) struct List {}

impl Route {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Add(command) => command.run(invocation).await,
            Self::Remove(command) => command.run(invocation).await,
            Self::List(List {}) => {
                let project = invocation.project()?;
                let found = routes(&project.configuration);
                let found = found.map_err(|error| CliError::from_error("profile_invalid", &error))?;
                invocation.printer.show(&Page::whole(found));
                Ok(())
            }
        }
    }
}

/// A rule as it is written, in this order.
#[derive(Debug, Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    model_pattern: &'a str,
    provider: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_model: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fallbacks: Vec<Fallback<'a>>,
}

#[derive(Debug, Serialize)]
struct Fallback<'a> {
    provider: &'a str,
}

impl Add {
    async fn run(self, invocation: &Invocation) -> CliResult {
        let mut profile = ProfileFile::open(invocation)?;
        let route = Written {
            id: self.id.as_deref(),
            model_pattern: &self.model_pattern,
            provider: &self.provider,
            upstream_model: self.upstream_model.as_deref(),
            fallbacks: self.fallback.iter().map(|provider| Fallback { provider }).collect(),
        };
        profile.push(&[Key("gateway"), Key("routes")], &route)?;
        let done = format!("`{}` goes to `{}`.", self.model_pattern, self.provider);
        profile.save("gateway.route.add", &json!(route), done).await
    }
}

impl Remove {
    async fn run(self, invocation: &Invocation) -> CliResult {
        let mut profile = ProfileFile::open(invocation)?;
        let found = routes(&profile.project.configuration);
        let found = found.map_err(|error| CliError::from_error("profile_invalid", &error))?;
        let index = found.iter().position(|route| route.id == self.id).ok_or_else(|| {
            CliError::new("unknown_route", format!("there is no configured route `{}`", self.id))
                .help("systemprompt admin config gateway route list   shows the ids")
        })?;
        profile.remove(&[Key("gateway"), Key("routes"), Item(index)])?;
        let done = format!("The route `{}` is gone.", self.id);
        profile.save("gateway.route.remove", &json!({"id": self.id}), done).await
    }
}

impl Row for ConfiguredRoute {
    const COLUMNS: &'static [&'static str] = &["id", "models", "providers", "sent as", "fallbacks"];
    const NONE: &'static str = "No routes: each model goes to the provider that lists it.";

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.model_pattern.clone(),
            self.providers.join(", "),
            self.upstream_model.clone().unwrap_or_default(),
            self.fallbacks.join(", "),
        ]
    }
}
