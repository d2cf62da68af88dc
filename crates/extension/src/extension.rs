//! The trait every feature implements.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use systemprompt_model::EntityKind;

use crate::authorizer::AuthorizerDef;
use crate::gateway::{GatewayGuardDef, RouteSelectorDef, SystemPromptOverrideDef};
use crate::ledger::Projection;
use crate::policy::PolicyDef;
use crate::safety::SafetyScannerDef;
use crate::subject_attributes::SubjectAttributesDef;

use crate::{
    ConfigError, Configuration, Endpoint, ExtensionContext, ExtensionHealth, ExtensionMetadata, ExtensionRole,
    ExtensionRouter, ExtensionRouterConfig, JsonValue, KnownNames, LoaderError, Migration, PermissionDef, Problem,
    Reload, SchemaDefinition, SectionSpec, Seed, ServiceMap, WellKnownRoute,
};

/// A set of things a crate adds to the product. Only [`metadata`](Self::metadata) is required.
///
/// ```
/// use systemprompt_extension::prelude::*;
///
/// #[derive(Default)]
/// struct Greeting;
/// impl Extension for Greeting {
///     fn metadata(&self) -> ExtensionMetadata {
///         ExtensionMetadata { id: "greeting", name: "Greeting", version: "1.0.0" }
///     }
///     fn router(&self, _: &dyn ExtensionContext) -> Option<ExtensionRouter> {
///         let routes = axum::Router::new().route("/hello", axum::routing::get(|| async { "hello" }));
///         Some(ExtensionRouter::public(routes, "/api/ext/greeting"))
///     }
/// }
/// register_extension!(Greeting);
/// ```
///
/// An `impl` with hooks that are `async` has `#[async_trait]` above it, which the prelude brings.
///
/// The methods fall in two groups.
///
/// * **Declarations** return data. They must give the same answer every time, must not block and must do no I/O. The
///   registry calls each once and keeps the answer, so an extension's inventory never changes while a process runs. What
///   can be declared is listed in [`facet::FACETS`](crate::facet::FACETS).
/// * **Hooks** do work, are given an [`ExtensionContext`], and are called in this order: [`provides`](Self::provides),
///   [`on_start`](Self::on_start), [`try_router`](Self::try_router), then [`health`](Self::health) and [`reload`](Self::reload)
///   as often as somebody asks, and [`on_shutdown`](Self::on_shutdown). Extensions are taken in load order, at shutdown in reverse.
///
/// The value itself holds no state. What a server needs at run time lives in the services it
/// [provides](Self::provides), so that two servers can run in one process.
#[async_trait]
pub trait Extension: Send + Sync + 'static {
    /// Who this is.
    fn metadata(&self) -> ExtensionMetadata;

    /// The identifier. Not to be overridden.
    fn id(&self) -> &'static str {
        self.metadata().id
    }

    /// The name for people. Not to be overridden.
    fn name(&self) -> &'static str {
        self.metadata().name
    }

    /// The version. Not to be overridden.
    fn version(&self) -> &'static str {
        self.metadata().version
    }

    /// Orders extensions that do not depend on each other; lower comes first. By convention 1–10 is for infrastructure,
    /// 10–50 for the product's domains, 50–100 for features, more for the rest.
    fn priority(&self) -> u32 {
        100
    }

    /// Whether the product must not run without it: configuration cannot disable it, and its failure to start is fatal
    /// even with `extensions.lenient_start`.
    fn is_required(&self) -> bool {
        false
    }

    /// Ids of the extensions that must be there and come earlier.
    fn dependencies(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Ids of the extensions that come earlier if they are there.
    fn optional_dependencies(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// The oldest version of the product this works with, `MAJOR[.MINOR[.PATCH]]`.
    fn min_core_version(&self) -> Option<&'static str> {
        None
    }

    /// The tables, indexes, views and functions it owns, as they are to be. Applied on every start; idempotent.
    fn schemas(&self) -> Vec<SchemaDefinition> {
        Vec::new()
    }

    /// Orders extensions of equal [`priority`](Self::priority) that do not depend on each other.
    fn migration_weight(&self) -> u32 {
        100
    }

    /// The steps that bring a database of an earlier version to the present [`schemas`](Self::schemas). Each runs once.
    fn migrations(&self) -> Vec<Migration> {
        Vec::new()
    }

    /// Rows that must exist. Run on every start; idempotent.
    fn seeds(&self) -> Vec<Seed> {
        Vec::new()
    }

    /// Tables of other extensions that its [`migrations`](Self::migrations) change. Their owners must be
    /// [`dependencies`](Self::dependencies).
    fn cross_extension_tables(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Whether it declares schema.
    fn has_schemas(&self) -> bool {
        !self.schemas().is_empty()
    }

    /// Whether it declares migrations.
    fn has_migrations(&self) -> bool {
        !self.migrations().is_empty()
    }

    /// Its routes. Called once per server, after every [`on_start`](Self::on_start).
    ///
    /// An extension whose router can fail to build, or that has several, implements [`try_router`](Self::try_router).
    fn router(&self, ctx: &dyn ExtensionContext) -> Option<ExtensionRouter> {
        let _ = ctx;
        None
    }

    /// Its routes, where building them can fail or there are several mounts. Called once per server, instead of
    /// [`router`](Self::router).
    fn try_router(&self, ctx: &dyn ExtensionContext) -> Result<Vec<ExtensionRouter>, LoaderError> {
        Ok(self.router(ctx).into_iter().collect())
    }

    /// Where its only router will be mounted, so that conflicts are found without building it. When present it must
    /// equal [`ExtensionRouter::config`] of the router.
    fn router_config(&self) -> Option<ExtensionRouterConfig> {
        None
    }

    /// Where its routers will be mounted, for an extension with several.
    fn router_configs(&self) -> Vec<ExtensionRouterConfig> {
        self.router_config().into_iter().collect()
    }

    /// What can be asked of its routers: the [`RouteTable`](crate::RouteTable)s it builds them from, for the reference and
    /// for tests of who may ask.
    fn endpoints(&self) -> Vec<Endpoint> {
        Vec::new()
    }

    /// Documents below `/.well-known/`, which no router may claim.
    fn well_known(&self) -> Vec<WellKnownRoute> {
        Vec::new()
    }

    /// The name of its configuration: `services/config/<prefix>.yaml` and `extensions.<prefix>` in the profile.
    fn config_prefix(&self) -> Option<&str> {
        None
    }

    /// The JSON Schema (2020-12 or draft-07) of its configuration. It is enforced, its `default` values are filled in,
    /// and keys it does not name are refused unless it says otherwise with `additionalProperties`.
    fn config_schema(&self) -> Option<JsonValue> {
        None
    }

    /// What the schema cannot say about its configuration. Called once, with the object the extension will later read.
    /// Must not reach for the network; whether a server answers is a matter of [`health`](Self::health).
    fn validate_config(&self, config: &JsonValue) -> Result<(), ConfigError> {
        let _ = config;
        Ok(())
    }

    /// Whether it has configuration of its own.
    fn has_config(&self) -> bool {
        self.config_prefix().is_some()
    }

    /// The keys of the profile and the documents of the services tree that this feature owns, beyond its
    /// [`config_prefix`](Self::config_prefix).
    fn config_sections(&self) -> Vec<SectionSpec> {
        Vec::new()
    }

    /// The files that its sections name, each with the key it is named below. What stands in them is part of the configuration:
    /// when it changes, that is reloaded.
    fn section_files(&self, config: &Configuration) -> Vec<(&'static str, PathBuf)> {
        let _ = config;
        Vec::new()
    }

    /// What the schemas of its [`config_sections`](Self::config_sections) cannot say: every problem, with the place it
    /// is at. Called after all sections were read, so sections of other features may be consulted.
    fn validate_sections(&self, config: &Configuration) -> Vec<Problem> {
        let _ = config;
        Vec::new()
    }

    /// The entities it has under this configuration that access rules may be about, by their kind. Rules about others of
    /// the same kind are refused, so an extension that registers entities declares them here too.
    fn entities(&self, config: &Configuration) -> Vec<(EntityKind, Vec<String>)> {
        let _ = config;
        Vec::new()
    }

    /// The regions in which what leaves through it is processed under this configuration, as rules about residency name them.
    fn regions(&self, config: &Configuration) -> Vec<String> {
        let _ = config;
        Vec::new()
    }

    /// Problems of its sections with names of other features: what they name and nobody has. Called after the
    /// [`validate_sections`](Self::validate_sections) of all.
    fn validate_names(&self, config: &Configuration, known: &KnownNames) -> Vec<Problem> {
        let _ = (config, known);
        Vec::new()
    }

    /// Roles it adds to the catalogue.
    fn roles(&self) -> Vec<ExtensionRole> {
        Vec::new()
    }

    /// Whether it declares roles.
    fn has_roles(&self) -> bool {
        !self.roles().is_empty()
    }

    /// The tables it derives from the ledger. They are among its [`schemas`](Self::schemas).
    fn projections(&self) -> Vec<Arc<dyn Projection>> {
        Vec::new()
    }

    /// Authorizers it adds, which are asked after the access rules and must allow what those do, where the profile has
    /// `governance.authz.hook.mode: extension`.
    fn governance_authorizers(&self) -> Vec<AuthorizerDef> {
        Vec::new()
    }

    /// Dimensions of people whose values it knows, and that access rules may be about. They come after departments and groups,
    /// in load order, and before roles.
    fn subject_attributes(&self) -> Vec<SubjectAttributesDef> {
        Vec::new()
    }

    /// Policies it adds to those the Gate asks. They run after the built-in ones unless the configuration of governance
    /// puts them elsewhere.
    fn governance_policies(&self) -> Vec<PolicyDef> {
        Vec::new()
    }

    /// Guards it adds, which may refuse requests to models.
    fn gateway_guards(&self) -> Vec<GatewayGuardDef> {
        Vec::new()
    }

    /// Selectors it adds, which may send requests to models another way.
    fn route_selectors(&self) -> Vec<RouteSelectorDef> {
        Vec::new()
    }

    /// Overrides it adds of what callers have models told as their operator.
    fn system_prompt_overrides(&self) -> Vec<SystemPromptOverrideDef> {
        Vec::new()
    }

    /// Scanners it adds to those that look at prompts and answers for safety. They run where `spec.safety.scanners` of
    /// `services/gateway/policies.yaml` names them.
    fn safety_scanners(&self) -> Vec<SafetyScannerDef> {
        Vec::new()
    }

    /// Permissions it defines.
    fn permissions(&self) -> Vec<PermissionDef> {
        Vec::new()
    }

    /// Builds its services. `services` holds those of all extensions before it; `ctx.services()` is still empty.
    async fn provides(&self, ctx: &dyn ExtensionContext, services: &mut ServiceMap) -> Result<(), LoaderError> {
        let _ = (ctx, services);
        Ok(())
    }

    /// Begins its work: spawns its tasks on [`ExtensionContext::tracker`]. The database is installed and every service is
    /// there; requests are not yet served. Limited to 30 seconds.
    async fn on_start(&self, ctx: &dyn ExtensionContext) -> Result<(), LoaderError> {
        let _ = ctx;
        Ok(())
    }

    /// Makes itself ready for another configuration, which is valid: builds what follows from it, and fails if that cannot
    /// be. Nothing changes before the server applies what this gives, which it does only if every extension is ready; calls
    /// that have begun keep what they began with. Without it the keys the extension owns wait for a restart, and the server
    /// says which. Limited to 30 seconds.
    async fn reload(
        &self,
        ctx: &dyn ExtensionContext,
        configuration: &Arc<Configuration>,
    ) -> Result<Option<Reload>, LoaderError> {
        let _ = (ctx, configuration);
        Ok(None)
    }

    /// Ends its work, after the last request. Tasks on the tracker are waited for by the server afterwards; this is for
    /// what must be said goodbye to. Limited to 10 seconds.
    async fn on_shutdown(&self, ctx: &dyn ExtensionContext) {
        let _ = ctx;
    }

    /// How it is doing. Asked for by the detailed health page; limited to 5 seconds.
    async fn health(&self, ctx: &dyn ExtensionContext) -> ExtensionHealth {
        let _ = ctx;
        ExtensionHealth::Healthy
    }
}
