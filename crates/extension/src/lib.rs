//! The extension API: everything a crate needs to add tables, routes, configuration, roles and services to the product.
//!
//! The product's own features are extensions too and use nothing that is not here.
//!
//! How the parts relate:
//!
//! * An author implements [`Extension`] on a unit struct and registers it with [`register_extension!`]. Its methods are
//!   declarations; the runtime decides when to act on them.
//! * An [`ExtensionRegistry`] is what a process found linked into it, in the order everything happens: install, start,
//!   mount. It is a value. [`ExtensionRegistry::validate_all`] reports every problem at once, and
//!   [`ExtensionRegistry::snapshot`] is the inventory that commands and health pages print.
//! * State lives in services: [`Extension::provides`] builds them from an [`ExtensionContext`] and puts them in a
//!   [`ServiceMap`], where routers and later extensions find them by type. Two servers can run in one process.
//! * What can be declared is in [`facet`]: a file for each kind of thing, and one list.
//! * [`settings`] resolves an extension's configuration from its schema's defaults, the services tree and the profile.
//! * [`api`] turns an author's error type into an HTTP answer.

mod access;
mod arrival;
mod authentication;
mod ban;
mod built_in;
mod client_ip;
mod context;
mod endpoint;
mod error;
mod extension;
mod grant;
mod health;
mod known_names;
mod lifecycle;
mod made;
mod metadata;
mod metrics;
mod order;
mod panics;
mod rate_limit;
mod reach;
mod registration;
mod registry;
mod rejection;
mod reload;
mod resolve;
mod role;
mod route;
mod service;
mod set;
mod snapshot;
mod validate;

pub mod api;
pub mod authorizer;
pub mod facet;
pub mod gateway;
pub mod ledger;
pub mod openapi;
pub mod policy;
pub mod safety;
pub mod settings;
pub mod subject_attributes;

pub mod prelude;

pub use access::{Access, Guard, Refuse};
pub use api::ExtensionError;
pub use arrival::Arrival;
pub use authentication::{AuthError, Authenticate, Authentication, CredentialsRefused, IdentifyError, RefusedBecause};
pub use ban::{AddressBans, Ban, KnowsBans};
pub use built_in::{BUILT_IN, RESERVED_PATHS};
pub use client_ip::ClientIp;
pub use context::{ConfigProvider, DatabaseHandle, DynExtensionContext, ExtensionContext};
pub use endpoint::{Endpoint, RouteTable, Shape};
pub use error::{ConfigError, LoaderError, LoaderErrors};
pub use extension::Extension;
pub use grant::Grants;
pub use health::ExtensionHealth;
pub use known_names::{KnownNames, instead_of};
pub use lifecycle::Timeouts;
pub use metadata::ExtensionMetadata;
pub use metrics::Metrics;
pub use rate_limit::{Counting, Meter, RateLimited, RateLimiter, retry_after_seconds};
pub use reach::ExtensionContextExt;
pub use registration::{ExtensionRegistration, LinkExpectation, ReservedPath, Source};
pub use registry::ExtensionRegistry;
pub use rejection::Rejection;
pub use reload::Reload;
pub use role::{ExtensionRole, PermissionDef};
pub use route::{ExtensionRouter, ExtensionRouterConfig, Mount, WellKnownRoute};
pub use service::{CarriesOn, LogRetention, ServiceMap};
pub use settings::ExtensionConfigs;
pub use snapshot::{CapabilitySnapshot, ExtensionCapabilities};

pub use systemprompt_config::profile::RateGroup;
pub use systemprompt_config::{Configuration, Place, Problem, SectionSpec};
pub use systemprompt_database::{Database, DbPool, Migration, Module, SchemaDefinition, SchemaSource, Seed};

/// Under which header a governed answer names its request; pages of other origins may read it.
pub const REQUEST_ID: http::HeaderName = http::HeaderName::from_static("x-systemprompt-request-id");

/// A JSON value, as configuration and schemas are passed around.
pub use serde_json::Value as JsonValue;

/// What the macros' output refers to, so that an author's crate needs no dependency of its own for it.
#[doc(hidden)]
pub mod __private {
    pub use crate::registration::crate_of;
    pub use inventory;
    pub use std::sync::Arc;
}
