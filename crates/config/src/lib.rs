//! Configuration: where the server runs, as whom, with which secrets, and what the project consists of.
//!
//! A project keeps its state in one directory, the [`Home`] (`.systemprompt`).
//! [`Configuration::load`] reads, in this order, the profile (`profiles/<name>/profile.yaml`), its secrets and the services tree,
//! and answers either a complete configuration or a [`Report`] with every problem it found: file, line, key and what to do.
//!
//! How one document is read, top to bottom:
//!
//! 1. `yaml`: text to a JSON value in which every node knows its line, bounded in size, depth and aliases; duplicate keys are errors.
//! 2. `interpolation`: `${NAME}` in string values, after parsing, so that a value can never add a key.
//! 3. `legacy`: older spellings become the canonical ones, one warning each.
//! 4. `schema`: the JSON Schema generated from the types, all errors at once, translated into sentences.
//! 5. `profile::*::check`: rules a schema cannot say.
//!
//! A feature adds its own part with a [`SectionSpec`]: a top-level profile key, a service document, or an extension's prefix.
//! The schema of the profile is composed of the core types and these sections; a key that nobody owns is an error.
//!
//! The process environment is read in [`environment`] and nowhere else.

mod configuration;
mod defaults;
mod document;
mod early;
pub mod edit;
pub mod environment;
pub mod files;
mod home;
mod interpolation;
mod legacy;
mod nearest;
pub mod profile;
mod profile_choice;
pub mod project;
mod report;
mod schema;
mod secrets;
mod section;
mod services;
mod yaml;

pub use configuration::{Configuration, Differences, LoadRequest, SectionError};
pub use defaults::fill_defaults;
pub use document::Location;
pub use early::runtime_in_force;
pub use environment::Environment;
pub use home::{Home, HomeNotFound};
pub use nearest::nearest;
pub use profile::Profile;
pub use report::{Problem, Report, Severity, Symbols};
pub use schema::json_schema;
pub use secrets::{SecretOrigin, Secrets};
pub use section::{Place, SectionSpec};
pub use services::{PortRange, SchemaMode, ServiceDocument, ServicesTree, Settings};
