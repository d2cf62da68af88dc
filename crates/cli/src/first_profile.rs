//! Writing a profile: what `admin setup` and the first `up` share.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use systemprompt_config::profile::EnvironmentKind;
use systemprompt_config::project::{NewProject, ProfileText, ProjectError, StagedProfile};
use systemprompt_config::{Environment, Home, environment};
use systemprompt_identity::SigningKeys;
use systemprompt_model::Secret;

use crate::change::{About, Change, StateDigest};
use crate::error::{CliError, CliResult, Exit};
use crate::project::Invocation;

/// What a new profile is about.
pub(crate) struct FirstProfile {
    pub(crate) name: String,
    pub(crate) environment: EnvironmentKind,
    pub(crate) host: IpAddr,
    pub(crate) port: u16,
    pub(crate) admin_email: Option<String>,
    pub(crate) secrets: BTreeMap<String, Secret>,
    pub(crate) default_provider: Option<String>,
    pub(crate) port_offset: u16,
}

/// A model API that is enabled by its key.
pub(crate) struct KnownProvider {
    pub(crate) name: &'static str,
    wire: &'static str,
    surface: &'static str,
    endpoint: &'static str,
}

/// Gemini is reached through its OpenAI-compatible endpoint.
pub(crate) const KNOWN: [KnownProvider; 3] = [
    KnownProvider {
        name: "anthropic",
        wire: "anthropic",
        surface: "anthropic",
        endpoint: "https://api.anthropic.com/v1",
    },
    KnownProvider { name: "openai", wire: "openai-chat", surface: "openai", endpoint: "https://api.openai.com/v1" },
    KnownProvider {
        name: "gemini",
        wire: "openai-chat",
        surface: "openai",
        endpoint: "https://generativelanguage.googleapis.com/v1beta/openai",
    },
];

impl FirstProfile {
    /// The profile of a first `up`: on this address, with the providers whose keys are in the environment. Fails if a
    /// profile of this name cannot be made without asking for more.
    pub(crate) fn of_first_run(name: &str, host: IpAddr, port: u16, env: &Environment) -> CliResult<Self> {
        let keys = [
            ("anthropic", environment::ANTHROPIC_API_KEY),
            ("openai", environment::OPENAI_API_KEY),
            ("gemini", environment::GEMINI_API_KEY),
        ];
        let secrets = keys
            .into_iter()
            .filter_map(|(name, variable)| Some((name.to_owned(), Secret::new(env.get(variable)?))))
            .collect();
        let first = Self {
            name: name.to_owned(),
            environment: environment_of(name),
            host,
            port,
            admin_email: None,
            secrets,
            default_provider: None,
            port_offset: 0,
        };
        if name.contains(['/', '.', '~']) {
            return Err(CliError::new("unknown_profile", format!("there is no profile {name}"))
                .help("`up` makes a first profile by its name, such as `--profile local`")
                .exit(Exit::Configuration));
        }
        first.ensure_providers()?;
        Ok(first)
    }

    /// Fails if nothing would answer.
    pub(crate) fn ensure_providers(&self) -> CliResult {
        if self.environment == EnvironmentKind::Production
            && !KNOWN.iter().any(|known| self.secrets.contains_key(known.name))
        {
            return Err(CliError::new("no_provider", "a production profile needs at least one provider")
                .help(
                    "give `admin setup` --anthropic-key, --openai-key or --gemini-key, or set ANTHROPIC_API_KEY, \
                     OPENAI_API_KEY or GEMINI_API_KEY; the demo provider is for trying things out",
                )
                .exit(Exit::Usage));
        }
        Ok(())
    }

    /// The `providers` key. The demo provider is left out of production.
    pub(crate) fn providers(&self) -> String {
        let mut list = Vec::new();
        if self.environment != EnvironmentKind::Production {
            list.push("- name: demo\n  display_name: Demo (offline, deterministic answers)\n  wire: demo\n  surface: anthropic\n".to_owned());
        }
        for known in KNOWN.iter().filter(|known| self.secrets.contains_key(known.name)) {
            list.push(format!(
                "- name: {}\n  wire: {}\n  surface: {}\n  endpoint: {}\n  api_key_secret: {}\n",
                known.name, known.wire, known.surface, known.endpoint, known.name
            ));
        }
        if list.is_empty() { "[]".to_owned() } else { list.concat() }
    }

    fn gateway(&self) -> String {
        let default = self
            .default_provider
            .as_ref()
            .map(|provider| format!("default_provider: {provider}\n"))
            .unwrap_or_default();
        format!("enabled: true\n{default}")
    }
}

impl FirstProfile {
    /// Writes it with everything that belongs to it, to be put in its place afterwards. With `replaces` there may be one.
    pub(crate) fn stage(&self, invocation: &Invocation, home: &Home, replaces: bool) -> CliResult<StagedProfile> {
        let project = self.project(home);
        let staged =
            if replaces { Ok(()) } else { project.ensure_new() }.and_then(|()| project.stage(&invocation.ambient));
        let staged = staged.map_err(not_written)?;
        // Here and not at the first start: replicas of a production profile share the key this makes.
        let key = home.signing_key(&self.name);
        let key = staged.staged().join(key.file_name().unwrap_or_default());
        SigningKeys::load_or_generate(&key, invocation.ambient.now())
            .map_err(|error| CliError::from_error("signing_key", &error).exit(Exit::Configuration))?;
        Ok(staged)
    }

    /// Fails as writing it would for what is asked for, and writes nothing.
    pub(crate) fn rehearse(&self, home: &Home, replaces: bool) -> CliResult {
        let project = self.project(home);
        let checked = if replaces { Ok(()) } else { project.ensure_new() };
        checked.and_then(|()| project.check()).map_err(not_written)
    }

    /// The change that makes it.
    pub(crate) fn change(&self, replaces: bool) -> Change {
        let secrets: Vec<_> = self.secrets.keys().collect();
        Change::new(
            "profile.create",
            About::new("profile", &self.name),
            &json!({
                "environment": self.environment, "secrets": secrets, "providers": self.providers(), "replaces": replaces,
            }),
        )
    }

    fn project(&self, home: &Home) -> NewProject {
        let section = |key: &str, comment: &str, yaml: String| ProfileText {
            key: key.to_owned(),
            comment: comment.to_owned(),
            yaml,
        };
        let mut sections = vec![
            section(
                "providers",
                "Where model requests go. Models and prices come from the built-in catalog unless listed here.",
                self.providers(),
            ),
            section("gateway", "The endpoints under /v1.", self.gateway()),
        ];
        if self.port_offset > 0 {
            sections.push(section(
                "services",
                "Added to the ports of agents and MCP servers.",
                format!("port_offset: {}\n", self.port_offset),
            ));
        }
        let bin = std::env::current_exe()
            .ok()
            .and_then(|exe| exe.parent().map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("."));
        NewProject {
            name: self.name.clone(),
            environment: self.environment,
            admin_email: self.admin_email.clone(),
            sections,
            secrets: self.secrets.clone(),
            ..NewProject::local(home.clone(), self.host.to_string(), self.port, bin)
        }
    }
}

/// The environment that a profile of this name describes.
pub(crate) fn environment_of(name: &str) -> EnvironmentKind {
    match name {
        "production" | "prod" => EnvironmentKind::Production,
        "staging" => EnvironmentKind::Staging,
        "test" => EnvironmentKind::Test,
        _ => EnvironmentKind::Development,
    }
}

/// Puts a profile in its place.
pub(crate) fn publish(staged: StagedProfile) -> CliResult<PathBuf> {
    staged.publish().map_err(not_written)
}

/// The state of a profile: its files with the digests of what is in them. Nothing if there is none.
pub(crate) fn state(directory: &Path) -> Option<StateDigest> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        if let Ok(content) = std::fs::read(entry.path()) {
            files.insert(entry.file_name().to_string_lossy().into_owned(), hex::encode(Sha256::digest(content)));
        }
    }
    Some(StateDigest::of(&files))
}

fn not_written(error: ProjectError) -> CliError {
    let failure = CliError::from_error("profile_not_written", &error).exit(Exit::Configuration);
    match error {
        ProjectError::Exists { .. } => failure.help("--force replaces it").exit(Exit::Conflict),
        ProjectError::Write { .. } => failure.help("choose another place with --home DIR, or make this one writable"),
        _ => failure,
    }
}
