//! What an extension can contribute: one file for each kind of thing, and the list of them.
//!
//! A new one is a method of [`Extension`](crate::Extension) with an empty default, a file here whose type implements
//! [`Facet`], and a line in `list.rs`. It then is checked at start, and shows in
//! [`ExtensionRegistry::snapshot`](crate::ExtensionRegistry::snapshot), in `plugins list|show|capabilities`, and in
//! `docs/reference/extensions.md`. What acts on it asks [`ExtensionRegistry::declared`](crate::ExtensionRegistry::declared).

mod authorizers;
mod config;
mod cross_extension_tables;
mod endpoints;
mod gateway_guards;
mod kind;
mod list;
mod migrations;
mod own_names;
mod permissions;
mod policies;
mod projections;
mod roles;
mod route_selectors;
mod routes;
mod safety_scanners;
mod schemas;
mod sections;
mod seeds;
mod subject_attributes;
mod system_prompt_overrides;
mod well_known;

pub use authorizers::Authorizers;
pub use config::{Config, OwnConfig};
pub use cross_extension_tables::CrossExtensionTables;
pub use endpoints::Endpoints;
pub use gateway_guards::GatewayGuards;
pub use kind::{Declared, Described, Facet};
pub use list::{Contributions, FACETS, FacetInfo, Listed};
pub use migrations::Migrations;
pub use permissions::Permissions;
pub use policies::Policies;
pub use projections::Projections;
pub use roles::Roles;
pub use route_selectors::RouteSelectors;
pub use routes::Routes;
pub use safety_scanners::SafetyScanners;
pub use schemas::Schemas;
pub use sections::Sections;
pub use seeds::Seeds;
pub use subject_attributes::SubjectAttributes;
pub use system_prompt_overrides::SystemPromptOverrides;
pub use well_known::WellKnown;

pub(crate) use list::{Checked, check};
pub(crate) use routes::check_mounts;
