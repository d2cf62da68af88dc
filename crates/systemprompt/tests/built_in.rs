//! The built-in features as extensions: linked, valid together, and at home where outsiders may not go.
#![cfg(feature = "full")]

use systemprompt::extension::{BUILT_IN, ExtensionRegistry, RESERVED_PATHS};

fn linked() -> ExtensionRegistry {
    systemprompt::__force_extension_link();
    ExtensionRegistry::try_discover().unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn every_built_in_feature_is_linked_and_they_fit_together() {
    let registry = linked();
    assert_eq!(registry.ids(), ["identity", "governance", "server", "gateway"]);
    for id in registry.ids() {
        assert!(BUILT_IN.contains(&id), "{id} is not in the list of built-in features");
    }
}

/// An outside extension is refused a path of the product even in a product that does not link the feature behind it.
#[test]
fn every_path_of_the_product_is_reserved() {
    for extension in &linked().snapshot().extensions {
        for path in extension.routes.iter().flat_map(|route| &route.prefixes) {
            // Extensions live below it; the server answers at the address itself.
            if *path == "/api/v1" {
                continue;
            }
            let reserved = RESERVED_PATHS.iter().any(|reserved| {
                path.strip_prefix(reserved).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            assert!(reserved, "{}: {path} is not below any of RESERVED_PATHS", extension.id);
        }
    }
}
