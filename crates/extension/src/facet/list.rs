//! The list of all facets, and what an extension declares in each.

use super::kind::{Declared, Described, Facet};
use super::{
    Authorizers, Config, CrossExtensionTables, Endpoints, GatewayGuards, Migrations, Permissions, Policies,
    Projections, Roles, RouteSelectors, Routes, SafetyScanners, Schemas, Sections, Seeds, SubjectAttributes,
    SystemPromptOverrides, WellKnown,
};
use crate::{Extension, LoaderError};

/// Writes out, for the facets of the list, what has to be written once for each.
macro_rules! facets {
    ($($name:ident: $facet:ident,)+) => {
        /// What facets there are, in the order in which they are listed and checked.
        pub const FACETS: &[FacetInfo] = &[$(
            FacetInfo { name: stringify!($name), about: $facet::ABOUT, method: $facet::METHOD },
        )+];

        /// What one extension declares in every facet; asked once.
        pub struct Contributions {
            $($name: Vec<<$facet as Facet>::Contribution>,)+
        }

        impl Contributions {
            pub(crate) fn of(extension: &dyn Extension) -> Self {
                Self { $($name: $facet::of(extension),)+ }
            }

            /// For those who list them, by facet.
            pub(crate) fn describe(&self) -> Vec<(&'static str, Vec<Described>)> {
                vec![$((stringify!($name), self.$name.iter().map($facet::describe).collect()),)+]
            }
        }

        $(impl Listed for $facet {
            fn among(contributions: &Contributions) -> &[Self::Contribution] {
                &contributions.$name
            }
        })+

        /// Every breach of a facet's rules, facet by facet.
        pub(crate) fn check(extensions: &[Checked<'_>]) -> Vec<LoaderError> {
            let mut problems = Vec::new();
            $(problems.extend(check_one::<$facet>(extensions));)+
            problems
        }
    };
}

facets! {
    schemas: Schemas,
    migrations: Migrations,
    seeds: Seeds,
    cross_extension_tables: CrossExtensionTables,
    routes: Routes,
    endpoints: Endpoints,
    well_known: WellKnown,
    config: Config,
    sections: Sections,
    roles: Roles,
    permissions: Permissions,
    authorizers: Authorizers,
    subject_attributes: SubjectAttributes,
    policies: Policies,
    safety_scanners: SafetyScanners,
    projections: Projections,
    gateway_guards: GatewayGuards,
    route_selectors: RouteSelectors,
    system_prompt_overrides: SystemPromptOverrides,
}

/// A facet for those who list what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FacetInfo {
    /// Its name, in commands and documents.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// The method of [`Extension`] that declares it.
    pub method: &'static str,
}

/// A facet that is on the list.
pub trait Listed: Facet {
    /// What is declared in it.
    fn among(contributions: &Contributions) -> &[Self::Contribution];
}

/// An extension whose contributions are checked.
pub(crate) struct Checked<'a> {
    pub(crate) extension: &'static str,
    pub(crate) enabled: bool,
    pub(crate) contributions: &'a Contributions,
}

fn check_one<F: Listed>(extensions: &[Checked<'_>]) -> Vec<LoaderError> {
    let declared: Vec<_> = extensions
        .iter()
        .filter(|checked| checked.enabled || F::EVEN_DISABLED)
        .map(|checked| Declared { extension: checked.extension, contributions: F::among(checked.contributions) })
        .collect();
    F::check(&declared)
}
