//! PostgreSQL: reaching it, running one of our own, bringing its schema up to date, listening to it.
//!
//! - [`connect`] opens the read and write pools every other part of the product works on, and says what is wrong in words
//!   an operator can act on when it cannot.
//! - [`schema`] holds what a feature declares about its tables; [`install()`] makes the live database match it.
//! - [`lease`] counts all limits, exactly, over all replicas.
//! - [`notify`] shares one listening connection between everybody who waits for a `NOTIFY`.
//! - [`cluster`] runs a private PostgreSQL below the project's home.
//! - [`testing`] gives each test its own database.
//!
//! Features own their SQL: nothing here knows a feature's table. This crate runs before any schema exists, so its own
//! statements are checked by its tests and not by the compiler.

pub mod cluster;
pub mod connect;
pub mod error;
pub mod install;
pub mod lease;
pub mod notify;
pub mod schema;
pub mod sql;
pub mod testing;

pub use connect::{ConnectOptions, Database, DbPool, PoolSettings};
pub use error::{ConnectError, RepositoryError};
pub use install::{InstallError, InstallMode, InstallOptions, InstallReport, install};
pub use schema::{Migration, Module, SchemaDefinition, SchemaSource, Seed};
