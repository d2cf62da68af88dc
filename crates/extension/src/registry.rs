//! The extensions of a process, in load order, and what they declared.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use axum::Router;
use systemprompt_config::profile::Extensions;
use systemprompt_config::{Place, SectionSpec};
use systemprompt_database::Module;

use crate::facet::{
    Config, Declared, Facet as _, Listed, Permissions, Policies, Roles, SafetyScanners, Sections, WellKnown,
};
use crate::made::Made;
use crate::panics::panic_message;
use crate::policy::Policy;
use crate::safety::RegisteredScanner;
use crate::set::{Entry, Set, normal_id};
use crate::settings::strict_schema;
use crate::{
    CapabilitySnapshot, Extension, ExtensionContext, ExtensionRegistration, ExtensionRouter, Grants, LinkExpectation,
    LoaderError, LoaderErrors, Source, validate,
};

/// The extensions of one server, in load order.
///
/// Building one never fails: what is wrong with the set is found by [`validate_all`](Self::validate_all), all of it at
/// once and in an order that depends on nothing but the set. Everything but the lifecycle and the routers works on a set
/// with problems, so that commands can show them.
#[derive(Default)]
pub struct ExtensionRegistry {
    set: Set,
    /// Problems that were seen while collecting, which the set itself does not show any more.
    problems: Vec<LoaderError>,
    snapshot: OnceLock<CapabilitySnapshot>,
}

impl ExtensionRegistry {
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
        let Set { enabled, disabled, .. } = std::mem::take(&mut self.set);
        let off = |entry: &Entry| profile.disabled.iter().any(|id| normal_id(id) == normal_id(entry.id()));
        (self.set.disabled, self.set.enabled) =
            enabled.into_iter().chain(disabled).partition(|entry| off(entry) && !entry.required);
        self.set.disabled.sort_by_key(Entry::id);
        self.set.profile = profile.clone();
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
        problems.extend(validate::all(&self.set));
        problems
    }

    /// The enabled extension with this id.
    pub fn get(&self, id: &str) -> Option<&Arc<dyn Extension>> {
        self.iter().find(|extension| extension.id() == id)
    }

    /// Whether there is an enabled extension with this id.
    pub fn has(&self, id: &str) -> bool {
        self.get(id).is_some()
    }

    /// The ids of the enabled extensions, in load order.
    pub fn ids(&self) -> Vec<&'static str> {
        self.set.enabled.iter().map(Entry::id).collect()
    }

    /// The number of enabled extensions.
    pub fn len(&self) -> usize {
        self.set.enabled.len()
    }

    /// Whether there is no enabled extension.
    pub fn is_empty(&self) -> bool {
        self.set.enabled.is_empty()
    }

    /// The enabled extensions, in load order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<dyn Extension>> {
        self.set.enabled.iter().map(|entry| &entry.extension)
    }

    /// The tables every server has, and what the enabled extensions declare about the database, in load order, for
    /// [`systemprompt_database::install()`].
    pub fn modules(&self) -> Vec<Module> {
        self.set.modules()
    }

    /// Every part of the configuration an extension owns, in load order. Disabled extensions are included: what is
    /// written for them stays valid, so that switching one off needs no other change.
    pub fn section_specs(&self) -> Vec<SectionSpec> {
        self.set
            .all()
            .flat_map(|entry| {
                let settings = entry.declares::<Config>().iter().map(|config| SectionSpec {
                    place: Place::Extension { prefix: config.prefix.clone() },
                    schema: strict_schema(config.schema.as_ref()),
                    extension: entry.id(),
                });
                entry.declares::<Sections>().iter().cloned().chain(settings)
            })
            .collect()
    }

    /// What each enabled extension declares in one facet, in load order; also those that declare nothing in it.
    pub fn declared<F: Listed>(&self) -> Vec<Declared<'_, F::Contribution>> {
        self.set.declared::<F>()
    }

    /// Makes the policies of all enabled extensions, in load order.
    pub fn make_policies(&self, ctx: &dyn ExtensionContext) -> Result<Vec<Arc<dyn Policy>>, LoaderError> {
        let mut made = Vec::new();
        for Declared { extension, contributions } in self.declared::<Policies>() {
            for def in contributions {
                let policy = def.make(ctx)?;
                if policy.id() != def.id {
                    return Err(LoaderError::InitializationFailed {
                        extension: extension.to_owned(),
                        message: format!("the policy '{}' calls itself '{}'", def.id, policy.id()),
                    });
                }
                made.push(policy);
            }
        }
        Ok(made)
    }

    /// Makes what all enabled extensions declare in one facet, in load order, each with its name.
    pub fn make_all<F, T>(&self, ctx: &dyn ExtensionContext) -> Result<Vec<(&'static str, Arc<T>)>, LoaderError>
    where
        F: Listed<Contribution = Made<T>>,
        T: ?Sized + 'static,
    {
        let declared = self.declared::<F>();
        let all = declared.iter().flat_map(|declared| declared.contributions);
        all.map(|made| Ok((made.name, made.make(ctx)?))).collect()
    }

    /// Makes the safety scanners of all enabled extensions, in load order.
    pub fn make_safety_scanners(&self, ctx: &dyn ExtensionContext) -> Result<Vec<RegisteredScanner>, LoaderError> {
        let mut made = Vec::new();
        for Declared { extension, contributions } in self.declared::<SafetyScanners>() {
            for def in contributions {
                let scanner = def.make(ctx)?;
                if scanner.name() != def.name {
                    return Err(LoaderError::InitializationFailed {
                        extension: extension.to_owned(),
                        message: format!("the safety scanner '{}' calls itself '{}'", def.name, scanner.name()),
                    });
                }
                made.push(RegisteredScanner { scanner, categories: def.categories.clone() });
            }
        }
        Ok(made)
    }

    /// Who may do what, as the enabled extensions declare it.
    pub fn grants(&self) -> Grants {
        Grants::new(
            self.set.enabled.iter().flat_map(Entry::declares::<Roles>),
            self.set.enabled.iter().flat_map(Entry::declares::<Permissions>),
        )
    }

    /// Builds the routers of all enabled extensions, each once, in load order, and checks their paths again, as built.
    #[expect(clippy::type_complexity, reason = "a pair of types the caller knows reads better than a name for it")]
    pub fn api_routers(
        &self,
        ctx: &dyn ExtensionContext,
    ) -> Result<Vec<(Arc<dyn Extension>, ExtensionRouter)>, LoaderErrors> {
        let mut problems = Vec::new();
        let mut built = Vec::new();
        for entry in &self.set.enabled {
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
        let declared = self.declared::<WellKnown>();
        let mut problems = WellKnown::check(&declared);
        let mut router = Router::new();
        if problems.is_empty() {
            for route in declared.iter().flat_map(|declared| declared.contributions) {
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
        self.snapshot.get_or_init(|| CapabilitySnapshot::of(&self.set))
    }

    /// Adds entries; of two with the same id the first stays.
    fn add_all(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            if let Some(known) = self.set.find(entry.id()) {
                let problem = duplicate(known, &entry);
                self.problems.push(problem);
            } else {
                self.set.enabled.push(entry);
            }
        }
    }

    /// Puts the extensions in load order.
    fn arrange(&mut self) {
        self.set.arrange();
        self.snapshot = OnceLock::new();
    }

    /// The extensions, for what other files do with all of them.
    pub(crate) fn set(&self) -> &Set {
        &self.set
    }
}

impl std::fmt::Debug for ExtensionRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExtensionRegistry").field("enabled", &self.ids()).finish_non_exhaustive()
    }
}

fn duplicate(known: &Entry, other: &Entry) -> LoaderError {
    LoaderError::DuplicateExtension {
        id: other.id().to_owned(),
        first: known.source.to_string(),
        second: other.source.to_string(),
    }
}
