//! Notes: an example of a whole extension, built the way an outside author builds one.
//!
//! | File | Shows |
//! |---|---|
//! | `extension.rs` | what the extension declares, and its registration |
//! | `config.rs` | settings with a schema, and the rule a schema cannot say |
//! | `store.rs` | the SQL, behind a service the extension provides |
//! | `routes.rs` | handlers: the caller, answers, errors |
//! | `schema/` | the table as it is to be, and the migration that brings older databases there |
//! | `tests/` | the extension against a database of its own, without a server |
//!
//! A product links it with `systemprompt::link_extensions!(notes_extension);`.

mod config;
mod extension;
mod routes;
mod store;

pub use config::Settings;
pub use extension::Notes;
pub use store::{Note, Store};
