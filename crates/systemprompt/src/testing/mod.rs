//! The server an extension will run in, for its tests: the same start, the same features, the same middleware, on a
//! PostgreSQL database of its own, with configuration that went through the real loader.
//!
//! ```no_run
//! # use systemprompt::extension::prelude::*;
//! # #[derive(Default)] struct Notes;
//! # impl Extension for Notes {
//! #     fn metadata(&self) -> ExtensionMetadata { ExtensionMetadata { id: "notes", name: "Notes", version: "1.0.0" } }
//! # }
//! # async fn example() {
//! use systemprompt::serde_json::json;
//! use systemprompt::testing::TestContext;
//!
//! let server = TestContext::builder().extension(Notes).settings("notes", json!({})).start().await;
//! let answer = server.user("maya", &["notes_editor"]).await.get("/api/v1/notes").await;
//! assert_eq!(answer.status, 200);
//! # }
//! ```
//!
//! `project` writes the home such a server starts from, `context` starts it, `client` calls it. Everything here panics with
//! all problems listed when something is wrong: a test has nothing better to do.

mod client;
mod context;
mod project;

pub use client::{TestClient, TestResponse};
pub use context::{TestContext, TestContextBuilder};
