//! An extension that declares something in every facet shows it in every listing.

use std::sync::Arc;

use sqlx::PgConnection;
use systemprompt_extension::authorizer::AuthorizerDef;
use systemprompt_extension::facet::FACETS;
use systemprompt_extension::gateway::{GatewayGuardDef, RouteSelectorDef, SystemPromptOverrideDef};
use systemprompt_extension::ledger::{LedgerEntry, Projection, ProjectionError};
use systemprompt_extension::policy::PolicyDef;
use systemprompt_extension::prelude::*;
use systemprompt_extension::safety::SafetyScannerDef;
use systemprompt_extension::subject_attributes::{Fault, SubjectAttributes, SubjectAttributesDef};
use systemprompt_model::{ActionId, UserId};

use crate::commands::reference;
use crate::view::{Layout, View as _};

struct Everything;

impl Extension for Everything {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "everything", name: "Everything", version: "1.0.0" }
    }
    fn schemas(&self) -> Vec<SchemaDefinition> {
        vec![SchemaDefinition::inline("all_schema", "CREATE TABLE IF NOT EXISTS all_schema (id BIGINT);")]
    }
    fn migrations(&self) -> Vec<Migration> {
        vec![Migration::new(1, "all_migration", "SELECT 1;")]
    }
    fn seeds(&self) -> Vec<Seed> {
        vec![Seed::new("all_seed", "INSERT INTO all_schema VALUES (1) ON CONFLICT DO NOTHING;")]
    }
    fn cross_extension_tables(&self) -> Vec<&'static str> {
        vec!["all_foreign"]
    }
    fn router_configs(&self) -> Vec<ExtensionRouterConfig> {
        vec![ExtensionRouterConfig::of("/api/ext/all")]
    }
    fn endpoints(&self) -> Vec<Endpoint> {
        let table = RouteTable::<()>::new().get("/one", Access::Public, "One.", async || "");
        table.endpoints_below("/api/ext/all")
    }
    fn well_known(&self) -> Vec<WellKnownRoute> {
        vec![WellKnownRoute::new("all.json", |_| Err(LoaderError::MissingService { service: "all" }))]
    }
    fn config_prefix(&self) -> Option<&str> {
        Some("all_config")
    }
    fn config_sections(&self) -> Vec<SectionSpec> {
        vec![SectionSpec {
            place: Place::Profile { key: "all_section" },
            schema: JsonValue::Bool(true),
            extension: "everything",
        }]
    }
    fn roles(&self) -> Vec<ExtensionRole> {
        vec![ExtensionRole::new("all_role", "All", "A role.")]
    }
    fn permissions(&self) -> Vec<PermissionDef> {
        vec![PermissionDef::new("all.permit", "A permission.")]
    }
    fn governance_authorizers(&self) -> Vec<AuthorizerDef> {
        vec![AuthorizerDef::new("everything.authorizer", "An authorizer.", |_| {
            Err(LoaderError::MissingService { service: "all" })
        })]
    }
    fn subject_attributes(&self) -> Vec<SubjectAttributesDef> {
        vec![SubjectAttributesDef::new("all_dimension", "A dimension.", Nobody)]
    }
    fn governance_policies(&self) -> Vec<PolicyDef> {
        vec![PolicyDef::new("everything.policy", "A policy.", |_| Err(LoaderError::MissingService { service: "all" }))]
    }
    fn safety_scanners(&self) -> Vec<SafetyScannerDef> {
        let missing = || LoaderError::MissingService { service: "all" };
        vec![SafetyScannerDef::new("everything.scanner", "A scanner.", &["all"], move |_| Err(missing()))]
    }
    fn projections(&self) -> Vec<Arc<dyn Projection>> {
        vec![Arc::new(Days)]
    }
    fn gateway_guards(&self) -> Vec<GatewayGuardDef> {
        vec![GatewayGuardDef::new("everything.guard", "A guard.", |_| {
            Err(LoaderError::MissingService { service: "all" })
        })]
    }
    fn route_selectors(&self) -> Vec<RouteSelectorDef> {
        vec![RouteSelectorDef::new("everything.selector", "A selector.", |_| {
            Err(LoaderError::MissingService { service: "all" })
        })]
    }
    fn system_prompt_overrides(&self) -> Vec<SystemPromptOverrideDef> {
        vec![SystemPromptOverrideDef::new("everything.override", "An override.", |_| {
            Err(LoaderError::MissingService { service: "all" })
        })]
    }
}

struct Nobody;

#[async_trait]
impl SubjectAttributes for Nobody {
    async fn values_for(&self, _: &sqlx::PgPool, _: UserId) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
}

struct Days;

#[async_trait]
impl Projection for Days {
    fn name(&self) -> &'static str {
        "all_days"
    }
    fn tables(&self) -> &'static [&'static str] {
        &["all_days"]
    }
    async fn apply(&self, _: &mut PgConnection, _: &[LedgerEntry]) -> Result<(), ProjectionError> {
        Ok(())
    }
    async fn forget(&self, _: &mut PgConnection, _: &[ActionId]) -> Result<(), ProjectionError> {
        Ok(())
    }
}

#[test]
fn every_facet_shows_in_the_snapshot_in_the_commands_and_in_the_reference() {
    let registry = ExtensionRegistry::of([Arc::new(Everything) as Arc<dyn Extension>]);
    let snapshot = registry.snapshot().get("everything").expect("it is registered");
    let json = serde_json::to_value(snapshot).expect("it is plain data");
    let text = snapshot.text(Layout { decorated: false, width: 80 });
    let page = reference::extensions(&registry);
    for facet in FACETS {
        let [contribution] = snapshot.of(facet.name) else {
            panic!("the extension above must declare one of {}: {:?}", facet.name, snapshot.of(facet.name));
        };
        let name = &contribution.name;
        assert_eq!(json[facet.name][0]["name"], **name, "plugins show --json");
        assert!(
            text.as_str().lines().any(|line| line.starts_with(facet.name) && line.contains(name)),
            "{name}: {text:?}"
        );
        let row = format!("| {} | `{name}` |", facet.name);
        assert!(page.contains(&row) && page.contains(&format!("| `{}` |", facet.method)), "{row}: {page}");
    }
}
