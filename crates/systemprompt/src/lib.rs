//! `systemprompt` as a library: what an extension crate and a product crate depend on, and nothing else.
//!
//! An extension begins with one import and one macro:
//!
//! ```
//! use systemprompt::extension::prelude::*;
//!
//! #[derive(Default)]
//! struct Greeting;
//!
//! impl Extension for Greeting {
//!     fn metadata(&self) -> ExtensionMetadata {
//!         ExtensionMetadata { id: "greeting", name: "Greeting", version: env!("CARGO_PKG_VERSION") }
//!     }
//!
//!     fn router(&self, _: &dyn ExtensionContext) -> Option<ExtensionRouter> {
//!         let routes = systemprompt::axum::Router::new()
//!             .route("/hello", systemprompt::axum::routing::get(|| async { "hello" }));
//!         Some(ExtensionRouter::public(routes, "/api/ext/greeting"))
//!     }
//! }
//!
//! register_extension!(Greeting);
//! ```
//!
//! `extensions/notes` in the repository is a whole one: table, migration, settings, permissions, routes, tests.
//!
//! | Module | Holds |
//! |---|---|
//! | [`extension`] | the extension API; `extension::prelude` is what `extension.rs` imports |
//! | `ai` | asking models (feature `ai`) |
//! | `mail` | sending mail by the server of the profile (feature `mail`) |
//! | [`database`] | pools, schema and migration types |
//! | [`config`] | the profile and the sections features add to it |
//! | [`models`] | who is calling, money, time, secrets |
//! | [`identifiers`] | the typed ids |
//! | [`traits`] | the traits an author's own types implement |
//! | `testing` | starts the server an extension will run in, on a database of its own (feature `test-utils`) |
//!
//! The features: `core` is the extension API; `ai` adds `ai`, and what of it an extension needs to the prelude; `mail` adds `mail`; `test-utils` adds `testing` and the built-in features; `full`, the default,
//! adds the binary. An extension crate depends on it with `default-features = false, features = ["core"]`.

pub use systemprompt_config as config;
pub use systemprompt_extension::{link_extensions, register_extension};

pub use {async_trait, axum, inventory, schemars, serde_json, sqlx, tokio};

/// The extension API.
pub mod extension {
    pub use systemprompt_extension::*;

    /// What an extension's `extension.rs` needs, in one line: `use systemprompt::extension::prelude::*;`.
    pub mod prelude {
        pub use systemprompt_extension::prelude::*;
        #[cfg(feature = "ai")]
        pub use systemprompt_gateway::service::{AiContext, AiError, AiMessage, AiRequest, AiResponse, AiService};
    }
}

/// Asking models, under the same rules and with the same records as a client's request: `ctx.ai()`.
#[cfg(feature = "ai")]
pub use systemprompt_gateway::service as ai;

/// Sending mail by the server that the profile names: `ctx.service::<Mailer>()`.
#[cfg(feature = "mail")]
pub use systemprompt_mail as mail;

/// Reaching PostgreSQL, and what an extension says about its tables.
pub mod database {
    pub use systemprompt_database::lease;
    pub use systemprompt_database::notify::{self, NotificationHub};
    pub use systemprompt_database::{
        Database, DbPool, Migration, Module, RepositoryError, SchemaDefinition, SchemaSource, Seed,
    };
}

/// The vocabulary of the product: who is calling, money, time, secrets, the errors of the JSON APIs.
pub mod models {
    pub use systemprompt_model::{
        Actor, ActorChain, ActorKind, Ambient, ApiError, Attribution, Client, Clock, Credential, EntityKind, Entropy,
        ErrorCode, FieldError, ManualClock, Microdollars, Principal, Resource, Secret, UserType,
    };
}

/// The typed ids.
pub mod identifiers {
    pub use systemprompt_model::{
        ActionId, ApiKeyId, ContextId, DecisionId, InstanceId, InvalidId, SessionId, TaskId, TokenId, TraceId, UserId,
    };
}

/// The traits an author's own types implement.
pub mod traits {
    pub use systemprompt_extension::{Extension, ExtensionContext, ExtensionError};
}

#[cfg(feature = "test-utils")]
pub mod testing;

/// Governance: the one path every effect takes.
#[cfg(feature = "test-utils")]
pub use systemprompt_governance as governance;

/// The command line, for a product crate's `main`.
#[cfg(feature = "full")]
pub use systemprompt_cli as cli;

// The built-in features, each an extension like any other. This line is all a new one needs here.
#[cfg(feature = "test-utils")]
link_extensions!(
    systemprompt_mail,
    systemprompt_governance,
    systemprompt_identity,
    systemprompt_telemetry,
    systemprompt_hooks,
    systemprompt_gateway,
    systemprompt_server
);

// Addresses of features that come later. A feature that mounts its own takes it out of here.
systemprompt_extension::reserve_paths!(
    "/api/v1/agents",
    "/api/v1/analytics",
    "/api/v1/content",
    "/api/v1/core",
    "/api/v1/files",
    "/api/v1/gateway",
    "/api/v1/mcp",
    "/api/v1/scheduler",
    "/api/v1/stream",
);
