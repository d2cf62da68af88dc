//! The profile: how one instance runs. The sections of other features are not here; see [`crate::SectionSpec`].

mod cloud;
mod database;
mod extensions;
mod general;
mod paths;
mod rate_limits;
mod runtime;
mod secret_source;
mod security;
mod server;
mod without_effect;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use cloud::Cloud;
pub use database::{Database, DatabaseType, Pool};
pub use extensions::{Extensions, ServicePorts};
pub use general::{Site, SystemAdmin, Target};
pub use paths::Paths;
pub use rate_limits::{RateGroup, RateLimitBackend, RateLimits, TierMultipliers};
pub use runtime::{EnvironmentKind, LogLevel, OutputFormat, Runtime};
pub use secret_source::{SecretSource, SecretsSettings, Validation};
pub use security::{Security, TrustedIssuer};
pub use server::{ContentNegotiation, FrameOptions, ReferrerPolicy, SecurityHeaders, Server, Tls};

use crate::document::{Document, child, dotted};
use crate::environment::Environment;
use crate::report::Problem;

pub(crate) use paths::resolve as resolve_path;

/// How one instance runs: against which database, on which address, with which limits. It holds no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name, as in `--profile <name>`; lower-case letters, digits, `_` and `-`. It should equal the directory's name.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]*$"))]
    pub name: String,
    /// The name people see.
    pub display_name: String,
    /// Whether this runs on your own machine or on a cloud tenant; it decides the rules of paths and URLs.
    #[serde(default)]
    pub target: Target,
    /// What this installation is called.
    pub site: Site,
    /// The principal that owns system records.
    pub system_admin: SystemAdmin,
    /// The database. Its URL is a secret and not here.
    pub database: Database,
    /// Where the HTTP server binds and how others reach it.
    pub server: Server,
    /// Where code, configuration and data lie. Relative paths start at the profile's directory.
    pub paths: Paths,
    /// Who issues tokens, for whom and for how long.
    pub security: Security,
    /// Requests per second by group of endpoints and by kind of caller.
    pub rate_limits: RateLimits,
    /// Kind of environment, verbosity, output.
    #[serde(default)]
    pub runtime: Runtime,
    /// The cloud tenant this profile belongs to.
    #[serde(default)]
    pub cloud: Cloud,
    /// Where secrets come from.
    #[serde(default)]
    pub secrets: SecretsSettings,
    /// Which extensions run, and their settings by prefix.
    #[serde(default)]
    pub extensions: Extensions,
    /// Settings of the agents and MCP servers of this project.
    #[serde(default)]
    pub services: ServicePorts,
}

impl Profile {
    /// Whether it describes a production environment.
    pub fn is_production(&self) -> bool {
        self.runtime.environment == EnvironmentKind::Production
    }

    /// The `iss` of our tokens: `security.jwt_issuer`, by default the external URL.
    pub fn issuer(&self) -> &str {
        self.security.jwt_issuer.as_deref().unwrap_or(&self.server.api_external_url)
    }
}

/// The parts of a profile that have the right shape. A part with an error in it is `None`, and the rules of the others still hold.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) name: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) target: Option<Target>,
    pub(crate) site: Option<Site>,
    pub(crate) system_admin: Option<SystemAdmin>,
    pub(crate) database: Option<Database>,
    pub(crate) server: Option<Server>,
    pub(crate) paths: Option<Paths>,
    pub(crate) security: Option<Security>,
    pub(crate) rate_limits: Option<RateLimits>,
    pub(crate) runtime: Option<Runtime>,
    pub(crate) cloud: Option<Cloud>,
    pub(crate) secrets: Option<SecretsSettings>,
    pub(crate) extensions: Option<Extensions>,
    pub(crate) services: Option<ServicePorts>,
}

impl Draft {
    /// Reads the parts that `is_sound` names.
    pub(crate) fn read(document: &Document, is_sound: impl Fn(&str) -> bool, problems: &mut Problems<'_>) -> Self {
        fn part<T: DeserializeOwned>(
            document: &Document,
            key: &str,
            is_sound: &impl Fn(&str) -> bool,
            problems: &mut Problems<'_>,
        ) -> Option<T> {
            if !is_sound(key) {
                return None;
            }
            // A key that is absent and has no default was reported as missing.
            let value = document.value.get(key).cloned()?;
            serde_json::from_value(value).map_err(|error| problems.error(&child("", key), error.to_string())).ok()
        }
        fn optional<T: DeserializeOwned + Default>(
            document: &Document,
            key: &str,
            is_sound: &impl Fn(&str) -> bool,
            problems: &mut Problems<'_>,
        ) -> Option<T> {
            if document.value.get(key).is_none() {
                return is_sound(key).then(T::default);
            }
            part(document, key, is_sound, problems)
        }
        Self {
            name: part(document, "name", &is_sound, problems),
            display_name: part(document, "display_name", &is_sound, problems),
            target: optional(document, "target", &is_sound, problems),
            site: part(document, "site", &is_sound, problems),
            system_admin: part(document, "system_admin", &is_sound, problems),
            database: part(document, "database", &is_sound, problems),
            server: part(document, "server", &is_sound, problems),
            paths: part(document, "paths", &is_sound, problems),
            security: part(document, "security", &is_sound, problems),
            rate_limits: part(document, "rate_limits", &is_sound, problems),
            runtime: optional(document, "runtime", &is_sound, problems),
            cloud: optional(document, "cloud", &is_sound, problems),
            secrets: optional(document, "secrets", &is_sound, problems),
            extensions: optional(document, "extensions", &is_sound, problems),
            services: optional(document, "services", &is_sound, problems),
        }
    }

    /// Every rule that the schema cannot say.
    pub(crate) fn check(&self, environment: &Environment, problems: &mut Problems<'_>) {
        server::check(self, problems);
        security::check(self, problems);
        paths::check(self, environment, problems);
        rate_limits::check(self, problems);
        secret_source::check(self, problems);
        extensions::check(self, problems);
        without_effect::check(self, problems);
    }

    /// The whole profile, if every part is there.
    pub(crate) fn complete(self) -> Option<Profile> {
        Some(Profile {
            name: self.name?,
            display_name: self.display_name?,
            target: self.target?,
            site: self.site?,
            system_admin: self.system_admin?,
            database: self.database?,
            server: self.server?,
            paths: self.paths?,
            security: self.security?,
            rate_limits: self.rate_limits?,
            runtime: self.runtime?,
            cloud: self.cloud?,
            secrets: self.secrets?,
            extensions: self.extensions?,
            services: self.services?,
        })
    }

    pub(crate) fn is_cloud(&self) -> bool {
        self.target == Some(Target::Cloud)
    }

    pub(crate) fn is_production(&self) -> bool {
        self.runtime.as_ref().is_some_and(|runtime| runtime.environment == EnvironmentKind::Production)
    }
}

/// Problems of one document, told by pointer.
pub(crate) struct Problems<'a> {
    pub(crate) domain: &'a str,
    pub(crate) document: &'a Document,
    pub(crate) found: Vec<Problem>,
}

impl Problems<'_> {
    pub(crate) fn error(&mut self, pointer: &str, message: impl Into<String>) -> &mut Problem {
        self.push(Problem::error(self.domain, dotted(pointer), message), pointer)
    }

    pub(crate) fn warning(&mut self, pointer: &str, message: impl Into<String>) -> &mut Problem {
        self.push(Problem::warning(self.domain, dotted(pointer), message), pointer)
    }

    fn push(&mut self, problem: Problem, pointer: &str) -> &mut Problem {
        self.found.push(problem.at_option(self.document.locate(pointer)));
        self.found.last_mut().expect("just pushed")
    }

    /// The value in quotes for a message, unless it came from a variable.
    pub(crate) fn quote(&self, pointer: &str, value: impl std::fmt::Display) -> String {
        if self.document.interpolated.contains(pointer) { "the given value".to_owned() } else { format!("`{value}`") }
    }
}

impl Problem {
    pub(crate) fn hint(&mut self, suggestion: impl Into<String>) {
        self.suggestion = Some(suggestion.into());
    }
}

/// Runs `check` on a profile made of these YAML parts and returns the problems, one line each.
#[cfg(test)]
pub(crate) fn problems_of(yaml: &str) -> Vec<String> {
    problems_in(yaml, &Environment::default())
}

#[cfg(test)]
pub(crate) fn problems_in(yaml: &str, environment: &Environment) -> Vec<String> {
    let document = crate::yaml::parse(yaml, std::path::Path::new("profile.yaml"), "profile").unwrap();
    let mut problems = Problems { domain: "profile", document: &document, found: Vec::new() };
    let draft = Draft::read(&document, |_| true, &mut problems);
    draft.check(environment, &mut problems);
    let line = |p: &Problem| format!("{}{p}", if p.is_error() { "" } else { "warning: " });
    problems.found.iter().map(line).collect()
}
