//! The whole profile, and the draft that is made of a document which may have errors.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cloud::Cloud;
use super::database::Database;
use super::extensions::{Extensions, ServicePorts};
use super::general::{Site, SystemAdmin, Target};
use super::paths::Paths;
use super::problems::Problems;
use super::rate_limits::RateLimits;
use super::runtime::{EnvironmentKind, Runtime};
use super::secret_source::SecretsSettings;
use super::security::Security;
use super::server::Server;
use crate::document::{Document, child};

/// A profile and its draft, from one list of parts: what each is about, whether it must be there, its key and its type.
macro_rules! parts {
    ($($(#[$about:meta])* $need:ident $key:ident: $kind:ty,)*) => {
        /// How one instance runs: against which database, on which address, with which limits. It holds no secret.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Profile {
            $($(#[$about])* pub $key: $kind,)*
        }

        /// The parts of a profile that have the right shape. A part with an error in it is `None`, and the rules of the others
        /// still hold.
        #[derive(Default)]
        pub(crate) struct Draft {
            $(pub(crate) $key: Option<$kind>,)*
        }

        impl Draft {
            /// Reads the parts that `is_sound` names.
            pub(crate) fn read(
                document: &Document,
                is_sound: impl Fn(&str) -> bool,
                problems: &mut Problems<'_>,
            ) -> Self {
                Self { $($key: $need(document, stringify!($key), &is_sound, problems),)* }
            }

            /// The whole profile, if every part is there.
            pub(crate) fn complete(self) -> Option<Profile> {
                Some(Profile { $($key: self.$key?,)* })
            }
        }
    };
}

parts! {
    /// The name, as in `--profile <name>`; lower-case letters, digits, `_` and `-`. It should equal the directory's name.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]*$"))]
    required name: String,
    /// The name people see.
    required display_name: String,
    /// Whether this runs on your own machine or on a cloud tenant; it decides the rules of paths and URLs.
    #[serde(default)]
    optional target: Target,
    /// What this installation is called.
    required site: Site,
    /// The principal that owns system records.
    required system_admin: SystemAdmin,
    /// The database. Its URL is a secret and not here.
    required database: Database,
    /// Where the HTTP server binds and how others reach it.
    required server: Server,
    /// Where code, configuration and data lie. Relative paths start at the profile's directory.
    required paths: Paths,
    /// Who issues tokens, for whom and for how long.
    required security: Security,
    /// Requests per second by group of endpoints and by kind of caller.
    required rate_limits: RateLimits,
    /// Kind of environment, verbosity, output.
    #[serde(default)]
    optional runtime: Runtime,
    /// The cloud tenant this profile belongs to.
    #[serde(default)]
    optional cloud: Cloud,
    /// Where secrets come from.
    #[serde(default)]
    optional secrets: SecretsSettings,
    /// Which extensions run, and their settings by prefix.
    #[serde(default)]
    optional extensions: Extensions,
    /// Settings of the agents and MCP servers of this project.
    #[serde(default)]
    optional services: ServicePorts,
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

/// A part that has no default.
fn required<T: DeserializeOwned>(
    document: &Document,
    key: &str,
    is_sound: &impl Fn(&str) -> bool,
    problems: &mut Problems<'_>,
) -> Option<T> {
    if !is_sound(key) {
        return None;
    }
    // If it is absent, that was reported.
    let value = document.value.get(key).cloned()?;
    serde_json::from_value(value).map_err(|error| problems.error(&child("", key), error.to_string())).ok()
}

/// A part that has one.
fn optional<T: DeserializeOwned + Default>(
    document: &Document,
    key: &str,
    is_sound: &impl Fn(&str) -> bool,
    problems: &mut Problems<'_>,
) -> Option<T> {
    if document.value.get(key).is_none() {
        return is_sound(key).then(T::default);
    }
    required(document, key, is_sound, problems)
}

impl Draft {
    pub(crate) fn is_cloud(&self) -> bool {
        self.target == Some(Target::Cloud)
    }

    pub(crate) fn is_production(&self) -> bool {
        self.runtime.as_ref().is_some_and(|runtime| runtime.environment == EnvironmentKind::Production)
    }
}
