//! The product as its users meet it: the real binary, a real PostgreSQL, official wire formats, and a provider that
//! counts what reaches it.
#![expect(missing_docs, clippy::disallowed_methods, reason = "tests")]

mod cli;
mod demo;
mod harness;
mod lifecycle;
mod limits;
mod pipeline;
mod relay;
mod routes;
mod upstream;
