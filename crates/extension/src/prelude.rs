//! What an extension's `extension.rs` needs, in one line: `use systemprompt::extension::prelude::*;`.

pub use crate::api::{ApiError, ApiResult, AuthUser, ExtensionError, OnBehalfOf};
pub use crate::{
    Access, ClientIp, ConfigError, Configuration, Database, DbPool, DynExtensionContext, Endpoint, Extension,
    ExtensionContext, ExtensionContextExt, ExtensionHealth, ExtensionMetadata, ExtensionRegistry, ExtensionRole,
    ExtensionRouter, ExtensionRouterConfig, JsonValue, LoaderError, LoaderErrors, Metrics, Migration, PermissionDef,
    Place, Problem, RESERVED_PATHS, RateGroup, Reload, RouteTable, SchemaDefinition, SchemaSource, SectionSpec, Seed,
    ServiceMap, WellKnownRoute, link_extensions, register_extension,
};
pub use async_trait::async_trait;
pub use std::sync::Arc;
