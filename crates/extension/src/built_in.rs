//! What belongs to the product's own features, as far as they are linked: known from their registration, not from lists.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use crate::route::is_common_ground;
use crate::{Extension, ExtensionRegistration, ReservedPath};

/// The ids of the product's own features, sorted: those that [`register_built_in!`](crate::register_built_in) registered.
/// Only they may mount at [`RESERVED_PATHS`], mount outside `/api` ([`ExtensionRouter::core`](crate::ExtensionRouter::core))
/// and define the built-in roles.
pub static BUILT_IN: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| features().map(|feature| feature.id()).collect::<BTreeSet<_>>().into_iter().collect());

/// Paths that belong to the product's own features, sorted: what they mount, and what is kept for them. Another extension's
/// base path may be none of them and lie under none of them; compared by whole segments.
pub static RESERVED_PATHS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mounted = features().flat_map(|feature| feature.router_configs()).flat_map(|config| config.prefixes());
    let kept = inventory::iter::<ReservedPath>.into_iter().map(|path| path.0);
    let paths: BTreeSet<_> =
        mounted.chain(kept).filter(|path| !is_common_ground(path)).chain(["/.well-known"]).collect();
    paths.into_iter().collect()
});

/// A factory that panics is reported by the registry.
fn features() -> impl Iterator<Item = Arc<dyn Extension>> {
    inventory::iter::<ExtensionRegistration>
        .into_iter()
        .filter(|registration| registration.built_in)
        .filter_map(|registration| catch_unwind(AssertUnwindSafe(registration.factory)).ok())
}
