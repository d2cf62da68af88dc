//! A part of the configuration that a feature owns, and where it is written.

use serde_json::Value;

/// A part of the configuration that a feature owns. The parts of all linked features and the core profile make the whole.
#[derive(Debug, Clone, PartialEq)]
pub struct SectionSpec {
    /// Where the part is written.
    pub place: Place,
    /// The JSON Schema of the value, as `schemars` generates it from the feature's type (`$defs` and local `$ref`s allowed).
    pub schema: Value,
    /// The id of the extension that owns it; problems of an extension's own prefix are reported as `ext:<id>`.
    pub extension: &'static str,
}

/// Where a section is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The value below a top-level key of `profile.yaml`.
    Profile {
        /// The key, for example `providers`.
        key: &'static str,
    },
    /// The value below a top-level key of a service document.
    ///
    /// Several sections may share a document; its other top-level keys are errors.
    /// With a glob, every document that matches may carry the key: lists are concatenated in the order of the file names and
    /// maps are joined, where a second definition of an entry is an error.
    /// A plain path that does not exist gives a warning and the section's defaults.
    Service {
        /// The document, relative to the services root, for example `governance/config.yaml` or `access-control/*.yaml`;
        /// `config/config.yaml` means the merged tree of the root document and its includes.
        path: &'static str,
        /// The top-level key in it, for example `governance` or `rules`.
        key: &'static str,
    },
    /// The settings of one extension: `services/config/<prefix>.yaml`, then `extensions.<prefix>` of the profile over it,
    /// then `SYSTEMPROMPT_EXT__<PREFIX>__<KEY>` if `extensions.allow_env_overrides` is on. Absent everywhere means `{}`.
    Extension {
        /// The prefix, `[a-z][a-z0-9_]*`.
        prefix: String,
    },
}

impl Place {
    /// The section as people find it.
    pub fn named(&self) -> String {
        match self {
            Self::Profile { key } => (*key).to_owned(),
            Self::Service { path, key } => format!("{path} {key}"),
            Self::Extension { prefix } => format!("extensions.{prefix}"),
        }
    }

    /// The name the section is asked for by.
    pub fn key(&self) -> &str {
        match self {
            Self::Profile { key } | Self::Service { key, .. } => key,
            Self::Extension { prefix } => prefix,
        }
    }
}
