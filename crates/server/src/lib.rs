//! Putting features together into one process: install, start, serve, stop.
//!
//! The server knows a list of extensions, not what they do. [`Assembly::load`] checks them and their configuration, without a
//! database; [`start`] reads top to bottom as the start-up it performs;
//! [`RunningServer::shut_down`] is the same in reverse. What a connection may take is in `listener`; what happens to every
//! HTTP request is in `middleware`; who may reach a router of an extension is enforced in `authorization`, and how often in
//! `rate_limit`.
//!
//! Another configuration comes into force while it runs: [`reload`].
//!
//! The server has a few endpoints of its own — health, metrics, discovery — and two tables, the log and the rate limits that
//! replicas share. They are an extension too: [`extension::ServerExtension`].

mod assembly;
mod authorization;
mod context;
pub mod extension;
mod framing;
mod health;
mod listener;
mod local;
pub mod logs;
mod metrics;
mod middleware;
mod named_files;
mod pace;
mod proxies;
mod rate_limit;
pub mod reload;
mod slots;
mod stalled_stream;
mod start;
mod tls;
mod unread_body;
mod watch;

pub use assembly::Assembly;
pub use context::ServerContext;
pub use start::{Drained, RunningServer, ServerOptions, StartError, start};
pub use tls::TlsError;
