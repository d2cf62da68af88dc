//! The model gateway: one governed and recorded call to a provider, for callers inside the server and, in the shapes of
//! the vendors, over HTTP.
//!
//! Start reading at [`inference`]: [`Inference::ask`](inference::Inference::ask) is the path of every model request, in
//! the order things happen — find its route (`routing`, and what extensions say of it, `brought`), prepare what the provider gets (`target`), pass the Gate, send
//! (`upstream`, which only transports, and shows a `credential`), choose the answer's lane (`lane`, then `relay` or `collecting`; `waiting` while
//! there is none) and record how it ended (`recording`).
//! `routes` is the adapter for HTTP, one file per endpoint; `routes/error` is the only place where a failure becomes a
//! status and a body in the caller's dialect. [`request`] is what the ledger keeps of it, and how that is queried.
//!
//! [`service`] asks from inside the server, in neutral words, for agents, tools, jobs and extensions.
//!
//! Wire formats are not known here; they are `systemprompt-llm`'s. A new provider of a known wire is configuration only.
//!
//! To add an endpoint: a file in `routes/` and a line in its table.

pub mod cache;
pub mod configured;
pub mod extension;
pub mod headers;
pub mod inference;
pub mod request;
pub mod service;

mod allowance;
mod answer;
mod ask;
mod attempt;
mod brought;
mod call;
mod capture;
mod collecting;
mod config;
mod counting;
mod credential;
mod exported;
mod failure;
mod heard;
mod lane;
mod metrics;
mod packing;
mod passage;
mod recording;
mod recovery;
mod redacted;
mod relay;
mod resilience;
mod restored;
mod routes;
mod routing;
mod settled;
mod snapshot;
mod target;
mod traceparent;
mod upstream;
mod waiting;
