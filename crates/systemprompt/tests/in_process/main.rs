//! The product in the process of the test: the server that is shipped, started by `TestContext`, with extensions beside the
//! built-in ones and a provider that counts what reaches it.
#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]
#![cfg(feature = "test-utils")]

mod access_admin;
mod answer_secrets;
mod answers;
mod approvals;
mod attributes;
mod authorizers;
mod blocked_tools;
mod boundaries;
mod brought;
mod cache;
mod ended;
mod every_wire;
mod export;
mod extensions;
mod failover;
mod gate;
mod guard;
mod hooks;
mod identity;
mod inference;
mod instructions;
mod limits;
mod mail;
mod metrics;
mod object_store;
mod redaction;
mod reload;
mod residency;
mod safety;
mod service;
mod start;
mod telemetry;
mod tools;
mod translation;
mod wires;
