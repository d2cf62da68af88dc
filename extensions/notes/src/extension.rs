//! What the extension declares, and its registration.

use systemprompt::extension::prelude::*;

use crate::config::{self, PREFIX, Settings};
use crate::{Store, routes};

/// The base path of the routes for people of the team.
const TEAM: &str = "/api/v1/notes";

/// The base path of the routes for everyone.
const BOARD: &str = "/api/ext/notes-board";

/// The notes extension.
#[derive(Debug, Default)]
pub struct Notes;

register_extension!(Notes);

#[async_trait]
impl Extension for Notes {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "notes", name: "Notes", version: env!("CARGO_PKG_VERSION") }
    }

    fn schemas(&self) -> Vec<SchemaDefinition> {
        let columns = ["id", "author", "text", "pinned", "created_at"];
        vec![
            SchemaDefinition::inline("notes", include_str!("../schema/notes.sql"))
                .with_required_columns(columns.map(str::to_owned).to_vec()),
        ]
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration::with_down(
            1,
            "add_pinned",
            include_str!("../schema/migrations/001_add_pinned.sql"),
            include_str!("../schema/migrations/001_add_pinned.down.sql"),
        )]
    }

    fn config_prefix(&self) -> Option<&str> {
        Some(PREFIX)
    }

    fn config_schema(&self) -> Option<JsonValue> {
        Some(config::schema())
    }

    fn validate_config(&self, config: &JsonValue) -> Result<(), ConfigError> {
        config::validate(config)
    }

    fn permissions(&self) -> Vec<PermissionDef> {
        vec![PermissionDef::new(routes::WRITE, "Write and delete notes")]
    }

    fn roles(&self) -> Vec<ExtensionRole> {
        vec![
            ExtensionRole::new("notes_editor", "Notes editor", "Writes and deletes the notes of the team")
                .with_permissions(vec![routes::WRITE.to_owned()]),
        ]
    }

    async fn provides(&self, ctx: &dyn ExtensionContext, services: &mut ServiceMap) -> Result<(), LoaderError> {
        let settings: Settings = ctx.typed_config(PREFIX)?;
        services.insert(Arc::new(Store::new(ctx.db().clone(), ctx.ambient().clone(), settings)));
        Ok(())
    }

    fn router_configs(&self) -> Vec<ExtensionRouterConfig> {
        vec![ExtensionRouterConfig::of(TEAM), ExtensionRouterConfig::of(BOARD)]
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        [routes::team().endpoints_below(TEAM), routes::board().endpoints_below(BOARD)].concat()
    }

    fn try_router(&self, ctx: &dyn ExtensionContext) -> Result<Vec<ExtensionRouter>, LoaderError> {
        let store = ctx.service::<Store>()?;
        Ok(vec![
            ExtensionRouter::of(routes::team(), store.clone(), TEAM),
            ExtensionRouter::of(routes::board(), store, BOARD),
        ])
    }

    async fn health(&self, ctx: &dyn ExtensionContext) -> ExtensionHealth {
        match ctx.service::<Store>() {
            Ok(store) => match store.pinned().await {
                Ok(_) => ExtensionHealth::Healthy,
                Err(error) => ExtensionHealth::Unhealthy(error.to_string()),
            },
            Err(error) => ExtensionHealth::Unhealthy(error.to_string()),
        }
    }
}
