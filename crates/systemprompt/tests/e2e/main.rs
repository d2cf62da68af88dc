//! The product as its users meet it: the real binary, a real PostgreSQL, official wire formats, and a provider that
//! counts what reaches it.
#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]

mod access;
mod changes;
mod chaos;
mod cli;
mod cli_outputs;
mod demo;
mod guides;
mod harness;
mod hooks;
mod lifecycle;
mod limits;
mod mail;
mod operator;
mod pipeline;
mod profile;
mod relay;
mod replicas;
mod routes;
mod spool;
mod upstream;
