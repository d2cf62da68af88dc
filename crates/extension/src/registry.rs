//! The extensions of a process, in load order, and what they declared.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use axum::Router;
use systemprompt_config::profile::Extensions;
use systemprompt_config::{Place, SectionSpec};
use systemprompt_database::{Migration, Module, SchemaDefinition, Seed};

use crate::lifecycle::panic_message;
use crate::order::{Node, topological};
use crate::{
    CapabilitySnapshot, Endpoint, Extension, ExtensionContext, ExtensionMetadata, ExtensionRegistration, ExtensionRole,
    ExtensionRouter, ExtensionRouterConfig, Grants, JsonValue, LinkExpectation, LoaderError, LoaderErrors,
    PermissionDef, Source, WellKnownRoute, validate,
};

/// The extensions of one server, in load order.
///
/// Building one never fails: what is wrong with the set is found by [`validate_all`](Self::validate_all), all of it at
/// once and in an order that depends on nothing but the set. Everything but the lifecycle and the routers works on a set
/// with problems, so that commands can show them.
#[derive(Default)]
pub struct ExtensionRegistry {
    /// Enabled, in load order.
    entries: Vec<Entry>,
    /// The same extensions, for [`Self::iter`].
    enabled: Vec<Arc<dyn Extension>>,
    /// Switched off by `extensions.disabled`, in order of their ids.
    disabled: Vec<Entry>,
    profile: Extensions,
    /// Circles among the dependencies of `entries`.
    circles: Vec<Vec<String>>,
    /// Problems that were seen while collecting, which the set itself does not show any more.
    problems: Vec<LoaderError>,
    snapshot: OnceLock<CapabilitySnapshot>,
}

/// One extension and the answers it gave to the declaring methods, each asked once.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) extension: Arc<dyn Extension>,
    pub(crate) source: Source,
    pub(crate) metadata: ExtensionMetadata,
    pub(crate) priority: u32,
    pub(crate) weight: u32,
    pub(crate) required: bool,
    pub(crate) dependencies: Vec<&'static str>,
    pub(crate) optional_dependencies: Vec<&'static str>,
    pub(crate) min_core_version: Option<&'static str>,
    pub(crate) schemas: Vec<SchemaDefinition>,
    pub(crate) migrations: Vec<Migration>,
    pub(crate) seeds: Vec<Seed>,
    pub(crate) cross_tables: Vec<&'static str>,
    pub(crate) routes: Vec<ExtensionRouterConfig>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) well_known: Vec<WellKnownRoute>,
    pub(crate) config_prefix: Option<String>,
    pub(crate) config_schema: Option<JsonValue>,
    pub(crate) sections: Vec<SectionSpec>,
    pub(crate) roles: Vec<ExtensionRole>,
    pub(crate) permissions: Vec<PermissionDef>,
}

impl Entry {
    fn new(extension: Arc<dyn Extension>, source: Source) -> Self {
        Self {
            source,
            metadata: extension.metadata(),
            priority: extension.priority(),
            weight: extension.migration_weight(),
            required: extension.is_required(),
            dependencies: extension.dependencies(),
            optional_dependencies: extension.optional_dependencies(),
            min_core_version: extension.min_core_version(),
            schemas: extension.schemas(),
            migrations: extension.migrations(),
            seeds: extension.seeds(),
            cross_tables: extension.cross_extension_tables(),
            routes: extension.router_configs(),
            endpoints: extension.endpoints(),
            well_known: extension.well_known(),
            config_prefix: extension.config_prefix().map(str::to_owned),
            config_schema: extension.config_schema(),
            sections: extension.config_sections(),
            roles: extension.roles(),
            permissions: extension.permissions(),
            extension,
        }
    }

    pub(crate) fn id(&self) -> &'static str {
        self.metadata.id
    }

    pub(crate) fn module(&self) -> Module {
        Module {
            id: self.id().to_owned(),
            required: self.required,
            dependencies: self.dependencies.iter().map(ToString::to_string).collect(),
            schemas: self.schemas.clone(),
            migrations: self.migrations.clone(),
            seeds: self.seeds.clone(),
            cross_tables: self.cross_tables.iter().map(ToString::to_string).collect(),
        }
    }
}

impl ExtensionRegistry {
    /// Keys below `extensions:` in the profile that no [prefix](Extension::config_prefix) may be called.
    pub const RESERVED_PREFIXES: &'static [&'static str] =
        &["disabled", "required", "lenient_start", "allow_env_overrides", "approved_wildcard_roles"];

    /// A registry without extensions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every extension that is linked into this binary. A factory that panics, a duplicate and an expected crate that
    /// registers nothing are kept for [`validate_all`](Self::validate_all).
    pub fn discover() -> Self {
        let mut registrations: Vec<&ExtensionRegistration> =
            inventory::iter::<ExtensionRegistration>.into_iter().collect();
        // The linker's order is nobody's decision; the source's is the same in every build.
        registrations.sort_by_key(|registration| (registration.crate_name, registration.file, registration.line));
        let mut expected: Vec<&LinkExpectation> = inventory::iter::<LinkExpectation>.into_iter().collect();
        expected.sort_by_key(|expectation| (expectation.crate_name, expectation.file, expectation.line));
        Self::collect(&registrations, &expected)
    }

    /// A registry of exactly these extensions; nothing that is linked gets in. For tests and embedding.
    pub fn of(extensions: impl IntoIterator<Item = Arc<dyn Extension>>) -> Self {
        let mut registry = Self::new();
        registry.add_all(extensions.into_iter().map(|extension| Entry::new(extension, Source::Given)));
        registry.arrange();
        registry
    }

    pub(crate) fn collect(registrations: &[&ExtensionRegistration], expected: &[&LinkExpectation]) -> Self {
        let mut registry = Self::new();
        for expectation in expected {
            if !registrations.iter().any(|registration| registration.crate_name == expectation.crate_name) {
                registry.problems.push(LoaderError::ExtensionNotLinked {
                    crate_name: expectation.crate_name.to_owned(),
                    location: format!("{}:{}", expectation.file, expectation.line),
                });
            }
        }
        for registration in registrations {
            let source = Source::from(*registration);
            // Declaring methods are an author's code as well, so they run inside the same guard as the factory.
            match catch_unwind(AssertUnwindSafe(|| Entry::new((registration.factory)(), source))) {
                Ok(entry) => registry.add_all([entry]),
                Err(panic) => registry.problems.push(LoaderError::InitializationFailed {
                    extension: registration.crate_name.to_owned(),
                    message: format!("the factory at {source} panicked: {}", panic_message(panic.as_ref())),
                }),
            }
        }
        registry.arrange();
        registry
    }

    /// The registry as the profile wants it: without the disabled extensions. Replaces what an earlier call said.
    #[must_use]
    pub fn configured(mut self, profile: &Extensions) -> Self {
        let all = std::mem::take(&mut self.entries).into_iter().chain(std::mem::take(&mut self.disabled));
        let off = |entry: &Entry| profile.disabled.iter().any(|id| normal_id(id) == normal_id(entry.id()));
        (self.disabled, self.entries) = all.partition(|entry| off(entry) && !entry.required);
        self.disabled.sort_by_key(Entry::id);
        self.profile = profile.clone();
        self.arrange();
        self
    }

    /// The first problem, in the order of [`validate_all`](Self::validate_all).
    pub fn validate(&self) -> Result<(), LoaderError> {
        self.validate_all().into_iter().next().map_or(Ok(()), Err)
    }

    /// Every problem of this set of extensions, kind by kind, within a kind in load order.
    pub fn validate_all(&self) -> Vec<LoaderError> {
        let mut problems = self.problems.clone();
        problems.extend(validate::all(self));
        problems
    }

    /// The enabled extension with this id.
    pub fn get(&self, id: &str) -> Option<&Arc<dyn Extension>> {
        self.enabled.iter().find(|extension| extension.id() == id)
    }

    /// Whether there is an enabled extension with this id.
    pub fn has(&self, id: &str) -> bool {
        self.get(id).is_some()
    }

    /// The ids of the enabled extensions, in load order.
    pub fn ids(&self) -> Vec<&'static str> {
        self.entries.iter().map(Entry::id).collect()
    }

    /// The number of enabled extensions.
    pub fn len(&self) -> usize {
        self.enabled.len()
    }

    /// Whether there is no enabled extension.
    pub fn is_empty(&self) -> bool {
        self.enabled.is_empty()
    }

    /// The enabled extensions, in load order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<dyn Extension>> {
        self.enabled.iter()
    }

    /// What the profile says about extensions; nothing until [`configured`](Self::configured).
    pub fn profile(&self) -> &Extensions {
        &self.profile
    }

    /// The tables every server has, and what the enabled extensions declare about the database, in load order, for
    /// [`systemprompt_database::install()`].
    pub fn modules(&self) -> Vec<Module> {
        std::iter::once(systemprompt_database::lease::module()).chain(self.entries.iter().map(Entry::module)).collect()
    }

    /// Every part of the configuration an extension owns, in load order. Disabled extensions are included: what is
    /// written for them stays valid, so that switching one off needs no other change.
    pub fn section_specs(&self) -> Vec<SectionSpec> {
        self.all()
            .flat_map(|entry| {
                let settings = entry.config_prefix.as_ref().map(|prefix| SectionSpec {
                    place: Place::Extension { prefix: prefix.clone() },
                    schema: crate::settings::strict_schema(entry.config_schema.as_ref()),
                    extension: entry.id(),
                });
                entry.sections.iter().cloned().chain(settings)
            })
            .collect()
    }

    /// The roles of the enabled extensions with their owners, in load order.
    pub fn roles(&self) -> Vec<(&'static str, ExtensionRole)> {
        self.entries.iter().flat_map(|entry| entry.roles.iter().map(|role| (entry.id(), role.clone()))).collect()
    }

    /// The permissions of the enabled extensions with their owners, in load order.
    pub fn permissions(&self) -> Vec<(&'static str, PermissionDef)> {
        self.entries
            .iter()
            .flat_map(|entry| entry.permissions.iter().map(|permission| (entry.id(), permission.clone())))
            .collect()
    }

    /// Who may do what, as the enabled extensions declare it.
    pub fn grants(&self) -> Grants {
        Grants::of(self)
    }

    /// Builds the routers of all enabled extensions, each once, in load order, and checks their paths again, as built.
    #[expect(clippy::type_complexity, reason = "a pair of types the caller knows reads better than a name for it")]
    pub fn api_routers(
        &self,
        ctx: &dyn ExtensionContext,
    ) -> Result<Vec<(Arc<dyn Extension>, ExtensionRouter)>, LoaderErrors> {
        let mut problems = Vec::new();
        let mut built = Vec::new();
        for entry in &self.entries {
            match catch_unwind(AssertUnwindSafe(|| entry.extension.try_router(ctx))) {
                Ok(Ok(routers)) => built.push((entry, routers)),
                Ok(Err(error)) => problems.push(error),
                Err(panic) => problems.push(LoaderError::InitializationFailed {
                    extension: entry.id().to_owned(),
                    message: format!("building its routes panicked: {}", panic_message(panic.as_ref())),
                }),
            }
        }
        problems.extend(validate::built_routes(&built));
        LoaderErrors::check(problems)?;
        Ok(built
            .into_iter()
            .flat_map(|(entry, routers)| routers.into_iter().map(|router| (entry.extension.clone(), router)))
            .collect())
    }

    /// The documents below `/.well-known/` of all enabled extensions, as one router for everyone.
    pub fn well_known_router(&self, ctx: &dyn ExtensionContext) -> Result<Router, LoaderErrors> {
        let mut problems = validate::well_known(self);
        let mut router = Router::new();
        if problems.is_empty() {
            for route in self.entries.iter().flat_map(|entry| &entry.well_known) {
                match route.build(ctx) {
                    Ok(handler) => router = router.route(&route.full_path(), handler),
                    Err(error) => problems.push(error),
                }
            }
        }
        LoaderErrors::check(problems)?;
        Ok(router)
    }

    /// What every extension contributes, disabled ones included. Made once.
    pub fn snapshot(&self) -> &CapabilitySnapshot {
        self.snapshot.get_or_init(|| CapabilitySnapshot::of(self))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn disabled_entries(&self) -> &[Entry] {
        &self.disabled
    }

    pub(crate) fn circles(&self) -> &[Vec<String>] {
        &self.circles
    }

    /// Enabled extensions in load order, then the disabled ones.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().chain(&self.disabled)
    }

    /// The extension whose id is this one or differs only by `-` and `_`.
    fn find(&self, id: &str) -> Option<&Entry> {
        self.all().find(|entry| normal_id(entry.id()) == normal_id(id))
    }

    /// Adds entries; of two with the same id the first stays.
    fn add_all(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            if let Some(known) = self.find(entry.id()) {
                let problem = duplicate(known, &entry);
                self.problems.push(problem);
            } else {
                self.entries.push(entry);
            }
        }
    }

    /// Puts the entries in load order.
    fn arrange(&mut self) {
        let nodes: Vec<Node<'_>> = self
            .entries
            .iter()
            .map(|entry| Node {
                id: entry.id(),
                priority: entry.priority,
                weight: entry.weight,
                dependencies: entry.dependencies.clone(),
                optional: entry.optional_dependencies.clone(),
            })
            .collect();
        let (order, circles) = topological(&nodes);
        let position: BTreeMap<usize, usize> = order.iter().enumerate().map(|(place, &at)| (at, place)).collect();
        let mut placed: Vec<(usize, Entry)> =
            self.entries.drain(..).enumerate().map(|(at, entry)| (position[&at], entry)).collect();
        placed.sort_by_key(|(place, _)| *place);
        self.entries = placed.into_iter().map(|(_, entry)| entry).collect();
        self.enabled = self.entries.iter().map(|entry| entry.extension.clone()).collect();
        self.circles = circles;
        self.snapshot = OnceLock::new();
    }
}

impl std::fmt::Debug for ExtensionRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExtensionRegistry").field("enabled", &self.ids()).finish_non_exhaustive()
    }
}

/// The form in which ids are compared.
pub(crate) fn normal_id(id: &str) -> String {
    id.replace('-', "_")
}

fn duplicate(known: &Entry, other: &Entry) -> LoaderError {
    LoaderError::DuplicateExtension {
        id: other.id().to_owned(),
        first: known.source.to_string(),
        second: other.source.to_string(),
    }
}
