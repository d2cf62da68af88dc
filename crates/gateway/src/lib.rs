//! The model gateway: vendor-shaped HTTP in, one governed and recorded call out, vendor-shaped HTTP back.
//!
//! Start reading at [`routes`]: its `infer` is the path of every model request, in the order things happen —
//! identify the caller, bind a session, read the request, find its route, pass the Gate, send, relay. Each step is one
//! file: [`body`] reads within bounds, [`routing`] decides where to, [`upstream`] is the effect that takes the Gate's
//! permit, `relay` carries the stream back, `recording` sees to it that one outcome reaches the ledger however the call
//! ends, and `error` is the only place where a failure becomes a status and a body in the caller's dialect.
//!
//! Wire formats are not known here; they are `systemprompt-llm`'s. A new provider of a known wire is configuration only.

pub mod body;
mod capture;
pub mod config;
mod error;
pub mod extension;
pub mod headers;
pub mod metrics;
mod models;
mod recording;
mod relay;
pub mod routes;
pub mod routing;
pub mod upstream;
