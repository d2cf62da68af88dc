//! The rules for a set of extensions, one table per rule, and the inventory of a set.

use std::sync::Arc;

use sqlx::PgConnection;
use systemprompt_config::profile::Extensions;
use systemprompt_extension::ledger::{LedgerEntry, Projection, ProjectionError};
use systemprompt_extension::policy::PolicyDef;
use systemprompt_extension::prelude::*;
use systemprompt_extension::safety::SafetyScannerDef;
use systemprompt_extension::{BUILT_IN, CapabilitySnapshot, Grants, register_built_in, reserve_paths};
use systemprompt_model::ActionId;

/// An extension whose answers are fields.
#[derive(Clone)]
struct Sample {
    id: &'static str,
    priority: u32,
    weight: u32,
    required: bool,
    dependencies: Vec<&'static str>,
    optional: Vec<&'static str>,
    core: Option<&'static str>,
    schemas: Vec<SchemaDefinition>,
    migrations: Vec<Migration>,
    seeds: Vec<Seed>,
    cross_tables: Vec<&'static str>,
    routes: Vec<ExtensionRouterConfig>,
    well_known: Vec<&'static str>,
    prefix: Option<&'static str>,
    schema: Option<JsonValue>,
    sections: Vec<Place>,
    roles: Vec<(&'static str, Vec<&'static str>)>,
    permissions: Vec<&'static str>,
    policies: Vec<&'static str>,
    scanners: Vec<(&'static str, &'static [&'static str])>,
    projections: Vec<(&'static str, &'static [&'static str])>,
}

fn sample(id: &'static str) -> Sample {
    Sample {
        id,
        priority: 100,
        weight: 100,
        required: false,
        dependencies: vec![],
        optional: vec![],
        core: None,
        schemas: vec![],
        migrations: vec![],
        seeds: vec![],
        cross_tables: vec![],
        routes: vec![],
        well_known: vec![],
        prefix: None,
        schema: None,
        sections: vec![],
        roles: vec![],
        permissions: vec![],
        policies: vec![],
        scanners: vec![],
        projections: vec![],
    }
}

register_built_in!(Sample { routes: vec![ExtensionRouterConfig::core(&["/v1", "/api/v1"])], ..sample("gateway") });
register_built_in!(sample("identity"));
register_built_in!(sample("jobs"));
register_built_in!(sample("server"));
reserve_paths!("/api/v1/users");

impl Extension for Sample {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: self.id, name: "Sample", version: "1.0.0" }
    }
    fn priority(&self) -> u32 {
        self.priority
    }
    fn migration_weight(&self) -> u32 {
        self.weight
    }
    fn is_required(&self) -> bool {
        self.required
    }
    fn dependencies(&self) -> Vec<&'static str> {
        self.dependencies.clone()
    }
    fn optional_dependencies(&self) -> Vec<&'static str> {
        self.optional.clone()
    }
    fn min_core_version(&self) -> Option<&'static str> {
        self.core
    }
    fn schemas(&self) -> Vec<SchemaDefinition> {
        self.schemas.clone()
    }
    fn migrations(&self) -> Vec<Migration> {
        self.migrations.clone()
    }
    fn seeds(&self) -> Vec<Seed> {
        self.seeds.clone()
    }
    fn cross_extension_tables(&self) -> Vec<&'static str> {
        self.cross_tables.clone()
    }
    fn router_configs(&self) -> Vec<ExtensionRouterConfig> {
        self.routes.clone()
    }
    fn well_known(&self) -> Vec<WellKnownRoute> {
        self.well_known
            .iter()
            .map(|path| WellKnownRoute::new(path, |_| Ok(axum::routing::get(|| async { "{}" }))))
            .collect()
    }
    fn config_prefix(&self) -> Option<&str> {
        self.prefix
    }
    fn config_schema(&self) -> Option<JsonValue> {
        self.schema.clone()
    }
    fn config_sections(&self) -> Vec<SectionSpec> {
        let section = |place: &Place| SectionSpec {
            place: place.clone(),
            schema: serde_json::json!({ "type": "object" }),
            extension: self.id,
        };
        self.sections.iter().map(section).collect()
    }
    fn roles(&self) -> Vec<ExtensionRole> {
        self.roles
            .iter()
            .map(|(name, permissions)| {
                ExtensionRole::new(*name, *name, "A role.")
                    .with_permissions(permissions.iter().map(ToString::to_string).collect())
            })
            .collect()
    }
    fn permissions(&self) -> Vec<PermissionDef> {
        self.permissions.iter().map(|key| PermissionDef::new(key, "A permission.")).collect()
    }
    fn governance_policies(&self) -> Vec<PolicyDef> {
        let policy = |id: &&'static str| {
            PolicyDef::new(id, "A policy.", |_| Err(LoaderError::MissingService { service: "nothing" }))
        };
        self.policies.iter().map(policy).collect()
    }
    fn safety_scanners(&self) -> Vec<SafetyScannerDef> {
        let scanner = |(name, categories): &(&'static str, &'static [&'static str])| {
            let missing = || LoaderError::MissingService { service: "nothing" };
            SafetyScannerDef::new(name, "A scanner.", *categories, move |_| Err(missing()))
        };
        self.scanners.iter().map(scanner).collect()
    }
    fn projections(&self) -> Vec<Arc<dyn Projection>> {
        self.projections.iter().map(|(name, tables)| Arc::new(Derived(name, tables)) as Arc<dyn Projection>).collect()
    }
}

struct Derived(&'static str, &'static [&'static str]);

#[async_trait]
impl Projection for Derived {
    fn name(&self) -> &'static str {
        self.0
    }
    fn tables(&self) -> &'static [&'static str] {
        self.1
    }
    async fn apply(&self, _: &mut PgConnection, _: &[LedgerEntry]) -> Result<(), ProjectionError> {
        Ok(())
    }
    async fn forget(&self, _: &mut PgConnection, _: &[ActionId]) -> Result<(), ProjectionError> {
        Ok(())
    }
}

fn registry(samples: Vec<Sample>) -> ExtensionRegistry {
    ExtensionRegistry::of(samples.into_iter().map(|sample| Arc::new(sample) as Arc<dyn Extension>))
}

#[track_caller]
fn check(samples: Vec<Sample>, expected: &[&str]) {
    let problems: Vec<String> = registry(samples).validate_all().iter().map(ToString::to_string).collect();
    assert_eq!(problems, expected);
}

#[test]
fn ids() {
    check(vec![sample("a"), sample("a1-b_c")], &[]);
    check(vec![sample("core")], &["'core' is not an extension id: it is taken by the product"]);
    check(vec![sample("")], &["'' is not an extension id: it must start with a lower-case letter"]);
    check(vec![sample("1a")], &["'1a' is not an extension id: it must start with a lower-case letter"]);
    check(
        vec![sample("aB")],
        &["'aB' is not an extension id: it must consist of lower-case ASCII letters, digits, '-' and '_'"],
    );
    let long = "x".repeat(64).leak();
    check(vec![sample(long)], &[&format!("'{long}' is not an extension id: it must not be longer than 63 characters")]);
    let given = "handed over by the program";
    check(vec![sample("a-b"), sample("a_b")], &[&format!("Extension 'a_b' is registered twice: {given} and {given}")]);
}

#[test]
fn dependencies() {
    let needs = |id, dependencies: &[&'static str]| Sample { dependencies: dependencies.to_vec(), ..sample(id) };
    check(vec![needs("b", &["a"]), sample("a")], &[]);
    check(vec![Sample { optional: vec!["z"], ..sample("a") }], &[]);
    check(
        vec![needs("c", &["z"]), needs("d", &["e"]), needs("e", &["d"]), needs("x", &["y"]), needs("y", &["x"])],
        &[
            "Extension 'c' requires dependency 'z', which is not linked into this binary",
            "Circular dependency: d -> e -> d",
            "Circular dependency: x -> y -> x",
        ],
    );
    let order = registry(vec![Sample { priority: 1, ..needs("b", &["a"]) }, sample("a"), sample("c")]);
    assert_eq!(order.ids(), ["a", "b", "c"], "a dependency is pulled forward");
}

#[test]
fn the_profile_decides_who_takes_part() {
    let samples = || {
        vec![
            sample("a"),
            Sample { dependencies: vec!["a"], ..sample("b") },
            Sample { required: true, ..sample("must") },
        ]
    };
    let check = |disabled: &[&str], required: &[&str], ids: &[&str], expected: &[&str]| {
        let owned = |ids: &[&str]| ids.iter().map(ToString::to_string).collect();
        let profile = Extensions { disabled: owned(disabled), required: owned(required), ..Extensions::default() };
        let registry = registry(samples()).configured(&profile);
        assert_eq!(registry.ids(), ids);
        let problems: Vec<String> = registry.validate_all().iter().map(ToString::to_string).collect();
        assert_eq!(problems, expected);
        let enabled = registry.snapshot().extensions.iter().filter(|extension| extension.enabled).count();
        assert_eq!(enabled, ids.len());
        let again = registry.configured(&Extensions::default());
        assert_eq!(again.ids(), ["a", "b", "must"], "what was disabled can be enabled again");
    };
    check(&[], &[], &["a", "b", "must"], &[]);
    check(&["b"], &["a"], &["a", "must"], &[]);
    check(&["a"], &[], &["b", "must"], &["Extension 'b' requires dependency 'a', which is disabled"]);
    check(
        &["must"],
        &[],
        &["a", "b", "must"],
        &["Extension 'must' is required and cannot be disabled (`extensions.disabled`)"],
    );
    check(
        &["nobody"],
        &["absent"],
        &["a", "b", "must"],
        &[
            "`extensions.disabled` names 'nobody', which is not linked into this binary",
            "Extension 'absent' is required by the profile (`extensions.required`) but not linked into this binary",
        ],
    );
}

#[test]
fn product_version() {
    let this = env!("CARGO_PKG_VERSION");
    let with = |core| vec![Sample { core: Some(core), ..sample("a") }];
    for fine in ["0", "0.0.1", this] {
        check(with(fine), &[]);
    }
    for wrong in ["99", "99.1", "soon", "1.2.3.4"] {
        check(with(wrong), &[&format!("Extension 'a' needs version {wrong} of the product or later; this is {this}")]);
    }
}

#[test]
fn routes() {
    let on = |id, paths: &[&'static str]| Sample {
        routes: paths.iter().copied().map(ExtensionRouterConfig::new).collect(),
        ..sample(id)
    };
    check(vec![on("a", &["/api/v1/users-report"]), on("b", &["/api/v1/reports", "/api/ext/b"])], &[]);
    check(vec![on("a", &["/foo"])], &["Extension 'a': '/foo' is not a valid base path: it must start with /api/"]);
    check(
        vec![on("a", &["/api/v1/users"]), on("b", &["/api/v1/users/x"])],
        &[
            "Extension 'a': base path '/api/v1/users' is reserved (it lies under '/api/v1/users')",
            "Extension 'b': base path '/api/v1/users/x' is reserved (it lies under '/api/v1/users')",
        ],
    );
    check(
        vec![on("a", &["/api/v1/rep"]), on("b", &["/api/v1/rep/x"]), on("c", &["/api/v1/rep"])],
        &[
            "Extensions 'a' and 'b' both claim the path '/api/v1/rep/x'",
            "Extensions 'a' and 'c' both claim the path '/api/v1/rep'",
        ],
    );
    check(vec![on("identity", &["/api/v1/users", "/api/v1/users/me"])], &[]);

    let core = |id, prefixes: &'static [&'static str]| Sample {
        routes: vec![ExtensionRouterConfig::core(prefixes)],
        ..sample(id)
    };
    check(vec![core("gateway", &["/v1"]), core("server", &["/health", "/metrics"])], &[]);
    check(vec![core("server", &["/health", "/api/v1"]), on("a", &["/api/v1/a"])], &[]);
    check(
        vec![core("jobs", &["/api/v1/jobs"]), on("mine", &["/api/v1/jobs/mine"])],
        &["Extensions 'jobs' and 'mine' both claim the path '/api/v1/jobs/mine'"],
    );
    check(
        vec![core("mine", &["/mine"])],
        &["Extension 'mine': '/mine' is not a valid base path: only built-in features may mount outside /api"],
    );
    check(
        vec![Sample {
            routes: vec![ExtensionRouterConfig::core(&["/mine"]).with_access(Access::Public)],
            ..sample("mine")
        }],
        &["Extension 'mine': '/mine' is not a valid base path: only built-in features may mount outside /api"],
    );
    assert_eq!(*BUILT_IN, ["gateway", "identity", "jobs", "server"]);
    assert_eq!(*RESERVED_PATHS, ["/.well-known", "/api/v1/users", "/v1"]);

    let needs = |access| Sample {
        routes: vec![ExtensionRouterConfig::new("/api/ext/a").with_access(access)],
        permissions: vec!["a.read"],
        ..sample("a")
    };
    check(vec![needs(Access::Permission("a:read"))], &[]);
    check(vec![needs(Access::Scopes(&["service", "a.read"]))], &[]);
    check(
        vec![needs(Access::Scopes(&["service", "a.wirte"]))],
        &["Extension 'a': '/api/ext/a' needs the permission 'a.wirte', which no extension declares"],
    );

    let at = |id, paths: &[&'static str]| Sample { well_known: paths.to_vec(), ..sample(id) };
    check(vec![at("a", &["jwks.json"]), at("b", &["openid-configuration"])], &[]);
    check(
        vec![at("a", &["jwks.json"]), at("b", &["jwks.json"])],
        &["Extensions 'a' and 'b' both claim the path '/.well-known/jwks.json'"],
    );
}

#[test]
fn configuration_is_owned_once() {
    let with = |id, prefix| Sample { prefix: Some(prefix), ..sample(id) };
    check(vec![with("a", "a"), with("b", "b_2")], &[]);
    check(
        vec![with("a", "notes"), with("b", "notes")],
        &["Extensions 'a' and 'b' both declare the configuration prefix 'notes'"],
    );
    check(
        vec![with("a", "disabled"), with("b", "B-2")],
        &[
            "Extension 'a': 'disabled' is not a configuration prefix: it is a key of `extensions:` itself",
            "Extension 'b': 'B-2' is not a configuration prefix: it must start with a lower-case letter and consist of \
             lower-case letters, digits and '_'",
        ],
    );
    let broken = Sample { schema: Some(serde_json::json!({ "type": "sentence" })), ..with("a", "a") };
    let problems = registry(vec![broken]).validate_all();
    assert!(
        matches!(problems.as_slice(), [LoaderError::ConfigValidationFailed { extension, message }]
            if extension == "a" && message.starts_with("the schema is not valid")),
        "{problems:?}"
    );

    let owning = |id, key| Sample { sections: vec![Place::Profile { key }], ..sample(id) };
    check(vec![owning("a", "providers"), owning("b", "governance")], &[]);
    check(
        vec![owning("a", "providers"), owning("b", "providers")],
        &["Extensions 'a' and 'b' both declare the configuration section 'providers of the profile'"],
    );
}

#[test]
fn roles_and_permissions() {
    let full = |id, permissions: &[&'static str], roles: &[(&'static str, &[&'static str])]| Sample {
        permissions: permissions.to_vec(),
        roles: roles.iter().map(|(name, grants)| (*name, grants.to_vec())).collect(),
        ..sample(id)
    };
    check(vec![full("a", &["a.read", "a.write"], &[("reader", &["a:read"]), ("writer", &["a.write"])])], &[]);
    check(
        vec![full("a", &["x.read"], &[("reader", &[])]), full("b", &["x:read"], &[("reader", &[])])],
        &[
            "Extensions 'a' and 'b' both declare the role 'reader'",
            "Extensions 'a' and 'b' both declare the permission 'x:read'",
        ],
    );
    check(vec![full("a", &[], &[("admin", &[])])], &["Extensions 'core' and 'a' both declare the role 'admin'"]);
    check(vec![full("identity", &[], &[("admin", &["*"])])], &[]);
    check(
        vec![full("a", &[], &[("all", &["*"])]), full("b", &[], &[("odd", &["b.unknown"])])],
        &[
            "Extension 'a': role 'all' may not grant '*': the operator has not approved this role for everything",
            "Extension 'b': role 'odd' may not grant 'b.unknown': no extension declares it",
        ],
    );
    let foreign = full("b", &[], &[("writer", &["a.write"])]);
    check(
        vec![full("a", &["a.write"], &[]), foreign.clone()],
        &["Extension 'b': role 'writer' may not grant 'a.write': it belongs to 'a', which is not a dependency"],
    );
    check(vec![full("a", &["a.write"], &[]), Sample { dependencies: vec!["a"], ..foreign }], &[]);

    let approved = Extensions { approved_wildcard_roles: vec!["all".to_owned()], ..Extensions::default() };
    let registry = registry(vec![full("a", &["a.read"], &[("all", &["*"])])]).configured(&approved);
    assert_eq!(registry.validate_all(), []);
    let grants: Grants = registry.grants();
    assert!(grants.allow(&["all".to_owned()], "anything") && !grants.allow(&["none".to_owned()], "a.read"));
}

#[test]
fn policies_have_names_of_their_own() {
    let with = |id, policies: &[&'static str]| Sample { policies: policies.to_vec(), ..sample(id) };
    check(vec![with("a", &["a.few", "a.many"]), with("b", &["b.few"])], &[]);
    check(
        vec![with("a", &["few", "a.Few", "a.few", "a.few", "b.few"])],
        &[
            "Extension 'a': 'few' is not a policy: it must start with 'a.'",
            "Extension 'a': 'a.Few' is not a policy: after 'a.' it must start with a lower-case letter and consist of \
             lower-case letters, digits and '_'",
            "Extension 'a': 'b.few' is not a policy: it must start with 'a.'",
            "Extensions 'a' and 'a' both declare the policy 'a.few'",
        ],
    );
}

#[test]
fn safety_scanners_and_what_they_find_have_names() {
    let with =
        |id, scanners: &[(&'static str, &'static [&'static str])]| Sample { scanners: scanners.to_vec(), ..sample(id) };
    check(vec![with("a", &[("a.few", &["codename", "jailbreak"])]), with("b", &[("b.few", &[])])], &[]);
    check(
        vec![with("a", &[("heuristic", &[]), ("a.few", &["Bad"]), ("a.few", &[])])],
        &[
            "Extension 'a': 'heuristic' is not a safety scanner: it must start with 'a.'",
            "Extension 'a': 'a.few' is not a safety scanner: of its category 'Bad': it must start with a lower-case letter \
             and consist of lower-case letters, digits and '_'",
            "Extensions 'a' and 'a' both declare the safety scanner 'a.few'",
        ],
    );
}

#[test]
fn projections_fill_tables_of_their_own() {
    let with = |id, tables: &[&'static str], projections: &[(&'static str, &'static [&'static str])]| Sample {
        schemas: tables
            .iter()
            .map(|table| {
                SchemaDefinition::inline(*table, format!("CREATE TABLE IF NOT EXISTS {table} (action_id UUID);"))
            })
            .collect(),
        projections: projections.to_vec(),
        ..sample(id)
    };
    check(vec![with("a", &["a_days", "a_hours"], &[("a_days", &["a_days", "a_hours"])])], &[]);
    check(
        vec![with("a", &["days"], &[("Days", &["Days"]), ("days", &[])])],
        &[
            "Extension 'a': 'Days' is not a projection: it must start with a lower-case letter and consist of \
             lower-case letters, digits and '_'",
            "Extension 'a': 'days' is not a projection: none of its tables is called so",
            "Extension 'a': 'Days' is not a projected table: none of the extension's schemas creates it",
        ],
    );
    // A rebuild empties the tables of a projection.
    check(
        vec![with("a", &["users"], &[]), with("b", &["days"], &[("days", &["days", "users", "leases", "nowhere"])])],
        &[
            "Extension 'b': 'users' is not a projected table: it belongs to 'a'",
            "Extension 'b': 'leases' is not a projected table: it belongs to 'leases'",
            "Extension 'b': 'nowhere' is not a projected table: none of the extension's schemas creates it",
        ],
    );
    check(
        vec![with("a", &["days", "hours"], &[("days", &["days", "hours"]), ("hours", &["hours"])])],
        &["Extensions 'a' and 'a' both declare the projected table 'hours'"],
    );
}

#[test]
fn tables_have_one_owner() {
    let owner = |id, table: &str| Sample {
        schemas: vec![SchemaDefinition::inline(table, format!("CREATE TABLE IF NOT EXISTS {table} (id BIGINT);"))],
        ..sample(id)
    };
    let changing = |id, dependencies: &[&'static str], tables: &[&'static str]| Sample {
        migrations: vec![Migration::new(1, "widen", "ALTER TABLE things ADD COLUMN IF NOT EXISTS more TEXT;")],
        dependencies: dependencies.to_vec(),
        cross_tables: tables.to_vec(),
        ..sample(id)
    };
    check(vec![owner("a", "things"), changing("b", &["a"], &["things"])], &[]);
    check(vec![owner("a", "things"), owner("b", "things")], &["Table 'things' is created by both 'a' and 'b'"]);
    check(
        vec![owner("a", "things"), changing("b", &["a"], &[])],
        &["Extension 'b' changes table 'things' of another extension without declaring it"],
    );
    check(
        vec![owner("a", "things"), changing("b", &[], &["things"])],
        &["Extension 'b' changes table 'things' of 'a' but does not depend on it"],
    );
    check(
        vec![changing("b", &[], &["things"])],
        &["Extension 'b' declares the foreign table 'things', which no loaded extension owns"],
    );
    let seeding = |sql| Sample { seeds: vec![Seed::new("first", sql)], ..owner("a", "things") };
    check(vec![seeding("INSERT INTO things VALUES (1) ON CONFLICT DO NOTHING;")], &[]);
    check(
        vec![seeding("INSERT INTO things VALUES (1);")],
        &["Extension 'a': seed 'first' inserts without ON CONFLICT"],
    );
}

#[test]
fn problems_are_the_same_whatever_the_link_order() {
    let mut samples = vec![
        Sample { dependencies: vec!["z"], ..sample("c") },
        Sample { routes: vec![ExtensionRouterConfig::new("/api/v1/rep")], ..sample("b") },
        Sample { routes: vec![ExtensionRouterConfig::new("/api/v1/rep/x")], ..sample("a") },
        sample("Bad"),
    ];
    let expected = registry(samples.clone()).validate_all();
    assert_eq!(expected.len(), 3);
    for _ in 0..samples.len() {
        samples.rotate_left(1);
        assert_eq!(registry(samples.clone()).validate_all(), expected);
    }
    for problem in &expected {
        assert!(problem.code().starts_with("EXT_") && problem.extension().is_some());
    }
}

#[test]
fn the_snapshot_lists_everything() {
    let everything = Sample {
        required: true,
        dependencies: vec!["base"],
        schemas: vec![
            SchemaDefinition::inline("things", "CREATE TABLE IF NOT EXISTS app.things (id BIGINT);")
                .with_schema("app")
                .with_required_columns(vec!["id".to_owned()]),
        ],
        migrations: vec![
            Migration::new(2, "second", "-- @data\nUPDATE app.things SET id = id;"),
            Migration::with_down(1, "first", "SELECT 1;", "SELECT 2;"),
        ],
        seeds: vec![Seed::new("rows", "INSERT INTO app.things VALUES (1) ON CONFLICT DO NOTHING;")],
        routes: vec![
            ExtensionRouterConfig::new("/api/v1/things").with_access(Access::Permission("things.read")),
            ExtensionRouterConfig::public("/api/ext/things"),
        ],
        well_known: vec!["things.json"],
        prefix: Some("things"),
        schema: Some(serde_json::json!({ "type": "object" })),
        sections: vec![Place::Service { path: "things/config.yaml", key: "things" }],
        roles: vec![("reader", vec!["things.read"])],
        permissions: vec!["things.read"],
        policies: vec!["things.few"],
        scanners: vec![("things.words", &["codename"])],
        projections: vec![("things_by_day", &["things_by_day"])],
        ..sample("things")
    };
    let profile = Extensions { disabled: vec!["off".to_owned()], ..Extensions::default() };
    let registry = registry(vec![everything, sample("base"), sample("off")]).configured(&profile);
    let snapshot: &CapabilitySnapshot = registry.snapshot();
    insta::assert_json_snapshot!(snapshot);
}
