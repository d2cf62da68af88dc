//! The built-in features as extensions: linked, valid together, and at home where outsiders may not go.
#![cfg(feature = "full")]

use std::collections::BTreeSet;

use systemprompt::extension::facet::{Endpoints, Routes, WellKnown};
use systemprompt::extension::{BUILT_IN, ExtensionRegistry, ExtensionRouterConfig, RESERVED_PATHS};
use systemprompt::serde_json::Value;

fn linked() -> ExtensionRegistry {
    systemprompt::__force_extension_link();
    let registry = ExtensionRegistry::discover();
    assert_eq!(registry.validate_all(), []);
    registry
}

#[test]
fn every_built_in_feature_is_linked_and_they_fit_together() {
    let registry = linked();
    assert_eq!(registry.ids(), ["mail", "identity", "governance", "server", "telemetry", "hooks", "gateway"]);
    assert_eq!(*BUILT_IN, ["gateway", "governance", "hooks", "identity", "mail", "server", "telemetry"]);
}

#[test]
fn every_path_of_the_product_is_reserved() {
    for declared in linked().declared::<Routes>() {
        for path in declared.contributions.iter().flat_map(ExtensionRouterConfig::prefixes) {
            // Extensions live below it; the server answers at the address itself.
            if path == "/api/v1" {
                continue;
            }
            let reserved = RESERVED_PATHS.iter().any(|reserved| {
                path.strip_prefix(reserved).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            assert!(reserved, "{}: {path} is not below any of RESERVED_PATHS", declared.extension);
        }
    }
    for path in ["/.well-known", "/api/v1/admin", "/api/v1/agents", "/api/v1/oauth", "/api/v1/users", "/v1"] {
        assert!(RESERVED_PATHS.contains(&path), "{path} is documented as reserved: {:?}", *RESERVED_PATHS);
    }
}

#[test]
fn the_openapi_document_has_every_route_and_every_reference_leads_somewhere() {
    let registry = linked();
    let document = systemprompt::extension::openapi::document(&registry);
    let mut operations = 0;
    for (endpoints, documents) in registry.declared::<Endpoints>().iter().zip(registry.declared::<WellKnown>()) {
        let documents = documents.contributions.iter().map(|route| ("GET", route.full_path()));
        let routes = endpoints.contributions.iter().map(|endpoint| (endpoint.method, endpoint.path.clone()));
        for (method, path) in routes.chain(documents) {
            // A parameter for the rest of a path is named there like any other.
            let operation = &document["paths"][path.replace("{*", "{")][method.to_lowercase()];
            assert_eq!(operation["tags"], systemprompt::serde_json::json!([endpoints.extension]), "{method} {path}");
            assert!(operation["responses"].as_object().is_some_and(|all| !all.is_empty()), "{method} {path}");
            operations += 1;
        }
    }
    let mut ids = BTreeSet::new();
    let paths = document["paths"].as_object().expect("paths");
    for operation in paths.values().flat_map(|item| item.as_object().expect("operations").values()) {
        assert!(ids.insert(operation["operationId"].as_str().expect("an id")), "{}", operation["operationId"]);
    }
    assert_eq!(ids.len(), operations);
    assert!(operations >= 10, "only {operations} routes");
    assert_eq!(document["openapi"], "3.1.0");
    check_references(&document, &document);
}

fn check_references(root: &Value, node: &Value) {
    match node {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
                assert!(target.is_some(), "{reference} leads nowhere");
            }
            map.values().for_each(|below| check_references(root, below));
        }
        Value::Array(list) => list.iter().for_each(|below| check_references(root, below)),
        _ => {}
    }
}
