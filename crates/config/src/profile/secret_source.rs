//! `secrets`: where the secrets of a profile come from.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problems::Problems;

/// Where secrets come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsSettings {
    /// The secrets file, a flat JSON map of texts that only its owner may read.
    pub secrets_path: PathBuf,
    /// `file`: the file, overridden key by key from the environment. `env`: the file may be absent.
    pub source: SecretSource,
    /// What a missing secret or a file that others may read means: `strict` aborts, `warn` says so, `skip` is silent.
    pub validation: Validation,
}

impl Default for SecretsSettings {
    fn default() -> Self {
        Self {
            secrets_path: PathBuf::from("./secrets.json"),
            source: SecretSource::default(),
            validation: Validation::default(),
        }
    }
}

/// Where secrets come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// A file.
    #[default]
    File,
    /// The process environment.
    Env,
}

/// How seriously a check is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Validation {
    /// A failure aborts.
    Strict,
    /// A failure is told.
    #[default]
    Warn,
    /// A failure is silent.
    Skip,
}

pub(super) fn check(secrets: &SecretsSettings, is_production: bool, problems: &mut Problems<'_>) {
    if is_production && secrets.validation != Validation::Strict {
        problems.warning("/secrets/validation", "a production environment should set this to `strict`");
    }
}
